//! Runs one scenario and prints what it measured as one line of JSON. The driver, `run`, starts it
//! with `name=value` arguments.

mod arguments;
mod churn;
mod clients;
mod crowds;
mod dialect;
mod fanout;
mod flood;
mod idle;
mod meter;
mod returns;
mod rooms;
mod round_trip;
mod secure;
mod trickle;
mod witness;

use std::num::NonZeroU64;

use arguments::Arguments;
use clients::Clients;

fn main() {
    roomcast_bench::allow_many_files();
    // With the default slack of 50 µs a nap would take twice as long.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    let arguments = Arguments::read();
    let dialect = dialect::named(arguments.text("dialect"));
    let certificate = arguments.text_or_none("certificate");
    let mut clients = Clients::new(dialect, arguments.number("port"), certificate);
    let server = arguments.number("process");
    let result = match arguments.text("scenario") {
        "fan-out" => fanout::run(&mut clients, server, &arguments),
        "round-trip" => round_trip::run(&mut clients, server, &arguments),
        "idle" => idle::run(&mut clients, server, &arguments),
        "churn" => churn::run(&mut clients, server, &arguments),
        "crowds" => crowds::run(&mut clients, server, &arguments),
        "witness" => witness::run(&mut clients, &arguments),
        "accepts" => returns::accepts(&mut clients, server, &arguments),
        "returns" => returns::returns(&mut clients, server, &arguments),
        "rooms" => rooms::run(&mut clients, server, &arguments),
        "trickle" => trickle::run(&arguments),
        flood @ ("pings" | "continuations" | "length") => flood::run(flood, &arguments),
        other => panic!("no scenario {other}"),
    };
    println!("{result}");
}
