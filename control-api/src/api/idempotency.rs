//! `Idempotency-Key` on creates: the same request twice is done once, and answered the same.
//!
//! Kept for 24 h per principal, path and query. The key with another body is a mistake: 422. Two requests with one key at the
//! same time are done one after the other in this process.

use authz::{Authorized, action::AppendAudit};
use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{FromRequestParts, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use domain::Secret;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::{Deserialize, Serialize};
use store::{Audited, StoredResponse, read::*};

use super::extract::MAX_BODY;
use crate::{App, caller::Principal, error::AppError};

/// Longest key, in bytes.
const MAX_KEY: usize = 255;

/// An answer as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    location: Option<String>,
    etag: Option<String>,
    /// None for one that was shown once.
    body: Option<String>,
}

/// Does a create once for each key.
pub async fn once(State(app): State<App>, request: Request, next: Next) -> Response {
    let key = request.headers().get("idempotency-key").cloned();
    match key.filter(|_| request.method() == Method::POST) {
        None => next.run(request).await,
        Some(key) => keyed(&app, &key, request, next).await.unwrap_or_else(IntoResponse::into_response),
    }
}

async fn keyed(app: &App, key: &HeaderValue, request: Request, next: Next) -> Result<Response, AppError> {
    let invalid = || AppError::field("!idempotency-key", "invalid", "1 to 255 visible ASCII characters");
    let key = key.to_str().ok().filter(|key| (1..=MAX_KEY).contains(&key.len())).ok_or_else(invalid)?;
    let (mut parts, body) = request.into_parts();
    // Signing in has no principal yet and is not a create.
    let Ok(principal) = Principal::from_request_parts(&mut parts, app).await else {
        return Ok(next.run(Request::from_parts(parts, body)).await);
    };
    let body = to_bytes(body, MAX_BODY).await.map_err(|_| AppError::TooLarge)?;
    // The query says where (`tenant_id`), the context as whom: another of either is another request.
    let who = format!("{} {} {}", principal.user, principal.tenant, principal.is_system());
    let path = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let _alone = app.idempotency.take(&format!("{who} {path} {key}")).await;

    let body_hash = hash(&body);
    if let Some(stored) = app.store.stored_response(&who, &path, key).await? {
        return if stored.body_hash == body_hash { replay(&stored) } else { Err(AppError::IdempotencyReused) };
    }
    let answer = next.run(Request::from_parts(parts, Body::from(body))).await;
    if answer.status() != StatusCode::CREATED {
        return Ok(answer);
    }
    remember(app, (&who, &path, key), body_hash, answer).await
}

async fn remember(
    app: &App,
    (who, path, key): (&str, &str, &str),
    body_hash: [u8; 32],
    answer: Response,
) -> Result<Response, AppError> {
    let (parts, body) = answer.into_parts();
    let bytes = to_bytes(body, usize::MAX).await;
    let bytes = bytes.map_err(|error| AppError::internal("an answer cannot be read", error))?;
    // What is shown once is not kept: whoever asks again is told that it was shown.
    let once = text(&parts.headers, &header::CACHE_CONTROL).as_deref() == Some("no-store");
    let kept = Kept {
        location: text(&parts.headers, &header::LOCATION),
        etag: text(&parts.headers, &header::ETAG),
        body: if once { None } else { Some(String::from_utf8_lossy(&bytes).into_owned()) },
    };
    let kept = serde_json::to_vec(&kept).map_err(|error| AppError::internal("an answer cannot be kept", error))?;
    let response = StoredResponse { body_hash, status: u32::from(parts.status.as_u16()), body: Secret::new(kept) };
    let by = Authorized::<AppendAudit>::system("idempotency");
    let response = &response;
    let kept = app.store.write(&by, app.now(), |tx| async move {
        tx.remember_response(who, path, key, response).await?;
        Ok::<_, AppError>(Audited::unchanged(()))
    });
    kept.await?;
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

fn replay(stored: &StoredResponse) -> Result<Response, AppError> {
    let unreadable = |error| AppError::internal("a kept answer cannot be read", error);
    let kept: Kept = serde_json::from_slice(stored.body.expose()).map_err(unreadable)?;
    let status = u16::try_from(stored.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    let Some(body) = kept.body else {
        let place = kept.location.unwrap_or_default();
        let detail = format!("it was made at {place}, and what the answer held is shown once");
        return Err(AppError::Conflict { code: "shown_once", detail });
    };
    let mut response = (status.unwrap_or(StatusCode::CREATED), body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
    for (name, value) in [(header::LOCATION, kept.location), (header::ETAG, kept.etag)] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            headers.insert(name, value);
        }
    }
    Ok(response)
}

fn text(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(Into::into)
}

fn hash(body: &Bytes) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body);
    digest.as_ref().first_chunk().copied().unwrap_or_default()
}
