//! `/openapi.json`, and `/docs`: the same for people, as one page that is made of it when the process starts.
//!
//! The page runs no script, loads nothing from elsewhere and asks for nothing: it holds what the description holds. Its
//! one stylesheet is embedded and served beside it, so its policy allows that and nothing else.

mod page;

use axum::{
    Json, Router,
    body::Bytes,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderValue, header};
use utoipa::openapi::OpenApi;

use crate::App;

/// What a browser may do with the page (CSP level 3): apply our stylesheet.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = include_str!("docs/style.css");

/// A description and its page.
pub fn router(described: OpenApi) -> Router<App> {
    let page = Bytes::from(page::render(&described));
    Router::new()
        .route("/openapi.json", get(move || std::future::ready(Json(described.clone()))))
        .route("/docs", get(move || std::future::ready(served("text/html; charset=utf-8", page.clone()))))
        .route("/docs/style.css", get(|| std::future::ready(served("text/css; charset=utf-8", STYLE.into()))))
}

fn served(media: &'static str, body: Bytes) -> Response {
    let mut response = body.into_response();
    for (name, value) in [
        (header::CONTENT_TYPE, media),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
