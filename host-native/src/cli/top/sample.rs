//! A sample of a server: its metrics, its rooms, its slow readers.

use std::collections::BTreeMap;

use hyper::Request;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use super::{
    super::client::{
        api::{Caller, Doubts},
        endpoint::Endpoint,
        failure::Failure,
    },
    metrics::Metrics,
};

/// Pages of 1,000 entries that a sample has of rooms, and of connections.
const PAGES_MAX: usize = 10;

const DOUBTS: Doubts = Doubts {
    late: "no answer within 30 s; try again",
    unusable: "is this the port of a Roomcast server?",
};

/// A room of the namespace.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Room {
    pub(super) room: String,
    pub(super) members: u64,
    pub(super) offset: u64,
}

/// A connection with queued bytes.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(super) struct Reader {
    pub(super) conn: String,
    pub(super) user: String,
    pub(super) queued_bytes: u64,
}

#[derive(Deserialize)]
struct Rooms {
    rooms: Vec<Room>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Connections {
    connections: Vec<Reader>,
    next: Option<String>,
}

/// A server at a moment.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) at: Instant,
    pub(super) metrics: Metrics,
    pub(super) rooms: Vec<Room>,
    /// Readers with something queued.
    pub(super) readers: Vec<Reader>,
    /// The reason for which there are no rooms and no readers.
    pub(super) without_api: Option<String>,
}

impl Sample {
    /// Asks a server.
    ///
    /// # Errors
    ///
    /// When it cannot be reached, or has no metrics. Without the API there is less to see.
    pub(super) async fn take(url: &Endpoint, caller: &Caller) -> Result<Self, Failure> {
        let request = Request::get(url.path("/metrics"));
        let text = caller.call(url, request, String::new(), DOUBTS).await?;
        let metrics = Metrics::read(&text).ok_or_else(|| {
            Failure::failed(format_args!(
                "{url}/metrics is not that of a Roomcast server\n  Check the URL"
            ))
        })?;
        let mut sample = Self {
            at: Instant::now(),
            metrics,
            rooms: Vec::new(),
            readers: Vec::new(),
            without_api: None,
        };
        if let Err(fault) = sample.read_api(url, caller).await {
            sample.without_api = Some(fault.to_string());
        }
        Ok(sample)
    }

    async fn read_api(&mut self, url: &Endpoint, caller: &Caller) -> Result<(), Failure> {
        let mut after = String::new();
        for _ in 0..PAGES_MAX {
            let page: Rooms = page(url, caller, "rooms", &after).await?;
            self.rooms.extend(page.rooms);
            let Some(next) = page.next else { break };
            after = format!("&after={}", encoded(&next));
        }
        if self.metrics.get("roomcast_slow_readers") == Some(0.0) {
            return Ok(());
        }
        after.clear();
        for _ in 0..PAGES_MAX {
            let page: Connections = page(url, caller, "connections", &after).await?;
            let slow = page
                .connections
                .into_iter()
                .filter(|reader| reader.queued_bytes > 0);
            self.readers.extend(slow);
            let Some(next) = page.next else { break };
            after = format!("&after={next}");
        }
        self.readers
            .sort_by_key(|reader| std::cmp::Reverse(reader.queued_bytes));
        Ok(())
    }

    /// The offsets of its rooms.
    pub(super) fn offsets(&self) -> BTreeMap<&str, u64> {
        let rooms = self.rooms.iter();
        rooms.map(|room| (&*room.room, room.offset)).collect()
    }
}

async fn page<T: DeserializeOwned>(
    url: &Endpoint,
    caller: &Caller,
    call: &str,
    after: &str,
) -> Result<T, Failure> {
    // As many as fit into an answer that is read, with the longest users and sessions.
    let path = caller.path(url, &format!("{call}?limit=400{after}"));
    let body = caller
        .call(url, Request::get(path), String::new(), DOUBTS)
        .await?;
    serde_json::from_str(&body).map_err(|fault| {
        Failure::failed(format_args!(
            "{url}: its list of {call} cannot be read: {fault}"
        ))
    })
}

/// A name in a query.
fn encoded(name: &str) -> String {
    let bytes = name.bytes();
    bytes.map(|byte| format!("%{byte:02X}")).collect()
}
