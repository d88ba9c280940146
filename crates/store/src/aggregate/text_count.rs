//! How many texts are sent: by number, by what a number begins with, by user, by project, and altogether. A text costs money, and who
//! asks for it may be paid for it.

use std::time::Duration;

use domain::Timestamp;

use crate::{
    SessionTx, StoreError,
    tx::Work,
    value::{Row, values},
};

/// A bound of how many texts are sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TextBound {
    /// What is counted by, such as `number`.
    pub of: &'static str,
    /// Which one. It is not kept, its digest is.
    pub which: String,
    /// For how long it is counted from the first on.
    pub within: Duration,
    /// How many are sent in that time.
    pub most: u32,
}

/// A bound that was reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SpentBound {
    /// What was counted by.
    pub of: &'static str,
    /// Whether it is the first time since texts are counted anew that this is said.
    pub first: bool,
}

struct Kept {
    ends_at: Timestamp,
    counted: u32,
    told: bool,
}

fn read(row: &Row) -> Result<Kept, StoreError> {
    Ok(Kept { ends_at: row.at("ends_at")?, counted: row.at("counted")?, told: row.at("told")? })
}

impl SessionTx {
    /// Counts a text that is about to be left in the outbox, under all bounds, or under none: answers the one that is reached, and
    /// nothing is to be sent.
    ///
    /// # Errors
    /// Of the database.
    pub async fn count_text(&self, bounds: &[TextBound]) -> Result<Option<SpentBound>, StoreError> {
        let Work { view, now, .. } = &self.work;
        let digest = |bound: &TextBound| {
            view.sealer().digest("text_counts.digest", format!("{}:{}", bound.of, bound.which).as_bytes())
        };
        let mut all: Vec<_> = bounds.iter().map(|bound| (digest(bound), bound)).collect();
        // Who counts at the same time waits at the first that both count, and for nobody who waits for them.
        all.sort_by(|one, other| one.0.cmp(&other.0));
        let mut counted = Vec::with_capacity(all.len());
        for (digest, bound) in all {
            let ends_at = *now + bound.within;
            let sql = "INSERT INTO text_counts (digest, ends_at, counted, told) VALUES ($1, $2, 0, FALSE)
                       ON CONFLICT (digest) DO NOTHING";
            view.execute(sql, values![digest.clone(), ends_at]).await?;
            let sql = view.locking("SELECT ends_at, counted, told FROM text_counts WHERE digest = $1");
            let kept = view.first(&sql, values![digest.clone()], read).await?.ok_or(StoreError::Serialization)?;
            let kept = if kept.ends_at <= *now { Kept { ends_at, counted: 0, told: false } } else { kept };
            counted.push((digest, bound, kept));
        }
        let sql = "UPDATE text_counts SET ends_at = $2, counted = $3, told = $4 WHERE digest = $1";
        // In the order in which they were given.
        let is_spent = |bound: &TextBound| counted.iter().find(|it| it.1 == bound && it.2.counted >= bound.most);
        if let Some((digest, bound, kept)) = bounds.iter().find_map(is_spent) {
            view.execute(sql, values![digest.clone(), kept.ends_at, kept.counted, true]).await?;
            return Ok(Some(SpentBound { of: bound.of, first: !kept.told }));
        }
        for (digest, _, kept) in counted {
            view.execute(sql, values![digest, kept.ends_at, kept.counted + 1, kept.told]).await?;
        }
        Ok(None)
    }
}
