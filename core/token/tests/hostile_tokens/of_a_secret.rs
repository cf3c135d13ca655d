//! Tokens for a server with one secret.

use super::{At, Cases, Group, HEADER, SECRET, base64, hmac, labelled, signed, token};

impl At {
    /// For a server with one secret.
    pub(super) fn of_a_secret(self) -> Group {
        let exp = |exp: u64| token(HEADER, format!(r#"{{"sub":"alice","exp":{exp}}}"#));
        let late = format!(r#""nbf":{}"#, self.0 + 7200);
        let hostile = [
            ("algorithm", self.of_other_algorithms()),
            ("unknown_key", self.of_other_keys()),
            ("header", self.with_bad_headers()),
            ("malformed", self.malformed()),
            ("malformed", self.with_bad_json()),
            ("signature", self.with_bad_signatures()),
            ("claims", self.with_bad_times()),
            ("claims", self.with_bad_claims()),
            ("grants", self.with_bad_grants()),
            (
                "expired",
                vec![("long ago", exp(0)), ("just ago", exp(self.0 - 10))],
            ),
            ("not_yet", vec![("later", self.with(&late))]),
            (
                "audience",
                vec![("that nobody set", self.with(r#""aud":"roomcast""#))],
            ),
        ];
        let hostile = hostile.into_iter();
        Group {
            keys: vec![format!("hs256:{SECRET}")],
            has_conditions: false,
            sound: vec![token(HEADER, self.claims())],
            hostile: hostile
                .flat_map(|(label, cases)| labelled(label, cases))
                .collect(),
        }
    }

    fn of_other_algorithms(self) -> Cases {
        let unsigned = |alg: &str| {
            format!(
                "{}.",
                signed(format!(r#"{{"alg":"{alg}"}}"#), self.claims())
            )
        };
        vec![
            ("none, unsigned", unsigned("none")),
            ("none, signed", self.said("none")),
            ("none in capitals", unsigned("NONE")),
            ("none in mixed case", unsigned("nOnE")),
            ("no name", self.said("")),
            ("lower case", self.said("hs256")),
            ("a space", self.said("HS256 ")),
            ("a longer hash", self.said("HS512")),
            ("no algorithm", token("{}", self.claims())),
        ]
    }

    fn of_other_keys(self) -> Cases {
        vec![
            ("another algorithm", self.said("ES256")),
            ("another algorithm with two names", self.said("Ed25519")),
        ]
    }

    fn with_bad_headers(self) -> Cases {
        let long = format!(r#""kid":"{}""#, "k".repeat(257));
        vec![
            ("a number", token(r#"{"alg":256}"#, self.claims())),
            ("a list", token(r#"{"alg":["HS256"]}"#, self.claims())),
            (
                "its own key",
                self.header(r#""jwk":{"kty":"oct","k":"AAAA"}"#),
            ),
            (
                "a URL of keys",
                self.header(r#""jku":"https://evil.example/""#),
            ),
            (
                "a URL of a certificate",
                self.header(r#""x5u":"https://evil.example/""#),
            ),
            (
                "critical extensions",
                self.header(r#""crit":["b64"],"b64":false"#),
            ),
            ("no critical extension", self.header(r#""crit":[]"#)),
            ("a null URL", self.header(r#""jku":null"#)),
            ("a key that is a number", self.header(r#""kid":1"#)),
            ("a key that is null", self.header(r#""kid":null"#)),
            ("a long key", self.header(&long)),
        ]
    }

    fn malformed(self) -> Cases {
        let sound = token(HEADER, self.claims());
        let (parts, signature) = sound.rsplit_once('.').expect("parts");
        let (head, claims) = parts.split_once('.').expect("parts");
        // 32 bytes leave two bits in the last character, which must be zero.
        let (start, last) = signature.split_at(signature.len() - 1);
        let twin = char::from(last.as_bytes()[0] + 1);
        let long = format!(r#""x":"{}""#, "x".repeat(6100));
        vec![
            ("nothing", String::new()),
            ("a word", "token".into()),
            ("two parts", parts.into()),
            ("four parts", format!("{sound}.{signature}")),
            ("five parts", format!("{sound}.{signature}.{signature}")),
            ("empty parts", "..".into()),
            ("over 8 KiB", self.with(&long)),
            ("a megabyte", "a".repeat(1 << 20)),
            ("padding", format!("{sound}=")),
            (
                "padding in the header",
                format!("{head}=.{claims}.{signature}"),
            ),
            ("plain base64", format!("{parts}.+/{}", &signature[2..])),
            ("a line break", format!("{sound}\n")),
            ("a space", format!(" {sound}")),
            ("a prefix", format!("Bearer {sound}")),
            ("a letter beyond ASCII", format!("{sound}\u{e9}")),
            ("a NUL", format!("{sound}\0")),
            ("a second spelling", format!("{parts}.{start}{twin}")),
        ]
    }

    fn with_bad_json(self) -> Cases {
        let nested = format!(r#"{{"a":{}{}}}"#, "[".repeat(3000), "]".repeat(3000));
        let twice = r#"{"alg":"none","alg":"HS256"}"#;
        let escaped = r#"{"alg":"HS256","\u0061lg":"none"}"#;
        vec![
            ("a header that is a list", token("[]", self.claims())),
            (
                "a header that is a string",
                token(r#""HS256""#, self.claims()),
            ),
            (
                "a header that is no JSON",
                token("alg=HS256", self.claims()),
            ),
            (
                "a header with more behind it",
                token(format!("{HEADER}{{}}"), self.claims()),
            ),
            ("an empty header", token("", self.claims())),
            ("two algorithms", token(twice, self.claims())),
            ("two algorithms, one escaped", token(escaped, self.claims())),
            ("claims that are a list", token(HEADER, "[]")),
            ("claims that are no JSON", token(HEADER, "sub=alice")),
            (
                "claims that are no text",
                token(HEADER, b"{\"sub\":\"\xff\"}"),
            ),
            ("claims that are empty", token(HEADER, "")),
            ("claims that are deep", token(HEADER, nested)),
            ("a claim twice", self.with(r#""exp":1900000000"#)),
            (
                "a claim twice, escaped",
                self.with(r#""e\u0078p":1900000000"#),
            ),
            (
                "a claim twice, inside",
                self.with(r#""meta":{"a":[{"b":1,"b":2}]}"#),
            ),
            ("a number beyond all", self.with(r#""nbf":1e999"#)),
            ("half a character", self.with(r#""meta":"\ud800""#)),
        ]
    }

    fn with_bad_signatures(self) -> Cases {
        let sound = token(HEADER, self.claims());
        let (parts, signature) = sound.rsplit_once('.').expect("parts");
        let root = format!(r#"{{"sub":"root","exp":{}}}"#, self.end());
        let other = signed(HEADER, root);
        let by = |secret: &str| format!("{parts}.{}", base64(hmac(secret, parts)));
        vec![
            ("none", format!("{parts}.")),
            ("half of one", format!("{parts}.{}", &signature[..20])),
            ("a longer one", format!("{sound}AAAA")),
            ("zeros", format!("{parts}.{}", base64([0; 32]))),
            ("that of other claims", format!("{other}.{signature}")),
            ("that of another secret", by("other")),
            ("that of an empty secret", by("")),
        ]
    }

    fn with_bad_times(self) -> Cases {
        let exp = |exp: &str| token(HEADER, format!(r#"{{"sub":"alice","exp":{exp}}}"#));
        vec![
            ("no end", token(HEADER, r#"{"sub":"alice"}"#)),
            ("a null end", exp("null")),
            ("an end that is a string", exp(r#""1800000060""#)),
            ("an end that is a list", exp("[1800000060]")),
            ("an end that is true", exp("true")),
            ("an end before time", exp("-1")),
            ("an end in milliseconds", exp("1800000060000")),
            ("an end that never comes", exp("1e300")),
            ("a beginning that is a string", self.with(r#""nbf":"0""#)),
            ("a beginning that is null", self.with(r#""nbf":null"#)),
            ("made at a string", self.with(r#""iat":"0""#)),
        ]
    }

    fn with_bad_claims(self) -> Cases {
        let exp = format!(r#""exp":{}"#, self.end());
        let sub = |sub: &str| token(HEADER, format!(r#"{{{exp},"sub":{sub}}}"#));
        let long = format!(r#""{}""#, "x".repeat(201));
        vec![
            ("no user", token(HEADER, format!("{{{exp}}}"))),
            ("an empty user", sub(r#""""#)),
            ("a user that is a number", sub("1")),
            ("a user of 201 bytes", sub(&long)),
            ("a user with a line break", sub(r#""a\nb""#)),
            ("an issuer that is a list", self.with(r#""iss":["me"]"#)),
            ("an audience that is a number", self.with(r#""aud":1"#)),
            (
                "an audience that is an object",
                self.with(r#""aud":{"a":"b"}"#),
            ),
            ("rooms that are a string", self.with(r#""rooms":"a""#)),
            ("rooms that are numbers", self.with(r#""rooms":[1]"#)),
        ]
    }

    fn with_bad_grants(self) -> Cases {
        let rule = r#"{"rooms":"a","can":["join"]}"#;
        let many = format!(r#""grants":[{}]"#, vec![rule; 33].join(","));
        let long = format!(r#""grants":[{{"rooms":"{}","can":[]}}]"#, "x".repeat(257));
        let own = r#"[{"rooms":"u:{user}","can":["join"]}]"#;
        let star = format!(r#"{{"sub":"*","exp":{},"grants":{own}}}"#, self.end());
        vec![
            ("33 rules", self.with(&many)),
            ("a long pattern", self.with(&long)),
            (
                "nothing known",
                self.with(r#""grants":[{"rooms":"a","can":["rule"]}]"#),
            ),
            (
                "a condition",
                self.with(r#""grants":[{"rooms":"a","can":[],"if":1}]"#),
            ),
            ("null", self.with(r#""grants":null"#)),
            ("for a user who is every user", token(HEADER, star)),
        ]
    }
}
