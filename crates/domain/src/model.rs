//! The rows the control plane keeps, as the product knows them.
//!
//! What a gateway is told lives in [`crate::snapshot`]; where a row and a snapshot entity say the same thing they share
//! the type. `New…` types hold what a caller decides; the store adds times and versions. The API's wire types are its
//! own.

pub mod api_key;
pub mod branding;
pub mod break_glass;
pub mod certificate;
pub mod customer;
pub mod customer_state;
pub mod email_domain;
pub mod enrolment;
pub mod gateway;
pub mod group;
pub mod help_request;
pub mod hostname;
pub mod identity_provider;
pub mod identity_verification;
pub mod invitation;
pub mod login_policy;
pub mod machine_client;
pub mod menu;
pub mod one_time;
pub mod org_unit;
pub mod passkey;
pub mod preference;
pub mod product;
pub mod project;
pub mod project_credential;
pub mod proof;
pub mod provisioning;
pub mod qr_login;
pub mod role;
pub mod second_factor;
pub mod service;
pub mod session;
pub mod signing_key;
pub mod subject;
pub mod tenant;
pub mod upstream;
pub mod user;
pub mod webhook;

pub use api_key::{ApiKey, ApiKeyStatus, NewApiKey};
pub use branding::{Branding, BrandingError, Colour};
pub use break_glass::{BreakGlass, NewBreakGlass};
pub use certificate::{BoundCertificate, Certificate, CertificateSource, NewBoundCertificate, NewCertificate};
pub use customer::{Customer, CustomerKind, KycKind, NewCustomer, Tenancy};
pub use customer_state::{Artifact, CustomerChange, CustomerState, CustomerStateConflict, NewArtifact};
pub use email_domain::{EmailDomain, NewEmailDomain, domain_of};
pub use enrolment::{Enrolment, EnrolmentState, NewEnrolment};
pub use gateway::{GatewayNode, GatewayReport};
pub use group::{Group, GroupMember, NewGroup};
pub use help_request::{HelpRequest, HelpStatus, NewHelpRequest};
pub use hostname::{Hostname, HostnameKind, NewHostname, TlsMode, VerifyState};
pub use identity_provider::{
    FederatedIdentity, IdentityProvider, NewIdentityProvider, OauthCode, OauthProofs, OauthPurpose, OauthState,
    ProviderKey, ProviderKind, ProviderOptions,
};
pub use identity_verification::{
    IdentityState, IdentityStep, IdentityVerification, NewIdentityVerification, NextIdentityStep,
};
pub use invitation::{Invitation, InvitationStatus, NewInvitation};
pub use login_policy::{LoginMethod, LoginPolicy, PasswordPolicy};
pub use machine_client::{MachineClient, NewMachineClient};
pub use menu::{Menu, MenuKey, MenuNode, MenuOwner, MenuPath, MenuPlaceError, NewMenu};
pub use one_time::{CodeKind, CodeShown, GuessPolicy, MailPace, MailTurn, OneTimeToken, TokenKind};
pub use org_unit::{NewOrgUnit, OrgUnit, UnitMember, UnitRole};
pub use passkey::{NewPasskey, Passkey};
pub use preference::Preferences;
pub use product::{
    Entitlement, EntitlementSource, EntitlementStatus, NewEntitlement, NewProduct, NewProductRequest, Product,
    ProductKey, ProductRequest, ProductRequestKind, ProductRequestStatus,
};
pub use project::{ExternalIssuer, NewProject, Project, ProjectKind, ProjectStatus};
pub use project_credential::{CredentialCertificate, NewProjectCredential, ProjectCredential, ProjectCredentialKind};
pub use proof::{Challenge, DueProof, Finding, Proof, ProofFailure, ProofRules, ProofSubject, Verdict};
pub use provisioning::{Provisioning, ProvisioningStep, StepOutcome, StepState};
pub use qr_login::{QrApproval, QrLogin, QrState};
pub use role::{NewRole, NewRoleBinding, Role, RoleBinding, RoleSubject, builtin};
pub use second_factor::{ChallengePurpose, LoginChallenge, Totp};
pub use service::{NewRoute, NewService, Route, RouteOwner, Service};
pub use session::{AuthMethod, NewRefreshToken, NewSession, RefreshToken, Session};
pub use signing_key::{ASSERTION_KEY_LEAD, KeyPurpose, KeySource, KeyState, NewSigningKey, SignerKind, SigningKey};
pub use subject::Subject;
pub use tenant::{ClaimState, NewTenant, Tenant, TenantStateConflict, TenantTransition};
pub use upstream::{AssertionKey, AssertionKeys, AssertionMode, NewUpstream, OtherKey, Upstream, UpstreamSpec};
pub use user::{
    Membership, MembershipSource, MembershipStatus, NewUser, StorageQuota, StorageQuotaError, User, UserStatus, fold,
};
pub use webhook::{Delivery, DeliveryState, DisabledBy, EventPattern, NewWebhook, Webhook};

use serde::{Deserialize, Serialize};

/// How often a row was changed, from 1; the `ETag` of the API, compared by `If-Match`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);
