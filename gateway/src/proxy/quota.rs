//! `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10): the limit that a request came closest to.

use std::time::Duration;

use gate::Quota;
use http::HeaderName;
use pingora::http::ResponseHeader;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Says what is left: `q` requests at once, which are there again within `w` seconds; `r` of them now, and all of them
/// in `t` seconds.
pub(crate) fn tell(response: &mut ResponseHeader, quota: &Quota) -> pingora::Result<()> {
    let Quota { limit, size, window, level } = quota;
    let name = limit.policy();
    response.insert_header(POLICY, format!("\"{name}\";q={size};w={window}"))?;
    response.insert_header(RATE_LIMIT, format!("\"{name}\";r={};t={}", level.left, seconds(level.full_in)))
}

/// For `Retry-After` of a refused request: at least one second.
pub(crate) fn retry_after(quota: &Quota) -> u64 {
    seconds(quota.level.wait).max(1)
}

fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
