//! `/oauth/*`: tokens for machines, in the words of RFC 6749, 7009 and 7662. What is wrong is said as these say it, not as a
//! problem. What they have no word for, such as a suspended tenant, stays one.

use axum::{
    Json,
    extract::{FromRequest, FromRequestParts, Request, State},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use domain::Secret;
use http::{HeaderValue, StatusCode, header, request::Parts};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{answer::settling, schema::wire, sessions::uncached};
use crate::{
    App,
    app::token_endpoint::{self, ClientCredentials, Introspected, KnownClient},
    context::RequestContext,
    envelope::Settle,
    error::AppError,
};

/// Longest body, in bytes.
const MAX_FORM: usize = 16 * 1024;

/// A request for a token (RFC 6749 §4.4.2). The client shows itself by HTTP Basic, or in the form.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct TokenRequest {
    /// `client_credentials`.
    grant_type: String,
    /// None: what a client may is said by the roles of its user.
    scope: Option<String>,
    /// The client's id, where it shows itself in the form.
    #[expect(dead_code, reason = "read before as `InForm`, described here")]
    client_id: Option<String>,
    /// Its secret.
    #[expect(dead_code, reason = "read before as `InForm`, described here")]
    #[schemars(with = "Option<String>")]
    client_secret: Option<Secret<String>>,
}

/// A token that is asked about, or given up (RFC 7662 §2.1, RFC 7009 §2.1). The client shows itself by HTTP Basic, or in the
/// form.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct TokenInQuestion {
    /// The token.
    token: Secret<String>,
    /// What kind it is thought to be; it is not looked at.
    #[expect(dead_code, reason = "RFC 7009 §2.1 lets us, described here")]
    token_type_hint: Option<String>,
    /// The client's id, where it shows itself in the form.
    #[expect(dead_code, reason = "read before as `InForm`, described here")]
    client_id: Option<String>,
    /// Its secret.
    #[expect(dead_code, reason = "read before as `InForm`, described here")]
    #[schemars(with = "Option<String>")]
    client_secret: Option<Secret<String>>,
}

/// A token (RFC 6749 §5.1).
#[derive(Debug, Serialize, JsonSchema)]
pub struct ClientToken {
    /// For `Authorization: Bearer`.
    #[serde(serialize_with = "domain::secret::exposed")]
    access_token: Secret<String>,
    /// `Bearer`.
    token_type: &'static str,
    /// How long it lives, in seconds.
    expires_in: u64,
}

/// What a token is worth (RFC 7662 §2.2). Of one that is worth nothing, that alone.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Introspection {
    /// Whether it holds.
    active: bool,
    /// Who, when and for what.
    #[serde(flatten)]
    claims: Option<IntrospectedClaims>,
}

/// What an active token says.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "as in `authn::AccessClaims`")]
pub struct IntrospectedClaims {
    pub iss: String,
    pub aud: String,
    pub sub: String,
    /// Of the client's own tokens only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// Of the client's own tokens only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    pub tid: Option<String>,
    pub username: Option<String>,
    pub token_type: &'static str,
    pub iat: i64,
    pub exp: i64,
    pub acr: Option<String>,
    pub amr: Vec<String>,
    pub auth_time: i64,
}

/// Why a client is refused (RFC 6749 §5.2).
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct OauthRefusal {
    #[serde(skip)]
    status: StatusCode,
    /// Stable code.
    error: &'static str,
    /// In words.
    error_description: &'static str,
}

wire!(TokenRequest, TokenInQuestion, ClientToken, Introspection, OauthRefusal);

impl OauthRefusal {
    const CLIENT: Self = Self {
        status: StatusCode::UNAUTHORIZED,
        error: "invalid_client",
        error_description: "the client is not known",
    };
    const GRANT: Self = Self {
        status: StatusCode::BAD_REQUEST,
        error: "unsupported_grant_type",
        error_description: "`client_credentials` is the only one",
    };
    const SCOPE: Self = Self {
        status: StatusCode::BAD_REQUEST,
        error: "invalid_scope",
        error_description: "there are none: what a client may is said by the roles of its user",
    };
    const fn request(error_description: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error: "invalid_request", error_description }
    }
}

impl IntoResponse for OauthRefusal {
    fn into_response(self) -> Response {
        let mut response = uncached((self.status, Json(self)).into_response());
        if self.status == StatusCode::UNAUTHORIZED {
            let basic = HeaderValue::from_static(r#"Basic realm="oauth""#);
            response.headers_mut().insert(header::WWW_AUTHENTICATE, basic);
        }
        response
    }
}

/// A failure that OAuth has no word for stays a problem.
fn refusal(error: AppError) -> Response {
    match error {
        AppError::CredentialsInvalid | AppError::PrincipalInactive => OauthRefusal::CLIENT.into_response(),
        other => other.into_response(),
    }
}

/// A form, and the client that sends it: by HTTP Basic (RFC 6749 §2.3.1) or in the form, never both.
#[derive(Debug)]
pub struct FromClient<T> {
    known: KnownClient,
    body: T,
}

#[derive(Deserialize)]
struct InForm {
    client_id: Option<String>,
    client_secret: Option<Secret<String>>,
}

impl<T: DeserializeOwned> FromRequest<App> for FromClient<T> {
    type Rejection = Response;
    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let context = RequestContext::from_request_parts(&mut parts, app).await.map_err(IntoResponse::into_response)?;
        let media = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let essence = media.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(OauthRefusal::request("a form is needed: application/x-www-form-urlencoded").into_response());
        }
        let wrong = || OauthRefusal::request("the form cannot be read").into_response();
        let bytes = axum::body::to_bytes(body, MAX_FORM).await.map_err(|_| wrong())?;
        let in_form: InForm = serde_urlencoded::from_bytes(&bytes).map_err(|_| wrong())?;
        let known = match credentials(&parts, in_form).map_err(IntoResponse::into_response)? {
            Some(shown) => token_endpoint::known_client(app, &context, &shown).await,
            None => Err(token_endpoint::refused(app, &context).await),
        };
        let known = known.map_err(refusal)?;
        let body = serde_urlencoded::from_bytes(&bytes).map_err(|_| {
            OauthRefusal::request("a parameter is missing, repeated or not of its form").into_response()
        })?;
        Ok(Self { known, body })
    }
}

/// What a client shows; none for what can be no client's.
fn credentials(parts: &Parts, in_form: InForm) -> Result<Option<ClientCredentials>, OauthRefusal> {
    let mut fields = parts.headers.get_all(header::AUTHORIZATION).iter();
    let shown = match (fields.next(), fields.next(), in_form.client_id, in_form.client_secret) {
        (Some(field), None, None, None) => basic(field),
        (None, _, Some(id), Some(secret)) => Some((id, secret)),
        (None, _, _, _) => None,
        (Some(_), _, _, _) => return Err(OauthRefusal::request("the client shows itself in more than one way")),
    };
    Ok(shown.and_then(|(id, secret)| Some(ClientCredentials { id: id.parse().ok()?, secret })))
}

fn basic(field: &HeaderValue) -> Option<(String, Secret<String>)> {
    let (scheme, encoded) = field.to_str().ok()?.split_once(' ')?;
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':').filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    Some((id.to_owned(), Secret::new(secret.to_owned())))
}

/// Gives a machine client a token.
#[utoipa::path(post, path = "/oauth/token", tag = "oauth",
    request_body(content = TokenRequest, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = ClientToken), (status = 400, body = OauthRefusal),
        (status = 401, body = OauthRefusal)))]
pub async fn issue_client_token(
    context: RequestContext,
    State(app): State<App>,
    from: FromClient<TokenRequest>,
) -> Result<Response, Response> {
    if from.body.grant_type != "client_credentials" {
        return Err(OauthRefusal::GRANT.into_response());
    }
    if from.body.scope.is_some_and(|scope| !scope.is_empty()) {
        return Err(OauthRefusal::SCOPE.into_response());
    }
    let pair = token_endpoint::client_token(&app, &context, &from.known).await.map_err(refusal)?;
    let expires_in = pair.expires_in.as_secs();
    let token = ClientToken { access_token: pair.access_token, token_type: "Bearer", expires_in };
    Ok(uncached(Json(token).into_response()))
}

/// Says what a token of the client's tenant is worth now.
#[utoipa::path(post, path = "/oauth/introspect", tag = "oauth",
    request_body(content = TokenInQuestion, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = Introspection), (status = 400, body = OauthRefusal),
        (status = 401, body = OauthRefusal)))]
pub async fn introspect_token(State(app): State<App>, from: FromClient<TokenInQuestion>) -> Result<Response, Response> {
    let found =
        token_endpoint::introspect(&app, &from.known, &from.body.token).await.map_err(IntoResponse::into_response)?;
    let claims = found.map(|Introspected { claims, own }| IntrospectedClaims {
        iss: claims.iss,
        aud: claims.aud,
        sub: claims.sub.to_string(),
        jti: own.then(|| claims.jti.to_string()),
        sid: own.then(|| claims.sid.to_string()),
        tid: claims.tid.map(|tid| tid.to_string()),
        username: claims.username,
        token_type: "Bearer",
        iat: claims.iat,
        exp: claims.exp,
        acr: claims.acr,
        amr: claims.amr,
        auth_time: claims.auth_time,
    });
    Ok(uncached(Json(Introspection { active: claims.is_some(), claims }).into_response()))
}

/// Refuses one of the client's own tokens: no gateway accepts it any more. Of any other text nothing is said.
#[utoipa::path(post, path = "/oauth/revoke", tag = "oauth",
    request_body(content = TokenInQuestion, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200), (status = 400, body = OauthRefusal), (status = 401, body = OauthRefusal)))]
pub async fn revoke_client_token(
    context: RequestContext,
    State(app): State<App>,
    from: FromClient<TokenInQuestion>,
) -> Result<Response, Response> {
    let revoked = token_endpoint::revoke_token(&app, &context, &from.known, &from.body.token).await;
    let revoked = revoked.map_err(IntoResponse::into_response)?;
    let response = uncached(StatusCode::OK.into_response());
    Ok(if revoked { settling(response, Settle { commit: None, revokes: true }) } else { response })
}
