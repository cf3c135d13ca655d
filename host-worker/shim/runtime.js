// The WebAssembly module: one instance for all objects of an isolate.

import module from "./roomcast.wasm";
import * as roomcast from "#roomcast";

roomcast.initSync({ module });

// The number of instances so far. Values of an earlier instance must not be used.
let generation = 0;

export const current = () => generation;

// True when a call into the module left it intact although it threw: a text was thrown by the
// module itself. Anything else is a trap, or passed through frames that were not cleaned up.
export const inOrder = (fault) => typeof fault === "string";

// Instantiates the module again: all values of the old instance are lost. Objects notice the new
// generation, and wake again from their saved state.
export function restart(fault) {
  console.error("roomcast: the module is instantiated anew after", fault?.stack ?? fault);
  generation += 1;
  roomcast.__wbg_reset_state();
}

export const { Front, Namespace } = roomcast;
