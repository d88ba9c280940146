//! What every request works with.

use std::{
    net::SocketAddr,
    ops::Deref,
    path::Path,
    sync::{Arc, RwLock},
};

use authn::Issuer;
use domain::{
    Clock, ProjectId, Secret, SigningKeyId, Timestamp,
    model::KeyPurpose,
    snapshot::{self, Algorithm},
};
use link::{LinkError, log::FactCarrier, redis, shared_rates::SharedRates};
use store::Store;
use tokio::sync::Semaphore;

use crate::{
    admin_secret,
    app::{
        proofs::ASKED_AT_ONCE,
        upstreams::{same_door, same_socket},
    },
    config::{Config, ListenAddress},
    dns::{Dns, resolver::Resolver},
    error::AppError,
    identity_events,
    internal::Hub,
    known_programs::KnownPrograms,
    last_made::LastMade,
    mail::Post,
    metrics::Metrics,
    oauth::Providers,
    passwords::Passwords,
    provisioning::{Directory, Embedded},
    rates::Rates,
    service_caller::ServiceKeys,
    signer::LocalSigner,
    sms::{self, Sms},
    turns::Turns,
};

/// The control API's parts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App(Arc<Parts>);

/// A key as the database has it: its id, its algorithm, its PKCS #8.
type ReadKey = (SigningKeyId, Algorithm, Secret<Vec<u8>>);

/// See [`App`].
pub struct Parts {
    /// The configuration.
    pub config: Config,
    /// The database, the whole platform's.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The log.
    pub hub: Arc<Hub>,
    /// Keys that AWS KMS holds.
    #[cfg(feature = "kms-aws")]
    pub kms: Option<Arc<crate::signer::kms_aws::Kms>>,
    /// DNS, for proofs.
    pub dns: Arc<dyn Dns>,
    /// Password hashing.
    pub passwords: Passwords,
    /// SHA-256 of the admin secret, where there is one.
    pub(crate) admin_secret: Option<Secret<[u8; 32]>>,
    /// Keys of services on the `internal` listener.
    pub service_keys: ServiceKeys,
    /// What Prometheus is told.
    pub metrics: Metrics,
    /// Requests that carry an idempotency key, one at a time for each key.
    pub(crate) idempotency: Turns,
    /// Sign-ins, one at a time for each name: guesses made at once are counted one by one.
    pub(crate) sign_ins: Turns,
    /// Where people's accounts are.
    directory: RwLock<Arc<dyn Directory>>,
    /// Who asked how often for what costs a mail or a guess.
    pub(crate) rates: Rates,
    /// Identity providers.
    pub(crate) oauth: Providers,
    /// What events of whoever verifies identities are signed with.
    pub(crate) identity_keys: Vec<Secret<Vec<u8>>>,
    /// How texts do.
    pub(crate) sms: Option<Arc<dyn Sms>>,
    /// Programs that showed their secret lately.
    pub(crate) known_programs: KnownPrograms,
    /// Projects' own issuers, compiled.
    pub(crate) own_issuers: LastMade<ProjectId, snapshot::Issuer, Issuer>,
    /// Projects' active keys, ready to sign.
    pub(crate) signers: LastMade<(ProjectId, KeyPurpose), ReadKey, LocalSigner>,
    /// How letters leave this process.
    post: RwLock<Post>,
    /// Looks for proofs that somebody asked for, one at a time for each tenant.
    pub(crate) proofs: Turns,
    /// And so many of all tenants.
    pub(crate) looks: Semaphore,
    /// Checks of the audit trail, one at a time: each reads a whole chain.
    pub(crate) checks: Turns,
    /// Doors that no upstream may lead to.
    doors: RwLock<Vec<ListenAddress>>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("hub", &self.hub).finish_non_exhaustive()
    }
}

impl Deref for App {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl App {
    /// Puts the parts together. Must be called on a Tokio runtime.
    ///
    /// # Errors
    /// When password hashing does not work, KMS is set wrongly, or a service key cannot be had.
    pub fn new(
        config: Config,
        store: Store,
        carrier: Arc<dyn FactCarrier>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AppError> {
        let hub = Hub::start(store.clone(), store.clone(), Arc::clone(&clock), carrier);
        Self::over(config, store, hub, clock)
    }

    /// The same over a hub that runs already.
    ///
    /// # Errors
    /// As [`App::new`].
    pub fn over(config: Config, store: Store, hub: Arc<Hub>, clock: Arc<dyn Clock>) -> Result<Self, AppError> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let passwords =
            Passwords::new(config.sessions.password_hashers.unwrap_or(processors.div_ceil(2)), &config.passwords)?;
        let service_keys = ServiceKeys::read(&config.internal.service_keys)?;
        let admin_secret = admin_secret::read(config.bootstrap.admin_secret.as_ref())?;
        let metrics = Metrics::new()?;
        #[cfg(feature = "kms-aws")]
        let kms = config.signing.kms_aws.as_ref().map(crate::signer::kms_aws::Kms::new).transpose();
        #[cfg(feature = "kms-aws")]
        let kms = kms.map_err(|error| AppError::internal("KMS cannot be used", error))?.map(Arc::new);
        let doors = RwLock::new(Vec::new());
        let post = Post::of(&config).map_err(|error| AppError::internal("mail cannot be set up", error))?;
        let oauth = Providers::new(&config.oauth);
        let oauth = oauth.map_err(|error| AppError::internal("identity providers cannot be asked", error))?;
        let sms = sms::of(&config)?;
        let identity_keys = identity_events::keys(&config)?;
        let dns = Arc::new(Resolver::new(&config.dns));
        Ok(Self(Arc::new(Parts {
            config,
            store,
            clock,
            hub,
            #[cfg(feature = "kms-aws")]
            kms,
            dns,
            passwords,
            admin_secret,
            service_keys,
            metrics,
            idempotency: Turns::default(),
            sign_ins: Turns::default(),
            checks: Turns::default(),
            directory: RwLock::new(Arc::new(Embedded)),
            post: RwLock::new(post),
            sms,
            identity_keys,
            rates: Rates::default(),
            oauth,
            known_programs: KnownPrograms::default(),
            own_issuers: LastMade::default(),
            signers: LastMade::default(),
            proofs: Turns::default(),
            looks: Semaphore::new(ASKED_AT_ONCE),
            doors,
        })))
    }

    /// Counts what `identity.rates` bounds together with the other control APIs, where `redis.cache` is set. A Redis that does not answer
    /// yet is no reason to wait.
    ///
    /// # Errors
    /// [`LinkError`] for a URL that is none, or a Redis that refuses what counting takes.
    pub async fn share_rates(&self) -> Result<(), LinkError> {
        let Some(url) = &self.config.redis.cache else { return Ok(()) };
        let shared = SharedRates::new(redis::connect_late(url, redis::Role::Cache).await?);
        match shared.check_rights().await {
            Err(error) if error.is_unreachable() => {}
            checked => checked?,
        }
        self.rates.share(shared);
        Ok(())
    }

    /// Notes a door that no upstream may lead to.
    pub fn add_door(&self, door: ListenAddress) {
        let mut doors = self.doors.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        doors.push(door);
    }
}

impl Parts {
    /// Where people's accounts are.
    pub fn directory(&self) -> Arc<dyn Directory> {
        Arc::clone(&self.directory.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Puts another directory in the place of the one there is.
    pub fn keep_people_in(&self, directory: Arc<dyn Directory>) {
        *self.directory.write().unwrap_or_else(std::sync::PoisonError::into_inner) = directory;
    }

    pub(crate) fn post(&self) -> Post {
        self.post.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    pub(crate) fn set_post(&self, post: Post) {
        *self.post.write().unwrap_or_else(std::sync::PoisonError::into_inner) = post;
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.clock.unix_now()
    }

    /// Whether an address leads to a door of ours.
    pub fn is_own_door(&self, asked: SocketAddr) -> bool {
        self.doors().iter().any(|door| matches!(door, ListenAddress::Tcp(own) if same_door(*own, asked)))
    }

    /// Whether a path leads to a Unix socket of ours, by whatever name.
    pub fn is_own_socket(&self, asked: &str) -> bool {
        let asked = Path::new(asked);
        self.doors().iter().any(|door| matches!(door, ListenAddress::Unix(own) if same_socket(own, asked)))
    }

    fn doors(&self) -> Vec<ListenAddress> {
        self.doors.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}
