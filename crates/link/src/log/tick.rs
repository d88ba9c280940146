//! One tick serves all who wait; the answer comes from a tick that **began after** the question arrived.
//!
//! A question that arrives while a tick runs waits for the next one: the running tick may have read the log before
//! the commit that the asker has to hear of.

use std::{future::Future, sync::Arc};

use tokio::sync::{mpsc, oneshot};

/// Most questions that wait for one tick; more wait for a place.
const WAITING: usize = 4096;

/// Batches questions into ticks. Cheap to clone; the task behind it ends with the last clone.
#[derive(Debug)]
pub struct TickQueue<T, E> {
    questions: mpsc::Sender<oneshot::Sender<Result<T, TickError<E>>>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum TickError<E> {
    /// The tick failed; all who waited for it get the same error.
    #[error("the tick failed")]
    Failed(#[source] Arc<E>),
    /// The queue's task is gone: the runtime shuts down or the tick panicked.
    #[error("no ticks are run any more")]
    Stopped,
}

impl<E> Clone for TickError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Failed(source) => Self::Failed(source.clone()),
            Self::Stopped => Self::Stopped,
        }
    }
}
impl<T, E> Clone for TickQueue<T, E> {
    fn clone(&self) -> Self {
        Self { questions: self.questions.clone() }
    }
}

impl<T: Clone + Send + 'static, E: Send + Sync + 'static> TickQueue<T, E> {
    /// Starts the task that runs `tick` whenever somebody asks, one at a time.
    pub fn spawn<F, Fut>(mut tick: F) -> Self
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        let (questions, mut queue) = mpsc::channel::<oneshot::Sender<_>>(WAITING);
        tokio::spawn(async move {
            let mut waiting = Vec::new();
            // Everyone taken out of the queue here asked before the tick below begins.
            while queue.recv_many(&mut waiting, WAITING).await > 0 {
                let outcome = tick().await.map_err(|error| TickError::Failed(Arc::new(error)));
                for asker in waiting.drain(..) {
                    // An asker that gave up is no error.
                    drop(asker.send(outcome.clone()));
                }
            }
        });
        Self { questions }
    }

    /// The result of a tick that begins after this call. Safe to cancel: the tick runs all the same.
    ///
    /// # Errors
    /// The tick's error, or [`TickError::Stopped`].
    pub async fn fresh(&self) -> Result<T, TickError<E>> {
        let (answer, answered) = oneshot::channel();
        self.questions.send(answer).await.map_err(|_| TickError::Stopped)?;
        answered.await.map_err(|_| TickError::Stopped)?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    /// Ticks that say when they begin, and end when they are let.
    struct Gated {
        queue: TickQueue<u64, String>,
        begun: Arc<AtomicU64>,
        gate: Arc<Semaphore>,
    }

    fn gated() -> Gated {
        let (begun, gate) = (Arc::new(AtomicU64::new(0)), Arc::new(Semaphore::new(0)));
        let queue = TickQueue::spawn({
            let (begun, gate) = (begun.clone(), gate.clone());
            move || {
                let (begun, gate) = (begun.clone(), gate.clone());
                async move {
                    let number = begun.fetch_add(1, Ordering::SeqCst) + 1;
                    gate.acquire().await.unwrap().forget();
                    if number == 13 { Err("unlucky".to_owned()) } else { Ok(number) }
                }
            }
        });
        Gated { queue, begun, gate }
    }

    async fn until(condition: impl Fn() -> bool) {
        while !condition() {
            tokio::task::yield_now().await;
        }
    }

    fn ask(queue: &TickQueue<u64, String>) -> tokio::task::JoinHandle<Result<u64, TickError<String>>> {
        let queue = queue.clone();
        tokio::spawn(async move { queue.fresh().await })
    }

    #[tokio::test]
    async fn a_question_during_a_tick_is_answered_by_the_next_one() {
        let Gated { queue, begun, gate } = gated();
        let first = ask(&queue);
        until(|| begun.load(Ordering::SeqCst) == 1).await;
        let late: Vec<_> = (0..500).map(|_| ask(&queue)).collect();
        // All have asked while the first tick still runs: only a full scheduler pass is needed for that.
        until(|| queue.questions.capacity() == WAITING - 500).await;
        gate.add_permits(1);
        assert_eq!(first.await.unwrap().unwrap(), 1);
        gate.add_permits(1);
        for answer in late {
            assert_eq!(answer.await.unwrap().unwrap(), 2);
        }
        assert_eq!(begun.load(Ordering::SeqCst), 2, "one tick served all who waited");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_answer_never_comes_from_a_tick_that_began_before_the_question() {
        let Gated { queue, begun, gate } = gated();
        gate.add_permits(1_000_000);
        let askers: Vec<_> = (0..64)
            .map(|_| {
                let (queue, begun) = (queue.clone(), begun.clone());
                tokio::spawn(async move {
                    for _ in 0..200 {
                        let before = begun.load(Ordering::SeqCst);
                        match queue.fresh().await {
                            Ok(number) => assert!(number > before, "tick {number} began before {before} were begun"),
                            Err(TickError::Failed(error)) => assert_eq!(*error, "unlucky"),
                            Err(TickError::Stopped) => panic!("stopped"),
                        }
                    }
                })
            })
            .collect();
        for asker in askers {
            asker.await.unwrap();
        }
    }

    #[tokio::test]
    async fn an_asker_that_gives_up_disturbs_nobody() {
        let Gated { queue, begun, gate } = gated();
        let gone = ask(&queue);
        until(|| begun.load(Ordering::SeqCst) == 1).await;
        gone.abort();
        let stays = ask(&queue);
        gate.add_permits(2);
        assert_eq!(stays.await.unwrap().unwrap(), 2);
    }
}
