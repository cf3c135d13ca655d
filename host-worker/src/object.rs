//! A namespace in its object: what the shim calls, and the platform below it.

use roomcast_core::{
    CloseCode, ConnId, DisconnectReason, Frame, Handshake, KeyState, Timestamp,
    http::{Problem, Refusal, SUBPROTOCOL, Upgrade},
};
use wasm_bindgen::prelude::*;
use worker::{
    State,
    worker_sys::{DurableObjectState, web_sys},
};

use crate::{
    front::{read, settings, thrown},
    http::{Head, refuse},
    namespace::Namespace,
    platform::{Attachments, Fault, Platform, Saved},
    settings::Settings,
    sockets::{self, NO_SLOT, Sockets},
    storage::Storage,
};

/// The namespace of one object.
///
/// Each method that is an input leaves with the sockets what is to be sent, for the shim to do when
/// it has returned. A text that is thrown says that the platform failed to save: nothing has
/// happened. Anything else that is thrown is a fault of this module, which must not be used any
/// more.
#[wasm_bindgen(js_name = Namespace)]
#[derive(Debug)]
pub struct Object {
    namespace: Namespace<Edge>,
    settings: Settings,
}

#[wasm_bindgen(js_class = Namespace)]
impl Object {
    /// A namespace that sleeps. `random` is 64 random bits.
    #[wasm_bindgen(constructor)]
    pub fn new(
        ctx: DurableObjectState,
        env: &JsValue,
        sockets: Sockets,
        random: u64,
    ) -> Result<Self, JsValue> {
        let settings = settings(env).map_err(|fault| JsValue::from(fault.to_string()))?;
        let epoch = format!("{random:016x}");
        let edge = Edge {
            storage: Storage::new(State::from(ctx).storage().sql(), epoch),
            sockets,
            slots: Vec::new(),
        };
        let namespace = Namespace::new(edge, settings.limits.clone());
        Ok(Self {
            namespace,
            settings,
        })
    }

    /// Wakes the namespace: gives every open socket its slot.
    pub fn wake(&mut self) -> Result<(), JsValue> {
        self.namespace.wake().map_err(text)
    }

    /// Opens the socket that waits, or refuses it with the response.
    pub fn connect(
        &mut self,
        request: &web_sys::Request,
    ) -> Result<Option<web_sys::Response>, JsValue> {
        let head = Head::read(request);
        let upgrade = match Upgrade::check(&head.request()) {
            Ok(upgrade) => upgrade,
            Err(problem) => return head.answer(problem.into()).map(Some).map_err(thrown),
        };
        let handshake = Handshake::new().with_welcome(upgrade.welcome);
        if self.namespace.connect(handshake).map_err(text)?.is_ok() {
            return Ok(None);
        }
        let refusal = Refusal::overloaded(
            "too many connections in this namespace: raise ROOMCAST_CONNECTIONS_MAX, or try later",
        );
        let refused = if upgrade.refuse_in_band {
            refuse(&refusal, upgrade)
        } else {
            head.answer(Problem::from(refusal).into())
        };
        refused.map(Some).map_err(thrown)
    }

    /// The subprotocol to choose for a request, if any.
    pub fn subprotocol(&self, request: &web_sys::Request) -> Option<String> {
        let upgrade = Upgrade::check(&Head::read(request).request());
        let welcome = upgrade.is_ok_and(|upgrade| upgrade.welcome);
        welcome.then(|| SUBPROTOCOL.to_owned())
    }

    /// Answers a request of the API.
    pub fn call(
        &mut self,
        request: &web_sys::Request,
        body: &[u8],
    ) -> Result<web_sys::Response, JsValue> {
        let head = Head::read(request);
        let answer = match read(&head, &self.settings, body) {
            Ok(call) => self.namespace.call(call).map_err(text)?,
            Err(problem) => Err(problem),
        };
        let response = match answer {
            Ok(answer) => answer.into(),
            Err(problem) => problem.into(),
        };
        head.answer(response).map_err(thrown)
    }

    /// A text message arrived.
    pub fn text(&mut self, slot: usize, text: &str) {
        self.namespace.receive(slot, Frame::Text(text));
    }

    /// A binary message arrived.
    pub fn binary(&mut self, slot: usize, bytes: &[u8]) {
        self.namespace.receive(slot, Frame::Binary(bytes));
    }

    /// Bytes that a message may have.
    #[wasm_bindgen(getter, js_name = messageBytesMax)]
    pub fn message_bytes_max(&self) -> usize {
        self.settings.limits.message_bytes
    }

    /// A socket ended with this code; it leaves its slot.
    pub fn disconnect(&mut self, slot: usize, code: u16) -> Result<(), JsValue> {
        let reason = match code {
            1006 => DisconnectReason::Lost,
            code => DisconnectReason::Client(CloseCode::new(code)),
        };
        self.namespace.disconnect(slot, reason).map_err(text)
    }

    /// Bytes that may be sent to a socket that nothing is heard from; 0 is any number.
    #[wasm_bindgen(getter, js_name = outboxBytesMax)]
    pub fn outbox_bytes_max(&self) -> usize {
        self.settings.outbox_bytes_max.unwrap_or_default()
    }

    /// A socket was sent more than that.
    #[wasm_bindgen(js_name = tooSlow)]
    pub fn too_slow(&mut self, slot: usize) -> Result<(), JsValue> {
        self.namespace.too_slow(slot).map_err(text)
    }

    /// The alarm rang.
    pub fn alarm(&mut self) -> Result<(), JsValue> {
        self.namespace.timeout().map_err(text)
    }
}

fn text(fault: Fault) -> JsValue {
    fault.to_string().into()
}

/// The platform: storage and sockets of one object.
#[derive(Debug)]
struct Edge {
    storage: Storage,
    sockets: Sockets,
    /// Reused.
    slots: Vec<u32>,
}

#[allow(clippy::cast_possible_truncation)] // 20 bits
const fn slot(slot: usize) -> u32 {
    slot as u32
}

/// A time of the platform's clock: whole milliseconds since 1970.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
const fn millis(ms: f64) -> Timestamp {
    Timestamp::from_millis(ms as u64)
}

fn saving(fault: &JsValue) -> Fault {
    Fault::new("an attachment cannot be written", format!("{fault:?}"))
}

impl Platform for Edge {
    fn now(&self) -> Timestamp {
        millis(js_sys::Date::now())
    }

    fn log(&self, text: &str) {
        worker::console_error!("roomcast: {text}");
    }

    fn load(&mut self) -> Result<Saved, Fault> {
        let now = self.now();
        self.storage.load(now)
    }

    fn save_serial(&mut self, next: u64) -> Result<(), Fault> {
        self.storage.save_serial(next)
    }

    fn save_key(&mut self, key: &KeyState, now: Timestamp, keys_max: usize) -> Result<(), Fault> {
        self.storage.save_key(key, now, keys_max)
    }

    fn attachments(&mut self) -> Result<Vec<Vec<u8>>, Fault> {
        let attachments = self.sockets.attachments();
        let fault = |fault| Fault::new("attachments cannot be read", format!("{fault:?}"));
        let attachments = attachments.map_err(fault)?;
        Ok(attachments.iter().map(|one| sockets::bytes(&one)).collect())
    }

    fn seat(&mut self, slots: &[Option<usize>]) {
        let slots: Vec<u32> = slots
            .iter()
            .map(|seat| seat.map_or(NO_SLOT, slot))
            .collect();
        self.sockets.seat(&slots);
    }

    fn open(&mut self, at: usize, attachment: &[u8]) -> Result<(), Fault> {
        let opened = self.sockets.open(slot(at), attachment);
        opened.map_err(|fault| Fault::new("the socket cannot be accepted", format!("{fault:?}")))
    }

    fn save(&mut self, attachments: &Attachments) -> Result<(), Fault> {
        let Attachments {
            slots,
            lengths,
            bytes,
        } = attachments;
        let saved = self.sockets.save(slots, lengths, bytes);
        saved.map_err(|fault| saving(&fault))
    }

    fn signs_of_life(&self) -> Vec<(usize, Timestamp)> {
        let times = self.sockets.signs_of_life().to_vec();
        let heard = times.iter().enumerate().filter(|(_, ms)| **ms > 0.0);
        heard.map(|(at, &ms)| (at, millis(ms))).collect()
    }

    fn wake_at(&mut self, at: Timestamp) {
        self.sockets.wake_at(at.as_millis() as f64);
    }

    fn send(&mut self, to: &[ConnId], text: &str) {
        self.slots.clear();
        self.slots.extend(to.iter().map(|conn| slot(conn.slot())));
        self.sockets.send(&self.slots, text);
    }

    fn close(&mut self, at: usize, code: CloseCode, reason: &str) {
        self.sockets.close(slot(at), code.as_u16(), reason);
    }
}
