// The identity in a token that is signed with HS256.

import { createHmac, timingSafeEqual } from "node:crypto";

const LEEWAY_S = 10; // for clocks that differ

export function identityOf(token, secret) {
  const [head, body, signature = ""] = token.split(".");
  const expected = createHmac("sha256", secret).update(`${head}.${body}`).digest();
  const given = Buffer.from(signature, "base64url");
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined;
  const decode = (part) => JSON.parse(Buffer.from(part, "base64url").toString());
  if (decode(head).alg !== "HS256") return undefined;
  const { sub, exp, iat, grants = [], meta, rooms } = decode(body);
  if (typeof sub !== "string" || !(exp + LEEWAY_S > Date.now() / 1000)) return undefined;
  return { user: sub, grants, until_ms: (exp + LEEWAY_S) * 1000, issued_s: iat, meta, rooms };
}
