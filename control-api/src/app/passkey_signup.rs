//! Accounts that people make with a passkey and no password. A code goes to the address, so that it is proven before there is an
//! account; until it is shown with what the authenticator made, there is nothing of theirs but the code.
//!
//! ```text
//! begin:     a challenge for the authenticator; a code to the address, or, where it has an account, a notice
//! complete:  the code and what the authenticator made  ->  account, passkey and session
//! ```

use authz::Scope;
use domain::{
    Secret,
    audit::{AuditEntry, Crud, Target},
    model::{CodeKind, CodeShown, LoginMethod},
};
use serde_json::json;
use store::read::*;
use webauthn_rs_core::proto::{RegisterPublicKeyCredential, RegistrationState};

use super::{
    access_mode, letters, login_policies,
    passkeys::{self, UsedPasskey},
    sign_in::SignedIn,
    signup::{self, NewAccount},
};
use crate::{
    App,
    caller::Site,
    context::{RequestContext, new_id},
    error::AppError,
    mail::letter::{Letter, LetterKind},
    rates::Rate,
    webauthn::{Begun, NewHolder, Purpose},
};

/// Who wants an account.
#[derive(Debug)]
pub struct PasskeySignup {
    /// Their address.
    pub email: String,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
}

/// What somebody shows whose account is to be made.
#[derive(Debug)]
pub struct ShownSignup<'s> {
    /// The challenge, as it was given.
    pub ticket: &'s Secret<String>,
    /// What the authenticator made.
    pub credential: &'s RegisterPublicKeyCredential,
    /// The code that went to the address.
    pub code: &'s Secret<String>,
    /// What to call the passkey.
    pub name: Option<String>,
}

/// Begins to make an account: answers the challenge, and sends a code to the address or, where it has an account, a notice. The
/// answer and the work are the same.
///
/// # Errors
/// As of [`signup::sign_up`]; [`AppError::Restricted`] (`login_method_refused`) where the tenant's people do not sign in with
/// passkeys; [`AppError::Conflict`] (`passkey_hostname`) where no hostname was asked.
pub(crate) async fn begin_signup(app: &App, context: &RequestContext, draft: PasskeySignup) -> Result<Begun, AppError> {
    let realm = letters::place(app, context, Rate::Signup).await?;
    let named = (draft.email.as_str(), draft.first_name.as_str(), draft.last_name.as_str());
    let (site, email) = signup::admitted(app, context, &realm, named).await?;
    login_policies::allows(app, site.tenant, LoginMethod::Passkey).await?;
    let (party, _) = passkeys::party(app, context).await?;
    let user = new_id(&*app.clock);
    let holder = NewHolder {
        user,
        tenant: site.tenant,
        email: email.to_owned(),
        first_name: draft.first_name.clone(),
        last_name: draft.last_name.clone(),
    };
    let begun = party.begin_registration(Purpose::SignUp(holder), (user, email), &[])?;
    let (code, expires_at) = (letters::code()?, app.now() + app.config.identity.code.get());
    let letter = Letter::new(LetterKind::SignupCode, email).with("code", code.expose()).until(expires_at);
    let letter = letter.event(app, realm.project.id, realm.tenant)?;
    let notice = signup::notice(app, &realm, email)?;
    let (realm, code, letter, notice) = (&realm, &code, &letter, &notice);
    let asked = app.store.write_session(Scope::Project(realm.project.id), app.now(), |tx| {
        let origin = context.origin();
        async move {
            let wanted = signup::asked_for(app, &tx, (realm, email), (&origin, notice)).await?;
            // Kept whether or not it is sent: so wrong codes for an address that has an account are counted as others.
            tx.put_one_time_code((realm.project.id, CodeKind::PasskeySignup), email, code, expires_at).await?;
            if wanted {
                tx.leave(letter).await?;
            }
            Ok::<_, AppError>(())
        }
    });
    asked.await?;
    Ok(begun)
}

/// Makes the account of who shows the code and what their authenticator made, and signs them in. Of many who do so at once, one.
///
/// # Errors
/// [`AppError::LoginChallengeInvalid`]; [`AppError::Invalid`] (`/credential`, `/name`); [`AppError::CredentialsInvalid`] for a wrong
/// code, and where somebody has the address by now or the project lets nobody in any more; [`AppError::LoginLocked`].
pub async fn complete_signup(
    app: &App,
    context: &RequestContext,
    shown: ShownSignup<'_>,
) -> Result<SignedIn, AppError> {
    const GONE: AppError = AppError::LoginChallengeInvalid;
    let realm = letters::place(app, context, Rate::Verify).await?;
    let name = passkeys::named(shown.name)?;
    let (party, _) = passkeys::party(app, context).await?;
    let answered = party.answered::<RegistrationState>(shown.ticket)?;
    let Purpose::SignUp(holder) = &answered.purpose else { return Err(GONE) };
    if realm.tenant.is_some_and(|tenant| tenant != holder.tenant) {
        return Err(GONE);
    }
    // Before the code is looked at: what could not be kept uses nothing up.
    let passkey = passkeys::made(app, &party, (&answered, shown.credential), (holder.user, name))?;
    access_mode::admits(&realm.project, &holder.email).map_err(|_| AppError::CredentialsInvalid)?;
    let (realm, holder) = (&realm, holder);
    let told = app.store.write_session(Scope::Project(realm.project.id), app.now(), |tx| {
        let origin = context.origin();
        async move {
            let key = (realm.project.id, CodeKind::PasskeySignup);
            let guesses = app.config.identity.guesses();
            match tx.show_one_time_code(key, &holder.email, shown.code, guesses).await? {
                CodeShown::Right => Ok(true),
                CodeShown::Locked(until) => {
                    Err(AppError::LoginLocked { retry_after: until.since(app.now()).as_secs().max(1) })
                }
                CodeShown::Wrong => {
                    // Committed: it is counted.
                    let entry = AuditEntry {
                        action: "login_failure".into(),
                        crud: Crud::C,
                        target: Target { kind: "user".into(), id: String::new(), name: String::new() },
                        project_id: Some(realm.project.id),
                        tenant_id: realm.tenant,
                        is_failure: true,
                        fields: json!({ "factor": "signup_code" }),
                    };
                    tx.record(&letters::nobody(), &origin, &entry).await?;
                    Ok(false)
                }
            }
        }
    });
    if !told.await? {
        return Err(AppError::CredentialsInvalid);
    }
    let place = Site { project: realm.project.id, tenant: holder.tenant };
    let (sign_count, backup_state) = (passkey.sign_count, passkey.backup_state);
    let credential_id = passkey.credential_id.clone();
    let new = NewAccount {
        id: holder.user,
        email: holder.email.clone(),
        password_hash: None,
        names: (holder.first_name.clone(), holder.last_name.clone()),
        place,
        proven: true,
        identity: None,
        passkey: Some(passkey),
    };
    signup::make(app, context, &realm.project, new, None).await.map_err(|error| match error {
        AppError::LinkInvalid => AppError::CredentialsInvalid,
        other => other,
    })?;
    let user = app.store.user(holder.user).await?.ok_or(AppError::CredentialsInvalid)?;
    let tenant = app.store.tenant(place.tenant).await?.ok_or(AppError::CredentialsInvalid)?;
    let kept = app.store.passkey_by_credential((place.project, party.id()), &credential_id).await?;
    let used = UsedPasskey {
        passkey: kept.ok_or(AppError::CredentialsInvalid)?,
        sign_count,
        backup_state,
        challenge: answered.hash,
        challenge_ends: answered.expires_at,
    };
    passkeys::open(app, context, (&realm.project, &tenant, &user), used).await
}
