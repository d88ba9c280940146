//! What the command's subcommands say to a running control API: where it is, who asks, ask, read the answer.
//!
//! ```text
//! Connection (flags, variables) ─┐
//! contexts   (a file, 0600)     ─┴▶ SignedIn ──ask──▶ control API ──▶ answer, or a Failure with its exit code
//! ```
//!
//! Passwords and tokens come from files, the standard input or the environment, never from an argument: those are seen
//! in the list of processes.

mod context;
mod failure;
mod session;

pub(crate) use self::failure::{json_text, send};
pub use self::{
    context::ContextCommand,
    failure::{Failure, answer, text},
    session::{Login, Logout, SignedIn, login, logout},
};

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use domain::{Clock, Secret};
use reqwest::Url;
use serde::{Deserialize, Serialize};

use self::context::Contexts;

/// The control API's admin listener on this machine.
const HERE: &str = "http://127.0.0.1:9080";

/// Who signs in where nothing says otherwise.
const STAFF: &str = "platform-admin";

/// Where the control API is, and who asks. What is not given comes from the context that is in use, if there is one.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// The control API: its admin listener, or a tenant's hostname at the edge. https, or http on this machine.
    /// Default http://127.0.0.1:9080.
    #[arg(long, env = "PORTCULLIS_URL", value_name = "URL")]
    server: Option<String>,
    /// PEM of the authorities trusted for its certificate. Default: the system's.
    #[arg(long, env = "PORTCULLIS_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The context to use; see `portcullis context`.
    #[arg(long, env = "PORTCULLIS_CONTEXT", value_name = "NAME")]
    context: Option<String>,
    /// Who signs in: user name or email. Default platform-admin.
    #[arg(long = "as", env = "PORTCULLIS_USERNAME", value_name = "USERNAME")]
    sign_in_as: Option<String>,
    /// Whose door they sign in at. Default: the platform's.
    #[arg(long, env = "PORTCULLIS_DOOR", value_enum)]
    door: Option<Door>,
    /// File that holds their password, `-` for the standard input; without it PORTCULLIS_PASSWORD is read.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// File that holds an access token, `-` for the standard input; without it PORTCULLIS_TOKEN is read.
    #[arg(long, value_name = "FILE", conflicts_with = "password_file")]
    token_file: Option<PathBuf>,
}

/// Where somebody signs in.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    /// The platform's staff.
    #[default]
    Platform,
    /// A tenant's users, at the tenant's hostname.
    Tenant,
}

impl Door {
    const fn path(self) -> &'static str {
        match self {
            Self::Platform => "/api/v1/auth",
            Self::Tenant => "/api/v1/tenant/auth",
        }
    }
}

/// A [`Connection`] under the names its flags had before there were resources whose own fields are called so.
#[derive(Args, Clone, Debug)]
pub struct Admin {
    #[command(flatten)]
    connection: Connection,
    /// As --server.
    #[arg(long, hide = true)]
    url: Option<String>,
    /// As --as.
    #[arg(long, hide = true)]
    username: Option<String>,
}

impl Admin {
    /// Signs in.
    ///
    /// # Errors
    /// As [`Connection::sign_in`].
    pub async fn sign_in(&self, clock: &dyn Clock) -> anyhow::Result<SignedIn> {
        self.connection().sign_in(clock).await
    }

    fn connection(&self) -> Connection {
        let mut connection = self.connection.clone();
        connection.server = self.url.clone().or(connection.server);
        connection.sign_in_as = self.username.clone().or(connection.sign_in_as);
        connection
    }
}

/// Where the control API is: all that is known once flags, variables and context are put together.
#[derive(Clone, Debug)]
struct Place {
    url: Url,
    ca: Option<PathBuf>,
    door: Door,
}

impl Connection {
    /// Somebody who may ask: with a token that was given, with a password that was given, or with what the context keeps.
    ///
    /// # Errors
    /// Nothing to sign in with, or what the control API answers.
    pub async fn sign_in(&self, clock: &dyn Clock) -> anyhow::Result<SignedIn> {
        let contexts = Contexts::open()?;
        let known = contexts.named(self.context.as_deref())?;
        let place = self.place(known.map(|(_, context)| context))?;
        if let Some(token) = given(self.token_file.as_deref(), "PORTCULLIS_TOKEN")? {
            return SignedIn::with(&place, token);
        }
        // What a context keeps is for the place that it names and for no other.
        let known = known.filter(|(_, context)| context.url == place.url.as_str() && context.door == place.door);
        let context = known.map(|(_, context)| context);
        let username = self.sign_in_as.as_deref().or_else(|| context?.username.as_deref()).unwrap_or(STAFF);
        if let Some(password) = given(self.password_file.as_deref(), "PORTCULLIS_PASSWORD")? {
            return SignedIn::by_password(&place, username, &password, clock).await;
        }
        if let Some((name, _)) = known.filter(|(_, context)| context.tokens.is_some() && self.sign_in_as.is_none()) {
            return SignedIn::kept(&place, name, clock).await;
        }
        let file = context.and_then(|context| context.password_file.as_deref());
        let password = file.map(read_secret).transpose()?.context(
            "nothing to sign in with: `portcullis login`, give --password-file, or set PORTCULLIS_PASSWORD or \
             PORTCULLIS_TOKEN",
        )?;
        SignedIn::by_password(&place, username, &password, clock).await
    }

    fn place(&self, context: Option<&context::Context>) -> anyhow::Result<Place> {
        let text = self.server.as_deref().or_else(|| Some(context?.url.as_str())).unwrap_or(HERE);
        Ok(Place {
            url: read_url(text)?,
            ca: self.ca.clone().or_else(|| context?.ca.clone()),
            door: self.door.or_else(|| Some(context?.door)).unwrap_or_default(),
        })
    }
}

/// An address that a password may be sent to.
fn read_url(text: &str) -> anyhow::Result<Url> {
    let url: Url = text.parse().map_err(|error| Failure::usage(format!("`{text}` is no address: {error}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Failure::usage("an address holds no user name and no password").into());
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_here(&url) => Ok(url),
        _ => Err(Failure::usage(format!("`{text}` is neither https nor http on this machine")).into()),
    }
}

/// Whether an address is on this machine.
fn is_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || host.ends_with(".localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// A secret from a file, else from a variable.
fn given(file: Option<&Path>, variable: &str) -> anyhow::Result<Option<Secret<String>>> {
    match file {
        Some(file) => read_secret(file).map(Some),
        None => Ok(std::env::var(variable).ok().filter(|text| !text.is_empty()).map(Secret::new)),
    }
}

/// A secret from a file, without the line feed that editors put at its end; from the standard input for `-`.
pub(crate) fn read_secret(file: &Path) -> anyhow::Result<Secret<String>> {
    let text = read_text(file)?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// A text from a file; from the standard input for `-`.
pub(crate) fn read_text(file: &Path) -> anyhow::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("the standard input cannot be read")?;
        return Ok(text);
    }
    fs::read_to_string(file).with_context(|| format!("`{}` cannot be read", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_sent_over_tls_or_within_this_machine() {
        for good in ["https://api.example.com", "http://127.0.0.1:9080", "http://[::1]:9080", "http://acme.localhost"] {
            assert!(read_url(good).is_ok(), "{good}");
        }
        for bad in
            ["http://api.example.com", "http://127.0.0.1.example.com", "ftp://127.0.0.1", "https://a:b@c", "x", ""]
        {
            assert!(read_url(bad).is_err(), "{bad}");
        }
    }
}
