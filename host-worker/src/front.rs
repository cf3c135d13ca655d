//! The stateless Worker in front of the objects.

use std::cell::RefCell;

use roomcast_core::Rejection;
use roomcast_http::{
    ApiCall, ApiRequest, Problem, Readiness, RefusalNotices, Response, Route, ServerFacts, Upgrade,
    settings::SettingError,
};
use wasm_bindgen::prelude::*;
use worker::worker_sys::web_sys;

use crate::{
    http::{Head, millis},
    settings::{Settings, variables},
};

/// Answers requests that concern no namespace or are not allowed, and names the namespace of the
/// others.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Front {
    settings: Settings,
    notices: RefCell<RefusalNotices>,
}

#[wasm_bindgen]
extern "C" {
    /// `URL` of the platform.
    type URL;

    #[wasm_bindgen(constructor, catch)]
    fn new(url: &str) -> Result<URL, JsValue>;

    #[wasm_bindgen(method, getter)]
    fn host(this: &URL) -> String;
}

/// The variables and secrets of a Worker. A variable may be a number or any other JSON value: it is
/// read as its text, so that an invalid one is refused and not ignored.
pub(crate) fn settings(env: &JsValue) -> Result<Settings, SettingError> {
    Settings::from_variables(|name| {
        let value = js_sys::Reflect::get(env, &name.into()).ok()?;
        let json = || js_sys::JSON::stringify(&value).ok()?.as_string();
        let text = value.as_string().or_else(json)?;
        Some(match name {
            "ROOMCAST_ALLOW_ORIGIN" => as_sent(&text),
            _ => text,
        })
    })
}

/// Converts a list of origins to the form in which browsers send them. The platform has the tables
/// for that, which would be a fifth of this module. An origin that it rejects stays as it is, and
/// is refused later.
fn as_sent(origins: &str) -> String {
    let converted = origins.split(',').map(|origin| {
        let origin = origin.trim();
        let convert = || {
            let (scheme, rest) = origin.split_once("://")?;
            let rest = rest.strip_suffix('/').unwrap_or(rest);
            let authority = rest.strip_prefix("*.").unwrap_or(rest);
            let wildcard = &rest[..rest.len() - authority.len()];
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            if host.contains(['/', '?', '#', '@', '\\']) {
                return None;
            }
            let host = URL::new(&format!("https://{host}")).ok()?.host();
            Some(format!("{scheme}://{wildcard}{host}{port}"))
        };
        let converted = (!origin.is_ascii()).then(convert).flatten();
        converted.unwrap_or_else(|| origin.to_owned())
    });
    converted.collect::<Vec<_>>().join(",")
}

/// Warns of variables that look like settings but are not, such as misspelt ones.
fn warn_of_strays(env: &JsValue) {
    let Some(env) = env.dyn_ref::<js_sys::Object>() else {
        return;
    };
    let names = js_sys::Object::keys(env);
    for name in names.iter().filter_map(|name| name.as_string()) {
        if name.starts_with("ROOMCAST_") && !variables().any(|read| read == name) {
            worker::console_warn!("roomcast: the variable {name} is not read: see docs/edge.md");
        }
    }
}

#[wasm_bindgen]
impl Front {
    /// Reads the settings; throws a text when they are invalid.
    #[wasm_bindgen(constructor)]
    pub fn new(env: &JsValue) -> Result<Self, JsValue> {
        let settings = settings(env).map_err(|fault| JsValue::from(fault.to_string()))?;
        warn_of_strays(env);
        let Settings {
            access, policies, ..
        } = &settings;
        for warning in access.tokens.grant_warnings(policies.grants()) {
            worker::console_warn!("roomcast: ROOMCAST_CONFIG: {warning}");
        }
        let notices = RefCell::default();
        Ok(Self { settings, notices })
    }

    /// The most bytes of a request's body.
    #[wasm_bindgen(getter, js_name = bodyBytesMax)]
    pub fn body_bytes_max(&self) -> usize {
        self.settings.body_bytes_max
    }

    /// The longest time for the body to arrive, in milliseconds.
    #[wasm_bindgen(getter, js_name = bodyTimeMs)]
    pub fn body_time_ms(&self) -> u32 {
        self.settings.body_time_ms
    }

    /// Returns the response, or the name of the namespace that must give it. Throws a text.
    pub fn route(&self, request: &web_sys::Request) -> Result<JsValue, JsValue> {
        let head = Head::read(request);
        let response = match self.decide(&head) {
            Ok(Verdict::Namespace(name)) => return Ok(name.into()),
            Ok(Verdict::Response(response)) => head.answer(response),
            Ok(Verdict::Refusal(problem)) => head.refuse(problem),
            Err(problem) => head.answer(problem),
        };
        response.map(Into::into)
    }

    /// Checks a request of the API completely, with its body. Returns `undefined`, or the response
    /// to a bad request.
    pub fn check(
        &self,
        request: &web_sys::Request,
        body: &[u8],
    ) -> Result<Option<web_sys::Response>, JsValue> {
        let head = Head::read(request);
        let problem = read(&head, &self.settings, body).err();
        problem.map(|problem| head.answer(problem)).transpose()
    }

    /// The response to a request whose body is too large.
    #[wasm_bindgen(js_name = tooLarge)]
    pub fn too_large(&self, request: &web_sys::Request) -> Result<web_sys::Response, JsValue> {
        Head::read(request).answer(Problem::BodyTooLarge(self.settings.body_bytes_max))
    }

    /// The response to a request whose body takes too long.
    #[wasm_bindgen(js_name = tooLate)]
    pub fn too_late(&self, request: &web_sys::Request) -> Result<web_sys::Response, JsValue> {
        let time_ms = self.settings.body_time_ms as usize;
        Head::read(request).answer(Problem::BodyLate(time_ms))
    }

    /// The response to a request that had no effect and may be retried.
    pub fn unavailable(request: &web_sys::Request) -> Result<web_sys::Response, JsValue> {
        Head::read(request).refuse(Problem::Unsaved)
    }

    /// The response to a request that failed because of the server.
    pub fn internal(
        request: &web_sys::Request,
        detail: String,
    ) -> Result<web_sys::Response, JsValue> {
        Head::read(request).answer(Problem::Setting(detail))
    }

    /// The response to a request that the module trapped over.
    pub fn failed(request: &web_sys::Request) -> Result<web_sys::Response, JsValue> {
        let head = Head::read(request);
        match head.in_band() {
            Some(_) => head.refuse(Rejection::internal().into()),
            None => head.answer(Problem::Internal),
        }
    }

    /// Logs a refused origin, which a browser shows nobody, once a minute.
    fn warn(&self, problem: &Problem, head: &Head) {
        let (mut notices, now) = (self.notices.borrow_mut(), millis(js_sys::Date::now()));
        let notice = |reason| notices.notice(reason, &head.request(), now);
        if let Some(notice) = problem.reason().and_then(notice) {
            worker::console_warn!("roomcast: {notice}");
        }
    }

    fn decide(&self, head: &Head) -> Result<Verdict, Problem> {
        let Settings { access, limits, .. } = &self.settings;
        let request = head.request();
        Ok(match access.route(&request)? {
            Route::Page(file) => Verdict::Response(Response::page(file)),
            Route::Inspector => Verdict::Response(Response::inspector()),
            Route::Client => Verdict::Response(Response::client()),
            Route::Server => Verdict::Response(Response::server(ServerFacts::worker())),
            Route::Health => Verdict::Response(Response::health()),
            Route::Ready => Verdict::Response(Response::ready(Readiness::Ready)),
            Route::Options { allow } => Verdict::Response(Response::options(allow)),
            Route::Metrics => return Err(Problem::NoMetrics),
            Route::Socket { namespace } => {
                Upgrade::check(&request)?;
                match access.admit(&request, namespace) {
                    Ok(()) => Verdict::Namespace(namespace.to_owned()),
                    Err(problem) => {
                        self.warn(&problem, head);
                        Verdict::Refusal(problem)
                    }
                }
            }
            Route::Api => {
                access.authorize(&request, false)?;
                let call = ApiRequest::read(&request, access, limits)?;
                Verdict::Namespace(call.namespace().to_owned())
            }
        })
    }
}

enum Verdict {
    Response(Response),
    Refusal(Problem),
    Namespace(String),
}

/// A complete call of the API.
pub(crate) fn read(head: &Head, settings: &Settings, body: &[u8]) -> Result<ApiCall, Problem> {
    match ApiRequest::read(&head.request(), &settings.access, &settings.limits)? {
        ApiRequest::Call(call) => Ok(call),
        ApiRequest::Send(head) => head.with_body(body),
    }
}
