//! A request that is answered with an error.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};

/// An error: what the client is told, or what is logged.
pub enum Failure {
    Told(StatusCode, &'static str),
    Logged(Box<dyn std::error::Error + Send + Sync>),
}

/// Nobody has signed in.
pub const SIGN_IN: Failure = Failure::Told(StatusCode::UNAUTHORIZED, "sign in first\n");
/// There is no such document, or not for this user.
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
