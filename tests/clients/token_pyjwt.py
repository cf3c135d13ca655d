"""Tokens against PyJWT. Reads tokens to verify and claims to sign, both with their keys, as JSON from the
standard input; writes which tokens it accepts, the tokens it made, and their keys as a JWKS."""

import json
import sys

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key


def verified(task):
    try:
        claims = jwt.decode(task["token"], task["key"], algorithms=[task["algorithm"]])
    except jwt.InvalidTokenError:
        return None
    return claims["sub"]


def signed(task):
    return jwt.encode(task["claims"], task["key"], task["algorithm"], headers={"kid": task["kid"]})


def public(task):
    key = load_pem_private_key(task["key"].encode(), None).public_key()
    jwk = jwt.get_algorithm_by_name(task["algorithm"]).to_jwk(key, as_dict=True)
    return {**jwk, "kid": task["kid"]}


tasks = json.load(sys.stdin)
answer = {
    "verified": [verified(task) for task in tasks["verify"]],
    "signed": [signed(task) for task in tasks["sign"]],
    "jwks": {"keys": [public(task) for task in tasks["sign"] if task["algorithm"] != "HS256"]},
}
json.dump(answer, sys.stdout)
