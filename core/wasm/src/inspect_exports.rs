//! The functions of the inspector that JavaScript calls: a line in, JSON out.

use wasm_bindgen::prelude::*;

use crate::inspect::{Comparison, InspectError, Invariants, Missed, Stepper};

/// A journal; see [`Stepper`].
#[wasm_bindgen(js_name = Stepper)]
#[derive(Debug)]
pub struct ExportedStepper(Stepper);

/// See [`Comparison`].
#[wasm_bindgen(js_name = Comparison)]
#[derive(Debug)]
pub struct ExportedComparison(Comparison);

/// See [`Missed`].
#[wasm_bindgen(js_name = Missed)]
#[derive(Debug)]
pub struct ExportedMissed(Missed);

/// See [`Invariants`].
#[wasm_bindgen(js_name = Invariants)]
#[derive(Debug)]
pub struct ExportedInvariants(Invariants);

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

    /// [`Stepper::lines`].
    pub fn lines(&self) -> usize {
        self.0.lines()
    }

    /// [`Stepper::cut_off`].
    #[wasm_bindgen(js_name = cutOff)]
    pub fn cut_off(&self) -> bool {
        self.0.cut_off()
    }

    /// [`Stepper::read`].
    pub fn read(&mut self, lines_max: usize) -> Result<bool, JsValue> {
        self.0.read(lines_max).map_err(thrown)
    }

    /// [`Stepper::deliveries`].
    pub fn deliveries(&self, after: usize) -> Vec<u32> {
        self.0.deliveries(after).to_vec()
    }

    /// [`Stepper::step`].
    pub fn step(&mut self, line: usize) -> Result<String, JsValue> {
        self.0.step(line).map_err(thrown)
    }

    /// [`Stepper::state`].
    pub fn state(&mut self, line: usize) -> Result<String, JsValue> {
        self.0.state(line).map_err(thrown)
    }

    /// [`Stepper::replayed`].
    pub fn replayed(&self) -> usize {
        self.0.replayed()
    }

    /// [`Stepper::skip`].
    pub fn skip(&mut self, line: usize) -> Result<ExportedComparison, JsValue> {
        self.0.skip(line).map(ExportedComparison).map_err(thrown)
    }

    /// [`Stepper::missed`].
    pub fn missed(&self, conn: &str) -> Result<ExportedMissed, JsValue> {
        self.0.missed(conn).map(ExportedMissed).map_err(thrown)
    }

    /// [`Stepper::invariants`].
    pub fn invariants(&self) -> ExportedInvariants {
        ExportedInvariants(self.0.invariants())
    }
}

#[wasm_bindgen(js_class = Comparison)]
impl ExportedComparison {
    /// [`Comparison::read`].
    pub fn read(&mut self, lines_max: usize) -> Result<bool, JsValue> {
        self.0.read(lines_max).map_err(thrown)
    }

    /// [`Comparison::at`].
    pub fn at(&self) -> usize {
        self.0.at()
    }

    /// [`Comparison::differences`].
    pub fn differences(&self) -> String {
        self.0.differences()
    }
}

#[wasm_bindgen(js_class = Missed)]
impl ExportedMissed {
    /// [`Missed::read`].
    pub fn read(&mut self, lines_max: usize) -> Result<bool, JsValue> {
        self.0.read(lines_max).map_err(thrown)
    }

    /// [`Missed::at`].
    pub fn at(&self) -> usize {
        self.0.at()
    }

    /// [`Missed::take`].
    pub fn take(&mut self) -> Vec<u32> {
        self.0.take()
    }
}

#[wasm_bindgen(js_class = Invariants)]
impl ExportedInvariants {
    /// [`Invariants::read`].
    pub fn read(&mut self, lines_max: usize) -> Result<bool, JsValue> {
        self.0.read(lines_max).map_err(thrown)
    }

    /// [`Invariants::at`].
    pub fn at(&self) -> usize {
        self.0.at()
    }

    /// [`Invariants::violations`].
    pub fn violations(&self) -> String {
        self.0.violations()
    }
}
