// Long work in slices, between which the page is drawn and reacts.

const SLICE_MS = 12;
const LINES = 32;

const { port1, port2 } = new MessageChannel();
const waiting = [];
port1.onmessage = () => waiting.shift()();

// A turn of the page. Timers would wait 4 ms each.
const turn = () => new Promise((resolve) => {
  waiting.push(resolve);
  port2.postMessage(null);
});

// The number of pending queries of the user, and the work that waits for them.
let questions = 0;
const patient = [];

const whenUnasked = () => questions > 0 && new Promise((resolve) => patient.push(resolve));

function answered() {
  questions -= 1;
  if (questions === 0) for (const goOn of patient.splice(0)) goOn();
}

/**
 * Calls `work.read(lines)` in slices until it returns true, and `after` with its result after each
 * slice. Returns false if it ended because `isWanted()` is false. Patient work, which no user asked
 * for, pauses while a query of the user is answered.
 */
export async function inSlices(work, isWanted, after, { isPatient = false } = {}) {
  if (!isPatient) questions += 1;
  try {
    for (let done = false; !done; ) {
      if (isPatient) await whenUnasked();
      if (!isWanted()) return false;
      const end = performance.now() + SLICE_MS;
      while (!done && performance.now() < end) done = work.read(LINES);
      after(done);
      if (!done) await turn();
    }
    return isWanted();
  } finally {
    if (!isPatient) answered();
  }
}
