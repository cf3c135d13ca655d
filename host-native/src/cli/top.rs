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
    signal::unix::{SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval_at},
};

use self::{figures::Figures, sample::Source, terminal::Terminal};
use super::{
    client::{api::Caller, endpoint::Endpoint},
    say,
};

const AFTER_HELP: &str = "\
Rates are those of the last interval. It needs /metrics, and for rooms and slow readers the HTTP API:
the administration port, where the server has one. Ctrl-C ends it.

Rooms and slow readers are those of one namespace, and with a relay of all servers; all else is of all
namespaces of the one server. It reads the first 10,000 rooms and connections, shows the largest, and
says when there are more, or when the slow readers are in another namespace.

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
    /// Milliseconds between samples
    #[arg(
        long,
        value_name = "MS",
        default_value_t = 2000,
        value_parser = clap::value_parser!(u64).range(100..=3_600_000)
    )]
    interval_ms: u64,
    /// Stop after N samples
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Print a JSON object for each interval
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    caller: Caller,
}

/// Shows sample after sample, until a signal stops it.
///
/// # Errors
///
/// A [`Failure`](super::client::failure::Failure) that can be fixed by the user or at the server,
/// or a fault of this machine.
pub(crate) async fn run(args: TopArgs) -> anyhow::Result<ExitCode> {
    // Signals are handled from here on, even while a server does not answer.
    let listen = |kind| signal(kind).context("cannot wait for signals");
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hang_up = listen(SignalKind::hangup())?;
    let stopped = async {
        select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    };
    select! {
        ended = view(args) => ended,
        () = stopped => Ok(ExitCode::SUCCESS),
    }
}

/// Shows sample after sample, as many as were requested.
async fn view(args: TopArgs) -> anyhow::Result<ExitCode> {
    // Sampled before the screen is switched, so that a failure to connect is printed normally.
    let mut source = Source::new(&args.url, &args.caller);
    let mut last = source.sample().await?;
    let is_live = !args.json && io::stdout().is_terminal();
    let terminal = is_live.then(Terminal::begin).transpose()?;
    let period = Duration::from_millis(args.interval_ms);
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    if let Some(terminal) = &terminal {
        let first = Figures::between(&last, &last);
        terminal.show(&screen::lines(&args.url, &first))?;
    }
    let mut left = args.count;
    while left != Some(0) {
        ticks.tick().await;
        left = left.map(|left| left - 1);
        let sample = match (source.sample().await, &terminal) {
            (Ok(sample), _) => sample,
            // The server may come back.
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
