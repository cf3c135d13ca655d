//! `roomcast-worker-bindgen INPUT.wasm DIRECTORY NAME`: writes `DIRECTORY/NAME_bg.wasm`, and
//! `DIRECTORY/NAME.js`, which instantiates it and makes its classes JavaScript's.

use std::{env, path::PathBuf};

use anyhow::{Context, bail};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [input, directory, name] = arguments.as_slice() else {
        bail!("usage: roomcast-worker-bindgen INPUT.wasm DIRECTORY NAME");
    };
    Bindgen::new()
        .input_path(PathBuf::from(input))
        .out_name(name)
        // Instantiated by its caller, from a module that the platform has compiled.
        .web(true)?
        .omit_default_module_path(true)
        .typescript(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        // A module that trapped is instantiated again; handles of the old instance are detected.
        .reset_state_function(true)
        .generate(directory)
        .with_context(|| {
            format!(
                "{input} cannot be bound: `wasm-bindgen` and `wasm-bindgen-cli-support` must have \
                 one version in Cargo.lock"
            )
        })
}
