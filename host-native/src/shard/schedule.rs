//! Schedules of applications: run when they are due, not at the next sweep.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::{Shard, sweep::SWEEP};
use crate::patience;

/// Schedules are looked at no more often than this, whatever their periods: it is what the clock
/// tells apart.
const PAUSE: Duration = Duration::from_millis(1);

impl Shard {
    /// Has the next deadline looked for anew.
    pub(crate) fn look_at_schedules(&self) {
        self.begun.notify_one();
    }

    /// Runs what is due, for as long as the shard lives.
    pub(crate) async fn keep_schedules(self: Rc<Self>) {
        let mut pause = PAUSE;
        loop {
            let namespaces = self.namespaces();
            let next = namespaces.iter().filter_map(|n| n.next_schedule()).min();
            drop(namespaces);
            let Some(due) = next else {
                self.begun.notified().await;
                continue;
            };
            tokio::select! {
                () = sleep(due.saturating_since(self.now()).max(pause)) => {
                    patience::turn().await;
                    if !self.patience.is_over(Instant::now()) {
                        pause = SWEEP;
                        continue;
                    }
                    pause = PAUSE;
                    for namespace in self.namespaces() {
                        namespace.timeout(&self);
                    }
                }
                () = self.begun.notified() => {}
            }
        }
    }
}
