//! The example applications as one Worker, each in the namespaces whose name begins with its own:
//! `chat`, `heartbeat-2`, `rooms-by-path`. The chat is also the namespace `default`, and `rooms` is
//! the text protocol of `raw`, as on the native host.
//!
//! ```sh
//! cd host-worker
//! npm run dev -- --package roomcast-worker-gateways
//! ```
//!
//! The files are those that the native server runs, and the tests without a server.

// Only a Worker starts the module.
#![cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]

#[path = "../../../../core/examples/gateways/chat.rs"]
mod chat;
#[path = "../../../../core/examples/gateways/heartbeat.rs"]
mod heartbeat;
#[path = "../../../../core/examples/gateways/notify.rs"]
mod notify;
#[path = "../../../../core/examples/gateways/orders.rs"]
mod orders;
#[path = "../../../../core/examples/gateways/raw.rs"]
mod raw;
#[path = "../../../../core/examples/gateways/rooms.rs"]
mod rooms;
#[path = "../../../../core/examples/gateways/rows.rs"]
mod rows;
#[cfg(target_arch = "wasm32")]
#[path = "../../../../tests/edge/sessions.rs"]
mod sessions;
#[path = "../../../../tests/edge/trials.rs"]
mod trials;
#[path = "../../../../tests/tests/applications/users.rs"]
mod users;

use roomcast_core::Gateway;
use roomcast_worker::{Namespace, mount, mount_others};

/// Called whenever the module is instantiated.
#[cfg_attr(target_arch = "wasm32", wasm_bindgen::prelude::wasm_bindgen(start))]
pub fn start() {
    mount("default", |_| chat::chat());
    mount("rooms", |_| raw::raw());
    mount("orders", orders::orders);
    mount("trials", trials::trials);
    mount("trials-raw", |_| trials::raw());
    mount("trials-later", |_| trials::later_hooks());
    #[cfg(target_arch = "wasm32")]
    mount("sessions", |_| sessions::sessions());
    mount_others(others);
}

/// The application that the name of a namespace begins with: `chat`, but also `chat-7`, which has a
/// history of its own.
fn others(server: &Namespace) -> Box<dyn Gateway> {
    match server.name().split('-').next().unwrap_or_default() {
        "chat" => Box::new(chat::chat()),
        "heartbeat" => Box::new(heartbeat::heartbeat()),
        "notify" => Box::new(notify::notify()),
        "raw" => Box::new(raw::raw()),
        "rooms" => Box::new(rooms::rooms()),
        "rows" => Box::new(rows::rows()),
        "users" => Box::new(users::users()),
        _ => Box::new(()), // rooms only
    }
}
