//! `/v1/audit/export`: a whole chain as JSON Lines, in its order, with everything that is needed to check it elsewhere.
//!
//! The rows are read a page at a time, as fast as they are taken. The last line says that nothing is missing; an export
//! without it was cut off, and goes on behind the last row that came (`?after=`).

use axum::{
    body::{Body, Bytes},
    extract::State,
    response::{IntoResponse, Response},
};
use domain::TenantId;
use futures::stream;
use http::{HeaderValue, header};
use serde::{Deserialize, Serialize};

use super::{
    audit::{ChainEnd, CheckpointView},
    extract::Asked,
};
use crate::{App, app, caller::Principal, error::AppError, problem};

/// Which part of which chain.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ExportQuery {
    /// The tenant. Staff names one, or means the platform's chain; others may name their own.
    #[param(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    /// Only rows behind the one of this number: the last of an export that was cut off. Default: from the beginning.
    after: Option<u64>,
}

/// The last line.
#[derive(Debug, Serialize)]
struct End {
    complete: bool,
    rows: u64,
    head: ChainEnd,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<CheckpointView>,
}

/// How far an export is.
struct Progress {
    app: App,
    tenant: Option<TenantId>,
    after: u64,
    rows: u64,
    head: (u64, String),
    checkpoint: Option<CheckpointView>,
}

/// Exports a chain up to its present head: one row a line, then a line that says `"complete": true`.
#[utoipa::path(get, path = "/v1/audit/export", tag = "audit", params(ExportQuery),
    responses((status = 200, body = String, content_type = "application/jsonl")), security(("bearer" = [])))]
pub async fn export_audit(
    principal: Principal,
    State(app): State<App>,
    Asked(query): Asked<ExportQuery>,
) -> Result<Response, AppError> {
    let tenant = app::audit::chain_of(&principal, query.tenant_id, "export")?;
    let (head, checkpoint) = app.store.chain_ends(tenant).await?;
    let after = query.after.unwrap_or(0);
    if after > head.0 {
        return Err(AppError::parameter("after", "range", "is behind the chain's last row"));
    }
    let begun = Progress { app, tenant, after, rows: 0, head, checkpoint: checkpoint.map(Into::into) };
    let lines = stream::try_unfold(Some(begun), |progress| async move {
        match progress {
            Some(progress) => progress.next().await.map(Some),
            None => Ok(None),
        }
    });
    let mut response = Body::from_stream(lines).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jsonl"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

impl Progress {
    /// The next lines, and what is left to do.
    async fn next(mut self) -> Result<(Bytes, Option<Self>), AppError> {
        let mut rows = self.app.store.chained_rows(self.tenant, self.after).await.inspect_err(|error| {
            tracing::error!(error = problem::chain(error), "an export of the audit trail was cut off");
        })?;
        rows.retain(|row| row.seq <= self.head.0);
        let mut lines = Vec::new();
        if let Some(last) = rows.last() {
            self.after = last.seq;
            self.rows += u64::try_from(rows.len()).unwrap_or(u64::MAX);
            for row in &rows {
                append(&mut lines, row)?;
            }
            return Ok((lines.into(), Some(self)));
        }
        let (seq, hash) = self.head;
        append(
            &mut lines,
            &End { complete: true, rows: self.rows, head: ChainEnd { seq, hash }, checkpoint: self.checkpoint },
        )?;
        Ok((lines.into(), None))
    }
}

/// Adds a line of JSON.
pub(super) fn append(lines: &mut Vec<u8>, line: &impl Serialize) -> Result<(), AppError> {
    serde_json::to_writer(&mut *lines, line).map_err(|error| AppError::internal("a row cannot be written", error))?;
    lines.push(b'\n');
    Ok(())
}
