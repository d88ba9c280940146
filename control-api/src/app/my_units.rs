//! The organisational units one works in, and what one prefers in a tenant.

use domain::{
    OrgUnitId, UserId,
    model::{OrgUnit, Preferences, Version, preference::MAX_BYTES},
};
use serde_json::{Map, Value};
use store::{
    Commit,
    list::{Selection, Slice, UserUnitList},
    read::*,
};

use super::{login::roles_by_id, text};
use crate::{
    App,
    caller::{Principal, Site},
    error::AppError,
};

/// A unit in which a user holds a role.
#[derive(Clone, Debug)]
pub struct UnitOfUser {
    /// The unit.
    pub unit: OrgUnit,
    /// Names of the roles they hold in it, of their own and by groups.
    pub roles: Vec<String>,
    /// Whether they work in it where nothing else is said.
    pub is_default: bool,
}

/// The units in which the caller holds a role.
pub async fn list_my_org_units(
    app: &App,
    principal: &Principal,
    asked: &Selection<UserUnitList>,
) -> Result<Slice<UnitOfUser>, AppError> {
    units_of(app, principal.own_site()?, principal.user, asked).await
}

/// The units in which a user holds a role.
pub(super) async fn units_of(
    app: &App,
    site: Site,
    user: UserId,
    asked: &Selection<UserUnitList>,
) -> Result<Slice<UnitOfUser>, AppError> {
    let store = app.store.within(site.scope());
    let units = store.list((site.tenant, user), asked).await?;
    let held = store.bindings(site.tenant, user).await?.unit_roles;
    let default = store.membership(site.tenant, user).await?.and_then(|membership| membership.default_ou_id);
    let mut ids: Vec<_> = held.iter().map(|(_, role)| *role).collect();
    ids.sort_unstable();
    ids.dedup();
    let known = roles_by_id(&app.store, &ids).await?;
    let roles = |unit: OrgUnitId| {
        let holds = |id| held.contains(&(unit, id));
        known.iter().filter(|role| holds(role.id)).map(|role| role.name.clone()).collect()
    };
    let rows = units.rows.into_iter();
    let rows = rows.map(|unit| UnitOfUser { roles: roles(unit.id), is_default: default == Some(unit.id), unit });
    Ok(Slice { rows: rows.collect(), next: units.next })
}

/// Says in which unit the caller works where nothing else is said: one of theirs, or none. Tokens say so from the next on.
///
/// # Errors
/// [`AppError::NotFound`] for a unit in which the caller holds no role.
pub async fn set_my_default_org_unit(
    app: &App,
    principal: &Principal,
    unit: Option<OrgUnitId>,
) -> Result<Commit, AppError> {
    let site = principal.own_site()?;
    let by = principal.caller.oneself();
    let set = app.store.write(&by, app.now(), |tx| {
        let by = by.clone();
        async move {
            if let Some(unit) = unit {
                let held = tx.bindings(site.tenant, principal.user).await?;
                let mine = held.unit_roles.iter().any(|(mine, _)| *mine == unit);
                mine.then_some(()).ok_or(AppError::NotFound("org-unit"))?;
            }
            let change = tx.set_default_org_unit(&by, (site.tenant, principal.user), unit).await?;
            Ok::<_, AppError>(tx.done("default_org_unit_set", change).await?)
        }
    });
    set.await.map(|(_, commit)| commit)
}

/// What the caller prefers in its tenant.
pub async fn read_my_preferences(app: &App, principal: &Principal) -> Result<Preferences, AppError> {
    let site = principal.own_site()?;
    let known = app.store.within(site.scope()).preferences(site.tenant, principal.user).await?;
    Ok(known.unwrap_or_else(|| none_yet(site, principal.user)))
}

/// Replaces what the caller prefers in its tenant.
pub async fn put_my_preferences(
    app: &App,
    principal: &Principal,
    version: Option<Version>,
    values: Map<String, Value>,
) -> Result<(Preferences, Commit), AppError> {
    let site = principal.own_site()?;
    let by = principal.caller.oneself();
    let json = serde_json::to_string(&values).map_err(|error| AppError::internal("preferences are no JSON", error))?;
    if json.len() > MAX_BYTES {
        return Err(AppError::field("/values", "range", format!("at most {MAX_BYTES} bytes of JSON are kept")));
    }
    if text::holds_nul(&json) {
        return Err(AppError::field("/values", "invalid", "holds NUL, which no database keeps"));
    }
    app.store
        .write(&by, app.now(), |tx| {
            let (by, values) = (by.clone(), values.clone());
            async move {
                let known = tx.preferences(site.tenant, principal.user).await?;
                let known = known.unwrap_or_else(|| none_yet(site, principal.user));
                let wanted = Preferences { values, version: version.unwrap_or(known.version), ..known };
                Ok(tx.updated(tx.put_preferences(&by, wanted).await?).await?)
            }
        })
        .await
}

fn none_yet(site: Site, user: UserId) -> Preferences {
    Preferences {
        user_id: user,
        tenant_id: site.tenant,
        project_id: site.project,
        values: Map::default(),
        updated_at: None,
        version: Version(0),
    }
}
