//! The choice of the relay to ask: by flags, variables, and the file of `--config`.

use std::path::PathBuf;

use roomcast::Access;
use roomcast_relay::{RelayUrl, Settings};

use crate::cli::{client::failure::Failure, config::ConfigPath, serve::setting_names};

/// Flags that say where the relay is, and the form of the answer.
#[derive(Debug, clap::Args)]
pub(super) struct Source {
    /// Address of the relay, as servers have it: redis://user:password@host:6379
    #[arg(
        long,
        env = "ROOMCAST_RELAY",
        hide_env_values = true,
        value_name = "URL"
    )]
    relay: Option<RelayUrl>,
    /// Prefix of all keys and topics, as servers have it; default `roomcast:`, with redis+cluster
    /// `{roomcast}:`
    #[arg(long, env = "ROOMCAST_RELAY_PREFIX", value_name = "TEXT")]
    relay_prefix: Option<String>,
    /// File of the servers' settings, for what the flags do not say
    #[arg(long, env = "ROOMCAST_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print a JSON object
    #[arg(long)]
    pub(super) json: bool,
}

impl Source {
    /// The settings of the relay.
    ///
    /// # Errors
    ///
    /// When nothing names a relay, or the file cannot be used.
    pub(super) fn settings(&self) -> Result<Settings, Failure> {
        let (mut url, mut prefix) = (self.relay.clone(), self.relay_prefix.clone());
        if let Some(file) = &self.config {
            let file = ConfigPath::new(file.clone(), setting_names());
            let contents = file.read(&Access::default()).map_err(Failure::usage)?;
            let setting = |name: &str| {
                let mut settings = contents.settings.iter();
                let found = settings.find(|setting| setting.name == name);
                found.map(|setting| setting.text.to_string())
            };
            if url.is_none()
                && let Some(text) = setting("relay")
            {
                let parsed = text.parse::<RelayUrl>().map_err(|fault| {
                    Failure::usage(format_args!("{}: `relay`: {fault}", file.name()))
                });
                url = Some(parsed?);
            }
            prefix = prefix.or_else(|| setting("relay-prefix"));
        }
        let url = url.ok_or_else(|| {
            Failure::usage(
                "no relay is named: give --relay redis://host:6379 (ROOMCAST_RELAY), or --config FILE \
                 with `relay`",
            )
        })?;
        let mut settings = Settings::new(url);
        if let Some(prefix) = prefix {
            settings.prefix = prefix.into();
        }
        Ok(settings)
    }
}
