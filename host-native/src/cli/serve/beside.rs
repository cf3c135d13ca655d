//! The settings of the server that has the same variables, for a check that runs beside it.

use clap::{Args, Command, FromArgMatches};
use roomcast::{Access, Settings};

use super::{
    super::{client::failure::Failure, config::ConfigPath, mistake},
    ServeArgs, platform_port, port_address, setting_names,
};

impl ServeArgs {
    /// Reads settings from the environment variables, and from the file that they name. The
    /// server's flags are unknown here.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when a variable or the file is wrong.
    pub(crate) fn of_environment() -> Result<Settings, Failure> {
        let command = Self::augment_args(Command::new("roomcast"));
        let matches = command.try_get_matches_from(["roomcast"]);
        let args = matches.and_then(|matches| Self::from_arg_matches(&matches));
        let mut args = args.map_err(|fault| Failure::usage(mistake(&fault, std::iter::empty())))?;
        if let Some(path) = args.program.config.clone() {
            let config = ConfigPath::new(path, setting_names());
            let usage = |fault| Failure::usage(format_args!("--config: {fault}"));
            let read = config.read(&Access::default()).map_err(usage)?;
            let taken = args.take_file(&config.name(), &read.settings);
            taken.map_err(usage)?;
            args.settings.access.api_keys.extend(read.reload.api_keys);
        }
        if !args.has_address {
            let port = std::env::var("PORT").ok();
            let port = platform_port(port.as_deref()).map_err(Failure::usage)?;
            if let Some(port) = port {
                args.settings.listen = port_address(&args.settings, port);
            }
        }
        Ok(args.settings)
    }
}
