//! What is done on the machine when nobody can sign in: the commands `break-glass` and `reset-password`, of `control-api`
//! and `portcullis` alike; and what nobody may do from elsewhere. They need the database and its master key, and nothing that
//! runs.

use authz::{Authorized, action::AppendAudit};
use domain::audit::{AuditEntry, Crud, Target};
use serde_json::{Value, json};

use crate::{
    App,
    app::{break_glass, users},
    error::AppError,
};

/// Sets a customer's emergency administrator up, or up anew. The answer is the only place where their password and the
/// secret of their codes stand.
///
/// # Errors
/// [`AppError`]; nothing was written then.
pub async fn set_up(app: &App, customer: &str) -> Result<Value, AppError> {
    let made = break_glass::set_up(app, "break-glass", customer).await?;
    let secret = made.secret.expose();
    Ok(json!({
        "customer": customer,
        "username": made.username,
        "password": made.password.expose(),
        "totp_secret": secret,
        "otpauth": made.url.expose(),
    }))
}

/// Gives one of the platform's staff a new password; without a name, the administrator that the bootstrap made.
///
/// # Errors
/// [`AppError`]; nothing was written then.
pub async fn reset_password(app: &App, username: Option<&str>) -> Result<Value, AppError> {
    let username = username.unwrap_or(&app.config.bootstrap.admin_username);
    let password = users::reset_staff_password(app, "reset-password", username).await?;
    Ok(json!({ "username": username, "password": password.expose() }))
}

/// Heads of audit chains that are listed to be sealed, and that nobody vouched for. With the digest of the list, vouches for it and
/// seals them.
///
/// # Errors
/// [`AppError`]; another digest than the list's vouches for nothing.
pub async fn unsealed_heads(app: &App, digest: Option<&str>) -> Result<Value, AppError> {
    let Some(digest) = digest else {
        let list = app.store.unvouched_heads().await?;
        return Ok(
            json!({ "unsealed": list.map(|it| json!({ "chains": it.chains, "digest": it.digest, "heads": it.lines })) }),
        );
    };
    let by = &Authorized::<AppendAudit>::system("audit-vouch");
    let vouched = app.store.write(by, app.now(), |tx| async move {
        let change = tx.vouch_for_heads(by, digest).await?;
        let entry = AuditEntry {
            action: "audit.heads_vouched".into(),
            crud: Crud::U,
            target: Target { kind: "audit_chain".into(), id: "all".into(), name: String::new() },
            project_id: None,
            tenant_id: None,
            is_failure: false,
            fields: json!({ "chains": change.peek().chains, "digest": digest }),
        };
        Ok::<_, AppError>(tx.audit(entry, change).await?)
    });
    vouched.await?;
    // Whoever writes to the database could make a list to be vouched for: it stands in the log beside the trail that it is about.
    tracing::error!(audit.digest = digest, "heads of audit chains were vouched for by hand: they are sealed now");
    Ok(json!({ "sealed": app.store.seal_heads().await? }))
}
