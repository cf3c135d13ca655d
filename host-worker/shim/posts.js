// Requests to backends that are told of events.

// As on the native server.
const TIME_MS = 15_000;

// The outcome of a request: a status, or a fault. Names and values of its headers are one behind the
// other.
export async function post(url, headers, body) {
  const fields = new Headers();
  for (let index = 0; index < headers.length; index += 2) fields.append(headers[index], headers[index + 1]);
  try {
    const signal = AbortSignal.timeout(TIME_MS);
    const response = await fetch(url, { method: "POST", redirect: "manual", signal, headers: fields, body });
    response.body?.cancel().catch(() => {});
    return { status: response.status, retryAfter: response.headers.get("retry-after") ?? undefined };
  } catch (fault) {
    return { status: 0, fault: fault?.name === "TimeoutError" ? `no answer within ${TIME_MS / 1000} s` : String(fault) };
  }
}
