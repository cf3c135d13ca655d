//! The journal `application`, recorded anew: a server in this process, with a gateway of the
//! examples in each namespace, is told all of their stories, random ones, and what only code beside
//! it can ask. `tests/journals/record.py` runs this.

use std::{cell::Cell, env, fs, path::Path, thread, time::Duration};

use roomcast::{AskError, Host, Namespace};
use roomcast_core::{Audience, CloseCode, ConnId, Event, Frame};
use roomcast_tests::{Actor, Driver, Settings, Url};
use serde_json::json;
use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
};

use super::gateway;
use crate::{alike, applications::APPLICATIONS};

/// Policies of rooms, beside those of the stories.
const POLICIES: &str = "club* presence=members presence_grace_s=1 history.messages=20";

/// Users, and what they may see of each other.
const USERS: &str = r#"ann connects with query user=ann with welcome
ben connects with query user=ben
zoe connects with query user=ann
eve connects
ann sends {"event":"$join","id":1,"room":"club","data":{"meta":{"name":"Ann"}}}
ben sends {"event":"$join","id":1,"room":"club","data":{"meta":"ben"}}
zoe sends {"event":"$join","id":1,"room":"club","data":{"meta":"not shown"}}
eve sends {"event":"$join","id":1,"room":"club","data":{"meta":[1]}}
ben sends {"event":"said","id":2,"room":"club","echo":true,"data":{"n":1.0}}
ann sends {"event":"$members","id":2,"room":"club","data":{"limit":1}}
ann sends {"event":"$members","id":3,"room":"club","data":{"after":"uann"}}
server sends {"audience":{"users":["ann"]},"event":"for ann","data":[1,  2]}
server with key k sends {"audience":{"rooms":["club"],"except_users":["ann"]},"event":"not for ann","data":null}
server with key k sends {"audience":{"rooms":["club"],"except_users":["ann"]},"event":"not for ann","data":null}
server with key k sends {"audience":{"rooms":["club"]},"event":"another","data":null}
eve sends {"event":"$history","id":2,"room":"club"}
zoe sends {"event":"$history","id":2,"room":"club"}
zoe disconnects
ben vanishes
ben connects with query user=ben
ben sends {"event":"$join","id":3,"room":"club"}
eve sends {"event":"$leave","id":4,"room":"club"}
ann sends binary 00ff"#;

fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
}

fn perform(url: &mut Url, lines: &str) {
    for line in lines.lines() {
        let op = line.parse().expect(line);
        url.perform(&op).expect(line);
    }
}

fn id(url: &Url, actor: &str) -> ConnId {
    let conn = url.conn(&actor.into()).expect("it connected");
    conn.parse().expect("an id")
}

/// Makes the calls of a task beside the server.
async fn beside(server: &Namespace, ann: ConnId, ben: ConnId) -> Result<(), AskError> {
    let all = Audience::all;
    server.send_frame(all(), Frame::Text("a text")).await?;
    let bytes = Frame::Binary(b"\x00\xff\n");
    server.send_frame(Audience::conn(ben), bytes).await?;
    server.join(ann, "hall").await?;
    let shown = json!({"by": "the server"});
    server.join_with(ben, "club two", &shown).await?;
    server.join_with(ann, "club two", &shown).await?;
    let event = Event::new("told").with_path(Some("/a/path"));
    server
        .send(Audience::room("club two"), event, &shown)
        .await?;
    server.leave(ann, "hall").await?;
    server.leave(ben, "club two").await?;
    server.disconnect(ben, CloseCode::REMOVED, "removed").await
}

/// Performs all ops to record on the server at this address; returns the drivers whose clients are
/// still connected.
fn tell(address: &str, server: &Namespace, clock: &Path) -> [Url; 2] {
    let url = |namespace: &str| {
        let url = Url::new(address).expect("an address").with_api(None);
        let url = url.with_namespace(namespace);
        if namespace.starts_with("raw-") {
            url.with_words()
        } else {
            url.with_welcome()
        }
    };
    // It is told the time while the others act.
    let mut heartbeat = url("heartbeat-0");
    perform(&mut heartbeat, "ann connects");
    for example in &APPLICATIONS {
        for (trace, number) in example.traces().iter().zip(1..) {
            let mut url = url(&format!("{}-{number}", example.name));
            if trace.unsupported(&url).is_none() && *trace.settings() == Settings::default() {
                let told = trace.run(&mut url);
                told.unwrap_or_else(|fault| panic!("{}/{fault}", example.name));
            }
        }
    }
    let number = Cell::new(0);
    alike::like_the_core(12, || {
        number.set(number.get() + 1);
        url(&format!("rows-story-{}", number.get()))
    });
    let mut people = url("users");
    perform(&mut people, USERS);
    perform(&mut people, "ann connects with query user=ann");
    let (ann, ben) = (id(&people, "ann"), id(&people, "ben"));
    let done = runtime().block_on(beside(&server.namespace("users"), ann, ben));
    done.expect("done");
    // The server sees that the wall clock was set.
    fs::write(clock, "+3600").expect("written");
    let mut beats = 0;
    while beats < 2 {
        perform(&mut heartbeat, r#"ann sends {"event":"$ping"}"#);
        let got = heartbeat.take(&Actor::new("ann"));
        let told = |event: &_| format!("{event}").contains("heartbeat");
        beats += got.iter().filter(|event| told(event)).count();
        thread::sleep(Duration::from_millis(500));
    }
    [heartbeat, people]
}

#[test]
#[ignore = "tests/journals/record.py runs it, with a clock that can be set"]
fn record_the_application() {
    let variable = |name| env::var_os(name).unwrap_or_else(|| panic!("{name} is not set"));
    let (folder, clock) = (
        variable("ROOMCAST_JOURNAL"),
        variable("FAKETIME_TIMESTAMP_FILE"),
    );
    let policies = Settings::default().with_rooms(POLICIES).expect("policies");
    let mut settings = roomcast::Settings::default();
    settings.listen = ([127, 0, 0, 1], 0).into();
    settings.hub = Settings::default().limits();
    settings.policies = policies.policies();
    settings.record = Some(folder.into());
    settings.control = None;
    settings.close_wait = Duration::from_millis(300);
    let listeners = roomcast::listen(&settings).expect("a free port");
    let address = listeners[0].local_addr().expect("bound");
    let host = Host::new(settings).other_gateways(|server: &Namespace| gateway(server.name()));
    let server = host.namespace("default");
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = thread::spawn(move || {
        let stopped = async { drop(stopped.await) };
        runtime().block_on(host.run(listeners, stopped))
    });
    let connected = tell(&format!("ws://{address}/ws"), &server, clock.as_ref());
    drop(stop);
    thread.join().expect("no panic").expect("it ran");
    drop(connected);
}
