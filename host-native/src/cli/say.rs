//! Remarks on standard error. Nobody may be there to take them: then they are lost, and nothing else.

use std::{
    fmt,
    io::{self, Write},
};

/// Prints a line on standard error, in place of `eprintln!`, which panics when it cannot.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::cli::say::line(format_args!($($text)*))
    };
}

pub(super) fn line(text: fmt::Arguments<'_>) {
    // Whole, so that lines of several threads do not mix.
    let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// Prints the result of a command on standard output. A reader that has gone, as in `| head`, has seen
/// enough.
///
/// # Errors
///
/// When it cannot be written for another reason.
pub(super) fn result(text: fmt::Arguments<'_>) -> io::Result<()> {
    match io::stdout().write_all(format!("{text}\n").as_bytes()) {
        Err(fault) if fault.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
