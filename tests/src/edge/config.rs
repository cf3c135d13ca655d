//! The configuration of `workerd`, in its own language.

use std::{collections::BTreeMap, fmt::Write};

/// The variables of a worker.
pub(super) type Vars = BTreeMap<String, String>;

/// The folder in which objects store their data.
pub(super) const STORAGE: &str = "storage";
/// The name of the worker that evicts objects.
pub(super) const CONTROL: &str = "control";

/// The KV namespace, and its module.
const KV: &str = "kv";
/// The name of the binding under which workers have the namespace.
const KV_BINDING: &str = "SESSIONS";

/// Returns the name of a worker, which is also the name of its socket and of its binding in the
/// control worker.
pub(super) fn worker(index: usize) -> String {
    format!("worker{index}")
}

/// The settings with which the worker is deployed, from its `wrangler.toml`. Values are copied
/// unchanged, because `workerd` uses the same form.
#[derive(Debug)]
pub(super) struct Deployment<'t> {
    date: &'t str,
    flags: &'t str,
    binding: &'t str,
    class: &'t str,
}

impl<'t> Deployment<'t> {
    /// `None` when something is missing.
    pub(super) fn read(wrangler: &'t str) -> Option<Self> {
        let (head, objects) = wrangler.split_once("[[durable_objects.bindings]]")?;
        let value = |table: &'t str, key: &str| {
            let mut pairs = table.lines().filter_map(|line| line.split_once(" = "));
            pairs.find_map(|(name, value)| (name == key).then_some(value))
        };
        Some(Self {
            date: value(head, "compatibility_date")?,
            flags: value(head, "compatibility_flags")?,
            binding: value(objects, "name")?,
            class: value(objects, "class_name")?,
        })
    }
}

/// Makes the whole configuration. Each worker has all `modules`, the main one first, and its own
/// variables.
pub(super) fn text(
    deployment: &Deployment<'_>,
    modules: &[String],
    workers: &[Vars],
    api_key: &str,
) -> String {
    let Deployment {
        date,
        flags,
        binding,
        class,
    } = deployment;
    let main = modules.iter().map(|name| module(name)).collect::<String>();
    let (mut services, mut sockets, mut objects) = (String::new(), String::new(), String::new());
    for (index, vars) in workers.iter().enumerate() {
        let name = worker(index);
        let api_key = ("ROOMCAST_API_KEY", api_key);
        let has_key = vars.iter().any(|(name, _)| *name == api_key.0);
        let api_key = (!has_key).then_some(api_key);
        let vars = vars.iter().map(|(name, value)| (&**name, &**value));
        let vars = vars
            .chain(api_key)
            .map(|(name, value)| format!("(name = {}, text = {}), ", quoted(name), quoted(value)));
        let vars = vars.collect::<String>();
        let _ = writeln!(
            services,
            "(name = {name:?}, worker = (
              modules = [{main}],
              compatibilityDate = {date},
              compatibilityFlags = {flags},
              durableObjectNamespaces = [(className = {class}, uniqueKey = {name:?}, enableSql = true)],
              durableObjectStorage = (localDisk = {STORAGE:?}),
              bindings = [
                {vars}(name = {KV_BINDING:?}, kvNamespace = {KV:?}),
                (name = {binding}, durableObjectNamespace = {class}),
              ],
            )),"
        );
        let _ = writeln!(sockets, "{},", socket(&name));
        let _ = write!(
            objects,
            "(name = {name:?}, durableObjectNamespace = (className = {class}, serviceName = {name:?})), "
        );
    }
    format!(
        "using Workerd = import \"/workerd/workerd.capnp\";
        const config :Workerd.Config = (
          services = [
            {services}
            (name = {CONTROL:?}, worker = (
              modules = [{}],
              compatibilityDate = {date},
              compatibilityFlags = [\"experimental\", \"unsafe_module\"],
              bindings = [{objects}],
            )),
            (name = {KV:?}, worker = (modules = [{}], compatibilityDate = {date})),
            (name = {STORAGE:?}, disk = (path = {STORAGE:?}, writable = true)),
            (name = \"internet\", network = (allow = [\"public\", \"private\"])),
          ],
          sockets = [{sockets} {}],
        );",
        module("control.js"),
        module("kv.js"),
        socket(CONTROL),
    )
}

/// A module in the folder of the configuration.
fn module(file: &str) -> String {
    let kind = if file.ends_with(".wasm") {
        "wasm"
    } else {
        "esModule"
    };
    let file = quoted(file);
    format!("(name = {file}, {kind} = embed {file}), ")
}

fn socket(service: &str) -> String {
    format!("(name = {service:?}, address = \"127.0.0.1:0\", http = (), service = {service:?})")
}

/// A string literal.
fn quoted(text: &str) -> String {
    let mut literal = String::from('"');
    for byte in text.bytes() {
        let _ = match byte {
            b'"' | b'\\' => write!(literal, "\\{}", char::from(byte)),
            0x20..0x7f => write!(literal, "{}", char::from(byte)),
            other => write!(literal, "\\x{other:02x}"),
        };
    }
    literal + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The benchmark has a configuration of its own: it measures what is deployed.
    #[test]
    fn the_benchmark_runs_what_is_deployed() {
        let wrangler = include_str!("../../../host-worker/wrangler.toml");
        let deployment = Deployment::read(wrangler).expect("it has all that is asked for");
        let bench = include_str!("../../edge/bench.capnp");
        for (field, value) in [
            ("compatibilityDate", deployment.date),
            ("compatibilityFlags", deployment.flags),
            ("durableObjectNamespaces = [(className", deployment.class),
            ("durableObjectNamespace", deployment.class),
        ] {
            let line = format!("{field} = {value}");
            // Once for each of the two that are compared.
            assert_eq!(bench.matches(&line).count(), 2, "{line}");
        }
        let binding = format!("(name = {}, durableObjectNamespace", deployment.binding);
        assert_eq!(bench.matches(&binding).count(), 2, "{binding}");
    }
}
