//! Options of a namespace, as JavaScript gives them.

use std::{collections::BTreeMap, fmt};

use roomcast_core::{Config, Limits, Policies};
use roomcast_http::settings::{LIMITS, Setting, check_limits, connections_max};
use serde::Deserialize;
use serde_json::Value;

/// Options of a namespace, JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// See [`Config::epoch`].
    epoch: String,
    /// Limits by the names of the file of settings, such as `heartbeat_ms`.
    #[serde(default)]
    settings: BTreeMap<String, Value>,
    /// Policies of rooms, and grants.
    #[serde(default)]
    policies: Policies,
}

/// Options that cannot be as they are. Says what to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionsError(String);

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for OptionsError {}

const CONNECTIONS: Setting<Limits> =
    connections_max(1 << 20, |limits: &mut Limits| &mut limits.connections);

/// Reads options.
pub(crate) fn read(json: &str) -> Result<Config, OptionsError> {
    let options: Options = serde_json::from_str(json).map_err(|fault| {
        let form = "options are {\"epoch\":\"...\",\"settings\":{...},\"policies\":{...}}";
        OptionsError(format!("{fault}; {form}"))
    })?;
    let mut limits = Limits::default();
    for (name, value) in &options.settings {
        set(&mut limits, name, value)?;
    }
    check_limits(&limits).map_err(|fault| named(fault.name(), fault.fault()))?;
    let config = Config::new(options.epoch).with_limits(limits);
    Ok(config.with_policies(options.policies))
}

fn named(name: &str, fault: &str) -> OptionsError {
    OptionsError(format!("settings.{} {fault}", name.replace('-', "_")))
}

fn set(limits: &mut Limits, name: &str, value: &Value) -> Result<(), OptionsError> {
    let is_it = |setting: &&Setting<Limits>| setting.name.replace('-', "_") == *name;
    let mut known = LIMITS.iter().chain([&CONNECTIONS]);
    let Some(setting) = known.find(is_it) else {
        let all = LIMITS.iter().chain([&CONNECTIONS]);
        let all: Vec<_> = all.map(|one| one.name.replace('-', "_")).collect();
        let all = all.join(", ");
        return Err(named(name, &format!("is no setting; there are {all}")));
    };
    let text = match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    let read = setting.read(limits, &text);
    read.map_err(|fault| named(name, fault.fault()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_the_names_of_the_file_of_settings() {
        let config = read(
            r#"{"epoch":"e","settings":{"heartbeat_ms":"off","connections_max":7},
                "policies":{"rooms":[{"match":"chat:*","history":{"messages":3}}]}}"#,
        )
        .expect("options");
        assert_eq!((config.limits.heartbeat, config.limits.connections), (None, 7));
        assert!(config.policies.of("chat:1").is_some());
    }

    #[test]
    fn an_error_names_what_to_change() {
        let fault = |settings: &str| {
            let options = format!(r#"{{"epoch":"e","settings":{settings}}}"#);
            read(&options).expect_err("a fault").to_string()
        };
        let unknown = fault(r#"{"heart":1}"#);
        assert!(unknown.starts_with("settings.heart is no setting; there are auth_time_ms,"));
        let range = fault(r#"{"room_name_bytes_max":0}"#);
        assert!(range.starts_with("settings.room_name_bytes_max must be"), "{range}");
        let form = read(r#"{"epoch":"e","rooms":[]}"#).expect_err("a fault");
        assert!(form.to_string().starts_with("unknown field `rooms`"), "{form}");
    }
}
