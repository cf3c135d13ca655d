//! Roomcast at the edge: the core in a Cloudflare Durable Object with hibernating WebSockets.
//!
//! A namespace is one object, addressed by its name. A request first meets the stateless Worker
//! (`front`), which answers what concerns no namespace and turns away what may not pass: requests
//! to objects are billed. The object (`object`) holds the namespace (`namespace`): the hub, and
//! what carries out its commands on the `platform`.
//!
//! An object sleeps whenever it can, and may be evicted between any two inputs. So what a hub must
//! not forget is saved with every input: of each connection in its socket's attachment
//! (`attachment`), of the namespace in the object's storage (`storage`). What wakes is made of
//! these (`wake`). Membership is never stored by itself: who has no socket is no member.
//!
//! The JavaScript in `shim/` is what the platform calls. It owns the sockets, because handing each
//! of them a message across the border of WebAssembly would cost more than to send it.

// Elsewhere there is no platform: what is for every target is compiled to be tested.
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
