//! Users whose earlier identities are refused.

use roomcast_core::{
    App, Applied, Config, DisconnectReason, Handshake, Input, Limits, hub::Refusal,
};

use super::{EVERYTHING, Stage, WHAT, ann, known, user};

#[test]
fn a_user_is_withdrawn_by_the_time_of_issue() {
    let issued = |seconds| {
        let mut identity = ann(EVERYTHING);
        identity.issued_s = seconds;
        identity
    };
    let mut stage = Stage::new(WHAT);
    let times = [Some(99), Some(100), None];
    let conns = times.map(|time| stage.connect(known(issued(time))).0);
    let withdraw = |not_before_s| Input::Withdraw {
        user: "ann".into(),
        not_before_s,
    };
    let (applied, told) = stage.put(&withdraw(100));
    assert_eq!(applied, Applied::Withdrawn(2));
    let closed: Vec<_> = told
        .iter()
        .filter(|line| line.starts_with("close"))
        .collect();
    assert_eq!(
        closed,
        [
            "close a 4401 the token was withdrawn",
            "close c 4401 the token was withdrawn"
        ]
    );
    assert_eq!(stage.app.hub().connections_of("ann"), [conns[1]]);
    // Refused for connections and renewals; a later withdrawal never moves the time back.
    stage.put(&withdraw(50));
    for time in [Some(99), None] {
        let (refused, _) = stage.put(&Input::Connect(known(issued(time))));
        assert_eq!(refused, Applied::Connected(Err(Refusal::Withdrawn.into())));
        assert!(stage.auth(conns[1], Some(issued(time)))[0].contains("unauthorized"));
    }
    assert!(stage.auth(conns[1], Some(issued(Some(100))))[0].contains(r#""user":"ann""#));
    let others = stage.put(&Input::Connect(known(user("bob", EVERYTHING)))).0;
    assert!(matches!(others, Applied::Connected(Ok(_))));
}

#[test]
fn past_the_limit_the_earliest_withdrawal_holds_for_all() {
    let mut limits = Limits::default();
    limits.withdrawn_users = 2;
    let config = || Config::new("e").with_limits(limits.clone());
    let mut stage = Stage::new(WHAT);
    stage.app = App::new(config(), ());
    let issued = |name, seconds| {
        let mut identity = user(name, EVERYTHING);
        identity.issued_s = seconds;
        Input::Connect(known(identity))
    };
    let (Applied::Connected(Ok(dan)), _) = stage.put(&issued("dan", Some(5))) else {
        panic!("refused");
    };
    for (name, not_before_s) in [("ann", 10), ("bob", 20), ("cid", 30), ("ann", 9), ("", 8)] {
        let user = name.into();
        let (ended, told) = stage.put(&Input::Withdraw { user, not_before_s });
        assert_eq!((ended, told.len()), (Applied::Withdrawn(0), 0), "{name}");
    }
    for _ in 0..2 {
        let hub = stage.app.hub();
        let users: Vec<_> = hub.withdrawn().collect();
        assert_eq!(
            (users, hub.not_before_s()),
            (vec![("bob", 20), ("cid", 30)], 10)
        );
        assert!(
            !hub.is_idle(stage.now) && hub.conn_state(dan).is_ok(),
            "who is here stays"
        );
        for (name, seconds, taken) in [
            ("ann", Some(9), false),
            ("ann", Some(10), true),
            ("bob", Some(19), false),
            ("bob", Some(20), true),
            ("dan", Some(9), false),
            ("dan", None, false),
            ("dan", Some(10), true),
        ] {
            let (applied, _) = stage.put(&issued(name, seconds));
            let is_taken = matches!(applied, Applied::Connected(Ok(_)));
            assert_eq!(is_taken, taken, "{name} {seconds:?}: {applied:?}");
        }
        // Guests cannot be withdrawn.
        let nobody = stage.put(&Input::Connect(Handshake::new())).0;
        assert!(matches!(nobody, Applied::Connected(Ok(_))));
        let conn = stage.app.hub().conn_state(dan).expect("alive");
        let text = serde_json::to_string(&(stage.app.state(), conn)).expect("JSON");
        let (state, conn) = serde_json::from_str(&text).expect("the same");
        stage.app = App::restore(config(), (), state, [conn]).expect("restored");
    }
    // A lower limit folds more users into the common time.
    limits.withdrawn_users = 1;
    let config = Config::new("e").with_limits(limits.clone());
    stage.app = App::restore(config, (), stage.app.state(), []).expect("restored");
    let hub = stage.app.hub();
    assert_eq!((hub.withdrawn().count(), hub.not_before_s()), (1, 20));
}

#[cfg(feature = "cluster")]
#[test]
fn users_who_were_withdrawn_on_other_nodes_are_refused_here() {
    use roomcast_core::{hub::Cluster, relay::RelayEvent};

    let relay = |event: RelayEvent| Input::Relay(Box::new(event));
    let mut stage = Stage::new(WHAT);
    let config = Config::new("e").with_cluster(Cluster::new("n", 0, 100));
    stage.app = App::new(config, ());
    let issued = |name, seconds| {
        let mut identity = user(name, EVERYTHING);
        identity.issued_s = Some(seconds);
        known(identity)
    };
    stage.connect(issued("ann", 99));
    let late = stage.connect(issued("ann", 100)).0;
    let withdrawn = RelayEvent::Withdrawn {
        users: vec![("ann".into(), 100)],
        everyone_s: 10,
    };
    let (_, told) = stage.put(&relay(withdrawn));
    let closed = told.iter().filter(|line| line.starts_with("close"));
    assert_eq!(closed.count(), 1, "{told:?}");
    let hub = stage.app.hub();
    assert_eq!(hub.connections_of("ann"), [late]);
    assert_eq!(hub.withdrawn().collect::<Vec<_>>(), [("ann", 100)]);
    assert_eq!(hub.not_before_s(), 10);
    for (name, seconds) in [("ann", 99), ("dan", 9)] {
        let (refused, _) = stage.put(&Input::Connect(issued(name, seconds)));
        assert_eq!(refused, Applied::Connected(Err(Refusal::Withdrawn.into())));
    }
    stage.put(&Input::Disconnect {
        conn: late,
        reason: DisconnectReason::Lost,
    });
    assert!(
        !stage.app.hub().is_idle(stage.now),
        "nobody else remembers it"
    );
    stage.put(&relay(RelayEvent::Up));
    assert!(stage.app.hub().is_idle(stage.now), "the relay does");
}
