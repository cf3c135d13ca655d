//! Futures that handlers began, polled without waiting.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
};

use roomcast_core::{
    App, Gateway,
    gateway::{Token, Work},
};

use super::Core;
use crate::driver::DriverError;

/// With their namespaces. A clone has none, like the application that it belongs to.
#[derive(Default)]
pub(super) struct UnderWay(Vec<(Box<str>, Token, Work)>);

impl Clone for UnderWay {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// True when a future was woken while it was polled: it waits for nobody but itself.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

/// How often futures that wake themselves are polled: one that always does comes to no end.
const POLLS_MAX: usize = 1_000;

impl UnderWay {
    /// Takes out a future that is done.
    fn done<G: Gateway>(&mut self, core: &mut Core<G>) -> Result<bool, DriverError> {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut poll = || {
            let cx = &mut Context::from_waker(&waker);
            let mut all = self.0.iter_mut().enumerate();
            all.find_map(|(at, (_, _, work))| match work.as_mut().poll(cx) {
                Poll::Ready(outcome) => Some((at, outcome)),
                Poll::Pending => None,
            })
        };
        let mut done = poll();
        for _ in 1..POLLS_MAX {
            if done.is_some() || !woken.0.swap(false, Relaxed) {
                break;
            }
            done = poll();
        }
        let Some((at, outcome)) = done else {
            return Ok(false);
        };
        let (namespace, token, _) = self.0.remove(at);
        // Nobody may want it: then nothing happens.
        let _ = core.complete(&namespace, token, outcome)?;
        Ok(true)
    }
}

impl<G: Gateway> Core<G> {
    /// Goes on with what handlers began, as far as it gets without waiting.
    pub(crate) fn proceed(&mut self) -> Result<(), DriverError> {
        let mut under_way = std::mem::take(&mut self.under_way);
        let mut go_on = true;
        while go_on {
            for (namespace, app) in &mut self.apps {
                let work = App::take_work(app).into_iter();
                let work = work.map(|(token, work)| (namespace.clone(), token, work));
                under_way.0.extend(work);
            }
            go_on = under_way.done(self)?;
        }
        for (namespace, app) in &mut self.apps {
            let cancelled = app.take_cancelled();
            under_way
                .0
                .retain(|(home, token, _)| home != namespace || !cancelled.contains(token));
        }
        self.under_way = under_way;
        Ok(())
    }
}
