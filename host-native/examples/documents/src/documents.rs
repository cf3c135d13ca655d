//! The routes of documents, which notify the rooms of changes.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post, put},
};
use roomcast::Audience;
use serde::{Deserialize, Serialize};

use crate::{
    App,
    database::{self, Document},
    failure::{Failure, NO_DOCUMENT},
    sessions::{User, close},
};

pub fn routes() -> Router<App> {
    Router::new()
        .route("/documents", post(create))
        .route("/documents/{id}", get(read).put(save))
        .route(
            "/documents/{id}/members/{user}",
            put(share).delete(withdraw),
        )
}

#[derive(Deserialize)]
struct New {
    title: String,
}

#[derive(Serialize)]
struct Created {
    id: i64,
}

async fn create(
    State(app): State<App>,
    User(user): User,
    Json(New { title }): Json<New>,
) -> Result<Json<Created>, Failure> {
    // 32 bits: every client can read the id as a number.
    let id = i64::from(getrandom::u32()?);
    database::create(&app.database, id, &title).await?;
    database::add_member(&app.database, id, &user).await?;
    Ok(Json(Created { id }))
}

async fn read(
    State(app): State<App>,
    User(user): User,
    Path(id): Path<i64>,
) -> Result<Json<Document>, Failure> {
    check(&app, id, &user).await?;
    Ok(Json(database::read(&app.database, id).await?))
}

/// Saves a text, and notifies everybody who has the document open. Of two concurrent saves, the one
/// with the higher version wins.
async fn save(
    State(app): State<App>,
    User(user): User,
    Path(id): Path<i64>,
    text: String,
) -> Result<Json<Document>, Failure> {
    check(&app, id, &user).await?;
    let document = database::save(&app.database, id, &text).await?;
    let room = Audience::room(format!("document:{id}"));
    app.rooms.send(room, "saved", &document).await?;
    Ok(Json(document))
}

async fn share(
    State(app): State<App>,
    User(user): User,
    Path((id, other)): Path<(i64, String)>,
) -> Result<StatusCode, Failure> {
    check(&app, id, &user).await?;
    database::add_member(&app.database, id, &other).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn withdraw(
    State(app): State<App>,
    User(user): User,
    Path((id, other)): Path<(i64, String)>,
) -> Result<StatusCode, Failure> {
    check(&app, id, &user).await?;
    database::remove_member(&app.database, id, &other).await?;
    close(&app, &other).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn check(app: &App, document: i64, user: &str) -> Result<(), Failure> {
    let may = database::is_member(&app.database, document, user).await?;
    may.then_some(()).ok_or(NO_DOCUMENT)
}
