//! A timer that is set again and again, and hardly ever rings.
//!
//! To set a timer for each request, and to remove it when that is over, costs more than deciding does. So it is left where it
//! was set before; when it rings too early, it is set to when it should.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::time::{Instant, Sleep, sleep_until};

/// The timer, once one was needed.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready at this time. What it was asked for before does not matter.
    pub(crate) fn poll_at(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() == at || Instant::now() >= at {
                return Poll::Ready(());
            }
            timer.as_mut().reset(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use tokio::time::{sleep, timeout};

    use super::*;

    const WAIT: Duration = Duration::from_millis(500);

    #[tokio::test(start_paused = true)]
    async fn what_was_left_of_an_earlier_wait_rings_at_the_time_of_the_next() {
        let mut alarm = Alarm::default();
        for idle in [Duration::ZERO, WAIT / 2, WAIT * 3] {
            for (further, sooner) in [(WAIT, WAIT * 2), (WAIT * 2, WAIT)] {
                let given_up = Instant::now() + further;
                let left = timeout(WAIT / 5, poll_fn(|cx| alarm.poll_at(given_up, cx))).await;
                assert!(left.is_err(), "it rang {further:?} early");
                sleep(idle).await;
                let at = Instant::now() + sooner;
                poll_fn(|cx| alarm.poll_at(at, cx)).await;
                assert_eq!(Instant::now(), at);
            }
        }
    }
}
