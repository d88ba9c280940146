//! Which pages of other origins may call a hostname (CORS, Fetch Standard §3.2).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{HostName, HumanDuration};

/// Items that each list of [`Cors`] holds at most.
pub const MAX_ITEMS: usize = 64;

/// Longest time a preflight's answer may be remembered.
const MAX_AGE_SECS: u64 = 86_400;

/// Which pages of other origins may call a hostname, and how. Without any origin, none may, and the edge answers no
/// preflight.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cors {
    /// Their origins, at most 64: `https://app.example.com`, or `https://*.example.com` for all names below
    /// `example.com`. Plain `http` for `localhost` and names below it only.
    #[schemars(length(max = MAX_ITEMS))]
    pub origins: Vec<CorsOrigin>,
    /// Methods they may use. Default: GET, HEAD and POST.
    #[schemars(length(max = MAX_ITEMS))]
    pub methods: Vec<String>,
    /// Header fields they may set beside the few that every page may, at most 64.
    #[schemars(length(max = MAX_ITEMS))]
    pub headers: Vec<String>,
    /// Header fields of answers that they may read beside the few that every page may, at most 64.
    #[schemars(length(max = MAX_ITEMS))]
    pub expose: Vec<String>,
    /// Whether they may send the user's credentials. Default: false.
    pub credentials: bool,
    /// How long a browser may remember the answer to a preflight, 0s to 1d. Default: 10m.
    pub max_age: HumanDuration,
}

impl Default for Cors {
    fn default() -> Self {
        Self {
            origins: Vec::new(),
            methods: ["GET", "HEAD", "POST"].map(Into::into).into(),
            headers: Vec::new(),
            expose: Vec::new(),
            credentials: false,
            max_age: HumanDuration::from_secs(600),
        }
    }
}

impl Cors {
    /// Whether pages of any other origin may call.
    pub fn is_on(&self) -> bool {
        !self.origins.is_empty()
    }

    /// Whether its lists are within their bounds, and hold what they may.
    ///
    /// # Errors
    /// Which does not.
    pub fn check(&self) -> Result<(), CorsError> {
        let fail = |field, reason| Err(CorsError { field, reason });
        let lengths = [
            ("origins", self.origins.len()),
            ("methods", self.methods.len()),
            ("headers", self.headers.len()),
            ("expose", self.expose.len()),
        ];
        if let Some((field, _)) = lengths.into_iter().find(|(_, length)| *length > MAX_ITEMS) {
            return fail(field, "at most 64 are allowed");
        }
        let known = |method: &String| {
            matches!(method.as_str(), "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS")
        };
        if !self.methods.iter().all(known) {
            return fail("methods", "methods that the edge serves are allowed, in upper case");
        }
        for (field, names) in [("headers", &self.headers), ("expose", &self.expose)] {
            if !names.iter().all(|name| is_field_name(name)) {
                return fail(field, "names of header fields are allowed; `*` is none");
            }
        }
        if self.max_age.get().as_secs() > MAX_AGE_SECS {
            return fail("max_age", "0s to 1d is allowed");
        }
        Ok(())
    }
}

/// `token` of RFC 9110 §5.6.2, without `*`, which would mean any.
fn is_field_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(&b);
    (1..=128).contains(&name.len()) && name.bytes().all(allowed)
}

/// What of a [`Cors`] cannot be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{field}`: {reason}")]
pub struct CorsError {
    /// The field.
    pub field: &'static str,
    /// What may be.
    pub reason: &'static str,
}

/// An origin (RFC 6454 §4), or all of the names below one.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("examples" = ["https://app.example.com", "https://*.example.com:8443"]))]
pub struct CorsOrigin {
    secure: bool,
    /// The names below the host, and not the host.
    below: bool,
    host: HostName,
    /// None for the scheme's own.
    port: Option<u16>,
}

impl CorsOrigin {
    /// Whether the value of an `Origin` field is this one. Byte for byte, as browsers write it: `null`, a list or another
    /// spelling is nobody's.
    pub fn is(&self, origin: &str) -> bool {
        let Some((secure, host, port)) = split(origin) else { return false };
        if secure != self.secure || port != self.port {
            return false;
        }
        if !self.below {
            return *host == *self.host.as_str();
        }
        // The dot belongs to the boundary: `evilexample.com` is not below `example.com`.
        let label = host.strip_suffix(self.host.as_str()).and_then(|rest| rest.strip_suffix('.'));
        label.is_some_and(|label| !label.is_empty()) && host.parse::<HostName>().is_ok_and(|it| *it.as_str() == *host)
    }
}

/// Scheme, host and port of an origin; none where it is no origin.
fn split(origin: &str) -> Option<(bool, &str, Option<u16>)> {
    let (secure, rest) = match (origin.strip_prefix("https://"), origin.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => return None,
    };
    match rest.split_once(':') {
        None => Some((secure, rest, None)),
        Some((host, port)) => {
            let number: u16 = port.parse().ok().filter(|number: &u16| number.to_string() == port)?;
            Some((secure, host, Some(number)))
        }
    }
}

impl FromStr for CorsOrigin {
    type Err = CorsOriginError;
    fn from_str(text: &str) -> Result<Self, CorsOriginError> {
        let fail = |reason| CorsOriginError { text: text.into(), reason };
        let (secure, host, port) = split(text).ok_or_else(|| fail("a scheme, a host and perhaps a port are"))?;
        let (below, host) = host.strip_prefix("*.").map_or((false, host), |host| (true, host));
        let host: HostName = host.parse().map_err(|_| fail("a hostname, or `*.` and one, is"))?;
        let local = host.as_str() == "localhost" || host.as_str().ends_with(".localhost");
        if !secure && !local {
            return Err(fail("`http` for `localhost` only is"));
        }
        if below && !host.as_str().contains('.') && !local {
            return Err(fail("a wildcard below more than a top-level domain is"));
        }
        let own = if secure { 443 } else { 80 };
        Ok(Self { secure, below, host, port: port.filter(|port| *port != own) })
    }
}

/// Why a text is not a [`CorsOrigin`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is not an origin such as `https://app.example.com` or `https://*.example.com`: {reason} allowed")]
pub struct CorsOriginError {
    text: String,
    reason: &'static str,
}

impl TryFrom<String> for CorsOrigin {
    type Error = CorsOriginError;
    fn try_from(text: String) -> Result<Self, CorsOriginError> {
        text.parse()
    }
}
impl From<CorsOrigin> for String {
    fn from(origin: CorsOrigin) -> Self {
        origin.to_string()
    }
}
impl fmt::Display for CorsOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", if self.below { "*." } else { "" }, self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> CorsOrigin {
        text.parse().unwrap()
    }

    #[test]
    fn an_origin_reads_back_what_it_wrote() {
        for text in ["https://app.example.com", "https://*.example.com:8443", "http://localhost:3000"] {
            assert_eq!(origin(text).to_string(), text);
        }
        assert_eq!(origin("https://APP.example.com:443").to_string(), "https://app.example.com");
    }

    #[test]
    fn refuses_what_lets_in_more_than_it_says() {
        for bad in [
            "",
            "*",
            "null",
            "https://",
            "https://*",
            "https://*.com",
            "https://a.*.com",
            "https://*a.example.com",
            "http://app.example.com",
            "https://app.example.com/",
            "https://app.example.com/x",
            "https://u@example.com",
            "https://example.com:0x50",
            "https://example.com:",
            "https://1.2.3.4",
            "ftp://example.com",
            "example.com",
            "https://a.example.com https://b.example.com",
        ] {
            assert!(bad.parse::<CorsOrigin>().is_err(), "{bad}");
        }
    }

    #[test]
    fn l2_a_wildcard_ends_at_a_dot() {
        let below = origin("https://*.example.com");
        for good in ["https://a.example.com", "https://a.b.example.com"] {
            assert!(below.is(good), "{good}");
        }
        for bad in [
            "https://example.com",
            "https://evilexample.com",
            "https://.example.com",
            "https://a.example.com.evil.test",
            "http://a.example.com",
            "https://a.example.com:8443",
            "https://A.example.com",
            "https://a.example.com/",
            "https://evil.test/.example.com",
            "https://evil.test?.example.com",
            "https://a@x.example.com",
            "null",
            "",
            "https://a..example.com",
            "https://a.example.com, https://b.example.com",
            "https://evil.test:1.example.com",
        ] {
            assert!(!below.is(bad), "{bad}");
        }
    }

    #[test]
    fn an_exact_origin_is_that_one_only() {
        let exact = origin("https://app.example.com:8443");
        assert!(exact.is("https://app.example.com:8443"));
        for bad in
            ["https://app.example.com", "https://app.example.com:08443", "https://x.app.example.com:8443", "null"]
        {
            assert!(!exact.is(bad), "{bad}");
        }
    }

    #[test]
    fn lists_hold_what_they_may() {
        let with = |change: fn(&mut Cors)| {
            let mut cors = Cors::default();
            change(&mut cors);
            cors.check().err().map(|error| error.field)
        };
        assert_eq!(with(|_| ()), None);
        assert_eq!(with(|cors| cors.methods.push("TRACE".into())), Some("methods"));
        assert_eq!(with(|cors| cors.methods.push("get".into())), Some("methods"));
        assert_eq!(with(|cors| cors.headers.push("*".into())), Some("headers"));
        assert_eq!(with(|cors| cors.expose.push("a b".into())), Some("expose"));
        assert_eq!(with(|cors| cors.headers.push("x-a\r\nx-b".into())), Some("headers"));
        assert_eq!(with(|cors| cors.max_age = HumanDuration::from_secs(90_000)), Some("max_age"));
        assert_eq!(with(|cors| cors.origins = vec![origin("https://a.test"); MAX_ITEMS + 1]), Some("origins"));
    }
}
