//! Clients that ask an object for a socket.

use roomcast_core::{
    Handshake, Rejection, UnixTime,
    gateway::{Admission, ConnectError},
    hub::Refusal,
};
use roomcast_http::{SUBPROTOCOL, TokenRefusal, Upgrade};
use wasm_bindgen::prelude::*;
use worker::worker_sys::web_sys;

use super::{Object, now, text};
use crate::{http::Head, namespace::upgrades::Upgrading};

#[wasm_bindgen(js_class = Namespace)]
impl Object {
    /// Decides whether a socket may be opened. Returns the subprotocol to choose, if any; or the
    /// response that refuses it; or, where the decision takes time, a number for
    /// [`upgraded`](Self::upgraded), which follows once the sockets report the decision. `client`
    /// is the number under which a backend was asked.
    pub fn upgrade(
        &mut self,
        request: &web_sys::Request,
        client: Option<u64>,
    ) -> Result<JsValue, JsValue> {
        let head = Head::read(request);
        let upgrade = match Upgrade::check(&head.request()) {
            Ok(upgrade) => upgrade,
            Err(problem) => return head.answer(problem).map(Into::into),
        };
        let handshake = match self.admit(&head, client) {
            Ok(handshake) => handshake,
            Err(problem) => return head.refuse(problem).map(Into::into),
        };
        let asked = UnixTime::from_millis(now().as_millis());
        let has_application = self.namespace.has_application();
        let fields = if has_application {
            head.fields()
        } else {
            Vec::default()
        };
        let fields = fields.iter().map(|(name, value)| (&**name, &**value));
        let fields: Vec<_> = fields.collect();
        let upgrading = self.namespace.upgrade(&head.upgrade_request(&fields));
        match upgrading.map_err(text)? {
            Upgrading::Said(said) => self.decided(&head, &upgrade, (handshake, asked), said),
            Upgrading::Waits(number) => {
                self.waiting.insert(number, (handshake, asked));
                Ok(number.into())
            }
        }
    }

    /// Returns the decision under a number, in the form of [`upgrade`](Self::upgrade).
    pub fn upgraded(
        &mut self,
        request: &web_sys::Request,
        number: u64,
    ) -> Result<JsValue, JsValue> {
        let head = Head::read(request);
        let upgrade = match Upgrade::check(&head.request()) {
            Ok(upgrade) => upgrade,
            Err(problem) => return head.answer(problem).map(Into::into),
        };
        let said = self.namespace.take_admission(number);
        let handshake = self.waiting.remove(&number).unwrap_or_default();
        self.decided(&head, &upgrade, handshake, said)
    }

    /// Drops the decision under a number, because its client has gone.
    #[wasm_bindgen(js_name = upgradeDropped)]
    pub fn upgrade_dropped(&mut self, number: u64) {
        self.namespace.drop_admission(number);
        self.waiting.remove(&number);
    }

    /// Opens the socket that was decided about, or refuses it with the response.
    pub fn connect(
        &mut self,
        request: &web_sys::Request,
    ) -> Result<Option<web_sys::Response>, JsValue> {
        let handshake = self.admitted.take().ok_or("nobody is admitted")?;
        match self.namespace.connect(handshake).map_err(text)? {
            Ok(()) => Ok(None),
            Err(ConnectError::Hub(Refusal::Withdrawn)) => {
                let problem = self.tell(TokenRefusal::Withdrawn);
                Head::read(request).refuse(problem).map(Some)
            }
            Err(error) => Head::read(request).refuse(error.into()).map(Some),
        }
    }
}

impl Object {
    /// Prepares for the socket of a client, or refuses it. The application was asked at that time.
    fn decided(
        &mut self,
        head: &Head,
        upgrade: &Upgrade,
        (handshake, asked): (Handshake, UnixTime),
        said: Result<Admission, Rejection>,
    ) -> Result<JsValue, JsValue> {
        let admission = match said {
            Ok(admission) => admission,
            Err(rejection) => return head.refuse(rejection.into()).map(Into::into),
        };
        // Where messages have no envelopes, none can say who the client is.
        if handshake.unidentified && admission.user.is_none() && self.namespace.is_raw() {
            return head
                .refuse(self.tell(TokenRefusal::Missing))
                .map(Into::into);
        }
        let ours = (upgrade.welcome && !self.namespace.is_raw()).then_some(SUBPROTOCOL);
        let chosen = admission.subprotocol.as_deref().or(ours);
        let subprotocol = chosen.map_or(JsValue::UNDEFINED, Into::into);
        let welcome = chosen == Some(SUBPROTOCOL);
        let handshake = admission.handshake(handshake.with_welcome(welcome), asked);
        self.admitted = Some(handshake);
        Ok(subprotocol)
    }
}
