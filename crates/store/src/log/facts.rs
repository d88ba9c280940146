//! Facts: how they are left, and how they are read.

use std::time::Duration;

use domain::{Fact, NumberedFact, Position, Seq, Tag, Timestamp, TokenId};

use crate::{
    StoreError, View,
    tx::Reader,
    value::{Row, Value, values},
};

/// How long facts count that carry no expiry of their own. Longer than any access token lives.
pub(super) const HORIZON: Duration = Duration::from_secs(24 * 3600);

/// How far clocks may differ; a refusal outlives its token by this.
const SKEW: Duration = Duration::from_secs(60);

pub(crate) async fn insert(view: &View, now: Timestamp, fact: &Fact) -> Result<(), StoreError> {
    let tag = u64::from_ne_bytes(view.sealer().bytes()?);
    let expires = match fact {
        Fact::TokenRefused { exp, .. } | Fact::SessionEnded { exp, .. } => *exp + SKEW,
        Fact::UserGeneration { .. } | Fact::TenantGeneration { .. } | Fact::BindingsChanged { .. } => now + HORIZON,
    };
    view.execute(
        "INSERT INTO facts (tag, body, at, expires) VALUES ($1, $2, $3, $4)",
        vec![tag.into(), Value::json(fact)?, now.into(), expires.into()],
    )
    .await?;
    Ok(())
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

    /// Whether this place is part of this log's history, and everything after it can still be read. False for who
    /// must resynchronise in full.
    fn knows(&self, position: Position) -> impl Future<Output = Result<bool, StoreError>> + Send {
        async move {
            let view = self.view().await?;
            if head(&view).await? == position {
                return Ok(true);
            }
            if position == Position::default() {
                // The beginning: known while nothing has been forgotten since.
                let first = view.first("SELECT MIN(seq) AS seq FROM facts", Vec::new(), |row| row.at("seq")).await?;
                return Ok(first.flatten() == Some(1_u64));
            }
            let sql = "SELECT tag FROM facts WHERE seq = $1";
            let tag = view.first(sql, values![position.seq.0], |row| row.at::<u64>("tag")).await?;
            Ok(tag == Some(position.tag.0))
        }
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
    /// not expired, the generations raised in the last day; and the head it is then at. That bindings changed is not
    /// part of it: who knows nothing has no bindings.
    fn live_facts(&self, now: Timestamp) -> impl Future<Output = Result<(Position, Vec<Fact>), StoreError>> + Send {
        async move {
            let view = self.view().await?;
            let position = head(&view).await?;
            let sql = "SELECT body FROM facts WHERE expires > $1 ORDER BY id";
            let mut facts = view.all(sql, values![now], |row| row.json::<Fact>("body")).await?;
            facts.retain(|fact| !matches!(fact, Fact::BindingsChanged { .. }));
            Ok((position, facts))
        }
    }
}
impl<R: Reader> Facts for R {}

pub(crate) async fn head(view: &View) -> Result<Position, StoreError> {
    let sql = "SELECT seq, tag FROM log_head WHERE id = 1";
    let read = |row: &Row| Ok(Position { seq: Seq(row.at("seq")?), tag: Tag(row.at("tag")?) });
    view.first(sql, Vec::new(), read).await?.ok_or_else(|| StoreError::corrupt("log_head", "no row"))
}

pub(super) fn numbered(row: &Row) -> Result<NumberedFact, StoreError> {
    Ok(NumberedFact { seq: Seq(row.at("seq")?), tag: Tag(row.at("tag")?), fact: row.json("body")? })
}
