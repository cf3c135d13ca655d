//! The file of settings.

use roomcast_core::Policies;
use roomcast_http::{ConfigFile, PolicyFileError, policies_from_toml};

const SECRET: &str = "s3cret";

/// Reads a text as a settings file, as a file of policies only, and as the rest of a file that
/// begins with an API key. Policies survive a round trip through JSON. An error names a line of the
/// file, and never a key.
///
/// # Panics
///
/// If one of these statements does not hold.
pub fn policy_file(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    check_secret(text);
    let file = ConfigFile::from_toml(text);
    let policies = policies_from_toml(text);
    for error in [file.as_ref().err(), policies.as_ref().err()] {
        check(text, error);
    }
    let Ok(policies) = policies else {
        return;
    };
    let file = file.map(|file| file.policies);
    assert_eq!(
        file.as_ref(),
        Ok(&policies),
        "a file has more than policies"
    );
    let json = serde_json::to_string(&policies).expect("policies have a form in JSON");
    let read: Policies = serde_json::from_str(&json).expect("policies can be read");
    assert_eq!(read, policies, "{json}");
    // Journals write them in this form: writing them twice gives the same text.
    assert_eq!(serde_json::to_string(&read).ok(), Some(json));
}

/// Checks that no error reveals a key, whatever follows the key.
fn check_secret(text: &str) {
    if text.contains(SECRET) {
        return;
    }
    for before in ["api_keys = [\"", "api_keys = \"", "api_keys = ["] {
        let file = format!("{before}{SECRET}{text}");
        if let Err(error) = ConfigFile::from_toml(&file) {
            let told = error.to_string();
            assert!(!told.contains(SECRET), "{told}: {file}");
        }
    }
}

/// Checks that an error is fit to show to the author of the file.
fn check(text: &str, error: Option<&PolicyFileError>) {
    let Some(error) = error else {
        return;
    };
    assert!(!error.fault().is_empty(), "an error that says nothing");
    let lines = text.matches('\n').count() + 1;
    let named = error.line().is_none_or(|line| (1..=lines).contains(&line));
    assert!(named, "{error}: the file has {lines} lines");
}
