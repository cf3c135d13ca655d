//! Handlers that do not compile, and the compiler's messages.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The core that this test was built with, and its dependencies.
struct Core {
    folder: PathBuf,
    library: PathBuf,
}

impl Core {
    /// Finds the newest build, since there may be several.
    fn find() -> Self {
        let test = env::current_exe().expect("this test");
        let folder = test.parent().expect("a folder").to_owned();
        let entries = fs::read_dir(&folder).expect("a folder").flatten();
        let libraries = entries.map(|entry| entry.path()).filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| {
                name.starts_with("libroomcast_core-") && name.ends_with(".rlib")
            })
        });
        let built = |path: &PathBuf| fs::metadata(path).and_then(|data| data.modified()).ok();
        let library = libraries.max_by_key(built).expect("the core was built");
        Self { folder, library }
    }

    /// Returns the compiler's messages about a handler; `None` if it compiles. Only types are
    /// checked, as by `cargo check`.
    fn compile(&self, name: &str, handler: &str) -> Option<String> {
        let out = tempdir(name);
        let source = out.join("refused.rs");
        let text = format!(
            "use roomcast_core::{{Context, Failure, Path, Router, ok, router::Raw}};\n\
             pub struct Unknown {{ pub text: String }}\n\
             pub fn router() -> Router {{ Router::default(){handler} }}\n\
             fn main() {{ let _ = router(); }}\n"
        );
        fs::write(&source, text).expect("written");
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let compiled = Command::new(rustc)
            .args([
                "--edition=2024",
                "--color=never",
                "--emit=metadata",
                "--out-dir",
            ])
            .arg(&out)
            .arg("-L")
            .arg(format!("dependency={}", self.folder.display()))
            .arg("--extern")
            .arg(format!("roomcast_core={}", self.library.display()))
            .arg(&source)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("rustc");
        fs::remove_dir_all(&out).expect("removed");
        let said = String::from_utf8_lossy(&compiled.stderr).into_owned();
        (!compiled.status.success()).then_some(said)
    }

    /// Asserts that the compiler reports this mistake in a handler, and no other.
    #[track_caller]
    fn says(&self, name: &str, handler: &str, what: &Mistake) {
        let said = self.compile(name, handler).expect("it does not compile");
        // The compiler wraps notes at the width of the terminal.
        let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
        for mistake in &MISTAKES {
            for note in mistake.0 {
                let is_there = words.contains(note);
                assert_eq!(is_there, mistake == what, "{note}:\n{said}");
            }
        }
        assert!(words.contains("refused.rs:3"), "{said}");
    }
}

/// Texts of the compiler for one mistake.
#[derive(PartialEq)]
struct Mistake(&'static [&'static str]);

const ARGUMENT: Mistake = Mistake(&[
    "is no handler for a router with the state `()`: one of its arguments does not fit",
    "a payload, an argument such as `data: Data`, implements `serde::Deserialize`",
    "#[derive(serde::Deserialize)]",
]);
const ANSWER: Mistake = Mistake(&[
    "is no answer of a handler",
    "an answer implements `serde::Serialize`",
    "#[derive(serde::Serialize)]",
]);
const PAYLOADS: Mistake = Mistake(&[
    "a handler takes one payload, and this one has several",
    "make one tuple or struct of these arguments",
]);
const MISTAKES: [Mistake; 3] = [ARGUMENT, ANSWER, PAYLOADS];

fn tempdir(name: &str) -> PathBuf {
    let folder = format!("roomcast-{name}-{}", std::process::id());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

#[test]
fn a_handler_that_is_right_compiles() {
    let said = Core::find().compile(
        "right",
        r#".on("say", |_: &mut Context, text: String, Raw(json): Raw| { let n: u8 = text.parse()?; ok((n, json)) })"#,
    );
    assert_eq!(said, None);
}

#[test]
fn a_payload_without_deserialize_is_named() {
    for (name, handler) in [
        (
            "payload",
            r#".on("say", |_: &mut Context, data: Unknown| data.text)"#,
        ),
        (
            "payload-behind",
            r#".on_path("say", "/{a}", |_: &mut Context, Path(_): Path<String>, data: Unknown| data.text)"#,
        ),
        (
            "payload-of-function",
            r#".on("say", { fn say(_: &mut Context, data: Unknown) -> u8 { data.text.len() as u8 } say })"#,
        ),
        (
            "payload-later",
            ".fallback(|_: &mut Context, data: Unknown| async move { data.text })",
        ),
        (
            "state",
            r#".on("say", |_: &mut Context, _: &mut u8, a: u8| a)"#,
        ),
        ("no-context", r#".on("say", |a: u8| a)"#),
    ] {
        Core::find().says(name, handler, &ARGUMENT);
    }
}

#[test]
fn an_answer_without_serialize_is_named() {
    for (name, handler) in [
        (
            "answer",
            r#".on("say", |_: &mut Context, text: String| Unknown { text })"#,
        ),
        (
            "answer-in-result",
            r#".on("say", |_: &mut Context, text: String| Ok::<_, Failure>(Unknown { text }))"#,
        ),
        (
            "answer-later",
            r#".on("say", |_: &mut Context, text: String| async move { Unknown { text } })"#,
        ),
        (
            "answer-of-state",
            ".fallback(|_: &mut Context, _: &mut (), text: String| vec![Unknown { text }])",
        ),
        (
            "error",
            r#".on("say", |_: &mut Context, text: String| Err::<u8, _>(Unknown { text }))"#,
        ),
    ] {
        Core::find().says(name, handler, &ANSWER);
    }
}

#[test]
fn two_payloads_are_refused_where_the_handler_is_added() {
    for (name, handler) in [
        (
            "on",
            r#".on("say", |_: &mut Context, room: String, text: String| room + &text)"#,
        ),
        (
            "on-path",
            r#".on_path("say", "/{a}", |_: &mut Context, Path(_): Path<String>, a: u8, b: u8| a + b)"#,
        ),
        (
            "on-ends",
            r#".on("say", |_: &mut Context, _: &mut (), a: u8, _: Raw, _: Raw, b: u8| a + b)"#,
        ),
        (
            "fallback",
            ".fallback(|_: &mut Context, a: u8, b: u8| async move { a + b })",
        ),
    ] {
        Core::find().says(name, handler, &PAYLOADS);
    }
}
