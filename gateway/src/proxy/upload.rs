//! A request's body on its way in: how much of it may come, and how slowly.
//!
//! What counts is the time until the upstream answers. Then the two may talk as slowly as they like: a stream that goes
//! both ways has no body that would ever be whole.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use domain::BootInstant;
use gate::Denial;
use http::{HeaderMap, header};

use crate::config::ConnectionConfig;

/// gRPC waits between messages: so much slower may it be than other bodies.
const GRPC_PATIENCE: u64 = 50;

/// What is known of one body. Written by who reads it, read by who watches it.
#[derive(Debug)]
pub(crate) struct Upload {
    limit: u64,
    silence: Duration,
    /// Bytes a second; 0 for any.
    rate: u64,
    began: BootInstant,
    bytes: AtomicU64,
    /// When something last came, after `began`.
    heard_ms: AtomicU64,
    whole: AtomicBool,
}

impl Upload {
    /// Of a request that may have this much of a body, and has one unless it is `whole` already.
    pub(crate) fn new(
        limit: u64,
        whole: bool,
        http2: bool,
        headers: &HeaderMap,
        limits: &ConnectionConfig,
        now: BootInstant,
    ) -> Self {
        let is_grpc = |kind: &http::HeaderValue| kind.as_bytes().starts_with(b"application/grpc");
        // Over HTTP/1.1 the name is only said.
        let grpc = http2 && headers.get(header::CONTENT_TYPE).is_some_and(is_grpc);
        let rate = u64::from(limits.body_rate);
        Self {
            limit,
            silence: limits.body_timeout.get(),
            rate: if grpc { rate / GRPC_PATIENCE } else { rate },
            began: now,
            bytes: AtomicU64::new(0),
            heard_ms: AtomicU64::new(0),
            whole: AtomicBool::new(whole),
        }
    }

    /// What the request says of its body's size.
    ///
    /// # Errors
    /// It is too large.
    pub(crate) fn announced(&self, headers: &HeaderMap) -> Result<(), Denial> {
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > self.limit) { Err(Denial::BodyTooLarge) } else { Ok(()) }
    }

    /// Takes a piece of the body before it is sent on.
    ///
    /// # Errors
    /// It is too large with it, or came too slowly.
    pub(crate) fn took(&self, bytes: usize, last: bool, now: BootInstant) -> Result<(), Denial> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let total = self.bytes.fetch_add(bytes, Ordering::AcqRel).saturating_add(bytes);
        if total > self.limit {
            return Err(Denial::BodyTooLarge);
        }
        if last {
            self.whole.store(true, Ordering::Release);
            return Ok(());
        }
        self.heard_ms.store(millis(now.since(self.began)), Ordering::Release);
        self.progresses(now)
    }

    /// Whether the body still comes fast enough.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn progresses(&self, now: BootInstant) -> Result<(), Denial> {
        if self.whole.load(Ordering::Acquire) {
            return Ok(());
        }
        let since = now.since(self.began);
        let silent = millis(since).saturating_sub(self.heard_ms.load(Ordering::Acquire));
        let slow =
            since > self.silence && self.bytes.load(Ordering::Acquire) < since.as_secs().saturating_mul(self.rate);
        if silent > millis(self.silence) || slow { Err(Denial::RequestTimeout) } else { Ok(()) }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use domain::HumanDuration;

    use super::*;

    fn upload(kind: &'static str, http2: bool) -> Upload {
        let limits = ConnectionConfig { body_timeout: HumanDuration::from_secs(10), ..ConnectionConfig::default() };
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, http::HeaderValue::from_static(kind))]);
        Upload::new(1_000_000, false, http2, &headers, &limits, BootInstant::default())
    }

    fn at(secs: u64) -> BootInstant {
        BootInstant::default() + Duration::from_secs(secs)
    }

    #[test]
    fn steady_progress_passes_however_long_it_takes() {
        let upload = upload("text/plain", true);
        for second in 1..1000 {
            assert_eq!(upload.took(600, false, at(second)), Ok(()));
        }
    }

    #[test]
    fn a_byte_now_and_then_is_no_progress() {
        let upload = upload("text/plain", true);
        assert_eq!(upload.took(1, false, at(9)), Ok(()));
        assert_eq!(upload.took(1, false, at(18)), Err(Denial::RequestTimeout));
    }

    #[test]
    fn silence_ends_a_body_and_not_what_is_whole() {
        let upload = upload("application/grpc+proto", true);
        assert_eq!(upload.took(100, false, at(9)), Ok(()));
        assert_eq!(upload.took(100, false, at(18)), Ok(()), "gRPC waits between messages");
        assert_eq!(upload.progresses(at(29)), Err(Denial::RequestTimeout));
        assert_eq!(upload.took(0, true, at(29)), Ok(()));
        assert_eq!(upload.progresses(at(3600)), Ok(()));
    }

    #[test]
    fn a_body_is_not_let_drip_in_for_being_called_grpc() {
        for (http2, bytes) in [(true, 1), (false, 100)] {
            let upload = upload("application/grpc", http2);
            assert_eq!(upload.took(bytes, false, at(9)), Ok(()));
            assert_eq!(upload.took(bytes, false, at(18)), Err(Denial::RequestTimeout), "{http2}");
        }
    }

    #[test]
    fn a_body_is_as_large_as_it_may_be_and_no_larger() {
        let upload = upload("text/plain", true);
        assert_eq!(upload.took(1_000_000, false, at(1)), Ok(()));
        assert_eq!(upload.took(1, false, at(1)), Err(Denial::BodyTooLarge));
        let length = |length| HeaderMap::from_iter([(header::CONTENT_LENGTH, http::HeaderValue::from_static(length))]);
        assert_eq!(upload.announced(&length("1000000")), Ok(()));
        assert_eq!(upload.announced(&length("1000001")), Err(Denial::BodyTooLarge));
    }
}
