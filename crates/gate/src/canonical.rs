//! Stage 1: one reading of the request, or a refusal.
//!
//! What comes out is what is decided on, logged, signed and forwarded: a path in RFC 3986 §6.2.2 normal form, one
//! host in the spelling it is stored in, a query as it was. Whatever two programs could read differently is refused:
//!
//! | refused | because |
//! |---|---|
//! | `%2F %5C %00 %2E %3B`, `\`, `;`, `#` in the path | some decode or cut there before they route, some after |
//! | `.` and `..` segments, `//` | some resolve or merge them, some do not |
//! | control and 8-bit bytes, space, `<>"{}\|^` and the backtick | not URI characters (RFC 3986 §2); some encode, some cut |
//! | two hosts, none, one with userinfo | the next reader may pick the other |
//! | `x_md_…`, `X.Forwarded.For` | servers fold `_` and `.` to `-` |
//! | `Transfer-Encoding` beside `Content-Length`, other than `chunked`, on HTTP/1.0 | request smuggling |

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use domain::RequestId;
use http::{HeaderMap, HeaderName, header};

use crate::{Denial, ShownCertificate};

/// Longest request target, in bytes.
pub const MAX_TARGET_BYTES: usize = 16 * 1024;

/// Which listener took the request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Listener {
    /// The TLS listener.
    Tls,
    /// The plain listener, which only redirects and answers ACME.
    Plain,
}

/// The protocol the request came by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    H2,
}

/// A request as it came off the wire, not judged at all. Borrowed from the proxy.
#[derive(Clone, Copy, Debug)]
pub struct RawHead<'r> {
    /// Which listener took it.
    pub listener: Listener,
    /// The name of the TLS handshake, as sent.
    pub sni: Option<&'r str>,
    /// The certificate that the client showed then, if it did.
    pub certificate: Option<&'r Arc<ShownCertificate>>,
    /// Protocol.
    pub version: Version,
    /// Method, as sent.
    pub method: &'r str,
    /// Request target, as sent; of HTTP/2, `:path`.
    pub target: &'r [u8],
    /// `:authority` of HTTP/2.
    pub authority: Option<&'r [u8]>,
    /// Header fields.
    pub headers: &'r HeaderMap,
    /// Whether a body follows, announced or not: HTTP/2 needs no length.
    pub has_body: bool,
    /// The address of the connection, or what a proxy said of it in front of the connection's first byte.
    pub client: IpAddr,
    /// The id we gave it.
    pub request_id: RequestId,
}

/// A request with one reading.
#[derive(Clone, Debug)]
pub struct CanonicalRequest<'r> {
    /// Which listener took it.
    pub listener: Listener,
    /// Method: one of those the edge serves.
    pub method: &'static str,
    /// Host: lower case, no port, no trailing dot.
    pub host: Cow<'r, str>,
    /// Path in normal form, with its leading slash.
    pub path: Cow<'r, str>,
    /// Query without its `?`, untouched.
    pub query: Option<&'r str>,
    /// Header fields.
    pub headers: &'r HeaderMap,
    /// Whether a body follows.
    pub has_body: bool,
    /// The certificate that the client showed when the connection was made, if it did.
    pub certificate: Option<&'r Arc<ShownCertificate>>,
    /// The client's address: the connection's until [`crate::client`] has seen through the proxies of ours.
    pub client: IpAddr,
    /// The id we gave it.
    pub request_id: RequestId,
}

impl CanonicalRequest<'_> {
    /// Whether the request only reads (RFC 9110 §9.2.1). An upgrade opens a way to write, whatever its method.
    pub fn is_safe(&self) -> bool {
        matches!(self.method, "GET" | "HEAD" | "OPTIONS") && !self.headers.contains_key(header::UPGRADE)
    }
}

/// The methods the edge serves. `CONNECT` and `TRACE` are doors of their own; others have no agreed meaning.
pub const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Reads a request in the one way there is.
///
/// # Errors
/// A [`Denial`] of stage 1.
pub fn read<'r>(head: &RawHead<'r>) -> Result<CanonicalRequest<'r>, Denial> {
    let method = METHODS.into_iter().find(|m| *m == head.method).ok_or(Denial::MethodNotAllowed)?;
    let (authority_in_target, target) = split_target(head)?;
    let host = host(head, authority_in_target)?;
    headers(head)?;
    let (raw_path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let path = normal_path(raw_path)?;
    if let Some(sni) = head.sni {
        // RFC 9110 §15.5.20: a connection made for one name is not used for another.
        if !sni.strip_suffix('.').unwrap_or(sni).eq_ignore_ascii_case(&host) {
            return Err(Denial::HostMismatch);
        }
    }
    Ok(CanonicalRequest {
        listener: head.listener,
        method,
        host,
        path,
        query,
        headers: head.headers,
        has_body: head.has_body,
        certificate: head.certificate,
        client: head.client,
        request_id: head.request_id,
    })
}

/// Splits absolute-form (RFC 9112 §3.2.2) into its authority and the rest; origin-form has no authority.
fn split_target<'r>(head: &RawHead<'r>) -> Result<(Option<&'r str>, &'r str), Denial> {
    let malformed = Denial::PathRefused;
    if head.target.len() > MAX_TARGET_BYTES {
        return Err(Denial::TargetTooLong);
    }
    let target = std::str::from_utf8(head.target).map_err(|_| malformed("the request target has 8-bit bytes"))?;
    if target.bytes().any(|b| !(0x21..=0x7e).contains(&b)) {
        return Err(malformed("the request target has spaces, control or 8-bit bytes"));
    }
    if target.contains('#') {
        return Err(malformed("the request target has a fragment"));
    }
    if target.starts_with('/') {
        return Ok((None, target));
    }
    let scheme = match head.listener {
        Listener::Tls => "https://",
        Listener::Plain => "http://",
    };
    let rest = target
        .get(..scheme.len())
        .filter(|s| s.eq_ignore_ascii_case(scheme) && head.version != Version::H2)
        .and_then(|_| target.get(scheme.len()..))
        .ok_or(malformed("the request target is not origin-form"))?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    match rest.split_at_checked(end) {
        Some((authority, path)) if path.starts_with('/') => Ok((Some(authority), path)),
        _ => Err(malformed("the request target has no path")),
    }
}

fn host<'r>(head: &RawHead<'r>, in_target: Option<&'r str>) -> Result<Cow<'r, str>, Denial> {
    let mut fields = head.headers.get_all(header::HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(Denial::HostInvalid("more than one Host field"));
    }
    let field = field.map(|value| text(value.as_bytes())).transpose()?;
    let authority = head.authority.map(text).transpose()?;
    let mut named = [field, authority, in_target].into_iter().flatten().map(normal_host);
    // RFC 9112 §3.2: every HTTP/1.1 request has a Host, absolute-form or not.
    if field.is_none() && head.version != Version::H2 {
        return Err(Denial::HostInvalid("no Host field"));
    }
    let host = named.next().ok_or(Denial::HostInvalid("no host at all"))??;
    for other in named {
        if other? != host {
            return Err(Denial::HostInvalid("two hosts that differ"));
        }
    }
    Ok(host)
}

fn text(bytes: &[u8]) -> Result<&str, Denial> {
    std::str::from_utf8(bytes).map_err(|_| Denial::HostInvalid("8-bit bytes in the host"))
}

/// Lower case, without port and trailing dot. Everything else must be as [`domain::HostName`] writes it.
fn normal_host(authority: &str) -> Result<Cow<'_, str>, Denial> {
    let invalid = Denial::HostInvalid;
    let name = match authority.split_once(':') {
        Some((name, port)) => {
            if port.is_empty() || port.len() > 5 || !port.bytes().all(|b| b.is_ascii_digit()) {
                return Err(invalid("what follows the colon is no port"));
            }
            name
        }
        None => authority,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if !(1..=253).contains(&name.len()) {
        return Err(invalid("its length"));
    }
    let mut upper = false;
    let (mut label, mut previous) = (0_usize, b'.');
    for byte in name.bytes() {
        match byte {
            b'.' if label == 0 || previous == b'-' => return Err(invalid("an empty label or one that ends in `-`")),
            b'.' => label = 0,
            b'-' if label == 0 => return Err(invalid("a label that starts with `-`")),
            b'a'..=b'z' | b'0'..=b'9' | b'-' => label += 1,
            b'A'..=b'Z' => {
                upper = true;
                label += 1;
            }
            _ => return Err(invalid("a byte no hostname has")),
        }
        previous = byte;
    }
    if label == 0 || previous == b'-' {
        return Err(invalid("an empty label or one that ends in `-`"));
    }
    Ok(if upper { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) })
}

/// RFC 3986 §6.2.2: percent-encodings in upper case, unreserved characters decoded. Canonical input is borrowed.
fn normal_path(path: &str) -> Result<Cow<'_, str>, Denial> {
    let refused = Denial::PathRefused;
    let bytes = path.as_bytes();
    let mut changed: Option<String> = None;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte == b'%' {
            let (Some(high), Some(low)) = (hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) else {
                return Err(refused("a `%` without two hexadecimal digits"));
            };
            let decoded = high * 16 + low;
            match decoded {
                b'/' | b'\\' | b'.' | b';' => return Err(refused("an encoded `/`, `\\`, `.` or `;`")),
                0x00..=0x1f | 0x7f => return Err(refused("an encoded control byte")),
                _ => {}
            }
            if is_unreserved(decoded) {
                changed.get_or_insert_with(|| prefix(path, at)).push(char::from(decoded));
            } else {
                let lower = path.get(at..at + 3).is_some_and(|t| t.bytes().any(|b| b.is_ascii_lowercase()));
                if lower && changed.is_none() {
                    changed = Some(prefix(path, at));
                }
                if let Some(out) = &mut changed {
                    out.push('%');
                    out.extend(path.get(at + 1..at + 3).unwrap_or_default().chars().map(|c| c.to_ascii_uppercase()));
                }
            }
            at += 3;
            continue;
        }
        if !is_path_byte(byte) {
            return Err(refused("a byte that no path has"));
        }
        if let Some(out) = &mut changed {
            out.push(char::from(byte));
        }
        at += 1;
    }
    let normal = changed.map_or(Cow::Borrowed(path), Cow::Owned);
    let mut segments = normal.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." | ".." => return Err(refused("a dot segment")),
            "" if segments.peek().is_some() => return Err(refused("an empty segment")),
            _ => {}
        }
    }
    Ok(normal)
}

fn prefix(path: &str, at: usize) -> String {
    let mut text = String::with_capacity(path.len());
    text.push_str(path.get(..at).unwrap_or_default());
    text
}

fn hex(byte: Option<&u8>) -> Option<u8> {
    match byte? {
        digit @ b'0'..=b'9' => Some(digit - b'0'),
        letter @ b'a'..=b'f' => Some(letter - b'a' + 10),
        letter @ b'A'..=b'F' => Some(letter - b'A' + 10),
        _ => None,
    }
}

/// RFC 3986 §2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// `pchar` of RFC 3986 §3.3 and `/`, without `;`, whose parameters some readers cut off.
const fn is_path_byte(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(byte, b'/' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@')
}

/// Names that services behind us trust, or that we read, in the spelling with `-`. What another server folds to one
/// of these is refused.
fn is_trusted_name(folded: &str) -> bool {
    folded.starts_with("x-md-")
        || folded.starts_with("x-forwarded-")
        || matches!(
            folded,
            "authorization"
                | "connection"
                | "content-length"
                | "cookie"
                | "forwarded"
                | "host"
                | "proxy-authorization"
                | "te"
                | "trailer"
                | "transfer-encoding"
                | "upgrade"
                | "x-api-key-id"
                | "x-http-method-override"
                | "x-original-url"
                | "x-real-ip"
                | "x-request-id"
                | "x-rewrite-url"
        )
}

fn headers(head: &RawHead<'_>) -> Result<(), Denial> {
    for name in head.headers.keys() {
        alias(name)?;
    }
    let malformed = Denial::RequestMalformed;
    let mut lengths = head.headers.get_all(header::CONTENT_LENGTH).iter();
    if let Some(length) = lengths.next() {
        if lengths.next().is_some() {
            return Err(malformed("Content-Length occurs twice"));
        }
        let digits = length.as_bytes();
        if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
            return Err(malformed("Content-Length is not a number"));
        }
    }
    let mut codings = head.headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        if head.version != Version::Http11 {
            return Err(malformed("Transfer-Encoding outside HTTP/1.1"));
        }
        if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(malformed("Transfer-Encoding is not `chunked` alone"));
        }
        if head.headers.contains_key(header::CONTENT_LENGTH) {
            return Err(malformed("Transfer-Encoding beside Content-Length"));
        }
    }
    for upgrade in head.headers.get_all(header::UPGRADE) {
        if !upgrade.as_bytes().eq_ignore_ascii_case(b"websocket") {
            return Err(malformed("an Upgrade to something else than `websocket`"));
        }
    }
    Ok(())
}

/// Refuses a name that folds to a trusted one without being it.
fn alias(name: &HeaderName) -> Result<(), Denial> {
    let text = name.as_str();
    if !text.bytes().any(|b| matches!(b, b'_' | b'.')) {
        return Ok(());
    }
    let folded = text.replace(['_', '.'], "-");
    if is_trusted_name(&folded) { Err(Denial::HeaderRefused(text.to_owned().into())) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
