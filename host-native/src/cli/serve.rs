//! `roomcast serve`.

mod beside;
mod environment;
mod flags;

use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::Command;
use futures_util::future::select_all;
use roomcast::{Access, Host, Policies, Reload, Reloader, RunError, Settings, Tokens};
use roomcast_http::FileSetting;
use sd_notify::NotifyState;
use tokio::{
    runtime::{self, Runtime},
    signal::unix::{Signal, SignalKind, signal},
};
use tracing_subscriber::{
    Layer, filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

pub(crate) use self::flags::{PROGRAM, ServeArgs, setting_names};
use self::{
    environment::Stray,
    flags::{LogFormat, Program},
};
use super::{
    client::failure::Failure,
    config::{ConfigPath, Contents},
    log::{Log, json::Json},
};

/// The file of `--config`.
struct File {
    path: ConfigPath,
    /// The settings that it had at the start.
    at_start: Vec<FileSetting>,
}

impl ServeArgs {
    /// Serves until a signal stops it; a second signal ends the process at once.
    ///
    /// # Errors
    ///
    /// A [`Failure`] of the settings, or the error that ended the server.
    pub(crate) fn run(
        mut self,
        hangups: Option<Hangups>,
        program: &Command,
    ) -> anyhow::Result<ExitCode> {
        let hangups = hangups.map_or_else(Hangups::begin, Ok)?;
        self.program.log_format.begin();
        let path = self.program.config.clone();
        let config = path.map(|path| ConfigPath::new(path, setting_names()));
        let mut contents = None;
        if let Some(config) = &config {
            let usage = |fault| Failure::usage(format_args!("--config: {fault}"));
            let read = config.read(&Access::default()).map_err(usage)?;
            let taken = self.take_file(&config.name(), &read.settings);
            // It may say so itself, and be wrong elsewhere.
            self.program.log_format.begin();
            taken.map_err(usage)?;
            contents = Some(read);
        }
        let Self {
            mut settings,
            program:
                Program {
                    log: log_filter,
                    log_format,
                    ..
                },
            has_address,
            ..
        } = self;
        let port = match has_address {
            true => None,
            false => {
                platform_port(std::env::var("PORT").ok().as_deref()).map_err(Failure::usage)?
            }
        };
        let read = read_tokens(settings.access.tokens.clone());
        settings.access.tokens = read.map_err(Failure::usage)?;
        let flags = settings.access.clone();
        let file = config.zip(contents).map(|(path, contents)| {
            let Contents {
                reload,
                settings: at_start,
            } = contents;
            (settings.hooks, settings.ask) = (reload.hooks, reload.ask);
            settings.policies = reload.policies;
            settings.access.api_keys.extend(reload.api_keys);
            settings.access.allow_origins.extend(reload.allow_origins);
            File { path, at_start }
        });
        if let Some(port) = port {
            settings.listen = port_address(&settings, port);
        }
        settings.check().map_err(Failure::usage)?;
        let log = begin_log(&log_filter, log_format)?;
        let set = std::env::vars_os().filter_map(|(name, value)| {
            let value = value.to_string_lossy().into_owned();
            name.into_string().ok().map(|name| (name, value))
        });
        for Stray { name, nearest } in environment::strays(program, set) {
            match nearest {
                Some(nearest) => tracing::warn!("{name} is not read: {nearest} may be meant"),
                None => tracing::warn!("{name} is not read: no setting is called so"),
            }
        }
        if port.is_some() {
            say_port(&settings);
        }
        warn_of_grants(&settings.access.tokens, &settings.policies);
        raise_descriptors();
        let served = serve(settings, &flags, file.as_ref(), log, hangups);
        log.flush();
        served
    }
}

/// Starts the log, with a filter that was checked when it was read.
fn begin_log(filter: &str, format: LogFormat) -> anyhow::Result<&'static Log> {
    let filter: Targets = filter.parse()?;
    let log = Log::of_process().context("cannot start the thread of the log")?;
    let lines = log.clone();
    let layer = fmt::layer().with_writer(move || lines.clone());
    let layer = match format {
        LogFormat::Text => layer
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .boxed(),
        LogFormat::Json => layer.with_ansi(false).event_format(Json).boxed(),
    };
    tracing_subscriber::registry()
        .with(layer)
        .with(filter)
        .init();
    Ok(log)
}

/// Reads the variable `PORT`, with which container platforms choose the port of a server.
fn platform_port(port: Option<&str>) -> Result<Option<u16>, &'static str> {
    match port {
        None | Some("") => Ok(None),
        // A sign is no digit, though `parse` takes one.
        Some(port) => match port.parse() {
            Ok(number) if port.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Some(number)),
            _ => Err(
                "PORT must be 0 to 65535: it is read where --listen (ROOMCAST_LISTEN) is not given",
            ),
        },
    }
}

/// The address for the port that a platform gives. The platform connects from outside, so it is all
/// addresses, but only with an API key or `--insecure`; otherwise it is loopback.
fn port_address(settings: &Settings, port: u16) -> SocketAddr {
    let guarded = settings.insecure || !settings.access.api_keys.is_empty();
    let address = if guarded {
        Ipv4Addr::UNSPECIFIED
    } else {
        Ipv4Addr::LOCALHOST
    };
    (address, port).into()
}

/// Logs the address that was chosen for the port of a platform.
fn say_port(settings: &Settings) {
    if settings.listen.ip().is_unspecified() {
        tracing::info!("listening on all addresses, since PORT is set and --listen is not");
    } else {
        tracing::warn!(
            "listening on loopback only, though PORT is set: with an API key (--api-key, ROOMCAST_API_KEY) \
             or --insecure it is all addresses; --listen says it outright"
        );
    }
}

fn serve(
    settings: Settings,
    flags: &Access,
    file: Option<&File>,
    log: &Log,
    Hangups(runtime, mut hangups): Hangups,
) -> anyhow::Result<ExitCode> {
    runtime.block_on(async {
        let mut stops = Stops::new()?;
        // A handled SIGXFSZ makes a write over the file size limit fail, instead of ending the
        // process.
        let _file_size = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
        let listeners = roomcast::listen(&settings).with_context(|| {
            format!(
                "cannot listen on {}: choose another --listen",
                settings.listen
            )
        })?;
        let log = log.clone();
        let stop = async move {
            stops.next().await;
            tell_systemd(NotifyState::Stopping);
            // A second signal ends the process at once.
            tokio::spawn(async move {
                stops.next().await;
                tracing::warn!("stopped by a second signal");
                log.flush();
                std::process::exit(1);
            });
        };
        let mut current = Reload::default();
        current.policies = settings.policies.clone();
        current.api_keys = settings.access.api_keys.clone();
        (current.hooks, current.ask) = (settings.hooks.clone(), settings.ask.clone());
        current.allow_origins = settings.access.allow_origins.clone();
        let has_tls = settings.tls_cert.is_some();
        let host = Host::new(settings).on_serving(|| tell_systemd(NotifyState::Ready));
        let reloader = host.reloader();
        let running = host.run(listeners, stop);
        let reloads = async {
            while hangups.recv().await.is_some() {
                if has_tls {
                    reload_certificate(&reloader).await;
                    if file.is_none() && !has_token_files(&flags.tokens) {
                        continue;
                    }
                }
                reload(&reloader, flags, file, &mut current).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            ended = running => match ended {
                Err(RunError::Tls(fault)) => return Err(Failure::usage(fault).into()),
                Err(fault @ (RunError::Hooks(_) | RunError::Ask(_))) => return Err(Failure::usage(fault).into()),
                ended => ended?,
            },
            () = reloads => {}
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Notifies systemd, if a unit of the type `notify` started this process.
fn tell_systemd(state: NotifyState<'_>) {
    if let Err(fault) = sd_notify::notify(&[state]) {
        tracing::warn!(%fault, "cannot tell systemd");
    }
}

/// A runtime, and the SIGHUP signals on it, which reload the file of `--config`. Once a value of
/// this type exists, SIGHUP no longer ends the process.
#[derive(Debug)]
pub(crate) struct Hangups(Runtime, Signal);

impl Hangups {
    /// Begins to handle SIGHUP if the arguments are a server's; `None` if they are not, or if it
    /// fails.
    pub(crate) fn of_server(arguments: impl Iterator<Item = OsString>) -> Option<Self> {
        let first = arguments.map(OsString::into_encoded_bytes).nth(1);
        let serves = first.is_none_or(|first| first == b"serve" || first.starts_with(b"-"));
        if serves { Self::begin().ok() } else { None }
    }

    fn begin() -> std::io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let entered = runtime.enter();
        let hangups = signal(SignalKind::hangup())?;
        drop(entered);
        Ok(Self(runtime, hangups))
    }
}

/// The signals that stop a server.
struct Stops([Signal; 3]);

impl Stops {
    fn new() -> std::io::Result<Self> {
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::quit())?,
        ]))
    }

    async fn next(&mut self) {
        let signals = self.0.iter_mut().map(|signal| Box::pin(signal.recv()));
        select_all(signals).await;
    }
}

/// Reads the files of keys that verify tokens.
fn read_tokens(mut tokens: Tokens) -> Result<Tokens, String> {
    let read = tokens.read_files(|file| std::fs::read_to_string(file));
    read.map_err(|fault| format!("--{} {}", fault.name(), fault.fault()))?;
    Ok(tokens)
}

fn has_token_files(tokens: &Tokens) -> bool {
    tokens.keys.iter().any(|key| key.file().is_some())
}

/// Reads the files of token keys again, on another thread and within a time limit: a file may be
/// unreachable.
async fn reread_tokens(tokens: &Tokens) -> Result<Option<Tokens>, String> {
    if !has_token_files(tokens) {
        return Ok(None);
    }
    let tokens = tokens.clone();
    let reading = tokio::task::spawn_blocking(move || read_tokens(tokens));
    match tokio::time::timeout(Duration::from_secs(5), reading).await {
        Ok(Ok(read)) => read.map(Some),
        _ => Err("--token-key: a file cannot be read in time".to_owned()),
    }
}

/// Warns of grants that probably do not do what was intended.
fn warn_of_grants(tokens: &Tokens, policies: &Policies) {
    for warning in tokens.grant_warnings(policies.grants()) {
        tracing::warn!("--config: {warning}");
    }
}

/// Reads the files of `--tls-cert` and `--tls-key` again, within a time limit: they may be
/// unreachable.
async fn reload_certificate(reloader: &Reloader) {
    let reloading = reloader.reload_certificate();
    match tokio::time::timeout(Duration::from_secs(5), reloading).await {
        Ok(Ok(true)) => tracing::info!("the certificate is another: new connections get it"),
        Ok(Ok(false)) => tracing::info!("the certificate is the same as before"),
        Ok(Err(fault)) => tracing::error!("{fault}; the certificate stays as it was"),
        Err(_) => tracing::error!("--tls-cert: a file cannot be read in time"),
    }
}

/// Reads the file of `--config` and the files of token keys again. `current` are the settings in
/// force.
async fn reload(reloader: &Reloader, flags: &Access, file: Option<&File>, current: &mut Reload) {
    let tokens = match reread_tokens(&flags.tokens).await {
        Ok(tokens) => tokens,
        Err(fault) => {
            tracing::error!("{fault}; nothing was changed");
            return;
        }
    };
    let Some(File { path, at_start }) = file else {
        if tokens.is_none() {
            tracing::warn!("SIGHUP: there is nothing to read again, for --config is not given");
            return;
        }
        let mut wanted = current.clone();
        wanted.tokens = tokens;
        return change(reloader, flags, wanted, "the files of --token-key", current).await;
    };
    let file = path.name();
    let read = match path.read_again(flags, current).await {
        Ok(Some(read)) => read,
        Ok(None) => {
            tracing::warn!(
                "{file} is no regular file, and is read at the start alone; nothing was changed"
            );
            return;
        }
        Err(fault) => {
            tracing::error!("--config: {fault}; nothing was changed");
            return;
        }
    };
    let Contents {
        reload: mut wanted,
        settings,
    } = read;
    // These settings apply at the next restart, which a wrong one would prevent.
    if let Err(fault) = ServeArgs::default().take_file(&file, &settings) {
        tracing::error!("--config: {fault}; nothing was changed");
        return;
    }
    wanted.tokens = tokens;
    change(reloader, flags, wanted, &file, current).await;
    warn_of_settings(&file, at_start, &settings);
}

/// Warns of settings that have changed in the file since the start, because they apply only at the
/// start.
fn warn_of_settings(file: &str, at_start: &[FileSetting], read: &[FileSetting]) {
    let differs = |settings: &[FileSetting], setting: &FileSetting| {
        let mut same = settings.iter();
        !same.any(|other| other.name == setting.name && other.text == setting.text)
    };
    let changed = read.iter().filter(|setting| differs(at_start, setting));
    let gone = at_start.iter().filter(|setting| differs(read, setting));
    let mut keys: Vec<String> = changed.chain(gone).map(FileSetting::key).collect();
    keys.sort_unstable();
    keys.dedup();
    if !keys.is_empty() {
        let keys = keys.join(", ");
        tracing::warn!("{file}: changed, and read at the start alone: {keys}");
    }
}

/// Applies settings that were read from files.
async fn change(
    reloader: &Reloader,
    flags: &Access,
    wanted: Reload,
    files: &str,
    current: &mut Reload,
) {
    match reloader.reload(wanted.clone()).await {
        Ok(changed) => {
            *current = wanted;
            tracing::info!(%changed, "read {files} again");
            warn_of_grants(&flags.tokens, &current.policies);
        }
        Err(fault) => tracing::error!("{files} cannot be used: {fault}; nothing was changed"),
    }
}

/// Raises the limit of descriptors to the system's maximum: the usual soft limit is low for the
/// sake of programs that use `select`.
pub(super) fn raise_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(fault) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%fault, "cannot raise the limit of open files");
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Bare {
        #[command(flatten)]
        serve: ServeArgs,
    }

    #[test]
    fn a_port_of_a_platform_is_open_only_where_somebody_said_who_may_come_in() {
        assert_eq!(platform_port(None), Ok(None));
        assert_eq!(platform_port(Some("")), Ok(None));
        assert_eq!(platform_port(Some("8080")), Ok(Some(8080)));
        for bad in [
            "x",
            "70000",
            "tcp://10.0.0.1:3000",
            "-1",
            "+80",
            " 80",
            "80.5",
        ] {
            let fault = platform_port(Some(bad)).expect_err(bad);
            assert!(fault.contains("PORT") && fault.contains("--listen"));
        }
        let listens = |flags: &[&str]| {
            let arguments = ["roomcast"].iter().chain(flags);
            let parsed = Bare::try_parse_from(arguments).expect("valid").serve;
            let mut settings = parsed.settings;
            settings.listen = port_address(&settings, 8080);
            assert_eq!(settings.check(), Ok(()));
            settings.listen.to_string()
        };
        assert_eq!(listens(&[]), "127.0.0.1:8080");
        assert_eq!(listens(&["--api-key", "k"]), "0.0.0.0:8080");
        assert_eq!(listens(&["--insecure"]), "0.0.0.0:8080");
    }
}
