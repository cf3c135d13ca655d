//! Connections to the listener for administration: so many at one time.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use tokio::{
    select,
    sync::{AcquireError, Notify, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::http::Requests;

/// The connections that there may be at one time, beside one that waits.
pub(crate) const GUESTS_MAX: usize = 32;

/// Time without a request after which a connection ends when others wait. A client that asks again
/// and again would else often lose a request to the end.
const IDLE: Duration = Duration::from_millis(200);

/// The pause between two looks for a connection that may end.
const LOOK: Duration = Duration::from_millis(50);

/// The least time between two warnings.
const WARNINGS: Duration = Duration::from_secs(60);

/// The connections to one listener. When all permits are taken, the one that is idle for longest
/// ends for the next: backends keep theirs open, and a probe must get through all the same.
#[derive(Debug)]
pub(super) struct Guests {
    permits: Arc<Semaphore>,
    seen: Vec<Seen>,
    warned: Option<Instant>,
}

/// A connection as it was last looked at.
#[derive(Debug)]
struct Seen {
    guest: Weak<Guest>,
    /// Requests until then; `None` with one in work.
    requests: Option<u64>,
    since: Instant,
}

/// A connection that has a permit, until this is dropped.
#[derive(Debug)]
pub(super) struct Guest {
    requests: Arc<Requests>,
    leave: Notify,
    #[allow(dead_code)] // only its end matters
    permit: OwnedSemaphorePermit,
}

impl Guests {
    pub(super) fn new() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(GUESTS_MAX)),
            seen: Vec::new(),
            warned: None,
        }
    }

    /// A permit for a connection that was accepted.
    ///
    /// # Errors
    ///
    /// Never: the permits are not taken away.
    pub(super) async fn admit(&mut self) -> Result<Arc<Guest>, AcquireError> {
        self.look();
        let permit = match self.permits.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self.make_room().await?,
        };
        let guest = Arc::new(Guest {
            requests: Arc::default(),
            leave: Notify::new(),
            permit,
        });
        self.seen.push(Seen {
            guest: Arc::downgrade(&guest),
            requests: Some(0),
            since: Instant::now(),
        });
        Ok(guest)
    }

    async fn make_room(&mut self) -> Result<OwnedSemaphorePermit, AcquireError> {
        self.warn();
        loop {
            let is_one_idle = self.end_idle();
            // With all of them in use the next answer on each is its last.
            self.have_end(!is_one_idle);
            if let Ok(permit) = timeout(LOOK, self.permits.clone().acquire_owned()).await {
                self.have_end(false);
                return permit;
            }
            self.look();
        }
    }

    /// Notes what has gone on since the last look.
    fn look(&mut self) {
        let now = Instant::now();
        self.seen.retain_mut(|seen| {
            let Some(guest) = seen.guest.upgrade() else {
                return false;
            };
            let requests = guest.requests.idle();
            if requests.is_none() || requests != seen.requests {
                (seen.requests, seen.since) = (requests, now);
            }
            true
        });
    }

    /// Ends the connection that is idle for longest; false when each was in use just now.
    fn end_idle(&self) -> bool {
        let is_idle = |seen: &&Seen| seen.requests.is_some() && seen.since.elapsed() >= IDLE;
        let idle = self.seen.iter().filter(is_idle);
        let longest = idle.min_by_key(|seen| seen.since);
        if let Some(guest) = longest.and_then(|seen| seen.guest.upgrade()) {
            guest.leave.notify_one();
        }
        longest.is_some()
    }

    fn have_end(&self, ends: bool) {
        let guests = self.seen.iter().filter_map(|seen| seen.guest.upgrade());
        guests.for_each(|guest| guest.requests.have_end(ends));
    }

    fn warn(&mut self) {
        if self.warned.is_none_or(|at| at.elapsed() >= WARNINGS) {
            self.warned = Some(Instant::now());
            tracing::warn!(
                "all {GUESTS_MAX} connections of --admin-listen are taken, and the one that is idle for \
                 longest ends for each that comes: have backends keep fewer open, or lower \
                 --keep-alive-ms (ROOMCAST_KEEP_ALIVE_MS)"
            );
        }
    }
}

impl Guest {
    pub(super) const fn requests(&self) -> &Arc<Requests> {
        &self.requests
    }

    /// Serves the connection until it ends, or has to while nothing is worked on for it.
    pub(super) async fn stay(&self, mut connection: impl Future<Output = ()> + Unpin) {
        loop {
            select! {
                biased; // a request that is there goes first
                () = &mut connection => return,
                () = self.leave.notified() => if self.requests.idle().is_some() {
                    return;
                },
            }
        }
    }
}
