//! A run, from the first connection to the last.

use std::{
    collections::VecDeque,
    io, mem,
    net::{SocketAddr, TcpStream},
    process,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use roomcast_load::{ConnectError, Crowd, Event, Limits, Schedule, Wait, What};
use tokio::{runtime::Builder, signal};

use super::{
    load::Load,
    plan::Plan,
    progress::{Progress, Stage},
    target::{Target, reason},
};

const SECOND: Duration = Duration::from_secs(1);
/// The time that a connection may take until it is in its room.
const ENTER_TIME: Duration = Duration::from_secs(10);
/// The number of messages that may be unsent on a connection before it is skipped.
const WAITING_MAX: usize = 256;

/// A measurement in progress.
pub(super) struct Measurement {
    pub(super) load: Load,
    crowd: Crowd,
    address: SocketAddr,
    /// Phases by slot, which is the number in the crowd. A failed connection frees its slot.
    phases: Vec<Phase>,
    limits: Limits,
    /// The number of connections that were started.
    begun: u32,
    /// Connections that are entering: their start times and slots, the oldest first.
    entering: VecDeque<(Instant, usize)>,
    events: Vec<Event>,
    /// The schedule of connects, and later of publishes.
    schedule: Option<Schedule>,
    progress: Progress,
    second: Instant,
    interrupts: mpsc::Receiver<()>,
    interrupted: bool,
}

/// Progress of a connection.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Connecting since this time.
    Connecting(Instant),
    /// Joining: the start of the connection, and the time that it took until `$welcome`.
    Joining(Instant, Duration),
    Member,
    Gone,
}

impl Measurement {
    /// Opens the first connection.
    ///
    /// # Errors
    ///
    /// When the server does not let it in.
    pub(super) fn begin(plan: Plan, target: &Target, crowd: Crowd) -> Result<Self, ConnectError> {
        let begun = Instant::now();
        let stream = connect(&target.addresses)?;
        let mut run = Self {
            load: Load::new(plan),
            crowd,
            // Later connections use the address that worked.
            address: stream.peer_addr()?,
            phases: vec![Phase::Connecting(begun)],
            limits: Limits::default(),
            begun: 1,
            entering: VecDeque::new(),
            events: Vec::new(),
            schedule: None,
            progress: Progress::new(),
            second: begun + SECOND,
            interrupts: interrupts(),
            interrupted: false,
        };
        run.crowd.add(stream)?;
        let mut events = Vec::new();
        while let Some(time) = ENTER_TIME.checked_sub(begun.elapsed()) {
            run.crowd.turn(Wait::Event(time), &mut events);
            for event in events.drain(..) {
                if run.enter(event.id, event.what)? {
                    return Ok(run);
                }
            }
        }
        Err(overdue())
    }

    /// The limits that the server has announced.
    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Makes the load, unless it is interrupted; returns whether it was.
    pub(super) fn complete(&mut self) -> bool {
        (self.progress, self.second) = (Progress::new(), Instant::now() + SECOND);
        self.connect();
        if !self.interrupted {
            self.publish();
            self.wait_for_deliveries();
        }
        self.close();
        self.interrupted
    }

    fn connect(&mut self) {
        let rate = self.load.plan.connect_rate;
        self.schedule = Some(Schedule::new(rate, Instant::now(), None));
        self.wait(Stage::Connecting, None, |run| run.load.is_decided());
        self.schedule = None;
    }

    fn publish(&mut self) {
        // A delay of one second is made up for. A server or machine that cannot keep up at all must
        // not turn ten seconds into minutes.
        const GRACE: Duration = Duration::from_secs(1);
        let (rate, start) = (self.load.plan.rate, Instant::now());
        let (warmup, duration) = (self.load.plan.warmup(), self.load.plan.duration());
        let end = start + warmup + duration;
        self.load.measure(self.crowd.now_ns(), warmup, duration);
        self.schedule = Some(Schedule::new(rate, start, Some(end)));
        let done = |run: &Self| {
            run.load.tally.connections.open_at_end == 0
                || run.schedule.as_ref().is_none_or(Schedule::is_over)
        };
        self.wait(Stage::Publishing, Some(end + GRACE), done);
        self.schedule = None;
        self.load.stop_measuring(self.crowd.now_ns());
    }

    /// Waits until everything has arrived, or nothing arrives any more.
    fn wait_for_deliveries(&mut self) {
        const QUIET: Duration = Duration::from_secs(5);
        loop {
            let before = self.load.sum().received;
            let deadline = Some(Instant::now() + QUIET);
            let done = self.wait(Stage::Waiting, deadline, |run| run.load.is_complete());
            if done {
                return;
            }
            // This process may have stood still: what came meanwhile is not lost.
            self.take(Wait::Event(Duration::ZERO));
            if self.load.sum().received == before {
                return;
            }
        }
    }

    /// Lets all connections end.
    fn close(&mut self) {
        const CLOSE_TIME: Duration = Duration::from_secs(5);
        for slot in 0..self.phases.len() {
            match self.phases[slot] {
                Phase::Member => self.crowd.close(slot),
                Phase::Connecting(_) | Phase::Joining(..) | Phase::Gone => {
                    self.crowd.forget(slot);
                }
            }
            // Closes from here on are part of the end of the run, and are not counted.
            self.phases[slot] = Phase::Gone;
        }
        let deadline = Instant::now() + CLOSE_TIME;
        self.wait(Stage::Closing, Some(deadline), |run| run.crowd.is_empty());
    }

    /// Works until the run is `done` or the deadline has passed, and prints the progress each
    /// second. Returns true when it is done. An interrupt ends the stages of connecting and
    /// publishing.
    fn wait(
        &mut self,
        stage: Stage,
        deadline: Option<Instant>,
        done: impl Fn(&Self) -> bool,
    ) -> bool {
        while !done(self) {
            let now = Instant::now();
            if deadline.is_some_and(|deadline| now >= deadline) {
                return false;
            }
            if self.interrupts.try_recv().is_ok() {
                self.interrupted = true;
                if matches!(stage, Stage::Connecting | Stage::Publishing) {
                    return false;
                }
            }
            if now >= self.second {
                let line = self.progress.line(stage, &self.load, self.crowd.now_ns());
                say!("{line}");
                self.second += SECOND;
            }
            self.work(stage, now);
            let schedule = self.schedule.as_ref().map(Schedule::at);
            let next = [schedule, deadline].into_iter().flatten();
            let next = next.fold(self.second, Instant::min);
            self.take(Wait::Event(next.saturating_duration_since(now)));
        }
        true
    }

    /// Takes what has come, or comes within the wait.
    fn take(&mut self, wait: Wait) {
        let mut events = mem::take(&mut self.events);
        self.crowd.turn(wait, &mut events);
        for Event { id, what, at_ns } in events.drain(..) {
            self.handle(id, what, at_ns);
        }
        self.events = events;
    }

    /// Fails overdue connections, and starts the connects or publishes that are due.
    fn work(&mut self, stage: Stage, now: Instant) {
        let is_overdue = |&mut (begun, _): &mut (Instant, usize)| now - begun >= ENTER_TIME;
        while let Some((asked, slot)) = self.entering.pop_front_if(is_overdue) {
            if let Phase::Connecting(begun) | Phase::Joining(begun, _) = self.phases[slot]
                && begun == asked
            {
                self.fail(slot, &overdue());
            }
        }
        let Some(due) = self.schedule.as_mut().and_then(|due| due.next(now)) else {
            return;
        };
        if stage == Stage::Connecting {
            (0..due.count).for_each(|_| self.open());
            return;
        }
        self.load.tally.lag.record(due.lag);
        let bytes = self.load.plan.text_bytes();
        let unsent_max = WAITING_MAX * self.load.plan.payload_bytes;
        for _ in 0..due.count {
            let (now_ns, crowd) = (self.crowd.now_ns(), &self.crowd);
            let takes = |slot| crowd.unsent(slot) < unsent_max;
            if let Some((slot, stamp)) = self.load.publish(now_ns, takes) {
                self.crowd.publish(slot, stamp, bytes);
                self.crowd.flush(slot);
            }
        }
    }

    /// Starts the next connection.
    fn open(&mut self) {
        if self.begun == self.load.plan.connections {
            return;
        }
        self.begun += 1;
        let now = Instant::now();
        match self.crowd.connect(self.address) {
            Ok(slot) => {
                self.phases
                    .resize(self.phases.len().max(slot + 1), Phase::Gone);
                self.phases[slot] = Phase::Connecting(now);
                self.entering.push_back((now, slot));
            }
            Err(fault) => self.load.failed(&reason(&fault.into())),
        }
    }

    fn handle(&mut self, slot: usize, what: What, at_ns: u64) {
        match (self.phases[slot], what) {
            (Phase::Member, What::Message(stamp)) => self.load.delivered(slot, stamp, at_ns),
            (Phase::Member, What::Refusal(refusal)) => self.load.refused(slot, &refusal),
            (Phase::Member, What::Stray) => self.load.tally.deliveries.stray += 1,
            (Phase::Member, What::Bye(code)) => {
                self.load.closed(slot, code);
                // The server's close frame is answered.
                self.crowd.close(slot);
                self.leave(slot);
            }
            (Phase::Member, What::Ended(_)) => {
                self.load.closed(slot, 1006);
                self.leave(slot);
            }
            (Phase::Gone, What::Bye(_) | What::Ended(_)) => self.leave(slot),
            (Phase::Connecting(_) | Phase::Joining(..), what) => {
                if let Err(fault) = self.enter(slot, what) {
                    self.fail(slot, &fault);
                }
            }
            (Phase::Member | Phase::Gone, _) => {}
        }
    }

    /// Handles an event of a connection that is entering; true when it has joined its room.
    fn enter(&mut self, slot: usize, what: What) -> Result<bool, ConnectError> {
        match (what, self.phases[slot]) {
            (What::Ready(limits), Phase::Connecting(begun)) => {
                self.limits = limits;
                self.phases[slot] = Phase::Joining(begun, begun.elapsed());
                self.crowd.join(slot, self.load.room(slot));
            }
            (What::Joined, Phase::Joining(_, connect)) => {
                self.phases[slot] = Phase::Member;
                self.load.opened(slot, connect);
                return Ok(true);
            }
            (What::Refusal(refusal), _) => {
                let text = format!("{}: {}", refusal.code, refusal.message);
                return Err(ConnectError::Rejected(text));
            }
            (What::Bye(code), _) => {
                return Err(ConnectError::Rejected(format!("closed with {code}")));
            }
            (What::Ended(fault), _) => return Err(fault),
            _ => {}
        }
        Ok(false)
    }

    fn fail(&mut self, slot: usize, fault: &ConnectError) {
        self.leave(slot);
        self.load.failed(&reason(fault));
    }

    fn leave(&mut self, slot: usize) {
        self.phases[slot] = Phase::Gone;
        self.crowd.forget(slot);
    }
}

fn overdue() -> ConnectError {
    ConnectError::Unreachable("no answer within 10 s".to_owned())
}

/// Connects to the first address that answers.
fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, ConnectError> {
    let mut failed = io::Error::other("could not resolve to any address");
    for address in addresses {
        match TcpStream::connect_timeout(address, ENTER_TIME) {
            Ok(stream) => return Ok(stream),
            Err(fault) => failed = fault,
        }
    }
    let is_overdue = failed.kind() == io::ErrorKind::TimedOut;
    Err(if is_overdue { overdue() } else { failed.into() })
}

/// A receiver of the first Ctrl-C; a second one ends the process at once.
fn interrupts() -> mpsc::Receiver<()> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        let waited: io::Result<()> = runtime.and_then(|runtime| {
            runtime.block_on(async {
                signal::ctrl_c().await?;
                let _ = sender.send(());
                signal::ctrl_c().await?;
                process::exit(1)
            })
        });
        waited
    });
    receiver
}
