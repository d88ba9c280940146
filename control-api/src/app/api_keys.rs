//! API keys: a tenant's administrators manage all of them, everybody their own. A key acts as its owner and never beyond
//! what the owner may do: neither when it is made nor when it is used.

use std::{net::IpAddr, time::Duration};

use authn::{
    KeyError,
    api_key::{NewKey, NotInForce, PresentedKey, RANDOM_BYTES, in_force},
};
use authz::{Authorized, PermissionSet, action::ManageApiKeys};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use domain::{
    ApiKeyId, ApiKeyScheme, ApiKeyState, Network, Permission, Secret, Timestamp, UserId,
    model::{
        ApiKey, NewApiKey, Version,
        api_key::{MAX_NAME, MAX_NETWORKS, MAX_OVERLAP, MAX_SCOPES, OVERLAP},
    },
    snapshot::{RateLimit, TenantStatus},
};
use futures::try_join;
use store::{
    Commit,
    list::{ApiKeyList, Selection, Slice},
    read::*,
};

use super::{
    auth_rpc::{Place, granted},
    break_glass,
    login::roles_by_id,
    role_bindings::outranks,
    site::Realm,
    text,
};
use crate::{
    App,
    caller::{self, Principal, Rights, Site},
    config::ServiceMethod,
    context::new_id,
    error::AppError,
    service_caller::ServiceCaller,
};

/// A key to be made.
#[derive(Clone, Debug)]
pub struct Wish {
    /// What it is called.
    pub name: String,
    /// How its holder proves to have it.
    pub scheme: ApiKeyScheme,
    /// Whose it is; none for who asks.
    pub owner: Option<UserId>,
    /// What it may do at most.
    pub scopes: Vec<Permission>,
    /// Where it may be used from; empty for everywhere.
    pub networks: Vec<Network>,
    /// Requests a second with it.
    pub rate_limit: Option<RateLimit>,
    /// From when on it is not accepted.
    pub expires_at: Option<Timestamp>,
}

/// A key that is accepted, and what it may do now.
#[derive(Debug)]
pub struct VerifiedKey {
    /// The key.
    pub key: ApiKeyState,
    /// What its scopes and its owner's roles both grant.
    pub permissions: Vec<Permission>,
    /// Where it acts.
    pub site: Site,
    /// The tenant's state: never suspended or deleted.
    pub tenant_status: TenantStatus,
}

/// A page of a tenant's keys; of who may not see others', their own.
pub async fn list_api_keys(
    app: &App,
    principal: &Principal,
    site: Site,
    asked: &Selection<ApiKeyList>,
) -> Result<Slice<ApiKey>, AppError> {
    let asked = match principal.may_in::<ManageApiKeys>(site, "list") {
        Ok(_) => asked.clone(),
        Err(_) if is_at_home(principal, site) => asked.clone().only("owner_id", &principal.user.to_string())?,
        Err(error) => return Err(error),
    };
    Ok(app.store.within(site.scope()).list(site.tenant, &asked).await?)
}

/// One key.
pub async fn read_api_key(app: &App, principal: &Principal, id: ApiKeyId) -> Result<ApiKey, AppError> {
    let (_, key) = found(app, principal, id, "get").await?;
    Ok(key)
}

/// Makes a key; its text is given once.
///
/// # Errors
/// [`AppError::Invalid`] for a scope that the owner does not hold; [`AppError::Escalation`] when the owner holds more than
/// who asks.
pub async fn create_api_key(
    app: &App,
    principal: &Principal,
    site: Site,
    wish: Wish,
) -> Result<(ApiKey, Secret<String>, Commit), AppError> {
    let owner = wish.owner.unwrap_or(principal.user);
    let by = allowed(principal, site, owner, "create")?;
    if principal.is_program && owner == principal.user {
        let detail = "a program has its secret, and no key that would outlive it";
        return Err(AppError::Restricted { code: "not_for_programs", detail });
    }
    let reader = app.store.within(site.scope());
    // Another's key is another's rights.
    outranks(&reader, principal, site, owner).await?;
    checked(app, &wish)?;
    let live = live(app, site, owner)
        .await?
        .ok_or_else(|| AppError::field("/owner_id", "reference", "is no active member of the tenant"))?;
    if let Some(at) = wish.scopes.iter().position(|scope| !live.covers(scope)) {
        return Err(AppError::field(format!("/scopes/{at}"), "not_held", "the owner does not hold it"));
    }
    let made =
        NewKey::make(wish.scheme, &random()?).map_err(|error| AppError::internal("a key cannot be made", error))?;
    let new = &NewApiKey {
        id: new_id(&*app.clock),
        project_id: site.project,
        tenant_id: site.tenant,
        owner_id: owner,
        name: wish.name,
        prefix: made.prefix.clone(),
        verifier: made.verifier(),
        scopes: wish.scopes,
        networks: wish.networks,
        rate_limit: wish.rate_limit,
        expires_at: wish.expires_at,
    };
    let by = &by;
    let (key, commit) = app
        .store
        .write(by, app.now(), |tx| async move {
            break_glass::without_credentials(&tx, owner).await?;
            Ok::<_, AppError>(tx.created(tx.insert_api_key(by, new.clone()).await?).await?)
        })
        .await?;
    Ok((key, made.text, commit))
}

/// Takes a key out of use, or back into it.
pub async fn set_api_key_disabled(
    app: &App,
    principal: &Principal,
    id: ApiKeyId,
    disabled: bool,
) -> Result<(ApiKey, Commit), AppError> {
    let verb = if disabled { "disable" } else { "enable" };
    let (by, key) = found(app, principal, id, verb).await?;
    if !disabled {
        outranks(&app.store.within(site_of(&key).scope()), principal, site_of(&key), key.owner_id).await?;
    }
    let (by, done) = (&by, if disabled { "disabled" } else { "enabled" });
    app.store
        .write(by, app.now(), |tx| async move {
            break_glass::spare(&tx, principal, key.owner_id).await?;
            if !disabled {
                break_glass::without_credentials(&tx, key.owner_id).await?;
            }
            Ok::<_, AppError>(tx.done(done, tx.set_api_key_disabled(by, id, disabled).await?).await?)
        })
        .await
}

/// Gives a key another secret, whose text is given once. The one it has is accepted for the overlap.
///
/// # Errors
/// Of two that rotate a key at once, one is told that it was changed meanwhile.
pub async fn rotate_api_key(
    app: &App,
    principal: &Principal,
    id: ApiKeyId,
    version: Option<Version>,
    overlap: Option<Duration>,
) -> Result<(ApiKey, Secret<String>, Commit), AppError> {
    let (by, key) = found(app, principal, id, "rotate").await?;
    // Who rotates a key has it.
    outranks(&app.store.within(site_of(&key).scope()), principal, site_of(&key), key.owner_id).await?;
    let overlap = overlap.unwrap_or(OVERLAP);
    if overlap > MAX_OVERLAP {
        return Err(AppError::field("/overlap", "range", "at most 7d are allowed"));
    }
    let failed = |error| AppError::internal("a key cannot be made", error);
    let made = NewKey::again(key.prefix.clone(), &random()?).map_err(failed)?;
    let (now, verifier) = (app.now(), &made.verifier());
    let (by, which) = (&by, (id, version.unwrap_or(key.version)));
    let (key, commit) = app
        .store
        .write(by, now, |tx| async move {
            break_glass::without_credentials(&tx, key.owner_id).await?;
            let rotated = tx.rotate_api_key(by, which, verifier, now + overlap).await?;
            Ok::<_, AppError>(tx.done("rotated", rotated).await?)
        })
        .await?;
    Ok((key, made.text, commit))
}

/// Ends a key for good.
pub async fn revoke_api_key(app: &App, principal: &Principal, id: ApiKeyId) -> Result<Commit, AppError> {
    let (by, key) = found(app, principal, id, "delete").await?;
    let by = &by;
    let revoked = app.store.write(by, app.now(), |tx| async move {
        // Who may look may not touch.
        break_glass::spare(&tx, principal, key.owner_id).await?;
        Ok::<_, AppError>(tx.done("revoked", tx.revoke_api_key(by, id).await?).await?)
    });
    revoked.await.map(|(_, commit)| commit)
}

/// Whether a bearer key is accepted now at a place, as the edge would judge it; from an address, if one is named.
///
/// # Errors
/// What the edge would say to it, by the same codes. A key that is not known and a secret that is not right are one.
pub async fn verify_api_key(
    app: &App,
    by: &ServiceCaller,
    (text, place, client): (&Secret<String>, &Place, Option<IpAddr>),
) -> Result<VerifiedKey, AppError> {
    by.may(ServiceMethod::VerifyApiKey)?;
    let realm = place.realm(app).await?;
    accepted(app, text, Some(&realm), client, true).await
}

/// Whether a bearer key is accepted now, in a realm if one is named; of a frozen tenant only where that is harmless.
///
/// # Errors
/// As [`verify_api_key`].
pub(crate) async fn accepted(
    app: &App,
    text: &Secret<String>,
    realm: Option<&Realm>,
    client: Option<IpAddr>,
    harmless: bool,
) -> Result<VerifiedKey, AppError> {
    let presented = PresentedKey::read(text.expose())?;
    let at = app.store.view().await?;
    let key = at.api_key_state(&presented.prefix()?, None).await?;
    let of_realm = |key: &ApiKeyState| realm.is_none_or(|realm| realm.project.id == key.project);
    let key = key.filter(of_realm).ok_or(KeyError::Invalid)?;
    let now = app.now();
    presented.accepted(&key, now)?;
    in_force(&key, client, now).map_err(|not| match not {
        NotInForce::Key(error) => AppError::Key(error),
        NotInForce::Address => AppError::AddressRefused,
    })?;
    if realm.and_then(|realm| realm.tenant).is_some_and(|tenant| tenant != key.tenant) {
        return Err(AppError::TenantMismatch);
    }
    let site = Site { project: key.project, tenant: key.tenant };
    let ((), tenant, project, bindings, is_known_enough) = try_join!(
        at.narrow(site.scope()),
        at.tenant(key.tenant),
        at.project(key.project),
        at.bindings(key.tenant, key.owner),
        at.is_known_enough(key.tenant, key.owner, now),
    )?;
    let (tenant, project) = (tenant.ok_or(KeyError::Invalid)?, project.ok_or(KeyError::Invalid)?);
    caller::served(&project, &tenant, harmless)?;
    let rights = Rights::by(&at, bindings, site, false).await?;
    if !rights.active || !is_known_enough {
        return Err(AppError::PrincipalInactive);
    }
    let permissions = both(&key.scopes, &granted(&rights.roles));
    Ok(VerifiedKey { permissions, site, tenant_status: tenant.status, key })
}

/// What two lists of grants have in common.
fn both(one: &[Permission], other: &[Permission]) -> Vec<Permission> {
    let (in_one, in_other) = (PermissionSet::new(one), PermissionSet::new(other));
    let of_one = one.iter().filter(|permission| in_other.covers(permission));
    let mut common: Vec<Permission> =
        of_one.chain(other.iter().filter(|permission| in_one.covers(permission))).cloned().collect();
    common.sort();
    common.dedup();
    common
}

/// A key that the caller may do this to; any other does not exist for them.
async fn found(
    app: &App,
    principal: &Principal,
    id: ApiKeyId,
    verb: &str,
) -> Result<(Authorized<ManageApiKeys>, ApiKey), AppError> {
    let reader =
        if principal.is_system() { app.store.clone() } else { app.store.within(principal.own_site()?.scope()) };
    let of_caller = |key: &ApiKey| principal.is_system() || key.tenant_id == principal.tenant;
    let key = reader.api_key(id).await?.filter(of_caller).ok_or(AppError::NotFound("api-key"))?;
    let by = allowed(principal, site_of(&key), key.owner_id, verb)?;
    Ok((by, key))
}

fn site_of(key: &ApiKey) -> Site {
    Site { project: key.project_id, tenant: key.tenant_id }
}

/// Proof that the caller may do this to the keys of `owner`: their own, or those of the tenant.
fn allowed(
    principal: &Principal,
    site: Site,
    owner: UserId,
    verb: &str,
) -> Result<Authorized<ManageApiKeys>, AppError> {
    if owner == principal.user && is_at_home(principal, site) {
        return Ok(principal.caller.own_api_keys());
    }
    principal.may_in(site, verb)
}

/// Whether a tenant is the one that the caller acts in. Staff has no keys of its own.
fn is_at_home(principal: &Principal, site: Site) -> bool {
    !principal.is_system() && site.project == principal.project && site.tenant == principal.tenant
}

/// What an active member's roles grant now, in units too; none for who is none.
async fn live(app: &App, site: Site, owner: UserId) -> Result<Option<PermissionSet>, AppError> {
    let at = app.store.within(site.scope()).view().await?;
    let rights = Rights::of(&at, site, owner, false).await?;
    if !rights.active {
        return Ok(None);
    }
    let units: Vec<_> = rights.unit_roles.iter().map(|(_, role)| *role).collect();
    let units = roles_by_id(&at, &units).await?;
    let roles = rights.roles.iter().chain(&units);
    Ok(Some(PermissionSet::new(roles.flat_map(|role| &role.permissions))))
}

fn checked(app: &App, wish: &Wish) -> Result<(), AppError> {
    text::check("/name", &wish.name, 1..=MAX_NAME)?;
    if wish.scopes.len() > MAX_SCOPES {
        return Err(AppError::field("/scopes", "range", format!("at most {MAX_SCOPES} are allowed")));
    }
    if wish.networks.len() > MAX_NETWORKS {
        return Err(AppError::field("/networks", "range", format!("at most {MAX_NETWORKS} are allowed")));
    }
    if wish.expires_at.is_some_and(|at| at <= app.now()) {
        return Err(AppError::field("/expires_at", "invalid", "has passed"));
    }
    Ok(())
}

fn random() -> Result<[u8; RANDOM_BYTES], AppError> {
    let mut bytes = [0; RANDOM_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| AppError::internal("no random bytes", "none are to be had"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_do_what_both_its_scopes_and_its_owner_may() {
        let list = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Permission>>();
        let both = |one: &[&str], other: &[&str]| super::both(&list(one), &list(other));
        assert_eq!(both(&["a:b:c", "a:b:d"], &["a:*"]), list(&["a:b:c", "a:b:d"]));
        assert_eq!(both(&["a:*"], &["a:b:c", "x:y:z"]), list(&["a:b:c"]));
        assert_eq!(both(&["a:b:c"], &["x:y:z"]), []);
    }
}
