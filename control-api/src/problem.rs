//! Errors as answers: problem documents (RFC 9457) with a stable `code`.
//!
//! A handler's [`AppError`] travels as a response extension; the envelope around every request writes the body, because
//! only there the request id is known. Callers get public text; operators get the chain, once, in the log.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::openapi::{
    Content, ObjectBuilder, Ref, RefOr, Response as ApiResponse, ResponseBuilder, Schema,
    schema::{ArrayBuilder, Type},
};

use crate::error::{AppError, FieldError};

/// Media type of a problem document.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// The body of an answer that is not what was asked for (RFC 9457 §3.1).
#[derive(Debug, Serialize)]
pub struct ProblemBody<'a> {
    /// A name for the kind of problem; not a page.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: &'static str,
    /// The status.
    pub status: u16,
    /// This occurrence in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Stable code.
    pub code: &'static str,
    /// The request it answers.
    pub request_id: &'a str,
    /// Which fields are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// How a problem document is described.
pub fn schema() -> RefOr<Schema> {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let field = ["pointer", "code", "detail"].into_iter();
    let field = field.fold(ObjectBuilder::new(), |all, name| all.property(name, text()).required(name));
    let number = ObjectBuilder::new().schema_type(Type::Integer);
    let needed = ["type", "title", "code", "request_id"].into_iter();
    let all = needed.fold(ObjectBuilder::new(), |all, name| all.property(name, text()).required(name));
    let all = all.property("status", number).required("status").property("detail", text());
    all.property("errors", ArrayBuilder::new().items(field)).into()
}

/// How an answer with one is described.
pub fn response() -> ApiResponse {
    let content = Content::new(Some(Ref::from_schema_name("Problem")));
    ResponseBuilder::new().description("Why it was not done (RFC 9457)").content(MEDIA_TYPE, content).build()
}

/// An error on its way out.
#[derive(Clone, Debug)]
pub struct Raised(pub Arc<AppError>);

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        let mut response = self.public().0.into_response();
        response.extensions_mut().insert(Raised(Arc::new(self)));
        response
    }
}

/// Writes the body of a raised error.
pub fn render(error: &AppError, request_id: &str) -> Response {
    let (status, code) = error.public();
    let body = ProblemBody {
        kind: format!("urn:portcullis:problem:{code}"),
        title: title(status),
        status: status.as_u16(),
        detail: detail(error, status),
        code,
        request_id,
        errors: error.fields(),
    };
    let text = serde_json::to_string(&body).unwrap_or_default();
    let mut response = (status, text).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_str(&error.challenge());
        headers.insert(header::WWW_AUTHENTICATE, challenge.unwrap_or(HeaderValue::from_static("Bearer")));
    }
    if let Some(seconds) = error.retry_after() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// What the caller is told of this occurrence. Of failures of ours: nothing.
fn detail(error: &AppError, status: StatusCode) -> Option<String> {
    (!status.is_server_error()).then(|| error.to_string())
}

const fn title(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "The request cannot be read",
        401 => "A valid credential is needed",
        403 => "That is not allowed",
        404 => "Nothing is here",
        405 => "The method is not served here",
        409 => "The present state does not allow it",
        412 => "It was changed in the meantime",
        413 => "The body is too long",
        415 => "The body is of another type",
        422 => "Some fields are wrong",
        429 => "Too many requests",
        503 => "The service cannot answer now",
        507 => "The database has no room left",
        _ => "The request failed",
    }
}

/// An error and its sources on one line, for the log.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn body(error: AppError) -> (StatusCode, serde_json::Value) {
        let response = render(&error, "0190-request");
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn a_wrong_field_is_named_by_its_pointer() {
        let (status, body) = body(AppError::field("/slug", "slug", "too short")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        insta::assert_json_snapshot!(body);
    }

    #[tokio::test]
    async fn a_failure_of_ours_says_nothing_of_its_cause() {
        let (status, body) = body(AppError::internal("the key did not open", "secret detail")).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!body.to_string().contains("secret detail") && !body.to_string().contains("key did not"));
    }

    #[tokio::test]
    async fn a_locked_sign_in_says_when_to_come_back() {
        let response = render(&AppError::LoginLocked { retry_after: 900 }, "r");
        assert_eq!(response.headers()[header::RETRY_AFTER], "900");
    }
}
