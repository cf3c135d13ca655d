//! Buffers in memory that JavaScript reads and writes.

/// Addresses and lengths of buffers in the memory of the module, each as a number of JavaScript.
/// They are valid until the next call.
#[derive(Debug)]
#[repr(C)]
pub struct Layout {
    /// The address of the tape.
    pub tape: f64,
    /// The count of its numbers.
    pub tape_len: f64,
    /// The time at which [`Namespace::timeout`](crate::Namespace::timeout) is to be called, in
    /// milliseconds; infinite when nothing is pending.
    pub next_timeout: f64,
    /// The address of the answer in JSON, for an input that has one.
    pub answer: f64,
    /// The bytes of the answer.
    pub answer_len: f64,
    /// The address of the buffer for the next input.
    pub input: f64,
    /// The bytes that fit into it.
    pub input_len: f64,
}

impl Layout {
    pub(crate) const fn new() -> Self {
        Self {
            tape: 0.0,
            tape_len: 0.0,
            next_timeout: f64::INFINITY,
            answer: 0.0,
            answer_len: 0.0,
            input: 0.0,
            input_len: 0.0,
        }
    }
}

/// The address of something in memory. Addresses of WebAssembly have 32 bits.
pub(crate) fn address<T>(start: *const T) -> f64 {
    start.addr() as f64
}
