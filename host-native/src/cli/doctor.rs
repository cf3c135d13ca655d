//! `roomcast doctor`: the whole way to a server, tried from outside, and what to change where.

mod clock;
mod fix;
mod http;
mod key;
mod report;
mod socket;
mod way;

use std::process::ExitCode;

use hyper::header::{DATE, HeaderValue};

use self::{
    fix::Proxy,
    report::{Finding, Report},
    way::Way,
};
use super::client::{api::Caller, endpoint::Endpoint, failure::Failure};

const AFTER_HELP: &str = "\
Use it where your users are, not beside the server. It sends nothing to a room. The key and the token
are not sent past a certificate that cannot be trusted. The last check waits for the server's heartbeat.

Examples:
  roomcast doctor https://chat.example.com
  roomcast doctor https://chat.example.com --origin https://app.example.com --api-key \"$KEY\"
  roomcast doctor https://chat.example.com --connect-to 192.0.2.7:443     (before its name leads there)
  roomcast doctor http://127.0.0.1:3000 --ready                           (a health check)
  roomcast doctor https://chat.example.com --json | jq 'select(.state == \"failed\")'

Exit codes: 0 nothing failed, 1 something failed, 2 wrong usage, 3 cannot connect.";

/// Try the whole way to a server from outside, and say what to change where
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct DoctorArgs {
    /// Address of the server, as clients have it
    #[arg(env = "ROOMCAST_URL", default_value = "http://127.0.0.1:3000")]
    url: Endpoint,
    /// Host and port to connect to in place of the URL's
    #[arg(long, value_name = "HOST:PORT", value_parser = way::place)]
    connect_to: Option<String>,
    /// Origin of a page elsewhere that has to connect, as https://app.example.com
    #[arg(long, value_parser = field)]
    origin: Option<HeaderValue>,
    /// Token of a client, for a server that asks
    #[arg(long, env = "ROOMCAST_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Longest wait for the server's heartbeat, in seconds; 0 leaves that check out
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait_s: u32,
    /// Ends when the server is known to be ready or not, as the health check of a container does
    #[arg(long)]
    ready: bool,
    /// Each check as a line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    caller: Caller,
}

/// A value of a header field. Its text is shown where it is wrong, as it is no secret.
fn field(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::try_from(text).map_err(|_| "must be visible ASCII characters".to_owned())
}

/// The value of `Authorization` with a token.
fn bearer(token: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::try_from(format!("Bearer {}", token.trim()))
        .map_err(|_| Failure::usage("the token (--token, ROOMCAST_TOKEN) holds control characters"))
}

/// Tries one thing after the other, and prints what was seen.
///
/// # Errors
///
/// A [`Failure`] of the arguments, or of the output.
pub(crate) async fn run(args: DoctorArgs) -> anyhow::Result<ExitCode> {
    let mut doctor = Doctor {
        key: args.caller.authorization()?,
        token: args.token.as_deref().map(bearer).transpose()?,
        report: Report::new(args.json),
        args,
    };
    let is_reached = doctor.examine().await?;
    Ok(match (is_reached, doctor.report.failed) {
        (true, 0) => ExitCode::SUCCESS,
        (true, _) => ExitCode::FAILURE,
        (false, _) => ExitCode::from(3),
    })
}

struct Doctor {
    args: DoctorArgs,
    key: Option<HeaderValue>,
    token: Option<HeaderValue>,
    report: Report,
}

impl Doctor {
    /// Makes all checks that can be made; false when there is nothing to connect to.
    async fn examine(&mut self) -> anyhow::Result<bool> {
        let url = &self.args.url;
        let (found, finding) = way::find(url, self.args.connect_to.as_deref()).await;
        self.report.add("address", finding)?;
        let Some(addresses) = found else {
            return Ok(false);
        };
        let (open, finding) = way::open(url, &addresses).await;
        self.report.add("port", finding)?;
        let Some(address) = open else {
            return Ok(false);
        };
        let mut way = Way::plain(url.clone(), address);
        if url.tls {
            let is_tls = match way.secure().await {
                Ok((is_tls, finding)) => {
                    self.report.add("certificate", finding)?;
                    is_tls
                }
                Err(fault) => {
                    let fix = "ca-certificates of this machine, or SSL_CERT_FILE=FILE";
                    self.report
                        .add("certificate", Finding::failed(fault, fix))?;
                    return Ok(true);
                }
            };
            if !is_tls {
                return Ok(true);
            }
        }
        let (answer, finding) = http::ready(&way).await;
        self.report.add("ready", finding)?;
        let Some(answer) = answer.filter(|_| !self.args.ready) else {
            return Ok(true);
        };
        self.report
            .add("clock", clock::check(answer.head.get(DATE), answer.at))?;
        let proxy = Proxy::of(&answer.head);
        self.examine_socket(&way, proxy).await?;
        Ok(true)
    }

    /// The checks of a way that leads to a server.
    async fn examine_socket(&mut self, way: &Way, proxy: Proxy) -> anyhow::Result<()> {
        let key = match &self.key {
            None => Finding::skipped("give a key with --api-key, to try it"),
            Some(_) if !way.is_trusted => Finding::skipped(UNTRUSTED),
            Some(key) => key::check(way, self.args.caller.namespace.as_deref(), key).await,
        };
        self.report.add("key", key)?;
        let token = self.token.as_ref().filter(|_| way.is_trusted);
        let namespace = self.args.caller.namespace.as_deref();
        let own = way.url.origin();
        let opened = socket::open(way, namespace, own.as_bytes(), token).await;
        let (socket, finding) = match opened {
            Ok(socket) => {
                let finding = Finding::ok(format_args!("switched to a WebSocket, as for {own}"));
                (Some(socket), finding)
            }
            Err(fault) => (None, fault.finding(proxy, None)),
        };
        self.report.add("upgrade", finding)?;
        let Some(mut socket) = socket else {
            return Ok(());
        };
        let (welcome, finding) = socket.exchange().await;
        self.report.add("messages", finding)?;
        let origin = match &self.args.origin {
            None => {
                Finding::skipped("give the origin of a page elsewhere with --origin, to try it")
            }
            Some(origin) => match socket::open(way, namespace, origin.as_bytes(), token).await {
                Ok(_) => Finding::ok(format_args!("{} may connect", text(origin))),
                Err(fault) => fault.finding(proxy, Some(&text(origin))),
            },
        };
        self.report.add("origin", origin)?;
        let Some(welcome) = welcome else {
            return Ok(());
        };
        if self.args.wait_s > 0 && !self.args.json {
            say!("Waits for the server's heartbeat.");
        }
        let idle = socket.stay(&welcome, self.args.wait_s, proxy).await;
        self.report.add("idle", idle)
    }
}

const UNTRUSTED: &str = "not sent past a certificate that cannot be trusted";

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}
