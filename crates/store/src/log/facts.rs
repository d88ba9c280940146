//! Facts: how they are left, and how they are read.

use std::{collections::HashSet, time::Duration};

use domain::{Fact, History, NumberedFact, Position, Seq, Tag, Timestamp, TokenId, fact::CUTOFF_REMEMBERED};

use crate::{
    StoreError, View,
    aggregate::generation::Raised,
    tx::Reader,
    value::{Row, Value, values},
};

/// How long facts count that carry no expiry of their own. Longer than any access token lives.
pub(super) const HORIZON: Duration = Duration::from_secs(24 * 3600);

/// How far clocks may differ; a refusal outlives its token by this.
const SKEW: Duration = Duration::from_secs(60);

pub(crate) async fn insert(view: &View, now: Timestamp, facts: &[Fact]) -> Result<(), StoreError> {
    if facts.is_empty() {
        return Ok(());
    }
    let (mut places, mut values) = (Vec::with_capacity(facts.len()), Vec::with_capacity(4 * facts.len()));
    for fact in facts {
        let at = values.len();
        places.push(format!("(${}, ${}, ${}, ${})", at + 1, at + 2, at + 3, at + 4));
        let tag = u64::from_ne_bytes(view.sealer().bytes()?);
        values.extend([tag.into(), Value::json(fact)?, now.into(), expiry(fact, now).into()]);
    }
    view.execute(&format!("INSERT INTO facts (tag, body, at, expires) VALUES {}", places.join(", ")), values).await?;
    Ok(())
}

/// Until when a fact counts.
fn expiry(fact: &Fact, now: Timestamp) -> Timestamp {
    match fact {
        Fact::TokenRefused { exp, .. } | Fact::SessionEnded { exp, .. } => *exp + SKEW,
        Fact::UserGeneration { .. }
        | Fact::TenantGeneration { .. }
        | Fact::BindingsChanged { .. }
        | Fact::TenantBindingsChanged { .. }
        | Fact::KeyChanged { .. }
        | Fact::AllBindingsChanged => now + HORIZON,
    }
}

/// How a log stands to a place that somebody has read up to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// It is part of its history, and everything after it can be read.
    Known,
    /// It may have been, but what came after it is forgotten.
    Forgotten,
    /// It is of another history.
    Foreign,
    /// It says that it is of this history, which never had it: this database was restored from a backup, and goes on
    /// as if what came after never was.
    Lost,
}

/// Reads of the log.
pub trait Facts: Reader {
    /// How far the log is numbered.
    fn head(&self) -> impl Future<Output = Result<Position, StoreError>> + Send {
        async move { head(&self.view().await?).await }
    }

    /// Up to `limit` facts after `seq`, in order.
    fn facts_after(&self, seq: Seq, limit: u32) -> impl Future<Output = Result<Vec<NumberedFact>, StoreError>> + Send {
        async move {
            let sql = "SELECT seq, tag, body FROM facts WHERE seq > $1 ORDER BY seq LIMIT $2";
            self.view().await?.all(sql, values![seq.0, limit], numbered).await
        }
    }

    /// How this log stands to a place that somebody has read up to.
    fn standing(&self, position: Position) -> impl Future<Output = Result<Standing, StoreError>> + Send {
        async move {
            let view = self.view().await?;
            let head = head(&view).await?;
            if position == head {
                return Ok(Standing::Known);
            }
            let unread = Position { history: position.history, ..Position::default() };
            if position.history != head.history && position != Position::default() {
                return Ok(Standing::Foreign);
            }
            let first: Option<u64> =
                view.first("SELECT MIN(seq) AS seq FROM facts", Vec::new(), |row| row.at("seq")).await?.flatten();
            if position == unread {
                // The beginning: known while nothing has been forgotten since.
                return Ok(if first == Some(1) { Standing::Known } else { Standing::Forgotten });
            }
            let sql = "SELECT tag FROM facts WHERE seq = $1";
            let tag = view.first(sql, values![position.seq.0], |row| row.at::<u64>("tag")).await?;
            Ok(match tag {
                Some(tag) if tag == position.tag.0 => Standing::Known,
                None if position.seq < head.seq && first.is_none_or(|first| position.seq.0 < first) => {
                    Standing::Forgotten
                }
                Some(_) | None => Standing::Lost,
            })
        }
    }

    /// Whether this place is part of this log's history, and everything after it can still be read. False for who
    /// must resynchronise in full.
    fn knows(&self, position: Position) -> impl Future<Output = Result<bool, StoreError>> + Send {
        async move { Ok(self.standing(position).await? == Standing::Known) }
    }

    /// Whether a fact refuses this token, whoever left it and whether or not it is numbered.
    fn is_token_refused(&self, jti: TokenId, now: Timestamp) -> impl Future<Output = Result<bool, StoreError>> + Send {
        async move {
            let sql = "SELECT id FROM facts WHERE body ->> 'jti' = $1 AND expires > $2 LIMIT 1";
            let found = self.view().await?.first(sql, values![jti.to_string(), now], |row| row.at::<i64>("id")).await?;
            Ok(found.is_some())
        }
    }

    /// Everything that still restricts, for a gateway that knows nothing: refused tokens and ended sessions that have
    /// not expired, the generations raised in the last day, and of users in the last week ([`CUTOFF_REMEMBERED`]); and
    /// the head it is then at. That bindings or keys changed is not part of it: who knows nothing has no
    /// copies.
    fn live_facts(&self, now: Timestamp) -> impl Future<Output = Result<(Position, Vec<Fact>), StoreError>> + Send {
        async move {
            let view = self.view().await?;
            let position = head(&view).await?;
            let sql = "SELECT body FROM facts WHERE expires > $1 ORDER BY id";
            let mut facts = view.all(sql, values![now], |row| row.json::<Fact>("body")).await?;
            let of_copies = |fact: &Fact| {
                matches!(
                    fact,
                    Fact::BindingsChanged { .. }
                        | Fact::TenantBindingsChanged { .. }
                        | Fact::KeyChanged { .. }
                        | Fact::AllBindingsChanged
                )
            };
            facts.retain(|fact| !of_copies(fact));
            let sql =
                "SELECT user_generations.tenant_id, user_id, generation, cutoff, external_id FROM user_generations
                       JOIN users ON users.id = user_id WHERE cutoff > $1 ORDER BY cutoff";
            let raised = |row: &Row| {
                Ok(Raised {
                    tenant: row.at("tenant_id")?,
                    user: row.at("user_id")?,
                    generation: row.at("generation")?,
                    cutoff: row.at("cutoff")?,
                    external_id: row.at("external_id")?,
                })
            };
            let raised = view.all(sql, values![now - CUTOFF_REMEMBERED], raised).await?;
            let known: HashSet<Fact> = facts.iter().cloned().collect();
            facts.extend(raised.into_iter().flat_map(Raised::facts).filter(|fact| !known.contains(fact)));
            Ok((position, facts))
        }
    }
}
impl<R: Reader> Facts for R {}

pub(crate) async fn head(view: &View) -> Result<Position, StoreError> {
    let sql = "SELECT history, seq, tag FROM log_head WHERE id = 1";
    view.first(sql, Vec::new(), position).await?.ok_or_else(|| StoreError::corrupt("log_head", "no row"))
}

/// The position of a row of `log_head`.
pub(crate) fn position(row: &Row) -> Result<Position, StoreError> {
    Ok(Position { history: History(row.at("history")?), seq: Seq(row.at("seq")?), tag: Tag(row.at("tag")?) })
}

pub(super) fn numbered(row: &Row) -> Result<NumberedFact, StoreError> {
    Ok(NumberedFact { seq: Seq(row.at("seq")?), tag: Tag(row.at("tag")?), fact: row.json("body")? })
}
