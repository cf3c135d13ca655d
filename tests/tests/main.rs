//! All tests of this package in one program: it is linked once.

mod alike;
mod api_keys;
mod applications;
mod asked;
mod bursts;
mod chat;
mod client_keys;
mod closing;
mod cluster;
mod crowd;
mod deploy;
mod doctor;
mod drain;
mod edge_faults;
mod edge_gateways;
mod edge_model;
mod edge_rows;
mod edge_sockets;
mod edge_traces;
mod exactly_once;
mod exhaustive;
mod explain;
mod gaps;
mod guide;
mod history_memory;
mod hooks;
mod hostile;
mod howto;
mod invariants;
mod journal;
mod journals;
mod keyless_proxy;
mod kill;
mod memory;
mod model;
mod mounted;
mod nodes;
mod peer;
mod planted;
mod policies;
mod process;
mod proxy;
mod proxy_users;
mod readme;
mod restore;
mod rights;
mod rows;
mod served;
mod sessions;
mod simulation;
mod slow_reader;
mod stories;
mod suspended;
mod tidy;
mod tls;
mod tokens;
mod top;
mod trace_format;
mod traces;
mod typed_payloads;
mod url_model;
mod user_rates;
mod users;
mod wasm;
mod watch;
mod world;
mod world_stories;
mod world_waits;

/// A file that no `mod` names is not compiled, and its tests never run.
#[test]
fn every_file_of_tests_is_part_of_its_program() {
    for package in ["core", "host-native", "tests"] {
        let folder = format!("{}/../{package}/tests", env!("CARGO_MANIFEST_DIR"));
        let program = std::fs::read_to_string(format!("{folder}/main.rs")).expect("a program");
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().expect("a name").to_string_lossy();
            let module = format!("mod {name};");
            assert!(
                name == "main" || program.lines().any(|line| line == module),
                "{package}/tests/main.rs has no `{module}`"
            );
        }
    }
}
