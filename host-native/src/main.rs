//! The `roomcast` command: parses, and calls the library.

#![forbid(unsafe_code)]

mod cli;

fn main() -> std::process::ExitCode {
    match <cli::Cli as clap::Parser>::try_parse() {
        Ok(cli) => cli.run(),
        Err(fault) => cli::explain(&fault),
    }
}
