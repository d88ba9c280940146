//! The body of a signed request: taken in whole and compared with its hash before anything is sent on.
//!
//! Pingora reads a body before the upstream is turned to only into its own buffer for retries, which holds 64 KiB and is
//! emptied by a byte more; and without something in that buffer it takes the body for still to come. So the body is kept
//! here, that buffer is made to hold the last part of it alone, and when Pingora hands that on, the whole is put in its
//! place. Where the last part begins is known from `Content-Length`; a longer body without one is refused.

use std::sync::Arc;

use authn::{KeyError, signature::MAX_BODY_BYTES};
use aws_lc_rs::digest;
use domain::Clock;
use gate::{Denial, Stop};
use http::header;
use pingora::{Error, proxy::Session};

use super::upload::Upload;
use bytes::{Bytes, BytesMut};

/// What Pingora's buffer holds, in bytes.
const BUFFER: u64 = 64 * 1024;

/// The largest body that is taken in, of a request that says how long it is and of one that does not.
pub(crate) fn limit(session: &Session) -> u64 {
    if announced(session).is_some() { MAX_BODY_BYTES } else { BUFFER }
}

/// Takes in the body; nothing is left to come. None for a request without one.
///
/// # Errors
/// It is not the one that was signed, is too long, or comes too slowly; or the client is gone.
pub(crate) async fn take_in(
    session: &mut Session,
    expected: &[u8; 32],
    upload: &Upload,
    clock: &Arc<dyn Clock>,
) -> Result<Result<Option<Bytes>, Stop>, Box<Error>> {
    let mut body = BytesMut::new();
    if !session.is_body_empty() {
        let length = announced(session).unwrap_or(0);
        if session.req_header().headers.contains_key(header::EXPECT) {
            session.as_downstream_mut().write_continue_response().await?;
        }
        loop {
            let left = length.saturating_sub(body.len() as u64);
            if left <= BUFFER {
                session.enable_retry_buffering();
            }
            let part = session.read_request_body().await?;
            let (bytes, last) = (part.as_ref().map_or(0, Bytes::len), part.is_none() || session.is_body_done());
            if let Err(denial) = upload.took(bytes, last, clock.boot_now()) {
                return Ok(Err(denial.into()));
            }
            body.extend(part);
            if last {
                break;
            }
        }
    }
    if digest::digest(&digest::SHA256, &body).as_ref() != expected {
        return Ok(Err(Denial::Key(KeyError::SignatureBody).into()));
    }
    Ok(Ok((!body.is_empty()).then(|| body.freeze())))
}

fn announced(session: &Session) -> Option<u64> {
    session.req_header().headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
