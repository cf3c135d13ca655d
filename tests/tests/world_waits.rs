//! Users who are looked up, and the limit of time for that, as the test kit for applications shows
//! them.

use std::{future::pending, time::Duration};

use roomcast_core::{Failure, Rejection, Router, gateway::Admission, later};
use roomcast_tests::World;

/// Looks up for ever whoever comes, by the query before the connection opens, by the user then, and
/// who wants to say something.
fn slow() -> Router {
    Router::default()
        .on_upgrade(|request, ()| {
            let never = request.param("door").is_some();
            later(async move {
                match never {
                    true => pending().await,
                    false => Ok(Admission::new()),
                }
            })
        })
        .on_connect(|cx, ()| {
            let never = cx.user() == Some("eve");
            later(async move {
                match never {
                    true => pending().await,
                    false => Ok::<_, Rejection>(()),
                }
            })
        })
        .guard(|_, (), _| later(pending::<Result<(), Failure>>()))
}

#[test]
fn what_takes_too_long_is_given_up() {
    const TEXT: &str = "the application did not decide in time: try again later";
    let mut world = World::new(slow);
    world.tell("ann connects");
    world.tell("ben connects with query door=shut");
    world.tell("eve connects as eve");
    world.tell(r#"ann sends {"event":"say","id":1}"#);
    world.wait(Duration::from_millis(6_999));
    world.expect([]);
    assert_eq!(world.late_refusal("ben"), None);
    world.wait(Duration::from_millis(1));
    world.expect([
        &*format!(r#"ann gets {{"event":"say","id":1,"error":{{"code":"unavailable","message":"{TEXT}"}}}}"#),
        &*format!(r#"eve gets {{"event":"$error","error":{{"code":"unavailable","message":"{TEXT}"}}}}"#),
        &*format!(r#"eve is closed 1013 "{TEXT}""#),
    ]);
    let reason = format!("unavailable: {TEXT}");
    assert_eq!(world.late_refusal("ben"), Some((503, &*reason)));
    assert!(world.is_connected("ann") && !world.is_connected("eve"));
}

/// Names users by the query: before the connection opens, or when it does.
fn sign_in() -> Router {
    Router::default()
        .on_upgrade(|request, ()| {
            let admission = Admission::new();
            Ok(match request.param("upgrade") {
                Some(user) => admission.with_user(user),
                None => admission.with_session(&request.param("connect"))?,
            })
        })
        .on_connect(|cx, ()| {
            if let Some(user) = cx.session::<Option<String>>()?.flatten() {
                let named = cx.set_user(&user);
                named.map_err(|_| Rejection::unauthorized("sign in anew"))?;
            }
            Ok(())
        })
}

#[test]
fn a_withdrawn_user_who_signs_in_anew_comes_back() {
    for hook in ["upgrade", "connect"] {
        let mut world = World::new(sign_in);
        let connects = format!("zoe connects with query {hook}=ann");
        world.tell(&connects);
        world.tell("server withdraws ann");
        world.expect([
            r#"zoe gets {"event":"$bye","data":{"code":4401,"reconnect":true,"after_ms":0}}"#,
            r#"zoe is closed 4401 "the token was withdrawn""#,
        ]);
        world.expect_refused(&connects, 401);
        world.wait(Duration::from_secs(1));
        world.tell(&connects);
        assert!(world.is_connected("zoe"), "{hook}");
    }
}
