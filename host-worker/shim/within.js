// Requests with a limit of time.

// Fetches, without redirects, and returns what `take` makes of the response. Then the timer is
// cleared: a running one keeps the object awake, and that of `AbortSignal.timeout` runs to its end.
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
