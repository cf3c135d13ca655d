//! The sockets of an object, which JavaScript owns: `shim/sockets.js`.

use js_sys::{Array, Float64Array, Promise, Uint8Array};
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// `Sockets` of `shim/sockets.js`.
    #[derive(Debug, Clone)]
    pub type Sockets;

    /// The attachments of the open sockets, byte arrays; `undefined` for a socket that has none.
    #[wasm_bindgen(method, catch)]
    pub(crate) fn attachments(this: &Sockets) -> Result<Array, JsValue>;

    /// Gives those sockets their slots; those with `NO_SLOT` are closed.
    #[wasm_bindgen(method)]
    pub(crate) fn assign(this: &Sockets, slots: &[u32]);

    /// Accepts the socket that waits, with its attachment.
    #[wasm_bindgen(method, catch)]
    pub(crate) fn open(this: &Sockets, slot: u32, attachment: &[u8]) -> Result<(), JsValue>;

    /// Writes attachments, all or none: see [`Attachments`](crate::platform::Attachments).
    #[wasm_bindgen(method, catch)]
    pub(crate) fn save(
        this: &Sockets,
        slots: &[u32],
        lengths: &[u32],
        bytes: &[u8],
    ) -> Result<(), JsValue>;

    /// Runs a function in a transaction: its writes are rolled back when it returns false.
    #[wasm_bindgen(method, catch)]
    pub(crate) fn transaction(this: &Sockets, act: &mut dyn FnMut() -> bool)
    -> Result<(), JsValue>;

    /// Rolls back what the input saved, and drops its sends and closes.
    #[wasm_bindgen(method)]
    pub(crate) fn undo(this: &Sockets);

    /// Calls [`Object::turn`](crate::object::Object::turn), soon.
    #[wasm_bindgen(method)]
    pub(crate) fn soon(this: &Sockets);

    /// Asks another namespace's object: a promise of its answer.
    #[wasm_bindgen(method)]
    pub(crate) fn ask(this: &Sockets, namespace: &str, question: &str) -> Promise;

    /// Registers work for a connection, with the message to send should the work be lost.
    #[wasm_bindgen(method, js_name = workBegan)]
    pub(crate) fn work_began(this: &Sockets, id: u32, slot: u32, lost: Option<&str>);

    /// Unregisters work that has ended.
    #[wasm_bindgen(method, js_name = workEnded)]
    pub(crate) fn work_ended(this: &Sockets, id: u32);

    /// Sets whether messages of a connection wait for its work.
    #[wasm_bindgen(method)]
    pub(crate) fn wait(this: &Sockets, slot: u32, waits: bool);

    /// Sends one text to many, once the input is done.
    #[wasm_bindgen(method)]
    pub(crate) fn send(this: &Sockets, slots: &[u32], text: &str);

    /// Sends bytes to many, once the input is done.
    #[wasm_bindgen(method, js_name = sendBytes)]
    pub(crate) fn send_bytes(this: &Sockets, slots: &[u32], bytes: &[u8]);

    /// Sends a request to a backend, once the input is done: names and values of its headers one
    /// behind the other. [`Object::posted`](crate::object::Object::posted) is told its outcome.
    #[wasm_bindgen(method)]
    pub(crate) fn post(this: &Sockets, number: u32, url: &str, headers: Vec<String>, body: &str);

    /// Sends a question to a backend, in the same way, for an answer within this time.
    /// [`Object::asked`](crate::object::Object::asked) is told its outcome.
    #[wasm_bindgen(method)]
    pub(crate) fn question(
        this: &Sockets,
        number: u64,
        url: &str,
        headers: Vec<String>,
        body: &str,
        time_ms: u32,
    );

    /// Ends the wait of a connecting client: its answer has come.
    #[wasm_bindgen(method)]
    pub(crate) fn answered(this: &Sockets, client: u64);

    /// Closes a socket and empties its slot, once the input is done.
    #[wasm_bindgen(method)]
    pub(crate) fn close(this: &Sockets, slot: u32, code: u16, reason: &str);

    /// The time at which the platform last answered a ping of each slot, in milliseconds since
    /// 1970; 0 is never.
    #[wasm_bindgen(method, js_name = lastHeard)]
    pub(crate) fn last_heard(this: &Sockets) -> Float64Array;

    /// Sets the alarm, in milliseconds since 1970.
    #[wasm_bindgen(method, js_name = wakeAt)]
    pub(crate) fn wake_at(this: &Sockets, at: f64);
}

/// Slot of a socket that [`Sockets::assign`] closes.
pub(crate) const NO_SLOT: u32 = u32::MAX;

/// The bytes of an attachment; empty without one.
pub(crate) fn bytes(attachment: &JsValue) -> Vec<u8> {
    match attachment.dyn_ref::<Uint8Array>() {
        Some(bytes) => bytes.to_vec(),
        None => Vec::new(),
    }
}
