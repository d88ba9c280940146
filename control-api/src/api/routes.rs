//! `/v1/routes`: platform staff only.

use axum::{Json, extract::State};
use domain::{
    ByteSize, Credentials, HostName, HostnameId, HumanDuration, PathPattern, Permission, Requirement, RouteId,
    ServiceId, Timestamp, UpstreamId,
    model::{NewRoute, ProductKey, Route, RouteOwner},
    snapshot::{self, Access, OnUnproven, RateLimit},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::list::RouteList;

use super::{
    answer::{Changed, Created, Gone, List, One},
    extract::{At, Body, IfMatch, ListQuery, Listed, WaitQuery},
    schema::wire,
    tenants::checked_rate,
};
use crate::{App, app, caller::Principal, context::new_id, error::AppError};

/// Who may pass without a permission being asked for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Open {
    /// Anyone; credentials are not looked at.
    Public,
    /// Anyone; who shows a credential shows a good one.
    Optional,
    /// Any principal of the tenant.
    Authenticated,
}

/// A route. Exactly one of `access`, `permission` and `platform` is given, and one of `service_id` and `hostname_id`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Route")]
pub struct RouteBody {
    /// Its id; made when absent.
    id: Option<RouteId>,
    /// The service it belongs to.
    service_id: Option<ServiceId>,
    /// The hostname it belongs to alone.
    hostname_id: Option<HostnameId>,
    /// Paths, such as `/orders/{id}` or `/public/**`.
    path: PathPattern,
    /// Methods; empty for all that the edge lets through.
    #[serde(default)]
    methods: Vec<String>,
    /// Who may pass.
    access: Option<Open>,
    /// Principals of the tenant that hold this permission.
    permission: Option<Permission>,
    /// The platform's staff that hold this permission.
    platform: Option<Permission>,
    /// Which kinds of credentials it takes; none for all but certificates.
    credentials: Option<Credentials>,
    /// What it demands of its callers' sign-in; none for nothing.
    require: Option<Requirement>,
    /// Another upstream than the service's.
    upstream_id: Option<UpstreamId>,
    /// Product the tenant must be entitled to.
    product: Option<String>,
    /// Name of the path parameter that holds the organisational unit: it makes the route one of units.
    ou_parameter: Option<String>,
    /// Name of the header field that holds it instead, such as `x-workspace-id`.
    ou_header: Option<String>,
    /// Without proof of freshness; none for the default.
    on_unproven: Option<OnUnproven>,
    /// One of sign-in, refresh and sign-out, which a frozen tenant keeps.
    #[serde(default)]
    session: bool,
    /// An API of the tenant itself: its administrators pass without the permission.
    #[serde(default)]
    tenant_api: bool,
    /// Requests a second through this route, for each tenant.
    rate_limit: Option<RateLimit>,
    /// Largest request body, such as `10MiB`; none for the hostname's or the gateway's.
    max_body: Option<ByteSize>,
    /// Longest time that a response or WebSocket goes on, `1s` to `30d`; none for as long as its caller's token is good.
    max_stream: Option<HumanDuration>,
    /// Whether the edge is told of it. Default true.
    enabled: Option<bool>,
    /// When it was last changed; ignored in requests.
    updated_at: Option<Timestamp>,
}

/// A request to try.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestRoute {
    /// Hostname.
    host: HostName,
    /// Method.
    method: String,
    /// Canonical path, without query.
    path: String,
}

/// Which route a request would take.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TestedRoute {
    /// The route; none where the edge answers 404 `route_not_found`.
    route: Option<RouteBody>,
    /// The permission it asks for.
    permission: Option<Permission>,
}

wire!(RouteBody, TestRoute, TestedRoute);

impl From<Route> for RouteBody {
    fn from(it: Route) -> Self {
        let rule = it.rule;
        let (service_id, hostname_id) = match it.owner {
            RouteOwner::Service(id) => (Some(id), None),
            RouteOwner::Hostname(id) => (None, Some(id)),
        };
        let (access, permission, platform) = match rule.access {
            Access::Public => (Some(Open::Public), None, None),
            Access::Optional => (Some(Open::Optional), None, None),
            Access::Authenticated => (Some(Open::Authenticated), None, None),
            Access::Permission(permission) => (None, Some(permission), None),
            Access::Platform(permission) => (None, None, Some(permission)),
        };
        Self {
            id: Some(rule.id),
            service_id,
            hostname_id,
            path: rule.path,
            methods: rule.methods,
            access,
            permission,
            platform,
            credentials: Some(rule.credentials),
            require: rule.require,
            upstream_id: rule.upstream_id,
            product: rule.product,
            ou_parameter: rule.ou_parameter,
            ou_header: rule.ou_header,
            on_unproven: rule.on_unproven,
            session: rule.session,
            tenant_api: rule.tenant_api,
            rate_limit: rule.rate_limit,
            max_body: rule.max_body,
            max_stream: rule.max_stream,
            enabled: Some(it.enabled),
            updated_at: Some(it.updated_at),
        }
    }
}

impl RouteBody {
    fn owner(&self) -> Result<RouteOwner, AppError> {
        match (self.service_id, self.hostname_id) {
            (Some(id), None) => Ok(RouteOwner::Service(id)),
            (None, Some(id)) => Ok(RouteOwner::Hostname(id)),
            (Some(_), Some(_)) | (None, None) => {
                Err(AppError::field("/service_id", "choice", "exactly one of `service_id` and `hostname_id` is given"))
            }
        }
    }

    fn rule(self, id: RouteId) -> Result<snapshot::Route, AppError> {
        let access = match (self.access, self.permission, self.platform) {
            (Some(Open::Public), None, None) => Access::Public,
            (Some(Open::Optional), None, None) => Access::Optional,
            (Some(Open::Authenticated), None, None) => Access::Authenticated,
            (None, Some(permission), None) if !permission.is_wildcard() => Access::Permission(permission),
            (None, None, Some(permission)) if !permission.is_wildcard() => Access::Platform(permission),
            (None, Some(_), None) => {
                return Err(AppError::field("/permission", "invalid", "a wildcard can be held, not asked for"));
            }
            (None, None, Some(_)) => {
                return Err(AppError::field("/platform", "invalid", "a wildcard can be held, not asked for"));
            }
            _ => {
                let detail = "exactly one of `access`, `permission` and `platform` is given";
                return Err(AppError::field("/access", "choice", detail));
            }
        };
        let token = |method: &String| {
            (1..=32).contains(&method.len()) && method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-')
        };
        if let Some(at) = self.methods.iter().position(|method| !token(method)) {
            return Err(AppError::field(format!("/methods/{at}"), "invalid", "a method is upper-case letters"));
        }
        if let Some(Err(error)) = self.product.as_deref().map(str::parse::<ProductKey>) {
            return Err(AppError::field("/product", "invalid", error.to_string()));
        }
        if let Some(Err((member, message))) = self.require.map(|require| require.check(&access)) {
            return Err(AppError::field(format!("/{member}"), "invalid", message));
        }
        Ok(snapshot::Route {
            id,
            path: self.path,
            methods: self.methods,
            access,
            credentials: self.credentials.unwrap_or_default(),
            require: self.require,
            upstream_id: self.upstream_id,
            product: self.product,
            ou_parameter: self.ou_parameter,
            ou_header: self.ou_header,
            on_unproven: self.on_unproven,
            session: self.session,
            tenant_api: self.tenant_api,
            rate_limit: checked_rate("/rate_limit", self.rate_limit)?,
            max_body: self.max_body,
            max_stream: checked_stream(self.max_stream)?,
        })
    }
}

fn checked_stream(longest: Option<HumanDuration>) -> Result<Option<HumanDuration>, AppError> {
    match longest {
        Some(longest) if !snapshot::STREAM_TIMES.contains(&longest) => {
            let (least, most) = snapshot::STREAM_TIMES.into_inner();
            Err(AppError::field("/max_stream", "range", format!("{least} to {most} are allowed")))
        }
        longest => Ok(longest),
    }
}

/// Lists all routes.
#[utoipa::path(get, path = "/v1/routes", tag = "routes", params(ListQuery<RouteList>),
    responses((status = 200, body = List<RouteBody>)), security(("bearer" = [])))]
pub async fn list_routes(
    principal: Principal,
    State(app): State<App>,
    Listed(asked): Listed<RouteList>,
) -> Result<Json<List<RouteBody>>, AppError> {
    let found = app::routes::list_routes(&app, &principal, &asked).await?;
    Ok(Json(List::of(found, Into::into)))
}

/// Makes a route. One that matches the same requests as another equally well is refused.
#[utoipa::path(post, path = "/v1/routes", tag = "routes", params(WaitQuery), request_body = RouteBody,
    responses((status = 201, body = RouteBody)), security(("bearer" = [])))]
pub async fn create_route(
    principal: Principal,
    State(app): State<App>,
    Body(body): Body<RouteBody>,
) -> Result<Created<RouteBody>, AppError> {
    let (owner, enabled) = (body.owner()?, body.enabled.unwrap_or(true));
    let id = body.id.unwrap_or_else(|| new_id(&*app.clock));
    let new = NewRoute { owner, rule: body.rule(id)?, enabled };
    let (made, commit) = app::routes::create_route(&app, &principal, new).await?;
    let location = format!("/v1/routes/{id}");
    Ok(Created { location, version: Some(made.version), body: made.into(), commit })
}

/// Reads a route.
#[utoipa::path(get, path = "/v1/routes/{id}", tag = "routes", params(("id" = String, Path)),
    responses((status = 200, body = RouteBody)), security(("bearer" = [])))]
pub async fn read_route(
    principal: Principal,
    State(app): State<App>,
    At(id): At<RouteId>,
) -> Result<One<RouteBody>, AppError> {
    let found = app::routes::read_route(&app, &principal, id).await?;
    Ok(One { version: found.version, body: found.into() })
}

/// Replaces what a route says; what it belongs to stays.
#[utoipa::path(put, path = "/v1/routes/{id}", tag = "routes", params(("id" = String, Path), WaitQuery, IfMatch),
    request_body = RouteBody, responses((status = 200, body = RouteBody)), security(("bearer" = [])))]
pub async fn replace_route(
    principal: Principal,
    State(app): State<App>,
    At(id): At<RouteId>,
    IfMatch(version): IfMatch,
    Body(body): Body<RouteBody>,
) -> Result<Changed<RouteBody>, AppError> {
    let enabled = body.enabled.unwrap_or(true);
    let (changed, commit) = app::routes::replace_route(&app, &principal, version, body.rule(id)?, enabled).await?;
    Ok(Changed { version: Some(changed.version), body: changed.into(), commit, revokes: true })
}

/// Deletes a route.
#[utoipa::path(delete, path = "/v1/routes/{id}", tag = "routes", params(("id" = String, Path), WaitQuery),
    responses((status = 204)), security(("bearer" = [])))]
pub async fn delete_route(principal: Principal, State(app): State<App>, At(id): At<RouteId>) -> Result<Gone, AppError> {
    app::routes::delete_route(&app, &principal, id).await.map(Gone::by)
}

/// Says which route a request would take.
#[utoipa::path(post, path = "/v1/routes/test", tag = "routes", request_body = TestRoute,
    responses((status = 200, body = TestedRoute)), security(("bearer" = [])))]
pub async fn test_route(
    principal: Principal,
    State(app): State<App>,
    Body(body): Body<TestRoute>,
) -> Result<Json<TestedRoute>, AppError> {
    let found = app::routes::test_route(&app, &principal, &body.host, &body.method, &body.path).await?;
    let permission = found.as_ref().and_then(|route| match &route.rule.access {
        Access::Permission(permission) | Access::Platform(permission) => Some(permission.clone()),
        Access::Public | Access::Optional | Access::Authenticated => None,
    });
    Ok(Json(TestedRoute { route: found.map(Into::into), permission }))
}
