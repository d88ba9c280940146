//! API keys as callers of this API, for the few operations that take them.
//!
//! A key is judged as the edge judges it, by what SQL says now. At `public` it must be the key that the edge let through:
//! of the tenant of the hostname.

use authn::api_key::PresentedKey;
use authz::{Authorized, Caller, Context, PermissionSet, action::AppendAudit};
use axum::extract::FromRequestParts;
use domain::{
    Secret,
    audit::{Actor, ActorKind},
};
use http::request::Parts;

use crate::{
    App,
    app::{api_keys, site},
    caller::{self, Principal, Site},
    context::{Listener, RequestContext},
    error::AppError,
};

/// Who reports an event: a user by token, or a program by API key.
#[derive(Clone, Debug)]
pub enum Reporter {
    /// A user.
    Principal(Principal),
    /// A program of the tenant.
    Key {
        /// With its rights: what both its scopes and its owner's roles grant.
        caller: Caller,
        /// Where it acts.
        site: Site,
        /// Its public part.
        prefix: String,
    },
}

impl Reporter {
    /// Where it reports, given the tenant it names, and that it may; with the name it reports under.
    ///
    /// # Errors
    /// Another tenant than its own does not exist; [`AppError::Forbidden`].
    pub async fn at(
        &self,
        app: &App,
        named: Option<domain::TenantId>,
    ) -> Result<(Authorized<AppendAudit>, Site, String), AppError> {
        match self {
            Self::Principal(principal) => {
                let site = principal.site(app, named).await?;
                let by = principal.may_in::<AppendAudit>(site, "create")?;
                Ok((by, site, format!("user:{}", principal.user)))
            }
            Self::Key { site, .. } if named.is_some_and(|tenant| tenant != site.tenant) => {
                Err(AppError::NotFound("tenant"))
            }
            Self::Key { caller, site, prefix } => {
                let permission = "tenant:audit:create".parse();
                let permission =
                    permission.map_err(|error| AppError::internal("an operation names no permission", error))?;
                Ok((caller.authorize(&permission, site.scope())?, *site, prefix.clone()))
            }
        }
    }
}

impl FromRequestParts<App> for Reporter {
    type Rejection = AppError;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, AppError> {
        let shown = caller::bearer(&parts.headers)?;
        if !PresentedKey::looks_like(shown) {
            return Principal::from_request_parts(parts, app).await.map(Self::Principal);
        }
        let shown = Secret::new(shown.to_owned());
        let context = RequestContext::from_request_parts(parts, app).await?;
        let realm = match context.listener {
            Listener::Public => Some(site::realm_of_host(&app.store, &context).await?.ok_or(AppError::TenantMismatch)?),
            Listener::Admin | Listener::Internal => None,
        };
        let accepted = api_keys::accepted(app, &shown, realm.as_ref(), context.client, false).await?;
        let (key, site) = (accepted.key, accepted.site);
        if context.asserted.as_ref().and_then(|it| it.tenant).is_some_and(|tenant| tenant != site.tenant) {
            return Err(AppError::TenantMismatch);
        }
        let prefix = key.prefix.to_string();
        let actor = Actor { kind: ActorKind::Service, id: Some(key.id.uuid()), name: prefix.clone() };
        let caller = Caller {
            actor,
            origin: context.origin(),
            context: Context::Tenant(site.project, site.tenant),
            permissions: PermissionSet::new(&accepted.permissions),
            is_admin: false,
            is_super_admin: false,
        };
        Ok(Self::Key { caller, site, prefix })
    }
}
