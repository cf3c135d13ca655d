//! A sample of a server: its metrics, its rooms, its slow readers.

use std::collections::{BTreeMap, BTreeSet};

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

/// The largest number of entries of a page; fewer if the answer would be too long.
const PAGE: usize = 400;
/// The number of rooms, and of connections, after which a sample stops reading.
const ENTRIES_MAX: usize = 10_000;

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

/// A page of a list.
#[derive(Deserialize)]
struct Page<T> {
    #[serde(alias = "rooms", alias = "connections")]
    entries: Vec<T>,
    next: Option<String>,
    /// Servers that did not answer.
    #[serde(default)]
    missing: Vec<String>,
}

/// The server that samples are taken of.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) url: &'a Endpoint,
    caller: &'a Caller,
    /// The number of entries that a page of connections had room for the last time.
    page: usize,
}

/// A server at a moment.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) at: Instant,
    pub(super) metrics: Metrics,
    /// The namespace of the rooms and readers.
    pub(super) namespace: String,
    pub(super) rooms: Vec<Room>,
    /// Readers with something queued.
    pub(super) readers: Vec<Reader>,
    /// The number of connections that were searched for slow readers.
    pub(super) connections: usize,
    /// True when not all rooms, or not all connections to search, were read.
    pub(super) partial: bool,
    /// Servers whose rooms and readers are missing here.
    pub(super) missing: BTreeSet<String>,
    /// The reason why rooms and readers, or some of them, were not read.
    pub(super) without_api: Option<String>,
}

impl<'a> Source<'a> {
    pub(super) const fn new(url: &'a Endpoint, caller: &'a Caller) -> Self {
        let page = PAGE;
        Self { url, caller, page }
    }

    /// Asks the server.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached, or has no metrics. Without the HTTP API the sample lacks
    /// rooms and readers.
    pub(super) async fn sample(&mut self) -> Result<Sample, Failure> {
        let url = self.url;
        let request = Request::get(url.path("/metrics"));
        let call = self.caller.call(url, request, String::new(), DOUBTS);
        let metrics = Metrics::read(&call.await?).ok_or_else(|| {
            Failure::failed(format_args!(
                "{url}/metrics is not that of a Roomcast server\n  Check the URL"
            ))
        })?;
        let mut sample = Sample {
            at: Instant::now(),
            metrics,
            namespace: self.caller.namespace(url).to_owned(),
            rooms: Vec::new(),
            readers: Vec::new(),
            connections: 0,
            partial: false,
            missing: BTreeSet::new(),
            without_api: None,
        };
        if let Err(fault) = self.read_lists(&mut sample).await {
            sample.without_api = Some(fault.to_string());
        }
        Ok(sample)
    }

    /// Reads rooms and readers. What was read before a failure stays.
    async fn read_lists(&mut self, sample: &mut Sample) -> Result<(), Failure> {
        let mut after = String::new();
        loop {
            let page = self.page::<Room>("rooms", PAGE, &after).await?.0;
            sample.rooms.extend(page.entries);
            sample.missing.extend(page.missing);
            let Some(next) = page.next else { break };
            if sample.rooms.len() >= ENTRIES_MAX {
                sample.partial = true;
                break;
            }
            after = format!("&after={}", encoded(&next));
        }
        // With a relay this count covers one server, but the list covers all.
        let has_none = sample.metrics.get("roomcast_slow_readers") == Some(0.0);
        if has_none && !sample.is_of_cluster() {
            return Ok(());
        }
        after.clear();
        loop {
            let read = self.page::<Reader>("connections", self.page, &after).await;
            let (page, size) = read?;
            self.page = size;
            sample.connections += page.entries.len();
            sample.missing.extend(page.missing);
            let slow = page.entries.into_iter();
            let slow = slow.filter(|reader| reader.queued_bytes > 0);
            sample.readers.extend(slow);
            sample.sort_readers();
            let Some(next) = page.next else { break };
            if sample.connections >= ENTRIES_MAX {
                sample.partial = true;
                break;
            }
            after = format!("&after={next}");
        }
        Ok(())
    }

    /// Reads a page of a list, and returns it with the number of entries that was requested. That
    /// number is halved until the answer is short enough.
    async fn page<T: DeserializeOwned>(
        &self,
        call: &str,
        mut size: usize,
        after: &str,
    ) -> Result<(Page<T>, usize), Failure> {
        let url = self.url;
        let body = loop {
            let path = self
                .caller
                .path(url, &format!("{call}?limit={size}{after}"));
            let request = Request::get(path);
            match self.caller.call(url, request, String::new(), DOUBTS).await {
                Err(fault) if fault.is_too_long() && size > 1 => size /= 2,
                body => break body?,
            }
        };
        let page = serde_json::from_str(&body).map_err(|fault| {
            Failure::failed(format_args!(
                "{url}: its list of {call} cannot be read: {fault}"
            ))
        });
        Ok((page?, size))
    }
}

impl Sample {
    /// True for a server that shares a relay: its lists are those of all servers.
    pub(super) fn is_of_cluster(&self) -> bool {
        self.metrics.get("roomcast_relay_up").is_some()
    }

    /// The reason why fewer slow readers are listed than the server counts, if it is the namespace.
    pub(super) fn elsewhere(&self) -> Option<String> {
        let count = |name| self.metrics.get(name).unwrap_or(0.0);
        let (listed, name) = (self.readers.len(), &self.namespace);
        let is_whole = !self.partial && self.missing.is_empty() && self.without_api.is_none();
        // With a single namespace, missing readers have just caught up since the count.
        let is_only = count("roomcast_namespaces") <= 1.0 && self.connections > 0;
        #[allow(clippy::cast_precision_loss)] // at most 10,000
        let is_less = (listed as f64) < count("roomcast_slow_readers");
        if !is_whole || is_only || !is_less {
            return None;
        }
        let listed = match listed {
            0 => "none".to_owned(),
            listed => listed.to_string(),
        };
        Some(format!(
            "namespace {name} has {listed} of them: see another one with --namespace"
        ))
    }

    fn sort_readers(&mut self) {
        let bytes = |reader: &Reader| std::cmp::Reverse(reader.queued_bytes);
        self.readers.sort_by_key(bytes);
    }

    /// The offsets of its rooms.
    pub(super) fn offsets(&self) -> BTreeMap<&str, u64> {
        let rooms = self.rooms.iter();
        rooms.map(|room| (&*room.room, room.offset)).collect()
    }
}

/// Percent-encodes a name for a query.
fn encoded(name: &str) -> String {
    let bytes = name.bytes();
    bytes.map(|byte| format!("%{byte:02X}")).collect()
}
