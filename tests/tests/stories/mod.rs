//! Stories for all servers: traces, those that are for the core alone, and how many random ones.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use proptest::test_runner::Config;
use roomcast_tests::{Settings, Trace};

const HEARTBEAT: &str = "a server's clients answer pings by themselves, and it takes too long";
const RATE: &str = "a server counts the questions that show that all answers are there";
const STALL: &str = "the kernel takes what a client does not read";
const SECOND: &str = "withdrawals count in whole seconds, and a server's clock goes on";
const CRASH: &str = "a server that begins again listens elsewhere; `kill.rs` is about processes";

/// Traces that are for the core alone, and why.
const CORE_ONLY: [(&str, &str); 16] = [
    ("bytes_over_the_rate", RATE),
    ("crash_forgets_who_is_there", CRASH),
    ("crash_with_a_store", CRASH),
    ("crash_without_a_store", CRASH),
    ("heartbeat_can_be_off", HEARTBEAT),
    ("heartbeat_closes_the_silent", HEARTBEAT),
    ("heartbeat_counts_any_sign_of_life", HEARTBEAT),
    ("publish_key_outlives_a_crash", CRASH),
    ("rate_limit_refills", RATE),
    ("slow_reader_asks_before_it_reads", STALL),
    ("slow_reader_begins_a_frame", STALL),
    ("slow_reader_drop_oldest", STALL),
    ("slow_reader_is_closed_and_recovers", STALL),
    ("slow_reader_latest", STALL),
    ("slow_reader_leaves_before_it_reads", STALL),
    ("token_withdrawn", SECOND),
];

pub(crate) fn traces() -> Vec<Trace> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/traces");
    Trace::read_dir(directory).unwrap_or_else(|fault| panic!("{fault}"))
}

/// Returns the traces that are for servers too.
pub(crate) fn for_servers() -> Vec<Trace> {
    let mut traces = traces();
    for (name, reason) in CORE_ONLY {
        let known = traces.iter().position(|trace| trace.name() == name);
        traces.remove(known.unwrap_or_else(|| panic!("no trace is called {name}: {reason}")));
    }
    traces
}

/// Runs each trace, those in which time passes all at once beside the others, and panics with all
/// failures.
pub(crate) fn tell(traces: &[Trace], run: impl Fn(&Trace) -> Result<(), String> + Sync) {
    assert!(!traces.is_empty(), "no trace runs");
    let (long, short): (Vec<_>, Vec<_>) = traces
        .iter()
        .partition(|trace| trace.duration() > Duration::ZERO);
    let mut faults = Vec::new();
    thread::scope(|scope| {
        let run = &run;
        let long = long
            .into_iter()
            .map(|trace| scope.spawn(move || run(trace)));
        let long: Vec<_> = long.collect();
        faults.extend(short.into_iter().filter_map(|trace| run(trace).err()));
        for trace in long {
            match trace.join() {
                Ok(result) => faults.extend(result.err()),
                Err(_) => faults.push("a trace panicked, see above".into()),
            }
        }
    });
    let (count, report) = (faults.len(), faults.join("\n"));
    assert!(
        faults.is_empty(),
        "{count} of {} traces failed:\n{report}",
        traces.len()
    );
}

/// The shortest pause of this machine after which what is due in a trace may come too early.
const STALL_MIN: Duration = Duration::from_millis(500);

/// Runs a trace in what `start` gives, which gets the number of the attempt. Where this machine
/// stood still, what is due later in the story comes too early: a trace that fails so is run again,
/// from the start. What does not come at all is a fault, however slow the run was.
pub(crate) fn in_time<S>(
    trace: &Trace,
    start: impl Fn(u32) -> S,
    run: impl Fn(S) -> Result<(), String>,
) -> Result<(), String> {
    const AGAIN: u32 = 4;
    let is_timed = trace.duration() > Duration::ZERO;
    for attempt in 0.. {
        let started = start(attempt);
        let stalls = Stalls::watch();
        let Err(fault) = run(started) else {
            break;
        };
        let may_be_early = is_timed && stalls.total() >= STALL_MIN && differs(&fault);
        if attempt == AGAIN || !may_be_early {
            return Err(fault);
        }
        eprintln!("run again, as this machine stood still:\n{fault}");
    }
    Ok(())
}

/// True when the fault of a trace is something that came, and not something that is missing.
fn differs(fault: &str) -> bool {
    let marked = fault
        .lines()
        .filter_map(|it| it.trim_start().strip_prefix("!!"));
    let mut told = marked.map(str::trim);
    told.any(|it| {
        let came = ["got: ", "unexpected: ", "refused: "];
        came.iter().any(|word| it.starts_with(word)) && !it.ends_with(" gets nothing")
    })
}

/// The time for which a busy machine made a thread that does nothing wait.
struct Stalls(Arc<AtomicU64>);

impl Stalls {
    fn watch() -> Self {
        let total = Arc::new(AtomicU64::new(0));
        let watched = Arc::downgrade(&total);
        thread::spawn(move || {
            let tick = Duration::from_millis(20);
            while let Some(total) = watched.upgrade() {
                let began = Instant::now();
                thread::sleep(tick);
                let late = began.elapsed().saturating_sub(tick);
                total.fetch_add(late.as_millis().try_into().unwrap_or(u64::MAX), Relaxed);
            }
        });
        Self(total)
    }

    fn total(&self) -> Duration {
        Duration::from_millis(self.0.load(Relaxed))
    }
}

#[test]
fn a_message_that_is_missing_is_none_that_came_early() {
    let fault = |story: &str| {
        let trace = Trace::parse("a story", format!("# A story.\nann connects\n{story}"));
        let ended = trace.expect("a story").run(&mut Settings::default().core());
        ended.expect_err("it differs").to_string()
    };
    let missing = r#"ann gets {"event":"hello"}"#;
    let early = [r#"ann sends {"event":"$rooms","id":1}"#, missing].join("\n");
    assert!(!differs(&fault(missing)), "{}", fault(missing));
    assert!(differs(&fault(&early)), "{}", fault(&early));
}

/// The namespace of an attempt at a trace, on a server that has others.
pub(crate) fn namespace(trace: &Trace, attempt: u32) -> String {
    match attempt {
        0 => trace.name().to_owned(),
        again => format!("{}-{again}", trace.name()),
    }
}

/// The configuration of a property with at least so many cases. A failure leaves no seed behind:
/// its story becomes a trace.
pub(crate) fn config(cases_min: u32) -> Config {
    let config = Config::default();
    Config {
        failure_persistence: None,
        cases: config.cases.max(cases_min),
        ..config
    }
}

/// The same with a part of the cases, and with few steps of shrinking: each is a story over
/// sockets.
pub(crate) fn config_over_sockets(part: u32) -> Config {
    let config = config(0);
    Config {
        cases: config.cases / part,
        max_shrink_iters: 500,
        ..config
    }
}
