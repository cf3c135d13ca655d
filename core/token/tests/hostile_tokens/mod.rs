//! The table of tokens that must be refused, each with its cause. The verifier is held against it,
//! and each host: the package `roomcast-tests` has this file too.

mod of_a_secret;

use base64ct::{Base64UrlUnpadded, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use roomcast_token::SigningKey;
use sha2::Sha256;

pub(crate) const SECRET: &str = "a secret of at least thirty-two bytes";

pub(crate) const P256: &str = include_str!("../keys/p256.pem");
pub(crate) const P256_PUB: &str = include_str!("../keys/p256.pub.pem");
pub(crate) const ED25519: &str = include_str!("../keys/ed25519.pem");
pub(crate) const ED25519_PUB: &str = include_str!("../keys/ed25519.pub.pem");
pub(crate) const RSA_PUB: &str = include_str!("../keys/rsa2048.pub.pem");

pub(crate) const HEADER: &str = r#"{"alg":"HS256"}"#;

/// The issuer and the audience of a server with conditions.
pub(crate) const ISSUER: &str = "me";
pub(crate) const AUDIENCE: &str = "rooms";

/// Tokens for a server with certain settings.
pub(crate) struct Group {
    /// Keys, as settings have them.
    pub(crate) keys: Vec<String>,
    /// True for a server that wants [`ISSUER`] and [`AUDIENCE`].
    pub(crate) has_conditions: bool,
    /// Tokens that it takes: so it refuses the others for their own cause.
    pub(crate) sound: Vec<String>,
    pub(crate) hostile: Vec<Hostile>,
}

/// A token that is refused.
pub(crate) struct Hostile {
    pub(crate) name: &'static str,
    /// The cause, as [`TokenError::label`](roomcast_token::TokenError::label) has it.
    pub(crate) label: &'static str,
    pub(crate) token: String,
}

/// All groups, at a time in seconds since 1970. They hold for an hour. `rsa` says whether the
/// server knows RS256.
pub(crate) fn groups(now_s: u64, rsa: bool) -> Vec<Group> {
    let at = At(now_s);
    let groups = [
        at.of_a_secret(),
        at.with_conditions(),
        at.of_public_keys(rsa),
        at.of_named_keys(rsa),
        at.of_curves(),
    ];
    let count = groups
        .iter()
        .map(|group| group.hostile.len())
        .sum::<usize>();
    assert!(count > 130, "{count} cases");
    groups.into()
}

pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
    Base64UrlUnpadded::encode_string(bytes.as_ref())
}

/// The two signed parts of a token.
pub(crate) fn signed(header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
    format!("{}.{}", base64(header), base64(claims))
}

/// Signs parts by HMAC with any secret.
pub(crate) fn hmac(secret: impl AsRef<[u8]>, signed: &str) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_ref()).expect("any length");
    let mac = mac.chain_update(signed.as_bytes()).finalize();
    mac.into_bytes().to_vec()
}

/// A token with this header and these claims, signed with [`SECRET`].
pub(crate) fn token(header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
    let signed = signed(header, claims);
    let signature = hmac(SECRET, &signed);
    format!("{signed}.{}", base64(signature))
}

/// Refused tokens, each with its name.
type Cases = Vec<(&'static str, String)>;

/// Gives all cases their cause.
fn labelled(label: &'static str, cases: Cases) -> impl Iterator<Item = Hostile> {
    let cases = cases.into_iter();
    cases.map(move |(name, token)| Hostile { name, label, token })
}

/// The time of a table, in seconds since 1970.
#[derive(Clone, Copy)]
struct At(u64);

impl At {
    /// An end that is far enough.
    const fn end(self) -> u64 {
        self.0 + 3600
    }

    /// Sound claims.
    fn claims(self) -> String {
        format!(r#"{{"sub":"alice","exp":{}}}"#, self.end())
    }

    /// A token with the sound header, and a claim added to the sound ones.
    fn with(self, members: &str) -> String {
        let sound = self.claims();
        let (claims, _) = sound.rsplit_once('}').expect("an object");
        token(HEADER, format!("{claims},{members}}}"))
    }

    /// A token with the sound claims, and members added to the header.
    fn header(self, members: &str) -> String {
        token(format!(r#"{{"alg":"HS256",{members}}}"#), self.claims())
    }

    /// A token with the sound claims that says another algorithm.
    fn said(self, alg: &str) -> String {
        token(format!(r#"{{"alg":"{alg}"}}"#), self.claims())
    }

    /// For a server that wants an issuer and an audience.
    fn with_conditions(self) -> Group {
        let hostile = [
            (r#""aud":"rooms""#, "claims"),
            (r#""iss":"me""#, "claims"),
            (r#""iss":null,"aud":"rooms""#, "claims"),
            (r#""iss":"Me","aud":"rooms""#, "issuer"),
            (r#""iss":"me ","aud":"rooms""#, "issuer"),
            (r#""iss":["me"],"aud":"rooms""#, "claims"),
            (r#""iss":"me","aud":"Rooms""#, "audience"),
            (r#""iss":"me","aud":[]"#, "audience"),
            (r#""iss":"me","aud":["other"]"#, "audience"),
            (r#""iss":"me","aud":["rooms",1]"#, "claims"),
            (r#""iss":"me","aud":null"#, "claims"),
            (r#""iss":"me","aud":{"0":"rooms"}"#, "claims"),
        ];
        let hostile = hostile.into_iter();
        Group {
            keys: vec![format!("hs256:{SECRET}")],
            has_conditions: true,
            sound: vec![
                self.with(r#""iss":"me","aud":"rooms""#),
                self.with(r#""iss":"me","aud":["other","rooms"]"#),
            ],
            hostile: hostile
                .flat_map(|(name, label)| labelled(label, vec![(name, self.with(name))]))
                .collect(),
        }
    }

    /// Old attacks on one algorithm by means of another: HS256, with a public key as its secret.
    fn of_public_keys(self, rsa: bool) -> Group {
        let public = [P256_PUB, ED25519_PUB, RSA_PUB];
        let secrets = public.into_iter().flat_map(|text| [text, text.trim()]);
        let cases = secrets.map(|secret| {
            let parts = signed(HEADER, self.claims());
            let token = format!("{parts}.{}", base64(hmac(secret, &parts)));
            ("over the text of a public key", token)
        });
        Group {
            keys: public[..if rsa { 3 } else { 2 }]
                .iter()
                .map(|&text| text.into())
                .collect(),
            has_conditions: false,
            sound: [P256, ED25519].map(|text| self.by(text)).into(),
            hostile: labelled("unknown_key", cases.collect()).collect(),
        }
    }

    /// For a server whose secrets have names.
    fn of_named_keys(self, rsa: bool) -> Group {
        let secret = |id: &str, secret: &str| {
            format!(r#"{{"kty":"oct","kid":"{id}","k":"{}"}}"#, base64(secret))
        };
        let names = ["c", "../../../dev/null", "' UNION SELECT 'a' --", ""];
        let unknown = names.map(|id| (id, self.header(&format!(r#""kid":"{id}""#))));
        let others = &["ES256", "EdDSA", "RS256"][..if rsa { 3 } else { 2 }];
        let others = others.iter().map(|&alg| {
            let header = format!(r#"{{"alg":"{alg}","kid":"k"}}"#);
            (alg, token(header, self.claims()))
        });
        let other = vec![("that of another key", self.header(r#""kid":"b""#))];
        Group {
            keys: vec![secret("k", SECRET), secret("b", &"x".repeat(40))],
            has_conditions: false,
            sound: vec![self.header(r#""kid":"k""#)],
            hostile: labelled("unknown_key", unknown.into())
                .chain(labelled("algorithm", others.collect()))
                .chain(labelled("signature", other))
                .collect(),
        }
    }

    /// Signatures by elliptic curves, which have one form.
    fn of_curves(self) -> Group {
        let one = [[0; 31].as_slice(), &[1]].concat();
        let forged = [
            ("r = s = 0, once accepted by Java", vec![0; 64]),
            ("r = s = 1", [one.clone(), one].concat()),
            ("over the order", vec![0xff; 64]),
            ("empty", vec![]),
            ("a short one", vec![0; 63]),
            ("a long one", vec![0; 65]),
            (
                "DER",
                [&[0x30, 0x06, 0x02, 0x01, 1, 0x02, 0x01, 1][..], &[0; 56]].concat(),
            ),
        ];
        let sound = [P256, ED25519].map(|text| self.by(text));
        let cases = sound.iter().flat_map(|sound| {
            let (parts, _) = sound.rsplit_once('.').expect("parts");
            let forged = forged.iter();
            forged.map(move |(name, bytes)| (*name, format!("{parts}.{}", base64(bytes))))
        });
        Group {
            keys: vec![P256_PUB.into(), ED25519_PUB.into()],
            has_conditions: false,
            hostile: labelled("signature", cases.collect()).collect(),
            sound: sound.into(),
        }
    }

    /// A token with the sound claims, by a private key.
    fn by(self, key: &str) -> String {
        SigningKey::parse(key)
            .expect("a key")
            .sign_json(&self.claims())
    }
}
