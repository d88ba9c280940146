//! Carriers inside one process.

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

use super::{FactCarrier, Hint};
use crate::LinkError;

/// Facts a slow subscriber may lie behind before it loses some, which is harmless: they are fetched.
const BUFFERED: usize = 4096;

/// Carries facts between tasks of one process: the standalone's stand-in for Redis.
#[derive(Clone, Debug)]
pub struct MemoryCarrier {
    hints: broadcast::Sender<Hint>,
}

impl Default for MemoryCarrier {
    fn default() -> Self {
        Self { hints: broadcast::Sender::new(BUFFERED) }
    }
}

#[async_trait]
impl FactCarrier for MemoryCarrier {
    fn subscribe(&self) -> BoxStream<'static, Hint> {
        BroadcastStream::new(self.hints.subscribe()).filter_map(|hint| async { hint.ok() }).boxed()
    }

    async fn publish(&self, hints: &[Hint]) -> Result<(), LinkError> {
        for hint in hints {
            // Nobody listening is no error: a follower that starts later reads the log.
            drop(self.hints.send(hint.clone()));
        }
        Ok(())
    }
}

/// Carries nothing: every fact is fetched with the proof that asks for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCarrier;

#[async_trait]
impl FactCarrier for NoCarrier {
    fn subscribe(&self) -> BoxStream<'static, Hint> {
        stream::pending().boxed()
    }

    async fn publish(&self, _: &[Hint]) -> Result<(), LinkError> {
        Ok(())
    }
}
