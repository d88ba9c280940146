//! What an answer says to pages of other origins. The upstream has no say in it where the hostname has rules.

use gate::cors::{Allowed, CompiledCors};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use pingora::http::ResponseHeader;

/// Everything that an answer may say.
const FIELDS: [HeaderName; 6] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
];

/// What answers to preflights depend on, beside the origin.
const PREFLIGHT: &str = "Access-Control-Request-Method, Access-Control-Request-Headers";

/// The answer to a preflight, less what [`tell`] adds to every answer.
pub(super) fn preflight(rules: &CompiledCors, request: &HeaderMap) -> pingora::Result<ResponseHeader> {
    let mut response = ResponseHeader::build(StatusCode::NO_CONTENT, Some(8))?;
    response.append_header(header::VARY, PREFLIGHT)?;
    if rules.allows(request).is_some() {
        response.insert_header(header::ACCESS_CONTROL_ALLOW_METHODS, &rules.methods)?;
        if let Some(headers) = &rules.headers {
            response.insert_header(header::ACCESS_CONTROL_ALLOW_HEADERS, headers)?;
        }
        response.insert_header(header::ACCESS_CONTROL_MAX_AGE, &rules.max_age)?;
    }
    Ok(response)
}

/// Removes what an upstream says.
pub(super) fn clean(fields: &mut HeaderMap) {
    for name in &FIELDS {
        fields.remove(name);
    }
}

/// Says whether the page that asked may read the answer. Every answer depends on who asks, whoever did.
pub(super) fn tell(fields: &mut HeaderMap, rules: &CompiledCors, request: &HeaderMap) {
    fields.append(header::VARY, HeaderValue::from_static("Origin"));
    let Some(Allowed { origin, credentials }) = rules.allows(request) else { return };
    fields.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    if credentials {
        fields.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    if let Some(names) = &rules.expose {
        fields.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, names.clone());
    }
}
