//! Help for who cannot sign in: asked for by anybody, answered by a tenant's administrators. Asking looks the same whoever asks, and
//! does nothing but leave words: an administrator who believes them resets a password or a factor as always.

use std::time::Duration;

use authz::{Authorized, Scope, action::ManageHelpRequests};
use domain::{
    HelpRequestId, ProjectId, TenantId,
    audit::AuditEntry,
    model::{HelpRequest, HelpStatus, MailPace, MailTurn, NewHelpRequest, Version, help_request::MAX_TEXT},
};
use store::{
    Commit, SessionTx,
    list::{HelpRequestList, Selection, Slice},
    read::*,
};

use super::{letters, text};
use crate::{
    App,
    caller::{Principal, Site},
    context::{RequestContext, new_id},
    error::AppError,
    rates::Rate,
};

/// What is counted of an address.
const TURN: &str = "help_request";

/// And of a tenant: its trail, and whoever is told of it, is not filled by strangers.
const TOLD: &str = "help_request_told";

/// A tenant's trail is told of requests that wait no more often than this.
const TELLING: MailPace = MailPace { cooldown: Duration::from_secs(600), a_day: 144 };

/// Asks the administrators of the hostname's tenant.
///
/// # Errors
/// [`AppError::Invalid`], also at a hostname that is no tenant's; [`AppError::SendCooldown`], [`AppError::RateLimited`].
pub async fn request_help(app: &App, context: &RequestContext, email: &str, message: &str) -> Result<(), AppError> {
    let realm = letters::place(app, context, Rate::Reset).await?;
    let email = letters::address(email)?;
    text::of_stranger("/email", email, 1..=320)?;
    text::of_stranger("/message", message, 1..=MAX_TEXT)?;
    let tenant = realm.tenant.ok_or_else(|| AppError::field("!host", "required", "the hostname is no tenant's"))?;
    let project = realm.project.id;
    let id = new_id(&*app.clock);
    let asked = app.store.write_session(Scope::Project(project), app.now(), |tx| {
        let origin = context.origin();
        async move {
            if let MailTurn::Wait(until) = tx.take_mail_turn((project, TURN), email, app.config.identity.pace()).await?
            {
                return Err(AppError::SendCooldown { retry_after: until.since(app.now()).as_secs().max(1) });
            }
            // Held from here on: those who ask a tenant at once are counted one by one.
            let tells = tx.take_mail_turn((project, TOLD), &tenant.to_string(), TELLING).await? == MailTurn::Now;
            let new = NewHelpRequest {
                id,
                project_id: project,
                tenant_id: tenant,
                email: email.to_owned(),
                message: message.to_owned(),
                known: is_members(&tx, project, tenant, email).await?,
            };
            let kept = tx.insert_help_request(&new).await?;
            if let Some(kept) = kept.filter(|_| tells) {
                tx.record(&letters::nobody(), &origin, &AuditEntry::created(&kept)).await?;
            }
            Ok(())
        }
    });
    asked.await
}

/// Whether an address is a member's of the tenant.
async fn is_members(tx: &SessionTx, project: ProjectId, tenant: TenantId, email: &str) -> Result<bool, AppError> {
    let Some(user) = tx.user_by_login(project, email).await? else { return Ok(false) };
    Ok(tx.membership(tenant, user.id).await?.is_some())
}

/// A page of a tenant's requests.
pub async fn list_help_requests(
    app: &App,
    principal: &Principal,
    site: Site,
    asked: &Selection<HelpRequestList>,
) -> Result<Slice<HelpRequest>, AppError> {
    principal.may_in::<ManageHelpRequests>(site, "list")?;
    Ok(app.store.within(site.scope()).list(site.tenant, asked).await?)
}

/// Answers a request.
///
/// # Errors
/// [`AppError::NotFound`]; [`AppError::Store`] (`help_request_settled`) for one that was answered.
pub async fn settle_help_request(
    app: &App,
    principal: &Principal,
    (id, version): (HelpRequestId, Option<Version>),
    (status, note): (HelpStatus, String),
) -> Result<(HelpRequest, Commit), AppError> {
    text::check("/note", &note, 0..=MAX_TEXT)?;
    let reader =
        if principal.is_system() { app.store.clone() } else { app.store.within(principal.own_site()?.scope()) };
    let of_caller = |it: &HelpRequest| principal.is_system() || it.tenant_id == principal.tenant;
    let found = reader.help_request(id).await?.filter(of_caller).ok_or(AppError::NotFound("help-request"))?;
    let site = Site { project: found.project_id, tenant: found.tenant_id };
    let by: &Authorized<ManageHelpRequests> = &principal.may_in(site, "resolve")?;
    let verb = if status == HelpStatus::Resolved { "resolved" } else { "rejected" };
    let (which, note, who) = ((id, version.unwrap_or(found.version)), &note, app.store.user(principal.user).await?);
    let who = who.map(|user| user.id);
    app.store
        .write(by, app.now(), |tx| async move {
            Ok::<_, AppError>(tx.done(verb, tx.settle_help_request(by, which, (status, note, who)).await?).await?)
        })
        .await
}
