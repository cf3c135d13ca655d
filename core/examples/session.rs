//! A whole session through the hub, as an embedder runs it: bytes in, commands out, no sockets.
//!
//! Two connections open, join, publish, leave and end; twice the host falls asleep and wakes up
//! from the ground state it saved. Every frame is compared, byte for byte, with the text written
//! here. The program needs no input and prints nothing: wherever it runs to its end, the core says
//! there what it says everywhere.
//!
//! ```text
//! cargo run -p roomcast-core --example session
//! cargo build -p roomcast-core --example session --target wasm32-unknown-unknown
//! node tests/wasm/check.mjs target/wasm32-unknown-unknown/debug/examples/session.wasm
//! ```

use std::{collections::BTreeSet, time::Duration};

use roomcast_core::{
    Audience, CloseCode, Command, Config, ConnId, DisconnectReason, Frame, Handshake, Hub, Outbox,
    Payload, Timestamp,
    hub::{ConnState, HubState},
};

fn main() {
    let mut host = Host::new();
    let (ann, bob) = publish(&mut host);
    leave(&mut host, ann, bob);
    end(&mut host, ann);
}

/// Two connections join a room and publish to it.
fn publish(host: &mut Host) -> (ConnId, ConnId) {
    // The first frame of a connection that asked for it says what applies to it.
    let ann = host.connect(Handshake::new().with_welcome(true));
    host.expect(&[
        r#"0 {"event":"$welcome","data":{"conn":"0","user":"","heartbeat_ms":25000,"limits":{"message_bytes":65536,"rooms_per_connection":128,"room_name_bytes":200,"inbound_messages_per_s":50,"inbound_burst_messages":100}}}"#,
    ]);
    let bob = host.connect(Handshake::new().with_user("Bob \"b\" é"));
    host.expect(&[]);

    host.receive(ann, r#"{"event":"$join","room":"lobby","id":1}"#);
    host.receive(
        bob,
        r#"{"id":"b","data":{"since":{"epoch":"e0","offset":7}},"room":"lobby","event":"$join"}"#,
    );
    host.expect(&[
        r#"0 {"event":"$join","id":1,"room":"lobby","data":{"epoch":"e1","offset":0,"already":false}}"#,
        r#"1048577 {"event":"$join","id":"b","room":"lobby","data":{"epoch":"e1","offset":0,"already":false,"recovered":false}}"#,
    ]);

    // Payloads pass through as they came: no number is rounded, no space and no escape is lost.
    host.receive(
        ann,
        r#"{"event":"said","room":"lobby","id":9007199254740991,"data":{ "n": 12345678901234567890.50, "t": "\u00e9\ud83d\ude00é" }}"#,
    );
    host.expect(&[
        r#"1048577 {"event":"said","room":"lobby","from":{"conn":"0"},"data":{ "n": 12345678901234567890.50, "t": "\u00e9\ud83d\ude00é" }}"#,
        r#"0 {"event":"said","id":9007199254740991,"room":"lobby","data":{"reached":1}}"#,
    ]);

    host.sleep_and_wake();

    // Nothing was forgotten: who is in the room, and who they are.
    host.receive(bob, r#"{"event":"said","room":"lobby","echo":true}"#);
    host.expect(&[
        r#"0 {"event":"said","room":"lobby","from":{"conn":"1048577","user":"Bob \"b\" é"},"data":null}"#,
        r#"1048577 {"event":"said","room":"lobby","from":{"conn":"1048577","user":"Bob \"b\" é"},"data":null}"#,
    ]);

    // What the application sends has no `from`.
    host.send(&Audience::room("lobby").except_conn(bob), "news", "[1, 2]");
    host.send(
        &Audience::user("Bob \"b\" é").and_conn(ann),
        "news",
        "\"both\"",
    );
    host.expect(&[
        r#"0 {"event":"news","room":"lobby","data":[1, 2]}"#,
        r#"0 {"event":"news","data":"both"}"#,
        r#"1048577 {"event":"news","data":"both"}"#,
    ]);
    (ann, bob)
}

/// A client makes mistakes, the other one leaves.
fn leave(host: &mut Host, ann: ConnId, bob: ConnId) {
    // A client's mistakes are answered, and change nothing.
    host.receive(ann, "hello?");
    host.receive(ann, r#"{"event":"$dance","id":2}"#);
    host.receive(ann, r#"{"event":"$rooms","id":""}"#);
    host.receive(ann, r#"{"event":"$ping"}"#);
    host.expect(&[
        r#"0 {"event":"$error","error":{"code":"bad_envelope","message":"a message must be one JSON object without a repeated member, like {\"event\":\"hello\",\"room\":\"lobby\",\"data\":1}"}}"#,
        r#"0 {"event":"$dance","id":2,"error":{"code":"unknown_verb","message":"no such verb: events that start with $ belong to the protocol; use $join, $leave, $rooms, $members, $history or $ping, and $auth where the server takes tokens"}}"#,
        r#"0 {"event":"$rooms","id":"","data":["lobby"]}"#,
        r#"0 {"event":"$pong"}"#,
    ]);

    host.receive(bob, r#"{"event":"$leave","room":"lobby"}"#);
    host.receive(bob, r#"{"event":"$leave","room":"lobby","id":3}"#);
    host.receive(ann, r#"{"event":"said","room":"lobby","id":4,"data":0}"#);
    host.expect(&[
        r#"1048577 {"event":"$leave","room":"lobby","data":{"was":true}}"#,
        r#"1048577 {"event":"$leave","id":3,"room":"lobby","data":{"was":false}}"#,
        r#"0 {"event":"said","id":4,"room":"lobby","data":{"reached":0}}"#,
    ]);
}

/// Connections end by silence, by the server and by the client.
fn end(host: &mut Host, ann: ConnId) {
    // Silence: both are pinged after 25 s; ann answers, bob does not, and is closed 10 s later,
    // also when the host slept in between.
    host.wait(Duration::from_millis(24_999));
    host.expect(&[]);
    host.wait(Duration::from_millis(1));
    host.expect(&["0 ping", "1048577 ping"]);
    host.hub
        .note_activity(host.now, ann)
        .expect("ann is connected");
    host.sleep_and_wake();
    host.wait(Duration::from_secs(10));
    host.expect(&[
        r#"1048577 {"event":"$bye","data":{"code":4408,"reconnect":true,"after_ms":0}}"#,
        "1048577 close 4408 no heartbeat",
    ]);

    // An id is never given out twice; its low bits, the slot, are.
    let bob = host.connect(Handshake::new());
    assert_eq!((bob.as_u64(), bob.slot()), ((2 << 20) + 1, 1));
    host.close(bob, CloseCode::REMOVED, "signed out");
    host.expect(&[
        r#"2097153 {"event":"$bye","data":{"code":4410,"reconnect":false,"after_ms":0}}"#,
        "2097153 close 4410 signed out",
    ]);

    host.disconnect(ann);
    host.expect(&[]);
    assert!(host.hub.is_idle(host.now) && host.hub.next_timeout().is_none());
}

/// A host: a hub, an outbox, the time, and sockets; here a socket is the list of what it was sent.
struct Host {
    hub: Hub,
    out: Outbox,
    now: Timestamp,
    alive: BTreeSet<ConnId>,
    sent: Vec<String>,
}

impl Host {
    fn new() -> Self {
        Self {
            hub: Hub::new(Config::new("e1")),
            out: Outbox::new(),
            now: Timestamp::from_millis(1_000),
            alive: BTreeSet::new(),
            sent: Vec::new(),
        }
    }

    fn connect(&mut self, handshake: Handshake) -> ConnId {
        let connected = self.hub.connect(self.now, handshake, &mut self.out);
        let conn = connected.expect("the hub is not full");
        self.alive.insert(conn);
        self.carry_out();
        conn
    }

    /// Receives a frame and publishes its message, as no application stands between the two steps.
    fn receive(&mut self, conn: ConnId, text: &str) {
        let (now, out) = (self.now, &mut self.out);
        let received = self.hub.receive(now, conn, Frame::Text(text), out);
        if let Some(message) = received.expect("connected") {
            self.hub.publish(now, &message, out).expect("connected");
        }
        self.carry_out();
    }

    fn send(&mut self, audience: &Audience, event: &str, data: &str) {
        let data = Payload::parse(data).expect("JSON");
        let sent = self
            .hub
            .send(self.now, audience, event, data, &mut self.out);
        sent.expect("a valid event");
        self.carry_out();
    }

    fn close(&mut self, conn: ConnId, code: CloseCode, reason: &str) {
        let closed = self.hub.close(self.now, conn, code, reason, &mut self.out);
        closed.expect("connected");
        self.carry_out();
    }

    fn disconnect(&mut self, conn: ConnId) {
        let reason = DisconnectReason::Client(Some(CloseCode::NORMAL));
        let gone = self.hub.disconnect(self.now, conn, reason, &mut self.out);
        gone.expect("connected");
        self.alive.remove(&conn);
        self.carry_out();
    }

    /// Time passes, and the host is woken whenever the hub asked for it.
    fn wait(&mut self, duration: Duration) {
        let until = self.now + duration;
        while let Some(at) = self.hub.next_timeout().filter(|&at| at <= until) {
            self.now = at;
            self.hub.handle_timeout(at, &mut self.out);
            self.carry_out();
        }
        self.now = until;
    }

    fn carry_out(&mut self) {
        for command in &self.out {
            match command {
                Command::Send { to, frame, .. } => {
                    let text = core::str::from_utf8(frame.as_bytes()).expect("text");
                    self.sent
                        .extend(to.iter().map(|conn| format!("{conn} {text}")));
                }
                Command::Close { conn, code, reason } => {
                    self.alive.remove(&conn);
                    self.sent.push(format!("{conn} close {code} {reason}"));
                }
                Command::Ping { conn } => self.sent.push(format!("{conn} ping")),
                // A host that can be evicted at any moment saves the state here; this one knows
                // when it falls asleep.
                Command::Persist { .. } => {}
                // Only with room policies, and a host that keeps histories.
                Command::Append { .. }
                | Command::PersistRoom { .. }
                | Command::PersistKey { .. }
                | Command::LoadHistory { .. }
                | Command::Relay(_)
                | Command::Tell { .. } => {}
            }
        }
        self.out.clear();
    }

    /// Saves the hub as text and restores it from that text.
    fn sleep_and_wake(&mut self) {
        let states = self.alive.iter().map(|&conn| self.hub.conn_state(conn));
        let states: Vec<ConnState> = states.map(|state| state.expect("connected")).collect();
        let saved = serde_json::to_string(&(self.hub.state(), states)).expect("plain data");
        let (state, states): (HubState, Vec<ConnState>) =
            serde_json::from_str(&saved).expect("what was saved");
        self.hub = Hub::restore(Config::new("e1"), state, states).expect("one snapshot");
        self.hub.assert_consistent();
    }

    /// Exactly this went out since the last call.
    #[track_caller]
    fn expect(&mut self, lines: &[&str]) {
        assert_eq!(core::mem::take(&mut self.sent), lines);
    }
}
