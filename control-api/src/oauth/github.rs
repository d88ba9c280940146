//! GitHub, which has no ID tokens: a code gives an access token, which is asked once who it is of, and dropped.

use domain::{Secret, model::IdentityProvider};
use serde_json::Value;

use super::{Answered, MAX_EMAIL, ProviderError, Said, http::Http};
use crate::{App, config::OauthConfig};

pub(super) fn authorization_endpoint(config: &OauthConfig) -> String {
    format!("{}/login/oauth/authorize", config.github.site)
}

/// Who came back with a code.
pub(super) async fn said(
    app: &App,
    http: &Http,
    provider: &IdentityProvider,
    secret: Option<Secret<String>>,
    answered: &Answered<'_>,
) -> Result<Said, ProviderError> {
    let config = &app.config.oauth.github;
    // As it names itself where it does (RFC 9207).
    if answered.issuer.is_some_and(|issuer| issuer != format!("{}/login/oauth", config.site)) {
        return Err(ProviderError::OtherIssuer);
    }
    let secret = secret.ok_or(ProviderError::NoSecret)?;
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", &provider.client_id),
        ("client_secret", secret.expose()),
        ("code", answered.code.expose()),
        ("redirect_uri", answered.redirect_uri),
        ("code_verifier", answered.proofs.verifier.expose()),
    ];
    let answer = http.post_form(app, &format!("{}/login/oauth/access_token", config.site), &form, None).await?;
    let token = answer.get("access_token").and_then(Value::as_str).ok_or(ProviderError::Missing("access_token"))?;
    let token = Secret::new(token.to_owned());
    let user = http.read(app, &format!("{}/user", config.api), Some(&token)).await?;
    let id = user.get("id").and_then(Value::as_u64).ok_or(ProviderError::Missing("id"))?;
    let emails = http.read(app, &format!("{}/user/emails", config.api), Some(&token)).await?;
    let shown = user.get("name").and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    let (first, last) = shown.rsplit_once(' ').map_or((shown.as_str(), ""), |(first, last)| (first.trim(), last));
    Ok(Said {
        subject: id.to_string(),
        email: primary(&emails),
        hosted: None,
        auth_time: None,
        names: (plain(first), plain(last)),
    })
}

/// The address that is the account's and was proven there.
fn primary(emails: &Value) -> Option<String> {
    let is = |email: &&Value, name: &str| email.get(name).and_then(Value::as_bool) == Some(true);
    let mut all = emails.as_array()?.iter();
    let email = all.find(|it| is(it, "primary") && is(it, "verified"))?.get("email")?.as_str()?;
    (email.len() <= MAX_EMAIL).then(|| email.to_owned())
}

fn plain(name: &str) -> String {
    if name.chars().any(char::is_control) { String::new() } else { name.chars().take(super::MAX_NAME).collect() }
}

#[test]
fn an_address_is_the_accounts_own_and_proven() {
    let of = |primary_is: bool, verified: bool| {
        primary(&serde_json::json!([
            { "email": "other@mail.example", "primary": false, "verified": true },
            { "email": "ada@mail.example", "primary": primary_is, "verified": verified },
        ]))
    };
    assert_eq!(of(true, true).as_deref(), Some("ada@mail.example"));
    assert_eq!((of(true, false), of(false, true)), (None, None));
    assert_eq!(primary(&serde_json::json!({ "message": "no" })), None);
}
