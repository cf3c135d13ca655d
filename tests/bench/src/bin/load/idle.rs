//! The memory of a connection that does nothing.

use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::clients::Clients;
use crate::meter::memory_bytes;

/// In which a server frees what it needed for the handshakes only.
const SETTLING: Duration = Duration::from_millis(1500);
/// Members of each room. A room of its own for each would measure rooms.
const MEMBERS: usize = 10;

pub fn run(clients: &mut Clients, server: u32, arguments: &Arguments) -> Value {
    let connections = arguments.number::<usize>("connections");
    // The first one pays for what a server makes once.
    clients.gather(1, |_| None);
    sleep(SETTLING);
    let before = memory_bytes(server);
    clients.gather(connections, |at| Some(at / MEMBERS));
    sleep(SETTLING);
    let grown = memory_bytes(server).saturating_sub(before);
    json!({ "value": grown as f64 / connections as f64 })
}
