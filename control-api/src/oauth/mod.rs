//! Talking to identity providers: where they are, what a browser is sent to them with, and what they say of who comes back.
//!
//! ```text
//! discovery ─▶ authorization request (state, nonce, PKCE S256) ─▶ … ─▶ code ─▶ token endpoint ─▶ ID token ─▶ Said
//!                                                                                └─▶ GitHub: its API ──────▶ Said
//! ```
//!
//! What a provider answers is a stranger's text: bounded in time and size, read in one way, believed when it is signed by the
//! provider, for us, for this very sign-in. Its access token is dropped where it was used; no other is asked for.

mod apple;
mod github;
mod http;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use authn::{
    Jwks, TokenError,
    id_token::{self, Expected},
    jws::Jws,
};
use domain::{
    Secret, TenantId, Timestamp,
    model::{IdentityProvider, OauthProofs, ProviderKind},
    snapshot::Algorithm,
};
use moka::future::Cache;
use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

pub(crate) use self::apple::is_key as is_apples_key;
use self::http::Http;
use crate::{
    App,
    app::tokens::hash,
    config::OauthConfig,
    issuer_keys::fetch::{DISCOVERY, FetchError},
    outbound::{self, OutboundError},
};

/// How long a discovery document and a key set are kept.
const KEPT: Duration = Duration::from_secs(600);

/// Key sets and documents that are kept.
const MOST_KEPT: u64 = 1000;

/// A key set is asked for again because of an unknown key when it is this old.
const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// What providers sign ID tokens with.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];

/// What stands in the issuer of Microsoft's discovery document where a token has its directory.
const ANY_DIRECTORY: &str = "{tenantid}";

/// Microsoft's directory of people's own accounts.
const CONSUMERS: Uuid = uuid::uuid!("9188040d-6c67-4c5b-b112-36a304b66dad");

/// So many times as many answers as of one provider are waited for of all.
const PROVIDERS_AT_ONCE: usize = 8;

/// Of these, one tenant's or project's providers take a part of so many.
const OWNERS_AT_ONCE: usize = 4;

/// Longest address that is believed, in bytes.
const MAX_EMAIL: usize = 254;

/// Longest name that is taken over, in characters.
const MAX_NAME: usize = 128;

/// Why a provider was of no help. None of it is told to who signs in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProviderError {
    #[error("the provider cannot be asked")]
    Fetch(#[from] FetchError),
    #[error("the provider's address cannot be asked")]
    Outbound(#[from] OutboundError),
    #[error("the provider did not take the code")]
    Refused,
    #[error("the provider's answer has no `{0}`")]
    Missing(&'static str),
    #[error("the provider's discovery document cannot be used: {0}")]
    Discovery(&'static str),
    #[error("the ID token is not believed")]
    Token(#[from] TokenError),
    #[error("the provider answers for another issuer")]
    OtherIssuer,
    #[error("the account is none of those that are admitted")]
    NotAdmitted,
    #[error("the provider does not say that they signed in again")]
    NotAnew,
    #[error("the provider needs a secret")]
    NoSecret,
    #[error("the key cannot sign")]
    Key(#[from] authn::MintError),
    #[error("the key is no PKCS #8 in PEM")]
    Pem,
    #[error("the provider is asked too much at once")]
    Busy,
    #[error("what all who asked at once waited for did not come")]
    Shared(#[source] Arc<Self>),
}

impl ProviderError {
    /// Whether it may be otherwise in a moment.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Busy => true,
            Self::Fetch(error) => matches!(
                error,
                FetchError::Outbound(OutboundError::Resolve(_))
                    | FetchError::Transport(_)
                    | FetchError::TooSlow
                    | FetchError::Status(_)
            ),
            Self::Shared(error) => error.is_passing(),
            _ => false,
        }
    }
}

/// What a provider says of somebody.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    /// Who it is there, for ever.
    pub(crate) subject: String,
    /// An address that the provider says is theirs.
    pub(crate) email: Option<String>,
    /// The domain whose accounts the provider keeps for who has it, and this is one of them.
    pub(crate) hosted: Option<String>,
    /// When they signed in there, where it says.
    pub(crate) auth_time: Option<Timestamp>,
    /// First and last name.
    pub(crate) names: (String, String),
}

/// What a browser is sent to a provider with.
#[derive(Debug)]
pub(crate) struct Asking<'a> {
    pub(crate) redirect_uri: &'a str,
    pub(crate) state: &'a Secret<String>,
    pub(crate) proofs: &'a OauthProofs,
    /// Whether who has signed in there already is to do so again.
    pub(crate) anew: bool,
}

/// What it came back with.
#[derive(Debug)]
pub(crate) struct Answered<'a> {
    pub(crate) code: &'a Secret<String>,
    /// `iss` (RFC 9207).
    pub(crate) issuer: Option<&'a str>,
    pub(crate) redirect_uri: &'a str,
    pub(crate) proofs: &'a OauthProofs,
}

/// The providers, as this process knows them.
pub(crate) struct Providers {
    http: Http,
    documents: Cache<String, Arc<Metadata>>,
    keys: Cache<String, Arc<KeySet>>,
    under_way: Arc<Mutex<HashMap<Uuid, usize>>>,
}

impl std::fmt::Debug for Providers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Providers").finish_non_exhaustive()
    }
}

/// A discovery document (OpenID Connect Discovery 1.0 §3), as far as it is read.
#[derive(Clone, Debug, Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    code_challenge_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

struct KeySet {
    keys: Jwks,
    fetched_at: Timestamp,
}

/// One of the answers of a provider that are waited for.
struct UnderWay(Arc<Mutex<HashMap<Uuid, usize>>>, [Uuid; 3]);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for of in self.1 {
            let left = counts.get(&of).map_or(0, |count| count.saturating_sub(1));
            if left == 0 {
                counts.remove(&of);
            } else {
                counts.insert(of, left);
            }
        }
    }
}

impl Providers {
    /// As the configuration says.
    ///
    /// # Errors
    /// [`OutboundError::Authorities`].
    pub(crate) fn new(config: &OauthConfig) -> Result<Self, OutboundError> {
        let kept = || Cache::builder().max_capacity(MOST_KEPT).time_to_live(KEPT);
        Ok(Self {
            http: Http::new(config)?,
            documents: kept().build(),
            keys: Cache::builder().max_capacity(MOST_KEPT).time_to_live(KEPT).build(),
            under_way: Arc::default(),
        })
    }

    /// Where a browser is sent that signs in.
    pub(crate) async fn authorization_url(
        &self,
        app: &App,
        provider: &IdentityProvider,
        asking: &Asking<'_>,
    ) -> Result<Secret<String>, ProviderError> {
        let _turn = self.turn(app, provider)?;
        let (endpoint, scope) = if provider.kind == ProviderKind::Github {
            (github::authorization_endpoint(&app.config.oauth), "read:user user:email".to_owned())
        } else {
            let metadata = self.metadata(app, provider).await?;
            (metadata.authorization_endpoint.clone(), scope(provider))
        };
        let mut url = outbound::url(&endpoint, app.config.oauth.on_loopback)?;
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("response_type", "code");
            query.append_pair("client_id", &provider.client_id);
            query.append_pair("redirect_uri", asking.redirect_uri);
            query.append_pair("scope", &scope);
            query.append_pair("state", asking.state.expose());
            query.append_pair("code_challenge", &challenge(&asking.proofs.verifier));
            query.append_pair("code_challenge_method", "S256");
            if provider.kind != ProviderKind::Github {
                query.append_pair("nonce", asking.proofs.nonce.expose());
            }
            if asking.anew {
                query.append_pair("prompt", "login");
                query.append_pair("max_age", "0");
            }
            if provider.kind.posts_its_answer() {
                query.append_pair("response_mode", "form_post");
            }
            if let Some(domain) = &provider.options.hosted_domain {
                query.append_pair("hd", domain);
            }
        }
        Ok(Secret::new(url.into()))
    }

    /// Who came back with a code.
    pub(crate) async fn said_by_code(
        &self,
        app: &App,
        provider: &IdentityProvider,
        secret: Option<Secret<String>>,
        answered: &Answered<'_>,
    ) -> Result<Said, ProviderError> {
        let _turn = self.turn(app, provider)?;
        if provider.kind == ProviderKind::Github {
            return github::said(app, &self.http, provider, secret, answered).await;
        }
        let metadata = self.metadata(app, provider).await?;
        match answered.issuer {
            Some(issuer) if issuer != metadata.issuer => return Err(ProviderError::OtherIssuer),
            None if metadata.authorization_response_iss_parameter_supported => return Err(ProviderError::OtherIssuer),
            _ => {}
        }
        let secret = match provider.kind {
            ProviderKind::Apple => {
                let key = secret.ok_or(ProviderError::NoSecret)?;
                Some(apple::client_secret(provider, &key, &metadata.issuer, app.now())?)
            }
            _ => secret,
        };
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", answered.code.expose()),
            ("redirect_uri", answered.redirect_uri),
            ("code_verifier", answered.proofs.verifier.expose()),
        ];
        // What a provider does not say it takes is what the RFC gives (RFC 8414 §2).
        let basic = provider.kind != ProviderKind::Apple
            && metadata
                .token_endpoint_auth_methods_supported
                .as_ref()
                .is_none_or(|methods| methods.iter().any(|it| it == "client_secret_basic"));
        let mut login = None;
        match &secret {
            Some(secret) if basic => login = Some((provider.client_id.as_str(), secret)),
            Some(secret) => {
                form.extend([("client_id", provider.client_id.as_str()), ("client_secret", secret.expose())])
            }
            None => form.push(("client_id", &provider.client_id)),
        }
        let answer = self.http.post_form(app, &metadata.token_endpoint, &form, login).await?;
        let token = answer.get("id_token").and_then(Value::as_str).ok_or(ProviderError::Missing("id_token"))?;
        let clients = [provider.client_id.as_str()];
        self.said(app, provider, &metadata, token, (&clients, answered.proofs)).await
    }

    /// Who an ID token is of that a program on a device was given.
    pub(crate) async fn said_by_token(
        &self,
        app: &App,
        provider: &IdentityProvider,
        token: &Secret<String>,
        proofs: &OauthProofs,
    ) -> Result<Said, ProviderError> {
        let _turn = self.turn(app, provider)?;
        if provider.kind == ProviderKind::Github {
            return Err(ProviderError::Missing("id_token"));
        }
        let metadata = self.metadata(app, provider).await?;
        let clients: Vec<&str> = provider.options.native_client_ids.iter().map(String::as_str).collect();
        self.said(app, provider, &metadata, token.expose(), (&clients, proofs)).await
    }

    async fn said(
        &self,
        app: &App,
        provider: &IdentityProvider,
        metadata: &Metadata,
        token: &str,
        (clients, proofs): (&[&str], &OauthProofs),
    ) -> Result<Said, ProviderError> {
        let issuer = issuer_of(provider, metadata, token)?;
        let expected = Expected { issuer: &issuer, clients, nonce: proofs.nonce.expose(), algorithms: &ALGORITHMS };
        let keys = self.keys(app, &metadata.jwks_uri).await?;
        let verified = match id_token::verify(token, &keys.keys, &expected, app.now()) {
            // It may have been made since.
            Err(TokenError::KeyUnknown) if keys.fetched_at + AGAIN_AFTER <= app.now() => {
                self.keys.invalidate(&metadata.jwks_uri).await;
                let keys = self.keys(app, &metadata.jwks_uri).await?;
                id_token::verify(token, &keys.keys, &expected, app.now())?
            }
            verified => verified?,
        };
        admitted(provider, &verified.claims)?;
        Ok(Said {
            email: email(provider, &verified.claims),
            hosted: (provider.kind == ProviderKind::Google)
                .then(|| verified.claims.get("hd").and_then(Value::as_str).map(str::to_owned))
                .flatten(),
            auth_time: verified.auth_time,
            names: (name(&verified.claims, "given_name"), name(&verified.claims, "family_name")),
            subject: verified.subject.into(),
        })
    }

    async fn metadata(&self, app: &App, provider: &IdentityProvider) -> Result<Arc<Metadata>, ProviderError> {
        let issuer = issuer(app, provider).ok_or(ProviderError::Discovery("it has no issuer"))?;
        let read = async {
            let url = format!("{}{DISCOVERY}", issuer.trim_end_matches('/'));
            let document = self.http.read(app, &url, None).await?;
            let metadata: Metadata =
                serde_json::from_value(document).map_err(|_| ProviderError::Discovery("a member is missing"))?;
            Ok::<_, ProviderError>(Arc::new(metadata))
        };
        let metadata = self.documents.try_get_with(issuer.clone(), read).await.map_err(ProviderError::Shared)?;
        // Each time: what one provider may be, another of the same issuer may not.
        judge(app, provider, &issuer, &metadata)?;
        Ok(metadata)
    }

    async fn keys(&self, app: &App, url: &str) -> Result<Arc<KeySet>, ProviderError> {
        let read = async {
            let document = self.http.read(app, url, None).await?;
            let keys = Jwks::parse(&document).map_err(FetchError::from)?;
            Ok::<_, ProviderError>(Arc::new(KeySet { keys, fetched_at: app.now() }))
        };
        self.keys.try_get_with(url.to_owned(), read).await.map_err(ProviderError::Shared)
    }

    fn turn(&self, app: &App, provider: &IdentityProvider) -> Result<UnderWay, ProviderError> {
        let mut counts = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let each = app.config.oauth.at_once;
        let all = each.saturating_mul(PROVIDERS_AT_ONCE);
        let owner = provider.tenant_id.map_or(provider.project_id.uuid(), TenantId::uuid);
        let bounds = [(provider.id.uuid(), each), (owner, (all / OWNERS_AT_ONCE).max(each)), (Uuid::nil(), all)];
        if bounds.iter().any(|(of, most)| counts.get(of).is_some_and(|count| count >= most)) {
            return Err(ProviderError::Busy);
        }
        for (of, _) in bounds {
            *counts.entry(of).or_default() += 1;
        }
        drop(counts);
        Ok(UnderWay(Arc::clone(&self.under_way), bounds.map(|(of, _)| of)))
    }
}

/// The issuer whose discovery document is read; GitHub has none.
fn issuer(app: &App, provider: &IdentityProvider) -> Option<String> {
    let config = &app.config.oauth;
    match provider.kind {
        ProviderKind::Google => Some(config.google.clone()),
        ProviderKind::Apple => Some(config.apple.clone()),
        ProviderKind::Microsoft => {
            let directory = provider.options.directory.as_deref()?;
            Some(format!("{}/{directory}/v2.0", config.microsoft))
        }
        ProviderKind::Oidc => provider.options.issuer.clone(),
        ProviderKind::Github => None,
    }
}

/// Whether a discovery document is the provider's own, and of one that we can talk to.
fn judge(app: &App, provider: &IdentityProvider, issuer: &str, metadata: &Metadata) -> Result<(), ProviderError> {
    let any_directory = provider.kind == ProviderKind::Microsoft
        && matches!(provider.options.directory.as_deref(), Some("common" | "organizations" | "consumers"))
        && metadata.issuer == format!("{}/{ANY_DIRECTORY}/v2.0", app.config.oauth.microsoft);
    // The directory of people's own accounts is one.
    let consumers = provider.kind == ProviderKind::Microsoft
        && provider.options.directory.as_deref() == Some("consumers")
        && metadata.issuer.starts_with(&format!("{}/", app.config.oauth.microsoft));
    if metadata.issuer != issuer && !any_directory && !consumers {
        return Err(ProviderError::OtherIssuer);
    }
    if metadata.code_challenge_methods_supported.as_ref().is_some_and(|them| !them.iter().any(|it| it == "S256")) {
        return Err(ProviderError::Discovery("it does not take PKCE by S256"));
    }
    for url in [&metadata.authorization_endpoint, &metadata.token_endpoint, &metadata.jwks_uri] {
        outbound::url(url, app.config.oauth.on_loopback)?;
    }
    Ok(())
}

/// The `iss` that a token of this provider has: of Microsoft's many directories, the token's own.
fn issuer_of(provider: &IdentityProvider, metadata: &Metadata, token: &str) -> Result<String, ProviderError> {
    if provider.kind != ProviderKind::Microsoft || !metadata.issuer.contains(ANY_DIRECTORY) {
        return Ok(metadata.issuer.clone());
    }
    let jws = Jws::parse(token).map_err(TokenError::from)?;
    let directory = jws.claims.0.get("tid").and_then(Value::as_str).unwrap_or_default();
    let directory: Uuid = directory.parse().map_err(|_| ProviderError::OtherIssuer)?;
    if directory == CONSUMERS && provider.options.directory.as_deref() == Some("organizations") {
        return Err(ProviderError::NotAdmitted);
    }
    Ok(metadata.issuer.replace(ANY_DIRECTORY, &directory.to_string()))
}

/// Whether the account is of those that the provider was narrowed to.
fn admitted(provider: &IdentityProvider, claims: &Map<String, Value>) -> Result<(), ProviderError> {
    let says = |name: &str, wanted: &str| claims.get(name).and_then(Value::as_str) == Some(wanted);
    let domain = provider.options.hosted_domain.as_deref();
    if domain.is_some_and(|domain| !says("hd", domain)) {
        return Err(ProviderError::NotAdmitted);
    }
    Ok(())
}

/// The address of an ID token, where its provider says that it belongs to whom the token is of. Microsoft says so by a claim of
/// its own: what it has as `email` anybody may have typed.
fn email(provider: &IdentityProvider, claims: &Map<String, Value>) -> Option<String> {
    let verified = match provider.kind {
        ProviderKind::Microsoft => "xms_edov",
        _ => "email_verified",
    };
    let is_so = |value: &Value| match value {
        Value::Bool(is) => *is,
        // Apple's and Microsoft's.
        Value::String(text) => matches!(text.as_str(), "true" | "1"),
        Value::Number(number) => provider.kind == ProviderKind::Microsoft && number.as_u64() == Some(1),
        _ => false,
    };
    let believed = claims.get(verified).is_some_and(is_so);
    let email = claims.get("email").and_then(Value::as_str).filter(|_| believed)?;
    (email.len() <= MAX_EMAIL).then(|| email.to_owned())
}

/// A name, cut to what is kept; nothing where it holds what no name does.
fn name(claims: &Map<String, Value>, claim: &str) -> String {
    let text = claims.get(claim).and_then(Value::as_str).unwrap_or_default().trim();
    if text.chars().any(char::is_control) { String::new() } else { text.chars().take(MAX_NAME).collect() }
}

/// What is asked for.
fn scope(provider: &IdentityProvider) -> String {
    let own: &[&str] = match provider.kind {
        // Apple knows no `profile`.
        ProviderKind::Apple => &["openid", "email", "name"],
        _ => &["openid", "email", "profile"],
    };
    let more = provider.options.scopes.iter().map(String::as_str).filter(|it| !own.contains(it));
    own.iter().copied().chain(more).collect::<Vec<_>>().join(" ")
}

/// The challenge of a verifier (RFC 7636 §4.2).
fn challenge(verifier: &Secret<String>) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.encode(hash(verifier.expose()))
}

#[cfg(test)]
mod tests {
    use domain::model::{ProviderOptions, Version};
    use serde_json::json;

    use super::*;

    fn provider(kind: ProviderKind) -> IdentityProvider {
        IdentityProvider {
            id: domain::Id::new(uuid::Uuid::from_u128(1)),
            project_id: domain::Id::new(uuid::Uuid::from_u128(2)),
            tenant_id: None,
            key: "corp".parse().unwrap(),
            kind,
            name: "Corp".into(),
            display_order: 0,
            enabled: true,
            client_id: "us".into(),
            has_secret: false,
            options: ProviderOptions::default(),
            created_at: Timestamp::from_secs(0),
            updated_at: Timestamp::from_secs(0),
            version: Version(1),
        }
    }

    #[test]
    fn the_challenge_is_that_of_rfc_7636_appendix_b() {
        let verifier = Secret::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned());
        assert_eq!(challenge(&verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn an_address_is_believed_when_its_provider_says_whose_it_is() {
        let said = |kind, claims: Value| email(&provider(kind), claims.as_object().unwrap());
        let ada = Some("ada@acme.example".to_owned());
        let oidc = ProviderKind::Oidc;
        assert_eq!(said(oidc, json!({ "email": "ada@acme.example", "email_verified": true })), ada);
        assert_eq!(said(ProviderKind::Apple, json!({ "email": "ada@acme.example", "email_verified": "true" })), ada);
        assert_eq!(said(ProviderKind::Microsoft, json!({ "email": "ada@acme.example", "xms_edov": true })), ada);
        for claims in [
            json!({ "email": "ada@acme.example" }),
            json!({ "email": "ada@acme.example", "email_verified": false }),
            json!({ "email": "ada@acme.example", "email_verified": "yes" }),
            json!({ "email": "ada@acme.example", "email_verified": 1 }),
            json!({ "email": ["ada@acme.example"], "email_verified": true }),
            json!({ "email_verified": true }),
        ] {
            assert_eq!(said(oidc, claims.clone()), None, "{claims}");
        }
        let of_microsoft = json!({ "email": "ada@acme.example", "email_verified": true });
        assert_eq!(said(ProviderKind::Microsoft, of_microsoft), None, "anybody may have typed it");
    }

    #[test]
    fn names_are_cut_and_hold_no_control_characters() {
        let claims = json!({ "given_name": " Ada\u{0}", "family_name": "L".repeat(300), "x": 1 });
        let claims = claims.as_object().unwrap();
        assert_eq!((name(claims, "given_name"), name(claims, "x")), (String::new(), String::new()));
        assert_eq!(name(claims, "family_name").len(), MAX_NAME);
    }
}
