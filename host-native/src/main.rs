//! The `roomcast` command: parses, and calls the library.

#![forbid(unsafe_code)]

mod cli;

fn main() -> std::process::ExitCode {
    match cli::Cli::read(std::env::args_os()) {
        Ok(cli) => cli.run(),
        Err(fault) => cli::explain(&fault),
    }
}
