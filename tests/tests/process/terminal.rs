//! The program in a terminal, as a person runs it.

use std::{
    fs::File,
    io::{Read, Write},
    process::{Child, Command, ExitStatus},
};

use roomcast_tests::server_binary;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};

/// A terminal in which the program runs; it ends with this value.
pub(crate) struct Terminal {
    program: Child,
    /// The side of the keyboard and the screen.
    person: File,
}

impl Terminal {
    pub(crate) fn run(arguments: &[&str]) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let person = openpt(flags).expect("a terminal");
        grantpt(&person).expect("it is granted");
        unlockpt(&person).expect("it is unlocked");
        let program = || File::from(ioctl_tiocgptpeer(&person, flags).expect("its other side"));
        // Keys are signals only in the terminal that a session belongs to.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(server_binary()).args(arguments);
        command.env_clear().env("PATH", "/usr/bin:/bin");
        command.stdin(program()).stdout(program()).stderr(program());
        Self {
            program: command.spawn().expect("setsid of util-linux runs"),
            person: person.into(),
        }
    }

    pub(crate) fn press(&mut self, keys: &[u8]) {
        self.person.write_all(keys).expect("it reads");
    }

    /// Everything that was shown until the program ended, and how it ended.
    pub(crate) fn read_to_end(mut self) -> (String, ExitStatus) {
        let mut shown = Vec::new();
        let ended = self.person.read_to_end(&mut shown);
        // A terminal whose programs have all closed it gives what is left, and then this error.
        let ended = ended.expect_err("an end of its programs");
        assert_eq!(ended.raw_os_error(), Some(5), "{ended}");
        let status = self.program.wait().expect("a process");
        (String::from_utf8_lossy(&shown).into_owned(), status)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.program.kill(); // it may have ended
        let _ = self.program.wait();
    }
}
