//! Stage 11: what the upstream is sent. Every inbound claim to an identity goes; one value a key comes in its place.
//!
//! Runs in the proxy's upstream request phase, after the client's `Connection` nominations were carried out, so that
//! a nomination cannot remove what is injected here.

use std::{borrow::Cow, ops::Range};

use authn::signature;
use bytes::Bytes;
use domain::{Clock, Id, network::push_address, snapshot::HostPolicy};
use http::{HeaderMap, HeaderName, HeaderValue, header, header::InvalidHeaderValue};
use uuid::Uuid;

use crate::{Denial, Permit};

macro_rules! identity_headers {
    ($($variant:ident = $name:literal,)*) => {
        /// The identity headers, by the name a service reads.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[expect(missing_docs, reason = "each is the header of its name")]
        pub enum IdentityHeader { $($variant,)* }

        impl IdentityHeader {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The header's name.
            pub const fn name(self) -> HeaderName {
                // Made while this is compiled: otherwise each name is read again at each request.
                match self { $(Self::$variant => const { HeaderName::from_static($name) },)* }
            }

            /// The header of this name.
            pub fn named(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

identity_headers! {
    UserId = "x-md-global-user-id",
    TenantId = "x-md-global-tenant-id",
    TenantSlug = "x-md-global-tenant-slug",
    Username = "x-md-global-username",
    Roles = "x-md-global-roles",
    IsAdmin = "x-md-global-is-admin",
    IsSuperAdmin = "x-md-global-is-super-admin",
    OuId = "x-md-global-ou-id",
    SessionId = "x-md-global-session-id",
    TokenId = "x-md-global-token-id",
    AuthMethod = "x-md-global-auth-method",
    Plan = "x-md-global-plan",
    Products = "x-md-global-products",
    RequestId = "x-md-global-request-id",
    Assertion = "x-md-global-assertion",
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Bytes for the texts of a request's own fields; more are taken where they are longer.
const TEXTS: usize = 384;

/// Fields that are set at most, so that their map grows once.
const INJECTED: usize = IdentityHeader::ALL.len() + 6;

/// The request on its way to the upstream, as the proxy holds it.
pub trait UpstreamHead {
    /// Its header fields.
    fn fields(&mut self) -> &mut HeaderMap;
    /// Sets the path, keeping the query. Called only where the canonical path is not the one received.
    fn set_path(&mut self, path: &str);
}

/// Prepares the request for its upstream, which will see `path`: the canonical one.
///
/// # Errors
/// [`Denial::AssertionFailed`] when the assertion cannot be signed: nothing is sent without it.
pub fn prepare(permit: &Permit, head: &mut impl UpstreamHead, path: &str, clock: &dyn Clock) -> Result<(), Denial> {
    let upstream = &permit.route.upstream;
    // Other services have fields of these names, too: they are ours where a request names a key of ours.
    if let Some(path) = &permit.path {
        head.set_path(path);
    }
    let fields = head.fields();
    // A `Connection` nomination may have removed the one, not what the permit knows.
    let signed = permit.body_digest.is_some() || fields.contains_key(signature::KEY_ID);
    let is_ours =
        |name: &&HeaderName| is_stripped(name.as_str()) || (signed && signature::FIELDS.contains(&name.as_str()));
    for name in fields.keys().filter(is_ours).cloned().collect::<Vec<_>>() {
        fields.remove(name);
    }
    if !upstream.forward_credentials {
        fields.remove(header::AUTHORIZATION);
    }
    fields.reserve(INJECTED);
    let wanted = |name: IdentityHeader| upstream.headers.as_ref().is_none_or(|list| list.contains(&name));

    // What is of this request alone is written into one piece of memory, of which each value is a part.
    let mut text = String::with_capacity(TEXTS);
    let request_id = written(&mut text, |text| permit.request_id.push_to(text));
    let client = written(&mut text, |text| push_address(text, permit.client));
    let host = written(&mut text, |text| text.push_str(&permit.host));
    // What the request is about, in the place of where its user works otherwise.
    let own = permit.identity.as_ref().zip(permit.shown.as_ref().map(|shown| &*shown.known));
    let unit = permit.unit.or_else(|| own.and_then(|(principal, known)| principal.own_unit(known)));
    let unit = unit.map(|unit| written(&mut text, |text| unit.push_to(text)));
    let own = own.map(|(principal, known)| principal.write(known, &mut text, wanted));
    let text = Bytes::from(text);
    let value = |at| HeaderValue::from_maybe_shared(text.slice(at)).map_err(|_| Denial::AssertionFailed);

    let request_id = value(request_id)?;
    fields.insert(X_REQUEST_ID, request_id.clone());
    fields.insert(X_FORWARDED_FOR, value(client)?);
    fields.insert(X_FORWARDED_PROTO, HeaderValue::from_static("https"));
    let host = value(host)?;
    fields.insert(X_FORWARDED_HOST, host.clone());
    let host = match &upstream.host {
        HostPolicy::Preserve => host,
        HostPolicy::Rewrite(other) => HeaderValue::from_str(other.as_str()).map_err(|_| Denial::AssertionFailed)?,
    };
    fields.insert(header::HOST, host);
    let mut inject = |name: IdentityHeader, value: HeaderValue| {
        if wanted(name) {
            fields.insert(name.name(), value);
        }
    };
    inject(IdentityHeader::RequestId, request_id);
    if let Some(tenant) = &permit.tenant {
        inject(IdentityHeader::TenantId, tenant.header_id.clone());
        inject(IdentityHeader::TenantSlug, tenant.header_slug.clone());
        if let Some(plan) = &tenant.header_plan {
            inject(IdentityHeader::Plan, plan.clone());
        }
        if let Some(products) = tenant.products_header(clock.unix_now()) {
            inject(IdentityHeader::Products, products);
        }
    }
    if let Some(principal) = &permit.identity {
        let word = |is| HeaderValue::from_static(if is { "true" } else { "false" });
        inject(IdentityHeader::IsAdmin, word(principal.is_admin));
        inject(IdentityHeader::IsSuperAdmin, word(principal.is_super_admin));
        inject(IdentityHeader::AuthMethod, HeaderValue::from_static(principal.auth_method()));
    }
    if let Some(unit) = unit {
        inject(IdentityHeader::OuId, value(unit)?);
    }
    for (name, at) in own.into_iter().flatten().flatten() {
        fields.insert(name.name(), value(at)?);
    }
    if let Some(assertion) = &upstream.assertion {
        fields.insert(IdentityHeader::Assertion.name(), assertion.mint(permit, path, clock)?);
    }
    Ok(())
}

/// Where in a text something was written.
fn written(text: &mut String, write: impl FnOnce(&mut String)) -> Range<usize> {
    let from = text.len();
    write(text);
    from..text.len()
}

/// An id as a field's value.
///
/// # Errors
/// None that is known: an id has letters, digits and hyphens only.
pub fn id_value<K>(id: Id<K>) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut buffer = Uuid::encode_buffer();
    HeaderValue::from_str(id.uuid().hyphenated().encode_lower(&mut buffer))
}

/// What names begin with that speak of the client or its certificate in some server's words (RFC 9440 in the last ones').
const STRIPPED: [&str; 14] = [
    "x-md-",
    "x-forwarded",
    "x-original-",
    "x-rewrite-",
    "x-client-cert",
    "x-client-dn",
    "x-client-san",
    "x-client-subject",
    "x-client-verify",
    "x-amzn-mtls-",
    "x-ssl-",
    "x-tls-client-",
    "ssl-client-",
    "client-cert",
];

/// A field's name as servers may fold it that know no `_` and no `.`.
pub fn folded(name: &str) -> Cow<'_, str> {
    let folds = |byte| matches!(byte, b'_' | b'.');
    if name.bytes().any(folds) { name.replace(['_', '.'], "-").into() } else { name.into() }
}

/// Whether a field never reaches an upstream as the client sent it: the identity headers in any spelling that some
/// server folds to theirs, the forwarded family, and what other edges call a verified certificate.
pub fn is_stripped(name: &str) -> bool {
    let name = &*folded(name);
    STRIPPED.iter().any(|prefix| name.starts_with(prefix))
        || matches!(
            name,
            "cf-connecting-ip"
                | "forwarded"
                | "proxy-authorization"
                | "true-client-ip"
                | "x-arr-clientcert"
                | "x-client-ip"
                | "x-cluster-client-ip"
                | "x-http-method"
                | "x-http-method-override"
                | "x-method-override"
                | "x-middleware-subrequest"
                | "x-real-ip"
                | "x-request-id"
        )
}
