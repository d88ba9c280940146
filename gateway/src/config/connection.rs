//! How long and how large what a client sends may be.

use domain::{ByteSize, HumanDuration};
use link::file::Checks;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What Pingora's HTTP/1.1 parser takes at most, in header fields.
const MAX_FIELDS: usize = 255;

/// How clients' connections are bounded in time and size, before and while a request is served.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectionConfig {
    /// Longest TLS handshake, 100 ms to 60 s. Default 10 s: a phone on a bad network needs two round trips.
    pub handshake_timeout: HumanDuration,
    /// Longest time for a request's whole head, from its first byte, or from the start of the connection for the first
    /// request; 100 ms to 5 m. Default 15 s. Then the answer is 408, whatever still drips in.
    pub header_timeout: HumanDuration,
    /// A connection that serves no request for this long is closed, 100 ms to 1 h. Default 60 s.
    pub idle_timeout: HumanDuration,
    /// Longest silence within a request body that the upstream has not begun to answer, 100 ms to 1 h. Default 60 s.
    pub body_timeout: HumanDuration,
    /// Bytes a second of a request body that the upstream has not begun to answer, on average and once `body_timeout`
    /// is over, 0 to 1,000,000; 0 for none. Default 500, as Apache's `mod_reqtimeout`. gRPC over HTTP/2, which waits
    /// between messages, is held to a fiftieth of it.
    #[schemars(range(max = 1_000_000))]
    pub body_rate: u32,
    /// Longest time a client may take none of what is written to it, 100 ms to 1 h. Default 60 s.
    pub write_timeout: HumanDuration,
    /// Longest silence, both ways, of a stream: a WebSocket, server-sent events, gRPC, and whatever goes by a route with a
    /// `max_stream`; 1 s to 7 d. Default 1 h. It stands in the place of the upstream's `read` timeout. Keep-alive messages
    /// are the two ends' own; the gateway sends none.
    pub stream_idle: HumanDuration,
    /// Requests on one connection, 1 to 1,000,000. Default 10,000. The last one says `Connection: close`, of HTTP/2 there
    /// is a GOAWAY.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_requests: u32,
    /// Bytes of a request's head, `1KiB` to `1MiB`: of HTTP/1.1 as sent, of HTTP/2 as counted by RFC 9113 §6.5.2. Default
    /// `64KiB`. More is 431.
    pub max_head: ByteSize,
    /// Header fields of a request, 1 to 255. Default 128. More is 431.
    #[schemars(range(min = 1, max = 255))]
    pub max_fields: usize,
    /// Bytes of a request target, `64B` to `16KiB`. Default `16KiB`. More is 414.
    pub max_target: ByteSize,
    /// Bytes of a request body where neither route nor hostname says otherwise, `0B` to any. Default `1GiB`: bodies are
    /// streamed, not kept. More is 413.
    pub max_body: ByteSize,
    /// HTTP/2.
    pub http2: Http2Config,
}

/// What one HTTP/2 connection may do (RFC 9113).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Http2Config {
    /// Streams at once, 1 to 10,000. Default 100, the least that RFC 9113 §6.5.2 recommends.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_streams: u32,
    /// Streams that the client reset before they were looked at, 1 to 10,000. Default 20. More, and the connection ends
    /// (CVE-2023-44487).
    #[schemars(range(min = 1, max = 10_000))]
    pub max_early_resets: usize,
    /// Streams that the client made us reset, over the whole connection, 1 to 100,000. Default 256. More, and the
    /// connection ends (CVE-2025-8671).
    #[schemars(range(min = 1, max = 100_000))]
    pub max_forced_resets: usize,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            handshake_timeout: HumanDuration::from_secs(10),
            header_timeout: HumanDuration::from_secs(15),
            idle_timeout: HumanDuration::from_secs(60),
            body_timeout: HumanDuration::from_secs(60),
            body_rate: 500,
            write_timeout: HumanDuration::from_secs(60),
            stream_idle: HumanDuration::from_secs(3600),
            max_requests: 10_000,
            max_head: ByteSize::from_bytes(64 << 10),
            max_fields: 128,
            max_target: ByteSize::from_bytes(16 << 10),
            max_body: ByteSize::from_bytes(1 << 30),
            http2: Http2Config::default(),
        }
    }
}

impl Default for Http2Config {
    fn default() -> Self {
        Self { max_streams: 100, max_early_resets: 20, max_forced_resets: 256 }
    }
}

impl ConnectionConfig {
    /// Collects what is out of range where the schema cannot say it.
    pub(super) fn check(&self, checks: &mut Checks<'_>) {
        let (minute, hour) = (HumanDuration::from_secs(60), HumanDuration::from_secs(3600));
        let shortest = HumanDuration::from_millis(100);
        for (key, value, longest) in [
            ("handshake_timeout", self.handshake_timeout, minute),
            ("header_timeout", self.header_timeout, HumanDuration::from_secs(300)),
            ("idle_timeout", self.idle_timeout, hour),
            ("body_timeout", self.body_timeout, hour),
            ("write_timeout", self.write_timeout, hour),
        ] {
            if !(shortest..=longest).contains(&value) {
                checks.refuse(&format!("/connections/{key}"), format!("is not {shortest} to {longest}"));
            }
        }
        let (second, week) = (HumanDuration::from_secs(1), HumanDuration::from_secs(7 * 24 * 3600));
        if !(second..=week).contains(&self.stream_idle) {
            checks.refuse("/connections/stream_idle", format!("is not {second} to {week}"));
        }
        for (key, value, least, most) in
            [("max_head", self.max_head, 1 << 10, 1 << 20), ("max_target", self.max_target, 64, 16 << 10)]
        {
            let (least, most) = (ByteSize::from_bytes(least), ByteSize::from_bytes(most));
            if !(least..=most).contains(&value) {
                checks.refuse(&format!("/connections/{key}"), format!("is not {least} to {most}"));
            }
        }
        if !(1..=MAX_FIELDS).contains(&self.max_fields) {
            checks.refuse("/connections/max_fields", format!("is not 1 to {MAX_FIELDS}"));
        }
    }
}
