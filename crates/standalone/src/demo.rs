//! The demo: who is in it, and what a person or a program is told of it.
//!
//! Passwords are made once and kept in `demo.json`, so that a second start prints the same ones.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use authn::api_key::{NewKey, RANDOM_BYTES};
use domain::{ApiKeyScheme, Id, Secret, TenantId};
use link::private_file;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The hostname of the platform's staff.
pub const CONSOLE: &str = "console.localhost";

/// The hostname of the shared project.
pub const CLOUD: &str = "cloud.localhost";

/// The demo's dedicated tenants.
const TENANTS: [(&str, u128); 2] = [("acme", 1), ("globex", 2)];

/// Roles of the users of each tenant; each is also the user's name.
const ROLES: [&str; 3] = ["admin", "member", "auditor"];

/// What `demo.json` holds.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Demo {
    /// The platform's administrator.
    pub platform_admin: Login,
    /// The tenants.
    pub tenants: Vec<DemoTenant>,
}

/// A name and password.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Login {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
}

/// A tenant of the demo.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct DemoTenant {
    /// Its name.
    pub slug: String,
    /// Its id.
    pub id: TenantId,
    /// Where it is served.
    pub hostname: String,
    /// Its users.
    pub users: Vec<DemoUser>,
    /// An API key of the member, to be sent.
    pub api_key: String,
    /// One to sign requests with.
    pub hmac_key: DemoHmacKey,
}

/// An API key of the member that signs requests.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct DemoHmacKey {
    /// Its public part: `x-api-key-id`.
    pub id: String,
    /// What requests are signed with.
    pub secret: String,
}

/// A user of a tenant of the demo.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct DemoUser {
    /// The role it holds.
    pub role: String,
    /// User name; the email is `{role}@{slug}.example`.
    pub username: String,
    /// Password.
    pub password: String,
}

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The file cannot be read or written.
    #[error("`{path}` cannot be read or written")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what we wrote.
    #[error("`{path}` is not a demo of this release; delete the data folder to start afresh")]
    Contents {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// There is no randomness.
    #[error("the random source failed")]
    Random,
}

impl Demo {
    /// The demo of a data folder; made when it is not there.
    ///
    /// # Errors
    /// [`DemoError`].
    pub fn open(folder: &Path) -> Result<Self, DemoError> {
        let path = folder.join("demo.json");
        match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).map_err(|source| DemoError::Contents { path, source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let demo = Self::invent()?;
                let text = serde_json::to_string_pretty(&demo);
                let text = text.map_err(|source| DemoError::Contents { path: path.clone(), source })?;
                private_file::write(&path, &text).map_err(|source| DemoError::File { path, source })?;
                Ok(demo)
            }
            Err(source) => Err(DemoError::File { path, source }),
        }
    }

    /// A file that holds the platform administrator's password, as configurations refer to secrets.
    ///
    /// # Errors
    /// [`DemoError::File`].
    pub fn admin_password_file(&self, folder: &Path) -> Result<PathBuf, DemoError> {
        let path = folder.join("platform-admin.password");
        let written = private_file::write(&path, &self.platform_admin.password);
        written.map_err(|source| DemoError::File { path: path.clone(), source })?;
        Ok(path)
    }

    /// The key of services that ask about tokens and rights on the `internal` listener: made once, kept in `service.key`.
    ///
    /// # Errors
    /// [`DemoError`].
    pub fn service_key(folder: &Path) -> Result<(PathBuf, Secret<String>), DemoError> {
        let path = folder.join("service.key");
        let file = |source| DemoError::File { path: path.clone(), source };
        let key = match fs::read_to_string(&path) {
            Ok(text) => Secret::new(text.trim_end().to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut bytes = [0_u8; 32];
                aws_lc_rs::rand::fill(&mut bytes).map_err(|_| DemoError::Random)?;
                let key = Secret::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
                private_file::write(&path, key.expose()).map_err(file)?;
                key
            }
            Err(source) => return Err(file(source)),
        };
        Ok((path, key))
    }

    fn invent() -> Result<Self, DemoError> {
        let user = |role: &str| Ok(DemoUser { role: role.into(), username: role.into(), password: password()? });
        let tenant = |(slug, id): (&str, u128)| {
            Ok(DemoTenant {
                slug: slug.into(),
                id: Id::new(Uuid::from_u128(id)),
                hostname: format!("{slug}.localhost"),
                users: ROLES.into_iter().map(user).collect::<Result<_, _>>()?,
                api_key: key(ApiKeyScheme::Bearer)?.text.expose().clone(),
                hmac_key: {
                    let made = key(ApiKeyScheme::Hmac)?;
                    DemoHmacKey { id: made.prefix.to_string(), secret: made.text.expose().clone() }
                },
            })
        };
        Ok(Self {
            platform_admin: Login { username: "platform-admin".into(), password: password()? },
            tenants: TENANTS.into_iter().map(tenant).collect::<Result<_, _>>()?,
        })
    }
}

fn key(scheme: ApiKeyScheme) -> Result<NewKey, DemoError> {
    let mut random = [0_u8; RANDOM_BYTES];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| DemoError::Random)?;
    NewKey::make(scheme, &random).map_err(|_| DemoError::Random)
}

/// 20 characters of 32, 100 bits, in groups that can be read aloud; with an upper-case letter, a digit and a sign, so
/// that it satisfies the platform's password rules.
pub(crate) fn password() -> Result<String, DemoError> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0_u8; 20];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| DemoError::Random)?;
    let mut text = String::from("P7");
    for (at, byte) in bytes.iter().enumerate() {
        if at % 5 == 0 {
            text.push('-');
        }
        text.extend(LETTERS.get(usize::from(byte & 31)).map(|letter| char::from(*letter)));
    }
    Ok(text)
}

#[test]
fn a_second_start_finds_the_same_demo() {
    let folder = tempfile::tempdir().unwrap();
    let first = Demo::open(folder.path()).unwrap();
    assert_eq!(Demo::open(folder.path()).unwrap(), first);
    assert_eq!(Demo::service_key(folder.path()).unwrap(), Demo::service_key(folder.path()).unwrap());
    let all: std::collections::HashSet<_> =
        first.tenants.iter().flat_map(|t| &t.users).map(|u| u.password.clone()).collect();
    assert_eq!(all.len(), 6);
}
