//! Gives gateways their certificates: the first for a join token, then the next for the one before.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use authz::Scope;
use domain::{
    Secret, Timestamp,
    audit::{Actor, ActorKind, AuditEntry, Origin},
    model::Enrolment,
};
use link::{LinkError, log::GatewayIdentity, rpc::Enroller};
use store::StoreError;
use tokio::sync::Semaphore;

use super::{Hub, admission::refused, plane::failed};
use crate::{
    app::tokens,
    authority::{Authority, SigningRequest},
};

/// Joins worked on at once: strangers may ask, and each costs a transaction.
const JOINS: usize = 4;

/// Signs what enrolments allow.
#[derive(Debug)]
pub struct Certifier {
    hub: Arc<Hub>,
    authority: Authority,
    life: Duration,
    joins: Semaphore,
}

impl Certifier {
    /// With an authority, for certificates that live this long.
    pub const fn new(hub: Arc<Hub>, authority: Authority, life: Duration) -> Self {
        Self { hub, authority, life, joins: Semaphore::const_new(JOINS) }
    }

    fn sign(&self, enrolled: &Enrolment, request: &SigningRequest, expires: Timestamp) -> Result<String, LinkError> {
        let gateway =
            GatewayIdentity { id: enrolled.id, name: enrolled.name.clone(), fleet: enrolled.fleet.to_string() };
        let signed = self.authority.sign(&gateway, request, expires, self.hub.clock());
        tracing::info!(
            gateway.id = %gateway.id, gateway.name = gateway.name, gateway.fleet = gateway.fleet,
            certificate.expires = %expires.secs(), "a gateway was given a certificate"
        );
        signed.map_err(|error| failed(&error))
    }
}

#[async_trait]
impl Enroller for Certifier {
    async fn join(&self, token: &Secret<String>, csr: &[u8]) -> Result<String, LinkError> {
        let _turn = self.joins.acquire().await.map_err(|error| failed(&error))?;
        let request = read(csr)?;
        let now = self.hub.clock().unix_now();
        let (token, key, expires) = (tokens::hash(token.expose()), request.key_hash(), now + self.life);
        let joined = self.hub.store().write_session(Scope::Platform, now, |tx| async move {
            let joined = tx.join_gateway(token, key, expires).await?;
            if let Some(enrolled) = joined.as_ref().filter(|enrolled| enrolled.joined_at == Some(now)) {
                let name = enrolled.name.clone();
                let actor = Actor { kind: ActorKind::Service, id: Some(enrolled.id.uuid()), name };
                tx.record(&actor, &Origin::default(), &AuditEntry::done(enrolled, "joined")).await?;
            }
            Ok::<_, StoreError>(joined)
        });
        let Some(joined) = joined.await.map_err(|error| failed(&error))? else {
            tracing::warn!("a join token was refused");
            return Err(refused("its join token is unknown, expired, revoked or used"));
        };
        self.sign(&joined, &request, expires)
    }

    async fn renew(&self, gateway: &GatewayIdentity, csr: &[u8]) -> Result<String, LinkError> {
        let request = read(csr)?;
        let fleet = &gateway.fleet.parse().map_err(|_| refused("its certificate names no fleet"))?;
        let now = self.hub.clock().unix_now();
        let (id, key, expires) = (gateway.id, request.key_hash(), now + self.life);
        let renewed = self
            .hub
            .store()
            .write_session(Scope::Platform, now, |tx| async move { tx.renew_gateway((id, fleet), key, expires).await });
        let renewed = renewed.await.map_err(|error: StoreError| failed(&error))?;
        let renewed = renewed.ok_or_else(|| refused("it is not enrolled with this key, or not any more"))?;
        self.sign(&renewed, &request, expires)
    }
}

fn read(csr: &[u8]) -> Result<SigningRequest, LinkError> {
    SigningRequest::read(csr).map_err(|error| LinkError::unreadable("the gateway", error))
}
