//! What the control API is told at the start.

use std::{
    collections::BTreeSet,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use domain::{HostName, HumanDuration, TenantId};
use link::{
    file::{Checks, Document, Mistakes, Overrides, SecretRef},
    redis::same_instance,
    telemetry::TelemetryConfig,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod events;
mod factors;
mod identity;
mod identity_verifications;
mod keys;
mod mail;
mod names;
mod oauth;
mod sms;
mod tenants;

pub use tenants::TenantsConfig;

pub use events::{AuditConfig, WebhooksConfig};
pub use factors::{PasskeysConfig, SecondFactorConfig};
pub use identity::{IdentityConfig, PasswordsConfig, RatesConfig};
pub use identity_verifications::IdentityVerificationsConfig;
pub use keys::{IssuersConfig, KEY_SET_LIFE, KmsAwsConfig, SigningConfig};
pub use mail::{MailConfig, MailServer, MailTls};
pub use names::{DnsConfig, EmailDomainsConfig, HostnamesConfig, ProofsConfig};
pub(crate) use names::{is_within, rules};
pub use oauth::{GithubConfig, OauthConfig};
pub use sms::{SmsConfig, SmsWebhook};

/// Names other programs rely on, beside `PORTCULLIS_SECTION__KEY`.
pub const ALIASES: [(&str, &str); 3] =
    [("DATABASE_URL", "/database/url"), ("REDIS_URL", "/redis/revocation"), ("SMTP_URL", "/mail/url")];

/// The configuration file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What kind of installation this is. `prod` refuses plain-HTTP upstreams, demo data and migrations down.
    pub environment: Environment,
    /// What this process does; default everything. A listener of a role that is not taken is not opened.
    pub roles: BTreeSet<ProcessRole>,
    /// The database.
    pub database: DatabaseConfig,
    /// Redis.
    pub redis: RedisConfig,
    /// Where to listen.
    pub listeners: ListenersConfig,
    /// What services may ask on the `internal` listener.
    pub internal: InternalConfig,
    /// Sign-in, sessions and tokens.
    pub sessions: SessionsConfig,
    /// Second factors of sign-ins.
    pub second_factor: SecondFactorConfig,
    /// Passkeys (WebAuthn).
    pub passkeys: PasskeysConfig,
    /// Keys that sign tokens and assertions.
    pub signing: SigningConfig,
    /// Keys of external issuers.
    pub issuers: IssuersConfig,
    /// The log of restrictions.
    pub log: LogConfig,
    /// Tenants, and what becomes of them by themselves.
    pub tenants: TenantsConfig,
    /// How gateways are enrolled.
    pub enrolment: EnrolmentConfig,
    /// What is kept of gateways' decisions.
    pub decisions: DecisionsConfig,
    /// How DNS is asked.
    pub dns: DnsConfig,
    /// How long proofs by DNS last, of hostnames and of email domains.
    pub proofs: ProofsConfig,
    /// Rules for hostnames.
    pub hostnames: HostnamesConfig,
    /// Rules for domains of email addresses.
    pub email_domains: EmailDomainsConfig,
    /// How long the audit trail is kept.
    pub audit: AuditConfig,
    /// How tenants are told what happens.
    pub webhooks: WebhooksConfig,
    /// What becomes of organisational units that were deleted.
    pub org_units: OrgUnitsConfig,
    /// What is kept of requests that are about organisational units.
    pub access_log: AccessLogConfig,
    /// Invitations to join a tenant.
    pub invitations: InvitationsConfig,
    /// Mail.
    pub mail: MailConfig,
    /// Passwords.
    pub passwords: PasswordsConfig,
    /// What is sent to people, and what they may ask for.
    pub identity: IdentityConfig,
    /// Sign-ins through identity providers.
    pub oauth: OauthConfig,
    /// Texts to phones.
    pub sms: SmsConfig,
    /// Verifications of people's identities.
    pub identity_verifications: IdentityVerificationsConfig,
    /// Rules for upstreams.
    pub upstreams: UpstreamsConfig,
    /// What is ensured at every start.
    pub bootstrap: BootstrapConfig,
    /// Logs and traces.
    pub telemetry: TelemetryConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            environment: Environment::Dev,
            roles: ProcessRole::ALL.into(),
            database: DatabaseConfig::default(),
            redis: RedisConfig::default(),
            listeners: ListenersConfig::default(),
            internal: InternalConfig::default(),
            sessions: SessionsConfig::default(),
            second_factor: SecondFactorConfig::default(),
            passkeys: PasskeysConfig::default(),
            signing: SigningConfig::default(),
            issuers: IssuersConfig::default(),
            log: LogConfig::default(),
            tenants: TenantsConfig::default(),
            enrolment: EnrolmentConfig::default(),
            decisions: DecisionsConfig::default(),
            dns: DnsConfig::default(),
            proofs: ProofsConfig::default(),
            hostnames: HostnamesConfig::default(),
            email_domains: EmailDomainsConfig::default(),
            audit: AuditConfig::default(),
            webhooks: WebhooksConfig::default(),
            org_units: OrgUnitsConfig::default(),
            access_log: AccessLogConfig::default(),
            invitations: InvitationsConfig::default(),
            mail: MailConfig::default(),
            passwords: PasswordsConfig::default(),
            identity: IdentityConfig::default(),
            oauth: OauthConfig::default(),
            sms: SmsConfig::default(),
            identity_verifications: IdentityVerificationsConfig::default(),
            upstreams: UpstreamsConfig::default(),
            bootstrap: BootstrapConfig::default(),
            telemetry: TelemetryConfig::default(),
        }
    }
}

/// What a process of the control API does.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProcessRole {
    /// Signing in, and what users and tenants do: listener `public`.
    Identity,
    /// What the platform's staff does: listener `admin`.
    Admin,
    /// What gateways are told: listener `internal`.
    Feed,
}

impl ProcessRole {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Identity, Self::Admin, Self::Feed];
}

/// What kind of installation this is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    /// A developer's machine: plain-HTTP upstreams on any address, migrations down.
    #[default]
    Dev,
    /// As `prod`, for trying out.
    Stage,
    /// In service.
    Prod,
}

/// The database.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseConfig {
    /// `postgres://…` or `sqlite:PATH`.
    pub url: String,
    /// Bring the schema up to date at the start. Default false; otherwise run `migrate up`.
    pub migrate: bool,
    /// PEM of the authorities trusted for PostgreSQL's certificate; needed with `sslmode=require`.
    pub ca: Option<PathBuf>,
    /// Connections at once for users, tenants and staff, 1 to 1000. Default 25.
    #[schemars(range(min = 1, max = 1000))]
    pub connections: usize,
    /// Connections at once for what gateways are told, beside the others and never used for anything else, 2 to 1000.
    /// Default 8.
    #[schemars(range(min = 2, max = 1000))]
    pub feed_connections: usize,
    /// The key secrets are sealed with: 32 bytes as 64 hex digits, by reference.
    pub master_key: Option<SecretRef>,
    /// Keys that older rows may still be sealed with.
    pub older_master_keys: Vec<SecretRef>,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            migrate: false,
            ca: None,
            connections: 25,
            feed_connections: 8,
            master_key: None,
            older_master_keys: Vec::new(),
        }
    }
}

/// Redis.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RedisConfig {
    /// Carries revocations (noeviction). None: gateways fetch every fact themselves.
    pub revocation: Option<String>,
    /// What keys begin with by which other services refuse tokens; the rest of such a key's name is the token's `jti`.
    /// They are taken over into the log within two seconds. Empty: none are. Default `bl:jti:`, as S3's services write.
    pub foreign_prefix: String,
    /// Where control APIs count together what `identity.rates` bounds; may evict, and is another instance than `revocation` outside `dev`.
    /// None: each counts for itself.
    pub cache: Option<String>,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self { revocation: None, foreign_prefix: "bl:jti:".into(), cache: None }
    }
}

/// Where to listen. Port 0 picks one.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ListenersConfig {
    /// Public, user and tenant operations, through the edge only. Default `127.0.0.1:9081`.
    pub public: ListenAddress,
    /// Those and platform operations, on loopback only. Default `127.0.0.1:9080`.
    pub admin: ListenAddress,
    /// Feed and lease for gateways, mTLS; auth RPC and internal REST for services. Default `127.0.0.1:9090`.
    pub internal: ListenAddress,
    /// `/metrics`. Default none.
    pub metrics: Option<ListenAddress>,
    /// Mutual TLS of `public`, for gateways on other machines. None: `public` is plain HTTP, on this machine only.
    pub public_tls: Option<PublicTls>,
    /// Certificate, key and clients' authority of `internal`. None: no gateway is served there, only services with a
    /// key, in the clear and on this machine.
    pub internal_tls: Option<InternalTls>,
    /// Serve gateways on `internal` without TLS: every process of this machine is given all there is, the keys of
    /// certificates too. Allowed in `dev` on loopback only. Default false.
    pub internal_plaintext: bool,
    /// Longest time for one request. Default 30 s.
    pub request_timeout: HumanDuration,
}

impl Default for ListenersConfig {
    fn default() -> Self {
        let loopback = |port| ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], port)));
        Self {
            public: loopback(9081),
            admin: loopback(9080),
            internal: loopback(9090),
            metrics: None,
            public_tls: None,
            internal_tls: None,
            internal_plaintext: false,
            request_timeout: HumanDuration::from_secs(30),
        }
    }
}

/// Mutual TLS of the `public` listener: gateways show the certificate they were enrolled with. Files are PEM.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PublicTls {
    /// Under which name gateways reach this listener; the certificate holds it. With several control APIs, a name that
    /// resolves to all of them.
    pub name: HostName,
    /// At which port. Default that of `public`.
    pub port: Option<u16>,
    /// Certificate chain, leaf first; gateways trust it by `feed.control_api.ca`.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authority gateways' certificates are signed by.
    pub ca: PathBuf,
}

/// TLS of the `internal` listener. Files are PEM.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InternalTls {
    /// Certificate chain, leaf first.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authority gateways' certificates are signed by.
    pub ca: PathBuf,
    /// Its key, which signs gateways' certificates.
    pub ca_key: PathBuf,
}

/// What services may ask on the `internal` listener.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InternalConfig {
    /// Keys of services that ask about tokens and rights. Default none: only gateways' certificates are good there.
    pub service_keys: Vec<ServiceKey>,
}

/// A key of a service. While one is exchanged, list the new one beside the old.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceKey {
    /// The service, as the audit trail and the log name it: 1 to 63 of `a-z`, `0-9`, `-`, `.` and `_`. Unique.
    pub name: String,
    /// Its key, by reference: 32 bytes or more, of random. Sent as `Authorization: Bearer KEY`.
    pub key: SecretRef,
    /// What it may ask; at least one.
    pub methods: Vec<ServiceMethod>,
    /// Tenants whose audit trail it may append to, with `append_audit`. Default none.
    #[serde(default)]
    pub tenants: Vec<TenantId>,
}

/// What a service may ask.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServiceMethod {
    /// Whether a token holds.
    VerifyToken,
    /// What a user may do.
    GetUserPermissions,
    /// Whether a user holds a permission; one or several.
    CheckPermission,
    /// A new pair for a refresh token.
    RefreshToken,
    /// The end of a token and its session.
    InvalidateToken,
    /// What a token says about a tenant.
    TenantClaims,
    /// Whether an API key is accepted.
    VerifyApiKey,
    /// What came of a customer's identity check.
    SetKyc,
    /// Whether a customer pays.
    SetPayment,
    /// That an event is appended to the audit trail.
    AppendAudit,
    /// Which of a tenant's users have these emails.
    LookupUsers,
}

impl ServiceMethod {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::VerifyToken,
        Self::GetUserPermissions,
        Self::CheckPermission,
        Self::RefreshToken,
        Self::InvalidateToken,
        Self::TenantClaims,
        Self::VerifyApiKey,
        Self::SetKyc,
        Self::SetPayment,
        Self::AppendAudit,
        Self::LookupUsers,
    ];

    /// What a gateway's certificate is good for: what concerns requests, and nothing of customers and people.
    pub const OF_GATEWAYS: [Self; 7] = [
        Self::VerifyToken,
        Self::GetUserPermissions,
        Self::CheckPermission,
        Self::RefreshToken,
        Self::InvalidateToken,
        Self::TenantClaims,
        Self::VerifyApiKey,
    ];
}

/// `IP:PORT` or `unix:PATH`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = r"^(unix:.+|([0-9.]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5})$"))]
pub enum ListenAddress {
    /// An address and port.
    Tcp(SocketAddr),
    /// A Unix domain socket.
    Unix(PathBuf),
}

impl FromStr for ListenAddress {
    type Err = ListenAddressError;
    fn from_str(text: &str) -> Result<Self, ListenAddressError> {
        match text.strip_prefix("unix:") {
            Some(path) if !path.is_empty() => Ok(Self::Unix(path.into())),
            Some(_) => Err(ListenAddressError { text: text.into() }),
            None => text.parse().map(Self::Tcp).map_err(|_| ListenAddressError { text: text.into() }),
        }
    }
}

/// Why a text is no [`ListenAddress`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is not an address such as `127.0.0.1:9080` or `unix:/run/portcullis.sock`")]
pub struct ListenAddressError {
    text: String,
}

impl TryFrom<String> for ListenAddress {
    type Error = ListenAddressError;
    fn try_from(text: String) -> Result<Self, ListenAddressError> {
        text.parse()
    }
}
impl From<ListenAddress> for String {
    fn from(address: ListenAddress) -> Self {
        address.to_string()
    }
}
impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Sign-in, sessions and tokens.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SessionsConfig {
    /// Life of an access token, 1 s to 15 m. Default 15 m; what it is bounds what an unheard revocation costs.
    pub access_token: HumanDuration,
    /// Life of a refresh token, from that of an access token to that of a session. Default 7 d.
    pub refresh_token: HumanDuration,
    /// A session ends after this long, however often it is refreshed and switched, at most 365 d. Default 30 d.
    pub session: HumanDuration,
    /// A refresh token used a second time within this is a lost race, not a theft; 0 s to 60 s. Default 10 s.
    pub refresh_grace: HumanDuration,
    /// Failed sign-ins in a row that lock a name, at least 1. Default 5.
    pub lock_after: u32,
    /// For how long, 1 s to 1 d. Default 15 m.
    pub lock_for: HumanDuration,
    /// A one-time password can be replaced for this long after it was made, 1 m to 90 d. Default 7 d.
    pub one_time_password: HumanDuration,
    /// Passwords hashed at once; more wait. Default: one for each two processors, at least one.
    pub password_hashers: Option<usize>,
}

impl Default for SessionsConfig {
    fn default() -> Self {
        Self {
            access_token: HumanDuration::from_secs(900),
            refresh_token: HumanDuration::from_secs(7 * 86_400),
            session: HumanDuration::from_secs(30 * 86_400),
            refresh_grace: HumanDuration::from_secs(10),
            lock_after: 5,
            lock_for: HumanDuration::from_secs(900),
            one_time_password: HumanDuration::from_secs(7 * 86_400),
            password_hashers: None,
        }
    }
}

impl SessionsConfig {
    fn check(&self, checks: &mut Checks<'_>) {
        let (access, refresh, session) = (self.access_token.get(), self.refresh_token.get(), self.session.get());
        let secs = Duration::from_secs;
        if !(secs(1)..=secs(900)).contains(&access) {
            checks.refuse("/sessions/access_token", "is not between 1s and 15m");
        }
        if !(access..=session).contains(&refresh) {
            checks.refuse("/sessions/refresh_token", "is not between the lives of an access token and of a session");
        }
        if session > secs(365 * 86_400) {
            checks.refuse("/sessions/session", "is longer than 365d");
        }
        if self.refresh_grace.get() > secs(60) {
            checks.refuse("/sessions/refresh_grace", "is longer than 60s: a stolen token would go unnoticed");
        }
        if self.lock_after == 0 {
            checks.refuse("/sessions/lock_after", "is 0: every name would be locked");
        }
        if !(secs(1)..=secs(86_400)).contains(&self.lock_for.get()) {
            checks.refuse("/sessions/lock_for", "is not between 1s and 1d");
        }
        if !(secs(60)..=secs(90 * 86_400)).contains(&self.one_time_password.get()) {
            checks.refuse("/sessions/one_time_password", "is not between 1m and 90d");
        }
    }
}

/// The log of restrictions.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// A tick runs at least this often. Default 500 ms.
    pub tick: HumanDuration,
    /// How long a revoking call waits for the gateways before it answers 202. Default 100 ms.
    pub revoke_wait: HumanDuration,
    /// How long `?wait=applied` waits. Default 5 s.
    pub applied_wait: HumanDuration,
    /// What has expired is removed this often. Default 1 m.
    pub prune: HumanDuration,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            tick: HumanDuration::from_millis(500),
            revoke_wait: HumanDuration::from_millis(100),
            applied_wait: HumanDuration::from_secs(5),
            prune: HumanDuration::from_secs(60),
        }
    }
}

/// How gateways are enrolled.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EnrolmentConfig {
    /// A join token is good for this long, 1 m to 24 h. Default 1 h.
    pub join_token: HumanDuration,
    /// A gateway's certificate is good for this long, 1 h to 7 d; it is renewed at half of that. Default 24 h.
    pub certificate: HumanDuration,
}

impl Default for EnrolmentConfig {
    fn default() -> Self {
        Self { join_token: HumanDuration::from_secs(3600), certificate: HumanDuration::from_secs(86_400) }
    }
}

/// What is kept of gateways' decisions, so that they can be explained.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DecisionsConfig {
    /// For how long, 1 m to 30 d. Default 24 h.
    pub age: HumanDuration,
    /// How many of each tenant, the newest, 0 to 1,000,000; as many of what belongs to no tenant. Default 10,000.
    #[schemars(range(max = 1_000_000))]
    pub each: u32,
    /// What is too old and too many is removed this often, 1 s to 1 h. Default 1 m.
    pub sweep: HumanDuration,
}

impl Default for DecisionsConfig {
    fn default() -> Self {
        Self { age: HumanDuration::from_secs(86_400), each: 10_000, sweep: HumanDuration::from_secs(60) }
    }
}

/// What becomes of organisational units that were deleted.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OrgUnitsConfig {
    /// A deleted unit can be restored for this long, 1 m to 365 d. Default 30 d.
    pub hold: HumanDuration,
    /// What is due is removed for good this often, 1 s to 1 d. Default 1 m.
    pub purge_every: HumanDuration,
}

impl Default for OrgUnitsConfig {
    fn default() -> Self {
        Self { hold: HumanDuration::from_secs(30 * 86_400), purge_every: HumanDuration::from_secs(60) }
    }
}

/// What is kept of requests that are about organisational units.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccessLogConfig {
    /// For how long, 1 h to 365 d. Default 30 d.
    pub age: HumanDuration,
    /// How many of each tenant, the newest, 0 to 10,000,000. Default 100,000.
    #[schemars(range(max = 10_000_000))]
    pub each: u32,
    /// What is too old and too many is removed this often, 1 s to 1 d. Default 1 m.
    pub sweep: HumanDuration,
}

impl Default for AccessLogConfig {
    fn default() -> Self {
        Self { age: HumanDuration::from_secs(30 * 86_400), each: 100_000, sweep: HumanDuration::from_secs(60) }
    }
}

/// Invitations to join a tenant.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InvitationsConfig {
    /// An invitation can be accepted for this long, 1 m to 30 d. Default 7 d.
    pub lifetime: HumanDuration,
}

impl Default for InvitationsConfig {
    fn default() -> Self {
        Self { lifetime: HumanDuration::from_secs(7 * 86_400) }
    }
}

/// Rules for upstreams.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamsConfig {
    /// Allow plain HTTP to upstreams on loopback and Unix sockets outside `dev` too. Never allowed in `prod`.
    pub plaintext_on_loopback: bool,
}

/// What is ensured at every start, without touching what is there.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BootstrapConfig {
    /// Hostname of the platform's staff; none: they sign in on the `admin` listener only.
    pub console_hostname: Option<HostName>,
    /// Hostname of the shared project.
    pub cloud_hostname: Option<HostName>,
    /// Issuer of the root project. Default `https://{console_hostname}`, else `https://console.localhost`.
    pub root_issuer: Option<String>,
    /// Issuer of the shared project. Default `https://{cloud_hostname}`, else `https://cloud.localhost`.
    pub cloud_issuer: Option<String>,
    /// User name of the platform administrator. Default `platform-admin`.
    pub admin_username: String,
    /// Their password, by reference; none: one is made by `control-api bootstrap` and printed once.
    pub admin_password: Option<SecretRef>,
    /// What automation acts with on `admin`, as `X-Admin-Secret`, by reference; at least 32 bytes. None: nothing does (501).
    pub admin_secret: Option<SecretRef>,
}

impl Default for BootstrapConfig {
    fn default() -> Self {
        Self {
            console_hostname: None,
            cloud_hostname: None,
            root_issuer: None,
            cloud_issuer: None,
            admin_username: "platform-admin".into(),
            admin_password: None,
            admin_secret: None,
        }
    }
}

impl Config {
    /// Reads a file, with overrides from the environment.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Self, Mistakes> {
        let config = link::file::load::<Self>(Document::open(path)?, overrides)?.checked(|config, checks| {
            config.check_alone(checks);
            config.check(checks);
        })?;
        Ok(config.rebased(path.parent().unwrap_or(Path::new("."))))
    }

    /// The same with paths that are relative to the file made relative to the process.
    #[must_use]
    pub fn rebased(mut self, base: &Path) -> Self {
        let secret = |reference: &mut SecretRef| {
            if let SecretRef::File(path) = reference {
                *path = base.join(&*path);
            }
        };
        let file = |path: &mut PathBuf| *path = base.join(&*path);
        self.database.master_key.iter_mut().for_each(secret);
        self.database.older_master_keys.iter_mut().for_each(secret);
        self.bootstrap.admin_password.iter_mut().chain(&mut self.bootstrap.admin_secret).for_each(secret);
        self.internal.service_keys.iter_mut().map(|key| &mut key.key).for_each(secret);
        self.database.ca.iter_mut().for_each(file);
        self.signing.keys_file.iter_mut().for_each(file);
        if let Some(kms) = &mut self.signing.kms_aws {
            [&mut kms.access_key_id, &mut kms.secret_access_key]
                .into_iter()
                .chain(&mut kms.session_token)
                .for_each(secret);
        }
        self.issuers.ca.iter_mut().for_each(file);
        self.webhooks.ca.iter_mut().for_each(file);
        self.identity_verifications.keys.iter_mut().for_each(secret);
        if let Some(sms) = &mut self.sms.webhook {
            secret(&mut sms.key);
            sms.ca.iter_mut().for_each(file);
        }
        self.mail.rebased(base);
        self.passwords.rebased(base);
        if let Some(path) = self.database.url.strip_prefix("sqlite:") {
            self.database.url = format!("sqlite:{}", base.join(path).display());
        }
        if let Some(tls) = &mut self.listeners.internal_tls {
            [&mut tls.certificate, &mut tls.key, &mut tls.ca, &mut tls.ca_key].into_iter().for_each(file);
        }
        if let Some(tls) = &mut self.listeners.public_tls {
            [&mut tls.certificate, &mut tls.key, &mut tls.ca].into_iter().for_each(file);
        }
        self
    }

    /// What only a control API in a process of its own needs: a database, and a way for gateways to reach it.
    fn check_alone(&self, checks: &mut Checks<'_>) {
        if !self.database.url.starts_with("postgres://")
            && !self.database.url.starts_with("postgresql://")
            && !self.database.url.starts_with("sqlite:")
        {
            checks.refuse("/database/url", "is not `postgres://…` or `sqlite:PATH`");
        }
        if self.database.master_key.is_none() {
            checks.refuse("/database/master_key", "is missing: secrets are sealed with it");
        }
        let feeds = self.roles.contains(&ProcessRole::Feed);
        if feeds && self.listeners.internal_tls.is_none() && self.environment != Environment::Dev {
            checks.refuse("/listeners/internal_tls", "is missing: no gateway could be fed");
        }
    }

    /// What no schema can express, wherever the control API runs.
    pub fn check(&self, checks: &mut Checks<'_>) {
        if self.roles.is_empty() {
            checks.refuse("/roles", "is empty: the process would do nothing");
        }
        self.sessions.check(checks);
        self.tenants.check(checks);
        let within = |given: HumanDuration, from: u64, to: u64| (from..=to).contains(&given.get().as_secs());
        if !within(self.decisions.age, 60, 30 * 86_400) {
            checks.refuse("/decisions/age", "is not within 1m and 30d");
        }
        if !within(self.decisions.sweep, 1, 3600) {
            checks.refuse("/decisions/sweep", "is not within 1s and 1h");
        }
        if !within(self.org_units.hold, 60, 365 * 86_400) {
            checks.refuse("/org_units/hold", "is not within 1m and 365d");
        }
        if !within(self.org_units.purge_every, 1, 86_400) {
            checks.refuse("/org_units/purge_every", "is not within 1s and 1d");
        }
        if !within(self.access_log.age, 3600, 365 * 86_400) {
            checks.refuse("/access_log/age", "is not within 1h and 365d");
        }
        if !within(self.access_log.sweep, 1, 86_400) {
            checks.refuse("/access_log/sweep", "is not within 1s and 1d");
        }
        if !within(self.invitations.lifetime, 60, 30 * 86_400) {
            checks.refuse("/invitations/lifetime", "is not within 1m and 30d");
        }
        if !within(self.enrolment.join_token, 60, 86_400) {
            checks.refuse("/enrolment/join_token", "is not within 1m and 24h");
        }
        if !within(self.enrolment.certificate, 3600, 7 * 86_400) {
            checks.refuse("/enrolment/certificate", "is not within 1h and 7d");
        }
        if let (Some(revocation), Some(cache)) = (&self.redis.revocation, &self.redis.cache)
            && self.environment != Environment::Dev
            && same_instance(revocation, cache)
        {
            checks
                .refuse("/redis/cache", "is the instance of `redis.revocation`; one may evict and the other must not");
        }
        self.second_factor.check(checks);
        self.passkeys.check(checks);
        self.signing.check(self.environment, checks);
        self.issuers.check(self.environment, checks);
        self.dns.check(checks);
        self.proofs.check(checks);
        self.hostnames.check(checks);
        self.audit.check(checks);
        self.webhooks.check(self.environment, checks);
        self.mail.check(checks);
        self.passwords.check(checks);
        self.identity.check(checks);
        self.oauth.check(self.environment, checks);
        self.sms.check(self.environment, checks);
        self.identity_verifications.check(checks);
        if !self.listeners.admin.is_local() {
            checks.refuse("/listeners/admin", "is plain HTTP and must be on loopback or a Unix socket");
        }
        match (&self.listeners.public_tls, &self.listeners.public) {
            (None, public) if !public.is_local() => {
                let text = "is plain HTTP: it must be on loopback or a Unix socket, or have `listeners.public_tls`";
                checks.refuse("/listeners/public", text);
            }
            (Some(_), ListenAddress::Unix(_)) => {
                checks.refuse("/listeners/public_tls", "is of no use: `listeners.public` is a Unix socket");
            }
            (_, _) => {}
        }
        if self.listeners.internal_tls.is_none() && !self.listeners.internal.is_local() {
            checks.refuse("/listeners/internal", "is without TLS and must be on loopback or a Unix socket");
        }
        if self.listeners.internal_plaintext && self.environment != Environment::Dev {
            checks.refuse("/listeners/internal_plaintext", "is allowed in `dev` only");
        }
        if self.listeners.internal_plaintext && self.listeners.internal_tls.is_some() {
            checks.refuse("/listeners/internal_plaintext", "contradicts `listeners.internal_tls`");
        }
        for (at, key) in self.internal.service_keys.iter().enumerate() {
            let place = format!("/internal/service_keys/{at}");
            if !domain::fleet::is_name(&key.name) {
                checks.refuse(&format!("{place}/name"), "is not 1 to 63 of `a-z`, `0-9`, `-`, `.` and `_`");
            }
            if self.internal.service_keys.iter().take(at).any(|other| other.name == key.name) {
                checks.refuse(&format!("{place}/name"), "is the name of another key, too");
            }
            if key.methods.is_empty() {
                checks.refuse(&format!("{place}/methods"), "is empty: such a key is good for nothing");
            }
        }
        if self.environment == Environment::Prod && self.upstreams.plaintext_on_loopback {
            checks.refuse("/upstreams/plaintext_on_loopback", "is not allowed in `prod`");
        }
    }
}

impl ListenAddress {
    /// Whether only this machine reaches it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Config, Mistakes> {
        let loaded = link::file::load::<Config>(Document::parse("control-api.yaml", text).unwrap(), &Overrides::none());
        loaded?.checked(|config, checks| {
            config.check_alone(checks);
            config.check(checks);
        })
    }

    #[test]
    fn names_all_mistakes_at_once() {
        let mistakes = check(
            "environment: prod\nlisteners: { public: \"0.0.0.0:9081\", admin: \"0.0.0.0:9080\", internal: \"0.0.0.0:9090\", internal_plaintext: true }\n\
             enrolment: { join_token: 59s, certificate: 8d }\nsessions: { access_token: 1h, refresh_token: 1m, session: 400d, refresh_grace: 5m, lock_after: 0, lock_for: 0s }\n\
             upstreams: { plaintext_on_loopback: true }\n\
             tenants: { trial: 366d, hold: 0s, check_every: 1ms, provisioning_retry: 1h, provisioning_retry_most: 1m }\n\
             signing: { publish_ahead: 1m, rotate_every: 1m, check_every: 0s }\n\
             dns: { timeout: 1m }\nproofs: { recheck: 0s, grace: 91d, takeover_after: 366d }\nhostnames: { quarantine: 366d }\n\
             issuers: { refresh: 1s, keep: 0s, on_loopback: true }\n\
             audit: { keep: 1d, sweep: 1s }\nwebhooks: { timeout: 0s, give_up_after: 1m, keep: 1h, on_loopback: true }\n\
             second_factor: { issuer: \"\", window: 3, challenge: 1s, attempts: 0, recent: 1s, recovery_codes: 3, qr_login: 1h, sweep: 0s }\npasskeys: { challenge: 16m, most: 0 }\n\
             org_units: { hold: 1s, purge_every: 2d }\naccess_log: { age: 1m, sweep: 0s }\ninvitations: { lifetime: 31d }\n\
             mail: { url: \"http://x\", servers: [{ host: mail.example.com, tls: none, username: u }], from: nobody, timeout: 1m, retry: 0s, retry_most: 2d, give_up_after: 1s }\n\
             passwords: { policy: { min_length: 7, max_length: 513, lower: 9, history: 11, max_age_days: 0 } }\n\
             identity: { verification: 8d, reset: 2d, code: 2h, code_lock: 1s, send_cooldown: 2h, deletion_grace: 366d, sweep_every: 2h, sweep_grace: 2d }\n\
             oauth: { state: 1h, code: 1s, timeout: 1m, at_once: 0, on_loopback: true, google: \"ftp://accounts.google.com\", github: { api: \"https://api.github.com/\" } }\n\
             internal: { service_keys: [{ name: A, key: \"env:K\", methods: [] }, { name: A, key: \"env:K\", methods: [verify_token] }] }\n",
        )
        .unwrap_err()
        .to_string();
        for key in [
            "database.url",
            "database.master_key",
            "dns.timeout",
            "proofs.recheck",
            "proofs.grace",
            "proofs.takeover_after",
            "hostnames.quarantine",
            "enrolment.certificate",
            "enrolment.join_token",
            "internal.service_keys[0].name",
            "internal.service_keys[0].methods",
            "internal.service_keys[1].name",
            "listeners.admin",
            "listeners.public",
            "listeners.internal",
            "listeners.internal_plaintext",
            "listeners.internal_tls",
            "tenants.trial",
            "tenants.hold",
            "tenants.check_every",
            "tenants.provisioning_retry_most",
            "sessions.access_token",
            "sessions.refresh_token",
            "sessions.session",
            "sessions.refresh_grace",
            "sessions.lock_after",
            "sessions.lock_for",
            "second_factor.issuer",
            "second_factor.window",
            "second_factor.challenge",
            "second_factor.attempts",
            "second_factor.recent",
            "second_factor.recovery_codes",
            "second_factor.qr_login",
            "second_factor.sweep",
            "passkeys.challenge",
            "passkeys.most",
            "upstreams.plaintext_on_loopback",
            "signing.publish_ahead",
            "signing.rotate_every",
            "signing.check_every",
            "issuers.refresh",
            "issuers.keep",
            "issuers.on_loopback",
            "audit.keep",
            "audit.sweep",
            "webhooks.timeout",
            "webhooks.give_up_after",
            "webhooks.keep",
            "webhooks.on_loopback",
            "org_units.hold",
            "org_units.purge_every",
            "access_log.age",
            "access_log.sweep",
            "invitations.lifetime",
            "mail.url",
            "mail.servers[0].tls",
            "mail.servers[0].password",
            "mail.from",
            "mail.timeout",
            "mail.retry",
            "mail.retry_most",
            "mail.give_up_after",
            "passwords.policy.min_length",
            "passwords.policy.max_length",
            "passwords.policy.lower",
            "passwords.policy.history",
            "passwords.policy.max_age_days",
            "identity.verification",
            "identity.reset",
            "identity.code",
            "identity.code_lock",
            "identity.send_cooldown",
            "identity.deletion_grace",
            "identity.sweep_every",
            "identity.sweep_grace",
            "oauth.state",
            "oauth.code",
            "oauth.timeout",
            "oauth.at_once",
            "oauth.on_loopback",
            "oauth.google",
            "oauth.github.api",
        ] {
            assert!(mistakes.contains(key), "{key} in {mistakes}");
        }
    }

    #[test]
    fn a_small_file_is_enough_for_development() {
        let config = check("database: { url: \"sqlite:portcullis.db\", master_key: \"env:MASTER_KEY\" }\n").unwrap();
        assert_eq!(config.listeners.admin.to_string(), "127.0.0.1:9080");
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control-api.yaml");
        std::fs::write(&path, "database: { url: \"sqlite:p.db\", master_key: \"file:master.key\" }\n").unwrap();
        let config = Config::load(&path, &Overrides::none()).unwrap();
        assert_eq!(config.database.master_key, Some(SecretRef::File(folder.path().join("master.key"))));
        assert_eq!(config.database.url, format!("sqlite:{}", folder.path().join("p.db").display()));
    }

    #[test]
    fn an_address_reads_back_what_it_wrote() {
        for text in ["127.0.0.1:9080", "[::1]:0", "unix:/run/p.sock"] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        assert!("unix:".parse::<ListenAddress>().is_err());
    }
}
