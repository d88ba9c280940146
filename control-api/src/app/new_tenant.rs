//! How a tenant comes to be.
//!
//! A *dedicated* customer's tenant gets, in one transaction, a project with a signing key, its hostname
//! `{slug}.{tenants.platform_domain}`, where that is set, and its first administrator, where one is named; their one-time
//! password is answered once and kept nowhere. A *shared* customer's tenant gets a place in the shared project, whose
//! people come by invitation. Both are then told to the directory ([`crate::provisioning`]).

use authz::{
    Authorized,
    action::{ManageHostnames, ManageProjects, ManageRoleBindings, ManageSigningKeys, ManageTenants, ManageUsers},
};
use domain::{
    Admission, CustomerId, HostName, ProjectId, Secret, Slug, TenantId, Timestamp,
    model::{
        Branding, ClaimState, Customer, NewHostname, NewProject, NewSigningKey, NewTenant, NewUser, ProjectKind,
        Provisioning, Tenancy, Tenant, UserStatus, builtin,
    },
    snapshot::{KycStatus, PaymentStatus, RateLimit, TenantStatus},
};
use store::{Commit, Page, Tx, read::*};

use super::{first_administrator::FirstAdministrator, hostnames, projects, role_bindings, signing_keys, text, tokens};
use crate::{
    App, admin_secret, bootstrap,
    caller::{Principal, Site},
    context::new_id,
    error::AppError,
};

/// User name of a tenant's first administrator.
const ADMIN: &str = "admin";

/// A tenant as it is asked for.
#[derive(Clone, Debug)]
pub struct TenantDraft {
    /// Its id, where the caller chooses it.
    pub id: Option<TenantId>,
    /// Unique short name.
    pub slug: Slug,
    /// Display name.
    pub name: String,
    /// Who pays.
    pub customer_id: CustomerId,
    /// An existing project; none for the customer's way.
    pub project_id: Option<ProjectId>,
    /// Issuer of the project that is made for it.
    pub issuer: Option<String>,
    /// Trial or active.
    pub status: TenantStatus,
    /// Latent for one whose first member has not come yet.
    pub claim_state: ClaimState,
    /// Plan.
    pub plan: Option<String>,
    /// When the trial ends.
    pub trial_ends_at: Option<Timestamp>,
    /// Requests a second.
    pub rate_limit: Option<RateLimit>,
    /// Requests a second of each of its principals.
    pub principal_rate_limit: Option<RateLimit>,
    /// Who is let in, and how much at once.
    pub admission: Admission,
    /// What its pages and mails look like.
    pub branding: Branding,
    /// Its first administrator.
    pub admin: Option<AdminDraft>,
}

/// A first administrator as they are asked for.
#[derive(Clone, Debug)]
pub struct AdminDraft {
    /// Their email.
    pub email: String,
    /// What they are called.
    pub name: Option<String>,
}

/// A tenant that was made.
#[derive(Debug)]
pub struct MadeTenant {
    /// It.
    pub tenant: Tenant,
    /// The hostname that was made with it.
    pub hostname: Option<HostName>,
    /// Its first administrator's user name and one-time password.
    pub admin: Option<(String, Secret<String>)>,
}

/// Makes a tenant, and all that belongs to it, or nothing.
pub async fn create_tenant(
    app: &App,
    principal: &Principal,
    draft: TenantDraft,
) -> Result<(MadeTenant, Commit), AppError> {
    let by = principal.may::<ManageTenants>("create")?;
    free(app, &draft.slug)?;
    text::check("/name", &draft.name, 1..=*text::NAME.end())?;
    let customer = app.store.customer(draft.customer_id).await?;
    let customer = customer.ok_or_else(|| AppError::field("/customer_id", "unknown", "there is no such customer"))?;
    may_grow(&customer)?;
    if draft.claim_state == ClaimState::Latent {
        let refuse = |detail: &str| Err(AppError::field("/claim_state", "choice", detail));
        match customer.tenancy {
            Tenancy::Dedicated if draft.admin.is_none() => {}
            Tenancy::Dedicated => return refuse("a latent tenant has no administrator before somebody comes"),
            Tenancy::Shared => return refuse("people of a shared tenant are invited, none comes by a domain"),
        }
    }
    let now = app.now();
    let id = draft.id.unwrap_or_else(|| new_id(&*app.clock));
    let home = home(app, principal, &draft, &customer).await?;
    let site = Site { project: home.project_id(), tenant: id };
    admin_secret::spare_root(app, principal, site.project).await?;
    let admin = match &draft.admin {
        Some(asked) if customer.tenancy == Tenancy::Dedicated => Some(admin(app, principal, site, asked).await?),
        Some(_) => {
            return Err(AppError::field(
                "/admin_email",
                "managed_by_platform",
                "people of a shared tenant are invited",
            ));
        }
        None => None,
    };
    let trial_ends_at = draft.trial_ends_at.or_else(|| {
        let trial = draft.status == TenantStatus::Trial;
        trial.then(|| now + app.config.tenants.trial.get())
    });
    let new = NewTenant {
        id,
        project_id: site.project,
        customer_id: customer.id,
        slug: draft.slug,
        name: draft.name,
        status: draft.status,
        claim_state: draft.claim_state,
        plan: draft.plan,
        trial_ends_at,
        rate_limit: draft.rate_limit,
        principal_rate_limit: draft.principal_rate_limit,
        admission: draft.admission,
        branding: draft.branding,
    };
    let hostname = match &home {
        Home::New(it) => it.hostname(app, id).await?,
        Home::There(_) => None,
    };
    let (by, new, home, hostname, admin) = (&by, &new, &home, &hostname, &admin);
    let (tenant, commit) = app
        .store
        .write(by, now, |tx| async move {
            // Judged again where it counts: the customer's state may have been pushed meanwhile.
            may_grow(&tx.customer(new.customer_id).await?.ok_or(AppError::NotFound("customer"))?)?;
            unused(&tx, new, home).await?;
            if let Home::New(it) = home {
                projects::insert(&tx, &it.by_project, &it.by_key, it.project.clone(), it.key.clone()).await?;
            }
            let tenant = tx.created(tx.insert_tenant(by, new.clone()).await?).await?;
            if let Some((by, hostname)) = hostname {
                tx.created(tx.insert_hostname(by, hostname.clone()).await?).await?;
            }
            if let Some((admin, _)) = admin {
                admin.insert(&tx).await?;
            }
            let begun = Provisioning::begun(site.project, id, now);
            tx.done("provision_asked", tx.begin_provisioning(by, begun).await?).await?;
            Ok::<_, AppError>(tenant)
        })
        .await?;
    let made = MadeTenant {
        tenant,
        hostname: hostname.as_ref().map(|(_, hostname)| hostname.hostname.clone()),
        admin: admin.as_ref().map(|(_, password)| (ADMIN.to_owned(), password.clone())),
    };
    Ok((made, commit))
}

/// In the transaction: refuses a project in which another customer's tenants live, and a slug or issuer by which another
/// customer's purged tenant was known: cookies, links and whoever trusts the issuer still know them.
async fn unused(tx: &Tx, new: &NewTenant, home: &Home) -> Result<(), AppError> {
    let issuer = match home {
        Home::There(id) => {
            let project = tx.project(*id).await?.ok_or(AppError::NotFound("project"))?;
            let tenants = tx.tenants_of_project(*id, Page::WIDEST).await?;
            let foreign = tenants.iter().any(|tenant| tenant.customer_id != new.customer_id);
            if project.kind == ProjectKind::Dedicated && foreign {
                return Err(AppError::field("/project_id", "mismatch", "is another customer's"));
            }
            None
        }
        Home::New(it) => Some(it.project.issuer.as_str()),
    };
    if tx.was_anothers(new.slug.as_str(), issuer, new.customer_id).await? {
        let detail = "a tenant that was purged was known by this slug or issuer".to_owned();
        return Err(AppError::Conflict { code: "slug_released", detail });
    }
    Ok(())
}

/// Refuses a slug that is kept for the platform, by this release or by the installation.
///
/// # Errors
/// [`AppError::Invalid`] at `/slug`.
pub fn free(app: &App, slug: &Slug) -> Result<(), AppError> {
    if slug.is_reserved() || app.config.tenants.reserved_slugs.contains(slug) {
        return Err(AppError::field("/slug", "reserved", format!("`{slug}` is kept for the platform")));
    }
    Ok(())
}

/// Customers that were not identified or do not pay get no new tenants.
fn may_grow(customer: &Customer) -> Result<(), AppError> {
    let refuse = |code, detail: &str| Err(AppError::Conflict { code, detail: detail.into() });
    match (customer.kyc, customer.payment) {
        (KycStatus::None | KycStatus::Pending | KycStatus::Partial, _) => {
            refuse("kyc_required", "the customer must be identified before it gets a tenant")
        }
        (KycStatus::Completed | KycStatus::DueRekyc, PaymentStatus::Blocked) => {
            refuse("payment_required", "the customer must pay before it gets a tenant")
        }
        (KycStatus::Completed | KycStatus::DueRekyc, PaymentStatus::Ok | PaymentStatus::Overdue) => Ok(()),
    }
}

/// Where a new tenant lives.
enum Home {
    /// In a project that is there.
    There(ProjectId),
    /// In one that is made with it.
    New(Box<NewHome>),
}

/// A project to be made, and the proofs for it.
struct NewHome {
    project: NewProject,
    key: NewSigningKey,
    name: Option<HostName>,
    by_project: Authorized<ManageProjects>,
    by_key: Authorized<ManageSigningKeys>,
    by_hostname: Option<Authorized<ManageHostnames>>,
}

impl Home {
    fn project_id(&self) -> ProjectId {
        match self {
            Self::There(id) => *id,
            Self::New(home) => home.project.id,
        }
    }
}

impl NewHome {
    /// The hostname to be made with it, and the proof for it.
    async fn hostname(
        &self,
        app: &App,
        tenant: TenantId,
    ) -> Result<Option<(Authorized<ManageHostnames>, NewHostname)>, AppError> {
        let (Some(name), Some(by)) = (&self.name, &self.by_hostname) else { return Ok(None) };
        let hostname = hostnames::of_platform(app, self.project.id, Some(tenant), name).await?;
        Ok(Some((by.clone(), hostname)))
    }
}

async fn home(app: &App, principal: &Principal, draft: &TenantDraft, customer: &Customer) -> Result<Home, AppError> {
    if let Some(id) = draft.project_id {
        let found = app.store.project(id).await?;
        let found = found.ok_or_else(|| AppError::field("/project_id", "unknown", "there is no such project"))?;
        let fits = match customer.tenancy {
            Tenancy::Dedicated => found.kind == ProjectKind::Dedicated,
            Tenancy::Shared => found.kind == ProjectKind::Shared,
        };
        if !fits {
            return Err(AppError::field("/project_id", "mismatch", "is not of the customer's kind of tenancy"));
        }
        return Ok(Home::There(id));
    }
    if customer.tenancy == Tenancy::Shared {
        let cloud = app.store.project_by_slug(bootstrap::CLOUD).await?;
        return Ok(Home::There(cloud.ok_or(AppError::NotFound("project"))?.id));
    }
    let domain = app.config.tenants.platform_domain.as_ref();
    let name: Option<HostName> = domain
        .map(|domain| format!("{}.{domain}", draft.slug).parse())
        .transpose()
        .map_err(|error: domain::host::HostNameError| AppError::field("/slug", "invalid", error.to_string()))?;
    let given = draft.issuer.clone().or_else(|| name.as_ref().map(|name| format!("https://{name}")));
    let issuer = given.filter(|issuer| issuer.starts_with("https://")).ok_or_else(|| {
        AppError::field("/issuer", "required", "a project is made for the tenant, and its issuer is an https URL")
    })?;
    let id = new_id(&*app.clock);
    let project = NewProject {
        id,
        slug: draft.slug.clone(),
        name: draft.name.clone(),
        kind: ProjectKind::Dedicated,
        audiences: vec![issuer.clone()],
        issuer,
        config: serde_json::json!({}),
    };
    let key = signing_keys::fresh_key(app, id)?;
    Ok(Home::New(Box::new(NewHome {
        project,
        key,
        by_hostname: name.as_ref().map(|_| principal.may("create")).transpose()?,
        name,
        by_project: principal.may("create")?,
        by_key: principal.may("create")?,
    })))
}

/// The administrator to be made, and their one-time password.
async fn admin(
    app: &App,
    principal: &Principal,
    site: Site,
    asked: &AdminDraft,
) -> Result<(FirstAdministrator, Secret<String>), AppError> {
    let (by, grants_by) = (principal.may::<ManageUsers>("create")?, principal.may::<ManageRoleBindings>("create")?);
    role_bindings::covers(&app.store, principal, site, &[builtin::OWNER]).await?;
    if !domain::contact::is_email(&asked.email) {
        return Err(AppError::field("/admin_email", "invalid", "is no email address"));
    }
    let name = asked.name.clone().unwrap_or_default();
    text::check("/admin_name", &name, text::NAME)?;
    let (first_name, last_name) = name.split_once(' ').unwrap_or((&name, ""));
    let password = one_time_password()?;
    let user = NewUser {
        id: new_id(&*app.clock),
        project_id: site.project,
        email: Some(asked.email.clone()),
        username: Some(ADMIN.into()),
        first_name: first_name.into(),
        last_name: last_name.into(),
        phone: None,
        external_id: None,
        status: UserStatus::Active,
        password_hash: Some(app.passwords.hash(password.clone()).await?),
        must_change_password: true,
        is_break_glass: false,
    };
    let by = (by, grants_by);
    Ok((FirstAdministrator::new(app, user, (site.tenant, builtin::OWNER), by), password))
}

/// Long and random; the suffix satisfies the rules people's passwords follow.
pub fn one_time_password() -> Result<Secret<String>, AppError> {
    Ok(Secret::new(format!("{}-Aa1", tokens::random_token()?.expose())))
}
