//! Man pages and completions, which `roomcast generate` makes of the command line.

use std::{fs, process::Command};

use super::passes;
use crate::process::child::roomcast;

#[test]
fn man_pages_name_each_command_and_its_variables() {
    let folder = tempfile::tempdir().expect("a folder");
    passes(
        roomcast()
            .args(["generate", "man", "--dir"])
            .arg(folder.path()),
    );
    let page = |name: &str| {
        let text = fs::read_to_string(folder.path().join(format!("{name}.1")));
        text.unwrap_or_else(|fault| panic!("{name}: {fault}"))
    };
    let whole = page("roomcast");
    for command in ["serve", "send", "doctor", "top", "config"] {
        page(&format!("roomcast-{command}"));
        let entry = format!("roomcast\\-{command}(1)");
        assert!(whole.contains(&entry), "{command}: {whole}");
    }
    for command in ["doctor", "top"] {
        let text = page(&format!("roomcast-{command}"));
        for variable in ["ROOMCAST_URL", "ROOMCAST_API_KEY"] {
            assert!(text.contains(variable), "{command}: {variable}: {text}");
        }
    }
}

#[test]
fn shells_take_the_completions() {
    let folder = tempfile::tempdir().expect("a folder");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = passes(roomcast().args(["generate", shell]));
        assert!(script.contains("drain-window-ms"), "{shell}: {script}");
        let file = folder.path().join(shell);
        fs::write(&file, script).expect("a file");
        // The others may not be installed.
        if shell == "bash" {
            passes(Command::new("bash").arg("-n").arg(file));
        }
    }
}
