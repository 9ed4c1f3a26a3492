//! Requests that cannot be answered: a code, and a sentence in JSON.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::view;

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Failure {
    code: StatusCode,
    error: String,
}

impl Failure {
    /// The request makes no sense.
    pub(super) fn bad_request(error: impl Into<String>) -> Self {
        Self { code: StatusCode::BAD_REQUEST, error: error.into() }
    }

    /// What was asked for does not exist.
    pub(super) fn not_found(error: impl Into<String>) -> Self {
        Self { code: StatusCode::NOT_FOUND, error: error.into() }
    }

    pub(super) fn wrong_method(error: impl Into<String>) -> Self {
        Self { code: StatusCode::METHOD_NOT_ALLOWED, error: error.into() }
    }

    /// There are no figures, or none of now.
    pub(super) fn unavailable(error: impl Into<String>) -> Self {
        Self { code: StatusCode::SERVICE_UNAVAILABLE, error: error.into() }
    }

    /// A mistake of ours.
    pub(super) fn internal(error: impl Into<String>) -> Self {
        Self { code: StatusCode::INTERNAL_SERVER_ERROR, error: error.into() }
    }

    /// Before the first report.
    pub(super) fn no_report() -> Self {
        Self::unavailable("no figures yet: tcpwatch is still counting the sockets that were there before it")
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.code, Json(view::Error { error: self.error })).into_response()
    }
}
