//! Facts about connections known from outside the hub, and the explanations that must follow from
//! them.

#![allow(clippy::wildcard_enum_match_arm)] // reasons of the past are checked by what was delivered

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use roomcast_core::{
    Audience, ConnId, Explained, Explanation, Hub, Timestamp, explain::Reason, policy::Right,
};
use roomcast_tests::Claim;
use serde_json::Value;

use super::story::{Rule, STANDARD, policy_of};

/// Identities of connections, by what their clients did and were answered.
#[derive(Default)]
pub(super) struct Facts {
    /// Connections whose user a proxy named: they have every right until they show a token.
    named: BTreeSet<ConnId>,
    /// The last token of each connection.
    tokens: BTreeMap<ConnId, Token>,
}

struct Token {
    rules: Vec<Value>,
    ends: Timestamp,
}

/// True when a rule is for a room and gives a right. `*` is only at the end of these patterns.
fn gives(pattern: &str, rights: &[&str], right: Right, room: &str) -> bool {
    let is_for = match pattern.strip_suffix('*') {
        Some(stem) => room.starts_with(stem),
        None => room == pattern,
    };
    is_for && rights.contains(&right.as_str())
}

impl Facts {
    pub(super) fn connected(&mut self, conn: ConnId, user: Option<&str>) {
        if user.is_some() {
            self.named.insert(conn);
        }
    }

    /// A token was accepted.
    pub(super) fn authenticated(&mut self, now: Timestamp, conn: ConnId, claim: &Claim) {
        let rules = serde_json::from_str(&claim.grants).expect("a list of rules");
        let ends = now + Duration::from_secs(claim.left_s.into());
        self.tokens.insert(conn, Token { rules, ends });
    }

    /// The rule of a token that gives a right, else the rule of the configuration that does.
    fn granted(&self, token: &Token, right: Right, room: &str) -> (Reason, Option<String>) {
        let own = token.rules.iter().find(|rule| {
            let can = rule["can"].as_array().into_iter().flatten();
            let can: Vec<_> = can.filter_map(Value::as_str).collect();
            gives(
                rule["rooms"].as_str().expect("a pattern"),
                &can,
                right,
                room,
            )
        });
        if let Some(rule) = own {
            let rooms = rule["rooms"].as_str().map(str::to_owned);
            return (Reason::Granted { right }, rooms);
        }
        // A client with a token is a user, so every grant for users applies.
        let mut standard = STANDARD.iter();
        match standard.find(|Rule { rooms, can, .. }| gives(rooms, can, right, room)) {
            Some(rule) => (Reason::GrantedToUsers { right }, Some(rule.rooms.into())),
            None => (Reason::NotGranted { right }, None),
        }
    }

    /// The explanation of a right that there has to be.
    pub(super) fn right(
        &self,
        (now, hub): (Timestamp, &Hub),
        conn: ConnId,
        right: Right,
        room: &str,
    ) -> Explanation {
        let (reason, rule) = match (hub.connection(conn), self.tokens.get(&conn)) {
            (None, _) => (Reason::NotConnected, None),
            (_, None) if self.named.contains(&conn) => (Reason::EveryRight, None),
            (_, None) => (Reason::Unidentified, None),
            (_, Some(token)) if token.ends <= now => (Reason::Expired, None),
            (_, Some(token)) => self.granted(token, right, room),
        };
        let allowed = reason.received() == Some(true);
        let refused = allowed.then(|| refused_by_policy(hub, conn, right, room));
        let (reason, rule) = refused.flatten().unwrap_or((reason, rule));
        explanation(reason, rule.as_deref())
    }

    /// Checks that an explanation of a send says how things are before it.
    pub(super) fn check_send(
        &self,
        (now, hub): (Timestamp, &Hub),
        send: &Explained,
        conn: ConnId,
        told: &Explanation,
    ) -> Result<(), String> {
        let (audience, publish) = match send {
            Explained::Send(audience) => ((**audience).clone(), None),
            Explained::Publish { from, room, echo } => {
                if hub.connection(*from).is_none() {
                    let expected = Reason::NoPublisher { from: *from }.into();
                    return same(told, &expected);
                }
                let allowed = self.right((now, hub), *from, Right::Publish, room);
                if allowed.reason.received() != Some(true) {
                    return same(told, &allowed);
                }
                (Audience::room(&**room), Some((*from, room, *echo)))
            }
            Explained::Right { .. } | Explained::Past { .. } => return Ok(()),
            _ => return Err("a send of a new kind".into()),
        };
        let rule = match &told.reason {
            Reason::OwnWithoutEcho => publish.map(|(_, room, _)| policy_of(room).pattern),
            _ => None,
        };
        same(told, &explanation(told.reason.clone(), rule))?;
        let truth = is_true(
            hub,
            &told.reason,
            (&audience, publish.map(|(from, ..)| from)),
            conn,
        );
        truth
            .then_some(())
            .ok_or_else(|| format!("{told:?} is not so"))
    }
}

/// The reason of a room's policy against a right that a client has, with the pattern of the policy.
fn refused_by_policy(
    hub: &Hub,
    conn: ConnId,
    right: Right,
    room: &str,
) -> Option<(Reason, Option<String>)> {
    let (policy, members) = (policy_of(room), hub.members(room));
    let is_member = members.contains(&conn);
    let reason = match right {
        Right::Join => {
            let limit = policy.members?;
            (!is_member && members.len() >= limit).then_some(Reason::RoomFull { limit })
        }
        Right::Publish => (!policy.publish).then_some(Reason::PublishForbidden),
        Right::Presence | Right::History if !is_member => return Some((Reason::ForMembers, None)),
        Right::Presence => (!policy.presence).then_some(Reason::NoPresence),
        Right::History => (!policy.history).then_some(Reason::KeepsNoHistory),
    };
    reason.map(|reason| (reason, Some(policy.pattern.into())))
}

/// True when a reason for a send that is done at once is so.
fn is_true(
    hub: &Hub,
    reason: &Reason,
    (audience, publisher): (&Audience, Option<ConnId>),
    conn: ConnId,
) -> bool {
    let user = hub.connection(conn).and_then(|info| info.user);
    let member = |room: &str| hub.members(room).contains(&conn);
    let names_room = |rooms: &[Box<str>], room: &str| rooms.iter().any(|it| **it == *room);
    let is_user = |users: &[Box<str>], named: &str| {
        user == Some(named) && users.iter().any(|it| **it == *named)
    };
    let in_rooms = |rooms: &[Box<str>]| rooms.iter().any(|room| member(room));
    let of_users = |users: &[Box<str>]| users.iter().any(|it| user == Some(&**it));
    match reason {
        Reason::All => audience.all,
        Reason::Member { room } => names_room(&audience.rooms, room) && member(room),
        Reason::NamedUser { user } => is_user(&audience.users, user),
        Reason::NamedConn => audience.conns.contains(&conn),
        Reason::NotAMember | Reason::NotInAudience => {
            let is_room = audience.as_room().is_some();
            let named = audience.all
                || in_rooms(&audience.rooms)
                || of_users(&audience.users)
                || audience.conns.contains(&conn);
            !named && is_room == matches!(reason, Reason::NotAMember)
        }
        Reason::OwnWithoutEcho => publisher == Some(conn) && in_rooms(&audience.rooms),
        Reason::ExceptRoom { room } => names_room(&audience.except_rooms, room) && member(room),
        Reason::ExceptUser { user } => is_user(&audience.except_users, user),
        Reason::ExceptConn => audience.except_conns.contains(&conn),
        Reason::NotConnected => hub.connection(conn).is_none(),
        _ => false,
    }
}

fn explanation(reason: Reason, rule: Option<&str>) -> Explanation {
    let mut explanation = Explanation::from(reason);
    explanation.rule = rule.map(Into::into);
    explanation
}

fn same(told: &Explanation, expected: &Explanation) -> Result<(), String> {
    (told == expected)
        .then_some(())
        .ok_or_else(|| format!("told {told:?}, but it is {expected:?}"))
}

/// Checks that the sentence of an explanation names the rule, and each value that the reason has.
pub(super) fn check_sentence(told: &Explanation) -> Result<(), String> {
    let sentence = told.to_string();
    if let Some(rule) = &told.rule
        && !sentence.contains(&format!("`{rule}`"))
    {
        return Err(format!("{sentence:?} does not name the rule {rule:?}"));
    }
    let json = serde_json::to_value(&told.reason).expect("plain data");
    let values = json.as_object().expect("an object").iter();
    for (name, value) in values.filter(|(name, _)| *name != "reason") {
        let text = value.as_str().map(str::to_owned);
        let text = text.unwrap_or_else(|| value.to_string());
        let text = match name.as_str() {
            "right" => text.parse::<Right>().expect("a right").to_string(),
            _ => text,
        };
        if !sentence.contains(&text) {
            return Err(format!("{sentence:?} does not name {text:?}"));
        }
    }
    if sentence.is_empty() {
        return Err(format!("{told:?} has no sentence"));
    }
    Ok(())
}
