// The WebAssembly module: one instance for all objects of an isolate.

import module from "./roomcast.wasm";
import * as roomcast from "#roomcast";

roomcast.initSync({ module });

// Counts the instances. What was made in an earlier one must not be touched.
let generation = 0;

export const current = () => generation;

// Whether a call into the module that threw left it in order: a text is an answer of the module's
// own. Anything else is a trap, or passed through frames that were not cleaned up.
export const inOrder = (fault) => typeof fault === "string";

// Instantiates the module anew: everything that lived in the old instance is gone. Objects find out
// by the generation, and wake again from what they saved.
export function restart(fault) {
  console.error("roomcast: the module is instantiated anew after", fault?.stack ?? fault);
  generation += 1;
  roomcast.__wbg_reset_state();
}

export const { Front, Namespace } = roomcast;
