//! `/v1/machine-clients`: programs that get tokens of their own.

use axum::{Json, extract::State};
use domain::{HumanDuration, MachineClientId, Secret, TenantId, Timestamp, UserId, model::MachineClient};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::list::MachineClientList;

use super::{
    answer::{Changed, Created, Gone, List, One, ShownOnce},
    extract::{Asked, At, Body, IfMatch, ListQuery, Listed, TenantQuery, WaitQuery},
    schema::wire,
};
use crate::{App, app::machine_clients, caller::Principal, envelope::Waiting, error::AppError};

/// A machine client. Its secret is shown when it is made or rotated, and never again.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MachineClient")]
pub struct MachineClientView {
    /// Its id: the `client_id`.
    id: MachineClientId,
    /// The tenant it acts in.
    tenant_id: TenantId,
    /// As whom: roles are bound to this user.
    user_id: UserId,
    /// What it is called.
    name: String,
    /// Until when the secret before the last rotation is accepted.
    previous_until: Option<Timestamp>,
    /// When it last got a token.
    last_used_at: Option<Timestamp>,
    /// When it was made.
    created_at: Timestamp,
}

impl MachineClientView {
    fn at(it: MachineClient, now: Timestamp) -> Self {
        Self {
            id: it.id,
            tenant_id: it.tenant_id,
            user_id: it.user_id,
            name: it.name,
            previous_until: it.previous_until.filter(|until| *until > now),
            last_used_at: it.last_used_at,
            created_at: it.created_at,
        }
    }
}

/// A client with its secret, which is shown this once.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ShownMachineClient {
    /// The client.
    #[serde(flatten)]
    client: MachineClientView,
    /// The `client_secret`.
    #[serde(serialize_with = "domain::secret::exposed")]
    secret: Secret<String>,
    /// Gateways that have not heard of it yet, where that was waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<Waiting>,
}

/// A client to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateMachineClient {
    /// What it is called, 1 to 128 characters; unique in the tenant.
    name: String,
}

/// How a client's secret is rotated.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateMachineClient {
    /// For how long the secret it has is accepted beside the new one: at most `7d`, default `24h`. `0s` for one that others
    /// may know: every token of the client is refused, too.
    overlap: Option<HumanDuration>,
}

wire!(MachineClientView, ShownMachineClient, CreateMachineClient, RotateMachineClient);

/// Lists a tenant's machine clients.
#[utoipa::path(get, path = "/v1/machine-clients", tag = "machine clients",
    params(TenantQuery, ListQuery<MachineClientList>), responses((status = 200, body = List<MachineClientView>)),
    security(("bearer" = [])))]
pub async fn list_machine_clients(
    principal: Principal,
    State(app): State<App>,
    Asked(tenant): Asked<TenantQuery>,
    Listed(asked): Listed<MachineClientList>,
) -> Result<Json<List<MachineClientView>>, AppError> {
    let site = principal.site(&app, tenant.tenant_id).await?;
    let found = machine_clients::list_machine_clients(&app, &principal, site, &asked).await?;
    let now = app.now();
    Ok(Json(List::of(found, |it| MachineClientView::at(it, now))))
}

/// Makes a machine client. The answer shows its secret, this once. It may nothing until a role is bound to its user.
#[utoipa::path(post, path = "/v1/machine-clients", tag = "machine clients", params(TenantQuery, WaitQuery),
    request_body = CreateMachineClient, responses((status = 201, body = ShownMachineClient)),
    security(("bearer" = [])))]
pub async fn create_machine_client(
    principal: Principal,
    State(app): State<App>,
    Asked(tenant): Asked<TenantQuery>,
    Body(body): Body<CreateMachineClient>,
) -> Result<ShownOnce<Created<ShownMachineClient>>, AppError> {
    let site = principal.site(&app, tenant.tenant_id).await?;
    let (made, secret, commit) = machine_clients::create_machine_client(&app, &principal, site, body.name).await?;
    let (location, version) = (format!("/v1/machine-clients/{}", made.id), Some(made.version));
    let body = ShownMachineClient { client: MachineClientView::at(made, app.now()), secret, waiting: None };
    Ok(ShownOnce(Created { location, version, body, commit }))
}

/// Reads a machine client.
#[utoipa::path(get, path = "/v1/machine-clients/{id}", tag = "machine clients", params(("id" = String, Path)),
    responses((status = 200, body = MachineClientView)), security(("bearer" = [])))]
pub async fn read_machine_client(
    principal: Principal,
    State(app): State<App>,
    At(id): At<MachineClientId>,
) -> Result<One<MachineClientView>, AppError> {
    let found = machine_clients::read_machine_client(&app, &principal, id).await?;
    Ok(One { version: found.version, body: MachineClientView::at(found, app.now()) })
}

/// Gives a machine client another secret. The answer shows it, this once; the one it had is accepted for the overlap.
#[utoipa::path(post, path = "/v1/machine-clients/{id}/rotate", tag = "machine clients",
    params(("id" = String, Path), WaitQuery, IfMatch), request_body = RotateMachineClient,
    responses((status = 200, body = ShownMachineClient)), security(("bearer" = [])))]
pub async fn rotate_machine_client(
    principal: Principal,
    State(app): State<App>,
    At(id): At<MachineClientId>,
    IfMatch(version): IfMatch,
    Body(body): Body<RotateMachineClient>,
) -> Result<ShownOnce<Changed<ShownMachineClient>>, AppError> {
    let overlap = body.overlap.map(HumanDuration::get);
    let rotated = machine_clients::rotate_machine_client(&app, &principal, id, version, overlap).await?;
    let (changed, secret, commit) = rotated;
    let version = Some(changed.version);
    let body = ShownMachineClient { client: MachineClientView::at(changed, app.now()), secret, waiting: None };
    Ok(ShownOnce(Changed { version, body, commit, revokes: true }))
}

/// Deletes a machine client, with the user it acts as: every token it has is refused.
#[utoipa::path(delete, path = "/v1/machine-clients/{id}", tag = "machine clients",
    params(("id" = String, Path), WaitQuery), responses((status = 204)), security(("bearer" = [])))]
pub async fn delete_machine_client(
    principal: Principal,
    State(app): State<App>,
    At(id): At<MachineClientId>,
) -> Result<Gone, AppError> {
    machine_clients::delete_machine_client(&app, &principal, id).await.map(Gone::by)
}
