//! The core in any JavaScript host: inputs come in as bytes, commands go out on a tape.
//!
//! An input crosses the border of WebAssembly once, in four steps:
//!
//! 1. JavaScript writes the bytes of the input into the buffer that [`Layout`] names, and calls
//!    one function with numbers.
//! 2. The namespace applies the input.
//! 3. It writes the commands as numbers onto its `tape`: ids of connections, and where in memory
//!    the text of a frame is. No object is made for a command, and no frame is copied.
//! 4. JavaScript reads tape and texts out of the memory before it gives the next input.
//!
//! Messages of clients are such bytes. What is rare comes and is answered as JSON: an
//! [`Input`](roomcast_core::Input) as a journal has it, a request as the HTTP API has it. The
//! classes that applications use are in `js/`.

// Called from JavaScript alone: what is for every target is compiled to be tested.
#![cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]

mod answer;
mod api;
mod identity;
mod inspect;
mod layout;
mod namespace;
mod options;
mod tape;

// Of two modules: who steps through journals needs no namespace, and the other way round.
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
