//! Texts of keys, good ones and such as people give by mistake.

use roomcast_token::{Algorithm, Key, KeyError, SigningKey, Verifier};

use crate::forge::{
    CLAIMS, ED25519, ED25519_PUB, P256, P256_PUB, RSA, RSA_PUB, SECRET, base64, key, signing,
    verifier, verify,
};

const P256_X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
const P256_Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
const ED25519_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

/// A sound JWK of P-256 with members replaced or added.
fn p256_jwk(members: &str) -> String {
    format!(r#"{{"kty":"EC","crv":"P-256","x":"{P256_X}","y":"{P256_Y}"{members}}}"#)
}

fn ed25519_jwk(x: &str) -> String {
    format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#)
}

#[test]
fn keys_are_read_in_each_form() {
    let secret = format!(r#"{{"kty":"oct","k":"{}"}}"#, base64(SECRET));
    for (text, algorithm) in [
        (&*format!("hs256:{SECRET}"), Algorithm::Hs256),
        (&secret, Algorithm::Hs256),
        (P256_PUB, Algorithm::Es256),
        (&P256_PUB.replace('\n', "\r\n"), Algorithm::Es256),
        (&format!("\n{P256_PUB}\n\n"), Algorithm::Es256),
        (P256_PUB.trim(), Algorithm::Es256),
        (&p256_jwk(""), Algorithm::Es256),
        (
            &p256_jwk(r#","use":"sig","alg":"ES256","key_ops":["verify"]"#),
            Algorithm::Es256,
        ),
        (ED25519_PUB, Algorithm::EdDsa),
        (&ed25519_jwk(ED25519_X), Algorithm::EdDsa),
    ] {
        assert_eq!(
            Key::parse(text).map(|key| key.algorithm()),
            Ok(algorithm),
            "{text}"
        );
    }
    let rsa = Key::parse(RSA_PUB).map(|key| key.algorithm());
    if cfg!(feature = "rs256") {
        assert_eq!(rsa, Ok(Algorithm::Rs256));
    } else {
        assert_eq!(rsa, Err(KeyError::RsaLeftOut));
    }
    assert_eq!(key(&p256_jwk(r#","kid":"2026-11""#)).id(), Some("2026-11"));
    assert_eq!(key(P256_PUB).id(), None);
}

/// Checks each mistake for a piece of the text that says what to change.
fn check(mistakes: &[(&str, &str)]) {
    for (text, fix) in mistakes {
        match Key::parse(text) {
            Ok(key) => panic!("{key:?} of {text}"),
            Err(error) => assert!(error.to_string().contains(fix), "{error}\nfor {text}"),
        }
    }
}

#[test]
fn mistakes_in_secrets_are_named_with_their_fix() {
    let form = "`hs256:` and a secret";
    check(&[
        ("", form),
        ("keys/p256.pub.pem", form),
        ("HS256:a secret of at least thirty-two bytes", form),
        ("hs256:", "0 bytes"),
        ("hs256:0123456789012345678901234567890", "openssl rand"),
        ("hs256: 01234567890123456789012345678901", "white space"),
        ("hs256:01234567890123456789012345678901\n", "white space"),
        (&format!("hs256:{P256_PUB}"), "is a PEM"),
        (&format!("hs256: {RSA_PUB}"), "is a PEM"),
        ("hs256:-----BEGIN PUBLIC KEY-----\\nMFkwEwYH\\n", "is a PEM"),
        (&format!("hs256:{}", p256_jwk("")), "is a JWK"),
    ]);
}

#[test]
fn mistakes_in_pems_are_named_with_their_fix() {
    let (begin, end) = ("-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----");
    check(&[
        (P256, "-pubout"),
        (ED25519, "-pubout"),
        (RSA, "-pubout"),
        (include_str!("keys/p256.sec1.pem"), "-pubout"),
        (include_str!("keys/p256.crt.pem"), "openssl x509"),
        (include_str!("keys/rsa2048.pkcs1.pub.pem"), "openssl rsa"),
        (include_str!("keys/p384.pub.pem"), "not supported"),
        (include_str!("keys/x25519.pub.pem"), "not supported"),
        (&P256_PUB.replace('\n', "\\n"), "line breaks"),
        (&P256_PUB.replace('\n', " "), "line breaks"),
        (&format!("{P256_PUB}{P256_PUB}"), "nothing behind it"),
        (&format!("{begin}\nAAAA\n{end}\n"), "cannot be read"),
        (&format!("{begin}\n////\n{end}\n"), "cannot be read"),
        (begin, "cannot be read"),
    ]);
}

#[test]
fn mistakes_in_jwks_are_named_with_their_fix() {
    let long = format!(r#","kid":"{}""#, "k".repeat(257));
    let one = base64([&[1][..], &[0; 31]].concat());
    check(&[
        ("{", "is not JSON"),
        ("{}", "`kty`"),
        (r#"{"kty":"EC","kty":"oct"}"#, "twice"),
        (r#"{"keys":[]}"#, "`jwks`"),
        (r#"{"kty":1}"#, "`kty`"),
        (r#"{"kty":"EC","crv":"P-384"}"#, "P-384"),
        (r#"{"kty":"EC","crv":"secp256k1"}"#, "secp256k1"),
        (r#"{"kty":"OKP","crv":"X25519"}"#, "X25519"),
        (r#"{"kty":"AKP"}"#, "AKP"),
        (&p256_jwk(r#","d":"AAAA""#), "without `d`"),
        (&p256_jwk(r#","use":"enc""#), "`use`"),
        (&p256_jwk(r#","key_ops":["encrypt"]"#), "`key_ops`"),
        (&p256_jwk(r#","key_ops":"verify""#), "`key_ops`"),
        (&p256_jwk(r#","alg":"ES384""#), "ES256"),
        (&p256_jwk(r#","alg":"HS256""#), "ES256"),
        (&p256_jwk(r#","kid":"""#), "`kid`"),
        (&p256_jwk(r#","kid":1"#), "`kid`"),
        (&p256_jwk(&long), "`kid`"),
        (&p256_jwk("").replace(P256_Y, P256_X), "point of P-256"),
        (&p256_jwk("").replace(P256_X, "AAAA"), "`x`"),
        (&p256_jwk("").replace(P256_X, &format!("{P256_X}=")), "`x`"),
        (r#"{"kty":"EC","crv":"P-256"}"#, "`x`"),
        (&ed25519_jwk("AAAA"), "`x`"),
        // Small order, small order, a second spelling.
        (&ed25519_jwk(&base64([0; 32])), "point of Ed25519"),
        (&ed25519_jwk(&one), "point of Ed25519"),
        (&ed25519_jwk(&base64([0xff; 32])), "point of Ed25519"),
        (r#"{"kty":"oct","k":"AAAA"}"#, "3 bytes"),
        (r#"{"kty":"oct"}"#, "`k`"),
    ]);
}

#[test]
#[cfg(feature = "rs256")]
fn rsa_keys_have_2048_to_4096_bits_and_sound_parts() {
    let rsa1024 = Key::parse(include_str!("keys/rsa1024.pub.pem"));
    assert_eq!(rsa1024.map(drop), Err(KeyError::RsaBits { bits: 1024 }));
    let rsa4104 = Key::parse(include_str!("keys/rsa4104.pub.pem"));
    assert_eq!(rsa4104.map(drop), Err(KeyError::RsaBits { bits: 4104 }));

    let jwk = |n: &[u8], e: &[u8]| {
        let text = format!(r#"{{"kty":"RSA","n":"{}","e":"{}"}}"#, base64(n), base64(e));
        Key::parse(&text).map(|key| key.algorithm())
    };
    let mut unusual = [0xff; 256];
    assert_eq!(jwk(&unusual, &[1, 0, 1]), Ok(Algorithm::Rs256));
    assert_eq!(
        jwk(&[&[0, 0], &unusual[..]].concat(), &[0, 1, 0, 1]),
        Ok(Algorithm::Rs256)
    );
    assert_eq!(jwk(&unusual, &[3]), Ok(Algorithm::Rs256));
    for exponent in [&[0][..], &[1], &[2], &[1, 0, 0], &[4, 0, 0, 0, 1], &unusual] {
        assert_eq!(
            jwk(&unusual, exponent),
            Err(KeyError::RsaParts),
            "{exponent:?}"
        );
    }
    unusual[0] = 0x7f;
    assert_eq!(jwk(&unusual, &[3]), Err(KeyError::RsaBits { bits: 2047 }));
    assert_eq!(jwk(&[0; 256], &[3]), Err(KeyError::RsaBits { bits: 0 }));
    (unusual[0], unusual[255]) = (0xff, 0xfe);
    assert_eq!(
        jwk(&unusual, &[3]),
        Err(KeyError::RsaParts),
        "an even modulus"
    );
}

#[test]
fn private_keys_sign_for_their_public_halves() {
    let d = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI";
    let seed = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
    let oct = format!(r#"{{"kty":"oct","kid":"k","k":"{}"}}"#, base64(SECRET));
    let okp = ed25519_jwk(&format!(r#"{ED25519_X}","d":"{seed}"#));
    for (private, public) in [
        (P256, P256_PUB),
        (ED25519, ED25519_PUB),
        (
            &p256_jwk(&format!(r#","kid":"k","d":"{d}""#)),
            &p256_jwk(r#","kid":"k""#),
        ),
        (&okp, &ed25519_jwk(ED25519_X)),
        (&oct, &oct),
    ] {
        let token = signing(private).sign_json(CLAIMS);
        let verifier = verifier([key(public)]);
        assert!(verify(&verifier, &token).is_ok(), "{public}");
        assert_eq!(signing(private).key().id(), key(public).id());
    }
    for (text, error) in [
        (P256_PUB, KeyError::Public),
        (&p256_jwk(""), KeyError::Public),
        (&p256_jwk(&format!(r#","d":"{seed}""#)), KeyError::Halves),
        (&okp.replace(seed, d), KeyError::Halves),
        (RSA, KeyError::RsaSigns),
    ] {
        assert_eq!(SigningKey::parse(text).map(drop), Err(error), "{text}");
    }
    let sec1 = SigningKey::parse(include_str!("keys/p256.sec1.pem")).map(drop);
    assert!(sec1.is_err_and(|error| error.to_string().contains("openssl pkcs8 -topk8")));
    assert!(!format!("{:?}", signing(&oct)).contains("secret"));
}

#[test]
fn sixteen_keys_with_ids_of_their_own() {
    let key = |id: usize| key(&p256_jwk(&format!(r#","kid":"{id}""#)));
    assert!(Verifier::new((0..16).map(key)).is_ok());
    let many = Verifier::new((0..17).map(key)).map(drop);
    assert_eq!(many, Err(KeyError::Many { count: 17 }));
    let same = Verifier::new([key(1), key(2), key(1)]).map(drop);
    assert_eq!(same, Err(KeyError::SameId { id: "1".into() }));
}
