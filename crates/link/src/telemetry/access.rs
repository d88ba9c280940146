//! The access log: one line for each request, made without `tracing`'s machinery, which costs more than deciding does.

use std::{
    cell::RefCell,
    fmt::{self, Write as _},
    net::IpAddr,
    time::Duration,
};

use domain::{Id, Timestamp, network::push_address};

use super::{LogFormat, SINK};
use crate::clock;

/// Bytes of a line; a longer one takes more for once.
const USUAL: usize = 2048;

thread_local! {
    static LINE: RefCell<(String, Stamp)> = const { RefCell::new((String::new(), Stamp::new())) };
}

/// The time of day as lines begin with it. A second's lines share the part that is dear to make.
#[derive(Debug)]
struct Stamp {
    /// Since 1970.
    second: u64,
    /// As RFC 3339 writes it, without fraction and zone.
    text: String,
}

impl Stamp {
    const fn new() -> Self {
        Self { second: 0, text: String::new() }
    }

    /// Appends a time since 1970, to the microsecond.
    fn write(&mut self, since: Duration, line: &mut String) {
        if self.second != since.as_secs() || self.text.is_empty() {
            self.second = since.as_secs();
            self.text = Timestamp::from_secs(self.second.try_into().unwrap_or(i64::MAX)).to_string();
            self.text.truncate(self.text.find('.').unwrap_or(self.text.len()));
        }
        line.push_str(&self.text);
        line.push('.');
        // With a one in front, so that all six digits are there.
        let (mut digits, fraction) = (itoa::Buffer::new(), 1_000_000 + since.subsec_micros());
        line.push_str(digits.format(fraction).get(1..).unwrap_or_default());
        line.push('Z');
    }
}

/// One line that is being made. A name is our own; what values hold cannot end the line.
#[derive(Debug)]
pub struct AccessLine<'l> {
    line: &'l mut String,
    format: LogFormat,
}

/// Writes a line at target `access`, level `INFO`, unless the filter leaves it out. In a program that did not call
/// [`super::init`] it is an event with one message: whoever embeds the edge has a subscriber of their own.
pub fn access(fields: impl FnOnce(&mut AccessLine<'_>)) {
    if !tracing::enabled!(target: "access", tracing::Level::INFO) {
        return;
    }
    let Some((format, lines)) = SINK.get() else {
        let mut line = String::from("request");
        fields(&mut AccessLine { line: &mut line, format: LogFormat::Text });
        return tracing::info!(target: "access", "{line}");
    };
    LINE.with_borrow_mut(|(line, stamp)| {
        line.clear();
        compose(line, *format, (stamp, clock::since_1970()), fields);
        lines.push(line.as_bytes(), false);
        line.shrink_to(USUAL);
    });
}

fn compose(
    line: &mut String,
    format: LogFormat,
    (stamp, now): (&mut Stamp, Duration),
    fields: impl FnOnce(&mut AccessLine<'_>),
) {
    let start = if format == LogFormat::Json { "{\"timestamp\":\"" } else { "" };
    line.push_str(start);
    stamp.write(now, line);
    line.push_str(match format {
        LogFormat::Json => "\",\"level\":\"INFO\",\"message\":\"request\"",
        LogFormat::Text => "  INFO access: request",
    });
    fields(&mut AccessLine { line, format });
    line.push_str(match format {
        LogFormat::Json => ",\"target\":\"access\"}\n",
        LogFormat::Text => "\n",
    });
}

impl AccessLine<'_> {
    /// A text.
    pub fn text(&mut self, name: &'static str, value: &str) {
        self.quoted(name);
        let _ = Escaped(self.line).write_str(value);
        self.line.push('"');
    }

    /// What a value prints as.
    pub fn display(&mut self, name: &'static str, value: impl fmt::Display) {
        self.quoted(name);
        // Writing to a string succeeds.
        let _ = write!(Escaped(self.line), "{value}");
        self.line.push('"');
    }

    /// An id.
    pub fn id<K>(&mut self, name: &'static str, id: Id<K>) {
        self.quoted(name);
        id.push_to(self.line);
        self.line.push('"');
    }

    /// An address of the internet.
    pub fn address(&mut self, name: &'static str, address: IpAddr) {
        self.quoted(name);
        push_address(self.line, address);
        self.line.push('"');
    }

    /// A number.
    pub fn number(&mut self, name: &'static str, value: u64) {
        self.name(name);
        self.line.push_str(itoa::Buffer::new().format(value));
    }

    /// Yes or no.
    pub fn flag(&mut self, name: &'static str, value: bool) {
        self.name(name);
        self.line.push_str(if value { "true" } else { "false" });
    }

    fn name(&mut self, name: &'static str) {
        match self.format {
            LogFormat::Json => self.around(",\"", name, "\":"),
            LogFormat::Text => self.around(" ", name, "="),
        }
    }

    /// The name, and where its value opens.
    fn quoted(&mut self, name: &'static str) {
        match self.format {
            LogFormat::Json => self.around(",\"", name, "\":\""),
            LogFormat::Text => self.around(" ", name, "=\""),
        }
    }

    fn around(&mut self, before: &str, name: &str, after: &str) {
        self.line.push_str(before);
        self.line.push_str(name);
        self.line.push_str(after);
    }
}

/// Escapes what JSON escapes (RFC 8259 §7), and what would speak to a terminal or break a line elsewhere.
struct Escaped<'l>(&'l mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let escapes = |byte| !matches!(byte, b' '..=b'~') || matches!(byte, b'"' | b'\\');
        // Looks at all of it: without an early end it is many bytes at a time.
        if !text.bytes().fold(false, |found, byte| found | escapes(byte)) {
            self.0.push_str(text);
            return Ok(());
        }
        for character in text.chars() {
            match character {
                '"' | '\\' => {
                    self.0.push('\\');
                    self.0.push(character);
                }
                _ if super::breaks(character) => write!(self.0, "\\u{:04x}", u32::from(character))?,
                _ => self.0.push(character),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn line(format: LogFormat, fields: impl FnOnce(&mut AccessLine<'_>)) -> String {
        let mut line = String::new();
        compose(&mut line, format, (&mut Stamp::new(), Duration::from_micros(1_700_000_000_000_042)), fields);
        line
    }

    #[test]
    fn times_are_whole_to_the_microsecond_and_follow_the_second() {
        let (mut stamp, mut line) = (Stamp::new(), String::new());
        for micros in [0, 1_700_000_000_000_042, 1_700_000_000_999_999, 1_700_000_001_000_000] {
            stamp.write(Duration::from_micros(micros), &mut line);
            line.push(' ');
        }
        let expected = "1970-01-01T00:00:00.000000Z 2023-11-14T22:13:20.000042Z 2023-11-14T22:13:20.999999Z \
                        2023-11-14T22:13:21.000000Z ";
        assert_eq!(line, expected);
    }

    #[test]
    fn ids_and_addresses_are_as_they_print() {
        let id = domain::RequestId::new(Uuid::from_u128(0x0123_4567_89ab_7def_8123_4567_89ab_cdef));
        let made = line(LogFormat::Json, |line| {
            line.id("request.id", id);
            line.address("four", [192, 0, 2, 255].into());
            line.address("six", "2001:db8::1".parse().unwrap());
        });
        let read: serde_json::Value = serde_json::from_str(&made).unwrap();
        assert_eq!(read["request.id"], id.to_string());
        assert_eq!((&read["four"], &read["six"]), (&"192.0.2.255".into(), &"2001:db8::1".into()));
    }

    #[test]
    fn s10_no_value_begins_a_line_of_its_own_or_speaks_to_a_terminal() {
        let hostile = "a\r\nb\"}\n{\"decision\":\"permit\"}\\\u{1b}[31m\u{2028}\u{85}\u{9b}\0\u{7f}é";
        for format in [LogFormat::Json, LogFormat::Text] {
            let made = line(format, |line| {
                line.text("host", hostile);
                line.display("reason", hostile);
            });
            let made = made.strip_suffix('\n').unwrap();
            assert!(!made.contains(|c: char| c.is_control() || c == '\u{2028}'), "{format:?}: {made:?}");
            if format == LogFormat::Json {
                let read: serde_json::Value = serde_json::from_str(made).unwrap();
                assert_eq!((&read["host"], &read["reason"]), (&hostile.into(), &hostile.into()));
                assert_eq!(read.get("decision"), None);
            }
        }
    }

    #[test]
    fn both_forms_have_all_fields() {
        let fields = |line: &mut AccessLine<'_>| {
            line.text("decision", "permit");
            line.number("http.status", 200);
            line.flag("token.cached", true);
        };
        let text = line(LogFormat::Text, fields);
        assert!(
            text.ends_with("Z  INFO access: request decision=\"permit\" http.status=200 token.cached=true\n"),
            "{text}"
        );
        let read: serde_json::Value = serde_json::from_str(&line(LogFormat::Json, fields)).unwrap();
        assert_eq!(read["level"], "INFO");
        assert_eq!(read["target"], "access");
        assert_eq!(read["http.status"], 200);
        assert_eq!(read["token.cached"], true);
        assert!(read["timestamp"].as_str().unwrap().ends_with('Z'));
    }
}
