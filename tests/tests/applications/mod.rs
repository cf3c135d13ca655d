//! The example applications, and the stories about each, in the folder of `traces` with its name.

use roomcast_core::Gateway;
use roomcast_tests::{Driver, Trace};

#[path = "../../../core/examples/gateways/chat.rs"]
pub(crate) mod chat;
#[path = "../../../core/examples/gateways/heartbeat.rs"]
pub(crate) mod heartbeat;
#[path = "../../../core/examples/gateways/notify.rs"]
#[allow(dead_code, reason = "what programs around it send")]
pub(crate) mod notify;
#[path = "../../../core/examples/gateways/raw.rs"]
pub(crate) mod raw;
#[path = "../../../core/examples/gateways/rooms.rs"]
pub(crate) mod rooms;
#[path = "../../../core/examples/gateways/rows.rs"]
pub(crate) mod rows;
pub(crate) mod users;

/// An example.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Application {
    pub(crate) name: &'static str,
    pub(crate) gateway: fn() -> Box<dyn Gateway>,
    /// True when the application speaks without envelopes.
    pub(crate) is_raw: bool,
}

pub(crate) const APPLICATIONS: [Application; 6] = [
    application("chat", || Box::new(chat::chat())),
    application("heartbeat", || Box::new(heartbeat::heartbeat())),
    application("notify", || Box::new(notify::notify())),
    Application {
        is_raw: true,
        ..application("raw", || Box::new(raw::raw()))
    },
    application("rooms", || Box::new(rooms::rooms())),
    application("rows", || Box::new(rows::rows())),
];

const fn application(name: &'static str, gateway: fn() -> Box<dyn Gateway>) -> Application {
    Application {
        name,
        gateway,
        is_raw: false,
    }
}

impl Application {
    pub(crate) fn traces(&self) -> Vec<Trace> {
        let directory = format!("{}/traces/{}", env!("CARGO_MANIFEST_DIR"), self.name);
        Trace::read_dir(directory).unwrap_or_else(|fault| panic!("{fault}"))
    }
}

/// Results of the stories about all applications.
#[derive(Debug, Default)]
pub(crate) struct Report {
    ran: usize,
    /// Stories that the driver cannot perform, as `rows/nest_rs_a_schedule_pushes`.
    skipped: Vec<String>,
    faults: String,
}

impl Report {
    /// Performs every story with a driver of its own.
    pub(crate) fn of<D: Driver>(mut driver: impl FnMut(&Application, &Trace) -> D) -> Self {
        let mut report = Self::default();
        for application in &APPLICATIONS {
            for trace in application.traces() {
                let mut driver = driver(application, &trace);
                if trace.unsupported(&driver).is_some() {
                    let name = format!("{}/{}", application.name, trace.name());
                    report.skipped.push(name);
                    continue;
                }
                report.ran += 1;
                if let Err(fault) = trace.run(&mut driver) {
                    report.faults += &format!("\n{}/{fault}", application.name);
                }
            }
        }
        report
    }

    /// Panics with all differences, or if the skipped stories are not exactly these.
    pub(crate) fn check(&self, left_out: &[&str]) {
        assert!(self.faults.is_empty(), "{}", self.faults);
        assert_eq!(self.skipped, left_out);
        assert!(self.ran > 40, "{self:?}");
    }
}
