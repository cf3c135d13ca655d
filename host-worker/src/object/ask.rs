//! The backend that is asked who a client is, before its socket is opened.

use roomcast_core::Handshake;
use roomcast_hooks::{AskOutcome, AskSettings};
use roomcast_http::{Problem, Upgrade};
use wasm_bindgen::prelude::*;
use worker::worker_sys::web_sys;

use super::Object;
use crate::http::Head;

#[wasm_bindgen(js_class = Namespace)]
impl Object {
    /// True when a backend is asked for connections: then each is first [asked for](Self::ask_who).
    #[wasm_bindgen(getter, js_name = asksConnect)]
    pub fn asks_connect(&self) -> bool {
        self.namespace.asks().is_some_and(|it| it.on.connect)
    }

    /// Asks the backend who a connecting client is, where the settings want that. Returns the
    /// number for [`upgrade`](Self::upgrade), which follows once the sockets report the answer.
    #[wasm_bindgen(js_name = askWho)]
    pub fn ask_who(&mut self, request: &web_sys::Request) -> Option<u64> {
        let head = Head::read(request);
        Upgrade::check(&head.request()).ok()?;
        let (handshake, by_token) = self.identify(&head).ok()?;
        let asked = |settings: &&AskSettings| settings.asks_connect(by_token);
        let names = &self.namespace.asks().filter(asked)?.headers;
        let names = names.iter().map(|name| name.as_str());
        let fields = names.filter_map(|name| Some((name.to_owned(), head.field(name)?)));
        let fields = fields.collect();
        let user = handshake.identity.user.as_deref();
        self.namespace.ask_client(user, fields)
    }

    /// Processes the answer to a question, or the fault in its place; `is_late` means that the time
    /// was up. The platform reports the same fault for a backend that cannot be reached and for one
    /// that disconnects without an answer, which a client may be able to provoke.
    pub fn asked(
        &mut self,
        number: u64,
        status: u16,
        body: &[u8],
        fault: Option<String>,
        is_late: bool,
    ) {
        let outcome = match &fault {
            None => AskOutcome::Answered { status, body },
            Some(_) if is_late => AskOutcome::Failed,
            Some(_) => AskOutcome::Broken,
        };
        self.namespace.asked(number, outcome, fault.as_deref());
    }
}

impl Object {
    /// Returns the handshake of a client that asks for a socket, by its token and the backend's
    /// answer.
    pub(super) fn admit(&mut self, head: &Head, client: Option<u64>) -> Result<Handshake, Problem> {
        let identified = self.identify(head);
        let (handshake, by_token) = identified.map_err(|refusal| self.tell(refusal))?;
        let asked = |settings: &AskSettings| settings.asks_connect(by_token);
        if !self.namespace.asks().is_some_and(asked) {
            return Ok(handshake);
        }
        self.namespace.identify(handshake, client)
    }
}
