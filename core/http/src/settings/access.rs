//! The settings of [`Access`].

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
};

use roomcast_token::JwksUrlError;

use super::{
    setting::{Group::Access as Group, Setting},
    value::{DAY_MS, list, on_or_off},
};
use crate::access::{Access, token_keys};

type Rule = Setting<Access>;

/// Settings of [`Access`], which every host has.
#[rustfmt::skip] // Few lines for each setting.
pub const ACCESS: &[Rule] = &[
    Rule::list("api-key", "KEY", |it, text| list(text).map(|list| it.api_keys = list))
        .help(Group, "Key of the HTTP API, or better its hash as `roomcast key` prints it, such as \
            read:sha256:HEX; repeat it, or separate by commas, to change keys without a gap"),
    Rule::switch("keyless-api", |it| &mut it.keyless_api)
        .help(Group, "Whether programs on this machine may use the HTTP API while it has no key"),
    Rule::list("allow-origin", "ORIGIN", |it, text| list(text).map(|list| it.allow_origins = list))
        .help(Group, "Origin of web pages that may connect: https://example.com, \
            https://*.example.com"),
    Rule::list("allow-host", "HOST", |it, text| list(text).map(|list| it.allow_hosts = list))
        .help(Group, "Host name that is taken on loopback, beside loopback names: chat.example"),
    Rule::list("token-key", "KEY", |it, text| token_keys(text).map(|keys| it.tokens.keys = keys))
        .help(Group, "Key that verifies tokens: hs256:SECRET, or a file with a public key in PEM or \
            JWK; repeat it to change keys without a gap"),
    Rule::text("jwks", "URL",
        |it| it.tokens.jwks.as_ref().map_or_else(String::new, ToString::to_string), read_jwks)
        .help(Group, "URL of the published keys that verify tokens"),
    Rule::number("jwks-interval-ms", 100..=3_600_000, |it| &mut it.tokens.jwks_pace.interval)
        .help(Group, "Time between two fetches of published keys, at least, whatever tokens name"),
    Rule::number("jwks-refresh-ms", 100..=DAY_MS, |it| &mut it.tokens.jwks_pace.refresh)
        .help(Group, "Time after which published keys are fetched again: so long a removed one is \
            still taken"),
    Rule::text("token-issuer", "ISSUER", |it| shown(it.tokens.issuer.as_deref()),
        |it, text| read_text(text).map(|text| it.tokens.issuer = Some(text.into())))
        .help(Group, "Issuer that each token must name (iss)"),
    Rule::text("token-audience", "AUDIENCE", |it| shown(it.tokens.audience.as_deref()),
        |it, text| read_text(text).map(|text| it.tokens.audience = Some(text.into())))
        .help(Group, "Audience that each token must name (aud); without it a token must have none"),
    Rule::text("anonymous", "on|off",
        |it| shown(it.tokens.anonymous.map(|is_on| if is_on { "on" } else { "off" })),
        |it, text| on_or_off(text).map(|is_on| it.tokens.anonymous = Some(is_on)))
        .help(Group, "Whether clients without a token may connect; off once there is a token key or \
            --jwks"),
    Rule::list("namespaces", "A,B", |it, text| list(text).map(|list| it.namespaces = Some(list)))
        .help(Group, "Namespaces that exist, separated by commas; without it any"),
    Rule::switch("page", |it| &mut it.page)
        .help(Group, "The page at / to try the server with"),
    Rule::switch("metrics", |it| &mut it.metrics)
        .help(Group, "The path /metrics"),
];

fn shown(text: Option<&str>) -> String {
    text.unwrap_or_default().to_owned()
}

fn read_text(text: &str) -> Result<&str, String> {
    let fits = !text.is_empty() && !text.contains(char::is_control);
    fits.then_some(text)
        .ok_or_else(|| "must be a text without control characters".to_owned())
}

fn read_jwks(access: &mut Access, text: &str) -> Result<(), String> {
    let url = text
        .parse()
        .map_err(|fault: JwksUrlError| format!("cannot be used: {fault}"))?;
    access.tokens.jwks = Some(url);
    Ok(())
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::access::{ApiKey, KeyScope};
    use crate::settings::setting::{SettingError, read_variables};

    fn read(name: &str, value: &str) -> Result<Access, SettingError> {
        let mut access = Access::default();
        let variable = |other: &str| (other == name).then(|| value.to_owned());
        read_variables(ACCESS, &mut access, variable)?;
        access.check().map(|()| access)
    }

    /// Lists come so out of files and templates.
    #[test]
    fn blanks_and_line_ends_around_entries_do_not_count() {
        for text in ["a,b", " a , b ", "a,\n b\r\n", "\ta,b"] {
            let keys = read("ROOMCAST_API_KEY", text).expect(text).api_keys;
            assert_eq!(keys, ["a", "b"].map(ApiKey::new), "{text:?}");
            let access = read("ROOMCAST_NAMESPACES", text).expect(text);
            assert!(access.has_namespace("a") && access.has_namespace("b"));
            assert!(!access.has_namespace("c"));
        }
        let origins = read("ROOMCAST_ALLOW_ORIGIN", "https://a.com ,\nhttps://b.com");
        assert_eq!(origins.expect("origins").allow_origins.len(), 2);
        let hosts = read("ROOMCAST_ALLOW_HOST", "a.com,*.b.com");
        assert_eq!(hosts.expect("hosts").allow_hosts.len(), 2);
    }

    #[test]
    fn each_switch_has_its_field() {
        let off = |name| read(name, "off").expect("a switch");
        assert!(!off("ROOMCAST_KEYLESS_API").keyless_api);
        assert!(!off("ROOMCAST_PAGE").page && off("ROOMCAST_PAGE").metrics);
        assert!(!off("ROOMCAST_METRICS").metrics);
    }

    #[test]
    fn a_wrong_value_names_its_variable() {
        for (name, bad) in [
            ("ROOMCAST_NAMESPACES", "a,,b"),
            ("ROOMCAST_NAMESPACES", ""),
            ("ROOMCAST_API_KEY", "a b"),
            ("ROOMCAST_API_KEY", "read:a"),
            ("ROOMCAST_API_KEY", "a,publish:sha256:12"),
            ("ROOMCAST_ALLOW_ORIGIN", "*"),
            ("ROOMCAST_ALLOW_HOST", "https://a.com"),
            ("ROOMCAST_KEYLESS_API", "yes"),
            ("ROOMCAST_TOKEN_KEY", "hs256:too short"),
            ("ROOMCAST_JWKS", "http://a.com/jwks.json"),
            ("ROOMCAST_JWKS_INTERVAL_MS", "99"),
            ("ROOMCAST_JWKS_INTERVAL_MS", "3600001"),
            ("ROOMCAST_JWKS_REFRESH_MS", "86400001"),
            ("ROOMCAST_JWKS_REFRESH_MS", "29999"),
            ("ROOMCAST_TOKEN_ISSUER", ""),
            ("ROOMCAST_TOKEN_AUDIENCE", "alone"),
            ("ROOMCAST_ANONYMOUS", "yes"),
            ("ROOMCAST_PAGE", ""),
            ("ROOMCAST_PAGE", "On"),
            ("ROOMCAST_METRICS", "0"),
        ] {
            let fault = read(name, bad).expect_err(bad).to_string();
            assert!(fault.starts_with(&format!("{name} ")), "{fault}");
        }
    }

    #[test]
    fn keys_and_hashes_with_scopes_stand_in_one_list() {
        let keys = ["a", "b", "c"].map(ApiKey::new);
        let [plain, publish, read] = &keys;
        let publish = publish.clone().with_scope(KeyScope::Publish);
        let read = read.clone().with_scope(KeyScope::Read);
        let text = format!("a, {},{}", publish.hashed(), read.hashed());
        let found = read_keys(&text).expect("keys");
        assert_eq!(found, [plain.clone(), publish, read]);
    }

    #[test]
    fn there_are_so_many_keys_and_no_more() {
        let text = |count| (0..count).map(|key| format!("k{key},")).collect::<String>();
        let read = |count| read_keys(text(count).trim_end_matches(','));
        assert_eq!(read(64).map(|keys| keys.len()), Ok(64));
        let fault = read(65).expect_err("one too many").to_string();
        assert!(fault.starts_with("ROOMCAST_API_KEY has 65 keys"), "{fault}");
        assert!(fault.contains("64"), "{fault}");
    }

    fn read_keys(text: &str) -> Result<Vec<ApiKey>, SettingError> {
        read("ROOMCAST_API_KEY", text).map(|access| access.api_keys)
    }
}
