//! `/v1/me/export`: all that is kept of one, as JSON Lines.
//!
//! The rows are read a page at a time, as fast as they are taken. The last line says that nothing is missing; an export without it was
//! cut off.

use axum::{
    body::{Body, Bytes},
    extract::State,
    response::{IntoResponse, Response},
};
use futures::stream;
use http::{HeaderValue, header};
use serde_json::json;

use super::audit_export::append;
use crate::{App, app::export::Export, caller::Principal, context::RequestContext, error::AppError, problem};

/// All that is kept of one, of what is a tenant's the present one's, for who signed in a moment ago: a thing a line, each with its `part`, then a line that says `"complete": true`.
#[utoipa::path(get, path = "/v1/me/export", tag = "me",
    responses((status = 200, body = String, content_type = "application/jsonl")), security(("bearer" = [])))]
pub async fn export_me(
    principal: Principal,
    context: RequestContext,
    State(app): State<App>,
) -> Result<Response, AppError> {
    let begun = (Export::begin(&app, &context, &principal).await?, 0);
    let lines = stream::try_unfold(Some(begun), |progress| async move {
        let Some((mut export, lines)) = progress else { return Ok::<_, AppError>(None) };
        next(&mut export, lines).await.map(|(bytes, lines)| Some((bytes, lines.map(|lines| (export, lines)))))
    });
    let mut response = Body::from_stream(lines).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jsonl"));
    let name = HeaderValue::from_static("attachment; filename=\"account.jsonl\"");
    headers.insert(header::CONTENT_DISPOSITION, name);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The next lines, and how many there were so far; none of the latter at the end.
async fn next(export: &mut Export, so_far: usize) -> Result<(Bytes, Option<usize>), AppError> {
    let things = export.next().await.inspect_err(|error| {
        tracing::error!(error = problem::chain(error), "an export of what is kept of somebody was cut off");
    })?;
    let mut text = Vec::new();
    let Some(things) = things else {
        append(&mut text, &json!({ "complete": true, "lines": so_far }))?;
        return Ok((text.into(), None));
    };
    for thing in &things {
        append(&mut text, thing)?;
    }
    Ok((text.into(), Some(so_far + things.len())))
}
