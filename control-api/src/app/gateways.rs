//! Gateways and what each has applied.

use authz::action::ManageGateways;
use domain::model::GatewayNode;
use store::read::*;

use crate::{App, caller::Principal, error::AppError};

/// All gateways seen in the last day.
pub async fn list_gateways(app: &App, principal: &Principal) -> Result<Vec<GatewayNode>, AppError> {
    principal.may::<ManageGateways>("list")?;
    Ok(app.store.gateways().await?)
}
