// Requests with a limit of time.

// Fetches, and returns what `take` makes of the response. The timer ends with that: one that runs
// keeps the object awake, as that of `AbortSignal.timeout` does.
export async function within(timeMs, url, request, take) {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(new DOMException("", "TimeoutError")), timeMs);
  try {
    return await take(await fetch(url, { ...request, redirect: "manual", signal: abort.signal }));
  } finally {
    clearTimeout(timer);
  }
}

export const isLate = (fault) => fault?.name === "TimeoutError";
