//! Roomcast as a native server: rooms over WebSockets, an HTTP API to send to them, and your own
//! application in front of them.
//!
//! This crate is the host around [`roomcast_core`]: it handles bytes, time and identity, and
//! carries out commands. All decisions about rooms are in the core. The binary `roomcast` is a thin
//! command line around [`run`], which serves rooms only; a [`Host`] also has applications.
//!
//! # A whole application
//!
//! A [`Router`] defines the application: typed handlers by event, guards, hooks, schedules.
//! [`Host`] mounts it in a namespace, and a [`Namespace`] reaches the namespace from everywhere
//! else: other tasks, threads, HTTP routes.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use roomcast::{Admission, Audience, Context, Host, Namespace, Rejection, Router, Settings, ok};
//!
//! #[derive(serde::Deserialize)]
//! struct Order {
//!     item: String,
//!     count: u32,
//! }
//!
//! #[derive(Default)]
//! struct Shop {
//!     sold: u32,
//! }
//!
//! /// A database, a service: anything that takes time.
//! async fn price(item: &str) -> Result<u32, std::io::Error> {
//!     Ok(item.len() as u32)
//! }
//!
//! fn shop(namespace: &Namespace) -> Router<Shop> {
//!     let namespace = namespace.clone();
//!     Router::new(Shop::default())
//!         // Before the WebSocket opens: who is it?
//!         .on_upgrade(|request, _| match request.cookie("user") {
//!             Some(user) => Ok(Admission::new().with_user(user)),
//!             None => Err(Rejection::unauthorized("sign in first")),
//!         })
//!         .on_connect(|cx, _| {
//!             cx.join("customers")?;
//!             Ok(())
//!         })
//!         // The payload is an `Order`, or the client is told what is wrong with it. The answer
//!         // comes later; what this client sends meanwhile waits for it, and nobody else does.
//!         .on("order", move |cx: &mut Context, shop: &mut Shop, order: Order| {
//!             shop.sold += order.count;
//!             let namespace = namespace.clone();
//!             cx.spawn(async move {
//!                 let total = price(&order.item).await? * order.count;
//!                 namespace.send(Audience::room("staff"), "ordered", &order.item).await?;
//!                 ok(total)
//!             })
//!         })
//!         .every(Duration::from_secs(60), |namespace, shop| {
//!             if let Err(fault) = namespace.broadcast("sold", &shop.sold) {
//!                 namespace.report("sold", fault);
//!             }
//!         })
//! }
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut settings = Settings::default();
//!     settings.listen = ([127, 0, 0, 1], 3005).into();
//!     let listeners = roomcast::listen(&settings)?;
//!     let host = Host::new(settings).gateway("default", shop);
//!
//!     let namespace = host.namespace("default");
//!     let ctrl_c = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
//!     let running = host.run(listeners, ctrl_c); // the handle works from here on
//!     tokio::spawn(async move {
//!         match namespace.send(Audience::room("customers"), "closing", &"at ten").await {
//!             Ok(closing) => println!("told {} customers", closing.queued),
//!             Err(fault) => eprintln!("nobody was told: {fault}"),
//!         }
//!     });
//!     Ok(running.await?)
//! }
//! ```
//!
//! The application does not depend on the host: with [`roomcast_core`] alone it also runs at the
//! edge, and can be tested without sockets (`World` in `roomcast-tests`).
//!
//! # Threads
//!
//! A namespace runs on one thread, together with its application: there are no locks and no `Send`,
//! and a handler that blocks holds up the whole thread. [`Settings::threads`] spreads sockets and
//! namespaces over several threads; the task that awaits [`Host::run`] does none of the work.
//!
//! # When an application fails
//!
//! A panic or an error in a handler or hook affects only that one message. Its client gets
//! `internal`; the full error is logged by `tracing` at `ERROR`, with namespace, event and
//! connection. The remaining hooks still run. In a program that is built with `panic = "abort"`, a
//! panic ends the program.
//!
//! # Features
//!
//! | feature | default | what |
//! |---|---|---|
//! | `cli` | yes | the command `roomcast` |
//! | `jwks` | yes | [`Tokens::jwks`]: published keys are fetched, by TLS |
//! | `relay` | yes | [`Settings::relay`]: rooms that several servers share, through Redis |
//! | `store` | yes | [`Settings::store`]: histories that outlive the process, in SQLite |
//! | `tls` | yes | [`Settings::tls_cert`]: TLS of the listener, with rustls |
//! | `axum` | no | `axum::router`: the server among the routes of an axum application |
//! | `http2` | no | WebSockets over HTTP/2, where axum takes it (RFC 8441) |
//! | `garde` | no | `Valid<T>`: payloads that are validated before their handler runs |
//!
//! A program that embeds the server needs none of the first five:
//!
//! ```toml
//! [dependencies]
//! roomcast = { version = "0.1", default-features = false }
//! ```
//!
//! Built like this, the library compiles no C and links no SQLite, so it fits beside sqlx, diesel
//! and sea-orm: each brings its own SQLite, and Cargo allows only one in a program. With `store`,
//! [`Settings::check`] accepts a folder; without it, the check names the missing feature.
//!
//! [`Settings`] has every limit with its unit, its default and the reason for it.

#![warn(clippy::print_stderr)]

mod clock;
mod connection;
mod host;
mod http;
mod metrics;
mod namespace;
mod settings;
mod shard;
mod shared;
mod socket;
mod store;
mod tls;
mod ws;

#[cfg(feature = "axum")]
pub use host::axum;
pub use host::{
    Host,
    reload::{Reload, ReloadError, Reloaded, Reloader},
    run,
    run::{RunError, listen},
    sources::{SourceError, SourceOf, check_sources},
};
pub use http::service::{PeerAddress, Service};
pub use namespace::handle::{Namespace, Shards};
#[cfg(feature = "garde")]
pub use roomcast_core::Valid;
pub use roomcast_core::{
    Audience, CloseCode, ConnId, Context, Delivery, DisconnectReason, EncodeError, ErrorCode,
    Event, Failure, Frame, Gateway, Identity, JoinError, Limits, Message, NamespaceContext,
    Outcome, Path, Policies, Rate, Rejection, Reply, RoomPolicy, Router, Timestamp, UnixTime,
    UnknownConn,
    ask::{AskError, Transport},
    explain::{self, Explained, Explanation},
    gateway::{
        Admission, CompleteError, Decision, HistoryRead, IntoOutcome, Later, NowOrLater,
        RoomAction, Scope, To, Token, UpgradeRequest,
    },
    hub::{
        ConnectionInfo, ConnectionSummary, Counts, RoomInfo, RoomSummary, SessionError,
        SetUserError,
    },
    later, ok,
    policy::{
        GrantError, GrantRule, GrantRules, Grants, GrantsError, HistoryPolicy, Overflow, Pattern,
        PatternError, PolicyError, PresencePolicy, Right, Rights, StandardGrant, StandardGrants,
        Users,
    },
    room::{HistoryPage, PageError, PastMessage, Position, PresencePage, Present, Publisher},
    router::{Extract, Handler, Raw, Request},
};
pub use roomcast_http::{
    Access, ApiKey, ApiKeyError, HostRule, HostRuleError, KeyScope, Network, NetworkError,
    OriginRule, OriginRuleError, PolicyFileError, ProxyTrust, TokenKey, Tokens, UserHeader,
    UserHeaderNameError,
};
pub use roomcast_token::{FetchPace, JwksUrl, JwksUrlError, KeyError};
pub use settings::{
    OtlpEndpoint, OtlpError, OtlpHeaders, OtlpSettings, RelayAddress, RelayAddressError,
    RelayLineage, Settings, SettingsError,
};
pub use store::{StoreError, StoreSync};
pub use tls::TlsError;
