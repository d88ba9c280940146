//! Which gateways are answered: those whose enrolment is good now, by SQL at every call. What was let in once and lasts,
//! such as a feed, asks again.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{FleetName, Timestamp};
use link::{
    LinkError,
    log::{ControlPlane, GatewayIdentity},
    rpc::{Admit, identity::Peer},
};
use store::{Store, read::*};

use super::{Hub, Plane, plane};
use crate::{App, error::AppError};

/// Lets in who is enrolled, each to what its fleet is told.
#[derive(Clone, Debug)]
pub struct Enrolled {
    hub: Arc<Hub>,
}

impl Enrolled {
    /// Over a hub.
    pub const fn new(hub: Arc<Hub>) -> Self {
        Self { hub }
    }
}

#[async_trait]
impl Admit for Enrolled {
    /// Who is on this machine, without TLS, is given everything: that listener is a developer's.
    async fn admit(&self, peer: &Peer) -> Result<Arc<dyn ControlPlane>, LinkError> {
        match peer {
            Peer::Local => Ok(Arc::new(Plane::new(Arc::clone(&self.hub)))),
            Peer::Gateway { gateway, expires } => {
                let admitted = Admitted { gateway: gateway.clone(), expires: *expires };
                let fleet = admitted.fleet(&self.hub).await?;
                Ok(Arc::new(Plane::admitted(Arc::clone(&self.hub), admitted, fleet)))
            }
        }
    }
}

/// A gateway that was let in.
#[derive(Clone, Debug)]
pub(super) struct Admitted {
    gateway: GatewayIdentity,
    /// When the certificate it showed expires.
    expires: Timestamp,
}

impl Admitted {
    /// What its certificate calls it.
    pub(super) fn name(&self) -> &str {
        &self.gateway.name
    }

    /// The fleet whose entities it is told, if it would be let in now.
    ///
    /// # Errors
    /// [`LinkError::Refused`].
    pub(super) async fn fleet(&self, hub: &Hub) -> Result<FleetName, LinkError> {
        enrolled(hub.store(), &self.gateway, self.expires, hub.clock().unix_now()).await
    }
}

/// Refuses what the edge of a gateway forwards to `public` over a connection that outlived its enrolment.
///
/// # Errors
/// [`AppError::AssertionInvalid`]: it comes through no edge of ours any more.
pub(crate) async fn forwards(app: &App, gateway: &GatewayIdentity, expires: Timestamp) -> Result<(), AppError> {
    match enrolled(&app.store, gateway, expires, app.clock.unix_now()).await {
        Ok(_) => Ok(()),
        Err(LinkError::Refused { reason, .. }) => {
            tracing::warn!(gateway.name, gateway.id = %gateway.id, reason, "what a gateway forwarded is refused");
            Err(AppError::AssertionInvalid)
        }
        Err(error) => Err(AppError::internal("the enrolment of a gateway cannot be read", error)),
    }
}

/// The fleet of a gateway with a certificate until `expires`, if it would be let in now.
async fn enrolled(
    store: &Store,
    gateway: &GatewayIdentity,
    expires: Timestamp,
    now: Timestamp,
) -> Result<FleetName, LinkError> {
    if expires <= now {
        return Err(refused("its certificate has expired"));
    }
    let found = store.enrolment(gateway.id).await.map_err(|error| plane::failed(&error))?;
    let found = found.ok_or_else(|| refused("it is not enrolled"))?;
    if found.name != gateway.name || found.fleet.as_str() != gateway.fleet {
        return Err(refused("its certificate names another gateway than its enrolment"));
    }
    if found.revoked_at.is_some() {
        return Err(refused("it was revoked"));
    }
    Ok(found.fleet)
}

/// The same word for every reason would tell a gateway's operator nothing; that there is a certificate of ours is known.
pub(super) fn refused(reason: &str) -> LinkError {
    LinkError::Refused { peer: plane::PEER, reason: format!("this gateway is not answered: {reason}") }
}
