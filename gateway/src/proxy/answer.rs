//! Answers of our own: problems (RFC 9457) and redirects.

use bytes::Bytes;
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
        Stop::Deny(denial) => problem(denial, ctx)?,
    };
    response.insert_header(header::CACHE_CONTROL, "no-store")?;
    response.insert_header(header::CONTENT_LENGTH, body.len())?;
    response.insert_header(REQUEST_ID, ctx.request_id.to_string())?;
    if response.status == StatusCode::BAD_REQUEST {
        // Where one request ends and the next begins is in doubt.
        session.set_keepalive(None);
    }
    let has_body = !body.is_empty() && session.req_header().method != Method::HEAD;
    session.write_response_header(Box::new(response), !has_body).await?;
    if has_body {
        session.write_response_body(Some(body), true).await?;
    }
    Ok(())
}

fn problem(denial: &Denial, ctx: &RequestContext) -> pingora::Result<(ResponseHeader, Bytes)> {
    let (status, code) = denial.public();
    let body = json!({
        "type": "about:blank",
        "title": denial.title(),
        "status": status.as_u16(),
        "code": code,
        "request_id": ctx.request_id,
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
