//! `roomcast generate`: shell completions and man pages from the definition of the command line.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Command, ValueEnum};
use clap_complete::Shell;

use super::say;

const AFTER_HELP: &str = "\
Examples:
  roomcast generate bash > /usr/share/bash-completion/completions/roomcast
  roomcast generate man --dir /usr/local/share/man/man1";

/// Print completions for a shell, or man pages
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct GenerateArgs {
    kind: Kind,
    /// Write files into this existing folder: for man a page for each command
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Man,
    Bash,
    Elvish,
    Fish,
    #[value(name = "powershell")]
    PowerShell,
    Zsh,
}

impl Kind {
    const fn shell(self) -> Option<Shell> {
        match self {
            Self::Man => None,
            Self::Bash => Some(Shell::Bash),
            Self::Elvish => Some(Shell::Elvish),
            Self::Fish => Some(Shell::Fish),
            Self::PowerShell => Some(Shell::PowerShell),
            Self::Zsh => Some(Shell::Zsh),
        }
    }
}

/// Makes files from the definition of the command line.
///
/// # Errors
///
/// When they cannot be written.
pub(crate) fn run(args: &GenerateArgs, mut program: Command) -> anyhow::Result<ExitCode> {
    match (args.kind.shell(), &args.dir) {
        (None, None) => {
            let mut page = Vec::new();
            clap_mangen::Man::new(program).render(&mut page)?;
            print(page)?;
        }
        (None, Some(folder)) => {
            let failed = || format!("cannot write man pages into {}", folder.display());
            clap_mangen::generate_to(program, folder).with_context(failed)?;
        }
        (Some(shell), None) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut program, "roomcast", &mut script);
            print(script)?;
        }
        (Some(shell), Some(folder)) => {
            let failed = || format!("cannot write completions into {}", folder.display());
            fs::metadata(folder).with_context(failed)?;
            let written = clap_complete::generate_to(shell, &mut program, "roomcast", folder);
            written.with_context(failed)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print(text: Vec<u8>) -> anyhow::Result<()> {
    let text = String::from_utf8(text)?;
    say::result(format_args!("{}", text.trim_end())).context("cannot write to the output")
}
