// Long work in slices: between them the page is drawn, and answers.

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

// Questions of the person at the page that are not answered yet, and work that lets them go first.
let questions = 0;
const patient = [];

const whenUnasked = () => questions > 0 && new Promise((resolve) => patient.push(resolve));

function answered() {
  questions -= 1;
  if (questions === 0) for (const goOn of patient.splice(0)) goOn();
}

/**
 * Gives `work.read(lines)` turns until it says that it is done, and calls `after` with that behind each slice.
 * False when it ended because `isWanted()` is false. Work that nobody asked for is patient: it rests while a
 * question is answered.
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
