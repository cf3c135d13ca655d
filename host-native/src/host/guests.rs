//! Connections to the admin listener, in a limited number.

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

/// The maximum number of connections, in addition to one that waits.
pub(crate) const GUESTS_MAX: usize = 32;

/// The time without a request after which a connection may be ended for a waiting one. Without it,
/// a client that sends one request after another would often lose one.
const IDLE: Duration = Duration::from_millis(200);

/// The pause between two searches for a connection that may be ended.
const LOOK: Duration = Duration::from_millis(50);

/// The minimum time between two warnings.
const WARNINGS: Duration = Duration::from_secs(60);

/// The connections to one listener. When all permits are taken, the connection that has been idle
/// for longest is ended for the next: backends keep connections open, but a probe must still get
/// through.
#[derive(Debug)]
pub(super) struct Guests {
    permits: Arc<Semaphore>,
    seen: Vec<Seen>,
    warned: Option<Instant>,
}

/// The state of a connection at the last check.
#[derive(Debug)]
struct Seen {
    guest: Weak<Guest>,
    /// The number of requests; `None` with one in progress.
    requests: Option<u64>,
    since: Instant,
}

/// A connection with a permit, until this is dropped.
#[derive(Debug)]
pub(super) struct Guest {
    requests: Arc<Requests>,
    leave: Notify,
    #[allow(dead_code)] // held for its drop
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

    /// Waits for a permit for an accepted connection.
    ///
    /// # Errors
    ///
    /// Never: the semaphore is not closed.
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
            // If all are in use, each ends with its next response.
            self.have_end(!is_one_idle);
            if let Ok(permit) = timeout(LOOK, self.permits.clone().acquire_owned()).await {
                self.have_end(false);
                return permit;
            }
            self.look();
        }
    }

    /// Updates the states of the connections.
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

    /// Ends the connection that has been idle for longest; false when all were in use recently.
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

    /// Serves the connection until it ends, or is told to end and has no request in progress.
    pub(super) async fn stay(&self, mut connection: impl Future<Output = ()> + Unpin) {
        loop {
            select! {
                biased; // a request that has arrived goes first
                () = &mut connection => return,
                () = self.leave.notified() => if self.requests.idle().is_some() {
                    return;
                },
            }
        }
    }
}
