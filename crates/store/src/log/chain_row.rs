//! A row of the audit trail with its place in a chain, and whether it fits there. Nothing here reads a database, so that
//! whoever has an export can judge it, too (`portcullis audit verify`).
//!
//! ```text
//! hash(n) = SHA-256( hash(n-1), chain, id, time, action, …, digest of who, digest of what )
//! digest  = SHA-256( 32 random bytes, the part's columns )
//! ```
//!
//! What may be personal is covered by two salted digests and not by itself. Without its salt nobody can tell by trial what a
//! part held, so taking away a part together with its salt erases it, and the chain still holds. A row of which a part is
//! gone must have been attested under the master key: otherwise it was not us who took it away. Who has an export only sees
//! whether a later `audit.erased` event of the chain names it.
//!
//! Rows that were chained before there were digests (`form` 1) are covered as they are.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest::{Context, SHA256};
use domain::{AuditEventId, ProjectId, TenantId, Timestamp, audit::Flaw};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::{
    StoreError,
    aggregate::audit::PLATFORM,
    value::{Row, Value},
};

/// What the first row of a chain follows.
pub(crate) const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The action of the events that name rows of which parts were erased.
pub const ERASED: &str = "audit.erased";

/// Hashes cover digests of what may be personal.
pub(crate) const WITH_DIGESTS: u32 = 2;

/// A row in its chain, as it is exported: everything that is needed to judge it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in `domain::audit::AuditEvent` and the columns of the trail")]
pub struct ChainedRow {
    pub chain: String,
    pub seq: u64,
    pub prev_hash: String,
    pub hash: String,
    pub form: u32,
    pub id: AuditEventId,
    pub received: Timestamp,
    pub project_id: Option<ProjectId>,
    pub tenant_id: Option<TenantId>,
    pub action: String,
    pub crud: String,
    pub is_failure: bool,
    pub target: Json,
    pub actor: Json,
    pub origin: Json,
    pub fields: Json,
    pub report: Option<Json>,
    pub reporter: Option<String>,
    pub external_id: Option<String>,
    pub actor_salt: Option<String>,
    pub actor_digest: Option<String>,
    pub target_salt: Option<String>,
    pub target_digest: Option<String>,
    pub erased_at: Option<Timestamp>,
}

/// Where a chain does not hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the chain does not hold at {seq}: {flaw:?}")]
pub struct Broken {
    /// At which place.
    pub seq: u64,
    /// What is wrong there.
    pub flaw: Flaw,
}

pub(crate) fn read(row: &Row) -> Result<ChainedRow, StoreError> {
    let json = |name: &str| row.at::<Json>(name);
    Ok(ChainedRow {
        chain: row.at("chain")?,
        seq: row.at::<Option<u64>>("chain_seq")?.unwrap_or(0),
        prev_hash: row.at::<Option<String>>("prev_hash")?.unwrap_or_default(),
        hash: row.at::<Option<String>>("hash")?.unwrap_or_default(),
        form: row.at("form")?,
        id: row.at("id")?,
        received: row.at("received")?,
        project_id: row.at("project_id")?,
        tenant_id: row.at("tenant_id")?,
        action: row.at("action")?,
        crud: row.at("crud")?,
        is_failure: row.at("is_failure")?,
        target: json("target")?,
        actor: json("actor")?,
        origin: json("origin")?,
        fields: json("fields")?,
        report: match row.at::<Value>("report")? {
            Value::Null => None,
            _ => Some(json("report")?),
        },
        reporter: row.at("reporter")?,
        external_id: row.at("external_id")?,
        actor_salt: row.at("actor_salt")?,
        actor_digest: row.at("actor_digest")?,
        target_salt: row.at("target_salt")?,
        target_digest: row.at("target_digest")?,
        erased_at: row.at("erased_at")?,
    })
}

impl ChainedRow {
    /// Takes its place behind `prev`, with digests under these salts.
    pub(crate) fn join(&mut self, (seq, prev): (u64, &str), salts: [[u8; 32]; 2]) {
        let [actor, target] = salts.map(|salt| hex(&salt));
        (self.seq, self.prev_hash, self.form) = (seq + 1, prev.into(), WITH_DIGESTS);
        self.actor_digest = Some(digest(&actor, &self.who()));
        self.target_digest = Some(digest(&target, &self.what()));
        (self.actor_salt, self.target_salt) = (Some(actor), Some(target));
        self.hash = self.expected();
    }

    /// Who, and from where: what an erasure of the actor takes away.
    fn who(&self) -> Json {
        json!([self.actor, self.origin])
    }

    /// On what, and what of it: what an erasure of the target takes away.
    fn what(&self) -> Json {
        json!([self.target, self.fields, self.report, self.external_id])
    }

    /// The hash its columns make.
    fn expected(&self) -> String {
        let mut context = Context::new(&SHA256);
        let mut add = |part: &str| {
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(part.as_bytes());
        };
        add(&self.prev_hash);
        add(&self.chain);
        add(&self.id.to_string());
        add(&self.received.millis().to_string());
        add(&self.project_id.map(|id| id.to_string()).unwrap_or_default());
        add(&self.action);
        if self.form == WITH_DIGESTS {
            let open = json!([self.form, self.seq, self.crud, self.is_failure, self.reporter]);
            add(&canonical(&open));
            add(self.actor_digest.as_deref().unwrap_or_default());
            add(self.target_digest.as_deref().unwrap_or_default());
        } else {
            let all = json!([self.crud, self.target, self.is_failure, self.fields, self.actor, self.origin]);
            add(&canonical(&all));
        }
        hex(context.finish().as_ref())
    }

    /// A digest of everything that is there of it: what an attestation of an erasure names it by.
    pub(super) fn left(&self) -> String {
        let all = json!([
            self.seq,
            self.hash,
            self.form,
            self.id,
            self.received,
            self.project_id,
            self.action,
            self.crud,
            self.is_failure,
            self.actor,
            self.origin,
            self.target,
            self.fields,
            self.report,
            self.reporter,
            self.external_id,
            self.actor_digest,
            self.target_digest,
        ]);
        digest("", &all)
    }

    /// Whether a part of it is gone.
    fn is_erased(&self) -> bool {
        self.erased_at.is_some()
    }

    /// What is wrong with it behind `prev`.
    fn flaw(&self, (seq, prev): (u64, &str)) -> Option<Flaw> {
        if self.seq != seq + 1 {
            return Some(Flaw::Missing);
        }
        if self.prev_hash != prev {
            return Some(Flaw::Order);
        }
        let own = self.tenant_id.is_none_or(|tenant| self.chain != PLATFORM && tenant.to_string() == self.chain);
        if !own {
            return Some(Flaw::Tenant);
        }
        if self.form == WITH_DIGESTS {
            let part = |salt: &Option<String>, kept: &Option<String>, part: Json| match (salt, kept) {
                (Some(salt), Some(kept)) => digest(salt, &part) == *kept,
                (None, Some(_)) => self.is_erased() && part == gone(part.as_array().map_or(0, Vec::len)),
                (_, None) => false,
            };
            let whole = part(&self.actor_salt, &self.actor_digest, self.who())
                && part(&self.target_salt, &self.target_digest, self.what());
            return (!whole || self.expected() != self.hash).then_some(Flaw::Changed);
        }
        // Of an older row that was erased only its place can be judged; that it was us says a later event.
        let known = self.form == 1 && self.report.is_none() && self.reporter.is_none();
        (!known || (!self.is_erased() && self.expected() != self.hash)).then_some(Flaw::Changed)
    }

    /// Rows that this event says were erased.
    fn attests(&self) -> impl Iterator<Item = u64> {
        let named = (self.action == ERASED && self.reporter.is_none()).then(|| self.fields.get("rows"));
        named.flatten().and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_u64)
    }
}

/// What stands in a part of so many members that was erased: that it was a user, and nothing else.
fn gone(members: usize) -> Json {
    match members {
        2 => json!([nobody(), no_origin()]),
        _ => json!([no_target(), {}, null, null]),
    }
}

/// Who an erased actor is.
pub(crate) fn nobody() -> Json {
    json!({ "kind": "user", "id": null, "name": "" })
}

/// What an erased target is.
pub(crate) fn no_target() -> Json {
    json!({ "kind": "user", "id": "", "name": "" })
}

/// From nowhere.
pub(crate) fn no_origin() -> Json {
    json!({ "source_ip": null, "user_agent": null, "request_id": null })
}

/// Judges the rows of a chain, one after the other.
#[derive(Clone, Debug)]
pub struct Verifier {
    chain: Option<String>,
    seq: u64,
    hash: String,
    rows: u64,
    erased: u64,
    /// Erased rows that no event has named yet.
    unnamed: BTreeSet<u64>,
    /// What was sealed of each erasure; none where that cannot be had, and the chain's own events have to do.
    vouched: Option<Vouched>,
}

/// Erased rows by number, each with digests of what may be left of it.
pub(super) type Vouched = BTreeMap<u64, BTreeSet<String>>;

impl Default for Verifier {
    fn default() -> Self {
        Self::after(0, BEGINNING)
    }
}

impl Verifier {
    /// From behind the row of this number and hash.
    pub fn after(seq: u64, hash: &str) -> Self {
        Self { chain: None, seq, hash: hash.into(), rows: 0, erased: 0, unnamed: BTreeSet::new(), vouched: None }
    }

    /// The same, that takes nothing for erased by us but what was sealed.
    pub(super) fn vouched(self, vouched: Vouched) -> Self {
        Self { vouched: Some(vouched), ..self }
    }

    /// Takes the next row.
    ///
    /// # Errors
    /// [`Broken`] when it does not fit.
    pub fn take(&mut self, row: &ChainedRow) -> Result<(), Broken> {
        let broken = |flaw| Broken { seq: self.seq + 1, flaw };
        if self.chain.as_ref().is_some_and(|chain| *chain != row.chain) {
            return Err(broken(Flaw::Order));
        }
        if let Some(flaw) = row.flaw((self.seq, &self.hash)) {
            return Err(broken(flaw));
        }
        (self.seq, self.hash, self.rows) = (row.seq, row.hash.clone(), self.rows + 1);
        self.chain.get_or_insert_with(|| row.chain.clone());
        if row.is_erased() {
            match &self.vouched {
                Some(known) if known.get(&row.seq).is_some_and(|left| left.contains(&row.left())) => {}
                Some(_) => return Err(Broken { seq: row.seq, flaw: Flaw::Erased }),
                None => drop(self.unnamed.insert(row.seq)),
            }
            self.erased += 1;
        }
        for seq in row.attests() {
            self.unnamed.remove(&seq);
        }
        Ok(())
    }

    /// The last row that was taken.
    pub fn head(&self) -> (u64, &str) {
        (self.seq, &self.hash)
    }

    /// How many rows were taken, and how many of them lack a part.
    pub const fn counts(&self) -> (u64, u64) {
        (self.rows, self.erased)
    }

    /// That no row lacks a part without an event that says so.
    ///
    /// # Errors
    /// [`Broken`] at the first that does.
    pub fn finish(&self) -> Result<(), Broken> {
        self.unnamed.first().map_or(Ok(()), |seq| Err(Broken { seq: *seq, flaw: Flaw::Erased }))
    }
}

/// Hex SHA-256 over a salt and a part.
fn digest(salt: &str, part: &Json) -> String {
    let mut context = Context::new(&SHA256);
    context.update(salt.as_bytes());
    context.update(canonical(part).as_bytes());
    hex(context.finish().as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// JSON with the members of each object in the order of their names, whatever order the database kept.
fn canonical(value: &Json) -> String {
    match value {
        Json::Object(members) => {
            let sorted: BTreeMap<_, _> = members.iter().collect();
            let members: Vec<_> = sorted
                .into_iter()
                .map(|(name, it)| format!("{}:{}", Json::from(name.as_str()), canonical(it)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
        Json::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        scalar => scalar.to_string(),
    }
}
