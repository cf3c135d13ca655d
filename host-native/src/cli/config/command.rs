//! `roomcast config`.

use std::{path::PathBuf, process::ExitCode};

use roomcast::Access;

use super::{ConfigPath, Contents, explain, template};
use crate::cli::{
    client::failure::Failure,
    say,
    serve::{ServeArgs, setting_names},
};

/// Commands on the file of `--config`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ConfigArgs {
    /// Check a file; exit code 2 and the line to change when it cannot be used
    Check {
        /// The file
        #[arg(value_name = "FILE", env = "ROOMCAST_CONFIG", hide_env = true)]
        file: PathBuf,
    },
    /// Print a file with every setting, its default and its meaning
    Default,
    /// Explain which policy and which grants hold in a room
    Explain {
        /// The room
        room: String,
        /// The user; nobody without it
        #[arg(long)]
        user: Option<String>,
        /// The file
        #[arg(long, value_name = "FILE", env = "ROOMCAST_CONFIG", hide_env = true)]
        config: PathBuf,
    },
}

impl ConfigArgs {
    /// Does what the command says, and prints it.
    ///
    /// # Errors
    ///
    /// A [`Failure`] of the file, or that nothing can be printed.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Check { file } => {
                let contents = read(&file)?;
                let policies = &contents.reload.policies;
                let (rooms, grants) = (policies.iter().count(), policies.grants().iter().count());
                say::result(format_args!(
                    "{}: good: {} settings, {rooms} room policies, {grants} grants, {} hooks",
                    file.display(),
                    contents.settings.len(),
                    contents.hooks.len()
                ))?;
            }
            Self::Default => say::result(format_args!("{}", template::all().trim_end()))?,
            Self::Explain { room, user, config } => {
                let Contents { reload, .. } = read(&config)?;
                let said = explain::explain(&reload.policies, &room, user.as_deref());
                say::result(format_args!("{}", said.trim_end()))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Reads a file as a server does, without flags and variables.
fn read(file: &std::path::Path) -> anyhow::Result<Contents> {
    let path = ConfigPath::new(file.into(), setting_names());
    let contents = path.read(&Access::default()).map_err(Failure::usage)?;
    let name = path.name();
    let mut args = ServeArgs::default();
    let taken = args.take_file(&name, &contents.settings);
    taken.map_err(Failure::usage)?;
    let settings = args.settings_with(&contents.reload);
    let checked = settings.check();
    checked.map_err(|fault| Failure::usage(format_args!("{name}: {fault}")))?;
    Ok(contents)
}
