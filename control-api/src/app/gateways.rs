//! Gateways: who may ask, and what each has applied.

use std::time::Duration;

use authz::{Authorized, action::ManageGateways};
use domain::{
    FleetName, GatewayId, Secret,
    model::{Enrolment, NewEnrolment},
};
use store::{
    Commit, KnownGateway,
    list::{GatewayList, Selection, Slice},
    read::*,
};

use super::tokens;
use crate::{App, caller::Principal, context::new_id, error::AppError};

/// How long revoked and expired gateways are listed.
const LISTED: Duration = Duration::from_secs(24 * 3600);

/// Gateways: enrolled ones, and those seen in the last day.
pub async fn list_gateways(
    app: &App,
    principal: &Principal,
    asked: &Selection<GatewayList>,
) -> Result<Slice<KnownGateway>, AppError> {
    principal.may::<ManageGateways>("list")?;
    page(app, asked).await
}

/// All of them, for who works on the machine itself.
pub async fn known(app: &App) -> Result<Vec<KnownGateway>, AppError> {
    let mut all = Vec::new();
    let mut asked = Selection::default();
    loop {
        let found = page(app, &asked).await?;
        all.extend(found.rows);
        let Some(next) = found.next else { return Ok(all) };
        asked = Selection::read([("cursor", next.as_str())])?;
    }
}

async fn page(app: &App, asked: &Selection<GatewayList>) -> Result<Slice<KnownGateway>, AppError> {
    let now = app.now();
    Ok(app.store.list((now, now - LISTED), asked).await?)
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
