use std::{fs, io};

use roomcast_core::{Audience, Command, Config, Hub, Outbox, Payload, Timestamp, hub::HubState};
use roomcast_http::policies_from_toml;
use tempfile::TempDir;

use super::{
    commits::Commits,
    database::{FILE, LOG},
    *,
};
use crate::store::batch::NamespaceHeader;

mod copies;
mod damage;
mod keys;

const NAME: &str = "default";

/// A hub whose rooms `r*` are stored.
struct Kit {
    /// The path of the store, in a temporary folder.
    path: PathBuf,
    _folder: TempDir,
    hub: Hub,
    now: Timestamp,
}

fn config() -> Config {
    let policies = "[[rooms]]\nmatch = \"r*\"\nhistory.messages = 5\n";
    Config::new("epoch")
        .with_policies(policies_from_toml(policies).expect("valid"))
        .with_durable(true)
}

fn header(hub: &Hub) -> NamespaceHeader {
    NamespaceHeader {
        epoch: "epoch".into(),
        histories_opened: hub.histories_opened(),
        next_serial: 7,
    }
}

impl Kit {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self {
            path: folder.path().join("store"),
            _folder: folder,
            hub: Hub::new(config()),
            now: Timestamp::from_millis(1_000),
        }
    }

    fn open(&self) -> Store {
        self.try_open(StoreSync::Second).expect("a store")
    }

    /// Opens it without checkpoints in the background: a test that stands still for a second would
    /// find another log than it expects.
    fn try_open(&self, sync: StoreSync) -> Result<Store, StoreError> {
        let store = Store::open(&self.path, sync)?;
        store.checkpoints.stop();
        Ok(store)
    }

    /// The batch of a turn that sends `count` messages to a room.
    fn turn(&mut self, room: &str, count: usize) -> Batch {
        let (name, mut out) = (NAME.into(), Outbox::new());
        let audience = Audience::room(room);
        for _ in 0..count {
            let sent = self
                .hub
                .send(self.now, &audience, "e", Payload::NULL, &mut out);
            sent.expect("valid");
        }
        let mut batch = Batch::default();
        for command in &out {
            let Command::Append {
                room,
                offset,
                at,
                frame,
                except,
            } = command
            else {
                continue;
            };
            let message = HistoryMessage::new(offset, at, frame, except.clone());
            batch.append(&name, room, message);
        }
        let state = self.hub.room_state(room);
        batch.set_room(&name, header(&self.hub), room, state);
        batch
    }

    fn write(&mut self, store: &Store, room: &str, count: usize) {
        let batch = self.turn(room, count);
        store.commit(&batch).expect("written");
    }

    /// The state that a client finds: the position of a room, and the offsets of its history.
    fn found(&self, room: &str) -> (String, u64, Vec<u64>) {
        let store = self.open();
        let kept = store.load(NAME, 200).expect("readable");
        let Some(kept) = kept else {
            return (String::new(), 0, Vec::new());
        };
        let state = HubState::from_serial(kept.header.next_serial)
            .with_histories_opened(kept.header.histories_opened)
            .with_rooms(kept.rooms.iter().map(|room| room.state.clone()))
            .with_keys(kept.keys)
            .with_client_keys(kept.client_keys);
        let mut hub = Hub::restore(config(), state, []).expect("valid");
        let mut out = Outbox::new();
        let mut offsets = Vec::new();
        for state in &kept.rooms {
            let messages = store.messages(NAME, state).expect("readable");
            let state = &state.state;
            if state.room() == room {
                offsets = messages.iter().map(|message| message.offset).collect();
            }
            hub.history_loaded(self.now, state.room(), messages, &mut out);
        }
        let position = hub.position(room);
        (position.epoch.into_owned(), position.offset, offsets)
    }

    /// Makes the header name another boot of the system.
    fn boot_again(&self) {
        let db = Connection::open(self.path.join(FILE)).expect("a database");
        let mut header = Header::read(&db).expect("readable").expect("sound");
        header.boot = "another".to_owned();
        header.write(&db).expect("written");
    }

    /// Changes the database behind the store's back.
    fn meddle(&self, sql: &str) {
        let db = Connection::open(self.path.join(FILE)).expect("a database");
        db.execute_batch(sql).expect(sql);
    }
}

/// A snapshot of a folder, to be restored later, as of a disk.
struct Snapshot {
    path: PathBuf,
    files: Vec<(PathBuf, Vec<u8>)>,
    /// A hard link to the commit file, which each start replaces, and its name.
    commits: PathBuf,
    name: PathBuf,
}

/// The commit file.
fn counting(folder: &Path) -> PathBuf {
    let named = commits::named(folder).expect("a folder");
    let [(_, name)] = &named[..] else {
        panic!("one such file: {named:?}");
    };
    name.clone()
}

impl Snapshot {
    fn take(path: &Path) -> Self {
        let (path, commits) = (path.to_owned(), path.with_extension("commits"));
        let name = counting(&path);
        fs::hard_link(&name, &commits).expect("linked");
        let files = fs::read_dir(&path).expect("a folder");
        let files = files.map(|file| {
            let path = file.expect("a file").path();
            let bytes = fs::read(&path).expect("a file");
            (path, bytes)
        });
        Self {
            files: files.collect(),
            path,
            commits,
            name,
        }
    }

    fn put_back(&self) {
        for file in fs::read_dir(&self.path).expect("a folder") {
            let file = file.expect("a file");
            if file.file_name() != FILE {
                fs::remove_file(file.path()).expect("a file");
            }
        }
        fs::hard_link(&self.commits, &self.name).expect("linked");
        for (path, bytes) in &self.files {
            fs::write(path, bytes).expect("written");
        }
    }
}

/// Runs an action; returns its result, and the warnings and errors that it leaves in the log.
fn logged<R>(act: impl FnOnce() -> R) -> (R, String) {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("a log").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let lines = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || lines.clone())
        .with_max_level(tracing::Level::WARN)
        .finish();
    let done = tracing::subscriber::with_default(subscriber, act);
    let log = log.0.lock().expect("a log").clone();
    (done, String::from_utf8(log).expect("text"))
}

/// Leaves the folder as a killed process does: without an orderly end of the store.
fn kill(store: Store) {
    store.checkpoints.stop();
    let path = store.folder.join(FILE);
    let log = path.with_extension("sqlite-wal");
    let (bytes, file) = (
        fs::read(&log).expect("a log"),
        fs::read(&path).expect("a file"),
    );
    // SQLite removes its log when it closes.
    drop(store);
    fs::write(path, file).expect("written");
    fs::write(log, bytes).expect("written");
}

#[test]
fn what_was_committed_is_found() {
    let mut kit = Kit::new();
    let store = kit.open();
    kit.write(&store, "r", 3);
    kit.write(&store, "r", 4);
    kit.write(&store, "q", 1); // keeps nothing
    kill(store);
    // The newest five.
    let expected = ("epoch.1".into(), 7, vec![3, 4, 5, 6, 7]);
    assert_eq!(kit.found("r"), expected);
    assert_eq!(kit.found("r"), expected, "and again");
    assert_eq!(kit.found("q").1, 0);
}

#[test]
fn an_orderly_end_outlives_the_system() {
    for (sync, clean, kept) in [
        (StoreSync::Second, false, false),
        (StoreSync::Second, true, true),
        (StoreSync::Always, false, true),
    ] {
        let mut kit = Kit::new();
        let store = kit.try_open(sync).expect("a store");
        kit.write(&store, "r", 2);
        if clean {
            store.close().expect("closed");
            drop(store);
        } else {
            kill(store);
        }
        kit.boot_again();
        let found = kit.found("r").1;
        assert_eq!(found, if kept { 2 } else { 0 }, "{sync:?}, {clean}");
    }
}

#[test]
fn a_log_that_lost_its_end_is_not_believed() {
    let mut kit = Kit::new();
    let store = kit.open();
    kit.write(&store, "r", 1);
    kit.write(&store, "r", 1);
    let log = kit.path.join("histories.sqlite-wal");
    kill(store);
    let bytes = fs::read(&log).expect("a log");
    for lost in [1, 5_000] {
        fs::write(&log, &bytes[..bytes.len() - lost]).expect("written");
        let found = kit.found("r");
        assert_eq!(found, (String::new(), 0, Vec::new()), "{lost} bytes");
    }
}

#[test]
fn a_missing_count_is_not_believed() {
    let mut kit = Kit::new();
    let store = kit.open();
    kit.write(&store, "r", 1);
    kill(store);
    fs::remove_file(counting(&kit.path)).expect("a file");
    assert_eq!(kit.found("r").1, 0);
}

#[test]
fn a_damaged_row_is_left_out() {
    let mut kit = Kit::new();
    let store = kit.open();
    kit.write(&store, "r1", 5);
    kit.write(&store, "r2", 2);
    store.close().expect("closed");
    drop(store);
    kit.meddle("UPDATE messages SET frame = replace(frame, 'null', 'true') WHERE position = 3");
    // Earlier messages are useless: there would be a gap.
    assert_eq!(kit.found("r1"), ("epoch.1".into(), 5, vec![4, 5]));
    kit.meddle(
        "UPDATE rooms SET state = replace(state, '\"top\":2', '\"top\":1') WHERE name = 'r2'",
    );
    assert_eq!(kit.found("r2").1, 0);
    assert_eq!(kit.found("r1").1, 5, "the other is there");
    kit.meddle("UPDATE namespaces SET life = replace(life, 'epoch', 'hcope')");
    assert_eq!(kit.found("r1"), (String::new(), 0, Vec::new()));
}

#[test]
fn a_file_that_is_no_store_is_refused() {
    let kit = Kit::new();
    let path = kit.path.join(FILE);
    fs::create_dir(&kit.path).expect("a folder");
    fs::write(&path, "no database".repeat(1_000)).expect("written");
    let fault = kit
        .try_open(StoreSync::Second)
        .expect_err("damaged")
        .to_string();
    assert!(
        fault.contains("--store") && fault.contains("move it away"),
        "{fault}"
    );
    fs::remove_file(&path).expect("a file");
    kit.meddle("CREATE TABLE notes (text)");
    let fault = kit
        .try_open(StoreSync::Second)
        .expect_err("foreign")
        .to_string();
    assert!(fault.contains("another program"), "{fault}");
}

#[test]
fn two_servers_cannot_have_one_store() {
    let kit = Kit::new();
    let store = kit.open();
    let fault = kit
        .try_open(StoreSync::Second)
        .expect_err("taken")
        .to_string();
    assert!(fault.contains("another server"), "{fault}");
    drop(store);
    kit.open();
}

/// The error occurs before anything is acknowledged; everything acknowledged before is stored.
#[test]
fn a_full_disk_is_an_error() {
    let mut kit = Kit::new();
    let store = kit.open();
    kit.write(&store, "r", 2);
    let pages: i64 = {
        let writer = store.writer();
        let pages = writer
            .db
            .query_row("PRAGMA page_count", [], |row| row.get(0));
        let pages: i64 = pages.expect("a number");
        let sql = format!("PRAGMA max_page_count = {pages}");
        writer
            .db
            .query_row(&sql, [], |row| row.get(0))
            .expect("a number")
    };
    assert!(pages > 0);
    let mut full = None;
    for room in 0..10_000 {
        let batch = kit.turn(&format!("r{room}"), 5);
        if let Err(fault) = store.commit(&batch) {
            full = Some(fault.to_string());
            break;
        }
    }
    let fault = full.expect("it fills up");
    assert!(fault.contains("the disk is full: make room"), "{fault}");
    kill(store);
    assert_eq!(kit.found("r"), ("epoch.1".into(), 2, vec![1, 2]));
}

#[test]
fn a_forgotten_room_leaves_nothing() {
    let mut kit = Kit::new();
    let store = kit.open();
    kit.write(&store, "r", 3);
    let (name, mut batch) = (Arc::<str>::from(NAME), Batch::default());
    batch.set_room(&name, header(&kit.hub), "r", None);
    store.commit(&batch).expect("written");
    let count = |table: &str| -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        let count = store.writer().db.query_row(&sql, [], |row| row.get(0));
        count.expect("a number")
    };
    assert_eq!(
        (count("rooms"), count("messages"), count("namespaces")),
        (0, 0, 1)
    );
    let mut batch = Batch::default();
    batch.forget(&name);
    store.commit(&batch).expect("written");
    assert_eq!(count("namespaces"), 0);
}

/// Deletes the locks of a folder, so that another server can open it.
#[test]
fn what_another_server_wrote_is_seen() {
    let mut kit = Kit::new();
    let store = kit.open();
    kit.write(&store, "r", 1);
    for name in [kit.path.join("lock"), counting(&kit.path)] {
        fs::remove_file(name).expect("a file");
    }
    let other = kit.open();
    let batch = kit.turn("r", 1);
    let fault = store.commit(&batch).expect_err("another's").to_string();
    assert!(fault.contains("another server has written"), "{fault}");
    drop((store, other));
}

#[test]
fn no_room_gets_what_is_another_s() {
    let mut kit = Kit::new();
    let store = kit.open();
    kit.write(&store, "room-1", 1);
    kit.write(&store, "room-2", 1);
    store.close().expect("closed");
    drop(store);
    kill(kit.open());
    let snapshot = Snapshot::take(&kit.path);
    let sound = fs::read(kit.path.join(FILE)).expect("a file");
    let whole = kit.found("room-1");
    assert_eq!(whole.2, [1]);
    let found = sound.windows(6).enumerate();
    let found = found.filter(|(_, window)| window == b"room-1");
    let (mut refused, mut left_out, mut mended) = (0, 0, 0);
    // The name is in the index, in the row, in the state, and in the message.
    for (at, _) in found {
        snapshot.put_back();
        let mut bytes = sound.clone();
        bytes[at + 5] = b'2';
        fs::write(kit.path.join(FILE), bytes).expect("written");
        if let Err(fault) = kit.try_open(StoreSync::Second) {
            assert!(fault.to_string().contains("move it away"), "{fault}");
            refused += 1;
            continue;
        }
        snapshot.put_back();
        let mut bytes = sound.clone();
        bytes[at + 5] = b'2';
        fs::write(kit.path.join(FILE), bytes).expect("written");
        let (found, log) = logged(|| kit.found("room-1"));
        if log.contains("indexes were made again") {
            mended += 1;
            continue;
        }
        assert_ne!(found, whole, "at {at}");
        left_out += 1;
        // The other room is unchanged.
        assert_eq!(kit.found("room-2").2, [1], "at {at}");
    }
    let counts = (refused, left_out, mended);
    assert!(refused > 0 && left_out > 0 && mended > 0, "{counts:?}");
    snapshot.put_back();
    assert_eq!(kit.found("room-1"), whole);
}
