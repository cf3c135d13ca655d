//! The user of a request: a session in the database, whose id is in a cookie.

use axum::{
    Json, Router,
    extract::{FromRequestParts, Query, Request, State},
    http::{StatusCode, request::Parts},
    middleware::Next,
    response::Response,
    routing::post,
};
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};
use roomcast::{Admission, CloseCode, GrantRules, Rejection, later};
use serde::Deserialize;
use tokio::runtime::Handle;

use crate::{
    App,
    database::{self, Database},
    failure::{Failure, SIGN_IN},
};

const COOKIE: &str = "session";

pub fn routes() -> Router<App> {
    Router::new()
        .route("/sign-in", post(sign_in))
        .route("/sign-out", post(sign_out))
}

#[derive(Deserialize)]
struct SignIn {
    user: String,
}

/// Lets in anybody who names a user. A real application asks for a password here.
async fn sign_in(
    State(app): State<App>,
    jar: CookieJar,
    Json(SignIn { user }): Json<SignIn>,
) -> Result<CookieJar, Failure> {
    let id = format!("{:016x}{:016x}", getrandom::u64()?, getrandom::u64()?);
    database::begin_session(&app.database, &id, &user).await?;
    // Add `Secure` where the application is served over TLS.
    let cookie = Cookie::build((COOKIE, id)).path("/").http_only(true);
    Ok(jar.add(cookie.same_site(SameSite::Lax)))
}

/// Ends the session. Sockets of the user's other sessions reconnect by themselves.
async fn sign_out(
    State(app): State<App>,
    User(user): User,
    jar: CookieJar,
) -> Result<(CookieJar, StatusCode), Failure> {
    if let Some(cookie) = jar.get(COOKIE) {
        database::end_session(&app.database, cookie.value()).await?;
    }
    close(&app, &user).await?;
    let cookie = Cookie::build(COOKIE).path("/");
    Ok((jar.remove(cookie), StatusCode::NO_CONTENT))
}

/// Closes the sockets of a user, who may reconnect with the remaining rights.
pub async fn close(app: &App, user: &str) -> Result<(), Failure> {
    let code = CloseCode::new(4000).expect("a code of applications");
    let connections = app.rooms.connections().await?.into_iter();
    for conn in connections.filter(|conn| conn.user.as_deref() == Some(user)) {
        // The connection may just have ended.
        let _ = app
            .rooms
            .disconnect(conn.id, code, "your rights changed")
            .await;
    }
    Ok(())
}

/// The user of a request, which must have a session.
pub struct User(pub String);

impl FromRequestParts<App> for User {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let jar = CookieJar::from_headers(&parts.headers);
        let cookie = jar.get(COOKIE).ok_or(SIGN_IN)?;
        let user = database::user_of(&app.database, cookie.value()).await?;
        user.map(User).ok_or(SIGN_IN)
    }
}

#[derive(Deserialize)]
struct Wanted {
    document: i64,
}

/// Middleware in front of the rooms: attaches the user of a WebSocket request, its document, and
/// the room that it may join. [`door`] closes connections that have none of these.
pub async fn identify(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let (mut parts, body) = request.into_parts();
    if let Some(admission) = admission(&app, &mut parts).await? {
        parts.extensions.insert(admission);
    }
    Ok(next.run(Request::from_parts(parts, body)).await)
}

async fn admission(app: &App, parts: &mut Parts) -> Result<Option<Admission>, Failure> {
    let user = match User::from_request_parts(parts, app).await {
        Ok(User(user)) => user,
        Err(Failure::Told(..)) => return Ok(None),
        Err(fault) => return Err(fault),
    };
    let jar = CookieJar::from_headers(&parts.headers);
    let session = jar.get(COOKIE).map(Cookie::value);
    let Ok(Query(Wanted { document })) = Query::try_from_uri(&parts.uri) else {
        return Ok(None);
    };
    if !database::is_member(&app.database, document, &user).await? {
        return Ok(None);
    }
    let rules = format!(
        r#"[{{"rooms":"document:{document}","can":["join","publish","presence","history"]}}]"#
    );
    let rules = GrantRules::from_json(&rules)?;
    let admission = Admission::new().with_user(user).with_grants(rules);
    Ok(Some(admission.with_session(&(session, document))?))
}

/// A gateway that closes connections of users without access to the document, with a code that
/// browsers can read. It checks once more, because [`close`] does not see a socket that
/// [`identify`] has let in but that is not open yet.
pub fn door(database: Database, runtime: Handle) -> roomcast::Router {
    roomcast::Router::default().on_connect(move |cx, ()| {
        let user = cx.user().map(str::to_owned);
        let kept = cx.session::<(String, i64)>();
        let (database, runtime) = (database.clone(), runtime.clone());
        later(async move {
            let closed = Rejection::unauthorized("sign in, and have the document shared");
            let (Some(user), Some((session, document))) = (user, kept?) else {
                return Err(closed);
            };
            // The database is queried on axum's runtime: rooms have threads of their own.
            let asked =
                async move { database::may_open(&database, &session, document, &user).await };
            let may = runtime.spawn(asked).await??;
            may.then_some(()).ok_or(closed)
        })
    })
}
