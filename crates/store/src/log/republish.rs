//! What an older release told gateways, told anew in the form of this one.
//!
//! A migration that makes gateways ask for more than they were told lists in `republish` whose rows they need again; each
//! start works the list off. A start that is cut off leaves the rest for the next, and of replicas that start at once each
//! entry has one winner.

use domain::{HostnameId, ServiceId, TenantId, Timestamp};
use uuid::Uuid;

use super::publish::{self, Effect};
use crate::{
    Store, StoreError,
    tx::Work,
    value::{Row, values},
};

/// Entities of one transaction.
const BATCH: u32 = 100;

impl Store {
    /// Tells gateways what the last migration listed; says of how many entities.
    ///
    /// # Errors
    /// Of the database. What was told so far stays told.
    pub async fn republish(&self, now: Timestamp) -> Result<usize, StoreError> {
        let (mut all, mut attempt) = (0, 0);
        loop {
            let work = self.begin_configuration(now).await?;
            let outcome = match batch(&work).await {
                Ok(told) => work.commit().await.map(|_| told),
                Err(error) => Err(error),
            };
            match outcome {
                Ok(0) => return Ok(all),
                Ok(told) => all += told,
                Err(error) if work.view.conflicted() => self.again(&mut attempt, error).await?,
                Err(error) => return Err(error),
            }
        }
    }
}

async fn batch(work: &Work) -> Result<usize, StoreError> {
    let sql = work.view.locking("SELECT kind, entity_id FROM republish ORDER BY kind, entity_id LIMIT $1");
    let read = |row: &Row| Ok((row.at::<String>("kind")?, row.at::<Uuid>("entity_id")?));
    let listed = work.view.all(&sql, values![BATCH], read).await?;
    for (kind, id) in &listed {
        let told = match kind.as_str() {
            "tenant" => publish::tenant(work, TenantId::new(*id), Effect::Widens).await,
            "service" => publish::service(work, ServiceId::new(*id), Effect::Narrows).await,
            _ => publish::hostname(work, HostnameId::new(*id), Effect::Narrows).await,
        };
        match told {
            // Gone since it was listed: there is nothing to tell.
            Ok(()) | Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        let sql = "DELETE FROM republish WHERE kind = $1 AND entity_id = $2";
        work.view.execute(sql, values![kind, *id]).await?;
    }
    Ok(listed.len())
}
