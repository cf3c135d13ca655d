//! The thread that owns the connections to the relay.

use std::{sync::Arc, thread};

use tokio::{
    runtime::{Builder, LocalOptions},
    sync::oneshot,
    task::spawn_local,
};

use super::{exchange::Exchange, settings::relay_settings};
use crate::{settings::Settings, shard::Posts, shared::relay::RelayLink};

/// The thread of the relay, if there is one. The thread ends when this is dropped.
#[derive(Debug)]
pub(crate) struct RelayThread(Option<(oneshot::Sender<()>, oneshot::Receiver<()>)>);

/// Connects to the relay, if the settings name one, and starts to exchange messages with the
/// shards.
///
/// # Errors
///
/// When the relay cannot be reached or used, or the thread cannot start.
pub(crate) async fn start(
    settings: &Settings,
    posts: &Posts,
) -> Result<(Option<Arc<RelayLink>>, RelayThread), String> {
    let Some(address) = &settings.relay else {
        return Ok((None, RelayThread(None)));
    };
    let relay = relay_settings(settings, address)?;
    let (tell, started) = oneshot::channel();
    let (end, ending) = oneshot::channel();
    let (done, ended) = oneshot::channel();
    let posts = posts.clone();
    let spawned = thread::Builder::new()
        .name("roomcast-relay".into())
        .spawn(move || {
            let mut runtime = Builder::new_current_thread();
            let runtime = runtime.enable_all().build_local(LocalOptions::default());
            let work = async {
                match Exchange::start(relay, posts).await {
                    Ok(exchange) => {
                        let _ = tell.send(Ok(exchange.link())); // the server may have given up
                        // In a task of its own, a wake-up from this thread needs no system call.
                        if let Err(fault) = spawn_local(exchange.run(ending)).await {
                            tracing::error!(%fault, "the exchange with the relay has ended");
                        }
                    }
                    Err(fault) => {
                        let _ = tell.send(Err(fault));
                    }
                }
            };
            match runtime {
                Ok(runtime) => runtime.block_on(work),
                Err(fault) => tracing::error!(%fault, "the thread of the relay cannot start"),
            }
            let _ = done.send(()); // nobody waits any more
        });
    spawned.map_err(|fault| fault.to_string())?;
    let link = started.await;
    let link = link.unwrap_or_else(|_| Err("its thread cannot start".to_owned()))?;
    Ok((Some(link), RelayThread(Some((end, ended)))))
}

impl RelayThread {
    /// Waits a few seconds at most until all requests of the shards are done and the lease is given
    /// up. Called when no shard makes more requests.
    pub(crate) async fn finish(self) {
        if let Some((end, ended)) = self.0 {
            let _ = end.send(()); // it may have ended
            let _ = ended.await; // or it panicked
        }
    }
}
