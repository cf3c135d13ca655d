//! The plan of a load, and its checks.

use std::time::Duration;

use roomcast_core::wire::Counted;
use roomcast_load::{Dialect, Limits, Roomcast, Stamp};

use super::super::client::failure::Failure;

/// The default limit of a server for inbound bytes per second of a connection; it is not announced.
const INBOUND_BYTES_PER_S: u64 = 256 * 1024;

/// Descriptors of this program other than its connections.
const OTHER_DESCRIPTORS: u64 = 32;

/// The smallest payload, which holds the stamp of a message in any run.
const PAYLOAD_BYTES_MIN: usize = 48;
/// The largest payload, which is more than any server takes.
const PAYLOAD_BYTES_MAX: usize = 64 << 20;

/// The quotes around the text of a payload.
const QUOTES: usize = 2;

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Load")]
pub(super) struct Plan {
    /// Connections, spread evenly over the rooms; each one is a member and publishes
    #[arg(long, value_name = "N", default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    pub(super) connections: u32,
    /// Rooms
    #[arg(long, value_name = "N", default_value_t = 10,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) rooms: u32,
    /// Messages a second of all connections together, which take turns; 0 only keeps them open
    #[arg(long, value_name = "N", default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    pub(super) rate: u32,
    /// Bytes of the `data` of a message, 48 or more
    #[arg(long, value_name = "BYTES", default_value_t = 128)]
    pub(super) payload_bytes: usize,
    /// Seconds to measure
    #[arg(long, value_name = "SECONDS", default_value_t = 10,
        value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(super) duration_s: u32,
    /// Seconds of the same load before that, checked but not measured
    #[arg(long, value_name = "SECONDS", default_value_t = 2,
        value_parser = clap::value_parser!(u32).range(0..=3_600))]
    pub(super) warmup_s: u32,
    /// Connections to open a second
    #[arg(long, value_name = "N", default_value_t = 500,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) connect_rate: u32,
}

/// Formats a count with its noun.
pub(super) fn counted(count: impl Into<u64>, noun: &'static str) -> Counted {
    Counted(usize::try_from(count.into()).unwrap_or(usize::MAX), noun)
}

impl Plan {
    /// Checks that the plan can be carried out with this limit of open files.
    ///
    /// # Errors
    ///
    /// Says which flag to change.
    pub(super) fn check(&self, descriptors: Option<u64>) -> Result<(), Failure> {
        let (connections, rooms) = (self.connections, self.rooms);
        if connections / 2 < rooms {
            return Err(Failure::usage(format_args!(
                "{} in {} leave somebody alone, and nothing to deliver: --rooms {} at most, or \
                 --connections {} at least",
                counted(connections, "connection"),
                counted(rooms, "room"),
                connections / 2,
                u64::from(rooms) * 2,
            )));
        }
        if self.payload_bytes < PAYLOAD_BYTES_MIN {
            return Err(Failure::usage(format_args!(
                "--payload-bytes {PAYLOAD_BYTES_MIN} at least: a message carries its number and \
                 its room"
            )));
        }
        if self.payload_bytes > PAYLOAD_BYTES_MAX {
            return Err(Failure::usage(format_args!(
                "--payload-bytes {PAYLOAD_BYTES_MAX} at most: each message is made in memory"
            )));
        }
        let needed = u64::from(connections) + OTHER_DESCRIPTORS;
        if let Some(allowed) = descriptors
            && needed > allowed
        {
            return Err(Failure::usage(format_args!(
                "{} take {needed} open files, and this machine allows {allowed}: raise that \
                 (ulimit -Hn {needed}), or lower --connections",
                counted(connections, "connection")
            )));
        }
        Ok(())
    }

    /// Checks that a server with these limits accepts messages of this size.
    ///
    /// # Errors
    ///
    /// Says which flag to change.
    pub(super) fn fits(&self, limits: &Limits) -> Result<(), Failure> {
        let bytes = self.message_bytes();
        match limits.message_bytes {
            Some(limit) if bytes > limit => Err(Failure::usage(format_args!(
                "a message would be {bytes} bytes, and the server takes {limit}: lower \
                 --payload-bytes, or raise `roomcast serve --message-bytes-max`"
            ))),
            Some(_) | None => Ok(()),
        }
    }

    /// Warns of messages that a server with these limits would refuse.
    pub(super) fn warnings(&self, limits: &Limits) -> Vec<String> {
        // A server without a limit on messages has none on bytes, unless the operator set one.
        let Some(per_second) = limits.inbound_messages_per_s else {
            return Vec::new();
        };
        let mut warnings = Vec::new();
        let rate = f64::from(self.rate) / f64::from(self.connections);
        if rate > f64::from(per_second) {
            warnings.push(format!(
                "{rate:.1} messages a second from each connection are more than the {per_second} \
                 that the server takes, and the rest will be refused: let {} share this --rate, or \
                 raise `roomcast serve --inbound-rate` for the run",
                counted(self.rate.div_ceil(per_second.max(1)), "connection"),
            ));
        }
        let total = self.message_bytes() as u64 * u64::from(self.rate);
        if total > INBOUND_BYTES_PER_S * u64::from(self.connections) {
            warnings.push(format!(
                "{} bytes a second from each connection are more than the {INBOUND_BYTES_PER_S} \
                 that a server takes by default: let {} share this --rate, or raise `roomcast serve \
                 --inbound-bytes-rate` for the run",
                total / u64::from(self.connections),
                counted(total.div_ceil(INBOUND_BYTES_PER_S), "connection"),
            ));
        }
        warnings
    }

    /// The prefix of the names of rooms, before their numbers. `run` makes them distinct from rooms
    /// that others use.
    pub(super) fn rooms(run: u32) -> String {
        format!("bench-{run:08x}-")
    }

    /// Bytes of a message, for the longest name of a room.
    fn message_bytes(&self) -> usize {
        let (room, number, mut text) = (999_999, 0, Vec::new());
        Roomcast::new("", Self::rooms(0)).publish(Stamp { room, number }, 0, &mut text);
        text.len() - Stamp::BYTES + self.text_bytes()
    }

    /// The bytes of a payload without its quotes.
    pub(super) fn text_bytes(&self) -> usize {
        self.payload_bytes - QUOTES
    }

    /// Number of members of a room.
    pub(super) fn members(&self, room: usize) -> usize {
        let (connections, rooms) = (self.connections as usize, self.rooms as usize);
        connections / rooms + usize::from(room < connections % rooms)
    }

    pub(super) fn warmup(&self) -> Duration {
        Duration::from_secs(self.warmup_s.into())
    }

    pub(super) fn duration(&self) -> Duration {
        Duration::from_secs(self.duration_s.into())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    impl Plan {
        /// A second of it.
        pub(crate) fn of(connections: u32, rooms: u32) -> Self {
            Self {
                connections,
                rooms,
                rate: 100,
                payload_bytes: 64,
                duration_s: 1,
                warmup_s: 0,
                connect_rate: 100,
            }
        }
    }

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        plan: Plan,
    }

    fn plan(args: &str) -> Plan {
        let args = ["bench"].into_iter().chain(args.split_whitespace());
        Command::try_parse_from(args).expect("valid").plan
    }

    #[test]
    fn what_cannot_be_done_names_the_flag() {
        plan("").check(Some(132)).expect("the defaults");
        for (args, descriptors, says) in [
            ("--connections 19", None, "--rooms 9 at most"),
            ("--payload-bytes 47", None, "--payload-bytes 48"),
            ("--connections 10000", Some(4_096), "ulimit -Hn 10032"),
        ] {
            let fault = plan(args).check(descriptors).expect_err(args);
            assert_eq!(fault.exit(), 2);
            assert!(fault.to_string().contains(says), "{fault}");
        }
    }

    #[test]
    fn the_limits_of_the_server_are_named() {
        let limits = Limits {
            message_bytes: Some(65_536),
            inbound_messages_per_s: Some(50),
        };
        assert!(plan("--rate 5000").warnings(&limits).is_empty());
        let warnings = plan("--rate 5001").warnings(&limits);
        assert!(warnings[0].contains("101 connections"), "{warnings:?}");
        let warnings = plan("--payload-bytes 60000 --rate 500").warnings(&limits);
        assert!(warnings[0].contains("115 connections"), "{warnings:?}");
        assert!(plan("--rate 9999").warnings(&Limits::default()).is_empty());

        plan("--payload-bytes 65000").fits(&limits).expect("fits");
        let fault = plan("--payload-bytes 65500").fits(&limits).expect_err("no");
        assert!(fault.to_string().contains("--message-bytes-max"), "{fault}");
    }
}
