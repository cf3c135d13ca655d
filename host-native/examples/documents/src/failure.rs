//! Error responses.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};

/// An error, with the response for the client or the cause for the log.
pub enum Failure {
    Told(StatusCode, &'static str),
    Logged(Box<dyn std::error::Error + Send + Sync>),
}

/// Nobody has signed in.
pub const SIGN_IN: Failure = Failure::Told(StatusCode::UNAUTHORIZED, "sign in first\n");
/// The document does not exist, or the user is not a member.
pub const NO_DOCUMENT: Failure = Failure::Told(StatusCode::NOT_FOUND, "no such document\n");

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Failure {
    fn from(fault: E) -> Self {
        Self::Logged(Box::new(fault))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::Told(status, text) => (status, text).into_response(),
            Self::Logged(fault) => {
                tracing::error!(fault, "a request failed");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}
