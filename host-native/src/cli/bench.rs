//! `roomcast bench`: load on a server of one's own, and a check of what it delivers.

mod client;
mod frame;
mod latency;
mod ledger;
mod load;
mod plan;
mod progress;
mod rooms;
mod run;
mod schedule;
mod summary;
mod tally;
mod target;

use std::process::ExitCode;

use anyhow::Context;
use tokio::runtime::{Builder, LocalOptions};

use self::{load::Load, plan::Plan, run::Run, summary::Summary, target::Target};
use super::{
    say,
    send::endpoint::{Endpoint, namespace},
    serve::raise_descriptors,
};

const AFTER_HELP: &str = "\
Every connection joins one room. The connections publish in turns, and every message is expected by
all other members of its room, once, and in the order of its publisher. Latency is the time from
handing a message to its connection until a member has read it, all on the clock of this program.
The rooms have names of their own, so that nobody else is in them.

How it goes is told each second on standard error, the summary goes to standard output. The warm-up
is checked like the rest; rates and latencies leave it out. Ctrl-C ends early, with the summary; a
second one ends at once.

Examples:
  roomcast bench
  roomcast bench --connections 10000 --rooms 1000 --rate 2000
  roomcast bench --rate 0 --connections 5000 --duration-s 600     (only holds them open)
  roomcast bench ws://chat.example.com/ws --allow-remote --json | jq .latency_ms.p99

Exit codes: 0 all delivered in order, 1 something was lost, refused or closed, 2 wrong usage,
3 cannot connect.";

/// Put load on a server, and check that everything is delivered
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct BenchArgs {
    // No variable of the environment: load is aimed on purpose.
    /// Where the server is
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
    // Last: a heading holds for all that follows.
    #[command(flatten)]
    plan: Plan,
}

/// Makes the load, and prints what came of it.
///
/// # Errors
///
/// Faults of this machine; whatever the user or the server can do about is printed, and is in the
/// exit code.
pub(crate) fn run(args: BenchArgs) -> anyhow::Result<ExitCode> {
    raise_descriptors();
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    if let Err(failure) = args.plan.check(descriptors) {
        return Ok(failure.report());
    }
    // Connections share what they count without locks: one thread is what is to be measured with.
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .context("cannot start the I/O runtime")?;
    runtime.block_on(bench(args))
}

async fn bench(args: BenchArgs) -> anyhow::Result<ExitCode> {
    let BenchArgs { url, plan, .. } = &args;
    let found = Target::find(url, args.namespace.as_deref(), args.allow_remote).await;
    let mut target = match found {
        Ok(target) => target,
        Err(failure) => return Ok(failure.report()),
    };
    let url = target.url().to_owned();
    let load = Load::new(plan.clone(), random()?).context("cannot count")?;
    let first = match target.enter(&load.room(0)).await {
        Ok(entered) => entered,
        Err(fault) => return Ok(fault.failure(&url).report()),
    };
    if let Err(failure) = plan.fits(&first.limits) {
        return Ok(failure.report());
    }
    for warning in plan.warnings(&first.limits) {
        say!("roomcast: {warning}");
    }
    target.prefer(&first);

    let mut run = Run::new(load, target, first);
    let interrupted = run.complete().await;
    let planned = schedule::due(plan.rate, plan.warmup() + plan.duration());
    let summary = Summary::new(&run.load(), &url, planned, interrupted);
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
    Ok(if summary.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A number that no other run has.
fn random() -> anyhow::Result<u32> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(|fault| anyhow::anyhow!("no random numbers: {fault}"))?;
    Ok(u32::from_le_bytes(bytes))
}
