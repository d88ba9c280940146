//! What names a project where no hostname does (`X-Project-Key`), and who may read its directory (`X-Directory-Key`).
//!
//! ```text
//! ppk_<public>            publishable: anybody may know it
//! psk_<public>_<secret>   secret: a server's
//! pdk_<public>_<secret>   directory reader
//! pmk_<public>            the same, on a connection whose client has proven the credential's certificate
//! ```
//!
//! A key says which project is meant and never who asks. Where the hostname says it, too, both have to say the same. What a client
//! has proven, the handshake on `internal` says, and no header does.

use authz::{Scope, action::ManageProjectCredentials};
use domain::{
    ProjectCredentialId, ProjectId, Secret,
    model::{
        NewProjectCredential, ProjectCredential, ProjectCredentialKind as Kind,
        project_credential::{MAX_NAME, USE_NOTED_EVERY},
    },
};
use store::{
    Commit,
    list::{ProjectCredentialList, Selection, Slice},
    read::*,
};

use super::{
    credential_certificate, text,
    tokens::{hash, random, random_token},
};
use crate::{
    App, admin_secret,
    caller::Principal,
    context::{Listener, RequestContext, new_id},
    error::AppError,
    problem,
    rates::Rate,
};

/// Longest text of a key, in bytes.
const MAX_KEY: usize = 128;

/// A page of a project's credentials.
pub async fn list_project_credentials(
    app: &App,
    principal: &Principal,
    project: ProjectId,
    asked: &Selection<ProjectCredentialList>,
) -> Result<Slice<ProjectCredential>, AppError> {
    principal.may::<ManageProjectCredentials>("list")?;
    app.store.project(project).await?.ok_or(AppError::NotFound("project"))?;
    Ok(app.store.list(project, asked).await?)
}

/// A credential that is to be made.
#[derive(Debug)]
pub struct Wanted {
    /// What it is for.
    pub kind: Kind,
    /// What it is called.
    pub name: String,
    /// What its client proves, for [`Kind::Mtls`] and no other.
    pub certificate_pem: Option<String>,
}

/// Makes a credential; its text is given once.
///
/// # Errors
/// [`AppError::Invalid`] for its name or certificate; [`AppError::NotFound`] without the project.
pub async fn create_project_credential(
    app: &App,
    principal: &Principal,
    project: ProjectId,
    Wanted { kind, name, certificate_pem }: Wanted,
) -> Result<(ProjectCredential, Secret<String>, Commit), AppError> {
    let by = principal.may::<ManageProjectCredentials>("create")?;
    admin_secret::spare_root(app, principal, project).await?;
    text::named(&name, "")?;
    text::check("/name", &name, 1..=MAX_NAME)?;
    let certificate = match (kind, certificate_pem) {
        (Kind::Mtls, Some(pem)) => Some(credential_certificate::registered(&pem, app.now())?),
        (Kind::Mtls, None) => {
            return Err(AppError::field("/certificate_pem", "required", "`mtls` is for a certificate"));
        }
        (_, Some(_)) => return Err(AppError::field("/certificate_pem", "unsupported", "is for `mtls` only")),
        (_, None) => None,
    };
    app.store.project(project).await?.ok_or(AppError::NotFound("project"))?;
    let public_id: String = random::<16>()?.iter().map(|byte| format!("{byte:02x}")).collect();
    let secret = if kind.has_secret() { Some(random_token()?) } else { None };
    let prefix = kind.prefix();
    let shown = Secret::new(match &secret {
        Some(secret) => format!("{prefix}_{public_id}_{}", secret.expose()),
        None => format!("{prefix}_{public_id}"),
    });
    let new = &NewProjectCredential {
        id: new_id(&*app.clock),
        project_id: project,
        kind,
        name,
        public_id,
        secret_hash: secret.map(|secret| Secret::new(hash(secret.expose()))),
        certificate,
    };
    let by = &by;
    let made = app.store.write(by, app.now(), |tx| async move {
        Ok::<_, AppError>(tx.created(tx.insert_project_credential(by, new.clone()).await?).await?)
    });
    let (made, commit) = made.await?;
    Ok((made, shown, commit))
}

/// Has a credential name nothing any more.
///
/// # Errors
/// [`AppError::NotFound`], also for another project's.
pub async fn revoke_project_credential(
    app: &App,
    principal: &Principal,
    which: (ProjectId, ProjectCredentialId),
) -> Result<Commit, AppError> {
    let by = &principal.may::<ManageProjectCredentials>("delete")?;
    admin_secret::spare_root(app, principal, which.0).await?;
    let revoked = app.store.write(by, app.now(), |tx| async move {
        Ok::<_, AppError>(tx.done("revoked", tx.revoke_project_credential(by, which).await?).await?)
    });
    revoked.await.map(|(_, commit)| commit)
}

/// The project that `X-Project-Key` names. On `admin`, where one has to be let in to know any, its slug or id does, too.
///
/// # Errors
/// [`AppError::ProjectKeyInvalid`]; [`AppError::RateLimited`] after many of those.
pub(crate) async fn project_of_key(app: &App, context: &RequestContext, shown: &str) -> Result<ProjectId, AppError> {
    if let Some(found) = known(app, context, shown, &[Kind::Publishable, Kind::Secret]).await? {
        return Ok(found);
    }
    if context.listener == Listener::Admin {
        let by_id = match shown.parse() {
            Ok(id) => app.store.project(id).await?,
            Err(_) => None,
        };
        let found = match by_id {
            Some(project) => Some(project),
            None if domain::Slug::try_from(shown.to_owned()).is_ok() => app.store.project_by_slug(shown).await?,
            None => None,
        };
        if let Some(project) = found {
            return Ok(project.id);
        }
    }
    Err(refused(app, context).await)
}

/// The project whose directory `X-Directory-Key` may read.
///
/// # Errors
/// [`AppError::ProjectKeyInvalid`]; [`AppError::RateLimited`] after many of those.
pub(crate) async fn directory_of_key(app: &App, context: &RequestContext, shown: &str) -> Result<ProjectId, AppError> {
    let found = known(app, context, shown, &[Kind::DirectoryReader, Kind::Mtls]).await?;
    match found {
        Some(project) => Ok(project),
        None => Err(refused(app, context).await),
    }
}

async fn refused(app: &App, context: &RequestContext) -> AppError {
    let counted = app.admit_address(Rate::Machine, context).await;
    counted.err().unwrap_or(AppError::ProjectKeyInvalid)
}

/// The project of a key of one of these kinds. Its secret part is compared in constant time, and so is what the client has proven.
async fn known(
    app: &App,
    context: &RequestContext,
    shown: &str,
    kinds: &[Kind],
) -> Result<Option<ProjectId>, AppError> {
    let Some((kind, public_id, secret)) = read(shown).filter(|(kind, _, _)| kinds.contains(kind)) else {
        return Ok(None);
    };
    let secret = secret.map(|secret| Secret::new(hash(secret)));
    let found = app.store.project_credential(public_id).await?;
    let holds = |it: &ProjectCredential| match kind {
        Kind::Publishable | Kind::Secret | Kind::DirectoryReader => it.secret_hash == secret,
        Kind::Mtls => {
            let both = it.certificate.as_ref().zip(context.proven.as_ref());
            both.is_some_and(|(kept, proven)| credential_certificate::is_proven(kept, proven, app.now()))
        }
    };
    let Some(found) = found.filter(|it| it.kind == kind && holds(it)) else { return Ok(None) };
    note(app, &found).await;
    Ok(Some(found.project_id))
}

/// Notes that a credential was used, once in a while. Whether that can be noted says nothing of the credential.
async fn note(app: &App, used: &ProjectCredential) {
    let now = app.now();
    if used.last_used_at.is_some_and(|at| at + USE_NOTED_EVERY > now) {
        return;
    }
    let noted = app.store.write_session(Scope::Project(used.project_id), now, |tx| async move {
        tx.note_project_credential(used.id).await
    });
    if let Err(error) = noted.await {
        tracing::warn!(error = problem::chain(&error), project.id = %used.project_id, "a credential's use was not noted");
    }
}

/// The parts of a key's text.
fn read(text: &str) -> Option<(Kind, &str, Option<&str>)> {
    if text.len() > MAX_KEY {
        return None;
    }
    let (prefix, rest) = text.split_once('_')?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.prefix() == prefix)?;
    let (public_id, secret) =
        if kind.has_secret() { rest.split_once('_').map(|(id, secret)| (id, Some(secret)))? } else { (rest, None) };
    let sound = public_id.len() == 32 && public_id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    sound.then_some((kind, public_id, secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_reading_or_none() {
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(read(&format!("ppk_{id}")), Some((Kind::Publishable, id, None)));
        assert_eq!(read(&format!("psk_{id}_s_-x")), Some((Kind::Secret, id, Some("s_-x"))));
        assert_eq!(read(&format!("pdk_{id}_s")), Some((Kind::DirectoryReader, id, Some("s"))));
        assert_eq!(read(&format!("pmk_{id}")), Some((Kind::Mtls, id, None)));
        let wrong = [
            String::new(),
            "ppk".into(),
            format!("ppk_{id}_s"),
            format!("pmk_{id}_s"),
            format!("psk_{id}"),
            format!("pxk_{id}"),
            format!("PPK_{id}"),
            format!("ppk_{}", id.to_uppercase()),
            format!("ppk_{id}0"),
            format!("psk_{id}_{}", "x".repeat(MAX_KEY)),
        ];
        for text in wrong {
            assert_eq!(read(&text), None, "{text}");
        }
    }
}
