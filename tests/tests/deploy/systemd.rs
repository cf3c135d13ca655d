//! The unit of systemd.

use std::{fs, process::Command};

use roomcast_tests::server_binary;

use super::{passes, text};

#[test]
fn systemd_takes_the_unit() {
    let installed = "/usr/bin/roomcast";
    let unit = text("systemd/roomcast.service");
    assert!(unit.contains(installed), "{unit}");
    // The option would hide the boot id, which tells the store what to trust after a crash.
    let hides_boot = unit.lines().any(|line| line.trim() == "ProcSubset=pid");
    assert!(!hides_boot, "{unit}");
    // A start limit would stop the service for good after one minute of a full disk. A wrong
    // setting would only fail again.
    let (head, service) = unit.split_once("[Service]").expect("a section");
    assert!(head.contains("\nStartLimitIntervalSec=0\n"), "{head}");
    assert!(service.contains("\nRestartPreventExitStatus=2\n"));
    // What its comments propose is valid, too.
    let unit = unit.replace("#   LoadCredential=", "LoadCredential=");
    assert_eq!(unit.matches("\nLoadCredential=tls.").count(), 2, "{unit}");
    // It looks for the program.
    let program = server_binary().canonicalize().expect("it is there");
    let unit = unit.replace(installed, &program.display().to_string());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("roomcast.service");
    fs::write(&file, unit).expect("a file");
    let said = passes(
        Command::new("systemd-analyze")
            .args(["verify", "--man=no"])
            .arg(&file),
    );
    assert_eq!(said, "");
}
