//! The `roomcast` command: parses, and calls the library.

#![forbid(unsafe_code)]
#![warn(clippy::print_stderr)]

mod cli;

fn main() -> std::process::ExitCode {
    cli::panics();
    match cli::Cli::read(std::env::args_os()) {
        Ok(cli) => cli.run(),
        Err(fault) => cli::explain(&fault),
    }
}
