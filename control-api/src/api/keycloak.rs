//! `/v1/internal/keycloak/claims`: what an identity provider puts into a token about the tenant, on S1's path.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use domain::{Slug, TenantId, model::ProductKey, snapshot::TenantStatus};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{extract::Body, schema::wire};
use crate::{
    App,
    app::products::{self, TenantClaims},
    config::ServiceMethod,
    error::AppError,
    service_caller::ServiceCaller,
};

/// Which tenant is asked about: by exactly one of these.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AskClaims {
    /// Its id.
    tenant_id: Option<TenantId>,
    /// Its slug.
    tenant_slug: Option<String>,
    /// Attributes of the user, of which `tenant_id` or `tenant_slug` says it; the others are not looked at.
    user_attrs: Option<BTreeMap<String, Attribute>>,
}

/// A user's attribute, as Keycloak keeps it: a list, or its only value.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Attribute {
    /// Its only value.
    One(String),
    /// Its values.
    Several(Vec<String>),
}

/// What a token says about a tenant.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ClaimBundle {
    /// The tenant.
    tenant_id: TenantId,
    /// Its slug.
    slug: Slug,
    /// Products it may use now, sorted.
    products: Vec<ProductKey>,
    /// Its plan.
    plan: Option<String>,
    /// Where it is in its life cycle.
    status: TenantStatus,
}

wire!(AskClaims, ClaimBundle);

impl Attribute {
    /// Its value, if there is exactly one.
    fn only(self) -> Option<String> {
        match self {
            Self::One(value) => Some(value),
            Self::Several(values) => <[String; 1]>::try_from(values).ok().map(|[value]| value),
        }
    }
}

impl AskClaims {
    /// The tenant that is meant.
    fn named(self) -> Result<(Option<TenantId>, Option<String>), AppError> {
        let ambiguous =
            || AppError::field("", "ambiguous", "name the tenant by exactly one of id, slug and attributes");
        match (self.tenant_id, self.tenant_slug, self.user_attrs) {
            (Some(id), None, None) => Ok((Some(id), None)),
            (None, Some(slug), None) => Ok((None, Some(slug))),
            (None, None, Some(mut attributes)) => {
                let mut take = |name| attributes.remove(name).map(|it| it.only().ok_or_else(ambiguous)).transpose();
                match (take("tenant_id")?, take("tenant_slug")?) {
                    (Some(id), None) => {
                        let id =
                            id.parse().map_err(|_| AppError::field("/user_attrs/tenant_id", "invalid", "is no id"))?;
                        Ok((Some(id), None))
                    }
                    (None, Some(slug)) => Ok((None, Some(slug))),
                    _ => Err(ambiguous()),
                }
            }
            _ => Err(ambiguous()),
        }
    }
}

impl From<TenantClaims> for ClaimBundle {
    fn from(TenantClaims { tenant, products }: TenantClaims) -> Self {
        Self { tenant_id: tenant.id, slug: tenant.slug, products, plan: tenant.plan, status: tenant.status }
    }
}

/// What a token says about a tenant.
#[utoipa::path(post, path = "/v1/internal/keycloak/claims", tag = "claims", request_body = AskClaims,
    responses((status = 200, body = ClaimBundle)), security(("service_key" = [])))]
pub async fn tenant_claims(
    caller: ServiceCaller,
    State(app): State<App>,
    Body(body): Body<AskClaims>,
) -> Result<Json<ClaimBundle>, AppError> {
    caller.may(ServiceMethod::TenantClaims)?;
    let (id, slug) = body.named()?;
    products::tenant_claims(&app, id, slug.as_deref()).await.map(|claims| Json(claims.into()))
}
