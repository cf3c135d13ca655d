//! Roomcast at the edge: the core in a Cloudflare Durable Object with hibernating WebSockets.
//!
//! A namespace is one object, addressed by its name. A request first meets the stateless Worker
//! (`front`). It answers requests that concern no namespace and rejects those that are not allowed,
//! because requests to objects are billed. The object (`object`) holds the namespace (`namespace`):
//! the hub, and the code that carries out its commands on the `platform`.
//!
//! An object sleeps whenever it can, and may be evicted between any two inputs. So the state that a
//! hub must not lose is saved with every input: the state of each connection in the attachment of
//! its socket (`attachment`), that of the namespace in the object's storage (`storage`). A waking
//! object restores its hub from both (`wake`). Membership is never stored separately: a client
//! without a socket is not a member.
//!
//! The platform calls the JavaScript in `shim/`. It owns the sockets, because passing a message
//! from WebAssembly to JavaScript for each of them would cost more than sending it.

// Other targets have no platform: the portable modules are compiled there for tests.
#![cfg_attr(
    not(all(target_arch = "wasm32", feature = "applications")),
    allow(dead_code)
)]
#![cfg_attr(not(feature = "applications"), allow(unreachable_pub))]

mod attachment;
mod handle;
mod hooks;
mod mount;
mod namespace;
mod platform;
mod settings;
mod tasks;
mod wake;

#[cfg(feature = "applications")]
pub use roomcast_core::{NamespaceHandle, ask::AskError};

#[cfg(feature = "applications")]
pub use self::{
    handle::{Namespace, Objects},
    mount::{mount, mount_others, room_policies},
};

#[cfg(all(target_arch = "wasm32", feature = "applications"))]
pub use self::mount::env;

#[cfg(target_arch = "wasm32")]
mod front;
#[cfg(target_arch = "wasm32")]
mod http;
#[cfg(target_arch = "wasm32")]
mod object;
#[cfg(target_arch = "wasm32")]
mod sockets;
#[cfg(target_arch = "wasm32")]
mod storage;
#[cfg(target_arch = "wasm32")]
mod tokens;
