//! The applications of namespaces, and the bindings that the platform gives them.

use std::{cell::RefCell, collections::BTreeMap, fmt, rc::Rc, sync::Once};

use roomcast_core::{App, Gateway, Policies};
use roomcast_http::{NAMESPACE_FORM, is_namespace};

use crate::handle::Namespace;

type Factory = Rc<dyn Fn(&Namespace) -> Box<dyn Gateway>>;

/// Any application.
#[cfg(feature = "applications")]
pub(crate) type AnyGateway = Box<dyn Gateway>;
/// The type of no application: the compiler then drops the code for applications, a fifth of the
/// module.
#[cfg(not(feature = "applications"))]
#[derive(Debug, Clone, Copy)]
pub(crate) struct AnyGateway;

#[cfg(not(feature = "applications"))]
impl Gateway for AnyGateway {
    fn wants_membership(&self) -> bool {
        false
    }
}

/// A hub with any application.
pub(crate) type AnyApp = App<AnyGateway>;

/// Applications and room policies that are mounted.
#[derive(Default)]
struct Mounted {
    /// By the name of the namespace.
    own: BTreeMap<String, Factory>,
    /// The application of all other namespaces.
    others: Option<Factory>,
    policies: Option<Policies>,
}

thread_local! {
    /// The mounted applications and policies. An instance of the module has one thread, and starts
    /// with none.
    static MOUNTED: RefCell<Mounted> = RefCell::default();
}

/// Gives a namespace its application; `default` is the one at `/ws`, any other is at
/// `/ws/{namespace}`. For the function that starts the module:
///
/// ```
/// use roomcast_core::{Context, Router};
/// use roomcast_worker::mount;
///
/// fn echo() -> Router {
///     Router::default().on("echo", |_: &mut Context, text: String| text)
/// }
///
/// // In a Worker also #[wasm_bindgen(start)].
/// pub fn start() {
///     mount("default", |_| echo());
/// }
/// # start();
/// ```
///
/// The factory runs each time the namespace wakes, and must return the same application each time.
/// State that is to survive belongs in [`persistent`](roomcast_core::Router::persistent) state and
/// in [sessions](roomcast_core::Context::session).
///
/// # Panics
///
/// When the namespace has one already, or its name is not 1 to 64 of `A-Z a-z 0-9 _ -`.
pub fn mount<G: Gateway + 'static>(namespace: &str, factory: impl Fn(&Namespace) -> G + 'static) {
    assert!(
        is_namespace(namespace),
        "the name of a namespace is {NAMESPACE_FORM}: {namespace}"
    );
    let factory = boxed(factory);
    let before =
        MOUNTED.with_borrow_mut(|mounted| mounted.own.insert(namespace.to_owned(), factory));
    assert!(before.is_none(), "`{namespace}` has an application already");
}

/// Gives an application of this kind to every namespace without one of its own;
/// [`Namespace::name`](Namespace::name) tells the factory which namespace it is for.
///
/// # Panics
///
/// When there is one already.
pub fn mount_others<G: Gateway + 'static>(factory: impl Fn(&Namespace) -> G + 'static) {
    let factory = boxed(factory);
    let before = MOUNTED.with_borrow_mut(|mounted| mounted.others.replace(factory));
    assert!(
        before.is_none(),
        "other namespaces have an application already"
    );
}

/// Sets the room policies of all namespaces, unless the variable `ROOMCAST_CONFIG` does. Called by
/// the function that starts the module, beside [`mount`].
///
/// ```
/// use roomcast_core::{Policies, RoomPolicy, policy::HistoryPolicy};
/// use roomcast_worker::room_policies;
///
/// // In a Worker also #[wasm_bindgen(start)].
/// pub fn start() {
///     let mut log = RoomPolicy::new("log:*".parse().expect("a pattern"));
///     log.history = Some(HistoryPolicy::default());
///     room_policies(Policies::new([log]).expect("one policy"));
/// }
/// # start();
/// ```
///
/// # Panics
///
/// When this was called before.
pub fn room_policies(policies: Policies) {
    let before = MOUNTED.with_borrow_mut(|mounted| mounted.policies.replace(policies));
    assert!(before.is_none(), "there are room policies already");
}

/// Room policies that the code sets.
pub(crate) fn policies_in_code() -> Policies {
    MOUNTED.with_borrow(|mounted| mounted.policies.clone().unwrap_or_default())
}

#[cfg(all(target_arch = "wasm32", feature = "applications"))]
#[wasm_bindgen::prelude::wasm_bindgen(module = "cloudflare:workers")]
extern "C" {
    /// The environment: the same in all objects of a Worker, and set before there are any.
    #[wasm_bindgen(thread_local_v2, js_name = env)]
    static ENV: worker::Env;
}

/// Bindings, variables and secrets of the Worker, for its application to use anywhere: in a
/// factory, in a hook, or in a future that the hook waits for.
///
/// ```ignore
/// use roomcast_core::{Rejection, Router, gateway::Admission, later};
/// use roomcast_worker::env;
///
/// let router = Router::default().on_upgrade(|request, ()| {
///     let session = request.cookie("sid").unwrap_or_default().to_owned();
///     later(async move {
///         let user = env().kv("SESSIONS")?.get(&session).text().await?;
///         let user = user.ok_or(Rejection::unauthorized("sign in first"))?;
///         Ok(Admission::new().with_user(user))
///     })
/// });
/// ```
#[cfg(all(target_arch = "wasm32", feature = "applications"))]
pub fn env() -> worker::Env {
    ENV.with(Clone::clone)
}

fn boxed<G: Gateway + 'static>(factory: impl Fn(&Namespace) -> G + 'static) -> Factory {
    log_panics();
    Rc::new(move |namespace| Box::new(factory(namespace)))
}

/// Logs every panic from here on, before the module traps.
fn log_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        #[cfg(target_arch = "wasm32")] // other targets keep the usual hook
        std::panic::set_hook(Box::new(|panic| {
            worker::console_error!("roomcast: {panic}");
        }));
    });
}

/// The application of a namespace, if it has one: its factory, called each time it wakes.
#[derive(Clone, Default)]
pub(crate) struct Application(Option<Factory>);

impl Application {
    /// Returns the application that is mounted for a namespace.
    pub(crate) fn of(namespace: &str) -> Self {
        Self(MOUNTED.with_borrow(|mounted| {
            let own = mounted.own.get(namespace);
            own.or(mounted.others.as_ref()).cloned()
        }))
    }

    #[cfg(test)]
    pub(crate) fn new(factory: impl Fn(&Namespace) -> Box<dyn Gateway> + 'static) -> Self {
        Self(Some(Rc::new(factory)))
    }

    pub(crate) const fn is_some(&self) -> bool {
        cfg!(feature = "applications") && self.0.is_some()
    }

    /// Creates the application in its initial state.
    #[cfg(feature = "applications")]
    pub(crate) fn make(&self, namespace: &Namespace) -> AnyGateway {
        match &self.0 {
            Some(factory) => factory(namespace),
            None => Box::new(()),
        }
    }

    #[cfg(not(feature = "applications"))]
    pub(crate) const fn make(&self, _: &Namespace) -> AnyGateway {
        AnyGateway
    }
}

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Application").field(&self.is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_namespace_has_its_own_or_that_of_the_others() {
        mount("one", |_| ());
        assert!(Application::of("one").is_some());
        assert!(!Application::of("two").is_some());
        mount_others(|_| ());
        assert!(Application::of("two").is_some());
    }

    #[test]
    #[should_panic = "has an application already"]
    fn one_namespace_has_one_application() {
        mount("one", |_| ());
        mount("one", |_| ());
    }
}
