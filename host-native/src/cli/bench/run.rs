//! A run, from the first connection to the last.

use std::{cell::RefCell, pin::pin, rc::Rc, time::Duration};

use tokio::{
    signal,
    sync::mpsc,
    task::spawn_local,
    time::{Instant, Interval, interval_at, sleep_until},
};

use super::{
    client::Client,
    load::Load,
    progress::{Progress, Stage},
    schedule::Schedule,
    target::{Entered, Target},
};

const SECOND: Duration = Duration::from_secs(1);

/// A run with all that it needs.
pub(super) struct Run {
    load: Rc<RefCell<Load>>,
    target: Rc<Target>,
    progress: Progress,
    seconds: Interval,
    interrupts: mpsc::Receiver<()>,
    interrupted: bool,
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waited {
    Done,
    Overdue,
}

impl Run {
    /// Takes over with the first connection.
    pub(super) fn new(load: Load, target: Target, first: Entered) -> Self {
        let load = Rc::new(RefCell::new(load));
        let client = Client::new(load.clone(), 0, first);
        spawn_local(work(load.clone(), client));
        Self {
            load,
            target: Rc::new(target),
            progress: Progress::new(),
            seconds: interval_at(Instant::now() + SECOND, SECOND),
            interrupts: interrupts(),
            interrupted: false,
        }
    }

    /// Makes the load, unless it is interrupted; returns whether it was.
    pub(super) async fn complete(&mut self) -> bool {
        self.connect().await;
        if !self.interrupted {
            self.publish().await;
            self.wait_for_deliveries().await;
        }
        self.close().await;
        self.interrupted
    }

    pub(super) fn load(&self) -> std::cell::Ref<'_, Load> {
        self.load.borrow()
    }

    async fn connect(&mut self) {
        let opener = spawn_local(open(self.load.clone(), self.target.clone()));
        self.wait(Stage::Connecting, None, Load::is_settled).await;
        opener.abort();
    }

    async fn publish(&mut self) {
        // One second of lateness is made up for; a server or a machine that cannot keep up at all
        // must not turn ten seconds into minutes.
        const GRACE: Duration = Duration::from_secs(1);
        let start = Instant::now();
        let (end, rate) = {
            let mut load = self.load.borrow_mut();
            let (warmup, duration) = (load.plan().warmup(), load.plan().duration());
            load.measure(warmup, duration);
            (start + warmup + duration, load.plan().rate)
        };
        let schedule = Schedule::new(rate, start, Some(end));
        let pacer = spawn_local(pace(self.load.clone(), schedule));
        let done = |load: &Load| pacer.is_finished() || load.open() == 0;
        self.wait(Stage::Publishing, Some(end + GRACE), done).await;
        pacer.abort();
        self.load.borrow_mut().stop_measuring();
    }

    /// Waits until everything has arrived, or nothing arrives any more.
    async fn wait_for_deliveries(&mut self) {
        const QUIET: Duration = Duration::from_secs(2);
        loop {
            let before = self.load.borrow().sum().received;
            let deadline = Instant::now() + QUIET;
            let waited = self
                .wait(Stage::Waiting, Some(deadline), Load::is_complete)
                .await;
            if waited == Waited::Done || self.load.borrow().sum().received == before {
                return;
            }
        }
    }

    async fn close(&mut self) {
        const CLOSE_TIME: Duration = Duration::from_secs(5);
        self.load.borrow_mut().release();
        let deadline = Instant::now() + CLOSE_TIME;
        self.wait(Stage::Closing, Some(deadline), Load::is_deserted)
            .await;
    }

    /// Waits until the load is `done`, or for the deadline, and tells each second how it goes. An
    /// interrupt ends any wait but those for the end.
    async fn wait(
        &mut self,
        stage: Stage,
        deadline: Option<Instant>,
        done: impl Fn(&Load) -> bool,
    ) -> Waited {
        let changed = self.load.borrow().changed();
        let mut overdue = pin!(sleep_until(deadline.unwrap_or_else(Instant::now)));
        loop {
            if done(&self.load.borrow()) {
                return Waited::Done;
            }
            tokio::select! {
                () = changed.notified() => {}
                () = &mut overdue, if deadline.is_some() => return Waited::Overdue,
                Some(()) = self.interrupts.recv() => {
                    self.interrupted = true;
                    if matches!(stage, Stage::Connecting | Stage::Publishing) {
                        return Waited::Overdue;
                    }
                }
                _ = self.seconds.tick() => {
                    let line = self.progress.line(stage, &self.load.borrow());
                    say!("{line}");
                }
            }
        }
    }
}

/// The first Ctrl-C; a second one is not waited for politely.
fn interrupts() -> mpsc::Receiver<()> {
    let (sender, receiver) = mpsc::channel(1);
    spawn_local(async move {
        if signal::ctrl_c().await.is_ok() {
            let _ = sender.send(()).await;
            let _ = signal::ctrl_c().await;
            std::process::exit(1);
        }
    });
    receiver
}

/// Opens all connections but the first.
async fn open(load: Rc<RefCell<Load>>, target: Rc<Target>) {
    let (mut seats, per_second) = {
        let load = load.borrow();
        (
            1..load.plan().connections as usize,
            load.plan().connect_rate,
        )
    };
    let mut schedule = Schedule::new(per_second, Instant::now(), None);
    while let Some(due) = schedule.next().await {
        for _ in 0..due.count {
            let Some(seat) = seats.next() else { return };
            spawn_local(enter(load.clone(), target.clone(), seat));
        }
    }
}

async fn enter(load: Rc<RefCell<Load>>, target: Rc<Target>, seat: usize) {
    let room = load.borrow().room(seat);
    match target.enter(&room).await {
        Ok(entered) => {
            let client = Client::new(load.clone(), seat, entered);
            work(load, client).await;
        }
        Err(fault) => load.borrow_mut().failed(&fault.reason()),
    }
}

async fn work(load: Rc<RefCell<Load>>, client: Client) {
    client.run().await;
    load.borrow_mut().left();
}

/// Publishes on schedule. As a task of its own it waits for its turn behind all connections that
/// have something to read, so that its lag is theirs.
async fn pace(load: Rc<RefCell<Load>>, mut schedule: Schedule) {
    while let Some(due) = schedule.next().await {
        load.borrow_mut().publish(due.count, due.lag);
    }
    load.borrow().changed().notify_one();
}
