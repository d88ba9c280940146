//! The claims of a token, valid until a test makes them otherwise.

use domain::{ProjectId, SessionId, TenantId, Timestamp, TokenId, UserId};
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// A claim set under construction. Serializes to the JSON object.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Claims(Map<String, Value>);

impl Claims {
    /// What our own issuer puts into an access token of a tenant's user (`tid`, `ctx`, `sid`, `ug`, `tg`, …): issued
    /// `now`, valid for 15 minutes, with random ids and generation 0, no roles, no flags.
    pub fn own(issuer: &str, audience: &str, now: Timestamp) -> Self {
        Self::external(issuer, audience, now)
            .set("sub", UserId::new(Uuid::new_v4()))
            .set("jti", TokenId::new(Uuid::new_v4()))
            .set("tid", TenantId::new(Uuid::new_v4()))
            .set("pid", ProjectId::new(Uuid::new_v4()))
            .set("sid", SessionId::new(Uuid::new_v4()))
            .set("ctx", "tenant")
            .set("ug", 0)
            .set("tg", 0)
            .set("auth_time", now.secs())
            .set("username", "ada")
            .set("roles", json!([]))
            .set("role_ids", json!([]))
            .set("is_admin", false)
            .set("is_super_admin", false)
    }

    /// What any issuer puts into a token: the registered claims (RFC 7519 §4.1) and nothing else.
    pub fn external(issuer: &str, audience: &str, now: Timestamp) -> Self {
        Self(Map::new())
            .set("iss", issuer)
            .set("aud", audience)
            .set("sub", Uuid::new_v4())
            .set("jti", Uuid::new_v4())
            .set("iat", now.secs())
            .set("nbf", now.secs())
            .set("exp", now.secs() + 900)
    }

    /// Sets a claim, whatever it was before.
    #[must_use]
    pub fn set(mut self, claim: &str, value: impl Serialize) -> Self {
        self.0.insert(claim.to_owned(), serde_json::to_value(value).unwrap());
        self
    }

    /// Removes a claim.
    #[must_use]
    pub fn without(mut self, claim: &str) -> Self {
        self.0.remove(claim);
        self
    }

    /// For the tenant and user of a fixture.
    #[must_use]
    pub fn for_user(self, tenant: TenantId, user: UserId) -> Self {
        self.set("tid", tenant).set("sub", user)
    }

    /// A claim's value; null when it is absent.
    pub fn value(&self, claim: &str) -> &Value {
        self.0.get(claim).unwrap_or(&Value::Null)
    }
}

impl From<Claims> for Value {
    fn from(claims: Claims) -> Self {
        Self::Object(claims.0)
    }
}

/// Any JSON object is a claim set.
impl From<Value> for Claims {
    fn from(value: Value) -> Self {
        match value {
            Value::Object(map) => Self(map),
            other => panic!("claims are a JSON object, not {other}"),
        }
    }
}
