//! Expectations of a world.

use roomcast_core::Gateway;

use super::World;
use crate::{Actor, Answer, Driver, Event, Known, Op, Trace, TraceError, diff::Diff, escape};

impl<G: Gateway> World<G> {
    /// Performs the op in the line of a trace.
    ///
    /// # Panics
    ///
    /// When the line is not an op, when it is refused
    /// (`ann was refused: 401 unauthorized: sign in first`), when its actor is not connected
    /// (`zoe is not connected`), when it connects an actor twice, or when the core is broken.
    #[track_caller]
    pub fn tell(&mut self, line: &str) -> &[(Actor, Event)] {
        self.told(line);
        if self.answer.status != 200 {
            panic!("{}\n{self}", self.refused(line));
        }
        &self.heard
    }

    /// Performs the op in the line of a trace, which must be refused with this HTTP status: a
    /// client that the application or a limit refuses, or a request of the server side. Returns the
    /// reason, such as `unauthorized: sign in first`; it is empty if the answer is only the status.
    ///
    /// # Panics
    ///
    /// When it is not refused, or with another status, and as for [`tell`](Self::tell).
    #[track_caller]
    pub fn expect_refused(&mut self, line: &str, status: u16) -> &str {
        self.told(line);
        let got = self.answer.status;
        assert!(got != 200, "{line}: this was not refused\n{self}");
        assert!(
            got == status,
            "{}, not {status}\n{self}",
            self.refused(line)
        );
        self.core.refusal().unwrap_or_default()
    }

    /// The HTTP status and the reason of a refusal by the last op or [`proceed`](Self::proceed),
    /// for a client that had waited for `on_upgrade` or one of its guards.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use roomcast_core::{Rejection, Router, gateway::Admission, later};
    /// use roomcast_tests::World;
    /// use tokio::sync::Notify;
    ///
    /// let found = Arc::new(Notify::new());
    /// let database = found.clone();
    /// let mut world = World::new(move || {
    ///     let database = database.clone();
    ///     Router::default().on_upgrade(move |request, ()| {
    ///         let (database, user) = (database.clone(), request.param("user"));
    ///         let user = user.map(|user| user.into_owned());
    ///         later(async move {
    ///             database.notified().await;
    ///             let user = user.ok_or(Rejection::unauthorized("sign in first"))?;
    ///             Ok(Admission::new().with_user(user))
    ///         })
    ///     })
    /// });
    /// world.tell("eve connects");
    /// found.notify_one();
    /// world.proceed()?;
    /// assert_eq!(world.late_refusal("eve"), Some((401, "unauthorized: sign in first")));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn late_refusal(&self, actor: impl Into<Actor>) -> Option<(u16, &str)> {
        let actor = actor.into();
        let found = self.refused.iter().find(|(who, ..)| *who == actor)?;
        Some((found.1, &found.2))
    }

    /// Performs the op of a line, which must make sense.
    #[track_caller]
    fn told(&mut self, line: &str) {
        let op: Op = match line.parse() {
            Ok(op) => op,
            Err(fault) => panic!("{fault}"),
        };
        if let Some(fault) = self.nonsense(&op) {
            panic!("{line}: {fault}\n{self}");
        }
        if let Err(fault) = self.perform(&op) {
            panic!("{line}: {fault}");
        }
    }

    /// The reason why the op would do nothing, if so.
    fn nonsense(&self, op: &Op) -> Option<String> {
        let absent = |actor: &Actor| format!("{actor} is not connected");
        match op {
            Op::Connect { actor, .. } => {
                let there = self.core.is_connected(actor) || self.core.is_connecting(actor);
                there.then(|| format!("{actor} is connected already"))
            }
            // A client may give up while its upgrade request is pending.
            Op::Disconnect { actor } | Op::Vanish { actor } if self.core.is_connecting(actor) => {
                None
            }
            // Frames that were sent before the connection ended can still be read.
            Op::Read { actor, .. } if self.core.queue(actor).is_some() => None,
            Op::Send { to, .. } => {
                // An actor that has left is nobody, as for any server. One that never connected is
                // a mistake in the test.
                let mut named = to.conns.iter().chain(&to.except_conns);
                let stranger = named.find(|actor| self.core.conn(actor).is_none());
                stranger.map(absent)
            }
            Op::Authenticate { actor, .. }
            | Op::Join { actor, .. }
            | Op::Leave { actor, .. }
            | Op::Rooms { actor }
            | Op::Publish { actor, .. }
            | Op::Text { actor, .. }
            | Op::Binary { actor, .. }
            | Op::Pong { actor }
            | Op::Disconnect { actor }
            | Op::Vanish { actor }
            | Op::Stall { actor }
            | Op::Read { actor, .. }
            | Op::ServerJoin { actor, .. }
            | Op::ServerLeave { actor, .. }
            | Op::Close { actor, .. } => {
                let there = self.core.is_connected(actor);
                (!there).then(|| absent(actor))
            }
            Op::Withdraw { .. }
            | Op::ListRooms { .. }
            | Op::ListConnections { .. }
            | Op::Crash
            | Op::Wait { .. } => None,
        }
    }

    /// Formats a refusal, as `ann was refused: 401 unauthorized: sign in first`.
    fn refused(&self, line: &str) -> String {
        let who = line.split(' ').next().filter(|who| *who != "server");
        let reason = self.core.refusal().map(|reason| format!(" {reason}"));
        let (status, reason) = (self.answer.status, reason.unwrap_or_default());
        format!("{} was refused: {status}{reason}", who.unwrap_or(line))
    }

    /// Checks that the last op led to exactly these events, in this order: lines such as
    /// `bob gets {"event":"say","data":"hi"}`. `<bob>` stands for the id of bob's connection, here
    /// and in texts that clients send; see [`Known`](crate::Known) for `<epoch>`, `<message>` and
    /// `<number>`.
    ///
    /// # Panics
    ///
    /// When it led to others. The text has the story, and the expected beside the actual lines.
    ///
    /// ```text
    /// ann connects
    /// ann sends {"event":"wave"}
    /// the last line led to something else:
    ///   - expected, + got
    ///     bob gets {"event":"waves","data":null}
    ///   - ann gets {"event":"wave","data":1}
    ///   + ann gets {"event":"wave","data":2}
    ///                                     ^
    /// ```
    #[track_caller]
    pub fn expect<const N: usize>(&self, lines: [&str; N]) {
        let heard = self.heard.iter();
        let heard: Vec<String> = heard.map(|(who, what)| format!("{who} {what}")).collect();
        let expected = lines.map(|line| self.known.fill(line).into_owned());
        let fits = |i: usize, j: usize| {
            let home = self.known.home(&self.heard[j].0);
            expected[i] == heard[j] || self.known.clone().matches(home, lines[i], &heard[j])
        };
        let diff = Diff::new(&expected, &heard, fits);
        assert!(
            diff.is_empty(),
            "\n{self}the last line led to something else:\n{diff}"
        );
    }

    /// Makes a trace of this name from the story so far and its events. Connection ids and other
    /// values of one run become placeholders, even within texts of the application. `shows` is its
    /// first line. If the world has its own limits or policies, add the lines `limits ..` and
    /// `rooms ..`.
    ///
    /// ```
    /// use roomcast_tests::World;
    ///
    /// let mut world = World::new(|| ());
    /// world.tell("ann connects");
    /// world.tell(r#"ann sends {"event":"$join","room":"r"}"#);
    /// let trace = world.trace("joins", "A join is answered.")?;
    /// assert_eq!(
    ///     trace.to_string(),
    ///     r#"# A join is answered.
    /// ann connects
    /// ann sends {"event":"$join","room":"r"}
    /// ann gets {"event":"$join","room":"r","data":{"epoch":"<epoch>","offset":0,"already":false}}
    /// "#
    /// );
    /// # Ok::<(), roomcast_tests::TraceError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When a part of the story cannot be in a trace: code without a connection acted, or a future
    /// was woken from elsewhere. Also when a text of the story is the same as the id of a
    /// connection in an event, so that the two cannot be told apart. The error names the line.
    pub fn trace(&self, name: &str, shows: &str) -> Result<Trace, TraceError> {
        let (mut known, mut source) = (Known::default(), format!("# {}\n", escape(shows)));
        for told in &self.story {
            let Some(op) = &told.op else {
                source.push_str("what came here came from no op\n");
                return Trace::parse(name, source);
            };
            if let (Op::Connect { actor, .. }, Some(id)) = (op, &told.opened) {
                known.connected(actor, op.namespace(), &**id);
            }
            if let Op::Disconnect { actor } | Op::Vanish { actor } = op {
                known.ended(actor);
            }
            known.said(op);
            source.push_str(&op.to_string());
            if told.answer != Answer::none() {
                let home = known.namespace_of(op);
                let answer = known.pattern(&home, &told.answer.to_string());
                source.push_str(&format!(" -> {answer}"));
            }
            source.push('\n');
            for (actor, event) in &told.heard {
                if let Event::Text(text) = event
                    && let Some((id, who)) = known.ambiguous_id(known.home(actor), text)
                {
                    let told = Trace::parse(name, &*source)?;
                    let fault = format!(
                        "\"{id}\" in what {actor} got is the id of {who}, or a text of the story: write \
                         <{who}> for the one, or another text for the other"
                    );
                    return Err(told.error(source.lines().count(), fault));
                }
                source.push_str(&known.line(actor, event));
                source.push('\n');
                if matches!(event, Event::Closed { .. } | Event::Lost) {
                    known.ended(actor);
                }
            }
        }
        Trace::parse(name, source)
    }
}
