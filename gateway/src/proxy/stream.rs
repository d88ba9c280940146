//! How long a stream goes on, and how silent it may be.
//!
//! An upstream's `read` timeout is for answers: a head that does not come, a body that stops in its middle. What is meant
//! to be silent is a *stream*, and has `connections.stream_idle` in its place: nothing is said either way for so long.
//! Pingora knows one time for all of it and has to be told before the upstream answers, so a request has to announce what
//! it is for: a WebSocket by `Upgrade`, server-sent events by `Accept`, gRPC by its content type, anything else by its
//! route's `max_stream`. Anybody can announce one, so until its answer begins it is held to the `read` timeout all the
//! same, by us; only a route with a `max_stream` waits for longer, as long polls do.
//!
//! Of HTTP/2, Pingora counts an upstream's silence while the request is still being sent to it. There, streams and large
//! uploads are watched by us instead.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use domain::BootInstant;
use gate::{Denial, Permit};
use http::{HeaderMap, header};

/// A body of this size is sent at once: while it is, no upstream is silent.
const SMALL_BODY: u64 = 64 << 10;

/// What is known of one request's silence and length.
#[derive(Debug)]
pub(crate) struct Stream {
    began: BootInstant,
    /// The route's.
    longest: Option<Duration>,
    /// Longest silence either way, where it is watched by us: until the upstream answers, and then.
    silence: Option<(Duration, Duration)>,
    /// When something last went either way, in milliseconds after `began`.
    heard_ms: AtomicU64,
    upstream: UpstreamSilence,
}

/// What Pingora is told of an upstream that says nothing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum UpstreamSilence {
    /// Its own `read` timeout.
    #[default]
    Usual,
    /// This long.
    Longer(Duration),
    /// Nothing: it is watched by us.
    Unbounded,
}

impl Stream {
    /// Of a permitted request with these headers, which has no body or some.
    pub(crate) fn new(permit: &Permit, headers: &HeaderMap, bodiless: bool, idle: Duration, now: BootInstant) -> Self {
        let upstream = &permit.route.upstream;
        let longest = permit.route.max_stream.map(|longest| longest.get());
        let (usual, announced) = (upstream.read_timeout.get(), longest.is_some() || announces(headers));
        let for_the_head = if longest.is_some() { idle } else { usual };
        let (silence, upstream) = match (announced, upstream.http2) {
            (true, false) => (Some((for_the_head, idle)), UpstreamSilence::Longer(idle)),
            (true, true) => (Some((for_the_head, idle)), UpstreamSilence::Unbounded),
            (false, true) if !bodiless && !is_small(headers) => (Some((usual, usual)), UpstreamSilence::Unbounded),
            (false, _) => (None, UpstreamSilence::Usual),
        };
        Self { began: now, longest, silence, heard_ms: AtomicU64::new(0), upstream }
    }

    /// What Pingora is told of a silent upstream.
    pub(crate) const fn upstream(&self) -> UpstreamSilence {
        self.upstream
    }

    /// Whether it matters when something is heard.
    pub(crate) const fn listens(&self) -> bool {
        self.silence.is_some()
    }

    /// Notes that something went either way.
    pub(crate) fn heard(&self, now: BootInstant) {
        self.heard_ms.store(millis(now.since(self.began)), Ordering::Release);
    }

    /// Whether it may go on; `answered` once the upstream has begun to answer.
    ///
    /// # Errors
    /// It was silent for too long, or the answer goes on for too long.
    pub(crate) fn goes_on(&self, answered: bool, now: BootInstant) -> Result<(), Denial> {
        let lasted = now.since(self.began);
        if answered && self.longest.is_some_and(|longest| lasted >= longest) {
            return Err(Denial::StreamTooLong);
        }
        let silent = millis(lasted).saturating_sub(self.heard_ms.load(Ordering::Acquire));
        match self.silence {
            Some((before, _)) if !answered && silent > millis(before) => Err(Denial::UpstreamTimeout),
            Some((_, silence)) if answered && silent > millis(silence) => Err(Denial::StreamSilent),
            _ => Ok(()),
        }
    }
}

/// Whether a request says of itself that what it asks for may be silent for long.
fn announces(headers: &HeaderMap) -> bool {
    let begins = |name, kind: &[u8]| {
        headers.get_all(name).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).any(|value| {
            value.trim_ascii_start().get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind))
        })
    };
    headers.contains_key(header::UPGRADE)
        || begins(header::CONTENT_TYPE, b"application/grpc")
        || begins(header::ACCEPT, b"text/event-stream")
}

fn is_small(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    length.is_some_and(|length| length <= SMALL_BODY)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn stream(longest: Option<u64>, silence: Option<u64>) -> Stream {
        Stream {
            began: BootInstant::default(),
            longest: longest.map(Duration::from_secs),
            silence: silence.map(Duration::from_secs).map(|silence| (silence / 2, silence)),
            heard_ms: AtomicU64::new(0),
            upstream: UpstreamSilence::Usual,
        }
    }

    fn at(secs: u64) -> BootInstant {
        BootInstant::default() + Duration::from_secs(secs)
    }

    #[test]
    fn a_route_ends_what_it_answers_and_not_what_is_still_asked() {
        let stream = stream(Some(10), None);
        assert_eq!(stream.goes_on(true, at(9)), Ok(()));
        assert_eq!(stream.goes_on(false, at(11)), Ok(()));
        assert_eq!(stream.goes_on(true, at(10)), Err(Denial::StreamTooLong));
    }

    #[test]
    fn silence_counts_from_what_was_heard_last() {
        let stream = stream(None, Some(10));
        assert_eq!(stream.goes_on(true, at(10)), Ok(()));
        stream.heard(at(10));
        assert_eq!(stream.goes_on(true, at(20)), Ok(()));
        assert_eq!(stream.goes_on(true, at(21)), Err(Denial::StreamSilent));
        assert_eq!(stream.goes_on(false, at(15)), Ok(()));
        assert_eq!(stream.goes_on(false, at(16)), Err(Denial::UpstreamTimeout));
    }

    #[test]
    fn a_stream_is_announced_by_the_request() {
        let announced = |name: &'static str, value: &'static str| {
            announces(&HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]))
        };
        for (name, value) in [
            ("upgrade", "websocket"),
            ("accept", "text/event-stream"),
            ("accept", "application/json, Text/Event-Stream;q=0.9"),
            ("content-type", "application/grpc+proto"),
        ] {
            assert!(announced(name, value), "{name}: {value}");
        }
        for (name, value) in [("accept", "text/html, */*"), ("content-type", "application/json")] {
            assert!(!announced(name, value), "{name}: {value}");
        }
    }
}
