//! What is around every request: its context, a time limit, a place for panics to end, problem bodies, and waiting until
//! the gateways have heard of a change.

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc};

use axum::{
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use domain::Timestamp;
use futures::FutureExt;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use store::{Commit, read::*};
use utoipa::openapi::{Content, Ref, Response as ApiResponse, ResponseBuilder};

use crate::{
    App,
    app::site,
    bootstrap::CONTROL_API,
    context::{Listener, RequestContext, new_id},
    error::AppError,
    internal::{self, Ticked},
    mutual_tls::Edge,
    problem::{self, Raised},
};

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A response extension: what was committed, and whether the answer waits for the gateways.
#[derive(Clone, Copy, Debug)]
pub struct Settle {
    /// The configuration that was written; none for session state.
    pub commit: Option<Commit>,
    /// Whether it takes something away: then the answer says that no gateway accepts it any more.
    pub revokes: bool,
}

/// Who has not applied a change yet. The body of a 202.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Waiting {
    /// The revision that carries the change; none for session state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Names of the gateways that have not confirmed it.
    pub waiting_for: Vec<String>,
    /// From then on none of them acts on the old state, whatever happens.
    pub until: Option<Timestamp>,
}

/// How a 202 is described.
pub fn accepted_response() -> ApiResponse {
    let content = Content::new(Some(Ref::from_schema_name("Waiting")));
    let says = "Done; these gateways have not applied it yet";
    ResponseBuilder::new().description(says).content("application/json", content).build()
}

/// The envelope of the `public` door.
pub async fn public(State(app): State<App>, request: Request, next: Next) -> Response {
    around(app, Listener::Public, request, next).await
}

/// The envelope of the `admin` door.
pub async fn admin(State(app): State<App>, request: Request, next: Next) -> Response {
    around(app, Listener::Admin, request, next).await
}

/// The envelope of the `internal` door.
pub async fn internal(State(app): State<App>, request: Request, next: Next) -> Response {
    around(app, Listener::Internal, request, next).await
}

async fn around(app: App, listener: Listener, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let context = context(&app, listener, &parts).await;
    let request_id = context.as_ref().map_or_else(|_| new_id(&*app.clock), |context| context.request_id);
    let request_id_text = request_id.to_string();
    let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
    let waits = parts.uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "wait=applied"));
    let began = app.clock.boot_now();

    let answer = match context {
        Err(error) => error.into_response(),
        Ok(context) => {
            parts.extensions.insert(context);
            let limit = app.config.listeners.request_timeout.get();
            bounded(limit, settled(&app, waits, next.run(Request::from_parts(parts, body)))).await
        }
    };
    let mut answer = match answer.extensions().get::<Raised>() {
        Some(Raised(error)) => {
            report(error, &request_id_text);
            problem::render(error, &request_id_text)
        }
        None => answer,
    };
    if let Ok(value) = HeaderValue::from_str(&request_id_text) {
        answer.headers_mut().insert(REQUEST_ID.clone(), value);
    }
    let took = app.clock.boot_now().since(began);
    app.metrics.answered(listener, answer.status(), took);
    tracing::info!(
        request.id = request_id_text,
        listener = listener.name(),
        http.method = %method,
        http.path = path,
        http.status = answer.status().as_u16(),
        duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        "a request was answered"
    );
    answer
}

/// What is known of the request. Probes carry no assertion.
async fn context(app: &App, listener: Listener, parts: &http::request::Parts) -> Result<RequestContext, AppError> {
    if let Some(ConnectInfo(Edge { gateway, expires })) = parts.extensions.get() {
        internal::forwards(app, gateway, *expires).await?;
    }
    match listener {
        Listener::Public if !matches!(parts.uri.path(), "/healthz" | "/readyz") => {
            let upstream = app.store.upstream_by_name(CONTROL_API).await?.ok_or(AppError::AssertionInvalid)?;
            let keys = app.store.upstream_assertion_keys(upstream.id).await?;
            let context = RequestContext::at_public(parts, &keys, &*app.clock)?;
            site::keyed(app, context, &parts.headers).await
        }
        Listener::Internal => Ok(RequestContext::at_internal(parts, &*app.clock)),
        Listener::Admin => site::keyed(app, RequestContext::at_admin(parts, &*app.clock), &parts.headers).await,
        Listener::Public => Ok(RequestContext { listener, ..RequestContext::at_admin(parts, &*app.clock) }),
    }
}

/// Runs with a time limit; a panic becomes a problem.
async fn bounded(limit: std::time::Duration, work: impl Future<Output = Response>) -> Response {
    match tokio::time::timeout(limit, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => AppError::Internal { what: "a handler panicked", source: None }.into_response(),
        Err(_) => AppError::TimedOut.into_response(),
    }
}

/// Runs the request; when it changed something, has it numbered at once and waits for the gateways where that was asked
/// for or the change takes something away.
async fn settled(app: &App, waits: bool, work: impl Future<Output = Response>) -> Response {
    let answer = work.await;
    let Some(settle) = answer.extensions().get::<Settle>().copied() else { return answer };
    let patience = match (settle.revokes, waits) {
        (_, true) => app.config.log.applied_wait.get(),
        (true, false) => app.config.log.revoke_wait.get(),
        (false, false) => {
            let hub = Arc::clone(&app.hub);
            tokio::spawn(async move {
                if let Err(error) = hub.tick().await {
                    tracing::error!(error = problem::chain(&error), "the tick after a commit failed");
                }
            });
            return answer;
        }
    };
    match heard(app, settle, patience).await {
        Ok(None) => answer,
        Ok(Some(waiting)) if is_shown_once(&answer) => told(answer, &waiting).await,
        Ok(Some(waiting)) => accepted(&answer, &waiting),
        Err(error) => error.into_response(),
    }
}

/// Has a change numbered and waits for the gateways; none when all of them have applied it.
pub(crate) async fn heard(
    app: &App,
    settle: Settle,
    patience: std::time::Duration,
) -> Result<Option<Waiting>, AppError> {
    let numbered = app.hub.number(settle.commit).await;
    let target: Ticked =
        numbered.map_err(|error| AppError::internal("the change was saved and not numbered", error))?;
    let behind = app.hub.applied(target, patience).await?;
    if behind.is_empty() {
        return Ok(None);
    }
    Ok(Some(Waiting {
        revision: (target.revision > 0).then_some(target.revision),
        until: behind.iter().map(|laggard| laggard.lease_until).max(),
        waiting_for: behind.into_iter().map(|laggard| laggard.name).collect(),
    }))
}

/// Whether an answer holds what is shown this once.
pub(crate) fn is_shown_once(answer: &Response) -> bool {
    answer.headers().get(header::CACHE_CONTROL).is_some_and(|value| value == "no-store")
}

/// The answer as it is, with who is waited for as its member `waiting`: a 202 in its place would lose what it shows.
async fn told(answer: Response, waiting: &Waiting) -> Response {
    let (mut parts, body) = answer.into_parts();
    let told = async {
        let bytes = axum::body::to_bytes(body, usize::MAX).await?;
        let mut members: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&bytes)?;
        members.insert("waiting".into(), serde_json::to_value(waiting)?);
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(serde_json::to_vec(&members)?)
    };
    match told.await {
        Ok(bytes) => {
            parts.headers.remove(header::CONTENT_LENGTH);
            Response::from_parts(parts, bytes.into())
        }
        Err(error) => AppError::internal("an answer cannot be read", error).into_response(),
    }
}

/// 202 with who is waited for; what the answer would have said of place and version stays.
fn accepted(answer: &Response, waiting: &Waiting) -> Response {
    let mut accepted = (StatusCode::ACCEPTED, axum::Json(waiting)).into_response();
    for name in [header::LOCATION, header::ETAG] {
        if let Some(value) = answer.headers().get(&name) {
            accepted.headers_mut().insert(name, value.clone());
        }
    }
    accepted
}

/// Failures of ours are logged here, once, with their causes.
pub(crate) fn report(error: &AppError, request_id: &str) {
    let (status, code) = error.public();
    if status.is_server_error() {
        tracing::error!(request.id = request_id, code, error = problem::chain(error), "a request failed");
    } else {
        tracing::debug!(request.id = request_id, code, "a request was refused");
    }
}
