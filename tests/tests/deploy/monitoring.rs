//! Alert rules and the dashboard.

use std::{collections::BTreeSet, env, fs, path::Path, process::Command};

use serde_json::Value;

use super::{passes, path, redis::Redis, text};
use crate::{process::child::Process, tls::pair::Pairs};

const RULES: &str = "prometheus/roomcast.rules.yml";
const DASHBOARD: &str = "grafana/roomcast.json";

/// The metrics of a server that has all of them.
fn metrics() -> BTreeSet<String> {
    let pairs = Pairs::new();
    let flags = pairs.flags();
    let redis = Redis::start(&["--save", ""]);
    let relay = format!("--relay=redis://{}", redis.authority());
    let server = Process::start(&[&flags[0], &flags[1], &relay]);
    let url = format!("https://{}/metrics", server.authority);
    let mut curl = Command::new("curl");
    let text = passes(curl.args([
        "--silent",
        "--fail",
        "--cacert",
        &pairs.path("ca.pem"),
        &url,
    ]));
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .filter_map(|line| Some(line.split(' ').next()?.to_owned()))
        .collect()
}

/// The names of metrics in a text.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let names = words.filter(|word| word.starts_with("roomcast_") || word.starts_with("process_"));
    names.collect()
}

#[test]
fn rules_and_dashboard_name_metrics_that_there_are() {
    let there = metrics();
    for file in [RULES, DASHBOARD] {
        let text = text(file);
        let named = named(&text);
        assert!(named.len() > 15, "{file}: {named:?}");
        for name in named {
            let parts = ["_bucket", "_sum", "_count"];
            let whole = parts.iter().find_map(|part| name.strip_suffix(part));
            let is_there = there.contains(name) || whole.is_some_and(|name| there.contains(name));
            assert!(is_there, "{file}: there is no metric {name}");
        }
    }
}

#[test]
fn promtool_takes_the_rules_their_tests_and_the_dashboard() {
    // `tests/run` says where it cannot be had.
    if env::var_os("ROOMCAST_NO_PROMTOOL").is_some() {
        return;
    }
    let promtool = |arguments: [&str; 2], file: &Path| {
        passes(Command::new("promtool").args(arguments).arg(file));
    };
    promtool(["check", "rules"], &path(RULES));
    promtool(
        ["test", "rules"],
        &path("prometheus/roomcast.rules.test.yml"),
    );
    let page = fs::read_to_string(path("../docs/operations.md")).expect("a page");
    let (_, block) = page.split_once("```yaml\nrule_files").expect("a block");
    let (block, _) = block.split_once("```").expect("its end");
    let folder = tempfile::tempdir().expect("a folder");
    fs::copy(path(RULES), folder.path().join("roomcast.rules.yml")).expect("a copy");
    let file = folder.path().join("prometheus.yml");
    fs::write(&file, format!("rule_files{block}")).expect("a file");
    promtool(["check", "config"], &file);
    let dashboard: Value = serde_json::from_str(&text(DASHBOARD)).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    let mut rules = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    for (number, target) in targets.enumerate() {
        let expression = target["expr"].as_str().expect("an expression");
        let expression = expression.replace("$__rate_interval", "1m");
        rules += &format!("  - record: panel:{number}\n    expr: '{expression}'\n");
    }
    let file = folder.path().join("dashboard.yml");
    fs::write(&file, rules).expect("a file");
    promtool(["check", "rules"], &file);
}
