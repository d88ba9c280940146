//! The words of Portcullis as types: ids, names, times, facts, audit events and the wire snapshot.
//!
//! Nothing here does I/O, reads a clock or is asynchronous. A value of one of these types was checked when it was
//! made; nothing checks it again.

pub mod access;
pub mod admission;
pub mod api_key;
pub mod assurance;
pub mod audit;
pub mod client_certificate;
pub mod contact;
pub mod cors;
pub mod country;
pub mod credential;
pub mod decision;
pub mod declarative;
pub mod fact;
pub mod fleet;
pub mod host;
pub mod id;
pub mod model;
pub mod network;
pub mod org_unit;
pub mod outbox;
pub mod path;
pub mod permission;
pub mod phone;
pub mod quota;
pub mod response;
pub mod secret;
pub mod slug;
pub mod snapshot;
pub mod tax_id;
pub mod time;
pub mod unit;

pub use admission::Admission;
pub use api_key::{ApiKeyScheme, ApiKeyState, KeyPrefix};
pub use assurance::{Acr, Amr, AmrSet, Assurance, Requirement};
pub use client_certificate::{CertificateBinding, CertificateMode, CertificateName, ClientCertificates, NameKind};
pub use contact::{Address, Contact};
pub use cors::{Cors, CorsOrigin};
pub use country::Country;
pub use credential::{CredentialKind, Credentials};
pub use decision::Decision;
pub use fact::{Fact, History, NumberedFact, Position, Seq, SnapshotVersion, Tag};
pub use fleet::FleetName;
pub use host::HostName;
pub use id::{
    ApiKeyId, ArtifactId, AuditErasureId, AuditEventId, CertificateBindingId, CertificateId, CustomerChangeId,
    CustomerId, EmailDomainId, EntitlementId, FederatedIdentityId, GatewayId, GroupId, HelpRequestId, HostnameId, Id,
    IdentityProviderId, IdentityVerificationId, InvitationId, IssuerId, MachineClientId, MembershipId, MenuId,
    OrgUnitId, OutboxEventId, PasskeyId, ProductId, ProductRequestId, ProjectCredentialId, ProjectId, QrLoginId,
    RequestId, RoleBindingId, RoleId, RouteId, ServiceId, SessionId, SigningKeyId, TenantId, TokenId, UpstreamId,
    UserId, WebhookDeliveryId, WebhookId,
};
pub use network::Network;
pub use path::PathPattern;
pub use permission::Permission;
pub use phone::{PhoneNumber, PhoneNumberError};
pub use quota::{Period, ProductQuota};
pub use secret::Secret;
pub use slug::Slug;
pub use tax_id::TaxIds;
pub use time::{BootInstant, Clock, Timestamp};
pub use unit::{ByteSize, HumanDuration};
