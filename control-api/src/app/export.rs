//! All that is kept of somebody, for themselves: one thing after the other, read a page at a time.
//!
//! What the store keeps of people comes part by part ([`store::read::PersonalData`]); then what they did, as the audit trail has it.
//! Of what they did to others it is said what kind of thing that was and its id, and no name.
//!
//! What is a tenant's is told in that tenant alone: how people sign in there is for it to say.

use std::time::Duration;

use domain::{AuditEventId, TenantId, Timestamp, UserId, audit::AuditEvent};
use serde_json::{Value, json};
use store::{AuditQuery, PersonalPlace, Store, read::*};

use super::{oauth_login, passkeys::sure_enough, totp::recent};
use crate::{App, caller::Principal, context::RequestContext, error::AppError, rates::Rate};

/// Events that are read at once.
const EVENTS: u32 = 200;

/// An export that is under way.
#[derive(Debug)]
pub struct Export {
    store: Store,
    user: UserId,
    tenant: TenantId,
    /// What happens from then on is not in it.
    until: Timestamp,
    place: Place,
}

/// Where it goes on.
#[derive(Debug)]
enum Place {
    Data(PersonalPlace),
    Trail(Option<(Timestamp, AuditEventId)>),
    End,
}

impl Export {
    /// Of the caller, who signed in a moment ago: who found a token has nothing by it.
    ///
    /// # Errors
    /// [`AppError::SignInAnew`], also where the session was opened by the word of one of several tenants; [`AppError::StepUp`];
    /// [`AppError::RateLimited`].
    pub async fn begin(app: &App, context: &RequestContext, principal: &Principal) -> Result<Self, AppError> {
        let session = app.store.session(principal.session).await?.ok_or(AppError::TokenRevoked)?;
        oauth_login::speaks_for_the_account(app, &session).await?;
        sure_enough(&app.store, principal).await?;
        recent(app, principal).await?;
        app.admit_account(Rate::Export, context, (principal.project, &principal.user.to_string())).await?;
        Ok(Self {
            store: app.store.within(authz::Scope::Project(principal.project)),
            user: principal.user,
            tenant: principal.tenant,
            until: app.now() + Duration::from_millis(1),
            place: Place::Data(PersonalPlace::default()),
        })
    }

    /// What comes next; none when that was all.
    ///
    /// # Errors
    /// Of the database.
    pub async fn next(&mut self) -> Result<Option<Vec<Value>>, AppError> {
        match self.place {
            Place::Data(place) => {
                let (lines, next) = self.store.personal_data((self.user, self.tenant), place).await?;
                self.place = next.map_or(Place::Trail(None), Place::Data);
                Ok(Some(lines))
            }
            Place::Trail(before) => {
                let query = AuditQuery {
                    tenant: Some(self.tenant),
                    actor: Some(self.user.to_string()),
                    until: Some(self.until),
                    ascending: true,
                    before,
                    limit: EVENTS,
                    ..AuditQuery::default()
                };
                let events = self.store.audit_events(&query).await?;
                self.place = match events.last() {
                    Some(last) => Place::Trail(Some((last.received, last.id))),
                    None => Place::End,
                };
                Ok(Some(events.iter().map(told).collect()))
            }
            Place::End => Ok(None),
        }
    }
}

fn told(event: &AuditEvent) -> Value {
    json!({
        "part": "audit_event",
        "id": event.id,
        "tenant_id": event.entry.tenant_id,
        "action": event.entry.action,
        "crud": event.entry.crud,
        "target": { "kind": event.entry.target.kind, "id": event.entry.target.id },
        "is_failure": event.entry.is_failure,
        "source_ip": event.origin.source_ip,
        "user_agent": event.origin.user_agent,
        "received": event.received,
    })
}
