//! An assertion against the request that carries it.

use std::{
    borrow::Cow,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, Method, Uri, header};

use crate::{
    Assertion, AssertionError, HEADER, Keys,
    canonical::{canonical_path, is_unreserved},
    jws::Jws,
};

/// How far the gateway's clock and ours may differ.
pub const SKEW: Duration = Duration::from_secs(30);

/// `typ` of an assertion.
const TYPE: &str = "assertion+jwt";

/// `iss` of an assertion.
const ISSUER: &str = "portcullis";

/// What the assertion's host is compared with.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum HostCheck {
    /// The request's own Host: for upstreams of `host: preserve`, the default.
    #[default]
    Host,
    /// `x-forwarded-host`: for upstreams of `host: rewrite`, which do not see the client's Host.
    Forwarded,
}

/// Verifies assertions for one service.
#[derive(Clone)]
pub struct Verifier {
    audience: Box<str>,
    keys: Arc<dyn Keys>,
    tenant: Option<Box<str>>,
    host: HostCheck,
    skew: Duration,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("audience", &self.audience).finish_non_exhaustive()
    }
}

impl Verifier {
    /// For the service that the gateway knows as the upstream `audience`.
    pub fn new(audience: &str, keys: impl Keys) -> Self {
        Self { audience: audience.into(), keys: Arc::new(keys), tenant: None, host: HostCheck::default(), skew: SKEW }
    }

    /// Serves this tenant (its id) only.
    #[must_use]
    pub fn for_tenant(mut self, tenant: &str) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// What the host is compared with.
    #[must_use]
    pub const fn checking(mut self, host: HostCheck) -> Self {
        self.host = host;
        self
    }

    /// How far clocks may differ, where not [`SKEW`].
    #[must_use]
    pub const fn with_skew(mut self, skew: Duration) -> Self {
        self.skew = skew;
        self
    }

    /// Verifies the assertion of a request: method, target and header fields as they were received.
    ///
    /// # Errors
    /// [`AssertionError`]: the request did not come through the gateway as it stands.
    pub fn verify(
        &self,
        method: &Method,
        target: &Uri,
        headers: &HeaderMap,
        now: SystemTime,
    ) -> Result<Assertion, AssertionError> {
        let token = only(headers, HEADER)?.ok_or(AssertionError::Missing)?;
        let assertion = self.signed(token)?;
        if assertion.issuer != ISSUER {
            return Err(AssertionError::Issuer);
        }
        if assertion.audience != *self.audience {
            return Err(AssertionError::Audience);
        }
        self.in_time(&assertion, now)?;
        if assertion.method != method.as_str() {
            return Err(AssertionError::Method);
        }
        if !canonical_path(target.path()).is_ok_and(|path| path == assertion.path) {
            return Err(AssertionError::Path);
        }
        if self.host(target, headers)? != assertion.host {
            return Err(AssertionError::Host);
        }
        self.identity(&assertion, headers)?;
        Ok(assertion)
    }

    fn signed(&self, token: &str) -> Result<Assertion, AssertionError> {
        let jws = Jws::read(token)?;
        if jws.typ != TYPE {
            return Err(AssertionError::Type);
        }
        let key = self.keys.key(&jws.kid).ok_or(AssertionError::KeyUnknown)?;
        if jws.alg != key.algorithm() {
            return Err(AssertionError::Algorithm);
        }
        if !key.verifies(jws.signed, &jws.signature) {
            return Err(AssertionError::Signature);
        }
        jws.claims()
    }

    fn in_time(&self, assertion: &Assertion, now: SystemTime) -> Result<(), AssertionError> {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        // A clock before 1970 proves nothing.
        let now = seconds(now.duration_since(UNIX_EPOCH).map_err(|_| AssertionError::NotYetValid)?);
        let skew = seconds(self.skew);
        if now >= assertion.expires_at.saturating_add(skew) {
            return Err(AssertionError::Expired);
        }
        if assertion.issued_at > now.saturating_add(skew) {
            return Err(AssertionError::NotYetValid);
        }
        Ok(())
    }

    /// The host that was asked for, lower case and without port.
    fn host(&self, target: &Uri, headers: &HeaderMap) -> Result<String, AssertionError> {
        let authority = target.authority().map(|authority| normal_host(authority.as_str()));
        let named = match self.host {
            HostCheck::Host => only(headers, header::HOST.as_str())?.map(normal_host),
            HostCheck::Forwarded => {
                return only(headers, "x-forwarded-host")?.map(normal_host).ok_or(AssertionError::Host);
            }
        };
        match (named, authority) {
            // HTTP/2 has `:authority`, and may have Host beside it.
            (Some(named), Some(authority)) if named != authority => Err(AssertionError::Host),
            (Some(named), _) => Ok(named),
            (None, Some(authority)) => Ok(authority),
            (None, None) => Err(AssertionError::Host),
        }
    }

    /// The ids in the headers, where they are, are those of the assertion.
    fn identity(&self, assertion: &Assertion, headers: &HeaderMap) -> Result<(), AssertionError> {
        let tenant = assertion.tenant.as_deref();
        if self.tenant.is_some() && self.tenant.as_deref() != tenant {
            return Err(AssertionError::Tenant);
        }
        let subject = assertion.subject.as_deref().map(percent_encode);
        for (name, expected, error) in [
            ("x-md-global-tenant-id", tenant, AssertionError::Tenant),
            ("x-md-global-user-id", subject.as_deref(), AssertionError::Subject),
            ("x-md-global-request-id", Some(assertion.request_id.as_str()), AssertionError::RequestId),
        ] {
            if only(headers, name)?.is_some_and(|sent| Some(sent) != expected) {
                return Err(error);
            }
        }
        Ok(())
    }
}

/// The value of a field that may stand there once at most.
fn only<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<Option<&'h str>, AssertionError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(AssertionError::Repeated(name));
    }
    value.to_str().map(Some).map_err(|_| AssertionError::Malformed("a header has bytes beyond visible ASCII"))
}

/// As the gateway writes hosts: lower case, without port and trailing dot.
fn normal_host(authority: &str) -> String {
    let name = match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => authority,
    };
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// As the gateway writes a subject into `x-md-global-user-id`: only unreserved characters, `@` and `+` stand for
/// themselves.
fn percent_encode(text: &str) -> Cow<'_, str> {
    let plain = |byte: u8| is_unreserved(byte) || matches!(byte, b'@' | b'+');
    if text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    let encode = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    Cow::Owned(text.bytes().map(encode).collect())
}

#[cfg(test)]
mod tests;
