//! Typed identifiers: on every wire the bare lower-case UUID, in the code a type for each kind of thing.

use std::{cmp::Ordering, fmt, hash::Hash, hash::Hasher, marker::PhantomData, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// The id of a `K`. Ids of different kinds do not mix: passing a user's id for a tenant's does not compile.
pub struct Id<K>(Uuid, PhantomData<fn() -> K>);

impl<K> Id<K> {
    /// Takes a UUID for the id of a `K`.
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid, PhantomData)
    }

    /// The UUID without its kind.
    pub const fn uuid(self) -> Uuid {
        self.0
    }

    /// Adds it to a text as `Display` writes it, without the machinery of formats.
    pub fn push_to(self, text: &mut String) {
        text.push_str(self.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
    }

    /// The UUID as one number, for tables keyed by id.
    pub const fn as_u128(self) -> u128 {
        self.0.as_u128()
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}
impl<K> Hash for Id<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
impl<K> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
impl<K> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
impl<K> From<Uuid> for Id<K> {
    fn from(uuid: Uuid) -> Self {
        Self::new(uuid)
    }
}

impl<K> FromStr for Id<K> {
    type Err = IdError;

    /// Accepts the hyphenated form only (RFC 9562 §4), so that one id has one spelling up to letter case.
    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.len() != 36 {
            return Err(IdError { text: text.into() });
        }
        Uuid::try_parse(text).map(Self::new).map_err(|_| IdError { text: text.into() })
    }
}

/// Why a text is not an [`Id`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is not a UUID such as 00000000-0000-0000-0000-000000000001")]
pub struct IdError {
    text: String,
}

impl<K> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
    }
}
impl<'de, K> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
impl<K> schemars::JsonSchema for Id<K> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Uuid".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "uuid" })
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident => $id:ident;)*) => {
        /// The kinds of things that have ids. Uninhabited: they exist for the type checker only.
        pub mod kind {
            $($(#[$doc])* #[derive(Debug)] pub enum $kind {})*
        }
        $(#[doc = concat!("The id of a [`kind::", stringify!($kind), "`].")] pub type $id = Id<kind::$kind>;)*
    };
}

kinds! {
    /// A key that programs of a tenant act with.
    ApiKey => ApiKeyId;
    /// Evidence of who a customer is.
    Artifact => ArtifactId;
    /// That a user's personal data is taken out of the audit trail.
    AuditErasure => AuditErasureId;
    /// One row of the audit trail.
    AuditEvent => AuditEventId;
    /// A certificate chain with its key.
    Certificate => CertificateId;
    /// As whom the holder of a client certificate acts.
    CertificateBinding => CertificateBindingId;
    /// Who pays.
    Customer => CustomerId;
    /// A step of a customer's KYC or payment state.
    CustomerChange => CustomerChangeId;
    /// A domain of email addresses.
    EmailDomain => EmailDomainId;
    /// That a tenant may use a product.
    Entitlement => EntitlementId;
    /// That a provider's subject is a user of ours.
    FederatedIdentity => FederatedIdentityId;
    /// One running gateway process.
    Gateway => GatewayId;
    /// A group of a tenant's users.
    Group => GroupId;
    /// A hostname served at the edge.
    Hostname => HostnameId;
    /// Who else vouches for people.
    IdentityProvider => IdentityProviderId;
    /// That somebody may join a tenant.
    Invitation => InvitationId;
    /// A token issuer bound to a project or tenant.
    Issuer => IssuerId;
    /// A user's membership in a tenant.
    Membership => MembershipId;
    /// A request for help.
    HelpRequest => HelpRequestId;
    /// A verification of somebody's identity.
    IdentityVerification => IdentityVerificationId;
    /// A program that gets tokens of its own.
    MachineClient => MachineClientId;
    /// An entry of a menu.
    Menu => MenuId;
    /// An organisational unit of a tenant.
    OrgUnit => OrgUnitId;
    /// What has to be done after a commit.
    OutboxEvent => OutboxEventId;
    /// A key of somebody's device that signs them in.
    Passkey => PasskeyId;
    /// Something tenants can be entitled to.
    Product => ProductId;
    /// A tenant's wish for a product.
    ProductRequest => ProductRequestId;
    /// An identity shard.
    Project => ProjectId;
    /// What names a project.
    ProjectCredential => ProjectCredentialId;
    /// A sign-in that one device asks for and another approves.
    QrLogin => QrLoginId;
    /// One request at the edge.
    Request => RequestId;
    /// A role.
    Role => RoleId;
    /// A role given to a subject.
    RoleBinding => RoleBindingId;
    /// A route of a service.
    Route => RouteId;
    /// A named set of routes.
    Service => ServiceId;
    /// One sign-in.
    Session => SessionId;
    /// A signing key; its text is the `kid`.
    SigningKey => SigningKeyId;
    /// What a request runs as.
    Tenant => TenantId;
    /// An access token (`jti`).
    Token => TokenId;
    /// Where requests go.
    Upstream => UpstreamId;
    /// A person.
    User => UserId;
    /// Where a tenant is told what happens.
    Webhook => WebhookId;
    /// One event for one webhook.
    WebhookDelivery => WebhookDeliveryId;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        let id: TenantId = "00000000-0000-0000-0000-000000000001".parse().unwrap();
        assert_eq!(id.to_string(), "00000000-0000-0000-0000-000000000001");
        for other in ["", "1", "00000000000000000000000000000001", "{00000000-0000-0000-0000-000000000001}"] {
            assert!(other.parse::<TenantId>().is_err(), "{other}");
        }
    }
}
