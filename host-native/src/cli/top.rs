//! `roomcast top`: a live view of a server in the terminal.

mod figures;
pub(super) mod format;
mod metrics;
mod sample;
mod screen;
mod terminal;

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use tokio::{
    select,
    signal::{
        ctrl_c,
        unix::{SignalKind, signal},
    },
    time::{Instant, MissedTickBehavior, interval_at},
};

use self::{figures::Figures, sample::Sample, terminal::Terminal};
use super::{
    client::{api::Caller, endpoint::Endpoint},
    say,
};

const AFTER_HELP: &str = "\
Rates are those of the last interval. It needs /metrics, and for rooms and slow readers the HTTP API:
the administration port, where the server has one. Ctrl-C ends it.

Of rooms and connections it reads the first 10,000 of the namespace, and shows the largest.

Examples:
  roomcast top
  roomcast top http://127.0.0.1:3001 --api-key \"$KEY\"
  roomcast top --json --interval-ms 10000 | jq .deliveries_per_s
  roomcast top --json --count 1

Exit codes: 0 ended, 1 refused or failed, 2 wrong usage, 3 cannot connect.";

/// Show rooms, rates, queues and slow readers of a server, live
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct TopArgs {
    /// Address of the server
    #[arg(env = "ROOMCAST_URL", default_value = "http://127.0.0.1:3000")]
    url: Endpoint,
    /// Milliseconds between two looks
    #[arg(
        long,
        value_name = "MS",
        default_value_t = 2000,
        value_parser = clap::value_parser!(u64).range(100..=3_600_000)
    )]
    interval_ms: u64,
    /// Ends after so many looks
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// A JSON object for each interval
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    caller: Caller,
}

/// Shows sample after sample, until it is told to end.
///
/// # Errors
///
/// A [`Failure`](super::client::failure::Failure) that the user or the server can do something
/// about, or a fault of this machine.
pub(crate) async fn run(args: TopArgs) -> anyhow::Result<ExitCode> {
    // Before the screen is taken: a server that is not there is told of on the line below.
    let mut last = Sample::take(&args.url, &args.caller).await?;
    let is_live = !args.json && io::stdout().is_terminal();
    let terminal = is_live.then(Terminal::begin).transpose()?;
    let period = Duration::from_millis(args.interval_ms);
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ended = signal(SignalKind::terminate()).context("cannot wait for signals")?;
    if let Some(terminal) = &terminal {
        let first = Figures::between(&last, &last);
        terminal.show(&screen::lines(&args.url, &first))?;
    }
    let mut left = args.count;
    while left != Some(0) {
        select! {
            _ = ticks.tick() => {}
            _ = ctrl_c() => break,
            _ = ended.recv() => break,
        }
        left = left.map(|left| left - 1);
        let sample = match (Sample::take(&args.url, &args.caller).await, &terminal) {
            (Ok(sample), _) => sample,
            // It may start again.
            (Err(fault), Some(terminal)) => {
                let fault = fault.to_string();
                terminal.show(&fault.lines().map(str::to_owned).collect::<Vec<_>>())?;
                continue;
            }
            (Err(fault), None) => return Err(fault.into()),
        };
        let figures = Figures::between(&last, &sample);
        match &terminal {
            Some(terminal) => terminal.show(&screen::lines(&args.url, &figures))?,
            None => {
                let text = match args.json {
                    true => serde_json::to_string(&figures)?,
                    false => screen::lines(&args.url, &figures).join("\n") + "\n",
                };
                say::result(format_args!("{text}")).context("cannot write the figures")?;
            }
        }
        last = sample;
    }
    Ok(ExitCode::SUCCESS)
}
