//! `portcullis audit verify FILE`: whether an export of the audit trail holds, without asking anybody.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::Subcommand;
use serde::Deserialize;
use serde_json::Value;
use store::{ChainedRow, Verifier};

/// What can be done with the audit trail.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Checks an export (`GET /v1/audit/export`) from its first line to its last, offline.
    Verify {
        /// The export, as JSON Lines. Parts of one export, the next behind the one before, are one file.
        file: PathBuf,
        /// A head that was noted earlier, `SEQ:HASH`: it must still be in the chain.
        #[arg(long, value_name = "SEQ:HASH")]
        anchor: Option<String>,
    },
}

/// The last line of an export.
#[derive(Debug, Deserialize)]
struct End {
    complete: bool,
    head: Place,
    checkpoint: Option<Place>,
}

/// A row of a chain, by number and hash.
#[derive(Debug, Eq, PartialEq, Deserialize)]
struct Place {
    seq: u64,
    hash: String,
}

/// Checks, and gives back what there is to print.
///
/// # Errors
/// For a chain that does not hold, an export that is not whole, and a file that is none.
pub fn run(audit: Audit) -> anyhow::Result<String> {
    let Audit::Verify { file, anchor } = audit;
    let anchor = anchor.as_deref().map(read_anchor).transpose()?;
    verify(&file, anchor.as_ref())
}

fn read_anchor(text: &str) -> anyhow::Result<Place> {
    let (seq, hash) = text.split_once(':').context("an anchor is `SEQ:HASH`")?;
    Ok(Place { seq: seq.parse().context("an anchor begins with a number")?, hash: hash.into() })
}

fn verify(path: &Path, anchor: Option<&Place>) -> anyhow::Result<String> {
    let lines = BufReader::new(File::open(path).with_context(|| format!("`{}` cannot be read", path.display()))?);
    let (mut verifier, mut first, mut end, mut anchored) = (None::<Verifier>, None, None, false);
    for (number, line) in (1_u64..).zip(lines.lines()) {
        let value: Value = serde_json::from_str(&line?).with_context(|| format!("line {number} is no JSON"))?;
        if value.get("complete").is_some() {
            end = Some(serde_json::from_value::<End>(value).with_context(|| format!("line {number} is no end"))?);
            continue;
        }
        let row: ChainedRow = serde_json::from_value(value).with_context(|| format!("line {number} is no row"))?;
        // The first row says what it follows; that this is the beginning says the last line.
        let begun = verifier.get_or_insert_with(|| Verifier::after(row.seq.saturating_sub(1), &row.prev_hash));
        first.get_or_insert_with(|| Place { seq: row.seq.saturating_sub(1), hash: row.prev_hash.clone() });
        begun.take(&row).with_context(|| format!("line {number}"))?;
        anchored |= anchor.is_some_and(|it| it.seq == row.seq && it.hash == row.hash);
        end = None;
    }
    let Some(end) = end.filter(|end| end.complete) else { bail!("the export was cut off: its last line is missing") };
    let begins = first.map_or(0, |place| place.seq);
    let Some(verifier) = verifier else { return Ok(format!("no rows; the chain's head is {}", end.head.seq)) };
    verifier.finish()?;
    if verifier.head() != (end.head.seq, &*end.head.hash) {
        bail!("the last row is not the head that the last line names");
    }
    if anchor.is_some() && !anchored {
        bail!("the anchor is not in this chain");
    }
    let from = match (&end.checkpoint, begins) {
        (_, 0) => "from its beginning".to_owned(),
        (Some(checkpoint), seq) if checkpoint.seq == seq => format!("from the checkpoint behind row {seq}"),
        (_, seq) => format!("from behind row {seq}, which is not the beginning"),
    };
    let (rows, erased) = verifier.counts();
    let (seq, hash) = verifier.head();
    Ok(format!(
        "the chain holds {from}: {rows} rows, {erased} with parts that its events call erased, head {seq}:{hash}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_that_was_cut_off_or_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("export.jsonl");
        for (text, says) in [
            ("", "cut off"),
            ("x\n", "no JSON"),
            ("{\"seq\": 1}\n", "no row"),
            ("{\"complete\": false, \"head\": {\"seq\": 0, \"hash\": \"\"}}\n", "cut off"),
        ] {
            std::fs::write(&path, text).unwrap();
            let refused = verify(&path, None).unwrap_err();
            assert!(format!("{refused:#}").contains(says), "{text}: {refused:#}");
        }
        std::fs::write(&path, "{\"complete\": true, \"head\": {\"seq\": 0, \"hash\": \"\"}}\n").unwrap();
        assert!(verify(&path, None).unwrap().contains("no rows"));
        assert!(read_anchor("7:ab").is_ok() && read_anchor("7").is_err() && read_anchor("x:ab").is_err());
    }
}
