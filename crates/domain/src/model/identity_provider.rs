//! Who else vouches for people: identity providers, whom of ours they know, and sign-ins that are under way with them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Version;
use crate::{FederatedIdentityId, IdentityProviderId, ProjectId, Secret, TenantId, Timestamp, UserId};

/// Providers of a tenant, or of a project, at most.
pub const MAX_PROVIDERS: u64 = 20;

/// Identities of a user, at most.
pub const MAX_IDENTITIES: u64 = 10;

/// Longest subject, in bytes (OpenID Connect Core §2 has 255).
pub const MAX_SUBJECT: usize = 255;

/// The name of a provider in paths: `^[A-Za-z0-9_-]{2,50}$`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^[A-Za-z0-9_-]{2,50}$"))]
pub struct ProviderKey(Box<str>);

impl ProviderKey {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is not a [`ProviderKey`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a provider's key is 2 to 50 letters, digits, `_` and `-`")]
pub struct ProviderKeyError;

impl FromStr for ProviderKey {
    type Err = ProviderKeyError;
    fn from_str(text: &str) -> Result<Self, ProviderKeyError> {
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if plain && (2..=50).contains(&text.len()) { Ok(Self(text.into())) } else { Err(ProviderKeyError) }
    }
}
impl TryFrom<String> for ProviderKey {
    type Error = ProviderKeyError;
    fn try_from(text: String) -> Result<Self, ProviderKeyError> {
        text.parse()
    }
}
impl From<ProviderKey> for String {
    fn from(it: ProviderKey) -> Self {
        it.0.into()
    }
}
impl fmt::Display for ProviderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a provider speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProviderKind {
    /// OpenID Connect, by Google.
    Google,
    /// OpenID Connect, by Microsoft: of one directory, or of many.
    Microsoft,
    /// OAuth 2 and GitHub's own API.
    Github,
    /// OpenID Connect as Apple means it: answers by `form_post`, and a client secret that is signed for each request.
    Apple,
    /// OpenID Connect of anybody.
    Oidc,
}

impl ProviderKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Google, Self::Microsoft, Self::Github, Self::Apple, Self::Oidc];

    /// Its name, as on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Google => "google",
            Self::Microsoft => "microsoft",
            Self::Github => "github",
            Self::Apple => "apple",
            Self::Oidc => "oidc",
        }
    }

    /// Whether it answers by a form that the browser posts.
    pub const fn posts_its_answer(self) -> bool {
        matches!(self, Self::Apple)
    }

    /// Whether it can say when somebody signed in there (`auth_time`).
    pub const fn says_when(self) -> bool {
        match self {
            Self::Google | Self::Microsoft | Self::Oidc => true,
            Self::Github | Self::Apple => false,
        }
    }
}

/// What a provider needs to be told or held to, beside its client.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProviderOptions {
    /// `oidc`: the issuer, byte for byte as its tokens say it; its discovery document stands below. For good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// `google`: people of this Workspace domain only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosted_domain: Option<String>,
    /// `microsoft`: the directory (tenant id), or `common`, `organizations`, `consumers`. For good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// `apple`: the team that the key belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team_id: Option<String>,
    /// `apple`: the id of the key, which is the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// What is asked for beside what a sign-in needs; at most 10.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Clients of programs on people's devices, whose ID tokens are taken as they are; at most 10.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub native_client_ids: Vec<String>,
}

/// An identity provider of a tenant, or of all tenants of a project. Its secret is not part of this.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IdentityProvider {
    /// Its id.
    pub id: IdentityProviderId,
    /// Its project.
    pub project_id: ProjectId,
    /// Whose it is; none for the project's. A sign-in through a tenant's is good for that tenant only.
    pub tenant_id: Option<TenantId>,
    /// Its name in paths.
    pub key: ProviderKey,
    /// What it speaks.
    pub kind: ProviderKind,
    /// What people are shown.
    pub name: String,
    /// Its place among others that are shown.
    pub display_order: u32,
    /// Whether people sign in through it.
    pub enabled: bool,
    /// Who we are there.
    pub client_id: String,
    /// Whether it has a secret.
    pub has_secret: bool,
    /// The rest.
    pub options: ProviderOptions,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Counts its changes.
    pub version: Version,
}

/// An identity provider to be made.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in `IdentityProvider`")]
pub struct NewIdentityProvider {
    pub id: IdentityProviderId,
    pub project_id: ProjectId,
    pub tenant_id: Option<TenantId>,
    pub key: ProviderKey,
    pub kind: ProviderKind,
    pub name: String,
    pub display_order: u32,
    pub enabled: bool,
    pub client_id: String,
    /// The client's secret, or Apple's key.
    pub secret: Option<Secret<String>>,
    pub options: ProviderOptions,
}

/// That a provider's subject is a user of ours.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FederatedIdentity {
    /// Its id.
    pub id: FederatedIdentityId,
    /// Its project.
    pub project_id: ProjectId,
    /// Whose provider it is; none for the project's.
    pub tenant_id: Option<TenantId>,
    /// The provider.
    pub provider_id: IdentityProviderId,
    /// Who it is there.
    pub subject: String,
    /// Who it is here.
    pub user_id: UserId,
    /// The address that the provider gave when this was made.
    pub email_at_link: Option<String>,
    /// When it was made.
    pub linked_at: Timestamp,
    /// When somebody last signed in by it.
    pub last_used_at: Option<Timestamp>,
}

/// What is wanted of a provider.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OauthPurpose {
    /// That the browser comes back to us, and is sent on with a code.
    Redirect,
    /// That it comes back to a page of somebody else, which shows us what it was given.
    Headless,
    /// That a program on the device shows us an ID token.
    Native,
    /// As [`Headless`](Self::Headless), to become an identity of somebody who is signed in.
    Link,
    /// As [`Native`](Self::Native), for the same.
    LinkNative,
}

/// What is kept of a sign-in that is under way with a provider. It is used by deleting it.
#[derive(Clone, Debug)]
pub struct OauthState {
    /// SHA-256 of the `state`.
    pub hash: [u8; 32],
    /// SHA-256 of what the browser has in its cookie, or the client in its `state_token`.
    pub browser: [u8; 32],
    /// In which project.
    pub project_id: ProjectId,
    /// For which tenant, where the hostname said it.
    pub tenant_id: Option<TenantId>,
    /// With which provider.
    pub provider_id: IdentityProviderId,
    /// What for.
    pub purpose: OauthPurpose,
    /// Whose account is to have the identity.
    pub user_id: Option<UserId>,
    /// Where the provider sends the browser.
    pub redirect_uri: String,
    /// Where the browser goes on to.
    pub return_to: Option<String>,
    /// The verifier of PKCE, and the nonce.
    pub proofs: OauthProofs,
    /// Whether who has signed in there already was to do so again: then the provider has to say when they did.
    pub anew: bool,
    /// When it was begun.
    pub begun_at: Timestamp,
    /// From then on it is worth nothing.
    pub expires_at: Timestamp,
}

/// What shows that an answer is to what was asked.
#[derive(Clone, Debug)]
pub struct OauthProofs {
    /// RFC 7636 §4.1.
    pub verifier: Secret<String>,
    /// OpenID Connect Core §3.1.2.1.
    pub nonce: Secret<String>,
}

/// That somebody was known by a provider, for the browser that asked; exchanged for a session, once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OauthCode {
    /// SHA-256 of the code.
    pub hash: [u8; 32],
    /// SHA-256 of what the browser has in its cookie.
    pub browser: [u8; 32],
    /// In which project.
    pub project_id: ProjectId,
    /// For which tenant, where the hostname said it.
    pub tenant_id: Option<TenantId>,
    /// By which identity.
    pub identity_id: FederatedIdentityId,
    /// Who.
    pub user_id: UserId,
    /// When they signed in at the provider.
    pub auth_time: Timestamp,
    /// When the sign-in was begun.
    pub begun_at: Timestamp,
    /// From then on it is worth nothing.
    pub expires_at: Timestamp,
}

#[test]
fn a_key_is_what_a_path_takes_as_it_is() {
    for text in ["google", "Corp_SSO-2", &"a".repeat(50)] {
        assert_eq!(text.parse::<ProviderKey>().unwrap().as_str(), text);
    }
    for text in ["", "a", "a b", "a/b", "..", "a.b", "ä-", "a%2f", &"a".repeat(51)] {
        assert_eq!(text.parse::<ProviderKey>(), Err(ProviderKeyError), "{text}");
    }
}
