//! Fuzz targets: functions that take any bytes, and panic when Roomcast breaks a promise.
//!
//! The package `roomcast-fuzz` gives each of them to libFuzzer. A test of this package gives them
//! their corpus, `fuzz/corpus/NAME`, on stable Rust. A target has one function in the library, one
//! file in `fuzz_targets`, a `[[bin]]` in `fuzz/Cargo.toml`, and a row in [`TARGETS`].

#![forbid(unsafe_code)]

mod decoder;
mod envelope;
mod journal;
mod ops;
mod policy_file;
mod token;
mod upgrade;

pub use self::{
    decoder::decoder, envelope::envelope, journal::journal, ops::ops, policy_file::policy_file,
    token::token, upgrade::upgrade,
};

/// A target: its name, which is also the name of its corpus, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets, by name.
pub const TARGETS: [Target; 7] = [
    ("decoder", decoder),
    ("envelope", envelope),
    ("journal", journal),
    ("ops", ops),
    ("policy_file", policy_file),
    ("token", token),
    ("upgrade", upgrade),
];
