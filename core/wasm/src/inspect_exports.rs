//! The functions of the inspector that JavaScript calls: a line in, JSON out.

use wasm_bindgen::prelude::*;

use crate::inspect::{InspectError, Stepper};

/// A journal; see [`Stepper`].
#[wasm_bindgen(js_name = Stepper)]
#[derive(Debug)]
pub struct ExportedStepper(Stepper);

#[allow(clippy::needless_pass_by_value)] // as `map_err` gives it
fn thrown(fault: InspectError) -> JsValue {
    JsValue::from(fault.to_string())
}

#[wasm_bindgen(js_class = Stepper)]
impl ExportedStepper {
    /// [`Stepper::open`].
    #[wasm_bindgen(constructor)]
    pub fn new(journal: Vec<u8>) -> Result<Self, JsValue> {
        Stepper::open(journal).map(Self).map_err(thrown)
    }

    /// [`Stepper::summary`].
    pub fn summary(&self) -> String {
        self.0.summary()
    }

    /// [`Stepper::step`].
    pub fn step(&mut self, line: usize) -> Result<String, JsValue> {
        self.0.step(line).map_err(thrown)
    }

    /// [`Stepper::state`].
    pub fn state(&mut self, line: usize) -> Result<String, JsValue> {
        self.0.state(line).map_err(thrown)
    }

    /// [`Stepper::skip`].
    pub fn skip(&mut self, line: usize) -> Result<String, JsValue> {
        self.0.skip(line).map_err(thrown)
    }
}
