//! What was asked and how it went.

use std::{collections::BTreeMap, fmt};

use parking_lot::Mutex;
use serde_json::{Value, json};

/// Complaints that are kept of each kind of traffic.
const KEPT: usize = 10;

#[derive(Debug, Default)]
struct Line {
    right: u64,
    wrong: u64,
    lost: u64,
    complaints: Vec<String>,
}

impl Line {
    fn complain(&mut self, text: &str) {
        if self.complaints.len() < KEPT {
            self.complaints.push(text.to_owned());
        }
    }
}

/// Answers by kind of traffic.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<BTreeMap<&'static str, Line>>);

impl Tally {
    /// An answer came; it was the right one, or what was wrong with it.
    pub(crate) fn judge(&self, kind: &'static str, wrong: Option<&str>) {
        let mut lines = self.0.lock();
        let line = lines.entry(kind).or_default();
        match wrong {
            None => line.right += 1,
            Some(text) => {
                line.wrong += 1;
                line.complain(text);
            }
        }
    }

    /// A thing that must hold.
    pub(crate) fn expect(&self, kind: &'static str, holds: bool, wrong: impl FnOnce() -> String) {
        if holds {
            self.judge(kind, None);
        } else {
            self.judge(kind, Some(&wrong()));
        }
    }

    /// No answer came where one was due.
    pub(crate) fn lost(&self, kind: &'static str, why: &str) {
        let mut lines = self.0.lock();
        let line = lines.entry(kind).or_default();
        line.lost += 1;
        line.complain(why);
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.0.lock().values().all(|line| line.wrong == 0 && line.lost == 0 && line.right > 0)
    }

    pub(crate) fn json(&self) -> Value {
        let lines = self.0.lock();
        let line = |line: &Line| json!({ "right": line.right, "wrong": line.wrong, "lost": line.lost });
        lines.iter().map(|(kind, it)| ((*kind).to_owned(), line(it))).collect::<serde_json::Map<_, _>>().into()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| Traffic | right | wrong | lost |\n|---|---|---|---|")?;
        let lines = self.0.lock();
        for (kind, line) in &*lines {
            writeln!(f, "| {kind} | {} | {} | {} |", line.right, line.wrong, line.lost)?;
        }
        for (kind, line) in &*lines {
            for complaint in &line.complaints {
                writeln!(f, "{kind}: {complaint}")?;
            }
        }
        Ok(())
    }
}
