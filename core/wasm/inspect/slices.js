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

/**
 * Gives `work.read(lines)` turns until it says that it is done, and calls `after` with that behind each slice.
 * False when it ended because `isWanted()` is false.
 */
export async function inSlices(work, isWanted, after) {
  for (let done = false; !done; ) {
    const end = performance.now() + SLICE_MS;
    while (!done && performance.now() < end) done = work.read(LINES);
    after(done);
    if (!done) await turn();
    if (!isWanted()) return false;
  }
  return true;
}
