//! Files for proxies, as they are: elsewhere they run with other ports and rights.

use std::process::Command;

use super::{passes, path, text};

/// Replaces Debian's file, so the file itself has to drop root.
#[test]
fn haproxy_takes_the_file_and_leaves_root() {
    let file = "haproxy/haproxy.cfg";
    let mut haproxy = Command::new("/usr/sbin/haproxy");
    passes(haproxy.arg("-c").arg("-f").arg(path(file)));
    let text = text(file);
    for line in [
        "user haproxy",
        "group haproxy",
        "chroot /var/lib/haproxy",
        "log /dev/log local0",
        "log global",
        "option httplog",
    ] {
        let is_it = |it: &str| it.trim() == line;
        assert!(text.lines().any(is_it), "{line}");
    }
}
