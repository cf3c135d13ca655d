//! Shared documents: axum routes, rows in sqlx, sessions in a cookie, and a Roomcast room for each
//! document, all on one port.

mod database;
mod documents;
mod failure;
mod sessions;

use axum::{Router, middleware::from_fn_with_state, response::Html, routing::get};
use roomcast::{
    HistoryPolicy, Host, Namespace, Policies, PolicyError, PresencePolicy, RoomPolicy, Settings,
};
use tokio::runtime::Handle;

pub use self::database::{Database, connect};

/// State that the routes share.
#[derive(Clone)]
struct App {
    database: Database,
    /// The rooms, for code of the application.
    rooms: Namespace,
}

/// Returns the routes of the application, and the room server to run beside them. Called in the
/// runtime that serves both.
pub fn application(database: Database) -> (Router, Host) {
    let mut settings = Settings::default();
    settings.policies = policies().expect("valid policies");
    settings.access.namespaces = Some(vec!["default".into()]);
    let (doors, runtime) = (database.clone(), Handle::current());
    let host = Host::new(settings).gateway("default", move |_| {
        sessions::door(doors.clone(), runtime.clone())
    });
    let app = App {
        database,
        rooms: host.namespace("default"),
    };
    let identify = from_fn_with_state(app.clone(), sessions::identify);
    let routes = Router::new()
        .route("/", get(Html(include_str!("index.html"))))
        .merge(sessions::routes())
        .merge(documents::routes())
        .with_state(app)
        .nest_service("/live", roomcast::axum::router(&host).layer(identify));
    (routes, host)
}

/// The policies: a room keeps its last messages for reconnecting members, and shows its members.
fn policies() -> Result<Policies, PolicyError> {
    let pattern = "document:*".parse().expect("a pattern");
    let mut document = RoomPolicy::new(pattern);
    document.history = Some(HistoryPolicy::default());
    document.presence = PresencePolicy::Members;
    Policies::new([document])
}
