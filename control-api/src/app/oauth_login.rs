//! Signing in through identity providers.
//!
//! ```text
//! GET /oauth/start/K ─▶ provider ─▶ /oauth/callback/K ─▶ return_to#oauth_code=… ─▶ POST …/redeem ─▶ session
//! POST …/begin       ─▶ provider ─▶ the caller's page ───────────────────────────▶ POST …/login  ─▶ session
//! POST …/begin       ─▶ a program on the device, with an ID token ───────────────▶ POST …/login  ─▶ session
//! ```
//!
//! What was begun is known by a random `state`, bound to the browser (a cookie) or client (a token) that began it, the hostname's
//! tenant, the provider and PKCE; it is used by deleting it, before the provider is asked. A browser may have several under way.
//! Who signs in is found in `oauth_accounts`; the session is opened where all are ([`super::sign_in`]). A sign-in
//! through a tenant's provider is good for that tenant.

use std::time::Duration;

use authz::Scope;
use domain::{
    IdentityProviderId, ProjectId, Secret, TenantId, Timestamp, UserId,
    audit::{AuditEntry, Crud, Target},
    model::{
        AuthMethod, FederatedIdentity, IdentityProvider, LoginMethod, OauthCode, OauthProofs, OauthPurpose, OauthState,
        ProviderKey, Session,
    },
};
use serde_json::json;
use store::read::*;

use super::{
    letters, links,
    login::{self, Door},
    login_policies, oauth_accounts, return_to,
    sign_in::{self, ByProvider, Opening, Proof, SignedIn},
    site::Realm,
    tokens::{hash, random_token},
};
use crate::{
    App,
    caller::Principal,
    context::RequestContext,
    error::AppError,
    oauth::{Answered, Asking, ProviderError, Said},
    problem,
    rates::Rate,
};

/// Why some providers cannot be asked for a sign-in of now.
const SAYS_NOT_WHEN: &str = "the provider does not say when somebody signed in there";

/// Longest `state`, code or `iss` that is looked at, in bytes.
const MAX_SHOWN: usize = 4096;

/// When a sign-in may be begun again where too many wait.
const TRY_LATER: Duration = Duration::from_secs(30);

/// By how much a provider's clock may differ from ours.
const SKEW: Duration = authn::verify::CLOCK_SKEW;

/// A browser on its way to a provider.
#[derive(Debug)]
pub struct Started {
    /// Where it is sent.
    pub url: Secret<String>,
    /// What it keeps, to show that it is the one.
    pub browser: Secret<String>,
    /// Whether it comes back by a form that it posts.
    pub comes_by_post: bool,
}

/// Sends a browser to a provider, to come back to us and to go on to `wanted`.
///
/// # Errors
/// [`AppError::Parameter`] (400) for an address that is not admitted; [`AppError::NotFound`] for a provider that people do not sign
/// in through here; [`AppError::OauthUnavailable`]; [`AppError::RateLimited`]; [`AppError::Restricted`].
pub async fn start(
    app: &App,
    context: &RequestContext,
    key: &ProviderKey,
    (wanted, anew): (&str, bool),
    browser: Option<Secret<String>>,
) -> Result<Started, AppError> {
    let realm = place(app, context).await?;
    return_to::admitted(&realm.project, wanted, "return_to")?;
    let provider = provider(app, &realm, key).await?;
    let host =
        context.host.as_ref().ok_or_else(|| AppError::field("!host", "required", "the hostname is nobody's here"))?;
    let redirect_uri = links::page(&realm.project, Some(host), &format!("/oauth/callback/{key}"))?;
    let browser = match browser {
        Some(known) => known,
        None => random_token()?,
    };
    if anew && !provider.kind.says_when() {
        return Err(AppError::parameter("anew", "unsupported", SAYS_NOT_WHEN));
    }
    let begun = Begun::new(app, &realm, &provider, (OauthPurpose::Redirect, None), &browser)?;
    let row = OauthState { redirect_uri, return_to: Some(wanted.to_owned()), anew, ..begun.row };
    let begun = Begun { row, ..begun };
    let url = begun.url(app, &provider).await?;
    begun.keep(app).await?;
    Ok(Started { url, browser, comes_by_post: provider.kind.posts_its_answer() })
}

/// What a provider sent a browser back with.
#[derive(Debug)]
pub struct Answer {
    /// `state`
    pub state: Secret<String>,
    /// `code`
    pub code: Option<Secret<String>>,
    /// `error`: the provider says no.
    pub error: Option<String>,
    /// `iss` (RFC 9207).
    pub issuer: Option<String>,
}

/// Where a browser goes on to.
#[derive(Debug)]
pub struct Onward {
    /// The address it was admitted for.
    pub return_to: String,
    /// What it takes there: a code to be exchanged for a session, or why there is none.
    pub outcome: Result<Secret<String>, AppError>,
}

/// Takes a provider's answer, and sends the browser on with a code.
///
/// # Errors
/// [`AppError::OauthStateInvalid`] for an answer to nothing that this browser began here. What is wrong beyond that is told to where
/// the browser goes on to.
pub async fn callback(
    app: &App,
    context: &RequestContext,
    key: &ProviderKey,
    answer: &Answer,
    browsers: &[Secret<String>],
) -> Result<Onward, AppError> {
    let realm = place(app, context).await?;
    let state = Waiting { state: &answer.state, browsers };
    let used = state.take(app, &realm, &[OauthPurpose::Redirect]).await?;
    let return_to = used.return_to.clone().ok_or(AppError::OauthStateInvalid)?;
    let outcome = async {
        let provider = app.store.identity_provider(used.provider_id).await?.filter(|it| it.enabled && it.key == *key);
        let provider = provider.ok_or(AppError::OauthStateInvalid)?;
        let said = match (&answer.error, &answer.code) {
            (Some(_), _) | (None, None) => Err(AppError::OauthRefused),
            (None, Some(code)) => by_code(app, &provider, &used, code, answer.issuer.as_deref()).await,
        };
        let identity = match said {
            Ok(said) => {
                let identity = oauth_accounts::identity(app, context, &realm, &provider, &said).await;
                identity.map(|identity| (identity, auth_time(app, &said)))
            }
            Err(error) => Err(error),
        };
        match identity {
            Ok(known) => code_for(app, &used, &known).await,
            Err(error) => Err(failed(app, context, &realm, &provider, error).await?),
        }
    };
    match outcome.await {
        Err(error @ (AppError::Internal { .. } | AppError::Store(_))) => Err(error),
        outcome => Ok(Onward { return_to, outcome }),
    }
}

/// Exchanges the code that a browser was sent on with for a session. Of those who show it at once, one has it.
///
/// # Errors
/// [`AppError::OauthCodeInvalid`]; [`AppError::TenantRequired`], with which the code is not used up; what the user's or tenant's
/// state says.
pub async fn redeem(
    app: &App,
    context: &RequestContext,
    code: &Secret<String>,
    browsers: &[Secret<String>],
    tenant: Option<&str>,
) -> Result<SignedIn, AppError> {
    let realm = place(app, context).await?;
    let shown = hash(code.expose());
    let found = app.store.within(Scope::Project(realm.project.id)).oauth_code(shown, app.now()).await?;
    let browsers: Vec<Secret<[u8; 32]>> = browsers.iter().map(|it| Secret::new(hash(it.expose()))).collect();
    let here = |it: &OauthCode| {
        let began = Secret::new(it.browser);
        it.project_id == realm.project.id && it.tenant_id == realm.tenant && browsers.contains(&began)
    };
    let found = found.filter(here).ok_or(AppError::OauthCodeInvalid)?;
    let known = app.store.federated_identities(found.user_id).await?;
    let identity = known.into_iter().find(|it| it.id == found.identity_id).ok_or(AppError::OauthCodeInvalid)?;
    let known = Known { identity, auth_time: found.auth_time, begun_at: found.begun_at, code: Some(shown) };
    finish(app, context, &realm, &known, tenant).await
}

/// What is to be begun for a caller who does the rest.
#[derive(Debug)]
pub struct Beginning {
    /// The provider.
    pub provider: ProviderKey,
    /// The caller's page that the provider sends the browser back to; none for a program that is given an ID token.
    pub redirect_uri: Option<String>,
    /// Whether it is to become an identity of who asks.
    pub link: bool,
    /// Whether who has signed in at the provider already is to do so again.
    pub anew: bool,
}

/// What was begun.
#[derive(Debug)]
pub struct HasBegun {
    /// Where the browser goes, where there is one.
    pub authorization_url: Option<Secret<String>>,
    /// What it comes back with, to be compared and shown.
    pub state: Secret<String>,
    /// What shows that the caller is the one who began. It goes nowhere but here.
    pub state_token: Secret<String>,
    /// What the ID token has to hold, of a program on a device.
    pub nonce: Option<Secret<String>>,
    /// How long it waits.
    pub expires_in: Duration,
}

/// Begins a sign-in whose caller owns the way back. Who is signed in may begin to link.
///
/// # Errors
/// As [`start`]; [`AppError::CredentialMissing`] to link without being signed in; [`AppError::SignInAnew`] when that was too
/// long ago.
pub async fn begin(
    app: &App,
    context: &RequestContext,
    principal: Option<&Principal>,
    wanted: Beginning,
) -> Result<HasBegun, AppError> {
    let realm = place(app, context).await?;
    let user = match (wanted.link, principal) {
        (true, Some(principal)) if principal.project == realm.project.id => {
            super::totp::recent(app, principal).await?;
            Some(principal.user)
        }
        (true, _) => return Err(AppError::CredentialMissing),
        (false, _) => None,
    };
    let purpose = match (&wanted.redirect_uri, wanted.link) {
        (Some(_), false) => OauthPurpose::Headless,
        (Some(_), true) => OauthPurpose::Link,
        (None, false) => OauthPurpose::Native,
        (None, true) => OauthPurpose::LinkNative,
    };
    if let Some(uri) = &wanted.redirect_uri {
        let refused =
            |_| AppError::field("/redirect_uri", "not_admitted", "is none of the addresses that are admitted here");
        return_to::admitted(&realm.project, uri, "redirect_uri").map_err(refused)?;
    }
    let provider = provider(app, &realm, &wanted.provider).await?;
    if wanted.redirect_uri.is_none() && provider.options.native_client_ids.is_empty() {
        return Err(AppError::field("/redirect_uri", "required", "the provider takes no ID tokens of programs"));
    }
    if wanted.anew && !provider.kind.says_when() {
        return Err(AppError::field("/anew", "unsupported", SAYS_NOT_WHEN));
    }
    let state_token = random_token()?;
    let begun = Begun::new(app, &realm, &provider, (purpose, user), &state_token)?;
    let redirect_uri = wanted.redirect_uri.clone().unwrap_or_default();
    let begun = Begun { row: OauthState { redirect_uri, anew: wanted.anew, ..begun.row }, ..begun };
    let authorization_url = match &wanted.redirect_uri {
        Some(_) => Some(begun.url(app, &provider).await?),
        None => None,
    };
    begun.keep(app).await?;
    let nonce = wanted.redirect_uri.is_none().then(|| begun.row.proofs.nonce.clone());
    let expires_in = app.config.oauth.state.get();
    Ok(HasBegun { authorization_url, state: begun.state, state_token, nonce, expires_in })
}

/// What a caller shows who began.
#[derive(Debug)]
pub struct Shown {
    /// What it was given when it began.
    pub state_token: Secret<String>,
    /// `state`, as the browser came back with it, or as it was given.
    pub state: Secret<String>,
    /// What the provider gave.
    pub word: Word,
}

/// What a provider gave.
#[derive(Debug)]
pub enum Word {
    /// To the browser: a code, and `iss` where there was one.
    Code(Secret<String>, Option<String>),
    /// To a program on a device.
    IdToken(Secret<String>),
}

/// Ends a sign-in whose caller owned the way back.
///
/// # Errors
/// [`AppError::OauthStateInvalid`], [`AppError::OauthRefused`], [`AppError::OauthUnavailable`]; what the user's or tenant's state
/// says.
pub async fn login(
    app: &App,
    context: &RequestContext,
    shown: &Shown,
    tenant: Option<&str>,
) -> Result<SignedIn, AppError> {
    let realm = place(app, context).await?;
    let (provider, used, said) =
        spoken(app, context, &realm, shown, &[OauthPurpose::Headless, OauthPurpose::Native]).await?;
    match oauth_accounts::identity(app, context, &realm, &provider, &said).await {
        Ok(identity) => {
            let known = Known { identity, auth_time: auth_time(app, &said), begun_at: used.begun_at, code: None };
            finish(app, context, &realm, &known, tenant).await
        }
        Err(error) => Err(failed(app, context, &realm, &provider, error).await?),
    }
}

/// What a provider says to a caller who began for one of these purposes, with what was begun.
pub(super) async fn spoken(
    app: &App,
    context: &RequestContext,
    realm: &Realm,
    shown: &Shown,
    purposes: &[OauthPurpose],
) -> Result<(IdentityProvider, OauthState, Said), AppError> {
    let browsers = [shown.state_token.clone()];
    let used = Waiting { state: &shown.state, browsers: &browsers }.take(app, realm, purposes).await?;
    let native = matches!(used.purpose, OauthPurpose::Native | OauthPurpose::LinkNative);
    let provider = app.store.identity_provider(used.provider_id).await?.filter(|it| it.enabled);
    let provider = provider.ok_or(AppError::OauthStateInvalid)?;
    let said = match &shown.word {
        Word::Code(code, issuer) if !native => by_code(app, &provider, &used, code, issuer.as_deref()).await,
        Word::IdToken(token) if native => {
            let said = app.oauth.said_by_token(app, &provider, token, &used.proofs).await;
            said.and_then(|said| as_asked(&used, said)).map_err(|error| told(&provider, &error))
        }
        Word::Code(..) | Word::IdToken(_) => Err(AppError::OauthStateInvalid),
    };
    match said {
        Ok(said) => Ok((provider, used, said)),
        Err(error) => Err(failed(app, context, realm, &provider, error).await?),
    }
}

/// Whether a provider is there, and good for a tenant: a tenant's is for that tenant only.
///
/// # Errors
/// [`AppError::Restricted`] (`login_method_refused`).
fn good_for(provider: Option<&IdentityProvider>, tenant: TenantId) -> Result<(), AppError> {
    if provider.is_some_and(|it| it.tenant_id.is_none_or(|own| own == tenant)) {
        return Ok(());
    }
    Err(login_policies::refused())
}

/// That a caller's session speaks for the whole account: one that a tenant's provider opened does not, where the account is in other
/// tenants, too. That provider's word is the tenant's.
///
/// # Errors
/// [`AppError::SignInAnew`].
pub(super) async fn speaks_for_the_account(app: &App, session: &Session) -> Result<(), AppError> {
    let Some(id) = session.provider_id else {
        let is_ours = ![Some(session.method), session.approved_by].contains(&Some(AuthMethod::Oauth));
        return if is_ours { Ok(()) } else { Err(AppError::SignInAnew(app.config.second_factor.recent)) };
    };
    let provider = app.store.identity_provider(id).await?;
    if provider.as_ref().is_some_and(|it| it.tenant_id.is_none()) {
        return Ok(());
    }
    let elsewhere = app.store.memberships_of_user(session.user_id).await?;
    let elsewhere = elsewhere.iter().any(|it| it.tenant_id != session.tenant_id);
    if elsewhere { Err(AppError::SignInAnew(app.config.second_factor.recent)) } else { Ok(()) }
}

/// Where somebody signs in.
async fn place(app: &App, context: &RequestContext) -> Result<Realm, AppError> {
    letters::place(app, context, Rate::Oauth).await
}

/// The provider of a key: the tenant's own before the project's. One that is the tenant's and switched off hides the project's.
pub(super) async fn provider(app: &App, realm: &Realm, key: &ProviderKey) -> Result<IdentityProvider, AppError> {
    if let Some(tenant) = realm.tenant {
        login_policies::allows(app, tenant, LoginMethod::Oauth).await?;
    }
    let own = match realm.tenant {
        Some(tenant) => app.store.identity_provider_by_key(realm.project.id, Some(tenant), key).await?,
        None => None,
    };
    let found = match own {
        Some(own) => Some(own),
        None => app.store.identity_provider_by_key(realm.project.id, None, key).await?,
    };
    found.filter(|it| it.enabled).ok_or(AppError::NotFound("identity provider"))
}

/// A sign-in that is about to be under way.
struct Begun {
    state: Secret<String>,
    row: OauthState,
}

impl Begun {
    fn new(
        app: &App,
        realm: &Realm,
        provider: &IdentityProvider,
        (purpose, user_id): (OauthPurpose, Option<UserId>),
        browser: &Secret<String>,
    ) -> Result<Self, AppError> {
        let state = random_token()?;
        let row = OauthState {
            hash: hash(state.expose()),
            browser: hash(browser.expose()),
            project_id: realm.project.id,
            tenant_id: realm.tenant,
            provider_id: provider.id,
            purpose,
            user_id,
            redirect_uri: String::new(),
            return_to: None,
            proofs: OauthProofs { verifier: random_token()?, nonce: random_token()? },
            anew: false,
            begun_at: app.now(),
            expires_at: app.now() + app.config.oauth.state.get(),
        };
        Ok(Self { state, row })
    }

    async fn url(&self, app: &App, provider: &IdentityProvider) -> Result<Secret<String>, AppError> {
        let OauthState { redirect_uri, proofs, anew, .. } = &self.row;
        let asking = Asking { redirect_uri, state: &self.state, proofs, anew: *anew };
        let url = app.oauth.authorization_url(app, provider, &asking).await;
        url.map_err(|error| told(provider, &error))
    }

    /// Has it wait.
    ///
    /// # Errors
    /// [`AppError::RateLimited`] where as many wait in its project as may.
    async fn keep(&self, app: &App) -> Result<(), AppError> {
        let (row, most) = (&self.row, app.config.oauth.waiting_per_project);
        let kept = app.store.write_session(Scope::Project(row.project_id), app.now(), |tx| async move {
            Ok::<_, AppError>(tx.insert_oauth_state(row, most).await?)
        });
        if kept.await? {
            return Ok(());
        }
        tracing::warn!(project.id = %row.project_id, waiting = most, "as many sign-ins as may wait for identity providers");
        Err(AppError::RateLimited { retry_after: TRY_LATER.as_secs() })
    }
}

/// A sign-in that waits for its answer, as somebody shows it.
struct Waiting<'s> {
    state: &'s Secret<String>,
    browsers: &'s [Secret<String>],
}

impl Waiting<'_> {
    /// Takes it, before anything else is done: who comes second finds nothing.
    async fn take(&self, app: &App, realm: &Realm, purposes: &[OauthPurpose]) -> Result<OauthState, AppError> {
        if self.state.expose().len() > MAX_SHOWN {
            return Err(AppError::OauthStateInvalid);
        }
        let (shown, project) = (hash(self.state.expose()), realm.project.id);
        let browsers: Vec<[u8; 32]> = self.browsers.iter().map(|it| hash(it.expose())).collect();
        let browsers = &browsers;
        let used = app.store.write_session(Scope::Project(project), app.now(), |tx| async move {
            Ok::<_, AppError>(tx.use_oauth_state(shown, browsers).await?)
        });
        let here = |it: &OauthState| {
            it.project_id == project && it.tenant_id == realm.tenant && purposes.contains(&it.purpose)
        };
        used.await?.filter(here).ok_or(AppError::OauthStateInvalid)
    }
}

/// What a provider says for a code.
async fn by_code(
    app: &App,
    provider: &IdentityProvider,
    used: &OauthState,
    code: &Secret<String>,
    issuer: Option<&str>,
) -> Result<Said, AppError> {
    if code.expose().len() > MAX_SHOWN || issuer.is_some_and(|issuer| issuer.len() > MAX_SHOWN) {
        return Err(AppError::OauthRefused);
    }
    let secret = app.store.identity_provider_secret(provider.id).await?;
    let answered = Answered { code, issuer, redirect_uri: &used.redirect_uri, proofs: &used.proofs };
    let said = app.oauth.said_by_code(app, provider, secret, &answered).await;
    said.and_then(|said| as_asked(used, said)).map_err(|error| told(provider, &error))
}

/// What is said of somebody who was to sign in anew counts only when the provider says that they did, since.
fn as_asked(used: &OauthState, said: Said) -> Result<Said, ProviderError> {
    let is_fresh = said.auth_time.is_some_and(|at| at + SKEW >= used.begun_at);
    if used.anew && !is_fresh { Err(ProviderError::NotAnew) } else { Ok(said) }
}

/// What is told of a provider that was of no help; why is for operators.
fn told(provider: &IdentityProvider, error: &ProviderError) -> AppError {
    let tenant = provider.tenant_id.map(|id| id.to_string());
    tracing::warn!(
        provider.id = %provider.id, tenant.id = tenant, error = problem::chain(error), "an identity provider was of no help"
    );
    if error.is_passing() { AppError::OauthUnavailable } else { AppError::OauthRefused }
}

/// Notes a sign-in that came to nothing; gives its error back.
async fn failed(
    app: &App,
    context: &RequestContext,
    realm: &Realm,
    provider: &IdentityProvider,
    error: AppError,
) -> Result<AppError, AppError> {
    let entry = AuditEntry {
        action: "login_failure".into(),
        crud: Crud::C,
        target: target(provider.id, provider.key.as_str()),
        project_id: Some(realm.project.id),
        tenant_id: realm.tenant,
        is_failure: true,
        fields: json!({ "method": "oauth", "code": error.public().1 }),
    };
    note(app, context, realm.project.id, &entry).await?;
    Ok(error)
}

fn target(id: IdentityProviderId, name: &str) -> Target {
    Target { kind: "identity-provider".into(), id: id.to_string(), name: name.to_owned() }
}

async fn note(app: &App, context: &RequestContext, project: ProjectId, entry: &AuditEntry) -> Result<(), AppError> {
    let noted = app.store.write_session(Scope::Project(project), app.now(), |tx| {
        let origin = context.origin();
        async move { Ok::<_, AppError>(tx.record(&letters::nobody(), &origin, entry).await?) }
    });
    noted.await
}

/// When somebody signed in: as the provider says, and never later than now. One that says nothing has just asked them, or kept them signed
/// in: whoever must know begins anew.
fn auth_time(app: &App, said: &Said) -> Timestamp {
    said.auth_time.map_or(app.now(), |at| at.min(app.now()))
}

/// A code for the browser that was known by an identity.
async fn code_for(
    app: &App,
    used: &OauthState,
    (identity, auth_time): &(FederatedIdentity, Timestamp),
) -> Result<Secret<String>, AppError> {
    let code = random_token()?;
    let row = &OauthCode {
        hash: hash(code.expose()),
        browser: used.browser,
        project_id: used.project_id,
        tenant_id: used.tenant_id,
        identity_id: identity.id,
        user_id: identity.user_id,
        auth_time: *auth_time,
        begun_at: used.begun_at,
        expires_at: app.now() + app.config.oauth.code.get(),
    };
    let kept = app.store.write_session(Scope::Project(used.project_id), app.now(), |tx| async move {
        Ok::<_, AppError>(tx.insert_oauth_code(row).await?)
    });
    kept.await?;
    Ok(code)
}

/// Somebody whom a provider knows.
struct Known {
    identity: FederatedIdentity,
    auth_time: Timestamp,
    begun_at: Timestamp,
    code: Option<[u8; 32]>,
}

/// Opens the session of who was known by an identity, or asks for a second factor.
async fn finish(
    app: &App,
    context: &RequestContext,
    realm: &Realm,
    known: &Known,
    tenant: Option<&str>,
) -> Result<SignedIn, AppError> {
    let Known { identity, auth_time, begun_at, code } = known;
    let user = app.store.user(identity.user_id).await?.filter(|user| !user.is_break_glass);
    let user = user.ok_or(AppError::CredentialsInvalid)?;
    let tenant = login::tenant(app, realm, &user, tenant).await?;
    let provider = app.store.identity_provider(identity.provider_id).await?.filter(|it| it.enabled);
    good_for(provider.as_ref(), tenant.id)?;
    login_policies::allows(app, tenant.id, LoginMethod::Oauth).await?;
    let by = ByProvider {
        identity: identity.id,
        provider: identity.provider_id,
        auth_time: *auth_time,
        begun_at: *begun_at,
        code: *code,
    };
    let opening = Opening {
        door: Door::Tenant,
        method: AuthMethod::Oauth,
        amr: AuthMethod::Oauth.amr(),
        life: login_policies::session_life(app, &app.store, tenant.id).await?,
        proof: Proof::Provider(&by),
        event: "oauth_login",
    };
    sign_in::open(app, context, opening, &realm.project, &tenant, &user).await
}
