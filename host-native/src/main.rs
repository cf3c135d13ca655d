//! The `roomcast` command: parses, and calls the library.

mod cli;

fn main() -> std::process::ExitCode {
    <cli::Cli as clap::Parser>::parse().run()
}
