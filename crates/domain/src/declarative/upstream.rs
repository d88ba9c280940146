//! Upstreams of the file.

use std::net::SocketAddr;

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine};

use super::{RawAssertion, RawUpstream, ReadAs, compile::Compiler};
use crate::{
    HostName, Secret,
    snapshot::{Assertion, Entity, Peer, Upstream, UpstreamTls},
};

/// The headers an upstream may ask for.
pub const IDENTITY_HEADERS: [&str; 17] = [
    "x-md-global-user-id",
    "x-md-global-tenant-id",
    "x-md-global-tenant-slug",
    "x-md-global-username",
    "x-md-global-roles",
    "x-md-global-is-admin",
    "x-md-global-is-super-admin",
    "x-md-global-ou-id",
    "x-md-global-session-id",
    "x-md-global-token-id",
    "x-md-global-auth-method",
    "x-md-global-plan",
    "x-md-global-products",
    "x-md-global-request-id",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
];

impl<'f> Compiler<'f> {
    pub(super) fn upstream(&mut self, place: &str, raw: &'f RawUpstream) {
        self.name(place, &raw.name);
        let id = self.id(place, raw.id.as_deref(), "upstream", &[&raw.name]);
        if raw.peers.is_empty() {
            self.refuse(format!("{place}/peers"), "at least one address is needed");
        }
        let mut peers = Vec::new();
        for (at, text) in raw.peers.iter().enumerate() {
            match peer(text) {
                Ok(peer) => peers.push(peer),
                Err(message) => self.refuse(format!("{place}/peers/{at}"), message),
            }
        }
        let tls = self.upstream_tls(place, raw);
        let assertion = self.assertion(place, raw);
        for (at, header) in raw.headers.iter().flatten().enumerate() {
            if !IDENTITY_HEADERS.contains(&header.as_str()) {
                self.refuse(format!("{place}/headers/{at}"), format!("`{header}` is none of the identity headers"));
            }
        }
        if let (Some(id), Some(assertion)) = (id, assertion) {
            self.add(
                place,
                Entity::Upstream(Upstream {
                    id,
                    name: raw.name.clone(),
                    peers,
                    tls,
                    http2: raw.http2,
                    assertion,
                    headers: raw.headers.clone(),
                    host: raw.host.clone(),
                    forward_credentials: raw.forward_credentials,
                    connect_timeout: raw.timeouts.connect,
                    read_timeout: raw.timeouts.read,
                    write_timeout: raw.timeouts.write,
                }),
            );
        }
    }

    fn upstream_tls(&mut self, place: &str, raw: &RawUpstream) -> Option<UpstreamTls> {
        let tls = match (&raw.tls, raw.plaintext) {
            (None, true) => return None,
            (Some(tls), false) => tls,
            (None, false) => {
                self.refuse(place, "either `tls` or `plaintext: true` is needed");
                return None;
            }
            (Some(_), true) => {
                self.refuse(format!("{place}/plaintext"), "`tls` is given too; only one of them holds");
                return None;
            }
        };
        let sni = self.parsed::<HostName>(format!("{place}/tls/sni"), &tls.sni);
        let ca = tls.ca.as_deref().map(|path| self.pem(&format!("{place}/tls/ca"), path, "CERTIFICATE-----"));
        // A CA that was named and cannot be read is refused above; it is never replaced by the system's.
        Some(UpstreamTls { sni: sni?, ca_pem: ca.flatten(), control_plane: false })
    }

    fn assertion(&mut self, place: &str, raw: &RawUpstream) -> Option<Assertion> {
        let kid = raw.assertion_kid.clone().unwrap_or_else(|| raw.name.clone());
        let key_place = format!("{place}/assertion_key");
        let key = match (raw.assertion, &raw.assertion_key, self.read_as) {
            (RawAssertion::Off, None, _) => return Some(Assertion::Off),
            (RawAssertion::Off, Some(_), _) => {
                self.refuse(key_place, "`assertion` is off");
                return None;
            }
            (_, Some(_), ReadAs::Apply) => {
                self.refuse(key_place, "the control API makes this key itself");
                return None;
            }
            // Filled by the control API, which makes the key.
            (_, None, ReadAs::Apply) => String::new(),
            (_, None, ReadAs::EdgeFile) => {
                self.refuse(place, "`assertion_key` is missing");
                return None;
            }
            (kind, Some(path), ReadAs::EdgeFile) => {
                let text = Secret::new(self.file(&key_place, path)?);
                let key = match kind {
                    RawAssertion::Eddsa => pkcs8(text.expose()),
                    RawAssertion::Hmac | RawAssertion::Off => symmetric(text.expose()),
                };
                key.map_err(|message| self.refuse(key_place, format!("file `{path}`: {message}"))).ok()?
            }
        };
        let key = Secret::new(key);
        match raw.assertion {
            RawAssertion::Off => Some(Assertion::Off),
            RawAssertion::Hmac => Some(Assertion::Hmac { key, kid }),
            RawAssertion::Eddsa => Some(Assertion::Eddsa { key, kid }),
        }
    }
}

/// 32 bytes as base64url, as they stand in the entity.
fn symmetric(text: &str) -> Result<String, &'static str> {
    let text = text.trim().trim_end_matches('=');
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map(Secret::new);
    if bytes.is_ok_and(|bytes| bytes.expose().len() == 32) {
        Ok(text.into())
    } else {
        Err("it does not hold 32 bytes as base64url")
    }
}

/// A PEM private key (RFC 7468 §10) as base64url, as it stands in the entity.
fn pkcs8(text: &str) -> Result<String, &'static str> {
    const WRONG: &str = "it does not hold one `PRIVATE KEY` block of PEM";
    let body = text.split_once("-----BEGIN PRIVATE KEY-----").map(|(_, rest)| rest).ok_or(WRONG)?;
    let (body, _) = body.split_once("-----END PRIVATE KEY-----").ok_or(WRONG)?;
    let body: Secret<String> = body.split_ascii_whitespace().collect::<String>().into();
    let der = Secret::new(BASE64_STANDARD.decode(body.expose()).map_err(|_| WRONG)?);
    Ok(BASE64_URL_SAFE_NO_PAD.encode(der.expose()))
}

/// Reads `IP:PORT`, `[IP]:PORT`, `NAME:PORT` or `unix:/PATH`.
///
/// # Errors
/// What an address looks like, when this is none.
pub fn peer(text: &str) -> Result<Peer, String> {
    let wrong = || {
        format!(
            "`{text}` is not an address such as `127.0.0.1:3000`, `[::1]:3000`, `orders:3000` or `unix:/run/orders.sock`"
        )
    };
    if let Some(path) = text.strip_prefix("unix:") {
        return if path.starts_with('/') { Ok(Peer::Unix(path.into())) } else { Err(wrong()) };
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return if address.port() == 0 { Err(wrong()) } else { Ok(Peer::Socket(address)) };
    }
    let (name, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().ok().filter(|p| *p != 0).ok_or_else(wrong)?;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    // A name of digits and dots is a mistyped address.
    let is_name = name.bytes().any(|b| b.is_ascii_alphabetic());
    if is_name && name.len() <= 253 && name.bytes().all(allowed) {
        Ok(Peer::Name(name.to_ascii_lowercase(), port))
    } else {
        Err(wrong())
    }
}
