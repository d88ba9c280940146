//! `portcullis audit verify FILE`: whether an export of the audit trail holds, without asking anybody.

use std::{
    collections::BTreeMap,
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
        /// The control API's log as JSON lines: every head of this chain in it must still be in the chain.
        #[arg(long, value_name = "LOG")]
        anchors: Option<PathBuf>,
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

/// Heads that were written to a log, by chain: number and hash.
type Heads = BTreeMap<String, BTreeMap<u64, String>>;

/// Checks, and gives back what there is to print.
///
/// # Errors
/// For a chain that does not hold, an export that is not whole, and a file that is none.
pub fn run(audit: Audit) -> anyhow::Result<String> {
    let Audit::Verify { file, anchor, anchors } = audit;
    let anchor = anchor.as_deref().map(read_anchor).transpose()?;
    let logged = anchors.as_deref().map(read_log).transpose()?;
    verify(&file, anchor.as_ref(), logged.as_ref())
}

fn read_anchor(text: &str) -> anyhow::Result<Place> {
    let (seq, hash) = text.split_once(':').context("an anchor is `SEQ:HASH`")?;
    Ok(Place { seq: seq.parse().context("an anchor begins with a number")?, hash: hash.into() })
}

/// The heads in a log, whatever else is in it.
fn read_log(path: &Path) -> anyhow::Result<Heads> {
    let mut heads = Heads::new();
    for (number, line) in (1_u64..).zip(lines_of(path)?) {
        let Ok(Value::Object(line)) = serde_json::from_str(&line?) else { continue };
        let text = |name: &str| line.get(name).and_then(Value::as_str);
        let (Some(chain), Some(head)) = (text("audit.chain"), text("audit.head")) else { continue };
        let Place { seq, hash } = read_anchor(head).with_context(|| format!("line {number} of the log"))?;
        let before = heads.entry(chain.into()).or_default().insert(seq, hash.clone());
        if before.is_some_and(|before| before != hash) {
            bail!("line {number} of the log: row {seq} of `{chain}` has another hash than before: it was written anew");
        }
    }
    Ok(heads)
}

fn lines_of(path: &Path) -> anyhow::Result<std::io::Lines<BufReader<File>>> {
    let file = File::open(path).with_context(|| format!("`{}` cannot be read", path.display()))?;
    Ok(BufReader::new(file).lines())
}

fn verify(path: &Path, anchor: Option<&Place>, logged: Option<&Heads>) -> anyhow::Result<String> {
    let (mut verifier, mut first, mut end, mut anchored) = (None::<Verifier>, None, None, false);
    let mut known = None;
    for (number, line) in (1_u64..).zip(lines_of(path)?) {
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
        if let Some(logged) = logged {
            let heads = known.get_or_insert_with(|| logged.get(&row.chain));
            let said = heads.and_then(|heads| heads.get(&row.seq));
            if said.is_some_and(|hash| *hash != row.hash) {
                bail!("line {number}: row {} has another hash than the log says", row.seq);
            }
        }
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
    let heads = known.flatten().map_or(0, BTreeMap::len);
    if logged.is_some() {
        match known.flatten().and_then(BTreeMap::last_key_value) {
            Some((seq, _)) if *seq > end.head.seq => {
                bail!("the log knows row {seq}, and the chain ends at {}: its end was cut off", end.head.seq)
            }
            Some(_) => {}
            None => bail!("the log knows no head of this chain"),
        }
    }
    let from = match (&end.checkpoint, begins) {
        (_, 0) => "from its beginning".to_owned(),
        (Some(checkpoint), seq) if checkpoint.seq == seq => format!("from the checkpoint behind row {seq}"),
        (_, seq) => format!("from behind row {seq}, which is not the beginning"),
    };
    let (rows, erased) = verifier.counts();
    let (seq, hash) = verifier.head();
    let log = if logged.is_some() { format!(", as {heads} heads in the log say") } else { String::new() };
    Ok(format!(
        "the chain holds {from}{log}: {rows} rows, {erased} with parts that its events call erased, head {seq}:{hash}"
    ))
}

#[cfg(test)]
mod tests {
    use authz::Scope;
    use domain::{
        Secret, Timestamp,
        audit::{Actor, ActorKind, AuditEntry, Crud, Origin, Target},
    };
    use serde_json::json;
    use store::{Sealer, Store, StoreError};

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
            let refused = verify(&path, None, None).unwrap_err();
            assert!(format!("{refused:#}").contains(says), "{text}: {refused:#}");
        }
        std::fs::write(&path, "{\"complete\": true, \"head\": {\"seq\": 0, \"hash\": \"\"}}\n").unwrap();
        assert!(verify(&path, None, None).unwrap().contains("no rows"));
        let log = folder.path().join("log.jsonl");
        let line = |head: &str| format!("{{\"level\":\"INFO\",\"audit.chain\":\"acme\",\"audit.head\":\"{head}\"}}\n");
        std::fs::write(&log, format!("starting\n{{\"level\":\"INFO\"}}\n{}{}", line("7:ab"), line("9:cd"))).unwrap();
        let heads = read_log(&log).unwrap();
        assert_eq!(heads["acme"], BTreeMap::from([(7, "ab".to_owned()), (9, "cd".to_owned())]));
        std::fs::write(&log, format!("{}{}", line("7:ab"), line("7:ac"))).unwrap();
        assert!(read_log(&log).unwrap_err().to_string().contains("written anew"), "a chain that was begun anew");
        assert!(read_anchor("7:ab").is_ok() && read_anchor("7").is_err() && read_anchor("x:ab").is_err());
    }

    /// Three rows of the platform's chain.
    async fn rows() -> Vec<ChainedRow> {
        let sealer = Sealer::new(&Secret::new(vec![7; 32]), &[]).unwrap();
        let store = Store::sqlite_in_memory(sealer).unwrap();
        store.migrate().await.unwrap();
        for n in 0..3 {
            let entry = AuditEntry {
                action: "login_failure".into(),
                crud: Crud::R,
                target: Target { kind: "user".into(), id: n.to_string(), name: String::new() },
                project_id: None,
                tenant_id: None,
                is_failure: true,
                fields: Value::Null,
            };
            let actor = Actor { kind: ActorKind::Anonymous, id: None, name: String::new() };
            let (entry, actor) = (&entry, &actor);
            let recorded = store.write_session(Scope::Platform, Timestamp::default(), |tx| async move {
                tx.record(actor, &Origin::default(), entry).await
            });
            recorded.await.map_err(|error: StoreError| error).unwrap();
        }
        while store.chain_audit(100).await.unwrap() > 0 {}
        store.chained_rows(None, 0).await.unwrap()
    }

    #[tokio::test]
    async fn an_export_is_held_against_the_heads_in_the_log() {
        let rows = rows().await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("export.jsonl");
        let export = |rows: &[ChainedRow]| {
            let mut lines: Vec<String> = rows.iter().map(|row| serde_json::to_string(row).unwrap()).collect();
            let last = rows.last().unwrap();
            let head = json!({ "seq": last.seq, "hash": last.hash });
            lines.push(json!({ "complete": true, "head": head, "checkpoint": null }).to_string());
            std::fs::write(&path, lines.join("\n")).unwrap();
        };
        let head = |row: &ChainedRow| (row.seq, row.hash.clone());
        let chain = &rows[0].chain;
        let logged = Heads::from([(chain.clone(), BTreeMap::from([head(&rows[0]), head(&rows[2])]))]);
        export(&rows);
        assert!(verify(&path, None, Some(&logged)).unwrap().contains("as 2 heads in the log say"));
        let says = |logged: &Heads| format!("{:#}", verify(&path, None, Some(logged)).unwrap_err());
        export(&rows[..2]);
        assert!(says(&logged).contains("its end was cut off"));
        let other = Heads::from([(chain.clone(), BTreeMap::from([(2, "00".into())]))]);
        assert!(says(&other).contains("row 2 has another hash"));
        assert!(says(&Heads::new()).contains("knows no head"));
    }
}
