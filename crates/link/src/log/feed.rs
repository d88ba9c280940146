//! The feed for as long as one wants it: asked for again whenever it ends, from the revision that was reached.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream, stream::BoxStream};
use tokio::time::{sleep, timeout};

use super::{ControlPlane, FeedMessage};
use crate::{LinkError, backoff::Backoff};

/// A feed that says nothing for this long, not even that nothing changed, has ended. The control API sends a heartbeat
/// at least every ten seconds.
pub const SILENCE: Duration = Duration::from_secs(30);

/// Follows the feed from a revision already held, or from nothing. Never ends; failures are logged, and after a pause
/// that `backoff` decides the feed is asked for again.
///
/// A full state that was cut off begins anew with its first part: `Full` after an incomplete `Full` replaces it.
pub fn follow_feed(
    plane: Arc<dyn ControlPlane>,
    held: Option<u64>,
    backoff: Backoff,
) -> BoxStream<'static, FeedMessage> {
    let start = Following { plane, held, backoff, messages: None, failing: false };
    stream::unfold(start, |mut state| async move { Some((state.next().await, state)) }).boxed()
}

struct Following {
    plane: Arc<dyn ControlPlane>,
    held: Option<u64>,
    backoff: Backoff,
    messages: Option<BoxStream<'static, Result<FeedMessage, LinkError>>>,
    failing: bool,
}

impl Following {
    async fn next(&mut self) -> FeedMessage {
        loop {
            match self.attempt().await {
                Ok(Some(message)) => return self.reached(message),
                Ok(None) => tracing::debug!("the feed ended"),
                Err(error) => {
                    if !std::mem::replace(&mut self.failing, true) {
                        tracing::warn!(error = crate::error::chain(&error), "the feed is broken");
                    }
                }
            }
            self.messages = None;
            sleep(self.backoff.pause()).await;
        }
    }

    async fn attempt(&mut self) -> Result<Option<FeedMessage>, LinkError> {
        let silent = LinkError::TimedOut { peer: "the control API", after: SILENCE };
        let messages = match &mut self.messages {
            Some(messages) => messages,
            none => {
                let asked = timeout(SILENCE, self.plane.feed(self.held)).await;
                none.insert(asked.map_err(|_| silent.clone())??)
            }
        };
        timeout(SILENCE, messages.next()).await.map_err(|_| silent)?.transpose()
    }

    fn reached(&mut self, message: FeedMessage) -> FeedMessage {
        self.backoff.reset();
        if std::mem::take(&mut self.failing) {
            tracing::info!("the feed is back");
        }
        match &message {
            FeedMessage::Full { last: false, .. } => self.held = None,
            FeedMessage::Full { revision, .. }
            | FeedMessage::Delta { revision, .. }
            | FeedMessage::Heartbeat { revision } => self.held = Some(*revision),
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use domain::{
        NumberedFact, Position, TenantId, UserId,
        fact::{Bindings, Proof},
    };

    use super::*;
    use crate::log::{GatewayStatus, LiveFacts};

    /// Feeds scripted answers, and notes from where it was asked.
    #[derive(Default)]
    struct Scripted {
        answers: Mutex<Vec<Vec<Result<FeedMessage, LinkError>>>>,
        asked: Mutex<Vec<Option<u64>>>,
    }

    fn gone() -> LinkError {
        LinkError::unreachable("the control API", "cut by the test")
    }

    #[async_trait]
    impl ControlPlane for Scripted {
        async fn prove(&self, _: Position) -> Result<Proof, LinkError> {
            Err(gone())
        }
        async fn facts_after(&self, _: Position) -> Result<Vec<NumberedFact>, LinkError> {
            Err(gone())
        }
        async fn live_facts(&self) -> Result<LiveFacts, LinkError> {
            Err(gone())
        }
        async fn bindings(&self, _: TenantId, _: UserId) -> Result<Bindings, LinkError> {
            Err(gone())
        }
        async fn feed(
            &self,
            from: Option<u64>,
        ) -> Result<BoxStream<'static, Result<FeedMessage, LinkError>>, LinkError> {
            self.asked.lock().unwrap().push(from);
            let mut answers = self.answers.lock().unwrap();
            if answers.is_empty() { Err(gone()) } else { Ok(stream::iter(answers.remove(0)).boxed()) }
        }
        async fn report(&self, _: GatewayStatus) -> Result<(), LinkError> {
            Err(gone())
        }
    }

    fn full(last: bool, revision: u64) -> Result<FeedMessage, LinkError> {
        Ok(FeedMessage::Full { changes: Vec::new(), last, revision })
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_feed_goes_on_from_the_revision_that_was_reached() {
        let plane = Arc::new(Scripted::default());
        *plane.answers.lock().unwrap() = vec![
            vec![full(false, 5), Err(gone())],
            vec![full(false, 6), full(true, 6), Ok(FeedMessage::Delta { changes: Vec::new(), revision: 8 })],
            vec![Ok(FeedMessage::Heartbeat { revision: 8 })],
        ];
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5), 1);
        let messages: Vec<_> = follow_feed(plane.clone(), None, backoff).take(5).collect().await;
        assert!(matches!(messages[3], FeedMessage::Delta { revision: 8, .. }));
        assert_eq!(*plane.asked.lock().unwrap(), [None, None, Some(8)]);
    }
}
