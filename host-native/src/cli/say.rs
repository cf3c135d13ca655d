//! Messages on standard error. If nobody reads them, they are lost, without further harm.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    fmt,
    io::{self, Write},
    panic, thread,
};

use tracing::Level;

use super::log::{Log, lines};

/// Prints a line on standard error. Unlike `eprintln!`, it does not panic when that fails.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::cli::say::line(format_args!($($text)*))
    };
}

pub(super) fn line(text: fmt::Arguments<'_>) {
    // Written as a whole, so that lines of several threads do not mix.
    let line = lines(Level::ERROR, &text.to_string());
    match Log::of_process() {
        Ok(log) => log.say(line),
        // The thread of the log could not be started.
        Err(_) => drop(io::stderr().write_all(line.as_bytes())),
    }
}

/// Prints panics in the same way: a thread whose panic is caught must not wait for the reader of
/// standard error.
pub(crate) fn panics() {
    panic::set_hook(Box::new(|panic| {
        let (thread, trace) = (thread::current(), Backtrace::capture());
        let name = thread.name().unwrap_or("<unnamed>");
        let mut text = format!("roomcast: thread '{name}' {panic}");
        if trace.status() == BacktraceStatus::Captured {
            text = format!("{text}\n{trace}");
        }
        let text = lines(Level::ERROR, text.trim_end());
        match Log::of_process() {
            // A panic of this thread ends the process, so its message is waited for.
            Ok(log) if name == "main" => log.say(text),
            Ok(log) => log.take(text.into()),
            Err(_) => drop(io::stderr().write_all(text.as_bytes())),
        }
    }));
}

/// Prints the result of a command on standard output. A reader that has gone, as in `| head`, has
/// seen enough.
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

#[cfg(test)]
mod tests {
    use std::{
        env,
        process::{Command, Stdio, exit},
        time::{Duration, Instant},
    };

    use super::*;

    /// Runs in a process of its own, whose standard error is a pipe that is full.
    #[test]
    fn a_panic_that_is_caught_waits_for_no_reader() {
        const CHILD: &str = "ROOMCAST_TEST_PANICS";
        if env::var_os(CHILD).is_some() {
            panics();
            let panicked = thread::spawn(|| panic!("as planned")).join();
            exit(if panicked.is_err() { 7 } else { 8 });
        }
        let (_reader, mut full) = io::pipe().expect("a pipe");
        full.write_all(&[b'x'; 64 * 1024]).expect("there is room");
        let (_, module) = module_path!().split_once("::").expect("in a crate");
        let name = format!("{module}::a_panic_that_is_caught_waits_for_no_reader");
        let mut child = Command::new(env::current_exe().expect("a program"))
            .args([&name, "--exact", "--nocapture"])
            .env(CHILD, "1")
            .stdout(Stdio::null())
            .stderr(full)
            .spawn()
            .expect("a process");
        let end = Instant::now() + Duration::from_secs(30);
        let status = loop {
            let status = child.try_wait().expect("a process");
            if status.is_some() || Instant::now() > end {
                break status;
            }
            thread::sleep(Duration::from_millis(10));
        };
        let _ = child.kill();
        assert_eq!(status.and_then(|status| status.code()), Some(7));
    }
}
