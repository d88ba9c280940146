//! Settings of mail.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use domain::{HumanDuration, Secret};
use link::file::{Checks, SecretRef, SecretRefError};
use reqwest::Url;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most servers.
const MAX_SERVERS: usize = 5;

/// What a claim of a letter lasts longer than its servers may take.
const MARGIN: Duration = Duration::from_secs(20);

/// Mail. Without servers, letters lie in the development mailbox in `dev`, and whatever needs mail is refused elsewhere.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MailConfig {
    /// A server as `smtps://USER:PASSWORD@HOST:PORT` (TLS from the first byte) or `smtp://…` (STARTTLS; `?tls=none` to this
    /// machine), tried before `servers`; for `SMTP_URL`. In a file, name servers below: their passwords stand elsewhere.
    pub url: Option<Secret<String>>,
    /// Servers, tried in this order until one takes a letter; at most 5. Default none.
    pub servers: Vec<MailServer>,
    /// Whom letters are from: `NAME <ADDRESS>` or `ADDRESS`. Needed with a server.
    pub from: Option<String>,
    /// How long a server may take for one letter, 1 s to 30 s. Default 10 s.
    pub timeout: HumanDuration,
    /// Letters at once of this process, 1 to 64. Default 8.
    #[schemars(range(min = 1, max = 64))]
    pub at_once: u32,
    /// A letter that no server took is tried again after this long, twice that, and so on; 100 ms to `retry_most`. Default 5 s.
    pub retry: HumanDuration,
    /// The longest such pause, at most 1 d. Default 10 m.
    pub retry_most: HumanDuration,
    /// A letter is given up when it was tried for this long, 1 m to 7 d. Default 1 d.
    pub give_up_after: HumanDuration,
}

impl Default for MailConfig {
    fn default() -> Self {
        Self {
            url: None,
            servers: Vec::new(),
            from: None,
            timeout: HumanDuration::from_secs(10),
            at_once: 8,
            retry: HumanDuration::from_secs(5),
            retry_most: HumanDuration::from_secs(600),
            give_up_after: HumanDuration::from_secs(86_400),
        }
    }
}

/// A mail server.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MailServer {
    /// Its name, which its certificate holds, or its address.
    pub host: String,
    /// Its port. Default 587 with STARTTLS, 465 with TLS from the first byte, 25 without.
    pub port: Option<u16>,
    /// How the connection is kept from others. Default `starttls`.
    #[serde(default)]
    pub tls: MailTls,
    /// User name, with `password`. Default none: the server takes our mail without.
    pub username: Option<String>,
    /// Password, by reference.
    pub password: Option<SecretRef>,
    /// PEM of the authorities trusted for its certificate. Default the system's.
    pub ca: Option<PathBuf>,
    /// The password of `mail.url`.
    #[serde(skip)]
    pub(crate) given: Option<Secret<String>>,
}

/// How a connection to a mail server is kept from others.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MailTls {
    /// By STARTTLS, or not at all used.
    #[default]
    Starttls,
    /// By TLS from the first byte.
    Implicit,
    /// It does not leave this machine.
    None,
}

impl MailServer {
    /// Its port.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.tls {
            MailTls::Starttls => 587,
            MailTls::Implicit => 465,
            MailTls::None => 25,
        })
    }

    /// Its password, if it wants one.
    pub(crate) fn secret(&self) -> Result<Option<Secret<String>>, SecretRefError> {
        match (&self.given, &self.password) {
            (Some(given), _) => Ok(Some(given.clone())),
            (None, Some(reference)) => reference.resolve(Path::new("")).map(Some),
            (None, None) => Ok(None),
        }
    }

    fn of_url(url: &Secret<String>) -> Option<Self> {
        let url = Url::parse(url.expose()).ok()?;
        let unescaped = |text: &str| percent_decoded(text);
        let tls = match (url.scheme(), url.query()) {
            ("smtps", None) => MailTls::Implicit,
            ("smtp", None) => MailTls::Starttls,
            ("smtp", Some("tls=none")) => MailTls::None,
            _ => return None,
        };
        let host = url.host_str().filter(|host| !host.is_empty())?;
        let username = Some(url.username()).filter(|name| !name.is_empty()).map(unescaped);
        let given = url.password().map(|password| Secret::new(unescaped(password)));
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Some(Self { host, port: url.port(), tls, username, password: None, ca: None, given })
    }

    fn check(&self, place: &str, checks: &mut Checks<'_>) {
        if self.host.is_empty() || self.host.chars().any(|c| c.is_control() || c.is_whitespace()) {
            checks.refuse(&format!("{place}/host"), "is no name and no address");
        }
        let here = self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if self.tls == MailTls::None && !here {
            checks.refuse(&format!("{place}/tls"), "is `none`, which is for this machine only: letters hold secrets");
        }
        if self.username.is_some() != (self.password.is_some() || self.given.is_some()) {
            checks.refuse(&format!("{place}/password"), "goes with `username`");
        }
    }
}

impl MailConfig {
    /// All servers in their order.
    pub(crate) fn all_servers(&self) -> Vec<MailServer> {
        self.url.as_ref().and_then(MailServer::of_url).into_iter().chain(self.servers.iter().cloned()).collect()
    }

    /// For how long a claim of a letter holds: as long as all servers may take, and a little.
    pub(crate) fn lease(&self) -> Duration {
        self.timeout.get() * u32::try_from(self.all_servers().len()).unwrap_or(1) + MARGIN
    }

    pub(super) fn rebased(&mut self, base: &Path) {
        for server in &mut self.servers {
            if let Some(SecretRef::File(path)) = &mut server.password {
                *path = base.join(&*path);
            }
            server.ca.iter_mut().for_each(|path| *path = base.join(&*path));
        }
    }

    pub(super) fn check(&self, checks: &mut Checks<'_>) {
        let secs = Duration::from_secs;
        if let Some(url) = &self.url {
            match MailServer::of_url(url) {
                Some(server) => server.check("/mail/url", checks),
                None => checks.refuse("/mail/url", "is not `smtps://HOST`, `smtp://HOST` or `smtp://HOST?tls=none`"),
            }
        }
        for (at, server) in self.servers.iter().enumerate() {
            server.check(&format!("/mail/servers/{at}"), checks);
        }
        let servers = self.all_servers().len();
        if servers > MAX_SERVERS {
            checks.refuse("/mail/servers", "are more than 5");
        }
        let from = self.from.as_deref().map(str::parse::<lettre::message::Mailbox>);
        match from {
            None if servers > 0 => checks.refuse("/mail/from", "is missing: letters are from somebody"),
            Some(Err(_)) => checks.refuse("/mail/from", "is not `NAME <ADDRESS>` or `ADDRESS`"),
            None | Some(Ok(_)) => {}
        }
        if !(secs(1)..=secs(30)).contains(&self.timeout.get()) {
            checks.refuse("/mail/timeout", "is not between 1s and 30s");
        }
        let (retry, most) = (self.retry.get(), self.retry_most.get());
        if retry < Duration::from_millis(100) {
            checks.refuse("/mail/retry", "is shorter than 100ms");
        }
        if !(retry..=secs(86_400)).contains(&most) {
            checks.refuse("/mail/retry_most", "is not within `retry` and 1d");
        }
        if !(secs(60)..=secs(7 * 86_400)).contains(&self.give_up_after.get()) {
            checks.refuse("/mail/give_up_after", "is not between 1m and 7d");
        }
    }
}

/// The text that a part of a URL stands for (RFC 3986 §2.1); what is no UTF-8 stays as it is.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = match (first, after) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_server() {
        let of = |text: &str| MailServer::of_url(&Secret::new(text.into()));
        let server = of("smtps://ada%40acme:p%3Aw@mail.example.com").unwrap();
        assert_eq!((server.host.as_str(), server.port(), server.tls), ("mail.example.com", 465, MailTls::Implicit));
        assert_eq!(server.username.as_deref(), Some("ada@acme"));
        assert_eq!(server.secret().unwrap().unwrap().expose(), "p:w");
        assert!(!format!("{server:?}").contains("p:w"), "a password is not printed");
        let plain = of("smtp://[::1]:1025?tls=none").unwrap();
        assert_eq!((plain.host.as_str(), plain.port(), plain.tls), ("::1", 1025, MailTls::None));
        assert_eq!(of("smtp://mail.example.com").unwrap().port(), 587);
        for wrong in ["http://mail.example.com", "smtp://mail.example.com?tls=maybe", "smtps://x?tls=none", "mail"] {
            assert!(of(wrong).is_none(), "{wrong}");
        }
    }
}
