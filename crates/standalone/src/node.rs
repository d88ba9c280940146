//! A whole node in one process: SQLite, the control API, and a gateway fed over channels.
//!
//! The same code as the two binaries run: only what carries the feed and the facts between the planes is another.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use control_api::{ControlApi, RunningControlApi, config::ListenAddress};
use domain::{Clock, Secret};
use gateway::{Edge, EdgeError, EdgeParts, RunningEdge, Source};
use link::{
    log::{FactCarrier, MemoryCarrier, NoCarrier},
    nonces::MemoryNonces,
    private_file,
};
use store::{Sealer, Store, StoreError, seal};

use crate::{announce::Endpoints, authority::Authority, config::NodeConfig};

/// The database's file in the data folder.
const DATABASE: &str = "portcullis.db";

/// Longest wait for the edge to apply what was just written.
const APPLIED: Duration = Duration::from_secs(10);

/// A node that runs.
pub struct Node {
    folder: PathBuf,
    edge: RunningEdge,
    control: RunningControlApi,
    authority: Authority,
    /// Held until the node ends: two processes on one folder would each think the other's database theirs.
    _lock: fs::File,
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the error text of each says it")]
pub enum NodeError {
    #[error("the data folder `{folder}` cannot be used")]
    Folder { folder: PathBuf, source: io::Error },
    #[error("the data folder `{folder}` is in use by another process")]
    Locked { folder: PathBuf },
    #[error("`{path}` is no master key: 64 hexadecimal digits")]
    MasterKey { path: PathBuf },
    #[error("the random source failed")]
    Random,
    #[error("the database `{path}` cannot be used")]
    Store { path: PathBuf, source: StoreError },
    #[error("the control API cannot start")]
    Control(#[from] control_api::StartError),
    #[error("the edge cannot start")]
    Edge(#[from] EdgeError),
    #[error("the development authority cannot be used")]
    Authority(#[from] crate::authority::AuthorityError),
    #[error("the edge did not apply what was written within {APPLIED:?}")]
    NotApplied,
}

impl NodeError {
    /// Whether the operator gave us something we cannot work with.
    pub fn is_input(&self) -> bool {
        match self {
            Self::Folder { .. } | Self::Locked { .. } | Self::MasterKey { .. } => true,
            Self::Store { source, .. } => matches!(source, StoreError::SchemaNewer { .. }),
            Self::Random | Self::Control(_) | Self::Edge(_) | Self::Authority(_) | Self::NotApplied => false,
        }
    }
}

impl Node {
    /// Starts a node; the schema is brought forward first, after a copy of the file.
    ///
    /// # Errors
    /// [`NodeError`]; nothing runs then.
    pub async fn start(config: NodeConfig, clock: Arc<dyn Clock>) -> Result<Self, NodeError> {
        let NodeConfig { data_dir: folder, gateway: mut edge_config, control_api: mut control_config } = config;
        let lock = open_folder(&folder)?;
        let authority = Authority::open(&folder, today(&*clock))?;
        let store = open_store(&folder, &master_key(&folder.join("master.key"))?).await?;
        if control_config.listeners.public == control_api::config::ListenersConfig::default().public {
            control_config.listeners.public = ListenAddress::Unix(folder.join("control-api.sock"));
        }
        let carrier: Arc<dyn FactCarrier> = Arc::new(MemoryCarrier::default());
        let control = ControlApi::start(control_config, store, Arc::clone(&carrier), Arc::clone(&clock)).await?;
        edge_config.data_dir.get_or_insert_with(|| folder.join("edge"));
        edge_config.upstreams.forbidden.extend([control.admin(), control.internal()]);
        edge_config.upstreams.forbidden.extend(control.metrics());
        let fleet = edge_config.gateway.fleet.clone();
        let source = Source::ControlPlane { plane: control.plane(fleet), carrier };
        // One gateway, one memory: what it forgets when it ends, it refuses when it begins.
        let nonces = Arc::new(MemoryNonces::new(Arc::clone(&clock)));
        let mut parts = EdgeParts::new(edge_config, source, clock);
        parts.nonces = Some(nonces);
        let edge = Edge::start(parts).await?;
        Ok(Self { folder, edge, control, authority, _lock: lock })
    }

    /// The data folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The control API's use cases.
    pub fn app(&self) -> &control_api::App {
        self.control.app()
    }

    /// The development authority.
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Where the edge serves HTTPS.
    pub fn endpoint(&self) -> SocketAddr {
        first(self.edge.https())
    }

    /// Where everything is.
    pub fn endpoints(&self, upstream: SocketAddr) -> Endpoints {
        let ca = self.authority.certificate();
        Endpoints {
            edge_https: self.endpoint(),
            edge_http: first(self.edge.http()),
            control_api: self.control.admin(),
            internal: self.control.internal(),
            metrics: first(self.edge.metrics()),
            upstream,
            ca: fs::canonicalize(ca).unwrap_or_else(|_| ca.to_path_buf()),
        }
    }

    /// Waits until the edge serves a revision.
    ///
    /// # Errors
    /// [`NodeError::NotApplied`].
    pub async fn applied(&self, revision: u64) -> Result<(), NodeError> {
        let reached = async {
            while self.edge.gate().snapshot().revision() < revision {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(APPLIED, reached).await.map_err(|_| NodeError::NotApplied)
    }

    /// Reads the keys file again, as on SIGHUP.
    pub async fn reload(&self) {
        self.control.reload().await;
    }

    /// Says that it will stop soon, and waits as long as balancers may need to hear of it.
    pub async fn give_notice(&self) {
        self.edge.give_notice().await;
    }

    /// Lets open requests finish, then ends.
    pub async fn shutdown(self) {
        self.edge.shutdown().await;
        self.control.shutdown().await;
    }
}

/// The use cases of a node that is stopped, over its database alone. Until this is dropped, it cannot be started.
pub struct OfflineNode {
    app: control_api::App,
    _lock: fs::File,
}

impl OfflineNode {
    /// Opens a node's data folder.
    ///
    /// # Errors
    /// [`NodeError`]: where there is no database, or the node runs.
    pub async fn open(config: NodeConfig, clock: Arc<dyn Clock>) -> Result<Self, NodeError> {
        let folder = config.data_dir;
        let (key, database) = (folder.join("master.key"), folder.join(DATABASE));
        for path in [&database, &key] {
            fs::metadata(path).map_err(|source| NodeError::Folder { folder: path.clone(), source })?;
        }
        let lock = open_folder(&folder)?;
        let store = open_store(&folder, &master_key(&key)?).await?;
        let app = control_api::App::new(config.control_api, store, Arc::new(NoCarrier), clock);
        let app = app.map_err(|error| NodeError::Control(control_api::StartError::Setup(error)))?;
        Ok(Self { app, _lock: lock })
    }

    /// The use cases.
    pub const fn app(&self) -> &control_api::App {
        &self.app
    }
}

/// Today, for the development authority.
pub(crate) fn today(clock: &dyn Clock) -> jiff::civil::Date {
    let now = jiff::Timestamp::from_millisecond(clock.unix_now().millis()).unwrap_or_default();
    now.to_zoned(jiff::tz::TimeZone::UTC).date()
}

fn first(addresses: &[SocketAddr]) -> SocketAddr {
    addresses.first().copied().unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)))
}

/// Makes a data folder, its owner's alone, where there is none.
///
/// # Errors
/// [`NodeError::Folder`].
pub fn make_folder(folder: &Path) -> Result<(), NodeError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| NodeError::Folder { folder: folder.into(), source })
}

/// Makes the folder and locks it.
fn open_folder(folder: &Path) -> Result<fs::File, NodeError> {
    let failed = |source| NodeError::Folder { folder: folder.into(), source };
    make_folder(folder)?;
    let lock = fs::File::create(folder.join("lock")).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => Err(NodeError::Locked { folder: folder.into() }),
        Err(fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// The key that secrets in the database are sealed with; made when it is not there.
fn master_key(path: &Path) -> Result<Secret<Vec<u8>>, NodeError> {
    let wrong = || NodeError::MasterKey { path: path.into() };
    let failed = |source| NodeError::Folder { folder: path.into(), source };
    match fs::read_to_string(path) {
        Ok(text) => seal::read_master_key(&Secret::new(text.trim_end().to_owned())).map_err(|_| wrong()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = seal::new_master_key().map_err(|_| NodeError::Random)?;
            private_file::write(path, text.expose()).map_err(failed)?;
            seal::read_master_key(&text).map_err(|_| wrong())
        }
        Err(source) => Err(failed(source)),
    }
}

async fn open_store(folder: &Path, master_key: &Secret<Vec<u8>>) -> Result<Store, NodeError> {
    let path = folder.join(DATABASE);
    let failed = |source: StoreError| NodeError::Store { path: path.clone(), source };
    let sealer = Sealer::new(master_key, &[]).map_err(|error| failed(error.into()))?;
    let store = Store::sqlite(&path, sealer).map_err(failed)?;
    store.migrate().await.map_err(failed)?;
    Ok(store)
}
