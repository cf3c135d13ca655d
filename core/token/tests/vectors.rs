//! Examples of RFC 7515 and RFC 8037.

use roomcast_core::Timestamp;
use roomcast_token::{KeySet, Now, TokenError, Verifier};

use crate::forge::{key, verifier};

/// The claims of RFC 7515 A.1 to A.3: an issuer and an end, no `sub`.
const CLAIMS: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

/// Verifies in the minute before the end of the examples.
fn verify(verifier: &Verifier, token: &str) -> TokenError {
    let now = Now {
        unix_s: 1_300_819_320,
        time: Timestamp::ZERO,
    };
    let verified = verifier.verify(token, &KeySet::default(), now);
    verified.expect_err("none of them has a `sub`")
}

/// Each is accepted up to its missing user, and its changes are not.
fn check(jwk: &str, header: &str, claims: &str, signature: &str, accepted: &TokenError) {
    let verifier = verifier([key(jwk)]);
    let token = format!("{header}.{claims}.{signature}");
    assert_eq!(&verify(&verifier, &token), accepted, "{header}");
    let changed = format!("{header}.A{}.{signature}", &claims[1..]);
    assert_eq!(
        verify(&verifier, &changed),
        TokenError::Signature,
        "{header}"
    );
}

const NO_USER: TokenError = TokenError::Missing { claim: "sub" };

#[test]
fn rfc_7515_a_1_hs256() {
    check(
        r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#,
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
        CLAIMS,
        "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        &NO_USER,
    );
}

#[test]
#[cfg(feature = "rs256")]
fn rfc_7515_a_2_rs256() {
    check(
        concat!(
            r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Va"#,
            "w-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzj",
            "b_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uD",
            "Zlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9",
            r#"gb54h4FRWyuXpoQ","e":"AQAB"}"#
        ),
        "eyJhbGciOiJSUzI1NiJ9",
        CLAIMS,
        concat!(
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8",
            "W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPv",
            "kSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1ph",
            "CnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
        ),
        &NO_USER,
    );
}

#[test]
fn rfc_7515_a_3_es256() {
    check(
        concat!(
            r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","#,
            r#""y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#
        ),
        "eyJhbGciOiJFUzI1NiJ9",
        CLAIMS,
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        &NO_USER,
    );
}

/// The payload is a sentence, so the token is accepted up to that.
#[test]
fn rfc_8037_a_4_eddsa() {
    let accepted = TokenError::Json {
        part: "claims",
        fault: roomcast_token::JsonError::Syntax,
    };
    check(
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
        "eyJhbGciOiJFZERTQSJ9",
        "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        &accepted,
    );
}
