// Tokens against `jose`. Reads tokens to verify and claims to sign, both with their keys, as JSON from
// the standard input; writes which tokens it accepts, the tokens it made, and their keys as a JWKS.
import { readFileSync } from "node:fs";
import { exportJWK, importPKCS8, importSPKI, jwtVerify, SignJWT } from "jose";

const { verify, sign } = JSON.parse(readFileSync(0, "utf8"));
const secret = (text) => new TextEncoder().encode(text);

const verified = [];
for (const { algorithm, key, token } of verify) {
  try {
    const opened = algorithm === "HS256" ? secret(key) : await importSPKI(key, algorithm);
    const { payload } = await jwtVerify(token, opened, { algorithms: [algorithm] });
    verified.push(payload.sub);
  } catch (error) {
    verified.push(null);
  }
}

const signed = [];
const keys = [];
for (const { algorithm, key, kid, claims } of sign) {
  const options = { extractable: true };
  const opened = algorithm === "HS256" ? secret(key) : await importPKCS8(key, algorithm, options);
  signed.push(await new SignJWT(claims).setProtectedHeader({ alg: algorithm, kid, typ: "JWT" }).sign(opened));
  if (algorithm !== "HS256") {
    const { d, p, q, dp, dq, qi, ...jwk } = await exportJWK(opened);
    keys.push({ ...jwk, kid, use: "sig", alg: algorithm });
  }
}
process.stdout.write(JSON.stringify({ verified, signed, jwks: { keys } }));
