//! The server as a service for a program with an HTTP server of its own.

use std::{
    cell::Cell,
    convert::Infallible,
    error::Error,
    fmt,
    net::IpAddr,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body};
use tokio::{runtime::Handle, sync::oneshot, task::spawn_local};

use super::{
    Body, Reply,
    mounted::{Around, Mounted, not_running},
};
use crate::shard::{Cost, Mail, Shard, Switchboard};

/// The server as a [`tower_service::Service`], for a program with an HTTP server of its own. It
/// serves WebSockets, the API and the page, at their paths below any prefix that the program's
/// router has removed. [`Host::service`](crate::Host::service) creates it, and
/// [`Host::run_service`](crate::Host::run_service) runs beside it.
///
/// An upgraded connection moves from the program's server to a thread of this one. That works for a
/// [`TcpStream`](tokio::net::TcpStream) in a [`TokioIo`](hyper_util::rt::TokioIo), as in
/// `axum::serve` and hyper's examples. Any other stream, such as TLS or HTTP/2, is pumped through a
/// pair of sockets by the runtime of the request: it costs two more descriptors and a copy of each
/// byte.
///
/// # What the program says of a client
///
/// The program's middleware sets extensions of the request:
///
/// - An [`Admission`](crate::Admission) identifies a client that requests a WebSocket, with its
///   rights and its session, like `on_upgrade` of a gateway, which has the last word. A token of
///   the client takes precedence over it. Its subprotocol is ignored.
/// - A [`PeerAddress`] is the address of the client. Without it all requests count as from one
///   unknown address. [`Settings::proxy_trust`](crate::Settings::proxy_trust) applies to it.
///
/// # What differs from a listener of its own
///
/// - Time limits and other limits of HTTP are the program's, and so is the check of the host name:
///   the guard against DNS rebinding of a listener on loopback is absent.
/// - The API needs a key. Without one it is off, and so are the page, the inspector and `/metrics`.
/// - WebSockets over HTTP/2 need the feature `http2`. With its own feature of that name, axum makes
///   browsers use them; for hyper, set `enable_connect_protocol`.
///
/// ```no_run
/// use hyper_util::{rt::TokioIo, service::TowerToHyperService};
/// use roomcast::{Host, Settings};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let host = Host::new(Settings::default());
/// let service = host.service();
/// let rooms = host.run_service(std::future::pending());
///
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// let served = async {
///     loop {
///         let (stream, _) = listener.accept().await?;
///         let service = TowerToHyperService::new(service.clone());
///         let connection = hyper::server::conn::http1::Builder::new()
///             .serve_connection(TokioIo::new(stream), service)
///             .with_upgrades();
///         tokio::spawn(connection);
///     }
/// };
/// tokio::select! { ended = rooms => Ok(ended?), ended = served => ended }
/// # }
/// ```
#[derive(Clone)]
pub struct Service {
    switchboard: Arc<Switchboard>,
    /// The number of requests so far, which selects the next one's shard.
    requests: Arc<AtomicUsize>,
}

/// The address of the client of a request, as an extension for a [`Service`]; behind a proxy, the
/// proxy's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub IpAddr);

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

impl Service {
    pub(crate) fn new(switchboard: Arc<Switchboard>) -> Self {
        let requests = Arc::default();
        Self {
            switchboard,
            requests,
        }
    }

    /// Hands a request to the next shard in turn, as a listener does with connections.
    fn ask(&self, mounted: Mounted) -> Option<oneshot::Receiver<Reply>> {
        let shards = self.switchboard.posts()?.len();
        let next = self.requests.fetch_add(1, Relaxed).checked_rem(shards)?;
        let (answer, answered) = oneshot::channel();
        let task = move |shard: &Rc<Shard>| {
            spawn_local(serve(shard.clone(), mounted, answer));
        };
        self.switchboard.post(next, Mail::task(task))?;
        Some(answered)
    }
}

/// Answers in the turns for HTTP work, while the caller waits for the answer.
async fn serve(shard: Rc<Shard>, mounted: Mounted, mut answer: oneshot::Sender<Reply>) {
    let cost = Cell::new(Cost::Http);
    // Boxed, so that it is freed after the upgrade.
    let reply = Box::pin(mounted.answer(shard.clone()));
    tokio::select! {
        reply = shard.newcomers.in_turn(&cost, reply) => {
            let _ = answer.send(reply); // the caller may be gone
        }
        () = answer.closed() => {}
    }
}

impl<B> tower_service::Service<Request<B>> for Service
where
    B: body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        if let Ok(runtime) = Handle::try_current() {
            parts.extensions.insert(Around(runtime));
        }
        let peer = parts.extensions.get().map(|&PeerAddress(address)| address);
        let body = body.map_err(Into::into).boxed_unsync();
        let answered = self.ask(Mounted {
            request: Request::from_parts(parts, ()),
            body: Body::Right(body),
            peer,
        });
        Box::pin(async move {
            let reply = match answered {
                Some(answered) => answered.await.ok(),
                None => None,
            };
            Ok(reply.unwrap_or_else(not_running))
        })
    }
}
