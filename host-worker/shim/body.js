// Bodies of answers.

// Reads the whole body, which has at most this many bytes.
export async function whole(response, bytesMax) {
  const body = new Uint8Array(bytesMax);
  let length = 0;
  for await (const chunk of response.body ?? []) {
    if (length + chunk.byteLength > bytesMax) throw new Error(`over ${bytesMax} bytes`);
    body.set(chunk, length);
    length += chunk.byteLength;
  }
  return body.subarray(0, length);
}
