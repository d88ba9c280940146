//! The last good state on disk, for a start while the control plane is down.
//!
//! | File | Holds | Written |
//! |---|---|---|
//! | `snapshot.key` | 32 random bytes, mode 0600 | once |
//! | `snapshot.sealed` | the entities and their revision | a few seconds after a change |
//! | `snapshot.seen` | when the state was last confirmed, when freshness was last proven | every 5 s |
//!
//! Both are sealed with AES-256-GCM under the key, which never leaves this machine; each names its kind, so that one
//! cannot stand in for the other. A state that was last confirmed longer than `snapshot.max_age` ago is refused.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    rand,
};
use domain::{BootInstant, Clock, SnapshotVersion, Timestamp, snapshot::Change};
use link::private_file;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Names this machine's current boot; the boot clock means nothing in another.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The folder of the sealed files, with the key in memory.
pub(crate) struct Disk {
    folder: PathBuf,
    key: RandomizedNonceKey,
    boot_id: String,
}

/// What was kept, when it is young enough.
pub(crate) struct Kept {
    pub(crate) changes: Vec<Change>,
    pub(crate) version: SnapshotVersion,
    /// How long ago it was confirmed.
    pub(crate) confirmed_ago: Duration,
    /// When freshness was last proven; none when that was in another boot.
    pub(crate) proven_at: Option<BootInstant>,
}

/// Why the state on disk cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The file system said no.
    #[error("`{}` cannot be used", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The key file is broken.
    #[error("`{}` is not a key of 32 bytes", path.display())]
    Key {
        /// Which file.
        path: PathBuf,
    },
    /// Not sealed by this gateway, or changed since.
    #[error("`{}` was not written by this gateway", path.display())]
    Seal {
        /// Which file.
        path: PathBuf,
    },
    /// Sealed, but of a form this build does not know.
    #[error("`{}` cannot be read by this version", path.display())]
    Form {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// Too old to be served.
    #[error("the state on disk was last confirmed {} s ago, which is too long", age.as_secs())]
    Old {
        /// Since it was confirmed.
        age: Duration,
    },
}

#[derive(Serialize, Deserialize)]
struct State {
    #[serde(flatten)]
    version: SnapshotVersion,
    changes: Vec<Change>,
}

#[derive(Serialize, Deserialize)]
struct Seen {
    confirmed_at: Timestamp,
    boot_id: String,
    /// Nanoseconds of that boot's clock; 0 for never.
    proven_at: u64,
}

impl Disk {
    /// Opens the folder and its key, making both where they are missing.
    pub(crate) fn open(folder: &Path) -> Result<Self, DiskError> {
        fs::create_dir_all(folder).map_err(io_error(folder))?;
        let path = folder.join("snapshot.key");
        let key = match fs::read(&path) {
            Ok(key) => key,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut key = vec![0; 32];
                rand::fill(&mut key).map_err(|_| DiskError::Key { path: path.clone() })?;
                private_file::write(&path, &key).map_err(io_error(&path))?;
                key
            }
            Err(error) => return Err(io_error(&path)(error)),
        };
        let key = RandomizedNonceKey::new(&AES_256_GCM, &key).map_err(|_| DiskError::Key { path })?;
        let boot_id = fs::read_to_string(BOOT_ID).map_err(io_error(Path::new(BOOT_ID)))?.trim().to_owned();
        Ok(Self { folder: folder.to_owned(), key, boot_id })
    }

    /// Keeps a state.
    pub(crate) fn save(&self, changes: Vec<Change>, version: SnapshotVersion) -> Result<(), DiskError> {
        self.seal("sealed", &State { version, changes })
    }

    /// Keeps when the state was confirmed, and freshness proven.
    pub(crate) fn save_seen(&self, confirmed_at: Timestamp, proven_at: BootInstant) -> Result<(), DiskError> {
        let seen = Seen { confirmed_at, boot_id: self.boot_id.clone(), proven_at: proven_at.nanos() };
        self.seal("seen", &seen)
    }

    /// What was kept; none when nothing was.
    pub(crate) fn load(&self, max_age: Duration, clock: &dyn Clock) -> Result<Option<Kept>, DiskError> {
        let Some(State { version, changes }) = self.open_sealed("sealed")? else { return Ok(None) };
        let Some(seen) = self.open_sealed::<Seen>("seen")? else { return Ok(None) };
        let age = clock.unix_now().since(seen.confirmed_at);
        if age > max_age {
            return Err(DiskError::Old { age });
        }
        let same_boot = seen.boot_id == self.boot_id && seen.proven_at > 0;
        let proven_at = same_boot.then(|| BootInstant::from_nanos(seen.proven_at));
        Ok(Some(Kept { changes, version, confirmed_ago: age, proven_at }))
    }

    fn seal(&self, kind: &str, value: &impl Serialize) -> Result<(), DiskError> {
        let path = self.path(kind);
        let mut bytes = serde_json::to_vec(value).map_err(|source| DiskError::Form { path: path.clone(), source })?;
        let sealed = self.key.seal_in_place_append_tag(Aad::from(kind), &mut bytes);
        let nonce = sealed.map_err(|_| DiskError::Seal { path: path.clone() })?;
        let mut content = nonce.as_ref().to_vec();
        content.append(&mut bytes);
        private_file::write(&path, &content).map_err(io_error(&path))
    }

    fn open_sealed<T: DeserializeOwned>(&self, kind: &str) -> Result<Option<T>, DiskError> {
        let path = self.path(kind);
        let mut content = Vec::new();
        match File::open(&path).and_then(|mut file| file.read_to_end(&mut content)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error(&path)(error)),
        }
        let fail = || DiskError::Seal { path: path.clone() };
        let (nonce, sealed) = content.split_at_mut_checked(NONCE_LEN).ok_or_else(fail)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| fail())?;
        let plain = self.key.open_in_place(nonce, Aad::from(kind), sealed).map_err(|_| fail())?;
        serde_json::from_slice(plain).map(Some).map_err(|source| DiskError::Form { path, source })
    }

    fn path(&self, kind: &str) -> PathBuf {
        self.folder.join(format!("snapshot.{kind}"))
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> DiskError {
    let path = path.to_owned();
    move |source| DiskError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use testkit::FixedClock;

    use super::*;

    const VERSION: SnapshotVersion = SnapshotVersion { history: domain::History(u64::MAX), revision: 7 };

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn kept(clock: &FixedClock) -> (tempfile::TempDir, Disk) {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path()).unwrap();
        disk.save(Vec::new(), VERSION).unwrap();
        disk.save_seen(clock.unix_now(), clock.boot_now()).unwrap();
        (folder, disk)
    }

    #[test]
    fn a_state_reads_back_in_another_process_of_the_same_boot() {
        let clock = FixedClock::default();
        let (folder, _) = kept(&clock);
        clock.advance(Duration::from_secs(60));
        let again = Disk::open(folder.path()).unwrap().load(DAY, &clock).unwrap().unwrap();
        assert_eq!((again.version, again.confirmed_ago), (VERSION, Duration::from_secs(60)));
        assert_eq!(again.proven_at.unwrap() + Duration::from_secs(60), clock.boot_now());
    }

    #[test]
    fn refuses_a_state_that_is_too_old() {
        let clock = FixedClock::default();
        let (_folder, disk) = kept(&clock);
        clock.advance(DAY + Duration::from_secs(1));
        assert!(matches!(disk.load(DAY, &clock), Err(DiskError::Old { .. })));
    }

    #[test]
    fn refuses_a_state_that_was_changed_or_belongs_to_another_gateway() {
        let clock = FixedClock::default();
        let (folder, disk) = kept(&clock);
        let path = folder.path().join("snapshot.sealed");
        let mut content = fs::read(&path).unwrap();
        *content.last_mut().unwrap() ^= 1;
        fs::write(&path, &content).unwrap();
        assert!(matches!(disk.load(DAY, &clock), Err(DiskError::Seal { .. })));

        fs::copy(folder.path().join("snapshot.seen"), &path).unwrap();
        assert!(matches!(disk.load(DAY, &clock), Err(DiskError::Seal { .. })), "one kind stood in for another");

        let (other, _) = kept(&clock);
        fs::copy(other.path().join("snapshot.sealed"), &path).unwrap();
        assert!(matches!(disk.load(DAY, &clock), Err(DiskError::Seal { .. })));
    }

    #[test]
    fn key_and_state_are_readable_by_their_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let (folder, _) = kept(&FixedClock::default());
        for file in ["snapshot.key", "snapshot.sealed", "snapshot.seen"] {
            let mode = fs::metadata(folder.path().join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
    }
}
