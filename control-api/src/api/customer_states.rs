//! What is known of customers: KYC and payment states with their history, and the evidence. States are pushed by staff on
//! `admin`, and on `internal` by the service that checks, with its key.

use axum::{Json, extract::State};
use domain::{
    ArtifactId, CustomerChangeId, CustomerId, Timestamp,
    audit::{Actor, ActorKind},
    model::{Artifact, Customer, CustomerChange, CustomerState, NewArtifact},
    snapshot::{KycStatus, PaymentStatus},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::list::{ArtifactList, CustomerHistory};

use super::{
    answer::{Changed, List},
    customers::CustomerView,
    extract::{At, Body, ListQuery, Listed, WaitQuery},
    schema::wire,
};
use crate::{
    App,
    app::customers::{self, StateNote},
    caller::Principal,
    config::ServiceMethod,
    context::RequestContext,
    error::AppError,
    service_caller::ServiceCaller,
};

/// The outcome of an identity check.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetKyc {
    /// Its state now.
    status: KycStatus,
    /// Why, 1 to 1024 characters.
    reason: Option<String>,
    /// What it is known by where it was checked, 1 to 512 characters.
    reference: Option<String>,
}

/// What billing knows.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetPayment {
    /// The state now.
    status: PaymentStatus,
    /// Why, 1 to 1024 characters.
    reason: Option<String>,
    /// What it is known by to billing, such as an invoice's number; 1 to 512 characters.
    reference: Option<String>,
}

/// Who did something.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ChangedBy")]
pub struct ByView {
    /// What kind.
    kind: ActorKind,
    /// Its id, where it has one.
    id: Option<String>,
    /// Its name at that time.
    name: String,
}

impl From<Actor> for ByView {
    fn from(it: Actor) -> Self {
        Self { kind: it.kind, id: it.id.map(|id| id.to_string()), name: it.name }
    }
}

/// A step of a customer's state.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CustomerChange")]
pub struct ChangeView {
    /// Its id.
    id: CustomerChangeId,
    /// What the customer was.
    from: CustomerState,
    /// What it became.
    to: CustomerState,
    /// Why.
    reason: Option<String>,
    /// What it is known by where it was decided.
    reference: Option<String>,
    /// Who pushed it.
    by: ByView,
    /// When.
    at: Timestamp,
}

impl From<CustomerChange> for ChangeView {
    fn from(it: CustomerChange) -> Self {
        Self {
            id: it.id,
            from: it.from,
            to: it.to,
            reason: it.reason,
            reference: it.reference,
            by: it.by.into(),
            at: it.at,
        }
    }
}

/// Evidence to be kept. The thing itself is kept elsewhere.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutArtifact {
    /// What it is, such as `passport`: 1 to 64 of a-z, 0-9, `_` and `-`.
    kind: String,
    /// Where it is kept, 1 to 512 characters.
    reference: String,
    /// Its SHA-256, as 64 hexadecimal digits in small letters.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    sha256: String,
}

/// Evidence of who a customer is.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Artifact")]
pub struct ArtifactView {
    /// Its id.
    id: ArtifactId,
    /// What it is.
    kind: String,
    /// Where it is kept.
    reference: String,
    /// Its SHA-256, in hexadecimal digits.
    sha256: String,
    /// Who put it.
    by: ByView,
    /// When.
    at: Timestamp,
}

impl From<Artifact> for ArtifactView {
    fn from(it: Artifact) -> Self {
        let sha256 = it.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { id: it.id, kind: it.kind, reference: it.reference, sha256, by: it.by.into(), at: it.at }
    }
}

wire!(SetKyc, SetPayment, ChangeView, PutArtifact, ArtifactView);

impl SetKyc {
    fn parts(self) -> (CustomerState, StateNote) {
        (CustomerState::Kyc(self.status), StateNote { reason: self.reason, reference: self.reference })
    }
}

impl SetPayment {
    fn parts(self) -> (CustomerState, StateNote) {
        (CustomerState::Payment(self.status), StateNote { reason: self.reason, reference: self.reference })
    }
}

/// Whether a state takes something away at the edge.
const fn revokes(state: CustomerState) -> bool {
    match state {
        CustomerState::Kyc(status) => !matches!(status, KycStatus::Completed | KycStatus::DueRekyc),
        CustomerState::Payment(status) => matches!(status, PaymentStatus::Blocked),
    }
}

async fn set(
    app: &App,
    by: &authz::Authorized<authz::action::ManageCustomers>,
    id: CustomerId,
    (state, note): (CustomerState, StateNote),
) -> Result<Changed<CustomerView>, AppError> {
    let (changed, commit): (Customer, _) = customers::set_customer_state(app, by, id, state, &note).await?;
    Ok(Changed { version: Some(changed.version), body: changed.into(), commit, revokes: revokes(state) })
}

/// Sets the state of a customer's identity check.
#[utoipa::path(put, path = "/v1/customers/{id}/kyc", tag = "customers", params(("id" = String, Path), WaitQuery),
    request_body = SetKyc, responses((status = 200, body = CustomerView)), security(("bearer" = [])))]
pub async fn set_kyc(
    principal: Principal,
    State(app): State<App>,
    At(id): At<CustomerId>,
    Body(body): Body<SetKyc>,
) -> Result<Changed<CustomerView>, AppError> {
    set(&app, &principal.may("kyc")?, id, body.parts()).await
}

/// Sets whether a customer pays.
#[utoipa::path(put, path = "/v1/customers/{id}/payment", tag = "customers", params(("id" = String, Path), WaitQuery),
    request_body = SetPayment, responses((status = 200, body = CustomerView)), security(("bearer" = [])))]
pub async fn set_payment(
    principal: Principal,
    State(app): State<App>,
    At(id): At<CustomerId>,
    Body(body): Body<SetPayment>,
) -> Result<Changed<CustomerView>, AppError> {
    set(&app, &principal.may("payment")?, id, body.parts()).await
}

/// What the service says that checks who a customer is.
#[utoipa::path(put, path = "/v1/customers/{id}/kyc", tag = "customers", params(("id" = String, Path), WaitQuery),
    request_body = SetKyc, responses((status = 200, body = CustomerView)), security(("service_key" = [])))]
pub async fn push_kyc(
    caller: ServiceCaller,
    context: RequestContext,
    State(app): State<App>,
    At(id): At<CustomerId>,
    Body(body): Body<SetKyc>,
) -> Result<Changed<CustomerView>, AppError> {
    let by = caller.authorized(ServiceMethod::SetKyc, "kyc", context.origin())?;
    set(&app, &by, id, body.parts()).await
}

/// What billing says.
#[utoipa::path(put, path = "/v1/customers/{id}/payment", tag = "customers", params(("id" = String, Path), WaitQuery),
    request_body = SetPayment, responses((status = 200, body = CustomerView)), security(("service_key" = [])))]
pub async fn push_payment(
    caller: ServiceCaller,
    context: RequestContext,
    State(app): State<App>,
    At(id): At<CustomerId>,
    Body(body): Body<SetPayment>,
) -> Result<Changed<CustomerView>, AppError> {
    let by = caller.authorized(ServiceMethod::SetPayment, "payment", context.origin())?;
    set(&app, &by, id, body.parts()).await
}

/// Lists what a customer's KYC and payment states were, oldest first: who set them, when and why.
#[utoipa::path(get, path = "/v1/customers/{id}/history", tag = "customers", params(("id" = String, Path), ListQuery<CustomerHistory>),
    responses((status = 200, body = List<ChangeView>)), security(("bearer" = [])))]
pub async fn list_customer_history(
    principal: Principal,
    State(app): State<App>,
    At(id): At<CustomerId>,
    Listed(asked): Listed<CustomerHistory>,
) -> Result<Json<List<ChangeView>>, AppError> {
    let found = customers::list_customer_changes(&app, &principal, id, &asked).await?;
    Ok(Json(List::of(found, Into::into)))
}

/// Keeps evidence of who a customer is. The same again changes nothing; another thing under the same kind and reference is
/// refused.
#[utoipa::path(put, path = "/v1/customers/{id}/artifacts", tag = "customers", params(("id" = String, Path)),
    request_body = PutArtifact, responses((status = 200, body = ArtifactView)), security(("bearer" = [])))]
pub async fn put_artifact(
    principal: Principal,
    State(app): State<App>,
    At(id): At<CustomerId>,
    Body(body): Body<PutArtifact>,
) -> Result<Changed<ArtifactView>, AppError> {
    let sha256 = digest(&body.sha256)
        .ok_or_else(|| AppError::field("/sha256", "invalid", "is not 64 hexadecimal digits in small letters"))?;
    let new = NewArtifact { customer_id: id, kind: body.kind, reference: body.reference, sha256 };
    let (put, commit) = customers::put_artifact(&app, &principal, new).await?;
    Ok(Changed { version: None, body: put.into(), commit, revokes: false })
}

/// Lists the evidence of who a customer is, oldest first.
#[utoipa::path(get, path = "/v1/customers/{id}/artifacts", tag = "customers", params(("id" = String, Path), ListQuery<ArtifactList>),
    responses((status = 200, body = List<ArtifactView>)), security(("bearer" = [])))]
pub async fn list_artifacts(
    principal: Principal,
    State(app): State<App>,
    At(id): At<CustomerId>,
    Listed(asked): Listed<ArtifactList>,
) -> Result<Json<List<ArtifactView>>, AppError> {
    let found = customers::list_artifacts(&app, &principal, id, &asked).await?;
    Ok(Json(List::of(found, Into::into)))
}

/// The bytes of 64 hexadecimal digits.
fn digest(text: &str) -> Option<[u8; 32]> {
    let digit = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Vec<u8> = text.as_bytes().chunks(2).map(byte).collect::<Option<_>>()?;
    text.bytes().all(|b| digit(&b)).then(|| bytes.try_into().ok()).flatten()
}

#[test]
fn a_digest_is_64_small_hexadecimal_digits() {
    assert_eq!(digest(&"0f".repeat(32)), Some([15; 32]));
    for wrong in ["".into(), "0F".repeat(32), "0f".repeat(31), "zz".repeat(32), format!("{}f", "0f".repeat(32))] {
        assert_eq!(digest(&wrong), None, "{wrong}");
    }
}
