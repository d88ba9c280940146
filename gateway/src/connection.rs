//! A client's connection, from accept to end, and what bounds it while there is no request that could be judged.
//!
//! ```text
//! Door ─▶ Socket ─▶ TLS, within handshake_timeout ┊─▶ Wire ─▶ Pingora's HTTP/1.1 or HTTP/2 ─▶ requests
//!              threads of the doors                ┊            threads of the workers
//! ```
//!
//! Pingora's own accept loop gives a handshake 60 s, its HTTP/1.1 parser 60 s for each *read* of a head, and a kept
//! connection as long as its client asks for; none of that can be set. So connections are accepted here, and what they
//! send goes through [`wire::Wire`], which knows when a head begins and ends and how long that may take. A head that
//! takes too long or is too large is answered by the wire itself (`farewell`), as is one that Pingora cannot parse: each
//! answer has our form and a request id.

pub(crate) mod alarm;
pub(crate) mod door;
mod farewell;
mod meter;
mod quiet;
mod socket;
mod wire;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use pingora::protocols::http::ServerSession;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};

use crate::tls::Handshake;

/// What its parts say to each other about one connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// None of a connection in the clear.
    handshake: Option<Handshake>,
    max_requests: u32,
    /// Odd while a head is read, even while its request is served; grows.
    phase: AtomicU32,
    /// Requests so far.
    requests: AtomicU32,
    /// Requests of HTTP/2 that are being served.
    active: AtomicUsize,
    began: Instant,
    /// When one last ended, or something was last taken of one that had, in nanoseconds after `began`.
    stirred_ns: AtomicU64,
    /// Told when everything is said.
    over: Notify,
    /// The client may still be sending what nobody will read.
    unread: AtomicBool,
    /// Tells Pingora to serve what is there and then to end.
    retired: watch::Sender<bool>,
}

/// A request of HTTP/2 that is being served; over when dropped.
pub(crate) struct Active(Arc<Connection>);

impl Connection {
    /// One whose first head is awaited.
    pub(crate) fn new(max_requests: u32, handshake: Option<Handshake>) -> Arc<Self> {
        Arc::new(Self {
            handshake,
            max_requests,
            phase: AtomicU32::new(1),
            requests: AtomicU32::new(0),
            active: AtomicUsize::new(0),
            began: Instant::now(),
            stirred_ns: AtomicU64::new(0),
            over: Notify::new(),
            unread: AtomicBool::new(false),
            retired: watch::Sender::new(false),
        })
    }

    /// What its TLS handshake left behind; none in the clear.
    pub(crate) const fn handshake(&self) -> Option<&Handshake> {
        self.handshake.as_ref()
    }

    /// Begins a request: of HTTP/1.1 its head is still to be read, of HTTP/2 it is there. What is given is to be held for
    /// as long as the request is served.
    pub(crate) fn begin(self: &Arc<Self>, session: &mut ServerSession) -> Option<Active> {
        self.unread.store(false, Ordering::Release);
        let last = self.requests.fetch_add(1, Ordering::Relaxed) + 1 >= self.max_requests;
        if session.is_http2() {
            self.head_read();
            if last {
                self.retire();
            }
            return Some(self.serving());
        }
        if self.head().is_none() {
            self.phase.fetch_add(1, Ordering::AcqRel);
        }
        if last {
            session.set_keepalive_reuses_remaining(Some(0));
        }
        None
    }

    fn serving(self: &Arc<Self>) -> Active {
        self.active.fetch_add(1, Ordering::AcqRel);
        Active(Arc::clone(self))
    }

    /// Notes that the head of the request is there. What comes now is its body, and what goes is its response.
    pub(crate) fn head_read(&self) {
        if let Some(phase) = self.head() {
            // Fails only when another stream's head was there first.
            let _ = self.phase.compare_exchange(phase, phase + 1, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    /// Notes that an answer was given though not all was read of its request.
    pub(crate) fn leave_unread(&self) {
        self.unread.store(true, Ordering::Release);
    }

    /// The number of the head that is being read, if one is.
    fn head(&self) -> Option<u32> {
        let phase = self.phase.load(Ordering::Acquire);
        (phase % 2 == 1).then_some(phase)
    }

    /// Whether its client is to come again elsewhere.
    pub(crate) fn is_retired(&self) -> bool {
        *self.retired.borrow()
    }

    /// Serves what is there and nothing after it.
    fn retire(&self) {
        self.retired.send_replace(true);
    }

    /// Notes that the client took some of what was written: of HTTP/2 that may be the end of a response whose request is
    /// long over here.
    fn taken(&self) {
        let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.stirred_ns.fetch_max(now, Ordering::AcqRel);
    }

    /// Returns when no request was served, and nothing taken of earlier ones, for `limit`. Cancel-safe. It looks when it
    /// might be so and is not told of requests: that would wake the connection twice for each of them.
    async fn idle(&self, limit: Duration) {
        let mut until = Instant::now() + limit;
        loop {
            sleep_until(until).await;
            let (now, served) = (Instant::now(), self.active.load(Ordering::Acquire) > 0);
            let stirred = self.began + Duration::from_nanos(self.stirred_ns.load(Ordering::Acquire));
            until = if served { now } else { stirred } + limit;
            if until <= now {
                return;
            }
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        // In this order: who sees that nothing is served sees since when.
        self.0.taken();
        self.0.active.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Wake},
    };

    use tokio::time::sleep;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_client_that_still_takes_the_end_of_an_answer_is_not_idle() {
        let connection = Connection::new(10, None);
        let begun = Instant::now();
        let takes = async {
            for _ in 0..10 {
                sleep(LIMIT * 2 / 3).await;
                connection.taken();
            }
        };
        tokio::join!(connection.idle(LIMIT), takes);
        assert_eq!(begun.elapsed(), LIMIT * 20 / 3 + LIMIT, "from what it took last");
    }

    /// Counts how often it wakes.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_do_not_wake_their_connection() {
        let (connection, woken) = (Connection::new(10, None), Arc::new(Woken::default()));
        let mut idle = pin!(connection.idle(LIMIT));
        let waker = Arc::clone(&woken).into();
        let mut cx = Context::from_waker(&waker);
        for _ in 0..10 {
            assert!(idle.as_mut().poll(&mut cx).is_pending());
            drop(connection.serving());
            connection.taken();
        }
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_is_idle_from_the_end_of_its_last_request() {
        let connection = Connection::new(10, None);
        let (first, begun) = (connection.serving(), Instant::now());
        let serve = async {
            sleep(LIMIT * 5).await;
            drop(first);
        };
        tokio::join!(connection.idle(LIMIT), serve);
        assert_eq!(begun.elapsed(), LIMIT * 6);
    }
}
