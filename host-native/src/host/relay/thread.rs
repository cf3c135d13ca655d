//! The thread that owns the connections to the relay.

use std::{sync::Arc, thread};

use tokio::{
    runtime::{Builder, LocalOptions},
    sync::oneshot,
    task::spawn_local,
};

use super::{exchange::Exchange, settings::relay_settings};
use crate::{settings::Settings, shard::Posts, shared::relay::RelayLink};

/// The thread of the relay, if there is one. It ends with this.
#[derive(Debug)]
pub(crate) struct RelayThread(Option<(oneshot::Sender<()>, oneshot::Receiver<()>)>);

/// Connects to the relay that the settings name, if they do, and begins to exchange messages with
/// the shards.
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
                        // A task of its own: what wakes it here does so without a system call.
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
    /// Waits until all that the shards asked for is done and the lease is given back, for some
    /// seconds at most. To be called when no shard asks for more.
    pub(crate) async fn finish(self) {
        if let Some((end, ended)) = self.0 {
            let _ = end.send(()); // it may have ended
            let _ = ended.await; // or it panicked
        }
    }
}
