//! Answers of our own: problems (RFC 9457) and redirects.

use bytes::Bytes;
use domain::{
    RequestId,
    response::{ErrorPage, Placeholder},
};
use gate::{Answer, Denial, Listener, Stop};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use pingora::{http::ResponseHeader, proxy::Session};
use serde_json::json;

use super::{
    accept,
    context::RequestContext,
    cors, fields, quota,
    response::{self, REQUEST_ID},
};

/// Bytes of a refused body that are read so that the connection can be kept.
const WORTH_READING: u64 = 64 * 1024;

/// Of a page that is written into the answer: styles and images in it, and nothing else.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; \
                           form-action 'none'; frame-ancestors 'none'";

/// Writes the answer to a stopped request.
pub(crate) async fn write(
    session: &mut Session,
    ctx: &RequestContext,
    listener: Listener,
    stop: &Stop,
    tells_limits: bool,
) -> pingora::Result<()> {
    let (mut response, body) = match stop {
        Stop::Answer(Answer::RedirectToHttps { location }) => {
            let mut response = ResponseHeader::build(StatusCode::PERMANENT_REDIRECT, Some(4))?;
            response.insert_header(header::LOCATION, location)?;
            (response, Bytes::new())
        }
        Stop::Answer(Answer::Preflight { cors }) => {
            let request = &session.req_header().headers;
            (cors::preflight(cors, request)?, Bytes::new())
        }
        Stop::Deny(denial) => {
            let page = ctx.trace.response.as_ref().and_then(|policy| policy.error_page.as_ref());
            let (mut response, problem) = problem(denial, ctx.request_id)?;
            match page.filter(|_| accept::prefers_html(&session.req_header().headers)) {
                Some(page) => (as_page(response)?, filled(page, denial, ctx.request_id)),
                None => {
                    if page.is_some() {
                        response.insert_header(header::VARY, "accept")?;
                    }
                    (response, problem)
                }
            }
        }
    };
    let status = response.status;
    fields::change(&mut response, |fields| -> pingora::Result<()> {
        if let Some(policy) = ctx.trace.response.as_deref().filter(|_| listener == Listener::Tls) {
            response::apply(policy, fields);
        }
        complete(status, fields, &body, ctx.request_id)?;
        if let Some(rules) = &ctx.trace.cors {
            cors::tell(fields, rules, &session.req_header().headers);
        }
        if let Some(quota) = &ctx.trace.quota {
            if tells_limits {
                quota::tell(fields, quota)?;
            }
            if matches!(stop, Stop::Deny(Denial::RateLimited(_) | Denial::QuotaExceeded(_))) {
                fields.insert(header::RETRY_AFTER, quota::retry_after(quota).into());
            }
        }
        Ok(())
    })?;
    let unread = !session.is_body_done();
    // Where one request ends and the next begins is in doubt.
    let doubtful = matches!(response.status, StatusCode::BAD_REQUEST | StatusCode::REQUEST_TIMEOUT);
    if doubtful || (unread && !is_short(session)) {
        session.set_keepalive(None);
    }
    if unread && let Some(connection) = ctx.watch.connection() {
        connection.leave_unread();
    }
    let has_body = !body.is_empty() && session.req_header().method != Method::HEAD;
    session.write_response_header(Box::new(response), !has_body).await?;
    if has_body {
        session.write_response_body(Some(body), true).await?;
    }
    Ok(())
}

/// Whether what is left of a request's body is worth reading for the sake of the connection.
fn is_short(session: &Session) -> bool {
    let length = session.req_header().headers.get(header::CONTENT_LENGTH);
    length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok()).is_some_and(|length| length <= WORTH_READING)
}

/// The head of a problem that becomes a page: it loads nothing and runs nothing, unless the hostname's policy lets it.
fn as_page(mut response: ResponseHeader) -> pingora::Result<ResponseHeader> {
    response.insert_header(header::CONTENT_TYPE, "text/html; charset=utf-8")?;
    response.insert_header(header::CONTENT_SECURITY_POLICY, PAGE_POLICY)?;
    response.insert_header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")?;
    response.insert_header(header::VARY, "accept")?;
    Ok(response)
}

fn filled(page: &ErrorPage, denial: &Denial, id: RequestId) -> Bytes {
    let (status, code) = denial.public();
    let id = id.to_string();
    let fill = |place| match place {
        Placeholder::Status => status.as_str(),
        Placeholder::Title => denial.title(),
        Placeholder::Code => code,
        Placeholder::RequestId => &id,
    };
    page.render(fill).into()
}

/// What every answer of ours has.
fn complete(status: StatusCode, fields: &mut HeaderMap, body: &Bytes, id: RequestId) -> pingora::Result<()> {
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status != StatusCode::NO_CONTENT {
        // RFC 9110 §8.6: not in a 204.
        fields.insert(header::CONTENT_LENGTH, body.len().into());
    }
    fields.insert(REQUEST_ID, response::id_value(id)?);
    Ok(())
}

/// A refusal whole, for who writes it himself.
pub(crate) fn refusal(denial: &Denial, id: RequestId) -> pingora::Result<(ResponseHeader, Bytes)> {
    let (mut response, body) = problem(denial, id)?;
    let status = response.status;
    fields::change(&mut response, |fields| complete(status, fields, &body, id))?;
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
        response.insert_header(header::WWW_AUTHENTICATE, challenge.as_ref())?;
    }
    Ok((response, body.to_string().into()))
}
