//! The Worker of this repository, in the runtime of Cloudflare Workers.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsStr,
    fs,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use hyper::{Method, Request};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use self::config::{Deployment, Vars};
use crate::{DriverError, Settings, driver::ask};

mod config;

const CONFIG: &str = "config.capnp";
/// Lines that are kept for [`Edge::log`].
const LOG_LINES_MAX: usize = 1000;
/// The beginning of the runtime's message about an alarm that was set again while it fired. The
/// alarm still fires, now or at the new time.
const ALARM_NOTICE: &str = "NOSENTRY SQLite alarm ";

/// The fate of the WebSockets of an evicted object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sockets {
    /// Sockets stay open and keep what was attached to them, as when an idle object hibernates.
    Hibernate,
    /// Sockets are closed, as when the runtime is updated.
    Close,
}

/// A build of the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// Without applications: `npm run build` in `host-worker`. It is in `host-worker/dist`, or in
    /// the folder that the environment variable `ROOMCAST_WORKER` names.
    Plain,
    /// With the example applications: `npm run build:gateways`. It is in
    /// `host-worker/dist-gateways`, or in the folder that `ROOMCAST_WORKER_GATEWAYS` names.
    Gateways,
}

/// Workers in one `workerd` process, each on a free port; it ends with this value.
///
/// The process runs a worker for each of the settings it is started with. They share nothing but
/// the process. The worker has to be built, see [`Build`]; `workerd` is the one that `npm ci`
/// installs in `host-worker`, or the one that `ROOMCAST_WORKERD` names.
#[derive(Debug)]
pub struct Edge {
    process: Child,
    runtime: Runtime,
    /// By the name of the service.
    ports: BTreeMap<String, u16>,
    log: Arc<Mutex<Vec<String>>>,
    /// The modules of the workers, and what their objects store.
    _directory: TempDir,
}

impl Edge {
    /// The key of the HTTP API, unless the variables give another.
    pub const API_KEY: &'static str = "test-key";

    /// Starts a worker for each of the settings, and waits until all listen.
    ///
    /// # Panics
    ///
    /// When something is missing, or does not start.
    pub fn start(workers: &[&Settings]) -> Self {
        Self::start_build(Build::Plain, workers)
    }

    /// Starts a worker of this build for each of the settings.
    ///
    /// # Panics
    ///
    /// When something is missing, or does not start.
    pub fn start_build(build: Build, workers: &[&Settings]) -> Self {
        Self::launch(build, None, &vars_of(workers))
    }

    /// Starts one worker with further variables, which need not be valid.
    ///
    /// # Panics
    ///
    /// When something is missing, or does not start.
    pub fn start_with_vars(vars: &[(&str, &str)]) -> Self {
        Self::launch(Build::Plain, None, &[with_defaults(vars)])
    }

    /// The same behind a module, as [`start_behind`](Self::start_behind).
    ///
    /// # Panics
    ///
    /// When something is missing, or does not start.
    pub fn start_with_vars_behind(entry: &Path, vars: &[(&str, &str)]) -> Self {
        Self::launch(Build::Plain, Some(entry), &[with_defaults(vars)])
    }

    /// Starts a worker for each of the settings, behind a module that imports the worker from
    /// `./index.js` and exports what it exports.
    ///
    /// # Panics
    ///
    /// When something is missing, or does not start.
    pub fn start_behind(entry: &Path, workers: &[&Settings]) -> Self {
        Self::start_build_behind(Build::Plain, entry, workers)
    }

    /// The same with a worker of this build.
    ///
    /// # Panics
    ///
    /// When something is missing, or does not start.
    pub fn start_build_behind(build: Build, entry: &Path, workers: &[&Settings]) -> Self {
        Self::launch(build, Some(entry), &vars_of(workers))
    }

    fn launch(build: Build, entry: Option<&Path>, workers: &[Vars]) -> Self {
        let directory = prepare(build, entry, workers).unwrap_or_else(|fault| {
            let (folder, command) = (build.folder(), build.command());
            panic!(
                "no worker can be started; has `{command}` in host-worker made {}? {fault}",
                folder.display()
            )
        });
        let workerd = workerd();
        let mut process = Command::new(&workerd)
            // Eviction needs an experimental API.
            .args(["serve", "--experimental", "--control-fd=1", CONFIG])
            .current_dir(directory.path())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|fault| {
                panic!(
                    "cannot start {}, which `npm ci` in host-worker installs: {fault}",
                    workerd.display()
                )
            });
        let (Some(stdout), Some(stderr)) = (process.stdout.take(), process.stderr.take()) else {
            panic!("a process without its output");
        };
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&log);
        // Also keeps the pipe empty, so that logging never blocks the process.
        let logging = thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut kept = lock(&kept);
                if kept.len() < LOG_LINES_MAX && !line.contains(ALARM_NOTICE) {
                    kept.push(line);
                }
            }
        });
        let runtime = Builder::new_current_thread().enable_all().build();
        let mut edge = Self {
            process,
            runtime: runtime.unwrap_or_else(|fault| panic!("no runtime: {fault}")),
            ports: BTreeMap::new(),
            log,
            _directory: directory,
        };
        edge.ports = listening(stdout, workers.len() + 1);
        if edge.ports.len() <= workers.len() {
            let _ = edge.process.kill();
            let _ = logging.join();
            panic!(
                "{} did not start listening; it said:\n{}",
                workerd.display(),
                edge.log().join("\n")
            );
        }
        edge
    }

    /// The address to which clients of a worker connect: `ws://127.0.0.1:port/ws`.
    ///
    /// # Panics
    ///
    /// When there are fewer workers.
    pub fn address(&self, worker: usize) -> String {
        format!("ws://{}/ws", self.authority(worker))
    }

    /// Host and port of a worker: `127.0.0.1:port`.
    ///
    /// # Panics
    ///
    /// When there are fewer workers.
    pub fn authority(&self, worker: usize) -> String {
        self.authority_of(&config::worker(worker))
    }

    /// Evicts the object of a namespace as soon as it is idle; false when it is not in memory.
    ///
    /// # Errors
    ///
    /// When the object stays busy, or the process has ended.
    pub fn evict(
        &self,
        worker: usize,
        namespace: &str,
        sockets: Sockets,
    ) -> Result<bool, DriverError> {
        let path = evict_path(worker, namespace, sockets);
        match self.ask(config::CONTROL, &path)? {
            (200, _) => Ok(true),
            (404, _) => Ok(false),
            (_, body) => Err(DriverError::Transport(format!("{path}: {body}"))),
        }
    }

    /// The address that evicts the object of a namespace on each POST, for other programs.
    ///
    /// # Panics
    ///
    /// When there are fewer workers.
    pub fn evict_url(&self, worker: usize, namespace: &str, sockets: Sockets) -> String {
        let path = evict_path(worker, namespace, sockets);
        format!("http://{}{path}", self.authority_of(config::CONTROL))
    }

    /// Posts to a path that a module in front of a worker offers to tests, and returns the body of
    /// the answer.
    ///
    /// # Errors
    ///
    /// When there is no answer, or another status than 200.
    pub fn post(&self, worker: usize, path: &str) -> Result<String, DriverError> {
        match self.ask(&config::worker(worker), path)? {
            (200, body) => Ok(body),
            (status, body) => Err(DriverError::Transport(format!("{path}: {status} {body}"))),
        }
    }

    fn ask(&self, service: &str, path: &str) -> Result<(u16, String), DriverError> {
        let authority = self.authority_of(service);
        let broken = |fault: &dyn std::fmt::Display| {
            DriverError::Transport(format!("{path} of {service}: {fault}"))
        };
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header("Host", &authority)
            .body(Default::default())
            .map_err(|fault| broken(&fault))?;
        let answer = self.runtime.block_on(ask(&authority, request));
        answer.map_err(|fault| broken(&fault))
    }

    /// Returns the log of the process: errors, and the console output of the worker, without the
    /// runtime's messages about alarms that were set again while they fired.
    pub fn log(&self) -> Vec<String> {
        lock(&self.log).clone()
    }

    /// Host and port of a service.
    fn authority_of(&self, service: &str) -> String {
        let port = self.ports.get(service);
        format!(
            "127.0.0.1:{}",
            port.unwrap_or_else(|| panic!("there is no {service}"))
        )
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn evict_path(worker: usize, namespace: &str, sockets: Sockets) -> String {
    let worker = config::worker(worker);
    let sockets = match sockets {
        Sockets::Hibernate => "hibernate",
        Sockets::Close => "close",
    };
    format!("/evict?worker={worker}&object={namespace}&sockets={sockets}")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds variables to those of the default settings.
fn with_defaults(vars: &[(&str, &str)]) -> Vars {
    let vars = vars
        .iter()
        .map(|&(name, value)| (name.into(), value.into()));
    Settings::default().vars().into_iter().chain(vars).collect()
}

fn vars_of(workers: &[&Settings]) -> Vec<Vars> {
    workers
        .iter()
        .map(|settings| settings.vars().into_iter().collect())
        .collect()
}

/// Makes a folder with all files that the process needs.
fn prepare(build: Build, entry: Option<&Path>, workers: &[Vars]) -> io::Result<TempDir> {
    let directory = TempDir::with_prefix("roomcast-edge-")?;
    let copy = |from: &Path| {
        let name = from.file_name().unwrap_or_default();
        fs::copy(from, directory.path().join(name))?;
        Ok::<_, io::Error>(name.to_string_lossy().into_owned())
    };
    let mut modules = Vec::new();
    if let Some(entry) = entry {
        modules.push(copy(entry)?);
    }
    modules.extend(["index.js".into()]);
    for file in fs::read_dir(build.folder())? {
        let file = file?;
        if file.file_type()?.is_dir() {
            continue; // a build that is under way
        }
        let file = file.path();
        let name = copy(&file)?;
        if file.extension() == Some(OsStr::new("wasm")) {
            modules.push(name);
        }
    }
    for module in ["control.js", "kv.js"] {
        copy(&repository().join("tests/edge").join(module))?;
    }
    fs::create_dir(directory.path().join(config::STORAGE))?;
    let wrangler = fs::read_to_string(repository().join("host-worker/wrangler.toml"))?;
    let deployment = Deployment::read(&wrangler)
        .ok_or_else(|| io::Error::other("host-worker/wrangler.toml lacks something"))?;
    let config = config::text(&deployment, &modules, workers, Edge::API_KEY);
    fs::write(directory.path().join(CONFIG), config)?;
    Ok(directory)
}

/// Reads the ports on which the process listens, until there are `count`.
fn listening(stdout: ChildStdout, count: usize) -> BTreeMap<String, u16> {
    #[derive(Deserialize)]
    struct Listening {
        socket: String,
        port: u16,
    }
    let lines = BufReader::new(stdout).lines().map_while(Result::ok);
    let ports = lines.filter_map(|line| {
        let Listening { socket, port } = serde_json::from_str(&line).ok()?;
        Some((socket, port))
    });
    ports.take(count).collect()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

impl Build {
    const fn command(self) -> &'static str {
        match self {
            Self::Plain => "npm run build",
            Self::Gateways => "npm run build:gateways",
        }
    }

    fn folder(self) -> PathBuf {
        let (variable, folder) = match self {
            Self::Plain => ("ROOMCAST_WORKER", "host-worker/dist"),
            Self::Gateways => ("ROOMCAST_WORKER_GATEWAYS", "host-worker/dist-gateways"),
        };
        env::var_os(variable).map_or_else(|| repository().join(folder), PathBuf::from)
    }
}

fn workerd() -> PathBuf {
    if let Some(path) = env::var_os("ROOMCAST_WORKERD") {
        return path.into();
    }
    let system = env::consts::OS.replace("macos", "darwin");
    let processor = match env::consts::ARCH {
        "x86_64" => "64",
        "aarch64" => "arm64",
        other => other,
    };
    let package = format!("host-worker/node_modules/@cloudflare/workerd-{system}-{processor}");
    repository().join(package).join("bin/workerd")
}
