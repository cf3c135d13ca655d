//! `roomcast doctor`: tests the whole path to a server from outside, and suggests fixes.

mod beside;
mod clock;
mod fix;
mod http;
mod key;
mod port;
mod report;
mod socket;
mod way;

use std::{process::ExitCode, time::Duration};

use hyper::header::HeaderValue;

use self::{
    fix::Proxy,
    http::{Answer, Ready},
    report::{Finding, Report},
    socket::{Refusal, Socket},
    way::Way,
};
use super::client::{api::Caller, endpoint::Endpoint, failure::Failure};

const DEFAULT: &str = "http://127.0.0.1:3000";

const AFTER_HELP: &str = "\
Use it where your users are, not beside the server. It sends nothing to a room. The key and the token
are not sent past a certificate that cannot be trusted. The last check waits for the server's heartbeat.

Examples:
  roomcast doctor https://chat.example.com
  roomcast doctor https://chat.example.com --origin https://app.example.com --api-key \"$KEY\"
  roomcast doctor https://chat.example.com --connect-to 192.0.2.7:443     (before its name leads there)
  roomcast doctor --ready                         (a health check, with the variables of its server)
  roomcast doctor https://chat.example.com --json | jq 'select(.state == \"failed\")'

Exit codes: 0 nothing failed, 1 something failed, 2 wrong usage, 3 cannot connect.";

/// Test the whole path to a server from outside, and say what to change where
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct DoctorArgs {
    /// Address of the server, as clients have it; default http://127.0.0.1:3000, and with --ready
    /// what the variables of the server say: ROOMCAST_ADMIN_LISTEN, ROOMCAST_LISTEN, PORT,
    /// ROOMCAST_TLS_CERT
    #[arg(env = "ROOMCAST_URL")]
    url: Option<Endpoint>,
    /// Host and port to connect to in place of the URL's
    #[arg(long, value_name = "HOST:PORT", value_parser = way::place)]
    connect_to: Option<String>,
    /// Origin of another site's page that must connect, such as https://app.example.com
    #[arg(long, value_parser = field)]
    origin: Option<HeaderValue>,
    /// Client token, if the server requires one
    #[arg(long, env = "ROOMCAST_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Seconds to wait for an address, a connection or an answer
    #[arg(long, value_name = "SECONDS", default_value_t = 10,
        value_parser = clap::value_parser!(u32).range(1..=3600))]
    answer_s: u32,
    /// Seconds to wait for the heartbeat; 0 skips this check
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait_s: u32,
    /// Check only whether the server is ready, as a container's health check does
    #[arg(long)]
    ready: bool,
    /// Print each check as a line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    caller: Caller,
}

/// Parses the value of a header field. It is not a secret, so an error may show it.
fn field(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::try_from(text).map_err(|_| "must be visible ASCII characters".to_owned())
}

/// The value of `Authorization` with a token.
fn bearer(token: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::try_from(format!("Bearer {}", token.trim()))
        .map_err(|_| Failure::usage("the token (--token, ROOMCAST_TOKEN) holds control characters"))
}

/// Runs one check after the other, and prints their findings.
///
/// # Errors
///
/// A [`Failure`] of the arguments, or of the output.
pub(crate) async fn run(args: DoctorArgs) -> anyhow::Result<ExitCode> {
    // A health check shares its server's environment: keys and tokens there are not for this
    // command.
    let caller = Some(&args.caller).filter(|caller| !args.ready && !caller.has_hashes_alone());
    let token = args.token.as_deref().filter(|_| !args.ready);
    let is_beside = args.ready && args.url.is_none();
    let url = match &args.url {
        Some(url) => url.clone(),
        None if args.ready => beside::endpoint()?,
        None => DEFAULT.parse().map_err(Failure::usage)?,
    };
    let mut doctor = Doctor {
        url,
        is_beside,
        key: caller.map_or(Ok(None), Caller::authorization)?,
        token: token.map(bearer).transpose()?,
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
    url: Endpoint,
    /// True for the server that shares its environment with this process.
    is_beside: bool,
    key: Option<HeaderValue>,
    token: Option<HeaderValue>,
    report: Report,
}

impl Doctor {
    /// Runs all checks that are possible; false when no address or port can be reached.
    async fn examine(&mut self) -> anyhow::Result<bool> {
        let (url, patience) = (&self.url, Duration::from_secs(self.args.answer_s.into()));
        let (found, finding) = way::find(url, self.args.connect_to.as_deref(), patience).await;
        self.report.add("address", finding)?;
        let Some(addresses) = found else {
            return Ok(false);
        };
        let (open, finding) = port::open(url, &addresses, patience).await;
        self.report.add("port", finding)?;
        let Some(address) = open else {
            return Ok(false);
        };
        let mut way = Way::plain(url.clone(), address, patience);
        if url.tls && !self.secure(&mut way).await? {
            return Ok(true);
        }
        let (ready, finding) = http::ready(&way).await;
        match ready {
            Ready::Server(answer) if !self.args.ready => {
                self.report.add("ready", finding)?;
                self.examine_socket(&way, &answer, None).await?;
            }
            Ready::Proxy(answer) if !self.args.ready => {
                self.examine_proxied(&way, &answer, finding).await?;
            }
            Ready::Server(_) | Ready::Proxy(_) | Ready::Nobody => {
                self.report.add("ready", finding)?;
            }
        }
        Ok(true)
    }

    /// Checks the certificate; false when no further check is possible.
    async fn secure(&mut self, way: &mut Way) -> anyhow::Result<bool> {
        let (is_tls, finding) = if self.is_beside {
            way.secure_beside()?;
            let why = "a health check knows its server by the address";
            (true, Finding::skipped(why))
        } else {
            way.secure().await.unwrap_or_else(|fault| {
                let fix = "ca-certificates of this machine, or SSL_CERT_FILE=FILE";
                (false, Finding::failed(fault, fix))
            })
        };
        self.report.add("certificate", finding)?;
        Ok(is_tls)
    }

    /// Runs the checks behind a proxy that answers `/readyz` itself: it may still forward
    /// WebSockets.
    async fn examine_proxied(
        &mut self,
        way: &Way,
        answer: &Answer,
        finding: Finding,
    ) -> anyhow::Result<()> {
        let opened = self.open(way).await;
        match &opened {
            Ok(_) => {
                let status = answer.status;
                let why = format_args!(
                    "{status}: a proxy passes /ws on, which clients need, and not /readyz"
                );
                self.report.add("ready", Finding::skipped(why))?;
            }
            Err(refusal) if refusal.is_foreign(answer.status) => {
                self.report.add("ready", finding)?;
                let why = "the same answer as that to /readyz";
                return self.report.add("upgrade", Finding::skipped(why));
            }
            Err(_) => self.report.add("ready", finding)?,
        }
        self.examine_socket(way, answer, Some(opened)).await
    }

    /// Opens a WebSocket with the origin of the server's own page.
    async fn open(&self, way: &Way) -> Result<Socket, Refusal> {
        let token = self.token.as_ref().filter(|_| way.is_trusted);
        let namespace = self.args.caller.namespace.as_deref();
        socket::open(way, namespace, way.url.origin().as_bytes(), token).await
    }

    /// Runs the checks of a path that leads to a server. `opened` is the WebSocket, if it was
    /// tried.
    async fn examine_socket(
        &mut self,
        way: &Way,
        answer: &Answer,
        opened: Option<Result<Socket, Refusal>>,
    ) -> anyhow::Result<()> {
        self.report
            .add("clock", clock::check(&answer.head, answer.at))?;
        let proxy = Proxy::of(&answer.head);
        let key = match &self.key {
            None if self.args.caller.has_hashes_alone() => {
                Finding::skipped("ROOMCAST_API_KEY is a hash, for the server: --api-key KEY here")
            }
            None => Finding::skipped("give a key with --api-key, to try it"),
            Some(_) if !way.is_trusted => Finding::skipped(UNTRUSTED),
            Some(key) => key::check(way, self.args.caller.namespace.as_deref(), key).await,
        };
        self.report.add("key", key)?;
        let opened = match opened {
            Some(opened) => opened,
            None => self.open(way).await,
        };
        let own = way.url.origin();
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
        self.examine_origin(way, proxy).await?;
        let Some(welcome) = welcome else {
            return Ok(());
        };
        if http::is_worker(way, answer).await {
            let why = "a Worker sends no heartbeat of its own: its clients ping";
            return self.report.add("idle", Finding::skipped(why));
        }
        if self.args.wait_s > 0 && !self.args.json {
            say!("Waiting for the server's heartbeat.");
        }
        let idle = socket.stay(&welcome, self.args.wait_s, proxy).await;
        self.report.add("idle", idle)
    }

    /// Checks that a page of another site may connect.
    async fn examine_origin(&mut self, way: &Way, proxy: Proxy) -> anyhow::Result<()> {
        let token = self.token.as_ref().filter(|_| way.is_trusted);
        let namespace = self.args.caller.namespace.as_deref();
        let origin = match &self.args.origin {
            None => {
                Finding::skipped("give the origin of another site's page with --origin, to try it")
            }
            Some(origin) => match socket::open(way, namespace, origin.as_bytes(), token).await {
                Ok(_) => Finding::ok(format_args!("{} may connect", text(origin))),
                Err(fault) => fault.finding(proxy, Some(&text(origin))),
            },
        };
        self.report.add("origin", origin)
    }
}

const UNTRUSTED: &str = "not sent past a certificate that cannot be trusted";

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}
