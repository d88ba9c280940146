//! `Idempotency-Key` on creates: the same request twice is done once, and answered the same.
//!
//! The key is claimed in the transaction of the change itself ([`store::Claim`]), so there is no moment in which the
//! change is made and the key is not taken. The second request runs like the first one up to that transaction: its token
//! is verified, its right is judged, its body is read and looked at, all as things are now. Only then it is told what the
//! first was answered.
//!
//! Only creates (201) keep their key and answer. Whatever else a POST does may be done again, and must be where the answer
//! says that no gateway accepts something any more: that is asked anew each time.
//!
//! Kept for 24 h per principal, path and query. The key with another body is a mistake: 422. What an answer shows once is
//! not kept: who asks again is told so (409 `shown_once`). Where the first has made its change and not answered yet, or
//! never will, the second is told that: 409 `idempotency_unanswered`. Within this process it waits for its turn.
//!
//! What is kept of one principal is bounded: beyond so many keys another one is refused (409 `idempotency_keys_exhausted`),
//! before anything is done; beyond so many bytes an answer is kept as one that is shown once. Both are looked at when the request
//! comes, so what one principal asks at once may go beyond by as much.

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{FromRequestParts, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use domain::Secret;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::{Deserialize, Serialize};
use store::{Claim, StoreError, StoredResponse, read::*};

use super::{answer::settling, extract::MAX_BODY};
use crate::{
    App,
    caller::Principal,
    envelope::{Settle, is_shown_once},
    error::AppError,
    key_caller::Reporter,
    problem::Raised,
};

/// Longest key, in bytes.
const MAX_KEY: usize = 255;

/// Longest answer that is kept, in bytes.
const MAX_KEPT: usize = 64 * 1024;

/// Most keys that are kept of one principal.
const MAX_KEYS: u64 = 10_000;

/// Most bytes of answers that are kept of one principal.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// Longest path and query that a key is kept for, in bytes.
const MAX_TARGET: usize = 1024;

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
    let (mut parts, body) = request.into_parts();
    // Who signs in is no principal yet; who is nobody is told so before anything else.
    let Ok(reporter) = Reporter::from_request_parts(&mut parts, app).await else {
        return Ok(next.run(Request::from_parts(parts, body)).await);
    };
    let invalid = || AppError::field("!idempotency-key", "invalid", "1 to 255 visible ASCII characters");
    let key = key.to_str().ok().filter(|key| (1..=MAX_KEY).contains(&key.len())).ok_or_else(invalid)?;
    let who = name(&reporter);
    let body = to_bytes(body, MAX_BODY).await.map_err(|_| AppError::TooLarge)?;
    let path = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    if path.len() > MAX_TARGET {
        return Err(AppError::field("!idempotency-key", "invalid", "is for paths of at most 1024 bytes"));
    }
    let _alone = app.idempotency.take(&format!("{who} {path} {key}")).await;
    // Who waited is looked at again.
    parts.extensions.remove::<Principal>();
    let claim = Claim::new(&who, &path, key, hash(&body));
    let kept = app.store.kept_of(&claim).await?;
    if kept.keys >= MAX_KEYS && !kept.this {
        let detail = format!("{MAX_KEYS} are kept, each for a day; without one the request can be made");
        return Err(AppError::Conflict { code: "idempotency_keys_exhausted", detail });
    }
    let answer = claim.during(next.run(Request::from_parts(parts, Body::from(body)))).await;
    if was_claimed(&answer) {
        return match app.store.stored_response(&claim).await? {
            Some(stored) => replay(&stored),
            None => Ok(answer),
        };
    }
    if !claim.is_taken() {
        return Ok(answer);
    }
    // After a failure of ours nobody knows what was done: the key stays taken.
    if answer.status().is_server_error() {
        return Ok(answer);
    }
    if answer.status() != StatusCode::CREATED {
        app.store.release_claim(&claim, app.now()).await?;
        return Ok(answer);
    }
    keep(app, &claim, answer, kept.bytes < MAX_BYTES).await
}

/// Whose key it is. The query says where (`tenant_id`), the context as whom: another of either is another request.
fn name(reporter: &Reporter) -> String {
    match reporter {
        Reporter::Principal(it) => format!("{} {} {}", it.user, it.tenant, it.is_system()),
        Reporter::Key { site, prefix, .. } => format!("key {prefix} {}", site.tenant),
    }
}

/// Whether a request with this key and body made its change before.
fn was_claimed(answer: &Response) -> bool {
    let raised = answer.extensions().get::<Raised>();
    raised.is_some_and(|raised| matches!(*raised.0, AppError::Store(StoreError::Claimed { alike: true })))
}

async fn keep(app: &App, claim: &Claim, answer: Response, has_room: bool) -> Result<Response, AppError> {
    // What is shown once is not kept, nor what is very long or too much: whoever asks again is told that it was shown.
    let once = is_shown_once(&answer);
    let (parts, body) = answer.into_parts();
    let bytes = to_bytes(body, usize::MAX).await;
    let bytes = bytes.map_err(|error| AppError::internal("an answer cannot be read", error))?;
    let kept = Kept {
        location: text(&parts.headers, &header::LOCATION),
        etag: text(&parts.headers, &header::ETAG),
        body: if once || !has_room || bytes.len() > MAX_KEPT {
            None
        } else {
            Some(String::from_utf8_lossy(&bytes).into_owned())
        },
    };
    let kept = serde_json::to_vec(&kept).map_err(|error| AppError::internal("an answer cannot be kept", error))?;
    let status = u32::from(parts.status.as_u16());
    app.store.keep_response(claim, status, &Secret::new(kept), app.now()).await?;
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

fn replay(stored: &StoredResponse) -> Result<Response, AppError> {
    let unreadable = |error| AppError::internal("a kept answer cannot be read", error);
    let kept: Kept = serde_json::from_slice(stored.body.expose()).map_err(unreadable)?;
    let status = u16::try_from(stored.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    let Some(body) = kept.body else {
        let place = kept.location.map_or_else(String::new, |place| format!(" at {place}"));
        let detail = format!("it was made{place}, and what the answer held is shown once");
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
    // `?wait=applied` waits for all that was done until now, this among it.
    Ok(settling(response, Settle { commit: None, revokes: false }))
}

fn text(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(Into::into)
}

fn hash(body: &Bytes) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body);
    digest.as_ref().first_chunk().copied().unwrap_or_default()
}
