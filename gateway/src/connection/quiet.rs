//! A future beside busier ones of the same task, polled only when it was woken itself.
//!
//! A task knows no more than that something of it woke. What a select holds is therefore polled for each piece of a request
//! that comes or goes, and looks at its channels and timers in vain.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures::task::AtomicWaker;

/// The future, and whether it woke.
pub(super) struct Quiet<F> {
    inner: Pin<Box<F>>,
    woken: Arc<Woken>,
    /// Notes it there.
    waker: Waker,
}

#[derive(Debug)]
struct Woken {
    is: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl<F: Future> Quiet<F> {
    pub(super) fn new(inner: F) -> Self {
        // As if woken: the first poll is what makes it wait.
        let woken = Arc::new(Woken { is: AtomicBool::new(true), task: AtomicWaker::new() });
        Self { inner: Box::pin(inner), waker: Arc::clone(&woken).into(), woken }
    }
}

impl<F: Future> Future for Quiet<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        // In this order: who wakes it after the look finds the task.
        this.woken.task.register(cx.waker());
        if !this.woken.is.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        this.inner.as_mut().poll(&mut Context::from_waker(&this.waker))
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::atomic::AtomicUsize, time::Duration};

    use tokio::{sync::Notify, time::sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_polled_when_it_woke_and_not_when_its_task_did() {
        let (told, polls) = (Notify::new(), AtomicUsize::new(0));
        let quiet = Quiet::new(async {
            let mut notified = std::pin::pin!(told.notified());
            poll_fn(|cx| {
                polls.fetch_add(1, Ordering::Relaxed);
                notified.as_mut().poll(cx)
            })
            .await;
        });
        let busy = async {
            for _ in 0..10 {
                sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(polls.load(Ordering::Relaxed), 1, "since it has nothing to do");
            told.notify_one();
        };
        tokio::join!(quiet, busy);
        assert_eq!(polls.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn what_wakes_it_from_elsewhere_is_never_lost() {
        for _ in 0..1000 {
            let (tell, told) = tokio::sync::oneshot::channel();
            let elsewhere = std::thread::spawn(move || tell.send(()).unwrap());
            Quiet::new(told).await.unwrap();
            elsewhere.join().unwrap();
        }
    }
}
