//! Answers of our own: problems (RFC 9457) and redirects.

use bytes::Bytes;
use domain::RequestId;
use gate::{Answer, Denial, Stop};
use http::{Method, StatusCode, header};
use pingora::{http::ResponseHeader, proxy::Session};
use serde_json::json;

use super::{context::RequestContext, response::REQUEST_ID};

/// Writes the answer to a stopped request.
pub(crate) async fn write(session: &mut Session, ctx: &RequestContext, stop: &Stop) -> pingora::Result<()> {
    let (mut response, body) = match stop {
        Stop::Answer(Answer::RedirectToHttps { location }) => {
            let mut response = ResponseHeader::build(StatusCode::PERMANENT_REDIRECT, Some(4))?;
            response.insert_header(header::LOCATION, location)?;
            (response, Bytes::new())
        }
        Stop::Deny(denial) => problem(denial, ctx.request_id)?,
    };
    complete(&mut response, &body, ctx.request_id)?;
    // Where one request ends and the next begins is in doubt, or what is left of this one is not worth reading.
    if matches!(response.status, StatusCode::BAD_REQUEST | StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE)
    {
        session.set_keepalive(None);
        if !session.is_body_done()
            && let Some(connection) = ctx.watch.connection()
        {
            connection.leave_unread();
        }
    }
    let has_body = !body.is_empty() && session.req_header().method != Method::HEAD;
    session.write_response_header(Box::new(response), !has_body).await?;
    if has_body {
        session.write_response_body(Some(body), true).await?;
    }
    Ok(())
}

/// What every answer of ours has.
fn complete(response: &mut ResponseHeader, body: &Bytes, id: RequestId) -> pingora::Result<()> {
    response.insert_header(header::CACHE_CONTROL, "no-store")?;
    response.insert_header(header::CONTENT_LENGTH, body.len())?;
    response.insert_header(REQUEST_ID, id.to_string())
}

/// A refusal whole, for who writes it himself.
pub(crate) fn refusal(denial: &Denial, id: RequestId) -> pingora::Result<(ResponseHeader, Bytes)> {
    let (mut response, body) = problem(denial, id)?;
    complete(&mut response, &body, id)?;
    Ok((response, body))
}

/// The problem that a refusal is to its caller.
fn problem(denial: &Denial, id: RequestId) -> pingora::Result<(ResponseHeader, Bytes)> {
    let (status, code) = denial.public();
    let body = json!({
        "type": "about:blank",
        "title": denial.title(),
        "status": status.as_u16(),
        "code": code,
        "request_id": id,
    });
    let mut response = ResponseHeader::build(status, Some(8))?;
    response.insert_header(header::CONTENT_TYPE, "application/problem+json")?;
    if let Some(seconds) = denial.retry_after() {
        response.insert_header(header::RETRY_AFTER, seconds)?;
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.insert_header(header::ALLOW, gate::canonical::METHODS.join(", "))?;
    }
    if let Some(challenge) = denial.challenge() {
        response.insert_header(header::WWW_AUTHENTICATE, challenge)?;
    }
    Ok((response, body.to_string().into()))
}
