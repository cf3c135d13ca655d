//! Runs one scenario and prints what it measured as one line of JSON. The driver, `run`, starts it
//! with `name=value` arguments.

mod arguments;
mod churn;
mod clients;
mod crowds;
mod dialect;
mod fanout;
mod idle;
mod meter;
mod round_trip;

use std::num::NonZeroU64;

use arguments::Arguments;
use clients::Clients;

fn main() {
    roomcast_bench::allow_many_files();
    // With the default slack of 50 µs a nap would take twice as long.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    let arguments = Arguments::read();
    let dialect = dialect::named(arguments.text("dialect"));
    let mut clients = Clients::new(dialect, arguments.number("port"));
    let server = arguments.number("process");
    let result = match arguments.text("scenario") {
        "fan-out" => fanout::run(&mut clients, server, &arguments),
        "round-trip" => round_trip::run(&mut clients, server, &arguments),
        "idle" => idle::run(&mut clients, server, &arguments),
        "churn" => churn::run(&mut clients, server, &arguments),
        "crowds" => crowds::run(&mut clients, server, &arguments),
        other => panic!("no scenario {other}"),
    };
    println!("{result}");
}
