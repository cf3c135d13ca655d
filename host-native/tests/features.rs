//! The bare library: what a program gets that embeds the server without default features.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Output},
};

fn cargo(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO"));
    // All dependencies are available offline, since this package was built from them.
    command.current_dir(folder).args(args).arg("--offline");
    command.output().expect("cargo runs")
}

/// A program that embeds the server, and has a crate of its own that links SQLite.
fn embedder(folder: &Path, features: &str) -> Output {
    let host = env!("CARGO_MANIFEST_DIR");
    let program = format!(
        "[package]\nname = \"program\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
         [workspace]\n\
         [dependencies]\n\
         database = {{ path = \"database\" }}\n\
         roomcast = {{ path = {host:?}, {features} }}\n"
    );
    let database = "[package]\nname = \"database\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
                    links = \"sqlite3\"\n";
    for (package, manifest) in [("", program.as_str()), ("database", database)] {
        let package = folder.join(package);
        fs::create_dir_all(package.join("src")).expect("a folder");
        fs::write(package.join("Cargo.toml"), manifest).expect("written");
        fs::write(package.join("src/lib.rs"), "").expect("written");
    }
    fs::write(folder.join("database/build.rs"), "fn main() {}").expect("written");
    // The versions that this package was built with.
    let locked = Path::new(host).join("../Cargo.lock");
    fs::copy(locked, folder.join("Cargo.lock")).expect("copied");
    cargo(
        folder,
        &["tree", "--edges", "normal,build", "--prefix", "none"],
    )
}

#[test]
fn a_program_with_another_sqlite_takes_the_bare_library() {
    let folder = tempfile::tempdir().expect("a folder");
    let bare = embedder(folder.path(), "default-features = false");
    assert!(
        bare.status.success(),
        "{}",
        String::from_utf8_lossy(&bare.stderr)
    );
    let packages: BTreeSet<_> = std::str::from_utf8(&bare.stdout)
        .expect("text")
        .lines()
        .filter_map(|package| package.split(' ').next())
        .collect();
    assert!(packages.contains("roomcast-core"), "{packages:?}");
    for absent in [
        "anyhow",
        "cc",
        "clap",
        "crc32fast",
        "hdrhistogram",
        "libsqlite3-sys",
        "pkg-config",
        "rusqlite",
        "tracing-subscriber",
    ] {
        assert!(!packages.contains(absent), "{absent} is in {packages:?}");
    }
    // A program cannot link SQLite twice: the feature exists for this case.
    let stored = embedder(
        folder.path(),
        "default-features = false, features = [\"store\"]",
    );
    let said = String::from_utf8_lossy(&stored.stderr);
    assert!(
        !stored.status.success() && said.contains("sqlite3"),
        "{said}"
    );
}
