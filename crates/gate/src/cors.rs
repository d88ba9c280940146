//! Pages of other origins (CORS, Fetch Standard §3.2): the answer to their preflights, and what other answers say.
//!
//! A preflight is answered by the edge, whatever its path, and opens nothing: it is never forwarded, carries no
//! credential and no body, and says nothing of what is there. An `OPTIONS` that has one of these is no preflight and is
//! decided as every method. Which origins may call is the hostname's `cors`; where it names none, the edge has no say, and
//! `OPTIONS` is a method like the others.

use std::sync::Arc;

use domain::{Cors, CorsOrigin};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{Answer, CanonicalRequest, Stop, snapshot::Site};

const REQUEST_METHOD: HeaderName = header::ACCESS_CONTROL_REQUEST_METHOD;

/// A hostname's rules with their header values made beforehand.
#[derive(Debug, Eq, PartialEq)]
pub struct CompiledCors {
    origins: Vec<CorsOrigin>,
    credentials: bool,
    /// `Access-Control-Allow-Methods`
    pub methods: HeaderValue,
    /// `Access-Control-Allow-Headers`, if any.
    pub headers: Option<HeaderValue>,
    /// `Access-Control-Expose-Headers`, if any.
    pub expose: Option<HeaderValue>,
    /// `Access-Control-Max-Age`
    pub max_age: HeaderValue,
}

/// An origin that may call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Allowed<'r> {
    /// `Access-Control-Allow-Origin`: as it was sent.
    pub origin: &'r HeaderValue,
    /// `Access-Control-Allow-Credentials: true`
    pub credentials: bool,
}

impl CompiledCors {
    /// None where no origin may call, or a list holds what cannot stand in a header, which the control plane does not
    /// make.
    pub(crate) fn new(cors: &Cors) -> Option<Self> {
        let list = |names: &[String]| HeaderValue::from_str(&names.join(", ")).ok();
        let some = |names: &[String]| if names.is_empty() { None } else { list(names) };
        cors.is_on().then_some(())?;
        Some(Self {
            origins: cors.origins.clone(),
            credentials: cors.credentials,
            methods: list(&cors.methods)?,
            headers: some(&cors.headers),
            expose: some(&cors.expose),
            max_age: HeaderValue::from(cors.max_age.get().as_secs()),
        })
    }

    /// Whether the page that a request comes from may call. A request has one origin or none that counts.
    pub fn allows<'r>(&self, headers: &'r HeaderMap) -> Option<Allowed<'r>> {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let origin = origins.next().filter(|_| origins.next().is_none())?;
        let text = origin.to_str().ok()?;
        let allowed = self.origins.iter().any(|known| known.is(text));
        allowed.then_some(Allowed { origin, credentials: self.credentials })
    }
}

/// Answers a preflight.
///
/// # Errors
/// [`Answer::Preflight`], and then nothing else is judged.
pub(crate) fn preflight(site: &Site, request: &CanonicalRequest<'_>) -> Result<(), Stop> {
    match &site.cors {
        Some(cors) if request.method == "OPTIONS" && !request.has_body && is_preflight(request.headers) => {
            Err(Stop::Answer(Answer::Preflight { cors: Arc::clone(cors) }))
        }
        Some(_) | None => Ok(()),
    }
}

/// What browsers send, and nothing that a decision would look at.
fn is_preflight(headers: &HeaderMap) -> bool {
    let bare = [header::AUTHORIZATION, header::COOKIE, header::TRANSFER_ENCODING, header::UPGRADE];
    let empty = headers.get(header::CONTENT_LENGTH).is_none_or(|length| length.as_bytes() == b"0");
    let asks = headers.contains_key(header::ORIGIN) && headers.contains_key(REQUEST_METHOD);
    asks && empty && !bare.iter().any(|name| headers.contains_key(name))
}
