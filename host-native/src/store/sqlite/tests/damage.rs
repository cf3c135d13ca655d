//! Tests of damage: every byte of a store is flipped in turn.

use std::collections::BTreeMap;

use roomcast_core::hub::KeyState;

use super::*;

/// The epoch, the offset and the frames of each room.
type Rooms = BTreeMap<String, (String, u64, Vec<(u64, Box<str>)>)>;

/// Opens a store and reads all of it, as a starting server does.
fn read(path: &Path) -> Result<Rooms, StoreError> {
    read_and(path, |_, _| ())
}

/// Opens a store and reads all of it, then calls `then`.
fn read_and(path: &Path, then: impl FnOnce(&Store, &Rooms)) -> Result<Rooms, StoreError> {
    let store = Store::open(path, StoreSync::Second)?;
    let mut rooms = Rooms::new();
    for name in store.namespaces()? {
        let Some(kept) = store.load(&name, 200)? else {
            continue;
        };
        let state = HubState::from_serial(kept.header.next_serial)
            .with_histories_opened(kept.header.histories_opened)
            .with_rooms(kept.rooms.iter().map(|room| room.state.clone()))
            .with_keys(kept.keys);
        let mut hub = Hub::restore(config(), state, []).expect("a state that was saved");
        for room in &kept.rooms {
            let messages = store.messages(&name, room)?;
            let frames = messages
                .iter()
                .map(|message| (message.offset, message.frame.clone()))
                .collect();
            let name = room.state.room();
            hub.history_loaded(Timestamp::ZERO, name, messages, &mut Outbox::new());
            let position = hub.position(name);
            let place = (position.epoch.into_owned(), position.offset, frames);
            rooms.insert(name.to_owned(), place);
        }
    }
    then(&store, &rooms);
    Ok(rooms)
}

/// A store with an idempotency key, and some messages in two rooms.
fn written() -> Kit {
    // The tests start a store thousands of times, with writes: in memory if possible.
    let memory = Path::new("/dev/shm");
    let mut kit = Kit::new();
    if memory.is_dir() {
        kit._folder = tempfile::tempdir_in(memory).expect("a folder");
        kit.path = kit._folder.path().join("store");
    }
    let store = kit.open();
    kit.write(&store, "r1", 3);
    kit.write(&store, "r2", 2);
    let (audience, mut out) = (Audience::room("q"), Outbox::new());
    let sent = kit
        .hub
        .send_once(kit.now, "key", &audience, "e", Payload::NULL, &mut out);
    sent.expect("valid");
    let mut batch = Batch::default();
    let key: KeyState = kit.hub.key_state(kit.now, "key").expect("known");
    batch.set_key(kit.now, &NAME.into(), header(&kit.hub), key);
    store.commit(&batch).expect("written");
    store.close().expect("closed");
    drop(store);
    kit
}

/// Checks that only written data is restored, and that other data is reported as damaged, or
/// missing.
fn judge(found: Result<Rooms, StoreError>, whole: &Rooms, at: &str) -> bool {
    let rooms = match found {
        Ok(rooms) => rooms,
        Err(fault) => {
            let fault = fault.to_string();
            let told = ["move it away", "give another folder", "another version"];
            assert!(
                told.iter().any(|told| fault.contains(told)),
                "{at}: {fault}"
            );
            return false;
        }
    };
    for (name, (epoch, top, frames)) in &rooms {
        let (epoch_before, top_before, frames_before) = &whole[name];
        assert_eq!((epoch, top), (epoch_before, top_before), "{at}: {name}");
        assert!(frames_before.ends_with(frames), "{at}: {name}: {frames:?}");
    }
    true
}

#[test]
fn a_byte_that_is_no_utf8_costs_its_message() {
    let kit = written();
    let whole = read(&kit.path).expect("sound");
    kit.meddle(
        "UPDATE messages SET frame = CAST(replace(CAST(frame AS BLOB), 'e', X'80') AS TEXT)
        WHERE position = 2 AND room = (SELECT id FROM rooms WHERE name = 'r1')",
    );
    let rooms = read(&kit.path).expect("served");
    let (epoch, top, frames) = &whole["r1"];
    assert_eq!(rooms["r1"], (epoch.clone(), *top, frames[2..].to_vec()));
    assert_eq!(rooms["r2"], whole["r2"]);
}

/// SQLite may report the file as damaged; it must not keep the server from starting without an
/// error.
#[test]
fn a_value_of_another_type_costs_its_row_or_is_told() {
    for column in ["frame", "excluded", "at", "sum"] {
        for value in ["NULL", "X'00'", "'text'", "1.5", "7"] {
            let kit = written();
            let whole = read(&kit.path).expect("sound");
            // Done by a change of the schema, which is reverted afterwards.
            let sql = "SELECT sql FROM sqlite_schema WHERE name = 'messages'";
            let db = Connection::open(kit.path.join(FILE)).expect("a database");
            let made: String = db.query_row(sql, [], |row| row.get(0)).expect("a table");
            drop(db);
            kit.meddle(
                "PRAGMA writable_schema = on;
                 UPDATE sqlite_schema
                    SET sql = replace(replace(sql, 'NOT NULL', ''), 'INTEGER', 'BLOB')
                    WHERE name = 'messages';",
            );
            kit.meddle(&format!(
                "UPDATE messages SET {column} = {value}
                    WHERE position = 1 AND room = (SELECT id FROM rooms WHERE name = 'r1');"
            ));
            kit.meddle(&format!(
                "PRAGMA writable_schema = on;
                 UPDATE sqlite_schema SET sql = '{made}' WHERE name = 'messages';"
            ));
            let found = read(&kit.path);
            let damaged = found.as_ref().map(|rooms| rooms["r1"].2.len());
            assert_ne!(damaged.ok(), Some(3), "{column} {value}");
            judge(found, &whole, &format!("{column} {value}"));
        }
    }
}

#[test]
fn an_index_that_does_not_fit_is_made_again() {
    for (index, entry) in [
        ("keys_by_expiry", "key"),
        ("sqlite_autoindex_rooms_1", "r1"),
        ("sqlite_autoindex_namespaces_1", NAME),
    ] {
        let kit = written();
        let whole = read(&kit.path).expect("sound");
        let path = kit.path.join(FILE);
        let db = Connection::open(&path).expect("a database");
        let sql = format!("SELECT rootpage FROM sqlite_schema WHERE name = '{index}'");
        let page: u16 = db.query_row(&sql, [], |row| row.get(0)).expect("an index");
        drop(db);
        let page = usize::from(page);
        let mut bytes = fs::read(&path).expect("a file");
        let page = &mut bytes[(page - 1) * 4096..page * 4096];
        let at = page
            .windows(entry.len())
            .position(|text| text == entry.as_bytes());
        page[at.expect("an entry")] ^= 1;
        fs::write(&path, bytes).expect("written");
        let (found, log) = logged(|| read(&kit.path).expect("mended"));
        assert_eq!(found, whole, "{index}");
        assert!(log.contains("indexes were made again"), "{log}");
        let (_, log) = logged(|| read(&kit.path).expect("sound"));
        assert_eq!(log, "", "{index}");
    }
}

/// Orphans of lost rows, and missing rows, do not prevent a start.
#[test]
fn rows_that_are_lost_are_told() {
    for (sql, said, left) in [
        ("DELETE FROM namespaces", "rooms in the store belong", 0),
        (
            "DELETE FROM rooms WHERE name = 'r1'",
            "messages in the store belong",
            1,
        ),
        (
            "DELETE FROM messages WHERE position = 1",
            "damaged or missing",
            2,
        ),
        ("DELETE FROM messages", "damaged or missing", 2),
    ] {
        let kit = written();
        kit.meddle(sql);
        let (found, log) = logged(|| read(&kit.path).expect("served"));
        assert_eq!(found.len(), left, "{sql}");
        assert!(log.contains(said), "{sql}: {log}");
        let (_, log) = logged(|| read(&kit.path).expect("served"));
        assert!(!log.contains("belong"), "{sql}: {log}");
    }
}

#[test]
fn a_schema_that_is_not_as_it_was_made_is_told() {
    let kit = written();
    kit.meddle(
        "PRAGMA writable_schema = on;
         UPDATE sqlite_schema SET sql = replace(sql, 'expires', 'expirea') WHERE type = 'index';",
    );
    let fault = read(&kit.path).expect_err("damaged").to_string();
    assert!(fault.contains("move it away"), "{fault}");
}

#[test]
fn a_database_that_is_gone_is_told() {
    for lost in ["rm store/histories.sqlite", ": > store/histories.sqlite"] {
        let kit = written();
        kit.run(lost);
        let (found, log) = logged(|| read(&kit.path).expect("served"));
        assert!(
            found.is_empty() && log.contains("although there was one"),
            "{lost}: {log}"
        );
        let (_, log) = logged(|| read(&kit.path).expect("served"));
        assert_eq!(log, "", "{lost}");
    }
}

/// Applies flips to every byte of a file; returns how often the server started, and how often not.
fn flip_all(kit: &Kit, name: &str, flips: &[u8], whole: &Rooms) -> (usize, usize) {
    let (snapshot, path) = (Snapshot::take(&kit.path), kit.path.join(name));
    let sound = fs::read(&path).expect("a file");
    let (mut started, mut refused) = (0, 0);
    for at in 0..sound.len() {
        // Most zero bytes are unused: a sample of them suffices.
        if sound[at] == 0 && at % 64 != 0 && sound.len() > 1_000 {
            continue;
        }
        // Each start takes milliseconds.
        let flips = flips.iter().take(if at % 4 == 0 { 2 } else { 1 });
        for &flip in flips {
            snapshot.put_back();
            let mut bytes = sound.clone();
            bytes[at] ^= flip;
            fs::write(&path, &bytes).expect("written");
            // A store that was accepted can be written to.
            let found = read_and(&kit.path, |store, rooms| {
                let mut kit = Kit::new();
                for room in rooms.keys().map(String::as_str).chain(["r9"]) {
                    kit.write(store, room, 1);
                }
            });
            match judge(found, whole, &format!("{name}: {flip:#x} at {at}")) {
                true => started += 1,
                false => refused += 1,
            }
        }
    }
    (started, refused)
}

#[test]
fn no_flipped_byte_of_the_database_is_served() {
    let kit = written();
    let whole = read(&kit.path).expect("sound");
    assert_eq!(whole.len(), 2);
    // Small pages make a small file.
    kit.meddle("PRAGMA journal_mode = delete; PRAGMA page_size = 512; VACUUM;");
    let (started, refused) = flip_all(&kit, FILE, &[0x80, 0x01], &whole);
    assert!(started > 500 && refused > 100, "{started} {refused}");
}

#[test]
fn no_flipped_byte_of_the_count_is_served() {
    let kit = written();
    let whole = read(&kit.path).expect("sound");
    let file = counting(&kit.path);
    let name = file.file_name().and_then(|name| name.to_str());
    let name = name.expect("a file");
    let (started, refused) = flip_all(&kit, name, &[0x80, 0x01], &whole);
    assert_eq!((started, refused), (96 + 24, 0));
}

#[test]
fn no_flipped_byte_of_the_log_is_served() {
    let mut kit = written();
    let store = kit.open();
    kit.write(&store, "r1", 1);
    kill(store);
    let snapshot = Snapshot::take(&kit.path);
    let whole = read(&kit.path).expect("sound");
    snapshot.put_back();
    fs::remove_file(&snapshot.commits).expect("a link");
    let (started, _) = flip_all(&kit, LOG, &[0x80], &whole);
    assert!(started > 100, "{started}");
}
