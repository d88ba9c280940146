//! Events that come in from whoever verifies people's identities: Standard Webhooks 1.0, symmetric, as ours go out.
//!
//! ```text
//! webhook-id: evt_1                  of the event, however often it is sent
//! webhook-timestamp: 1900000000      of this attempt, in seconds; five minutes around now
//! webhook-signature: v1,base64…      HMAC-SHA256 of `{id}.{timestamp}.{body}`; one of several is enough
//! ```

use std::{path::Path, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use domain::{
    IdentityVerificationId, Secret, Timestamp,
    model::{IdentityState, identity_verification::MAX_EVENT_ID},
};
use http::HeaderMap;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{Config, error::AppError, problem, webhooks::sign};

/// How far an attempt's time may differ from ours.
const TOLERANCE: Duration = Duration::from_secs(300);

/// Most signatures of one attempt that are looked at.
const MOST_SIGNATURES: usize = 8;

/// Fewest bytes of a key.
const LEAST_KEY: usize = 24;

/// What whoever verifies says.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct IdentityEvent {
    /// Which verification.
    pub verification_id: IdentityVerificationId,
    /// What it came to.
    pub state: IdentityState,
    /// Why, at most 500 characters.
    #[serde(default)]
    pub reason: String,
}

/// An event as it came.
#[derive(Clone, Copy, Debug)]
pub struct SignedEvent<'r> {
    /// Its id.
    pub id: &'r str,
    /// Of this attempt.
    pub timestamp: Timestamp,
    /// What it is signed with.
    pub signature: &'r str,
    /// What is signed.
    pub body: &'r [u8],
}

impl<'r> SignedEvent<'r> {
    /// What a request says; none where a header is missing, is there twice or is not of its form.
    pub fn of(headers: &'r HeaderMap, body: &'r [u8]) -> Option<Self> {
        let one = |name: &str| {
            let mut all = headers.get_all(name).iter();
            all.next().filter(|_| all.next().is_none())?.to_str().ok()
        };
        let id = one("webhook-id").filter(|id| (1..=MAX_EVENT_ID).contains(&id.len()))?;
        let seconds: i64 =
            one("webhook-timestamp")?.parse().ok().filter(|at| (0..=i64::from(u32::MAX)).contains(at))?;
        let plain = id.bytes().all(|b| b.is_ascii_graphic() && b != b'.');
        let signature = one("webhook-signature")?;
        plain.then_some(Self { id, timestamp: Timestamp::from_secs(seconds), signature, body })
    }

    /// Whether one of these keys signed it, now.
    pub fn is_signed(&self, keys: &[Secret<Vec<u8>>], now: Timestamp) -> bool {
        let apart = now.since(self.timestamp).max(self.timestamp.since(now));
        if apart > TOLERANCE {
            return false;
        }
        let signed = |key: &Secret<Vec<u8>>| {
            let expected = Secret::new(sign::signature(std::slice::from_ref(key), self.id, self.timestamp, self.body));
            let mut shown = self.signature.split(' ').take(MOST_SIGNATURES);
            shown.any(|shown| Secret::new(shown.to_owned()) == expected)
        };
        keys.iter().any(signed)
    }
}

/// The keys that events are signed with.
///
/// # Errors
/// [`AppError::Internal`] for one that cannot be read.
pub(crate) fn keys(config: &Config) -> Result<Vec<Secret<Vec<u8>>>, AppError> {
    let failed = |reason: String| AppError::internal("keys of identity events cannot be set up", reason);
    let key = |reference: &link::file::SecretRef| {
        let text = reference.resolve(Path::new(".")).map_err(|error| failed(problem::chain(&error)))?;
        let bytes = match text.expose().strip_prefix(sign::PREFIX) {
            Some(encoded) => STANDARD.decode(encoded).map_err(|_| failed("a key is no base64".into()))?,
            None => text.expose().as_bytes().to_vec(),
        };
        if bytes.len() < LEAST_KEY {
            Err(failed("a key is shorter than 24 bytes".into()))
        } else {
            Ok(Secret::new(bytes))
        }
    };
    config.identity_verifications.keys.iter().map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_900_000_000);

    fn headers(id: &str, at: &str, signature: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [("webhook-id", id), ("webhook-timestamp", at), ("webhook-signature", signature)] {
            headers.insert(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn an_event_is_signed_over_its_id_time_and_bytes_by_a_key_of_ours_now() {
        let (ours, old) = (Secret::new(vec![1; 32]), Secret::new(vec![2; 32]));
        let keys = [ours.clone(), old.clone()];
        let signature = sign::signature(std::slice::from_ref(&ours), "evt", NOW, b"{}");
        let is = |id: &str, at: Timestamp, signature: &str, body: &[u8], now: Timestamp| {
            let headers = headers(id, &at.secs().to_string(), signature);
            SignedEvent::of(&headers, body).is_some_and(|event| event.is_signed(&keys, now))
        };
        assert!(is("evt", NOW, &signature, b"{}", NOW));
        assert!(is("evt", NOW, &format!("v1,AAAA {signature}"), b"{}", NOW + TOLERANCE));
        assert!(is("evt", NOW, &sign::signature(&[old], "evt", NOW, b"{}"), b"{}", NOW), "while a key is rotated");
        assert!(!is("evt2", NOW, &signature, b"{}", NOW));
        assert!(!is("evt", NOW, &signature, b"{} ", NOW));
        assert!(!is("evt", NOW + Duration::from_secs(1), &signature, b"{}", NOW));
        assert!(!is("evt", NOW, &signature, b"{}", NOW + TOLERANCE + Duration::from_secs(1)), "an old one");
        assert!(!is("evt", NOW, &signature, b"{}", NOW - TOLERANCE - Duration::from_secs(1)), "one of later");
        assert!(!is("evt", NOW, &sign::signature(&[Secret::new(vec![3; 32])], "evt", NOW, b"{}"), b"{}", NOW));
        assert!(!is("evt", NOW, "", b"{}", NOW));
    }

    #[test]
    fn what_is_missing_doubled_or_of_another_form_is_no_event() {
        let good = headers("evt", "1900000000", "v1,AAAA");
        assert!(SignedEvent::of(&good, b"").is_some());
        let mut twice = good.clone();
        twice.append("webhook-id", "evt2".parse().unwrap());
        assert!(SignedEvent::of(&twice, b"").is_none());
        let (long, dotted) = ("x".repeat(129), "a.b");
        for (id, at) in
            [("", "1900000000"), (long.as_str(), "1900000000"), (dotted, "1900000000"), ("evt", "now"), ("evt", "-1")]
        {
            assert!(SignedEvent::of(&headers(id, at, "v1,AAAA"), b"").is_none(), "{id} {at}");
        }
        assert!(SignedEvent::of(&HeaderMap::new(), b"").is_none());
    }
}
