//! The core for any JavaScript host: inputs come in as bytes, commands go out on a tape.
//!
//! An input crosses the WebAssembly boundary once, in four steps:
//!
//! 1. JavaScript writes the bytes of the input into the buffer that [`Layout`] names, and calls
//!    one function with numbers.
//! 2. The namespace applies the input.
//! 3. It writes the commands as numbers onto its `tape`: ids of connections, and the addresses of
//!    frames in memory. No object is made for a command, and no frame is copied.
//! 4. JavaScript reads the tape and the texts from memory before it gives the next input.
//!
//! Messages of clients are such bytes. Rare inputs are JSON, and are answered in JSON: an
//! [`Input`](roomcast_core::Input) in the form of the journal, a request in the form of the HTTP
//! API. The classes for applications are in `js/`.

// Only JavaScript calls this crate. On other targets it is compiled for tests.
#![cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]

mod answer;
mod api;
mod identity;
mod inspect;
mod layout;
mod namespace;
mod options;
mod tape;

// The exports of two modules: the inspector needs no namespace, and a server no inspector.
#[cfg(all(target_arch = "wasm32", not(feature = "inspect")))]
mod exports;
#[cfg(all(target_arch = "wasm32", feature = "inspect"))]
mod inspect_exports;

pub use self::{
    inspect::{Comparison, InspectError, Invariants, Missed, Stepper},
    layout::Layout,
    namespace::Namespace,
    options::OptionsError,
};
