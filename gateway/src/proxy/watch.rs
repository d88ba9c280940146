//! What lasts is judged again for as long as it lasts.
//!
//! A request is judged when it begins and when it is sent on. A download, server-sent events or a WebSocket may go on
//! for hours after that, and then its token may have been revoked or have expired, or the route's patience without
//! proof may be over. From its response header on, each stream of somebody we know is therefore judged every
//! [`EVERY`], whether bytes flow or not, and cut off when its permit does not hold any more. Of HTTP/2, one stream is
//! reset and its neighbours go on.
//!
//! ```text
//! Watched::process_new_http ──┬─ HttpProxy::process_new_http   puts the permit into the watch, says when it streams
//!                             └─ Watch::ended                  judges; when it returns, the other half is dropped
//! ```
//!
//! Dropping is all that ends an idle stream: Pingora offers no hook while nothing flows. `logging` is then never
//! reached, so that the context writes its line when it is dropped. What has no response yet is not cut off but
//! answered: a body that is still being uploaded is judged as its bytes come, and a request that waits for its
//! upstream is left alone, or signing out could not be answered by the session it ends.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use authn::TokenError;
use domain::{BootInstant, Clock};
use gate::{Denial, Gate, Permit};
use pingora::{
    apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream},
    protocols::http::{ServerSession, v2::server::H2Options},
    proxy::HttpProxy,
    server::ShutdownWatch,
};
use tokio::{sync::Notify, time::sleep};

use super::{EdgeProxy, Shared};

/// How often what lasts is judged.
pub(crate) const EVERY: Duration = Duration::from_millis(500);

tokio::task_local! {
    /// The watch over the request that this task serves.
    static WATCH: Arc<Watch>;
}

/// One request's permit, and what became of it.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    permit: OnceLock<Permit>,
    streams: Notify,
    cut: OnceLock<Cut>,
}

/// When and why a stream was cut off.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(crate) denial: Denial,
    pub(crate) at: BootInstant,
}

impl Watch {
    /// The watch over the request that this task serves.
    pub(crate) fn current() -> Arc<Self> {
        WATCH.try_with(Arc::clone).unwrap_or_default()
    }

    /// Notes that the request may be forwarded.
    pub(crate) fn permitted(&self, permit: Permit) {
        self.permit.get_or_init(|| permit);
    }

    /// Once the gate permitted the request.
    pub(crate) fn permit(&self) -> Option<&Permit> {
        self.permit.get()
    }

    /// Why the stream was cut off, if it was.
    pub(crate) fn cut(&self) -> Option<&Cut> {
        self.cut.get()
    }

    /// From now on a response goes to the client. One to nobody we know lasts as long as it likes.
    pub(crate) fn streams(&self) {
        if self.permit().is_some_and(|permit| permit.lasting.ends_at.is_some()) {
            self.streams.notify_one();
        }
    }

    /// Judges the permit once more.
    ///
    /// # Errors
    /// Why it does not hold any more.
    pub(crate) fn judge(&self, gate: &Gate, clock: &dyn Clock) -> Result<(), Denial> {
        let Some(permit) = self.permit() else { return Ok(()) };
        gate.still_holds(permit, clock)?;
        match permit.lasting.ends_at {
            Some(at) if clock.unix_now() >= at => Err(TokenError::Expired.into()),
            _ => Ok(()),
        }
    }

    /// Returns when a stream must be cut off; never for what is none. Cancel-safe.
    async fn ended(&self, gate: &Gate, clock: &dyn Clock) {
        self.streams.notified().await;
        loop {
            sleep(EVERY).await;
            if let Err(denial) = self.judge(gate, clock) {
                self.cut.get_or_init(|| Cut { denial, at: clock.boot_now() });
                return;
            }
        }
    }
}

/// The proxy of one listener, with a watch over each of its requests.
pub(crate) struct Watched {
    proxy: Arc<HttpProxy<EdgeProxy>>,
    shared: Arc<Shared>,
}

impl Watched {
    pub(crate) fn new(proxy: HttpProxy<EdgeProxy>, shared: Arc<Shared>) -> Self {
        Self { proxy: Arc::new(proxy), shared }
    }
}

#[async_trait]
impl HttpServerApp for Watched {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let watch = Arc::<Watch>::default();
        let serving = WATCH.scope(Arc::clone(&watch), self.proxy.process_new_http(session, shutdown));
        tokio::select! {
            biased;
            reused = serving => reused,
            () = watch.ended(&self.shared.gate, &*self.shared.clock) => None,
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
