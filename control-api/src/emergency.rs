//! What is done on the machine when nobody can sign in: the commands `break-glass` and `reset-password`, of `control-api`
//! and `portcullis` alike. They need the database and its master key, and nothing that runs.

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
