//! What lasts is judged again for as long as it lasts.
//!
//! A request is judged when it begins and when it is sent on. A download, server-sent events or a WebSocket may go on
//! for hours after that, and then its token may have been revoked or have expired, its tenant be suspended, its route be
//! gone, its role be narrowed, or the route's patience without proof be over. Each request is therefore judged every
//! [`EVERY`] for as long as it lasts, whether bytes flow or not, and cut off when its permit does not hold any more. Of
//! HTTP/2, one stream is reset and its neighbours go on.
//!
//! ```text
//! Watched::process_new_http ──┬─ HttpProxy::process_new_http   puts the permit into the watch, says when it answers
//!                             └─ Watch::ended                  judges; when it returns, the other half is dropped
//! ```
//!
//! Dropping is all that ends an idle stream: Pingora offers no hook while nothing flows. `logging` is then never
//! reached, so that the context writes its line when it is dropped. A body that is still being uploaded is judged as its
//! bytes come, and then refused with an answer. A request that waits for its response header has [`PATIENCE`]: what it
//! asks for may be what ends it, such as an administrator's own sign-out. What signs in and out itself
//! (`session: true`) is always answered.

use std::{
    future::poll_fn,
    mem,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use async_trait::async_trait;
use authn::TokenError;
use domain::{BootInstant, Clock};
use gate::{Denial, Gate, Permit};
use http::Uri;
use parking_lot::Mutex;
use pingora::{
    apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream},
    protocols::http::{ServerSession, v2::server::H2Options},
    proxy::HttpProxy,
    server::ShutdownWatch,
};
use tokio::time::Instant;

use super::{
    EdgeProxy, Shared,
    stream::{Stream, UpstreamSilence},
    upload::Upload,
};
use crate::{
    connection::{Connection, alarm::Alarm},
    tls::Handshake,
};

/// How often what lasts is judged.
pub(crate) const EVERY: Duration = Duration::from_millis(500);

/// Judgements that a request survives which has no response header yet: two seconds.
const PATIENCE: u32 = 4;

tokio::task_local! {
    /// The watch over the request that this task serves.
    static WATCH: Arc<Watch>;
}

/// One request's permit, and what became of it.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    connection: Option<Arc<Connection>>,
    held: OnceLock<Held>,
    streams: AtomicBool,
    cut: OnceLock<Cut>,
}

/// A permit, and the target it was given for.
#[derive(Debug)]
struct Held {
    /// In a place of its own: it is large, and is handed on several times.
    permit: Box<Permit>,
    target: Uri,
    upload: Upload,
    stream: Stream,
}

impl Held {
    /// The path that was judged.
    fn path(&self) -> &str {
        self.permit.path.as_deref().unwrap_or_else(|| self.target.path())
    }
}

/// When and why a stream was cut off.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(crate) denial: Denial,
    pub(crate) at: BootInstant,
}

impl Watch {
    fn over(connection: &Arc<Connection>) -> Arc<Self> {
        Arc::new(Self { connection: Some(Arc::clone(connection)), ..Self::default() })
    }

    /// The connection of the request.
    pub(crate) fn connection(&self) -> Option<&Connection> {
        self.connection.as_deref()
    }

    /// What the TLS handshake of its connection left behind; none in the clear.
    pub(crate) fn handshake(&self) -> Option<&Handshake> {
        self.connection()?.handshake()
    }

    /// The watch over the request that this task serves.
    pub(crate) fn current() -> Arc<Self> {
        WATCH.try_with(Arc::clone).unwrap_or_default()
    }

    /// Notes that the request may be forwarded.
    pub(crate) fn permitted(&self, permit: Box<Permit>, target: Uri, upload: Upload, stream: Stream) {
        self.held.get_or_init(|| Held { permit, target, upload, stream });
    }

    /// Once the gate permitted the request.
    pub(crate) fn permit(&self) -> Option<&Permit> {
        self.held.get().map(|held| &*held.permit)
    }

    /// The permit with the path it was given for.
    pub(crate) fn held(&self) -> Option<(&Permit, &str)> {
        self.held.get().map(|held| (&*held.permit, held.path()))
    }

    /// Why the stream was cut off, if it was.
    pub(crate) fn cut(&self) -> Option<&Cut> {
        self.cut.get()
    }

    /// From now on a response goes to the client.
    pub(crate) fn streams(&self) {
        self.streams.store(true, Ordering::Release);
    }

    /// Takes a piece of the request's body before it is sent on.
    ///
    /// # Errors
    /// It is too large, or too slow.
    pub(crate) fn uploads(&self, bytes: usize, last: bool, now: BootInstant) -> Result<(), Denial> {
        match self.held.get() {
            // What the upstream has begun to answer is a conversation.
            Some(held) if self.streams.load(Ordering::Acquire) => held.upload.took(bytes, true, now),
            Some(held) => held.upload.took(bytes, last, now),
            None => Ok(()),
        }
    }

    /// Notes that something went either way, where that matters.
    pub(crate) fn heard(&self, clock: &dyn Clock) {
        if let Some(held) = self.held.get().filter(|held| held.stream.listens()) {
            held.stream.heard(clock.boot_now());
        }
    }

    /// What Pingora is told of a silent upstream.
    pub(crate) fn upstream_silence(&self) -> UpstreamSilence {
        self.held.get().map(|held| held.stream.upstream()).unwrap_or_default()
    }

    fn goes_on(&self, answered: bool, now: BootInstant) -> Result<(), Denial> {
        self.held.get().map_or(Ok(()), |held| held.stream.goes_on(answered, now))
    }

    fn upload_progresses(&self, now: BootInstant) -> Result<(), Denial> {
        self.held.get().map_or(Ok(()), |held| held.upload.progresses(now))
    }

    /// Judges the permit once more, at the moment its request is sent on.
    ///
    /// # Errors
    /// Why it does not hold any more.
    pub(crate) async fn still_holds(&self, gate: &Gate, clock: &dyn Clock) -> Result<(), Denial> {
        match self.held.get() {
            Some(held) => gate.still_holds(&held.permit, held.path(), clock).await,
            None => Ok(()),
        }
    }

    /// Judges what has lasted for a while. No stream outlasts its end by the skew that a request's token is allowed.
    ///
    /// # Errors
    /// Why it does not hold any more.
    pub(crate) async fn judge(&self, gate: &Gate, clock: &dyn Clock) -> Result<(), Denial> {
        self.still_holds(gate, clock).await?;
        match self.permit().and_then(|permit| permit.lasting.ends_at) {
            Some(at) if clock.unix_now() >= at => Err(TokenError::Expired.into()),
            _ => Ok(()),
        }
    }

    /// Returns when a request must be cut off. Cancel-safe. To be polled after the request each time: what was permitted is then
    /// seen without being told.
    async fn ended(&self, gate: &Gate, clock: &dyn Clock, alarm: &Mutex<Alarm>) {
        poll_fn(|_| if self.held.get().is_some() { Poll::Ready(()) } else { Poll::Pending }).await;
        let (mut survived, mut alarm) = (0, Borrowed::new(alarm));
        loop {
            alarm.ring(Instant::now() + EVERY).await;
            let streams = self.streams.load(Ordering::Acquire);
            let judged = if streams { self.judge(gate, clock).await } else { self.still_holds(gate, clock).await };
            match judged {
                Ok(()) => {
                    survived = 0;
                    let now = clock.boot_now();
                    let uploads = if streams { Ok(()) } else { self.upload_progresses(now) };
                    if let Err(denial) = uploads.and_then(|()| self.goes_on(streams, now)) {
                        self.cut.get_or_init(|| Cut { denial, at: now });
                        return;
                    }
                }
                Err(_) if !streams && (survived < PATIENCE || self.signs_in_or_out()) => survived += 1,
                Err(denial) => {
                    self.cut.get_or_init(|| Cut { denial, at: clock.boot_now() });
                    return;
                }
            }
        }
    }

    fn signs_in_or_out(&self) -> bool {
        self.permit().is_some_and(|permit| permit.route.session)
    }
}

/// The timer that the requests of a connection wait with, one after the other; a neighbour of HTTP/2 sets another one meanwhile.
struct Borrowed<'a> {
    from: &'a Mutex<Alarm>,
    alarm: Alarm,
}

impl<'a> Borrowed<'a> {
    fn new(from: &'a Mutex<Alarm>) -> Self {
        let alarm = mem::take(&mut *from.lock());
        Self { from, alarm }
    }

    /// Returns at this time.
    async fn ring(&mut self, at: Instant) {
        poll_fn(|cx| self.alarm.poll_at(at, cx)).await;
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        *self.from.lock() = mem::take(&mut self.alarm);
    }
}

/// The proxy of one connection, with a watch over each of its requests.
pub(crate) struct Watched {
    proxy: Arc<HttpProxy<EdgeProxy>>,
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    alarm: Mutex<Alarm>,
}

impl Watched {
    pub(crate) fn new(proxy: Arc<HttpProxy<EdgeProxy>>, shared: Arc<Shared>, connection: Arc<Connection>) -> Self {
        Self { proxy, shared, connection, alarm: Mutex::default() }
    }
}

#[async_trait]
impl HttpServerApp for Watched {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let _active = self.connection.begin(&mut session);
        let watch = Watch::over(&self.connection);
        let serving = WATCH.scope(Arc::clone(&watch), self.proxy.process_new_http(session, shutdown));
        tokio::select! {
            biased;
            reused = serving => reused,
            () = watch.ended(&self.shared.gate, &*self.shared.clock, &self.alarm) => None,
        }
    }

    fn h2_options(&self) -> Option<H2Options> {
        self.proxy.h2_options()
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        self.proxy.server_options()
    }

    async fn http_cleanup(&self) {
        self.proxy.http_cleanup().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_wait_with_one_timer_and_neighbours_with_others() {
        let (alarm, now) = (Mutex::default(), Instant::now());
        let rings = async |after| {
            Borrowed::new(&alarm).ring(now + after).await;
            Instant::now() - now
        };
        assert_eq!(tokio::join!(rings(EVERY), rings(EVERY / 2)), (EVERY, EVERY / 2));
        assert_eq!(rings(EVERY * 2).await, EVERY * 2);
    }
}
