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

/// The error of invalid options. It says what to change.
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
    let limits = limits(&options.settings)?;
    check_limits(&limits).map_err(|fault| named(fault.name(), fault.fault()))?;
    let config = Config::new(options.epoch).with_limits(limits);
    Ok(config.with_policies(options.policies))
}

fn named(name: &str, fault: &str) -> OptionsError {
    OptionsError(format!("settings.{} {fault}", name.replace('-', "_")))
}

/// Reads limits in the order of their table, since some change values that others set.
fn limits(settings: &BTreeMap<String, Value>) -> Result<Limits, OptionsError> {
    let all = || LIMITS.iter().chain([&CONNECTIONS]);
    let names = || all().map(|setting| setting.name.replace('-', "_"));
    if let Some(name) = settings
        .keys()
        .find(|name| names().all(|known| known != **name))
    {
        let names = names().collect::<Vec<_>>().join(", ");
        return Err(named(name, &format!("is no setting; there are {names}")));
    }
    let mut limits = Limits::default();
    for (setting, name) in all().zip(names()) {
        let text = match settings.get(&name) {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => continue,
        };
        let read = setting.read(&mut limits, &text);
        read.map_err(|fault| named(fault.name(), fault.fault()))?;
    }
    Ok(limits)
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
        assert_eq!(
            (config.limits.heartbeat, config.limits.connections),
            (None, 7)
        );
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
        assert!(
            range.starts_with("settings.room_name_bytes_max must be"),
            "{range}"
        );
        let form = read(r#"{"epoch":"e","rooms":[]}"#).expect_err("a fault");
        assert!(
            form.to_string().starts_with("unknown field `rooms`"),
            "{form}"
        );
    }
}
