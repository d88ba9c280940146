//! Logs to stderr, traces to an OpenTelemetry collector, and the `traceparent` header between services.
//!
//! [`init`] is called once, by `main`. Without an endpoint no exporter is started and spans cost only their logs.

mod access;
mod lines;

use std::{
    fmt, io,
    sync::{Arc, OnceLock},
};

use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider},
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{
    EnvFilter, Layer, fmt::MakeWriter, layer::SubscriberExt, registry::LookupSpan, util::SubscriberInitExt,
};

use self::lines::{Events, Lines};
pub use self::{
    access::{AccessLine, access},
    lines::lost as lost_lines,
};

/// Where this process's lines go, and in which form.
static SINK: OnceLock<(LogFormat, Arc<Lines>)> = OnceLock::new();

/// What is logged and traced, and where to.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// Form of the log on stderr.
    pub format: LogFormat,
    /// Which lines are logged: a level, or `target=level` pairs with commas between them. The proxy library's own lines
    /// (`pingora_proxy`) are left out unless named here.
    pub filter: String,
    /// Base URL of an OpenTelemetry collector (OTLP over HTTP), such as `http://127.0.0.1:4318`. Without one nothing is
    /// traced.
    pub otlp_endpoint: Option<String>,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { format: LogFormat::default(), filter: "info".into(), otlp_endpoint: None }
    }
}

/// Form of the log.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For people.
    Text,
}

/// Why logs or traces cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error("`{filter}` is not a log filter")]
    Filter {
        /// The filter.
        filter: String,
        /// Why.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The exporter cannot be made.
    #[error("traces cannot be sent to `{endpoint}`")]
    Exporter {
        /// Where to.
        endpoint: String,
        /// Why.
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// Somebody set up logging before.
    #[error("logging is set up already")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
    /// Nobody could write the log.
    #[error("there is no thread for the log")]
    Thread(#[source] io::Error),
}

/// Sends what is left of traces and log when it is dropped.
#[derive(Debug, Default)]
#[must_use = "traces and log end when this is dropped"]
pub struct TelemetryGuard {
    provider: Option<SdkTracerProvider>,
    lines: Option<Arc<Lines>>,
}

impl Drop for TelemetryGuard {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.provider.as_ref().map(SdkTracerProvider::shutdown) {
            tracing::warn!(%error, "some traces were not sent");
        }
        if let Some(lines) = &self.lines {
            lines.end();
        }
    }
}

/// Sets up logs and traces for the process. `service` is its name in traces.
///
/// # Errors
/// See [`TelemetryError`].
pub fn init(config: &TelemetryConfig, service: &'static str) -> Result<TelemetryGuard, TelemetryError> {
    // What a client or an upstream does wrong is in the line of its request. The library tells it again, as an error, for
    // each connection that anybody closes early: a line of its own for whoever wants to fill the log.
    let filter = EnvFilter::try_new(format!("pingora_proxy=off,{}", config.filter));
    let filter = filter.map_err(|source| TelemetryError::Filter { filter: config.filter.clone(), source })?;
    let format = config.format;
    let waiting = Lines::begin(io::stderr(), move |lost| lost_line(format, lost)).map_err(TelemetryError::Thread)?;
    let lines = lines(format, Events(Arc::clone(&waiting)));
    let provider = config.otlp_endpoint.as_deref().map(|endpoint| exporter(endpoint, service)).transpose()?;
    let traces = provider.as_ref().map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer(service)));
    tracing_subscriber::registry().with(traces).with(lines).with(filter).try_init()?;
    // Set once, as the subscriber is.
    let _ = SINK.set((format, Arc::clone(&waiting)));
    Ok(TelemetryGuard { provider, lines: Some(waiting) })
}

/// Says that lines were lost. Not an event: it goes around the buffer that was full.
fn lost_line(format: LogFormat, lost: u64) -> String {
    match format {
        LogFormat::Json => format!(
            "{{\"level\":\"WARN\",\"message\":\"log lines were lost: nobody read them fast enough\",\"log.lost\":{lost},\"target\":\"link::telemetry\"}}\n"
        ),
        LogFormat::Text => {
            format!(" WARN link::telemetry: log lines were lost: nobody read them fast enough log.lost={lost}\n")
        }
    }
}

/// Events as lines.
fn lines<S, W>(format: LogFormat, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'s> LookupSpan<'s>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(OneLine(writer));
    match format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => lines.with_ansi(false).boxed(),
    }
}

/// Whether a character begins a line or speaks to a terminal.
fn breaks(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

/// Keeps each event on one line: no value in it begins another or speaks to a terminal.
struct OneLine<W>(W);

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for OneLine<W> {
    type Writer = Line<W::Writer>;
    fn make_writer(&'w self) -> Self::Writer {
        Line(self.0.make_writer())
    }
}

/// One event on its way. The formatter writes it at once, with its line end.
struct Line<W>(W);

impl<W: io::Write> io::Write for Line<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let (line, end) = text.strip_suffix('\n').map_or((&*text, ""), |line| (line, "\n"));
        if line.contains(breaks) {
            let mut escaped = String::with_capacity(text.len() + 16);
            for character in line.chars() {
                if breaks(character) {
                    // As JSON writes it: that may be the form of the line.
                    escaped.push_str(&format!("\\u{:04x}", u32::from(character)));
                } else {
                    escaped.push(character);
                }
            }
            self.0.write_all(escaped.as_bytes())?;
            self.0.write_all(end.as_bytes())?;
        } else {
            self.0.write_all(event)?;
        }
        Ok(event.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn exporter(endpoint: &str, service: &'static str) -> Result<SdkTracerProvider, TelemetryError> {
    let url = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
    let exporter = SpanExporter::builder().with_http().with_endpoint(url).build();
    let exporter = exporter.map_err(|source| TelemetryError::Exporter { endpoint: endpoint.into(), source })?;
    let resource = Resource::builder().with_service_name(service).build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

/// The `traceparent` header (W3C Trace Context §3.2), version 00.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TraceParent {
    /// The trace. Never zero.
    pub trace: u128,
    /// The calling span. Never zero.
    pub span: u64,
    /// Whether the caller records it.
    pub sampled: bool,
}

impl TraceParent {
    /// Reads a header; none when it is not one. A later version is read as far as this one goes (§3.2.4).
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let version = lower_hex(version, 2)?;
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return None;
        }
        let trace = lower_hex(trace, 32).filter(|id| *id != 0)?;
        let span = u64::try_from(lower_hex(span, 16)?).ok().filter(|id| *id != 0)?;
        Some(Self { trace, span, sampled: lower_hex(flags, 2)? & 1 == 1 })
    }

    /// What to send on behalf of a span; none when it is not traced.
    pub fn of(span: &tracing::Span) -> Option<Self> {
        let context = span.context();
        let here = context.span().span_context().clone();
        here.is_valid().then(|| Self {
            trace: u128::from_be_bytes(here.trace_id().to_bytes()),
            span: u64::from_be_bytes(here.span_id().to_bytes()),
            sampled: here.is_sampled(),
        })
    }

    /// Makes a span the child of the caller's. Nothing happens when spans are not traced.
    pub fn adopt(self, span: &tracing::Span) {
        let flags = if self.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
        let (trace, caller) = (TraceId::from(self.trace), SpanId::from(self.span));
        let parent = SpanContext::new(trace, caller, flags, true, TraceState::default());
        let adopted = span.set_parent(Context::new().with_remote_span_context(parent));
        if let Err(error) = adopted {
            tracing::trace!(%error, "the span is not traced");
        }
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

fn lower_hex(text: &str, digits: usize) -> Option<u128> {
    let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (text.len() == digits && text.bytes().all(lower)).then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a runtime, as `main` runs: the exporter's blocking client must bear that.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn spans_reach_the_collector_before_the_guard_is_gone() {
        use std::io::{Read, Write};

        use opentelemetry::trace::{Span, Tracer};

        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}/", listener.local_addr().unwrap());
        let collector = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = [0; 1024];
            let read = stream.read(&mut bytes).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
            String::from_utf8_lossy(&bytes[..read]).into_owned()
        });
        let provider = exporter(&endpoint, "test").unwrap();
        provider.tracer("test").start("a span").end();
        drop(TelemetryGuard { provider: Some(provider), lines: None });
        let request = collector.join().unwrap();
        assert!(request.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{request}");
    }

    /// Keeps what is written.
    #[derive(Clone, Default)]
    struct Kept(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn s10_no_value_begins_a_line_of_its_own_or_speaks_to_a_terminal() {
        for format in [LogFormat::Json, LogFormat::Text] {
            for hostile in [
                "a\r\nb",
                "a\n2026-01-01T00:00:00Z  INFO access: forged",
                "\u{1b}[31mred\u{1b}]0;title\u{7}",
                "\"}\n{\"level\":\"INFO\",\"decision\":\"permit\"}",
                "\u{2028}\u{85}\u{9b}31m\0\u{7f}",
            ] {
                let kept = Kept::default();
                let writer = kept.clone();
                let subscriber = tracing_subscriber::registry().with(lines(format, move || writer.clone()));
                tracing::subscriber::with_default(subscriber, || {
                    let span = tracing::info_span!("request", host = %hostile);
                    let _in = span.enter();
                    tracing::info!(principal = hostile, path = %hostile, agent = ?hostile, "a {hostile} message");
                });
                let written = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
                let line = written.strip_suffix('\n').unwrap();
                assert!(!line.contains(|c: char| c.is_control() || c == '\u{2028}'), "{format:?}: {line:?}");
                if format == LogFormat::Json {
                    let event: serde_json::Value = serde_json::from_str(line).unwrap();
                    assert_eq!(event["level"], "INFO");
                    assert_eq!(event.get("decision"), None);
                }
            }
        }
    }

    #[test]
    fn a_wrong_filter_is_named() {
        let config = TelemetryConfig { filter: "link=loud".into(), ..TelemetryConfig::default() };
        let error = init(&config, "test").unwrap_err();
        assert_eq!(error.to_string(), "`link=loud` is not a log filter");
    }

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_example_of_the_recommendation_reads_back() {
        let parent = TraceParent::parse(EXAMPLE).unwrap();
        assert!(parent.sampled);
        assert_eq!(parent.to_string(), EXAMPLE);
    }

    #[test]
    fn a_header_that_is_none_is_ignored() {
        for bad in [
            "",
            "00",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-+0f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
        assert!(TraceParent::parse("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what").is_some());
    }
}
