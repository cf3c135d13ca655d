//! The functions that JavaScript calls: numbers in, numbers out.

use wasm_bindgen::prelude::*;

use crate::{layout::address, namespace::Namespace};

/// A namespace; `js/namespace.js` is its class for applications.
#[wasm_bindgen(js_name = Namespace)]
#[derive(Debug)]
pub struct Exported(Namespace);

#[wasm_bindgen(js_class = Namespace)]
impl Exported {
    /// A namespace with options in JSON.
    #[wasm_bindgen(constructor)]
    pub fn new(options: &str) -> Result<Self, JsValue> {
        let namespace = Namespace::new(options);
        namespace
            .map(Self)
            .map_err(|fault| JsValue::from(fault.to_string()))
    }

    /// The address of the [`Layout`](crate::Layout).
    pub fn layout(&self) -> f64 {
        address(self.0.layout())
    }

    /// [`Namespace::reserve`].
    pub fn reserve(&mut self, bytes: usize) {
        self.0.reserve(bytes);
    }

    /// [`Namespace::receive`].
    pub fn receive(
        &mut self,
        conn: f64,
        bytes: usize,
        is_binary: bool,
        tokens: bool,
        now: f64,
    ) -> u32 {
        self.0.receive(conn, bytes, is_binary, tokens, now) as u32
    }

    /// [`Namespace::note_activity`].
    #[wasm_bindgen(js_name = noteActivity)]
    pub fn note_activity(&mut self, conn: f64, now: f64) -> u32 {
        self.0.note_activity(conn, now) as u32
    }

    /// [`Namespace::disconnect`].
    pub fn disconnect(&mut self, conn: f64, code: u16, now: f64) -> u32 {
        self.0.disconnect(conn, code, now) as u32
    }

    /// [`Namespace::timeout`].
    pub fn timeout(&mut self, now: f64) {
        self.0.timeout(now);
    }

    /// [`Namespace::connect`].
    pub fn connect(&mut self, bytes: usize, now: f64) {
        self.0.connect(bytes, now);
    }

    /// [`Namespace::authenticate`].
    pub fn authenticate(&mut self, bytes: usize, now: f64) {
        self.0.authenticate(bytes, now);
    }

    /// [`Namespace::apply`].
    pub fn apply(&mut self, bytes: usize, now: f64) {
        self.0.apply(bytes, now);
    }

    /// [`Namespace::ask`].
    pub fn ask(&mut self, bytes: usize, now: f64) {
        self.0.ask(bytes, now);
    }

    /// [`Namespace::api`].
    pub fn api(&mut self, bytes: usize, now: f64) {
        self.0.api(bytes, now);
    }
}
