//! Standard error: the log of the server, and the messages of commands.

pub(super) mod filter;
pub(super) mod json;

use std::{
    io::{self, Write},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use tracing::Level;

/// True when the lines of the process are JSON.
static JSON: AtomicBool = AtomicBool::new(false);

/// Writes every line of the process as JSON from here on.
pub(super) fn speak_json() {
    JSON.store(true, Relaxed);
}

/// Formats a message of the program that is not an event, as whole lines in the format of the log.
pub(super) fn lines(level: Level, text: &str) -> String {
    if JSON.load(Relaxed) {
        json::line(level, text.strip_prefix("roomcast: ").unwrap_or(text))
    } else {
        format!("{text}\n")
    }
}

/// The largest number of lines that wait for a slow reader; further lines are lost.
const LINES: usize = 4_096;
/// The longest wait for pending lines at the end, and for a single message of a command.
const PATIENCE: Duration = Duration::from_millis(500);

/// Standard error, written by a separate thread.
///
/// A log that cannot be written, or that nobody reads, costs nothing but its lines: no thread of
/// the server waits for it, and none ends by its errors.
#[derive(Debug, Clone)]
pub(super) struct Log {
    orders: SyncSender<Order>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Order {
    Write(Vec<u8>),
    /// Dropped when everything before it is written.
    Flush(#[allow(dead_code)] SyncSender<()>), // only its end matters
}

impl Log {
    /// The log of this process, which begins with its first use.
    ///
    /// # Errors
    ///
    /// When its thread cannot be started.
    pub(super) fn of_process() -> io::Result<&'static Self> {
        static LOG: OnceLock<Log> = OnceLock::new();
        if let Some(log) = LOG.get() {
            return Ok(log);
        }
        let log = Self::to(io::stderr())?;
        Ok(LOG.get_or_init(|| log))
    }

    fn to(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (orders, taken) = sync_channel(LINES);
        let lost = Arc::new(AtomicU64::new(0));
        let log = Self {
            orders,
            lost: lost.clone(),
        };
        thread::Builder::new()
            .name("roomcast-log".into())
            .spawn(move || write(&taken, &lost, out))?;
        Ok(log)
    }

    /// Queues a whole line without waiting.
    pub(super) fn take(&self, line: Vec<u8>) {
        if self.orders.try_send(Order::Write(line)).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
    }

    /// Waits until all queued lines are written, at most [`PATIENCE`].
    pub(super) fn flush(&self) {
        self.flush_until(Instant::now() + PATIENCE);
    }

    /// Queues a line, and waits until it is written, at most [`PATIENCE`].
    pub(super) fn say(&self, line: String) {
        let end = Instant::now() + PATIENCE;
        if self.order(Order::Write(line.into()), end) {
            self.flush_until(end);
        }
    }

    fn flush_until(&self, end: Instant) {
        let (written, all_written) = sync_channel(0);
        if self.order(Order::Flush(written), end) {
            // Its end is the answer.
            let _ = all_written.recv_timeout(end.saturating_duration_since(Instant::now()));
        }
    }

    /// Queues an order; false when the queue stayed full until `end`.
    fn order(&self, mut order: Order, end: Instant) -> bool {
        loop {
            match self.orders.try_send(order) {
                Ok(()) => return true,
                Err(TrySendError::Full(back)) if Instant::now() < end => order = back,
                Err(_) => return false,
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Carries out orders until no sender is left.
fn write(orders: &Receiver<Order>, lost: &AtomicU64, mut out: impl Write) {
    while let Ok(order) = orders.recv() {
        if let Order::Write(line) = order {
            let lines = lost.swap(0, Relaxed);
            if lines > 0 {
                let text = format!("roomcast: {lines} lines of the log were lost here");
                let _ = out.write_all(self::lines(Level::WARN, &text).as_bytes());
            }
            let _ = out.write_all(&line);
        }
    }
}

impl Write for Log {
    /// Takes a whole line. Never fails.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.take(line.into());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use super::*;

    /// Writes what it may.
    #[derive(Clone, Default)]
    struct Out {
        text: Arc<Mutex<Vec<u8>>>,
        gate: Option<Arc<Mutex<Receiver<()>>>>,
    }

    impl Write for Out {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(gate) = &self.gate {
                let _ = gate.lock().unwrap().recv();
            }
            self.text.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A full disk.
    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_written_before_a_flush_ends() {
        let out = Out::default();
        let mut log = Log::to(out.clone()).unwrap();
        log.write_all(b"one\n").unwrap();
        log.write_all(b"two\n").unwrap();
        Log::flush(&log);
        assert_eq!(*out.text.lock().unwrap(), b"one\ntwo\n");
    }

    #[test]
    fn a_fault_of_the_output_is_no_fault_of_the_log() {
        let mut log = Log::to(Full).unwrap();
        for _ in 0..3 {
            log.write_all(b"line\n").unwrap();
            Log::flush(&log);
        }
    }

    #[test]
    fn nobody_waits_for_a_reader_that_takes_nothing_and_it_learns_what_it_lost() {
        let (open, gate) = mpsc::channel();
        let out = Out {
            gate: Some(Arc::new(Mutex::new(gate))),
            ..Out::default()
        };
        let mut log = Log::to(out.clone()).unwrap();
        // One more may be with the thread.
        for _ in 0..LINES + 10 {
            log.write_all(b"line\n").unwrap();
        }
        Log::flush(&log);
        drop(open);
        Log::flush(&log);
        log.write_all(b"last\n").unwrap();
        Log::flush(&log);
        let text = String::from_utf8(out.text.lock().unwrap().clone()).unwrap();
        let kept = text.lines().filter(|line| *line == "line").count();
        let lost: usize = text
            .lines()
            .filter_map(|line| {
                line.strip_prefix("roomcast: ")?
                    .split(' ')
                    .next()?
                    .parse::<usize>()
                    .ok()
            })
            .sum();
        assert!((LINES..=LINES + 1).contains(&kept), "{kept}");
        assert_eq!(kept + lost, LINES + 10);
        assert!(text.ends_with("last\n"));
    }
}
