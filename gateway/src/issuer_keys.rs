//! Telling the control plane that a token named a key which its issuer's set does not have.
//!
//! The request is refused at once and waits for nothing. Anybody can invent a `kid`, so what a flood of them costs is
//! bounded here and again at the other end: an issuer is named at most once in [`PAUSE`], however many tokens come.

use std::{collections::HashMap, sync::Arc, time::Duration};

use domain::IssuerId;
use link::log::ControlPlane;
use parking_lot::Mutex;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

/// An issuer is named at most this often.
const PAUSE: Duration = Duration::from_secs(30);

/// Issuers that wait to be named; more are named by a later request.
const WAITING: usize = 64;

/// Longest wait for the control plane to hear of one.
const DEADLINE: Duration = Duration::from_secs(2);

/// Issuers that were named lately.
pub(crate) struct IssuerKeys {
    named: Mutex<HashMap<IssuerId, Instant>>,
    waiting: mpsc::Sender<IssuerId>,
}

impl IssuerKeys {
    /// With what [`tell`] sends on.
    pub(crate) fn new() -> (Self, mpsc::Receiver<IssuerId>) {
        let (waiting, received) = mpsc::channel(WAITING);
        (Self { named: Mutex::default(), waiting }, received)
    }

    /// Notes that an issuer's set lacks a key. Never waits.
    pub(crate) fn lacking(&self, issuer: IssuerId) {
        let now = Instant::now();
        let mut named = self.named.lock();
        if named.get(&issuer).is_some_and(|at| now.duration_since(*at) < PAUSE) {
            return;
        }
        // Only issuers of the snapshot come here; those gone from it are forgotten with time.
        named.retain(|_, at| now.duration_since(*at) < PAUSE);
        if self.waiting.try_send(issuer).is_ok() {
            named.insert(issuer, now);
        }
    }
}

/// Tells the control plane. Runs until every sender is gone.
pub(crate) async fn tell(plane: Arc<dyn ControlPlane>, mut waiting: mpsc::Receiver<IssuerId>) {
    while let Some(issuer) = waiting.recv().await {
        match timeout(DEADLINE, plane.refresh_issuer(issuer)).await {
            Ok(Ok(())) => tracing::info!(issuer.id = %issuer, "a token named an unknown key; its issuer is asked anew"),
            Ok(Err(error)) => {
                tracing::warn!(issuer.id = %issuer, error = &error as &dyn std::error::Error, "an issuer is not asked anew");
            }
            Err(_) => tracing::warn!(issuer.id = %issuer, "an issuer is not asked anew: no answer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::Id;
    use uuid::Uuid;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn j10_a_flood_of_unknown_keys_names_each_issuer_once_in_a_while() {
        let (keys, mut waiting) = IssuerKeys::new();
        let [one, two] = [1, 2].map(|id| IssuerId::new(Uuid::from_u128(id)));
        for _ in 0..10_000 {
            keys.lacking(one);
        }
        keys.lacking(two);
        assert_eq!((waiting.try_recv(), waiting.try_recv()), (Ok(one), Ok(two)));
        assert!(waiting.try_recv().is_err());
        tokio::time::advance(PAUSE).await;
        keys.lacking(one);
        assert_eq!(waiting.try_recv(), Ok(one));
    }

    #[tokio::test(start_paused = true)]
    async fn issuers_that_find_no_place_are_named_later() {
        let (keys, mut waiting) = IssuerKeys::new();
        for id in 0..1_000 {
            keys.lacking(Id::new(Uuid::from_u128(id)));
        }
        assert_eq!(std::iter::from_fn(|| waiting.try_recv().ok()).count(), WAITING);
        keys.lacking(Id::new(Uuid::from_u128(999)));
        assert!(waiting.try_recv().is_ok());
    }
}
