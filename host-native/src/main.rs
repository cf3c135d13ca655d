//! The `roomcast` command: parses arguments, and calls the library.

#![forbid(unsafe_code)]
#![warn(clippy::print_stderr)]

mod cli;

fn main() -> std::process::ExitCode {
    cli::panics();
    // Installed first, since a terminal may be closed at once.
    let hangups = cli::Hangups::of_server(std::env::args_os());
    match cli::Cli::read(std::env::args_os()) {
        Ok(cli) => cli.run(hangups),
        Err(fault) => cli::explain(&fault),
    }
}
