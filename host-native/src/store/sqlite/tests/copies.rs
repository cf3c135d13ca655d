//! Operations on the folder of a store, and whether the store is still trusted afterwards.

use std::process::Command as Process;

use super::*;

/// The state of the room `r` before the operations.
fn begun() -> (String, u64, Vec<u64>) {
    ("epoch.1".into(), 2, vec![1, 2])
}

fn anew() -> (String, u64, Vec<u64>) {
    (String::new(), 0, Vec::new())
}

impl Kit {
    /// A store with two messages, whose server has ended.
    fn ended(clean: bool) -> Self {
        let mut kit = Self::new();
        kit.go_on(clean);
        kit
    }

    /// Runs a server that sends two more messages and ends.
    fn go_on(&mut self, clean: bool) {
        let store = self.open();
        self.write(&store, "r", 2);
        end(store, clean);
    }

    /// Runs a shell script beside the folder `store`.
    pub(super) fn run(&self, script: &str) {
        let ran = Process::new("sh")
            .args(["-euc", script])
            .current_dir(self.path.parent().expect("a folder"))
            .output()
            .expect("a shell");
        assert!(ran.status.success(), "{script}: {ran:?}");
    }

    /// The folder that the server uses from now on.
    fn use_folder(&mut self, name: &str) {
        self.path = self.path.with_file_name(name);
    }
}

fn end(store: Store, clean: bool) {
    if clean {
        store.close().expect("closed");
    } else {
        kill(store);
    }
}

/// Each case is a row of the table in docs/settings.md. Everything happens within moments: times
/// cannot decide.
#[test]
fn what_is_done_to_the_folder_is_no_copy_or_known_as_one() {
    let same = begun;
    for (script, folder, expected) in [
        ("chown -R \"$(id -u):$(id -g)\" store", "store", same()),
        ("chmod -R g+rwX store", "store", same()),
        (
            "touch store/* && touch -d 2001-01-01 store/*",
            "store",
            same(),
        ),
        ("cp -al store other", "store", same()),
        ("cp -al store other", "other", same()),
        ("cp -al store other && rm -r store", "other", same()),
        ("mv store other", "other", same()),
        (
            "mkdir -p a/b && mv store a/b && mv a/b/store other",
            "other",
            same(),
        ),
        ("cp -r store other", "store", same()),
        ("cp -r store other", "other", anew()),
        ("cp -a store other", "other", anew()),
        (
            "cp -a store other && rm -r store && mv other store",
            "store",
            anew(),
        ),
        (
            "mkdir other && cp -a store/. other && cp -r other/. store",
            "store",
            same(),
        ),
        (
            "tar -cf t store && rm -r store && tar -xf t",
            "store",
            anew(),
        ),
        (
            "cd store && mv commits.* c && cp c commits.9",
            "store",
            anew(),
        ),
        ("rm store/commits.*", "store", anew()),
    ] {
        for clean in [true, false] {
            let mut kit = Kit::ended(clean);
            kit.run(script);
            kit.use_folder(folder);
            assert_eq!(kit.found("r"), expected, "{script}, {folder}, {clean}");
            let again = kit.found("r");
            assert_eq!(again, expected, "{script}, {folder}, {clean}, again");
        }
    }
}

/// A restored copy is older than the data that clients have seen.
#[test]
fn a_copy_that_is_put_back_is_not_believed() {
    for put_back in [
        "rm -r store && cp -a copy store",
        "rm -r store && mv copy store",
        "cp -a copy/. store",
        "cp copy/histories.sqlite copy/commits.* store",
        "cp copy/histories.sqlite store",
        "rm store/commits.* && cp copy/commits.* store",
        "cat copy/commits.* > c && tee store/commits.* < c > /dev/null",
        "rm store/* && tar -C copy -cf - . | tar -C store -xf -",
    ] {
        for (clean, clean_later) in [(true, true), (true, false), (false, true), (false, false)] {
            let mut kit = Kit::ended(clean);
            kit.run("cp -a store copy");
            kit.go_on(clean_later);
            kit.run(put_back);
            // SQLite may notice that the log and the database do not belong together.
            if let Err(fault) = kit.try_open(StoreSync::Second) {
                assert!(fault.to_string().contains("move it away"), "{fault}");
                continue;
            }
            let found = kit.found("r");
            // The log of a killed server may contain everything that the copy lacks.
            let whole = ("epoch.1".into(), 4, vec![1, 2, 3, 4]);
            let lacks_nothing = !clean_later && found == whole;
            assert!(
                found == anew() || lacks_nothing,
                "{put_back}, {clean}, {clean_later}: {found:?}"
            );
        }
    }
}

/// SQLite's log restarts when all of it is in the database: from then on the two belong together.
#[test]
fn an_older_database_beside_a_newer_log_is_not_believed() {
    for put_back in [
        "cp -a copy/histories.sqlite store",
        "cat copy/histories.sqlite > store/histories.sqlite",
        "mv copy/histories.sqlite store",
    ] {
        for clean in [true, false] {
            let mut kit = Kit::new();
            let store = kit.open();
            // Some rows of each room are on other pages than those of the last one.
            for room in 0..100 {
                kit.write(&store, &format!("r{room}"), 4);
            }
            end(store, clean);
            kit.run("cp -a store copy");
            let store = kit.open();
            kit.write(&store, "r0", 5);
            let db = connect(&kit.path).expect("a database");
            assert!(checkpoint::advance(&db, &store.writer).expect("copied"));
            drop(db);
            kit.write(&store, "r99", 1);
            kill(store);
            kit.run(put_back);
            assert_eq!(kit.found("r0"), anew(), "{put_back}, {clean}");
        }
    }
}

/// A checkpoint may end at any page.
#[test]
fn a_checkpoint_that_was_cut_off_is_believed() {
    let mut kit = Kit::new();
    let store = kit.open();
    kit.write(&store, "r", 1);
    let db = connect(&kit.path).expect("a database");
    assert!(checkpoint::advance(&db, &store.writer).expect("copied"));
    let before = fs::read(kit.path.join(FILE)).expect("a file");
    for room in 0..100 {
        kit.write(&store, &format!("r{room}"), 4);
    }
    let log = fs::read(kit.path.join(LOG)).expect("a file");
    assert!(
        checkpoint::checkpoint(&db, "PASSIVE")
            .expect("copied")
            .is_whole()
    );
    let after = fs::read(kit.path.join(FILE)).expect("a file");
    drop(db);
    kill(store);
    let snapshot = Snapshot::take(&kit.path);
    for pages in [0, 1, 2, 3] {
        snapshot.put_back();
        let mut file = before.clone();
        let end = (pages * 4096).min(before.len());
        file[..end].copy_from_slice(&after[..end]);
        fs::write(kit.path.join(FILE), file).expect("written");
        fs::write(kit.path.join(LOG), &log).expect("written");
        assert_eq!(kit.found("r99").1, 4, "{pages} pages");
    }
}

/// A restored copy is not trusted, however soon it is restored.
#[test]
fn a_copy_of_a_store_in_use_is_not_believed() {
    for put_back in [
        "cp -a copy/. store",
        "rm -f store/*-wal store/*-shm && cp -a copy/. store",
        "for file in copy/*; do cat $file > store/${file#copy/}; done",
        "cp copy/histories.sqlite* store",
        "rm -r store && mv copy store",
    ] {
        for clean in [true, false] {
            let mut kit = Kit::new();
            let store = kit.open();
            kit.write(&store, "r", 2);
            kit.run("cp -a store copy && cp -a copy other");
            kit.write(&store, "r", 1);
            end(store, clean);
            kit.run(put_back);
            assert_eq!(kit.found("r"), anew(), "{clean}: {put_back}");
            kit.use_folder("other");
            assert_eq!(kit.found("r"), anew(), "{clean}: elsewhere");
        }
    }
}

/// A copy of the commit file does not harm the store.
#[test]
fn a_store_beside_whose_files_a_copy_is_put_goes_on() {
    let mut kit = Kit::ended(false);
    kit.run("cp -a store copy");
    kit.go_on(false);
    kit.run("cp -a copy/commits.* store");
    let whole = ("epoch.1".into(), 4, vec![1, 2, 3, 4]);
    assert_eq!(kit.found("r"), whole);
    counting(&kit.path);
}

#[test]
fn a_store_whose_count_was_deleted_goes_on_to_its_orderly_end() {
    for (clean, expected) in [
        (true, ("epoch.1".into(), 3, vec![1, 2, 3])),
        (false, anew()),
    ] {
        let mut kit = Kit::new();
        let store = kit.open();
        kit.write(&store, "r", 2);
        kit.run("rm store/commits.*");
        kit.write(&store, "r", 1);
        end(store, clean);
        assert_eq!(kit.found("r"), expected, "{clean}");
    }
}

/// Follows the documentation.
#[test]
fn a_snapshot_of_the_disk_shows_nothing_until_commits_is_deleted() {
    let mut kit = Kit::ended(true);
    let snapshot = Snapshot::take(&kit.path);
    kit.go_on(true);
    snapshot.put_back();
    assert_eq!(kit.found("r"), begun());
    snapshot.put_back();
    kit.run("rm store/commits.*");
    assert_eq!(kit.found("r"), anew());
}

#[test]
fn hard_links_do_not_let_two_servers_have_one_store() {
    let mut kit = Kit::new();
    let store = kit.open();
    kit.write(&store, "r", 2);
    kit.run("cp -al store other && cp -al store third && rm third/lock");
    let path = kit.path.clone();
    for folder in ["other", "third"] {
        kit.use_folder(folder);
        let fault = kit.try_open(StoreSync::Second).expect_err("taken");
        assert!(fault.to_string().contains("another server"), "{fault}");
    }
    // At its end the server gets another commit file, which is not linked: the folders part.
    kit.write(&store, "r", 1);
    end(store, true);
    assert_eq!(kit.found("r"), anew());
    let store = kit.open();
    kit.write(&store, "r", 1);
    end(store, true);
    kit.path = path;
    assert_eq!(kit.found("r").1, 3);
}

#[test]
fn of_two_folders_with_hard_links_one_goes_on() {
    for clean in [true, false] {
        for (first, second) in [("store", "other"), ("other", "store")] {
            let mut kit = Kit::ended(clean);
            kit.run("cp -al store other");
            kit.use_folder(first);
            kit.go_on(clean);
            kit.use_folder(second);
            let (found, log) = logged(|| kit.found("r"));
            assert_eq!(found, anew(), "{second} has parted");
            assert!(!log.contains("ERROR"), "{log}");
            kit.use_folder(first);
            let expected = ("epoch.1".into(), 4, vec![1, 2, 3, 4]);
            assert_eq!(kit.found("r"), expected, "{first} goes on");
        }
    }
}

/// A server may be killed between any two steps of the replacement.
#[test]
fn a_renewal_that_was_cut_off_is_believed() {
    let kit = Kit::ended(true);
    let nonce = || {
        let db = Connection::open(kit.path.join(FILE)).expect("a database");
        Header::read(&db).expect("readable").expect("sound").nonce
    };
    // Killed before the database has the nonce.
    let next = Commits::create(&kit.path, (0, 0), false).expect("made");
    assert_ne!(next.nonce(), nonce());
    drop(next);
    assert_eq!(kit.found("r"), begun());
    // Killed before the file has its name.
    let before = nonce();
    let old = counting(&kit.path);
    let old = old
        .file_name()
        .and_then(|name| name.to_str())
        .expect("text");
    kit.run(&format!("ln store/{old} old"));
    assert_eq!(kit.found("r"), begun());
    assert_ne!(nonce(), before);
    kit.run(&format!(
        "mv store/commits.* store/commits.next && mv old store/{old}"
    ));
    assert_eq!(kit.found("r"), begun());
}
