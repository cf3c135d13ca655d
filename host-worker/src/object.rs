//! A namespace in its object: what the shim calls, and the platform below it.

mod ask;
mod identify;
mod upgrade;

use std::{collections::BTreeMap, future::ready, ops::RangeInclusive};

use roomcast_core::{
    CloseCode, ConnId, DisconnectReason, Frame, Handshake, Timestamp, UnixTime, hub::KeyState,
    room::HistoryMessage, wire::AuthRequest,
};
use roomcast_hooks::Outcome;
use roomcast_http::{RefusalNotices, Response};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::{
    State,
    worker_sys::{DurableObjectState, web_sys},
};

use crate::{
    front::{read, settings},
    handle::Remote,
    hooks::{Post, PostKind},
    http::{Head, millis},
    mount::Application,
    namespace::Namespace,
    platform::{Attachments, Kept, Platform, PlatformError, Saved},
    settings::Settings,
    sockets::{self, NO_SLOT, Sockets},
    storage::{PublishedCopy, Storage},
    tokens::TokenGate,
};

/// The namespace of one object.
///
/// Each method that is an input queues its messages in the sockets; the shim sends them after the
/// method has returned. A thrown text means that the platform failed to save: the input has had no
/// effect. Anything else that is thrown is a fault of this module, which must not be used again.
#[wasm_bindgen(js_name = Namespace)]
#[derive(Debug)]
pub struct Object {
    namespace: Namespace<Edge>,
    settings: Settings,
    tokens: TokenGate,
    /// The copy of published keys.
    copy: PublishedCopy,
    notices: RefusalNotices,
    /// The handshake of the client that is about to be connected.
    admitted: Option<Handshake>,
    /// Handshakes of clients that wait for the application's decision, by their numbers, with the
    /// times of their requests.
    waiting: BTreeMap<u64, (Handshake, UnixTime)>,
}

#[wasm_bindgen(js_class = Namespace)]
impl Object {
    /// Creates a namespace that sleeps. `random` is 64 random bits.
    #[wasm_bindgen(constructor)]
    pub fn new(
        ctx: DurableObjectState,
        env: &JsValue,
        sockets: Sockets,
        name: String,
        random: u64,
    ) -> Result<Self, JsValue> {
        let settings = settings(env).map_err(|fault| JsValue::from(fault.to_string()))?;
        let epoch = format!("{random:016x}");
        let application = Application::of(&name);
        let storage = State::from(ctx).storage();
        let edge = Edge {
            name: name.clone(),
            storage: Storage::new(storage.sql(), epoch),
            sockets,
            slots: Vec::new(),
        };
        let (limits, policies) = (settings.limits.clone(), settings.policies.clone());
        let has_tokens = settings.access.tokens.is_on();
        let backends = settings.backends.clone();
        let namespace = Namespace::new(
            edge,
            limits,
            policies,
            &name,
            application,
            has_tokens,
            backends,
        );
        let tokens = TokenGate::new(&settings.access.tokens);
        let tokens = tokens.map_err(|fault| JsValue::from(fault.to_string()))?;
        Ok(Self {
            namespace,
            settings,
            tokens,
            copy: PublishedCopy::new(storage.sql()),
            notices: RefusalNotices::default(),
            admitted: None,
            waiting: BTreeMap::new(),
        })
    }

    /// Wakes the namespace: gives every open socket its slot.
    pub fn wake(&mut self) -> Result<(), JsValue> {
        self.namespace.wake().map_err(text)
    }

    /// Answers a request of the API.
    pub fn call(
        &mut self,
        request: &web_sys::Request,
        body: &[u8],
    ) -> Result<web_sys::Response, JsValue> {
        let head = Head::read(request);
        let answer = match read(&head, &self.settings, body) {
            Ok(call) => self.namespace.call(&call).map_err(text)?,
            Err(problem) => Err(problem),
        };
        head.answer(answer.map_or_else(Response::from, Response::from))
    }

    /// Processes a text message.
    pub fn text(&mut self, slot: usize, text: &str) -> Result<(), JsValue> {
        if self.settings.access.tokens.is_on()
            && let Some(request) = AuthRequest::find(text)
            && self.namespace.wake().is_ok()
            && !self.namespace.is_raw()
        {
            return self.authenticate(slot, &request).map_err(self::text);
        }
        let received = self.namespace.receive(slot, Frame::Text(text));
        received.map_err(self::text)
    }

    /// Processes a binary message.
    pub fn binary(&mut self, slot: usize, bytes: &[u8]) -> Result<(), JsValue> {
        let received = self.namespace.receive(slot, Frame::Binary(bytes));
        received.map_err(text)
    }

    /// True when there is an application.
    #[wasm_bindgen(getter, js_name = hasApplication)]
    pub fn has_application(&self) -> bool {
        self.namespace.has_application()
    }

    /// The longest wait for the application's decision on a client, in milliseconds.
    #[wasm_bindgen(getter, js_name = admissionMs)]
    pub fn admission_ms(&self) -> u32 {
        self.namespace.admission_ms()
    }

    /// True when messages are the application's own; known only while the namespace is awake.
    #[wasm_bindgen(getter, js_name = isRaw)]
    pub fn is_raw(&self) -> bool {
        self.namespace.is_raw()
    }

    /// The most bytes of a message.
    #[wasm_bindgen(getter, js_name = messageBytesMax)]
    pub fn message_bytes_max(&self) -> usize {
        self.settings.limits.message_bytes
    }

    /// Processes the end of a socket with this code; its slot becomes free.
    pub fn disconnect(&mut self, slot: usize, code: u16) -> Result<(), JsValue> {
        let reason = match code {
            1006 => DisconnectReason::Lost,
            code => DisconnectReason::Client(CloseCode::new(code)),
        };
        self.namespace.disconnect(slot, reason).map_err(text)
    }

    /// The most bytes that are sent to a socket between two signs of life; 0 means no limit.
    #[wasm_bindgen(getter, js_name = outboxBytesMax)]
    pub fn outbox_bytes_max(&self) -> usize {
        self.settings.outbox_bytes_max.unwrap_or_default()
    }

    /// Closes a socket that was sent more than that.
    #[wasm_bindgen(js_name = tooSlow)]
    pub fn too_slow(&mut self, slot: usize) -> Result<(), JsValue> {
        self.namespace.too_slow(slot).map_err(text)
    }

    /// Processes the answer to a request to a backend, or the reason why there is none.
    pub fn posted(
        &mut self,
        number: u32,
        status: u16,
        retry_after: Option<String>,
        fault: Option<String>,
    ) -> Result<(), JsValue> {
        let answered = Outcome::Answered {
            status,
            retry_after: retry_after.as_deref(),
        };
        let outcome = fault.as_deref().map_or(Ok(answered), Err);
        self.namespace.posted(number, outcome).map_err(text)
    }

    /// Processes one pending piece of work; returns true when there is more.
    pub fn turn(&mut self) -> Result<bool, JsValue> {
        self.namespace.turn().map_err(text)
    }

    /// Processes the alarm.
    pub fn alarm(&mut self) -> Result<(), JsValue> {
        self.namespace.timeout().map_err(text)
    }
}

/// Methods that only an application needs.
#[cfg(feature = "applications")]
#[wasm_bindgen(js_class = Namespace)]
impl Object {
    /// Processes a message over which an earlier instance of the module trapped.
    pub fn failed(&mut self, slot: usize, text: &str) -> Result<(), JsValue> {
        self.namespace.failed(slot, text).map_err(self::text)
    }

    /// Answers a request of another namespace.
    pub fn ask(&mut self, question: &str) -> Result<String, JsValue> {
        let ask = serde_json::from_str(question).map_err(|fault| fault.to_string())?;
        let answer = self.namespace.ask(ask).map_err(text)?;
        Ok(roomcast_core::ask::wire::write(answer).map_err(|fault| fault.to_string())?)
    }

    /// Processes an alarm on which an earlier instance of the module trapped.
    #[wasm_bindgen(js_name = skipDue)]
    pub fn skip_due(&mut self) -> Result<(), JsValue> {
        self.namespace.skip_due().map_err(text)
    }
}

fn now() -> Timestamp {
    millis(js_sys::Date::now())
}

fn text(fault: PlatformError) -> JsValue {
    fault.to_string().into()
}

/// The platform: storage and sockets of one object.
#[derive(Debug)]
struct Edge {
    /// The name of the namespace.
    name: String,
    storage: Storage,
    sockets: Sockets,
    /// Reused.
    slots: Vec<u32>,
}

#[allow(clippy::cast_possible_truncation)] // 20 bits
const fn slot(slot: usize) -> u32 {
    slot as u32
}

/// A fault of the platform in doing something.
fn fault(doing: &'static str) -> impl Fn(JsValue) -> PlatformError {
    move |fault| PlatformError::new(doing, format!("{fault:?}"))
}

impl Platform for Edge {
    fn call(&self) -> impl Fn() + 'static {
        let sockets = self.sockets.clone();
        move || sockets.soon()
    }

    fn remote(&self) -> Remote {
        if !cfg!(feature = "applications") {
            return Box::new(|_, _| Box::pin(ready(Err(String::new())))); // never called
        }
        let sockets = self.sockets.clone();
        Box::new(move |namespace, question| {
            let answer = JsFuture::from(sockets.ask(namespace, &question));
            Box::pin(async move {
                let answer = answer.await.map_err(|fault| format!("{fault:?}"))?;
                let text = answer.as_string();
                text.ok_or_else(|| "its object answered nothing".to_owned())
            })
        })
    }

    fn now(&self) -> Timestamp {
        now()
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 32 bits
    fn random(&self) -> u64 {
        let half = || u64::from((js_sys::Math::random() * f64::from(u32::MAX)) as u32);
        half() << 32 | half()
    }

    fn log(&self, text: &str) {
        worker::console_error!("roomcast: {}: {text}", self.name);
    }

    fn load(&mut self) -> Result<Saved, PlatformError> {
        let now = self.now();
        self.storage.load(now)
    }

    fn save_serial(&mut self, next: u64) -> Result<(), PlatformError> {
        self.storage.save_serial(next)
    }

    fn save_withdrawn(&mut self, user: &str, not_before_s: u64) -> Result<(), PlatformError> {
        self.storage.save_withdrawn(user, not_before_s)
    }

    fn save_not_before(&mut self, not_before_s: u64) -> Result<(), PlatformError> {
        self.storage.save_not_before(not_before_s)
    }

    fn save_key(
        &mut self,
        key: &KeyState,
        now: Timestamp,
        keys_max: usize,
    ) -> Result<(), PlatformError> {
        self.storage.save_key(key, now, keys_max)
    }

    fn save_kept(&mut self, kept: &Kept<'_>) -> Result<(), PlatformError> {
        if kept.is_one_statement() {
            return self.storage.save_kept(kept);
        }
        let mut saved = Ok(());
        let done = self.sockets.transaction(&mut || {
            saved = self.storage.save_kept(kept);
            saved.is_ok()
        });
        saved?;
        done.map_err(fault("the storage cannot be written"))
    }

    fn history(
        &mut self,
        room: &str,
        offsets: RangeInclusive<u64>,
    ) -> Result<Vec<HistoryMessage>, PlatformError> {
        self.storage.history(room, offsets)
    }

    fn attachments(&mut self) -> Result<Vec<Vec<u8>>, PlatformError> {
        let attachments = self.sockets.attachments();
        let attachments = attachments.map_err(fault("attachments cannot be read"))?;
        Ok(attachments.iter().map(|one| sockets::bytes(&one)).collect())
    }

    fn assign(&mut self, slots: &[Option<usize>]) {
        let slots = slots.iter().map(|given| given.map_or(NO_SLOT, slot));
        self.sockets.assign(&slots.collect::<Vec<_>>());
    }

    fn open(&mut self, at: usize, attachment: &[u8]) -> Result<(), PlatformError> {
        let opened = self.sockets.open(slot(at), attachment);
        opened.map_err(fault("the socket cannot be accepted"))
    }

    fn save(&mut self, attachments: &Attachments) -> Result<(), PlatformError> {
        let Attachments { slots, lengths, .. } = attachments;
        let saved = self.sockets.save(slots, lengths, &attachments.bytes);
        saved.map_err(fault("an attachment cannot be written"))
    }

    fn last_heard(&self) -> Vec<(usize, Timestamp)> {
        let times = self.sockets.last_heard().to_vec();
        let heard = times.iter().enumerate().filter(|(_, ms)| **ms > 0.0);
        heard.map(|(at, &ms)| (at, millis(ms))).collect()
    }

    fn wake_at(&mut self, at: Timestamp) {
        self.sockets.wake_at(at.as_millis() as f64);
    }

    fn undo(&mut self) {
        self.sockets.undo();
    }

    fn work_began(&mut self, id: u32, at: usize, lost: Option<&str>) {
        self.sockets.work_began(id, slot(at), lost);
    }

    fn work_ended(&mut self, id: u32) {
        self.sockets.work_ended(id);
    }

    fn wait(&mut self, at: usize, waits: bool) {
        self.sockets.wait(slot(at), waits);
    }

    fn send(&mut self, to: &[ConnId], frame: Frame<'_>) {
        self.slots.clear();
        self.slots.extend(to.iter().map(|conn| slot(conn.slot())));
        match frame {
            Frame::Text(text) => self.sockets.send(&self.slots, text),
            Frame::Binary(bytes) => self.sockets.send_bytes(&self.slots, bytes),
        }
    }

    fn post(&mut self, post: Post) {
        let Post {
            kind,
            url,
            headers,
            body,
        } = post;
        match kind {
            PostKind::Tell(number) => self.sockets.post(number, &url, headers, &body),
            PostKind::Ask(number, time) => {
                let time_ms = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
                let sockets = &self.sockets;
                sockets.question(number, &url, headers, &body, time_ms.max(1));
            }
        }
    }

    fn answered(&mut self, client: u64) {
        self.sockets.answered(client);
    }

    fn close(&mut self, at: usize, code: CloseCode, reason: &str) {
        self.sockets.close(slot(at), code.as_u16(), reason);
    }
}
