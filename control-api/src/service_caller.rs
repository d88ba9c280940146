//! Who asks on the `internal` listener: a service with a key, or a gateway with a certificate.
//!
//! A key is good for the methods it names; of a key only its hash is kept. A gateway is known by its client certificate
//! and let in by whoever lets gateways in, so that a removed one is refused here, too. Everybody else is nobody: that a
//! caller sits on this machine counts for nothing, and a user's token is no service key.

use std::{path::Path, sync::Arc};

use authz::{Action, Authorized, Caller, Context, PermissionSet, Scope};
use axum::{
    extract::{FromRequestParts, Request, State},
    middleware::Next,
    response::Response,
};
use domain::{
    Permission, Secret, TenantId,
    audit::{Actor, ActorKind, Origin},
};
use http::{header, request::Parts};
use link::rpc::{Admit, certified, identity::Peer};

use crate::{
    App,
    app::tokens::hash,
    caller,
    config::{ServiceKey, ServiceMethod},
    error::AppError,
    problem,
};

/// Shortest key, in bytes of its text.
const MIN_KEY_BYTES: usize = 32;

/// The service keys there are.
#[derive(Debug, Default)]
pub struct ServiceKeys(Vec<Known>);

#[derive(Debug)]
struct Known {
    /// SHA-256 of the key; compared in constant time.
    hash: Secret<[u8; 32]>,
    caller: ServiceCaller,
}

/// A service or gateway that asks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServiceCaller {
    /// Its name.
    name: String,
    /// What it may ask.
    methods: Vec<ServiceMethod>,
    /// Whose trail it may append to.
    tenants: Vec<TenantId>,
}

impl ServiceKeys {
    /// Reads the keys that the configuration refers to.
    ///
    /// # Errors
    /// [`AppError::Internal`] for one that is not there, is short, or is another's, too.
    pub(crate) fn read(configured: &[ServiceKey]) -> Result<Self, AppError> {
        let mut known: Vec<Known> = Vec::with_capacity(configured.len());
        for key in configured {
            let failed = |reason: String| AppError::internal("a service key cannot be used", reason);
            let text = key.key.resolve(Path::new(".")).map_err(|error| failed(problem::chain(&error)))?;
            if text.expose().len() < MIN_KEY_BYTES {
                return Err(failed(format!("`{}` is shorter than {MIN_KEY_BYTES} bytes", key.name)));
            }
            let hash = Secret::new(hash(text.expose()));
            if let Some(other) = known.iter().find(|other| other.hash == hash) {
                return Err(failed(format!("`{}` and `{}` have the same key", other.caller.name, key.name)));
            }
            let (name, methods, tenants) = (key.name.clone(), key.methods.clone(), key.tenants.clone());
            let caller = ServiceCaller { name, methods, tenants };
            known.push(Known { hash, caller });
        }
        Ok(Self(known))
    }

    /// Whoever has this key. Every key is compared, in constant time.
    fn holder(&self, shown: &str) -> Option<&ServiceCaller> {
        let shown = Secret::new(hash(shown));
        let mut holder = None;
        for known in &self.0 {
            if known.hash == shown {
                holder = Some(&known.caller);
            }
        }
        holder
    }
}

impl ServiceCaller {
    /// That it may ask this.
    ///
    /// # Errors
    /// [`AppError::ServiceKeyScope`].
    pub fn may(&self, method: ServiceMethod) -> Result<(), AppError> {
        if self.methods.contains(&method) { Ok(()) } else { Err(AppError::ServiceKeyScope) }
    }

    /// Proof that it may do `verb` to resources of `A` anywhere, because its key is good for the method.
    ///
    /// # Errors
    /// [`AppError::ServiceKeyScope`].
    pub fn authorized<A: Action>(
        &self,
        method: ServiceMethod,
        verb: &str,
        origin: Origin,
    ) -> Result<Authorized<A>, AppError> {
        self.may(method)?;
        let permission: Permission = format!("platform:{}:{verb}", A::RESOURCE)
            .parse()
            .map_err(|error| AppError::internal("an operation names no permission", error))?;
        let caller = Caller {
            actor: self.actor(),
            origin,
            context: Context::System,
            permissions: PermissionSet::new([&permission]),
            is_admin: false,
            is_super_admin: false,
        };
        Ok(caller.authorize(&permission, Scope::Platform)?)
    }

    /// That it may append to this tenant's trail. Of another tenant it is told nothing.
    ///
    /// # Errors
    /// [`AppError::ServiceKeyScope`], [`AppError::NotFound`].
    pub fn may_append_to(&self, tenant: TenantId) -> Result<(), AppError> {
        self.may(ServiceMethod::AppendAudit)?;
        if self.tenants.contains(&tenant) { Ok(()) } else { Err(AppError::NotFound("tenant")) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// As the audit trail names it.
    pub fn actor(&self) -> Actor {
        Actor { kind: ActorKind::Service, id: None, name: self.name.clone() }
    }
}

/// What [`identify`] noted of a request: who asks, or why that is not known.
#[derive(Clone, Debug)]
struct Identified(Result<ServiceCaller, Arc<AppError>>);

/// Notes who asks, for the handlers of both protocols. The credential goes no further.
pub(crate) async fn identify(
    State((app, admit)): State<(App, Arc<dyn Admit>)>,
    mut request: Request,
    next: Next,
) -> Response {
    let shown = request.headers().contains_key(header::AUTHORIZATION);
    let shown = shown.then(|| caller::bearer(request.headers()).map(|key| Secret::new(key.to_owned())));
    let peer = certified(request.extensions());
    let identified = match (shown, peer) {
        (Some(Ok(key)), _) => app.service_keys.holder(key.expose()).cloned().ok_or(AppError::ServiceKeyInvalid),
        (Some(Err(error)), _) => Err(error),
        (None, Some(Peer::Gateway { gateway, expires })) => {
            let (name, methods) = (gateway.name.clone(), ServiceMethod::OF_GATEWAYS.to_vec());
            let caller = ServiceCaller { name, methods, tenants: Vec::new() };
            let admitted = admit.admit(&Peer::Gateway { gateway, expires }).await;
            admitted.map(|_| caller).map_err(|error| {
                tracing::warn!(error = problem::chain(&error), "a gateway's certificate is not let in");
                AppError::CredentialMissing
            })
        }
        (None, Some(Peer::Local) | None) => Err(AppError::CredentialMissing),
    };
    request.headers_mut().remove(header::AUTHORIZATION);
    request.extensions_mut().insert(Identified(identified.map_err(Arc::new)));
    next.run(request).await
}

/// Who asks, as [`identify`] noted it.
///
/// # Errors
/// [`AppError::CredentialMissing`], [`AppError::ServiceKeyInvalid`].
pub(crate) fn of(extensions: &http::Extensions) -> Result<ServiceCaller, AppError> {
    match extensions.get::<Identified>() {
        Some(Identified(Ok(caller))) => Ok(caller.clone()),
        Some(Identified(Err(error))) => Err(match **error {
            AppError::ServiceKeyInvalid => AppError::ServiceKeyInvalid,
            _ => AppError::CredentialMissing,
        }),
        None => Err(AppError::Internal { what: "a request came past the identification", source: None }),
    }
}

impl FromRequestParts<App> for ServiceCaller {
    type Rejection = AppError;
    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, AppError> {
        of(&parts.extensions)
    }
}

#[cfg(test)]
mod tests {
    use link::file::SecretRef;

    use super::*;

    fn key(folder: &Path, name: &str, text: &str) -> ServiceKey {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        let methods = vec![ServiceMethod::VerifyToken];
        ServiceKey { name: name.into(), key: SecretRef::File(path), methods, tenants: Vec::new() }
    }

    #[test]
    fn a_key_names_its_service_and_nothing_that_is_like_it_does() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = ("a".repeat(40), "b".repeat(40));
        let keys = [key(folder.path(), "orders", &one), key(folder.path(), "billing", &two)];
        let keys = ServiceKeys::read(&keys).unwrap();
        assert_eq!(keys.holder(&two).unwrap().name, "billing");
        let shorter = &one[1..];
        let longer = format!("{one}a");
        for other in ["", shorter, longer.as_str(), "Bearer"] {
            assert_eq!(keys.holder(other), None, "{other}");
        }
        assert!(!format!("{keys:?}").contains(&one));
    }

    #[test]
    fn a_short_key_and_one_that_two_services_share_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let shared = "a".repeat(40);
        let both = [key(folder.path(), "orders", &shared), key(folder.path(), "billing", &shared)];
        assert!(ServiceKeys::read(&both).is_err());
        assert!(ServiceKeys::read(&[key(folder.path(), "orders", "short")]).is_err());
    }
}
