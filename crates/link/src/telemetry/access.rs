//! The access log: one line for each request, made without `tracing`'s machinery, which costs more than deciding does.

use std::{
    cell::RefCell,
    fmt::{self, Write as _},
};

use tracing_subscriber::fmt::{
    format::Writer,
    time::{FormatTime as _, SystemTime},
};

use super::{LogFormat, SINK};

/// Bytes of a line; a longer one takes more for once.
const USUAL: usize = 2048;

thread_local! {
    static LINE: RefCell<String> = const { RefCell::new(String::new()) };
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
    LINE.with_borrow_mut(|line| {
        line.clear();
        compose(line, *format, fields);
        lines.push(line.as_bytes(), false);
        line.shrink_to(USUAL);
    });
}

fn compose(line: &mut String, format: LogFormat, fields: impl FnOnce(&mut AccessLine<'_>)) {
    let start = if format == LogFormat::Json { "{\"timestamp\":\"" } else { "" };
    line.push_str(start);
    // Writing to a string succeeds.
    let _ = SystemTime.format_time(&mut Writer::new(line));
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
        self.name(name);
        self.line.push('"');
        let _ = Escaped(self.line).write_str(value);
        self.line.push('"');
    }

    /// What a value prints as.
    pub fn display(&mut self, name: &'static str, value: impl fmt::Display) {
        self.name(name);
        self.line.push('"');
        let _ = write!(Escaped(self.line), "{value}");
        self.line.push('"');
    }

    /// A number.
    pub fn number(&mut self, name: &'static str, value: u64) {
        self.name(name);
        let _ = write!(self.line, "{value}");
    }

    /// Yes or no.
    pub fn flag(&mut self, name: &'static str, value: bool) {
        self.name(name);
        self.line.push_str(if value { "true" } else { "false" });
    }

    fn name(&mut self, name: &'static str) {
        match self.format {
            LogFormat::Json => {
                self.line.push_str(",\"");
                self.line.push_str(name);
                self.line.push_str("\":");
            }
            LogFormat::Text => {
                self.line.push(' ');
                self.line.push_str(name);
                self.line.push('=');
            }
        }
    }
}

/// Escapes what JSON escapes (RFC 8259 §7), and what would speak to a terminal or break a line elsewhere.
struct Escaped<'l>(&'l mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')) {
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
    use super::*;

    fn line(format: LogFormat, fields: impl FnOnce(&mut AccessLine<'_>)) -> String {
        let mut line = String::new();
        compose(&mut line, format, fields);
        line
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
