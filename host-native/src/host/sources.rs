//! Checks of files and variables that settings name.

use std::env;

use roomcast_hooks::KeySource;
use roomcast_http::settings::SettingError;

use crate::{settings::Settings, shared::keys, tls::TlsGate};

/// A file or a variable named in settings that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceError {
    /// The part of the settings that names the source.
    pub of: SourceOf,
    /// The fault, and the remedy. The text contains no secrets.
    pub text: String,
    /// True for a variable that is not set in this process, but may be in another.
    pub is_unset: bool,
}

/// A part of settings that names a file or a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceOf {
    /// The setting of this name, such as `tls-cert`.
    Setting(&'static str),
    /// The endpoint of [`Settings::hooks`] with this number, from 1.
    Hook(usize),
    /// The backend of [`Settings::ask`].
    Ask,
}

impl SourceError {
    fn new(of: SourceOf, text: String) -> Self {
        let is_unset = false;
        Self { of, text, is_unset }
    }

    fn of_setting(fault: &SettingError) -> Self {
        let of = SourceOf::Setting(fault.name());
        Self::new(of, format!("--{} {}", fault.name(), fault.fault()))
    }
}

/// Reads all sources that settings name, as the server does at its start: certificates, keys of
/// tokens, and keys of endpoints and of the asked backend. Work: all those files are read.
pub fn check_sources(settings: &Settings) -> Vec<SourceError> {
    let mut faults = Vec::new();
    if let Err(fault) = TlsGate::open(settings) {
        let of = SourceOf::Setting(fault.setting());
        faults.push(SourceError::new(of, fault.to_string()));
    }
    let mut tokens = settings.access.tokens.clone();
    let read = tokens.read_files(|file| std::fs::read_to_string(file));
    let verifier = read.and_then(|()| tokens.verifier());
    faults.extend(verifier.err().as_ref().map(SourceError::of_setting));
    for (index, hook) in settings.hooks.iter().enumerate() {
        check_keys(SourceOf::Hook(index + 1), &hook.keys, &mut faults);
    }
    if let Some(ask) = &settings.ask {
        check_keys(SourceOf::Ask, &ask.keys, &mut faults);
    }
    faults
}

fn check_keys(of: SourceOf, sources: &[KeySource], faults: &mut Vec<SourceError>) {
    for source in sources {
        if let KeySource::Env(name) = source
            && env::var_os(&**name).is_none()
        {
            faults.push(SourceError {
                of,
                text: format!("the variable {name} of `keys` is not set here"),
                is_unset: true,
            });
        } else if let Err(fault) = keys::read(std::slice::from_ref(source)) {
            faults.push(SourceError::new(of, fault));
        }
    }
}
