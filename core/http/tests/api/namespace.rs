//! A namespace on a bare hub, and the requests that it is asked.

use std::borrow::Cow;

use roomcast_core::{
    App, Applied, Config, ConnId, Handshake, Hub, Input, Limits, Outbox, Policies, Timestamp,
    ask::{AskError, Asked},
    wire::Coded,
};
use roomcast_http::{Access, ApiRequest, Headers, Problem, Request, Response};

pub(crate) const NOW: Timestamp = Timestamp::from_millis(7);

pub(crate) struct Fields<'a>(pub(crate) &'a [(&'static str, &'a str)]);

impl Headers for Fields<'_> {
    fn values(&self, name: &'static str) -> impl Iterator<Item = Cow<'_, str>> {
        let values = self.0.iter().filter(move |(other, _)| *other == name);
        values.map(|&(_, value)| value.into())
    }

    fn names(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.0.iter().map(|&(name, _)| name.into())
    }
}

/// A namespace that comes and goes as on a server with many of them.
pub(crate) struct Namespace {
    pub(crate) app: Option<App<()>>,
    pub(crate) permits: usize,
    pub(crate) out: Outbox,
}

/// An empty namespace, of times that begin a second after 1970.
pub(crate) fn empty(policies: Policies) -> App<()> {
    let config = Config::new("e").with_unix_zero_ms(1000);
    App::new(config.with_policies(policies), ())
}

impl Namespace {
    pub(crate) fn with(connections: usize) -> Self {
        let mut namespace = Self::gone(0);
        namespace.app = Some(empty(Policies::default()));
        for at in 0..connections {
            let user = if at % 2 == 0 { "ann" } else { "bob" };
            namespace.connect(Handshake::new().with_user(user));
        }
        namespace
    }

    pub(crate) fn gone(permits: usize) -> Self {
        let (app, out) = (None, Outbox::new());
        Self { app, permits, out }
    }

    pub(crate) fn connect(&mut self, handshake: Handshake) -> ConnId {
        match self.apply(&Input::Connect(handshake)) {
            Applied::Connected(Ok(conn)) => conn,
            refused => panic!("{refused:?}"),
        }
    }

    pub(crate) fn answer(
        &mut self,
        request: &str,
        headers: &[(&'static str, &str)],
        body: &str,
    ) -> Result<Response, Problem> {
        let (method, target) = request.split_once(' ').expect("METHOD TARGET");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let request = Request {
            method,
            path,
            query,
            headers: Fields(headers),
            local: true,
            other_user: false,
            loopback_listener: false,
            http_1_0: false,
            admin_elsewhere: false,
        };
        let mut access = Access::default();
        assert_eq!(access.route(&request).err(), None);
        access.namespaces = Some(vec!["ns".to_owned()]);
        let call = match ApiRequest::read(&request, &access, &Limits::default())? {
            ApiRequest::Call(call) => call,
            ApiRequest::Send(head) => {
                assert_eq!(head.namespace(), "ns");
                head.with_body(body.as_bytes())?
            }
        };
        assert_eq!(call.namespace(), "ns");
        let call = may_travel(call);
        if self.app.is_none() && call.ask().is_remembered(&Policies::default()) {
            if self.permits == 0 {
                return Err(AskError::TooManyNamespaces { limit: 0 }.into());
            }
            self.app = Some(empty(Policies::default()));
        }
        Ok(call.run(NOW, self)?.into())
    }

    /// The body of a good answer, or the code of a problem.
    pub(crate) fn told(&mut self, request: &str, body: &str) -> String {
        match self.answer(request, &[], body) {
            Ok(response) => {
                assert_eq!(response.status, 200);
                assert_eq!(response.headers, [("content-type", "application/json")]);
                String::from_utf8(response.body.into_owned()).expect("JSON")
            }
            Err(problem) => problem.code().as_str().to_owned(),
        }
    }
}

fn may_travel<T: Send + 'static>(value: T) -> T {
    value
}

impl Asked for Namespace {
    fn hub<R>(&self, question: impl FnOnce(&Hub) -> R) -> R {
        match &self.app {
            Some(app) => question(app.hub()),
            None => question(empty(Policies::default()).hub()),
        }
    }

    fn apply(&mut self, input: &Input<'_>) -> Applied {
        let mut nobody = empty(Policies::default());
        let app = self.app.as_mut().unwrap_or(&mut nobody);
        app.apply(NOW, input, &mut self.out)
    }
}

/// The id as text of the connection that came at this place.
pub(crate) fn id(namespace: &Namespace, at: usize) -> String {
    let ids = namespace.hub(|hub| {
        let mut ids: Vec<_> = hub.connections().map(|conn| conn.id).collect();
        ids.sort_unstable();
        ids
    });
    ids[at].to_string()
}
