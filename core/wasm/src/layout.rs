//! Places in memory that JavaScript reads and writes.

/// Places in the memory of the module, with their lengths, each as a number of JavaScript. They are
/// right until the next call.
#[derive(Debug)]
#[repr(C)]
pub struct Layout {
    /// The tape: its address.
    pub tape: f64,
    /// Its numbers.
    pub tape_len: f64,
    /// The time at which [`Namespace::timeout`](crate::Namespace::timeout) is to be called, in
    /// milliseconds; infinite when nothing is pending.
    pub next_timeout: f64,
    /// The answer to an input that has one, JSON: its address.
    pub answer: f64,
    /// Its bytes.
    pub answer_len: f64,
    /// The buffer for the bytes of the next input: its address.
    pub input: f64,
    /// The bytes that it takes.
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
