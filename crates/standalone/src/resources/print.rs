//! What was answered, on the standard output: for people as a table, for programs as JSON.

use std::io::{self, BufWriter, IsTerminal as _, StdoutLock, Write as _};

use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::admin;

/// How it is printed.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Output")]
pub(super) struct Output {
    /// How what is answered is printed.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// Prints ids only, one a line.
    #[arg(short, long)]
    quiet: bool,
}

/// A form of output.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
enum Format {
    /// Columns; what is one thing: a line a member.
    #[default]
    Table,
    /// One JSON text; a list is an array.
    Json,
    /// JSON Lines, each printed as soon as it is there.
    Jsonl,
}

/// Prints things as they come.
pub(super) struct Printer {
    to: BufWriter<StdoutLock<'static>>,
    output: Output,
    columns: &'static [&'static str],
    rows: Vec<Vec<String>>,
    items: Vec<Value>,
    /// Whether somebody reads it on a terminal; programs are given what was answered, byte by byte.
    is_read_by_people: bool,
    /// The beginning of a line of a text whose end has not come yet.
    begun: Vec<u8>,
}

impl Printer {
    pub(super) fn new(output: Output, columns: &'static [&'static str]) -> Self {
        let stdout = io::stdout();
        Self {
            is_read_by_people: stdout.is_terminal(),
            to: BufWriter::new(stdout.lock()),
            output,
            columns,
            rows: Vec::new(),
            items: Vec::new(),
            begun: Vec::new(),
        }
    }

    /// Some items of a list.
    pub(super) fn items(&mut self, items: Vec<Value>) -> io::Result<()> {
        for item in items {
            match (self.output.quiet, self.output.output) {
                (true, _) => writeln!(self.to, "{}", cell(&id(&item, self.columns)))?,
                (false, Format::Jsonl) => self.json(&item.to_string())?,
                (false, Format::Json) => self.items.push(item),
                (false, Format::Table) => self.row(&item),
            }
        }
        self.to.flush()
    }

    fn row(&mut self, item: &Value) {
        if self.columns.is_empty() {
            self.items.push(item.clone());
            return;
        }
        self.rows.push(self.columns.iter().map(|column| cell(&member(item, column))).collect());
    }

    /// The end of a list.
    pub(super) fn end(mut self) -> io::Result<()> {
        match (self.output.quiet, self.output.output) {
            (true, _) | (false, Format::Jsonl) => {}
            (false, Format::Json) => {
                let list = Value::Array(std::mem::take(&mut self.items));
                self.json(&format!("{list:#}"))?;
            }
            (false, Format::Table) if self.columns.is_empty() => {
                for item in std::mem::take(&mut self.items) {
                    self.members(&item)?;
                    writeln!(self.to)?;
                }
            }
            (false, Format::Table) => self.table()?,
        }
        self.to.flush()
    }

    /// One thing.
    pub(super) fn one(mut self, value: &Value) -> io::Result<()> {
        match (self.output.quiet, self.output.output) {
            (true, _) => writeln!(self.to, "{}", cell(&id(value, self.columns)))?,
            (false, Format::Json) => self.json(&format!("{value:#}"))?,
            (false, Format::Jsonl) => self.json(&value.to_string())?,
            (false, Format::Table) => self.members(value)?,
        }
        self.to.flush()
    }

    /// Lines of JSON as they come.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.is_read_by_people {
            self.to.write_all(bytes)?;
            return self.to.flush();
        }
        self.begun.extend_from_slice(bytes);
        // A character may be cut in two, a line feed is none.
        let whole = self.begun.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.begun.drain(..whole).collect();
        self.to.write_all(admin::json_text(&String::from_utf8_lossy(&lines)).as_bytes())?;
        self.to.flush()
    }

    /// What is left of such lines.
    pub(super) fn end_raw(mut self) -> io::Result<()> {
        let rest = std::mem::take(&mut self.begun);
        self.to.write_all(admin::json_text(&String::from_utf8_lossy(&rest)).as_bytes())?;
        self.to.flush()
    }

    fn json(&mut self, text: &str) -> io::Result<()> {
        match self.is_read_by_people {
            true => writeln!(self.to, "{}", admin::json_text(text)),
            false => writeln!(self.to, "{text}"),
        }
    }

    fn table(&mut self) -> io::Result<()> {
        let heads: Vec<String> = self.columns.iter().map(|name| name.to_uppercase()).collect();
        let width = |at: usize| {
            let cells = self.rows.iter().chain([&heads]).filter_map(|row| row.get(at));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..heads.len()).map(width).collect();
        for row in [&heads].into_iter().chain(&self.rows) {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            writeln!(self.to, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }

    /// A line a member.
    fn members(&mut self, value: &Value) -> io::Result<()> {
        let Value::Object(members) = value else { return writeln!(self.to, "{}", cell(value)) };
        let width = members.keys().map(|name| name.chars().count()).max().unwrap_or_default();
        for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
            writeln!(self.to, "{:<width$}  {}", admin::text(name), cell(value))?;
        }
        Ok(())
    }
}

/// What one thing is called by: its id, else what stands in the first column.
fn id(item: &Value, columns: &[&str]) -> Value {
    let named = ["id", "kid", "user_id", "code"].iter().find_map(|name| item.get(name));
    named.cloned().or_else(|| columns.first().map(|column| member(item, column))).unwrap_or_default()
}

fn member(item: &Value, column: &str) -> Value {
    column.split('.').try_fold(item, |value, name| value.get(name)).cloned().unwrap_or_default()
}

/// A value in few words.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => admin::text(text),
        Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            items.iter().map(cell).collect::<Vec<_>>().join(",")
        }
        other => admin::text(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cell_is_plain_text() {
        assert_eq!(cell(&json!(null)), "");
        assert_eq!(cell(&json!(["a", 1, true])), "a,1,true");
        assert_eq!(cell(&json!({ "a": 1 })), r#"{"a":1}"#);
        assert_eq!(cell(&json!("a\u{1b}[1m")), "a\\u{1b}[1m");
        assert_eq!(member(&json!({ "actor": { "name": "x" } }), "actor.name"), json!("x"));
        assert_eq!(id(&json!({ "name": "x" }), &["name"]), json!("x"));
    }
}
