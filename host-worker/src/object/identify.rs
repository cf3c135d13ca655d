//! Clients of an object by their tokens, and the keys that an issuer publishes.

use roomcast_core::{Handshake, wire::AuthRequest};
use roomcast_http::{Credentials, Problem, TokenRefusal, anonymous_identity};
use wasm_bindgen::prelude::*;
use worker::worker_sys::web_sys;

use super::{Object, now, text};
use crate::{
    http::Head,
    platform::PlatformError,
    settings::Settings,
    tokens::{self, NextKeys, Verified},
};

/// Published keys of tokens. A client with a token waits for them in the shim, which first asks
/// whether the token needs keys, and then for the next step until there is none. Without
/// `ROOMCAST_JWKS` none of these methods is called.
#[wasm_bindgen(js_class = Namespace)]
impl Object {
    /// Loads the copy of the keys from the storage of the object.
    #[wasm_bindgen(js_name = restoreKeys)]
    pub fn restore_keys(&self) -> Result<(), JsValue> {
        let Some(url) = self.tokens.url() else {
            return Ok(());
        };
        if let Some((body, fetched)) = self.copy.load(url).map_err(text)? {
            tokens::restore(now(), body.as_bytes(), fetched);
        }
        Ok(())
    }

    /// True when a request has a token whose key may be among keys that are not fetched yet.
    #[wasm_bindgen(js_name = wantsKeys)]
    pub fn wants_keys(&self, request: &web_sys::Request) -> bool {
        let head = Head::read(request);
        let credentials = self.settings.access.tokens.credentials(&head.request());
        match credentials {
            Ok(Credentials::Token(token)) => self.tokens.check(&token, now()).is_none(),
            Ok(Credentials::Anonymous | Credentials::Unidentified) | Err(_) => false,
        }
    }

    /// True when a message has such a token.
    #[wasm_bindgen(js_name = messageWantsKeys)]
    pub fn message_wants_keys(&mut self, slot: usize, text: &str) -> Result<bool, JsValue> {
        // Messages of an application's own have no verbs.
        let Some(request) = AuthRequest::find(text).filter(|_| !self.namespace.is_raw()) else {
            return Ok(false);
        };
        let Some(token) = request.token.as_deref() else {
            return Ok(false);
        };
        // Verifying a token is work: the rate is checked first.
        let has_rate = self.namespace.has_rate(slot, request.rest.len());
        let has_rate = has_rate.map_err(self::text)?;
        Ok(has_rate && self.tokens.check(token, now()).is_none())
    }

    /// True when the keys are to be fetched again, though nobody waits for them.
    #[wasm_bindgen(getter, js_name = keysAreDue)]
    pub fn keys_are_due(&self) -> bool {
        self.tokens.is_due(now())
    }

    /// The next step: the URL to fetch keys from, an empty text while another object fetches them,
    /// or nothing.
    #[wasm_bindgen(js_name = nextKeys)]
    pub fn next_keys(&self) -> Option<String> {
        match self.tokens.next(now()) {
            NextKeys::Fetch(url) => Some(url.into()),
            NextKeys::Wait => Some(String::new()),
            NextKeys::None => None,
        }
    }

    /// The fetch was answered.
    #[wasm_bindgen(js_name = keysReceived)]
    pub fn keys_received(&self, status: u16, body: &[u8]) -> Result<(), JsValue> {
        let now = now();
        if let Err(fault) = tokens::received(now, status, body) {
            worker::console_warn!("roomcast: ROOMCAST_JWKS: {fault}; the keys from before stay");
            return Ok(());
        }
        let body = String::from_utf8_lossy(body);
        let url = self.tokens.url().unwrap_or_default();
        self.copy.save(url, &body, now).map_err(text)
    }

    /// The fetch had no answer.
    #[wasm_bindgen(js_name = keysFailed)]
    pub fn keys_failed(&self, fault: &str) {
        tokens::failed(now());
        worker::console_warn!("roomcast: ROOMCAST_JWKS: {fault}; the keys from before stay");
    }
}

/// Tokens.
impl Object {
    /// The handshake of a client that asks for a socket, by its token; and whether it has one.
    pub(super) fn identify(&self, head: &Head) -> Result<(Handshake, bool), TokenRefusal> {
        let Settings {
            access, policies, ..
        } = &self.settings;
        let is_asked = self.namespace.asks().is_some();
        let restricted = access.tokens.is_on() || is_asked || !policies.grants().is_empty();
        let handshake = Handshake::new();
        let credentials = access.tokens.credentials(&head.request())?;
        let by_token = matches!(credentials, Credentials::Token(_));
        let handshake = match credentials {
            Credentials::Token(token) => handshake.with_identity(self.verify(&token)?),
            Credentials::Anonymous => handshake.with_identity(anonymous_identity(restricted)),
            // An application may still name a user, who has no other rights.
            Credentials::Unidentified => handshake
                .with_identity(anonymous_identity(restricted))
                .with_unidentified(true),
        };
        Ok((handshake, by_token))
    }

    fn verify(&self, token: &str) -> Verified {
        self.tokens.verify(token, now())
    }

    /// A client says who it is.
    pub(super) fn authenticate(
        &mut self,
        slot: usize,
        request: &AuthRequest<'_>,
    ) -> Result<(), PlatformError> {
        // Verifying a token is work: the rate is checked first.
        let has_rate = self.namespace.has_rate(slot, request.rest.len())?;
        let verified = match request.token.as_deref() {
            Some(token) if has_rate => self.verify(token).map(Some),
            Some(_) => Ok(None),
            None => Err(TokenRefusal::Missing),
        };
        let (identity, unavailable) = match verified {
            Ok(identity) => (identity.map(Box::new), false),
            Err(refusal) => {
                let unavailable = refusal == TokenRefusal::Unavailable;
                self.tell(refusal);
                (None, unavailable)
            }
        };
        if let Some(identity) = &identity
            && self.namespace.has_withdrawn(identity)?
        {
            self.tell(TokenRefusal::Withdrawn);
        }
        let namespace = &mut self.namespace;
        namespace.authenticate(slot, &request.rest, identity, unavailable)
    }

    /// Logs why a token is not taken, which its client does not read.
    pub(super) fn tell(&mut self, refusal: TokenRefusal) -> Problem {
        let notice = self.notices.token_notice(&refusal, now());
        if let Some(notice) = notice {
            worker::console_warn!("roomcast: {notice}");
        }
        Problem::Token(refusal)
    }
}
