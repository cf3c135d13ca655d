//! A journal, replayed, gives the same outbox, byte for byte.

use proptest::prelude::*;
use roomcast_core::{
    Outbox,
    journal::{Entry, Replay},
};
use roomcast_tests::{Cast, Driver, Op, Settings};

use crate::stories::config;

fn stories() -> impl Strategy<Value = Vec<Op>> {
    let cast = Cast::default().with_users(["ann"]).with_namespaces(["red"]);
    cast.with_welcome().with_raw_texts().with_time().ops(1..=80)
}

/// Some of them in rooms that keep histories and show who is there.
fn kept_stories() -> impl Strategy<Value = Vec<Op>> {
    let cast = Cast::default().with_users(["ann"]).with_histories();
    cast.with_keys().with_time().ops(1..=80)
}

/// Every command of the whole story, and the journal of it.
fn live(story: &[Op]) -> (Vec<String>, Vec<String>) {
    let settings: Settings = "inbound_rate=1 inbound_burst=20"
        .parse()
        .expect("known settings");
    let policy = "l* history.messages=3 history.age_s=20 presence=members overflow=latest";
    let settings = settings.with_rooms(policy).expect("a policy");
    let mut core = settings.core();
    let mut commands = Vec::new();
    for op in story {
        core.perform(op)
            .unwrap_or_else(|fault| panic!("{op}: {fault}"));
        commands.extend_from_slice(core.commands());
    }
    (commands, core.journal().to_vec())
}

proptest! {
    #![proptest_config(config(512))]

    #[test]
    fn i44_same_inputs_same_outputs(story in stories()) {
        prop_assert_eq!(live(&story), live(&story));
    }

    /// `Hub::apply` does what the methods do, and nothing is lost on the way through the text.
    #[test]
    fn a_replayed_journal_gives_the_same_outbox(story in prop_oneof![stories(), kept_stories()]) {
        let (commands, journal) = live(&story);
        let (mut replay, mut out) = (Replay::new(), Outbox::new());
        for line in &journal {
            let entry = Entry::parse(line)?;
            prop_assert_eq!(&entry.clone().to_line(), line);
            replay.apply(&entry, &mut out)?;
        }
        let replayed: Vec<_> = out.iter().map(|command| format!("{command:?}")).collect();
        prop_assert_eq!(replayed, commands);
    }
}
