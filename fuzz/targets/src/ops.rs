//! Stories, performed by the core and by the model.

use roomcast_core::{ConnId, Payload};
use roomcast_tests::{
    Actor, Answer, Core, Driver, Event, Known, Lockstep, Op, Settings, Sleep, expand,
};
use serde_json::Value;

/// The number of ops that are performed: if a longer story fails, a shorter one fails too.
const OPS_MAX: usize = 60;
/// The bytes of a line, and of its expanded text.
const LINE_BYTES_MAX: usize = 6_000;

const LIMITS: &str = "rooms_per_connection=3 presence_list=3 page_entries=2 recovery_messages=3 \
    meta_bytes=20 message_bytes=4096";
const ROOMS: &str = "log history.messages=4 history.age_s=20\n\
    den history.age_s=10 presence=members presence_grace_s=5 echo=true\n\
    hall presence=members presence_grace_s=10 members=2 overflow=drop-oldest\n\
    sta* history.messages=2 presence=counts publish=false overflow=latest";

/// Performs a text as a story, with one op in each line as in a trace. Other lines, and ops that
/// the model does not cover, are skipped, so a trace is a story without its expectations.
///
/// The core behaves like the model: while it stays in memory, when it sleeps between ops, and when
/// it restores only the connections that it was told to persist. The model knows no tokens: in a
/// story with tokens, these three cores behave alike.
///
/// # Panics
///
/// If they differ. The message is the story as a trace.
pub fn ops(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let story: Vec<Op> = text.lines().filter_map(op).take(OPS_MAX).collect();
    if story.iter().any(is_of_tokens) {
        return tell_alike(&story);
    }
    tell(&story, LIMITS, Sleep::Never);
    tell(&story, LIMITS, Sleep::Saved);
    // Liveness is not persisted.
    tell(
        &story,
        &format!("{LIMITS} heartbeat_ms=off"),
        Sleep::Persisted,
    );
}

fn tell(story: &[Op], limits: &str, sleep: Sleep) {
    let settings: Settings = limits.parse().expect("settings");
    let settings = settings.with_rooms(ROOMS).expect("policies");
    let core = settings.core().with_sleep(sleep);
    let world = Lockstep::new(core, &settings.limits());
    let mut world = world.with_policies(&settings.policies());
    for op in story {
        let seen = world.perform(op);
        seen.unwrap_or_else(|mismatch| panic!("{sleep:?}:\n{mismatch}"));
        world.driver().assert_consistent();
    }
}

/// Tells a story with tokens to a core that stays awake, and to two that sleep.
fn tell_alike(story: &[Op]) {
    let limits = format!("{LIMITS} heartbeat_ms=off withdrawn_users=2 tokens=on");
    let settings: Settings = limits.parse().expect("settings");
    let settings = settings.with_rooms(ROOMS).expect("policies");
    let sleeps = [Sleep::Never, Sleep::Saved, Sleep::Persisted];
    let cores = sleeps.map(|sleep| settings.core().with_sleep(sleep));
    let mut sides = cores.map(|core| (core, Known::default()));
    for (at, op) in story.iter().enumerate() {
        let [awake, saved, persisted] = sides.each_mut().map(|side| perform(side, op));
        let told = || {
            let lines: Vec<_> = story[..=at].iter().map(ToString::to_string).collect();
            lines.join("\n")
        };
        assert_eq!(awake, saved, "saved:\n{}", told());
        assert_eq!(awake, persisted, "persisted:\n{}", told());
    }
}

/// Performs an op; returns the answer, and the events of each actor.
fn perform((core, known): &mut (Core, Known), op: &Op) -> (Answer, Vec<(Actor, Vec<Event>)>) {
    let answer = core
        .perform(&known.address(op))
        .expect("the core's own commands");
    if let Op::Connect { actor, .. } = op
        && let Some(id) = core.conn(actor)
    {
        known.connected(actor, op.namespace(), id);
    }
    core.assert_consistent();
    let actors = known.actors().into_iter();
    let events = actors.map(|actor| {
        let events = core.take(&actor);
        (actor, events)
    });
    (answer, events.collect())
}

/// Returns the op of a line, if the model covers it.
fn op(line: &str) -> Option<Op> {
    if line.len() > LINE_BYTES_MAX || !has_known_placeholders(line) {
        return None;
    }
    // A bracket written as an escape becomes a bracket in a frame.
    if expand(line).to_ascii_lowercase().contains("\\u003c") {
        return None;
    }
    // Cuts off the answer that a trace expects.
    let line = match line.rsplit_once(" -> ") {
        Some((op, _)) if line.starts_with("server ") => op,
        _ => line,
    };
    line.parse().ok().filter(is_modelled)
}

/// True when each `<` of a line begins a repetition, a character, the epoch of a room or a
/// connection by its number: other texts would be taken for placeholders in frames.
fn has_known_placeholders(line: &str) -> bool {
    let mut bytes = line.len();
    let mut shorts = line.split('<').skip(1).map(|rest| rest.split_once('>'));
    let known = shorts.all(|short| {
        let Some((short, _)) = short else {
            return false;
        };
        if let Some(hex) = short.strip_prefix("U+") {
            let code = u32::from_str_radix(hex, 16);
            return code.is_ok_and(|code| code != u32::from('<'));
        }
        let words: Vec<_> = short.splitn(3, ' ').collect();
        match words[..] {
            [count, "of", unit] => {
                let count = count.parse().ok().filter(|count| *count < 10_000_usize);
                bytes += count.unwrap_or(0) * unit.len();
                count.is_some()
            }
            ["epoch", number, room] => {
                let room = room.strip_prefix("of ");
                number.parse::<u8>().is_ok() && room.is_some_and(|room| !room.is_empty())
            }
            [name, number] => Actor::is_name(name) && number.parse::<u8>().is_ok(),
            _ => false,
        }
    });
    known && bytes <= LINE_BYTES_MAX
}

const fn is_of_tokens(op: &Op) -> bool {
    matches!(op, Op::Authenticate { .. } | Op::Withdraw { .. })
}

/// True for ops that the model covers, and for tokens.
fn is_modelled(op: &Op) -> bool {
    match op {
        Op::Connect {
            namespace,
            user,
            query,
            headers,
            ..
        } => {
            let is_word = |user: &str| user.len() <= 8 && Actor::is_name(user);
            namespace.is_none()
                && query.is_none()
                && headers.is_empty()
                && user.as_deref().is_none_or(is_word)
        }
        Op::Text { text, times, .. } => *times <= 5 && is_modelled_text(text),
        Op::Send {
            namespace,
            key,
            to,
            data,
            ..
        } => {
            // The id of a connection changes on reconnect, and with it a message that has a key.
            let is_lasting = to.conns.is_empty() && to.except_conns.is_empty();
            let is_key = |key: &str| key.len() <= 8 && Actor::is_name(key) && is_lasting;
            namespace.is_none() && key.as_deref().is_none_or(is_key) && Payload::parse(data).is_ok()
        }
        Op::Close { reason, .. } => reason.len() <= 100,
        Op::Wait { millis } => *millis <= 100_000,
        // In the model clients read at once, and the server never crashes.
        Op::Stall { .. } | Op::Read { .. } | Op::Crash => false,
        Op::Authenticate { .. } | Op::Withdraw { .. } => true,
        Op::ListRooms { namespace } | Op::ListConnections { namespace } => namespace.is_none(),
        Op::Join { .. }
        | Op::Leave { .. }
        | Op::Rooms { .. }
        | Op::Publish { .. }
        | Op::Binary { .. }
        | Op::Pong { .. }
        | Op::Disconnect { .. }
        | Op::Vanish { .. }
        | Op::ServerJoin { .. }
        | Op::ServerLeave { .. } => true,
    }
}

/// True for a text that names connections and epochs only by placeholders, and does not request a
/// history under one or several other connections.
fn is_modelled_text(text: &str) -> bool {
    if text.contains("epoch of ") {
        return false;
    }
    let Ok(json) = serde_json::from_str::<Value>(text) else {
        return true;
    };
    let conn = json.pointer("/data/since/conn");
    let is_one = conn.is_none_or(|conn| conn.is_null() || conn.is_string());
    if !is_one || json.pointer("/data/conn").is_some() {
        return false;
    }
    let member = |path| json.pointer(path).and_then(Value::as_str);
    let is_id = |text: &str| text.parse::<ConnId>().is_ok();
    let guest = member("/data/after").and_then(|cursor| cursor.strip_prefix('c'));
    !member("/data/since/conn").is_some_and(is_id)
        && !guest.is_some_and(|id| is_id(id) && id != "9007199254740991")
}
