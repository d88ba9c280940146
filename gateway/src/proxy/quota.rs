//! `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10): the limit that a request came closest to.

use std::time::Duration;

use bytes::{BufMut as _, BytesMut};
use gate::Quota;
use http::{HeaderMap, HeaderName, HeaderValue};
use pingora::{ErrorType, OrErr as _};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Says what is left: `q` requests at once, which are there again within `w` seconds; `r` of them now, and all of them
/// in `t` seconds.
pub(crate) fn tell(fields: &mut HeaderMap, quota: &Quota) -> pingora::Result<()> {
    let Quota { limit, size, window, level } = quota;
    fields.insert(POLICY, parts(limit.policy(), [(";q=", *size), (";w=", (*window).into())])?);
    let left = [(";r=", level.left), (";t=", seconds(level.full_in))];
    fields.insert(RATE_LIMIT, parts(limit.policy(), left)?);
    Ok(())
}

/// A limit's name with two parameters.
fn parts(name: &str, parameters: [(&str, u64); 2]) -> pingora::Result<HeaderValue> {
    let mut text = BytesMut::with_capacity(64);
    text.put_u8(b'"');
    text.put_slice(name.as_bytes());
    text.put_u8(b'"');
    for (parameter, value) in parameters {
        text.put_slice(parameter.as_bytes());
        text.put_slice(itoa::Buffer::new().format(value).as_bytes());
    }
    HeaderValue::from_maybe_shared(text.freeze()).or_err(ErrorType::InternalError, "a limit is no field value")
}

/// For `Retry-After` of a refused request: at least one second.
pub(crate) fn retry_after(quota: &Quota) -> u64 {
    seconds(quota.level.wait).max(1)
}

fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
