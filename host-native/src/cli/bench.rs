//! `roomcast bench`: generates load on your own server, and checks its deliveries.

mod load;
mod measurement;
mod millis;
mod plan;
mod progress;
mod summary;
mod tally;
mod target;
mod tls;

use std::process::ExitCode;

use anyhow::{Context, anyhow};
use roomcast_load::{Crowd, Roomcast, due};

use self::{measurement::Measurement, plan::Plan, summary::Summary, target::Target};
use super::{
    client::endpoint::{Endpoint, namespace},
    say,
    serve::raise_descriptors,
};

const AFTER_HELP: &str = "\
Every connection joins one room. The connections publish in turns, and every message is expected by
all other members of its room, once, and in the order of its publisher. Latency is the time from
handing a message to its connection until a member has read it, all on the clock of this program.
The rooms have names of their own, so that nobody else is in them.

Progress goes to standard error each second, and the summary to standard output. The warm-up
is checked like the rest; rates and latencies leave it out. Ctrl-C ends early, with the summary; a
second one ends at once.

Examples:
  roomcast bench
  roomcast bench --connections 10000 --rooms 1000 --rate 2000
  roomcast bench --rate 0 --connections 5000 --duration-s 600     (only holds them open)
  roomcast bench wss://chat.example.com/ws --allow-remote --json | jq .latency_ms.p99
  SSL_CERT_FILE=ca.pem roomcast bench wss://localhost:3000/ws     (trusts those authorities alone)

Exit codes: 0 all delivered in order, 1 something was lost, refused or closed, 2 wrong usage,
3 cannot connect.";

/// Put load on a server, and check that everything is delivered
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct BenchArgs {
    // No environment variable: the target of load must be chosen explicitly.
    /// Address of the server
    #[arg(default_value = "ws://127.0.0.1:3000/ws")]
    url: Endpoint,
    /// Namespace; `default` unless the URL names one
    #[arg(long, value_parser = namespace)]
    namespace: Option<String>,
    /// The server may be on another machine
    #[arg(long)]
    allow_remote: bool,
    /// The summary as one line of JSON
    #[arg(long)]
    json: bool,
    // Last, because its help heading applies to all arguments after it.
    #[command(flatten)]
    plan: Plan,
}

/// Runs the load, and prints a summary.
///
/// # Errors
///
/// A [`Failure`](super::client::failure::Failure) that can be fixed by the user or at the server,
/// or a fault of this machine.
pub(crate) fn run(args: BenchArgs) -> anyhow::Result<ExitCode> {
    raise_descriptors();
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    args.plan.check(descriptors)?;
    let mut target = Target::find(&args.url, args.namespace.as_deref(), args.allow_remote)?;
    let tls = target.tls.take();
    let (url, plan) = (&target.url, &args.plan);
    // A random number makes the rooms of each run distinct.
    let number = getrandom::u32().map_err(|fault| anyhow!("no random numbers: {fault}"))?;
    let dialect = Roomcast::new(&target.path, Plan::rooms(number));
    let crowd = Crowd::new(Box::new(dialect), &target.host).context("cannot wait for sockets")?;
    let crowd = match tls {
        None => crowd,
        Some(tls) => crowd.with_layers(Box::new(tls)),
    };
    let mut run =
        Measurement::begin(plan.clone(), &target, crowd).map_err(|fault| target.failure(&fault))?;
    plan.fits(run.limits())?;
    for warning in plan.warnings(run.limits()) {
        say!("roomcast: {warning}");
    }
    let interrupted = run.complete();
    let planned = due(plan.rate, plan.warmup() + plan.duration());
    let summary = Summary::new(&run.load, url, planned, interrupted);
    for remark in summary.remarks(plan) {
        say!("roomcast: {remark}");
    }
    let written = if args.json {
        let line = serde_json::to_string(&summary).context("cannot write the summary")?;
        say::result(format_args!("{line}"))
    } else {
        say::result(format_args!("{summary}"))
    };
    written.context("cannot write the summary")?;
    Ok(ExitCode::from(u8::from(!summary.is_ok())))
}
