//! Positions of rooms.

use roomcast_relay::{Inspector, RoomFacts, ServerFacts};
use serde::Serialize;

use super::{
    refused,
    source::Source,
    table::{
        Column::{Number, Text},
        table,
    },
};
use crate::cli::{client::failure::Failure, replay::show::one_line, top::format::count};

/// Arguments of `roomcast cluster rooms`.
#[derive(Debug, clap::Args)]
pub(super) struct RoomsArgs {
    /// Namespace of the rooms
    namespace: String,
    /// Rooms to show; without one all are searched for, among all keys of the relay
    rooms: Vec<String>,
    /// Show at most N rooms
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1000,
        value_parser = clap::value_parser!(u32).range(1..=100_000)
    )]
    limit: u32,
    #[command(flatten)]
    pub(super) source: Source,
}

/// The answer.
#[derive(Debug, Serialize)]
pub(super) struct Rooms {
    namespace: String,
    rooms: Vec<Listed>,
    /// True when there are more rooms than were asked for.
    more: bool,
}

#[derive(Debug, Serialize)]
struct Listed {
    room: String,
    epoch: String,
    offset: u64,
    kept: u64,
    users: u64,
    /// False when the room begins a new epoch as soon as somebody touches it.
    current: bool,
}

/// Asks the relay for rooms.
///
/// # Errors
///
/// When it refuses, or does not answer.
pub(super) async fn read(relay: &mut Inspector, args: &RoomsArgs) -> Result<Rooms, Failure> {
    let server = relay.server().await.unwrap_or_default();
    let (rooms, more) = if args.rooms.is_empty() {
        let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
        relay
            .all_rooms(&args.namespace, limit)
            .await
            .map_err(refused)?
    } else {
        let rooms = args.rooms.iter().map(String::as_str);
        let rooms = relay.rooms(&args.namespace, rooms).await;
        (rooms.map_err(refused)?, false)
    };
    Ok(Rooms {
        namespace: args.namespace.clone(),
        rooms: rooms
            .into_iter()
            .map(|room| listed(room, &server))
            .collect(),
        more,
    })
}

fn listed(room: RoomFacts, server: &ServerFacts) -> Listed {
    // If the server hides its lineage, a change cannot be detected.
    let is_hidden = server.replication.is_empty() && server.data.is_none();
    let is_of_data = server.data.as_ref() == Some(&room.lineage);
    Listed {
        current: is_hidden || is_of_data || server.replication == room.lineage,
        room: room.room.into(),
        epoch: room.epoch.into(),
        offset: room.offset,
        kept: room.kept,
        users: room.users,
    }
}

/// Formats the answer as text.
pub(super) fn lines(answer: &Rooms) -> Vec<String> {
    if answer.rooms.is_empty() {
        return vec![format!(
            "the relay knows no such rooms in {}",
            one_line(&answer.namespace)
        )];
    }
    let columns = [
        Number("OFFSET"),
        Number("KEPT"),
        Number("USERS"),
        Text("EPOCH"),
        Text("ROOM"),
    ];
    let rows = answer.rooms.iter().map(|room| {
        let ended = if room.current { "" } else { " (ends)" };
        vec![
            count(room.offset),
            count(room.kept),
            count(room.users),
            format!("{}{ended}", one_line(&room.epoch)),
            one_line(&room.room).into_owned(),
        ]
    });
    let mut lines = table(&columns, &rows.collect::<Vec<_>>());
    if answer.more {
        lines.push(format!(
            "more rooms exist: these are the first {} that were found; raise --limit",
            answer.rooms.len()
        ));
    }
    lines
}
