//! Contexts: places that an operator comes back to, and the sessions kept for them.
//!
//! They are one file, readable by its owner only; one that others could read, or that is another user's, is refused, as it
//! may hold tokens and says where passwords are sent. Where it is: PORTCULLIS_CONTEXT_FILE, else `portcullis/contexts.json` in XDG_CONFIG_HOME, else in `~/.config`.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use domain::Secret;
use link::private_file;
use serde::{Deserialize, Serialize};

use super::{Door, Failure, read_url};

/// The contexts of who runs the command.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Contexts {
    /// The one in use.
    current: Option<String>,
    /// By name.
    contexts: BTreeMap<String, Context>,
}

/// A place that an operator comes back to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Context {
    /// The control API.
    pub(super) url: String,
    #[serde(default)]
    pub(super) ca: Option<PathBuf>,
    #[serde(default)]
    pub(super) door: Door,
    #[serde(default)]
    pub(super) username: Option<String>,
    #[serde(default)]
    pub(super) password_file: Option<PathBuf>,
    /// The session that `portcullis login` opened.
    #[serde(default)]
    pub(super) tokens: Option<Tokens>,
}

/// A session's pair.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Tokens {
    #[serde(serialize_with = "domain::secret::exposed")]
    pub(super) access_token: Secret<String>,
    #[serde(serialize_with = "domain::secret::exposed")]
    pub(super) refresh_token: Secret<String>,
    /// When the access token expires, in seconds since 1970.
    pub(super) expires_at: i64,
}

impl Contexts {
    /// As they are now. No file: none.
    pub(super) fn open() -> anyhow::Result<Self> {
        path().map_or_else(|_| Ok(Self::default()), |path| Self::read(&path))
    }

    /// Changes them, alone.
    pub(super) fn change<T>(change: impl FnOnce(&mut Self) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let locked = Locked::take()?;
        let mut contexts = Self::read(&locked.path)?;
        let done = change(&mut contexts)?;
        contexts.write(&locked)?;
        Ok(done)
    }

    /// The context of this name, else the one in use.
    pub(super) fn named(&self, name: Option<&str>) -> anyhow::Result<Option<(&str, &Context)>> {
        let Some(wanted) = name.or(self.current.as_deref()) else { return Ok(None) };
        match self.contexts.get_key_value(wanted) {
            Some((name, context)) => Ok(Some((name, context))),
            None => Err(Failure::usage(format!("there is no context `{wanted}`: `portcullis context list`")).into()),
        }
    }

    /// Keeps a context; the first one is the one in use.
    pub(super) fn put(&mut self, name: &str, context: Context) {
        self.current.get_or_insert_with(|| name.to_owned());
        self.contexts.insert(name.to_owned(), context);
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Context> {
        self.contexts.get_mut(name)
    }

    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let found = match fs::metadata(path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error).with_context(|| format!("`{}` cannot be read", path.display())),
        };
        owned_by(path, found.uid(), rustix::process::geteuid().as_raw())?;
        if found.permissions().mode() & 0o077 != 0 {
            bail!("`{}` can be read by others, and may hold tokens: chmod 600", path.display());
        }
        let text = fs::read_to_string(path).with_context(|| format!("`{}` cannot be read", path.display()))?;
        // What serde says of a mistake could quote what stands there.
        serde_json::from_str(&text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            anyhow::anyhow!("`{}` holds no contexts: line {line}, column {column}", path.display())
        })
    }

    pub(super) fn write(&self, locked: &Locked) -> anyhow::Result<()> {
        let written = private_file::write(&locked.path, &serde_json::to_string_pretty(self)?);
        written.with_context(|| format!("`{}` cannot be written", locked.path.display()))
    }
}

/// Refuses a file of somebody else's: who wrote it says where our passwords are sent.
fn owned_by(path: &Path, owner: u32, us: u32) -> anyhow::Result<()> {
    if owner != us {
        bail!("`{}` belongs to another user ({owner}), and says where passwords are sent", path.display());
    }
    Ok(())
}

/// The file, with nobody else who changes it.
pub(super) struct Locked {
    pub(super) path: PathBuf,
    _lock: File,
}

impl Locked {
    /// Waits until nobody else has it.
    pub(super) fn take() -> anyhow::Result<Self> {
        let path = path()?;
        let failed = || format!("`{}` cannot be locked", path.display());
        if let Some(folder) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(failed)?;
        }
        let lock = File::create(path.with_extension("lock")).with_context(failed)?;
        lock.lock().with_context(failed)?;
        Ok(Self { path, _lock: lock })
    }
}

fn path() -> anyhow::Result<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(file) = variable("PORTCULLIS_CONTEXT_FILE") {
        return Ok(file);
    }
    let folder = variable("XDG_CONFIG_HOME").or_else(|| Some(variable("HOME")?.join(".config")));
    Ok(folder
        .context("neither HOME nor XDG_CONFIG_HOME says where contexts are kept")?
        .join("portcullis/contexts.json"))
}

/// What can be done with contexts.
#[derive(Debug, Subcommand)]
pub enum ContextCommand {
    /// Keeps a place under a name. The first one is the one in use.
    Set(Set),
    /// Uses another one from now on.
    Use {
        /// Its name.
        name: String,
    },
    /// Lists them; `*` marks the one in use.
    List,
    /// Forgets one. A session kept for it is not ended: `portcullis logout` does that.
    Delete {
        /// Its name.
        name: String,
    },
}

/// A place to keep.
#[derive(Args, Debug)]
pub struct Set {
    /// Its name.
    name: String,
    /// The control API: its admin listener, or a tenant's hostname at the edge.
    #[arg(long)]
    server: String,
    /// PEM of the authorities trusted for its certificate.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// Whose door is signed in at.
    #[arg(long, value_enum, default_value_t)]
    door: Door,
    /// Who signs in.
    #[arg(long = "as", value_name = "USERNAME")]
    username: Option<String>,
    /// File that holds their password.
    #[arg(long)]
    password_file: Option<PathBuf>,
}

impl ContextCommand {
    /// Does it, and gives back what there is to print.
    ///
    /// # Errors
    /// Of the file, and for a name that is not there.
    pub fn run(self) -> anyhow::Result<String> {
        match self {
            Self::Set(it) => Contexts::change(|contexts| {
                let url = read_url(&it.server)?.to_string();
                // From here, where it stands; from elsewhere it would be another file.
                let absolute = |path: Option<PathBuf>| path.map(std::path::absolute).transpose();
                let (ca, password_file) = (absolute(it.ca)?, absolute(it.password_file)?);
                if contexts.contexts.get(&it.name).is_some_and(|before| before.tokens.is_some()) {
                    let name = &it.name;
                    bail!("context `{name}` keeps a session: end it first, `portcullis logout --context {name}`");
                }
                let context = Context { url, ca, door: it.door, username: it.username, password_file, tokens: None };
                contexts.put(&it.name, context);
                Ok(format!("context `{}` is kept", it.name))
            }),
            Self::Use { name } => Contexts::change(|contexts| {
                contexts.named(Some(&name))?;
                contexts.current = Some(name.clone());
                Ok(format!("context `{name}` is in use"))
            }),
            Self::Delete { name } => Contexts::change(|contexts| {
                contexts.named(Some(&name))?;
                contexts.contexts.remove(&name);
                contexts.current.take_if(|current| *current == name);
                Ok(format!("context `{name}` is forgotten"))
            }),
            Self::List => {
                let contexts = Contexts::open()?;
                let line = |(name, it): (&String, &Context)| {
                    let mark = if contexts.current.as_ref() == Some(name) { '*' } else { ' ' };
                    let session = if it.tokens.is_some() { ", signed in" } else { "" };
                    format!("{mark} {name}  {}{session}", it.url)
                };
                Ok(contexts.contexts.iter().map(line).collect::<Vec<_>>().join("\n"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_others_can_read_is_refused_and_a_broken_one_is_not_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("contexts.json");
        assert!(Contexts::read(&path).unwrap().contexts.is_empty());
        private_file::write(&path, r#"{"contexts": {"a": {"url": "https://a", "tokens": {"access_token": 7}}}}"#)
            .unwrap();
        let refused = format!("{:#}", Contexts::read(&path).unwrap_err());
        assert!(refused.contains("line 1") && !refused.contains("access_token"), "{refused}");
        private_file::write(&path, r#"{"current": "a", "contexts": {"a": {"url": "https://a"}}}"#).unwrap();
        let contexts = Contexts::read(&path).unwrap();
        assert_eq!(contexts.named(None).unwrap().unwrap().0, "a");
        assert!(contexts.named(Some("b")).is_err());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(format!("{:#}", Contexts::read(&path).unwrap_err()).contains("chmod 600"));
        let refused = owned_by(&path, 1001, 1000).unwrap_err().to_string();
        assert!(refused.contains("another user (1001)"), "{refused}");
        owned_by(&path, 1000, 1000).unwrap();
    }
}
