//! Names of upstreams, resolved at the gateway and remembered for a few seconds.

use std::{collections::HashMap, fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use domain::{BootInstant, Clock};
use parking_lot::Mutex;

/// How long an answer is used before it is asked for again. Old answers go on being used while that happens.
const FRESH: Duration = Duration::from_secs(10);

/// Longest wait for an answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// Resolves names. A warm request waits for nobody: only the first one for a name does.
#[derive(Clone)]
pub(crate) struct Resolver {
    clock: Arc<dyn Clock>,
    known: Arc<Mutex<Answers>>,
}

/// By name and port.
type Answers = HashMap<(Box<str>, u16), Known>;

#[derive(Debug)]
struct Known {
    addresses: Arc<[SocketAddr]>,
    asked_at: BootInstant,
}

impl Resolver {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, known: Arc::default() }
    }

    pub(crate) async fn resolve(&self, name: &str, port: u16) -> io::Result<Arc<[SocketAddr]>> {
        let now = self.clock.boot_now();
        let (found, stale) = match self.known.lock().get_mut(&(Box::from(name), port)) {
            None => (None, false),
            Some(known) => {
                let stale = now.since(known.asked_at) >= FRESH;
                if stale {
                    // The others that come now need not ask as well.
                    known.asked_at = now;
                }
                (Some(Arc::clone(&known.addresses)), stale)
            }
        };
        match found {
            None => self.ask(name, port).await,
            Some(addresses) => {
                if stale {
                    let (this, name) = (self.clone(), name.to_owned());
                    tokio::spawn(async move {
                        if let Err(error) = this.ask(&name, port).await {
                            tracing::warn!(upstream.name = name, %error, "a name is not resolved any more; using what it was");
                        }
                    });
                }
                Ok(addresses)
            }
        }
    }

    async fn ask(&self, name: &str, port: u16) -> io::Result<Arc<[SocketAddr]>> {
        let asked_at = self.clock.boot_now();
        let answer = tokio::time::timeout(DEADLINE, tokio::net::lookup_host((name, port))).await;
        let addresses: Arc<[SocketAddr]> = answer.map_err(|_| io::ErrorKind::TimedOut)??.collect();
        if addresses.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let known = Known { addresses: Arc::clone(&addresses), asked_at };
        self.known.lock().insert((name.into(), port), known);
        Ok(addresses)
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("known", &self.known).finish_non_exhaustive()
    }
}
