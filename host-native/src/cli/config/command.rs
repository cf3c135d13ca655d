//! `roomcast config`.

use std::{path::Path, path::PathBuf, process::ExitCode};

use roomcast::{Access, Settings, SourceError, SourceOf, Tokens, check_sources};

use super::{
    ConfigPath, Contents,
    check::{FileError, line_of_table, read_all},
    explain, template,
};
use crate::cli::{
    client::failure::Failure,
    say,
    serve::{ServeArgs, setting_names},
};

/// Commands on the file of `--config`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ConfigArgs {
    /// Check a file; exit code 2 and each line to change when it cannot be used
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
    /// Runs the command, and prints its result.
    ///
    /// # Errors
    ///
    /// A [`Failure`] of the file, or an error of the output.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Check { file } => {
                let Checked {
                    contents,
                    tokens,
                    warnings,
                    ..
                } = read(&file, check_sources)?;
                let policies = &contents.reload.policies;
                let (rooms, grants) = (policies.iter().count(), policies.grants().iter().count());
                say::result(format_args!(
                    "{}: good: {} settings, {rooms} room policies, {grants} grants, {} hooks{}",
                    file.display(),
                    contents.settings.len(),
                    contents.reload.hooks.len(),
                    if contents.reload.ask.is_some() {
                        ", ask"
                    } else {
                        ""
                    }
                ))?;
                let name = file.display().to_string();
                for warning in warnings {
                    say!("{}", warning.of(&name));
                }
                for warning in tokens.grant_warnings(policies.grants()) {
                    say!("{name}: {warning}");
                }
            }
            Self::Default => say::result(format_args!("{}", template::all().trim_end()))?,
            Self::Explain { room, user, config } => {
                // Files and variables that it names may exist only on another machine.
                let Checked { contents, text, .. } = read(&config, |_| Vec::new())?;
                let policies = &contents.reload.policies;
                let said = explain::explain(policies, &text, &room, user.as_deref());
                say::result(format_args!("{}", said.trim_end()))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A file without an error.
struct Checked {
    contents: Contents,
    text: String,
    /// The settings of tokens, from the file alone.
    tokens: Tokens,
    /// Warnings about variables that are not set here.
    warnings: Vec<FileError>,
}

/// Makes the error about a file or a variable that the settings name, with the line that names it.
fn source_error(text: &str, contents: &Contents, fault: SourceError) -> FileError {
    let SourceError { of, text: told, .. } = fault;
    let line = match of {
        SourceOf::Setting(name) => {
            let mut settings = contents.settings.iter();
            settings.find(|it| it.name == name).map(|it| it.line)
        }
        SourceOf::Hook(number) => line_of_table(text, "hooks", number),
        SourceOf::Ask => {
            let mut lines = text.lines();
            let line = lines.position(|line| line.trim_start().starts_with("[ask]"));
            line.map(|line| line + 1)
        }
        _ => None,
    };
    FileError { line, text: told }
}

/// Reads a file as a server does, without flags and variables; `sources` checks the files and
/// variables that it names.
fn read(file: &Path, sources: impl Fn(&Settings) -> Vec<SourceError>) -> anyhow::Result<Checked> {
    let path = ConfigPath::new(file.into(), setting_names());
    let text = path.text().map_err(Failure::usage)?;
    let name = path.name();
    let (contents, mut errors) = read_all(&text, |text| path.contents(text, &Access::default()));
    let mut args = ServeArgs::default();
    let (mut tokens, mut warnings) = (Tokens::default(), Vec::new());
    for setting in contents.iter().flat_map(|contents| &contents.settings) {
        errors.extend(args.take_setting(setting).err());
    }
    if let Some(contents) = contents.as_ref().filter(|_| errors.is_empty()) {
        let mut settings = args.settings_with(&contents.reload);
        settings.hooks.clone_from(&contents.reload.hooks);
        settings.ask.clone_from(&contents.reload.ask);
        let checked = settings.check();
        for fault in sources(&settings) {
            let is_unset = fault.is_unset;
            let error = source_error(&text, contents, fault);
            if is_unset { &mut warnings } else { &mut errors }.push(error);
        }
        tokens = settings.access.tokens;
        errors.extend(checked.err().map(|fault| FileError {
            line: None,
            text: fault.to_string(),
        }));
    }
    errors.sort_by_key(|error| error.line);
    match contents.filter(|_| errors.is_empty()) {
        Some(contents) => Ok(Checked {
            contents,
            text,
            tokens,
            warnings,
        }),
        None => {
            let errors = errors.iter().map(|error| error.of(&name).to_string());
            let errors: Vec<_> = errors.collect();
            Err(Failure::usage(errors.join("\n  ")).into())
        }
    }
}
