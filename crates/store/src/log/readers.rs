//! What gateways that are there can read.
//!
//! A gateway serves nothing of an entity that it cannot read. So nobody makes one unreadable by chance for a gateway of an
//! older release that serves it: who is to be upgraded first is said, and nothing is saved. What such a gateway cannot read
//! as it is may change in any way.

use std::time::Duration;

use domain::snapshot::{EntityKey, EntityKind};

use super::feed;
use crate::{
    StoreError,
    tx::Work,
    value::{Row, values},
};

/// For how long a gateway counts that was not heard of.
const LIVE: Duration = Duration::from_secs(60);

/// The first reader that knows [`domain::Fact::TenantBindingsChanged`].
pub(crate) const READS_TENANT_BINDINGS: u32 = 5;

/// Refuses what a gateway that serves the entity could not read any more.
///
/// # Errors
/// [`StoreError::Rule`] (`gateway_too_old`) names the gateways.
pub(super) async fn can_read(work: &Work, key: &EntityKey, min_reader: u32) -> Result<(), StoreError> {
    // Every release reads the first form.
    if min_reader <= 1 {
        return Ok(());
    }
    let fleets = match key.kind {
        EntityKind::Hostname => "SELECT fleet FROM hostnames WHERE id = $3",
        EntityKind::Service => "SELECT fleet FROM audiences WHERE kind = 'service' AND entity_id = $3",
        EntityKind::Tenant => {
            "SELECT hostnames.fleet FROM tenants JOIN hostnames ON hostnames.tenant_id = tenants.id
                 OR (hostnames.tenant_id IS NULL AND hostnames.project_id = tenants.project_id)
             WHERE tenants.id = $3"
        }
        _ => return Ok(()),
    };
    // None has reported yet that reads form 0.
    let sql = format!(
        "SELECT name, fleet FROM gateways
         WHERE reader > 0 AND reader < $1 AND last_seen > $2 AND fleet IN ({fleets}) ORDER BY fleet, name LIMIT 10"
    );
    let named = |row: &Row| Ok(format!("`{}` of fleet `{}`", row.at::<String>("name")?, row.at::<String>("fleet")?));
    let older = work.view.all(&sql, values![min_reader, work.now - LIVE, key.id], named).await?;
    if older.is_empty() || feed::min_reader(&work.view, key).await? >= min_reader {
        return Ok(());
    }
    let detail = format!("gateways of an older release could not read it: upgrade {} first", older.join(", "));
    Err(StoreError::rule("gateway_too_old", detail))
}

/// Whether every gateway that is there reads so much.
pub(crate) async fn all_read(work: &Work, reader: u32) -> Result<bool, StoreError> {
    let sql = "SELECT name FROM gateways WHERE reader < $1 AND last_seen > $2 LIMIT 1";
    Ok(work.view.query(sql, values![reader, work.now - LIVE]).await?.is_empty())
}
