//! `/oauth/*` and `/v1/auth/oauth/*`: signing in through identity providers (`docs/identity-oauth.md`).

use axum::{
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use domain::{Secret, model::ProviderKey};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    extract::{Asked, At, Body},
    schema::wire,
    sessions::{Tokens, signed_in, uncached},
};
use crate::{
    App,
    app::{
        self,
        oauth_login::{Answer, Beginning, Onward, Shown, Word},
    },
    caller::Principal,
    context::RequestContext,
    error::AppError,
};

/// What a browser that signs in keeps: sent to us alone, and with links only (`SameSite=Lax`).
const COOKIE: &str = "__Host-portcullis-oauth";

/// The same for providers that have the browser post a form, which is a request of another site.
const POST_COOKIE: &str = "__Host-portcullis-oauth-post";

/// How long a browser keeps it: longer than a sign-in is under way, and as many as are begun meanwhile use the same.
const KEPT_SECS: u32 = 3600;

/// Longest form that is read, in bytes.
const MAX_FORM: usize = 16 * 1024;

/// Where a browser is to go on to.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StartQuery {
    /// The address, which the project admits (`config.oauth.return_to`).
    return_to: String,
    /// Whether who has signed in at the provider already is to do so again; not of GitHub and Apple, which do not say when somebody
    /// did. Default false.
    #[serde(default)]
    anew: bool,
}

/// What a provider sends a browser back with.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CallbackQuery {
    /// As the sign-in was begun with.
    #[serde(default)]
    state: String,
    /// The provider's code.
    code: Option<String>,
    /// Why there is none.
    error: Option<String>,
    /// Who answers (RFC 9207).
    iss: Option<String>,
}

impl From<CallbackQuery> for Answer {
    fn from(it: CallbackQuery) -> Self {
        Self { state: Secret::new(it.state), code: it.code.map(Secret::new), error: it.error, issuer: it.iss }
    }
}

/// What is begun by a caller who does the rest.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BeginOauth {
    /// The provider's key.
    provider: ProviderKey,
    /// The caller's page that the browser comes back to, which the project admits. None for a program that is given an ID token.
    redirect_uri: Option<String>,
    /// Whether it is to become an identity of who is signed in. Default false.
    #[serde(default)]
    link: bool,
    /// Whether who has signed in at the provider already is to do so again; not of GitHub and Apple, which do not say when somebody
    /// did. Default false.
    #[serde(default)]
    anew: bool,
}

/// What was begun.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BegunOauth {
    /// Where the browser goes.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown")]
    authorization_url: Option<Secret<String>>,
    /// What it comes back with.
    #[serde(serialize_with = "domain::secret::exposed")]
    state: Secret<String>,
    /// What shows that the caller is who began: to be kept, and shown with what the provider gave.
    #[serde(serialize_with = "domain::secret::exposed")]
    state_token: Secret<String>,
    /// What the ID token has to hold.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown")]
    nonce: Option<Secret<String>>,
    /// Seconds until it does not wait any more.
    expires_in: u64,
}

fn shown<S: serde::Serializer>(secret: &Option<Secret<String>>, serializer: S) -> Result<S::Ok, S::Error> {
    match secret {
        Some(secret) => domain::secret::exposed(secret, serializer),
        None => serializer.serialize_none(),
    }
}

/// What a provider gave to who began: a code, or an ID token.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OauthLogin {
    /// As it was given when this was begun.
    state_token: Secret<String>,
    /// As the browser came back with it, or as it was given.
    state: Secret<String>,
    /// The provider's code.
    code: Option<Secret<String>>,
    /// `iss`, where the browser came back with it (RFC 9207).
    iss: Option<String>,
    /// The provider's ID token, of a program on a device.
    id_token: Option<Secret<String>>,
    /// Slug of the tenant, where the hostname does not say it.
    tenant: Option<String>,
}

/// What a provider gave.
///
/// # Errors
/// [`AppError::Invalid`] unless it is one of both.
pub(super) fn word(
    code: Option<Secret<String>>,
    issuer: Option<String>,
    token: Option<Secret<String>>,
) -> Result<Word, AppError> {
    match (code, token) {
        (Some(code), None) => Ok(Word::Code(code, issuer)),
        (None, Some(token)) => Ok(Word::IdToken(token)),
        _ => Err(AppError::field("/code", "choice", "either `code` or `id_token` is given")),
    }
}

/// The code that a browser was sent on with.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedeemOauth {
    /// It.
    code: Secret<String>,
    /// Slug of the tenant, where the hostname does not say it.
    tenant: Option<String>,
}

wire!(BeginOauth, BegunOauth, OauthLogin, RedeemOauth);

/// Sends the browser to an identity provider.
#[utoipa::path(get, path = "/oauth/start/{provider}", tag = "identity", params(("provider" = String, Path), StartQuery),
    responses((status = 303, description = "To the provider")))]
pub async fn start_oauth(
    context: RequestContext,
    State(app): State<App>,
    At(key): At<ProviderKey>,
    Asked(query): Asked<StartQuery>,
    headers: HeaderMap,
) -> Result<Response, AppError> {
    // Whichever it needs is made of the one that is there: all sign-ins of a browser are one browser's.
    let mut known = browsers(&headers);
    let started = app::oauth_login::start(&app, &context, &key, (&query.return_to, query.anew), known.pop()).await?;
    let (name, same_site) = if started.comes_by_post { (POST_COOKIE, "None") } else { (COOKIE, "Lax") };
    let cookie = format!(
        "{name}={}; Path=/; Secure; HttpOnly; SameSite={same_site}; Max-Age={KEPT_SECS}",
        started.browser.expose()
    );
    let mut response = sent_to(started.url.expose())?;
    let mut cookie = HeaderValue::from_str(&cookie).map_err(|error| AppError::internal("a cookie is none", error))?;
    cookie.set_sensitive(true);
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

/// Takes an identity provider's answer, and sends the browser on: with `#oauth_code=…`, or with `#error=…` and one of our codes.
#[utoipa::path(get, path = "/oauth/callback/{provider}", tag = "identity",
    params(("provider" = String, Path), CallbackQuery), responses((status = 303, description = "To where it was to go on")))]
pub async fn oauth_callback(
    context: RequestContext,
    State(app): State<App>,
    At(key): At<ProviderKey>,
    Asked(query): Asked<CallbackQuery>,
    headers: HeaderMap,
) -> Result<Response, AppError> {
    let known: Vec<_> = cookie(&headers, COOKIE).into_iter().collect();
    let onward = app::oauth_login::callback(&app, &context, &key, &query.into(), &known).await?;
    go_on(onward)
}

/// The same, posted as a form: of providers that answer so.
#[utoipa::path(post, path = "/oauth/callback/{provider}", tag = "identity", params(("provider" = String, Path)),
    request_body(content = String, content_type = "application/x-www-form-urlencoded"),
    responses((status = 303, description = "To where it was to go on")))]
pub async fn oauth_form_callback(
    context: RequestContext,
    State(app): State<App>,
    At(key): At<ProviderKey>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, AppError> {
    let known: Vec<_> = cookie(&headers, POST_COOKIE).into_iter().collect();
    let onward = app::oauth_login::callback(&app, &context, &key, &form(&headers, &body)?, &known).await?;
    go_on(onward)
}

/// Begins a sign-in through an identity provider whose way back is the caller's; who is signed in may begin to link an identity.
#[utoipa::path(post, path = "/v1/auth/oauth/begin", tag = "identity", request_body = BeginOauth,
    responses((status = 200, body = BegunOauth)))]
pub async fn begin_oauth(
    context: RequestContext,
    principal: Option<Principal>,
    State(app): State<App>,
    Body(body): Body<BeginOauth>,
) -> Result<Response, AppError> {
    let wanted =
        Beginning { provider: body.provider, redirect_uri: body.redirect_uri, link: body.link, anew: body.anew };
    let begun = app::oauth_login::begin(&app, &context, principal.as_ref(), wanted).await?;
    let body = BegunOauth {
        authorization_url: begun.authorization_url,
        state: begun.state,
        state_token: begun.state_token,
        nonce: begun.nonce,
        expires_in: begun.expires_in.as_secs(),
    };
    Ok(uncached(axum::Json(body).into_response()))
}

/// Signs in by what an identity provider gave to who began.
#[utoipa::path(post, path = "/v1/auth/oauth/login", tag = "identity", request_body = OauthLogin,
    responses((status = 200, body = Tokens)))]
pub async fn oauth_login(
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<OauthLogin>,
) -> Result<Response, AppError> {
    let word = word(body.code, body.iss, body.id_token)?;
    let shown = Shown { state_token: body.state_token, state: body.state, word };
    app::oauth_login::login(&app, &context, &shown, body.tenant.as_deref()).await.map(signed_in)
}

/// Signs in by the code that the browser was sent on with. It takes the browser's cookie, too.
#[utoipa::path(post, path = "/v1/auth/oauth/redeem", tag = "identity", request_body = RedeemOauth,
    responses((status = 200, body = Tokens)))]
pub async fn redeem_oauth(
    context: RequestContext,
    State(app): State<App>,
    headers: HeaderMap,
    Body(body): Body<RedeemOauth>,
) -> Result<Response, AppError> {
    let known = browsers(&headers);
    app::oauth_login::redeem(&app, &context, &body.code, &known, body.tenant.as_deref()).await.map(signed_in)
}

/// To where the browser was to go on, with what came of it behind `#`: there it is in no request, log or `Referer`.
fn go_on(onward: Onward) -> Result<Response, AppError> {
    let fragment = match &onward.outcome {
        Ok(code) => Secret::new(format!("oauth_code={}", code.expose())),
        Err(error) => Secret::new(format!("error={}", error.public().1)),
    };
    sent_to(&format!("{}#{}", onward.return_to, fragment.expose()))
}

fn sent_to(url: &str) -> Result<Response, AppError> {
    let mut location = HeaderValue::from_str(url).map_err(|error| AppError::internal("an address is none", error))?;
    location.set_sensitive(true);
    let mut response = uncached(StatusCode::SEE_OTHER.into_response());
    response.headers_mut().insert(header::LOCATION, location);
    response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(response)
}

/// What a browser keeps, of either name.
fn browsers(headers: &HeaderMap) -> Vec<Secret<String>> {
    [POST_COOKIE, COOKIE].into_iter().filter_map(|name| cookie(headers, name)).collect()
}

/// A cookie that is there once, and is one of ours: 256 bits as base64url.
fn cookie(headers: &HeaderMap, name: &str) -> Option<Secret<String>> {
    let fields = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = fields.flat_map(|field| field.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut found = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value);
    let (Some(value), None) = (found.next(), found.next()) else { return None };
    let of_form =
        value.len() == 43 && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    of_form.then(|| Secret::new(value.to_owned()))
}

/// A provider's answer as a form. A field that occurs twice has two readings.
fn form(headers: &HeaderMap, body: &Bytes) -> Result<Answer, AppError> {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(AppError::OauthStateInvalid);
    }
    if body.len() > MAX_FORM {
        return Err(AppError::TooLarge);
    }
    let read = serde_urlencoded::from_bytes::<CallbackQuery>(body);
    read.map(Into::into).map_err(|_| AppError::OauthStateInvalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(header::COOKIE, HeaderValue::from_str(field).unwrap());
        }
        headers
    }

    #[test]
    fn l4_a_cookie_that_is_no_one_of_ours_or_is_there_twice_is_none() {
        let (good, name) = ("A".repeat(43), COOKIE);
        let pair = format!("a=1; {name}={good}; b=2");
        assert_eq!(cookie(&headers(&[&pair]), name).unwrap().expose(), &good);
        assert_eq!(cookie(&headers(&["a=1", &pair]), name).unwrap().expose(), &good);
        for fields in [
            vec![],
            vec![format!("{name}={}", "A".repeat(42))],
            vec![format!("{name}={}", "A".repeat(44))],
            vec![format!("{name}={}é", "A".repeat(41))],
            vec![format!("{name}=\"{}\"", "A".repeat(41))],
            vec![format!("{name}={good}; {name}={good}")],
            vec![format!("{name}={good}"), format!("{name}={}", "B".repeat(43))],
            vec![format!("{name}-post={good}")],
            vec![format!("x{name}={good}")],
        ] {
            let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
            let headers = fields.iter().filter_map(|field| HeaderValue::from_bytes(field.as_bytes()).ok());
            let mut map = HeaderMap::new();
            headers.for_each(|value| _ = map.append(header::COOKIE, value));
            assert!(cookie(&map, name).is_none(), "{fields:?}");
        }
    }

    #[test]
    fn a_form_with_a_field_twice_is_none() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let read = |text: &'static str| form(&headers, &Bytes::from_static(text.as_bytes()));
        assert_eq!(read("state=a&code=b&user=%7B%7D").unwrap().state.expose(), "a");
        assert!(read("state=a&state=b&code=c").is_err());
        assert!(read("state=a&code=b&code=c").is_err());
    }
}
