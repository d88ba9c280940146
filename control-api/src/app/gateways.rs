//! Gateways: who may ask, and what each has applied.

use std::{collections::BTreeMap, time::Duration};

use authz::{Authorized, action::ManageGateways};
use domain::{
    FleetName, GatewayId, Secret, Timestamp,
    model::{Enrolment, GatewayNode, NewEnrolment},
};
use store::{Commit, read::*};

use super::tokens;
use crate::{App, caller::Principal, context::new_id, error::AppError};

/// How long revoked and expired gateways are listed.
const LISTED: Duration = Duration::from_secs(24 * 3600);

/// A gateway: its enrolment, where it needs one, and what it said of itself, if it did in the last day.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// Its enrolment; none for one on this machine that needs none.
    pub enrolment: Option<Enrolment>,
    /// What it said last.
    pub node: Option<GatewayNode>,
}

/// All gateways: enrolled ones, and those seen in the last day.
pub async fn list_gateways(app: &App, principal: &Principal) -> Result<Vec<Gateway>, AppError> {
    principal.may::<ManageGateways>("list")?;
    known(app).await
}

/// The same for who works on the machine itself.
pub async fn known(app: &App) -> Result<Vec<Gateway>, AppError> {
    let view = app.store.view().await?;
    let mut nodes: BTreeMap<GatewayId, GatewayNode> =
        view.gateways().await?.into_iter().map(|node| (node.id, node)).collect();
    let long_ago = app.now() - LISTED;
    let mut listed = Vec::new();
    for enrolment in view.enrolments().await? {
        let node = nodes.remove(&enrolment.id);
        if node.is_some() || over(&enrolment).is_none_or(|end| end > long_ago) {
            listed.push(Gateway { enrolment: Some(enrolment), node });
        }
    }
    listed.extend(nodes.into_values().map(|node| Gateway { enrolment: None, node: Some(node) }));
    Ok(listed)
}

/// When an enrolment ended, or will if nobody does anything.
fn over(enrolment: &Enrolment) -> Option<Timestamp> {
    enrolment.revoked_at.or(enrolment.certificate_expires_at).or(Some(enrolment.token_expires_at))
}

/// Enrols a gateway. Its join token is shown this once.
pub async fn enroll_gateway(
    app: &App,
    by: &Authorized<ManageGateways>,
    fleet: FleetName,
    name: &str,
) -> Result<(Enrolment, Secret<String>), AppError> {
    if !domain::fleet::is_name(name) {
        return Err(AppError::field("/name", "invalid", "is not 1 to 63 of a-z, 0-9, `-`, `.` and `_`"));
    }
    let token = tokens::random_token()?;
    let new = NewEnrolment {
        id: new_id(&*app.clock),
        name: name.into(),
        fleet,
        token_hash: tokens::hash(token.expose()),
        token_expires_at: app.now() + app.config.enrolment.join_token.get(),
    };
    let enrolled = app.store.write(by, app.now(), |tx| {
        let (by, new) = (by.clone(), new.clone());
        async move { Ok::<_, AppError>(tx.done("enrolled", tx.insert_enrolment(&by, new).await?).await?) }
    });
    let (enrolment, _) = enrolled.await?;
    Ok((enrolment, token))
}

/// Proof that a principal may revoke gateways.
pub fn may_revoke(principal: &Principal) -> Result<Authorized<ManageGateways>, AppError> {
    principal.may::<ManageGateways>("delete")
}

/// Revokes a gateway: it is answered nothing more, and its last lease runs out.
pub async fn revoke_gateway(
    app: &App,
    by: &Authorized<ManageGateways>,
    id: GatewayId,
) -> Result<(Enrolment, Commit), AppError> {
    app.store
        .write(by, app.now(), |tx| {
            let by = by.clone();
            async move { Ok(tx.done("revoked", tx.revoke_enrolment(&by, id).await?).await?) }
        })
        .await
}
