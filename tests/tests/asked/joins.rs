//! Joins that wait for the backend.

use super::{answer, asked, backend, client, config, join, serve};
use crate::tokens::text;

const JOIN: &str = r#"{"event":"$join","id":1,"room":"slow"}"#;
const SAY: &str = r#"{"event":"said","id":2,"room":"slow","data":"hi"}"#;

#[test]
fn what_is_sent_behind_a_join_waits_for_it_and_others_do_not() {
    let (url, questions) = backend();
    let folder = config(&url, "timeout_ms = 10000\n");
    for threads in ["--threads=1", "--threads=3"] {
        let server = serve(&folder, &[threads]);
        let enter = |user: &str, cookie: &str| {
            std::thread::scope(|scope| {
                let entering = scope.spawn(|| client(&server, cookie));
                let question = asked(&questions);
                assert_eq!(question.question["type"], "connect");
                let body = format!(
                    r#"{{"user":"{user}","grants":[{{"rooms":"own","can":["join"]}},
                        {{"rooms":"slow","can":["publish"]}}]}}"#
                );
                question.answer(200, &body);
                entering.join().expect("in")
            })
        };
        let (mut ann, mut ben) = (enter("ann", "1"), enter("ben", "2"));
        ann.say(JOIN);
        ann.say(SAY);
        ann.say(r#"{"event":"$join","id":3,"room":"own"}"#);
        let pong = answer(&mut ann, r#"{"event":"$ping","id":4}"#);
        assert!(pong.contains(r#""event":"$pong","id":4"#), "{pong}");
        let waits = asked(&questions);
        assert_eq!(
            waits.question.to_string(),
            r#"{"namespace":"default","room":"slow","type":"join","user":"ann"}"#
        );
        let joined = join(&mut ben, "own");
        assert!(joined.contains(r#""data":{"epoch""#), "{joined}");
        waits.allow("ann", &["join"]);
        for expected in [
            r#"{"event":"$join","id":1,"room":"slow","data":{"epoch""#,
            r#"{"event":"said","id":2,"room":"slow","data""#,
            r#"{"event":"$join","id":3,"room":"own","data":{"epoch""#,
        ] {
            let said = text(&mut ann);
            assert!(said.starts_with(expected), "{said}");
        }
        // The end of a waiting connection affects no other.
        ben.say(JOIN);
        let waits = asked(&questions);
        drop(ben);
        waits.allow("ben", &["join"]);
        let again = answer(&mut ann, r#"{"event":"$ping","id":5}"#);
        assert!(again.contains("$pong"), "{again}");
    }
}

#[test]
fn a_join_without_the_right_to_join_is_forbidden_and_an_answer_for_another_is_none() {
    let (url, questions) = backend();
    let folder = config(&url, "");
    let mut server = serve(&folder, &[]);
    let mut ann = std::thread::scope(|scope| {
        let entering = scope.spawn(|| client(&server, "1"));
        asked(&questions).answer(
            200,
            r#"{"user":"ann","rooms":["first"],"expires_in_s":600}"#,
        );
        // A room to join at once gives no right to it.
        let first = asked(&questions);
        assert_eq!(first.question["room"], "first");
        first.answer(200, r#"{"grants":[{"rooms":"fir*","can":["join"]}]}"#);
        entering.join().expect("in")
    });
    let first = text(&mut ann);
    assert!(
        first.starts_with(r#"{"event":"$join","room":"first","data":{"#),
        "{first}"
    );
    ann.say(JOIN);
    asked(&questions).allow("ann", &["publish"]);
    let refused = text(&mut ann);
    assert!(
        refused.contains(r#""error":{"code":"forbidden""#),
        "{refused}"
    );
    ann.say(JOIN);
    asked(&questions).allow("ben", &["join"]);
    let refused = text(&mut ann);
    assert!(
        refused.contains(r#""error":{"code":"unavailable""#),
        "{refused}"
    );
    let line = server.logged("for another user than the question");
    assert!(!line.contains("secret"), "{line}");
}
