//! The member's API keys in each tenant of the demo.

use authn::api_key::NewKey;
use authz::{Authorized, action::ManageApiKeys};
use control_api::{App, AppError};
use domain::{Id, Secret, model::NewApiKey};
use store::read::*;
use uuid::Uuid;

use super::{JOB, SeedError};
use crate::demo::DemoTenant;

/// Whose they are.
const OWNER: &str = "member";

/// What they may do, of what the member may.
const SCOPES: [&str; 2] = ["demo:order:list", "demo:order:get"];

/// Makes the keys that are not there.
pub(super) async fn ensure(app: &App, tenant: &DemoTenant) -> Result<(), SeedError> {
    let stored = app.store.tenant_by_slug(&tenant.slug).await?.ok_or(AppError::NotFound("tenant"))?;
    let owner = app.store.user_by_login(stored.project_id, OWNER).await?.ok_or(AppError::NotFound("user"))?;
    let known = app.store.api_keys(stored.id, Some(owner.id), store::Page::WIDEST).await?;
    let by: Authorized<ManageApiKeys> = Authorized::system(JOB);
    for (name, text) in [("demo", &tenant.api_key), ("demo, signing", &tenant.hmac_key.secret)] {
        let made = NewKey::read(Secret::new(text.clone())).map_err(AppError::from)?;
        if known.iter().any(|key| key.prefix == made.prefix) {
            continue;
        }
        let new = &NewApiKey {
            id: Id::new(Uuid::new_v4()),
            project_id: stored.project_id,
            tenant_id: stored.id,
            owner_id: owner.id,
            name: name.into(),
            prefix: made.prefix.clone(),
            verifier: made.verifier(),
            scopes: SCOPES.into_iter().filter_map(|scope| scope.parse().ok()).collect(),
            networks: Vec::new(),
            rate_limit: None,
            expires_at: None,
        };
        let by = &by;
        app.store
            .write(by, app.now(), |tx| async move { tx.created(tx.insert_api_key(by, new.clone()).await?).await })
            .await?;
    }
    Ok(())
}
