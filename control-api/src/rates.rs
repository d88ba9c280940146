//! How often one client address may ask for what costs a mail or a guess, and how often it may be asked for one account.
//!
//! ```text
//! request ─▶ this process's own count ─▶ the count of all control APIs, in `redis.cache` ─▶ go on
//!                 └─▶ 429                     ├─▶ 429
//!                                             └─▶ Redis is away: the process's own count was enough
//! ```
//!
//! A window of a minute begins with the first request in it. Each process counts for itself whether or not there is a Redis, so
//! that a Redis that is lost, or forgets, lets through what a single process would and never more of each. What is beside this, in the
//! database, and holds for all control APIs: failed sign-ins, wrong codes, letters to an address.
//!
//! Accounts are counted by what was typed, whether or not anybody is called so: the answer tells nobody who exists. Sign-ins on `admin`
//! are not counted: everybody there comes from this machine, and one could lock out all others.

use std::{
    collections::{HashMap, VecDeque},
    fmt::Write as _,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use domain::{ProjectId, Timestamp, model::fold};
use link::shared_rates::SharedRates;

use crate::{
    config::RatesConfig,
    context::{Listener, RequestContext},
    error::AppError,
    problem,
    state::Parts,
};

/// What is counted together.
const WINDOW: Duration = Duration::from_secs(60);

/// Most addresses, and most accounts, that are counted at once. Beyond that the window that began first is forgotten.
const MOST: usize = 100_000;

/// Longest wait for Redis. Who asks waits for no more than that.
const PATIENCE: Duration = Duration::from_millis(100);

/// For so long Redis is not asked again after it did not answer.
const REST: Duration = Duration::from_secs(1);

/// Bytes of a digest that tell accounts apart.
const DIGEST: usize = 16;

/// Exports of one account in a window: each reads all that its holder ever did.
const EXPORTS: u32 = 5;

/// What is asked for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Rate {
    /// To sign in with a password.
    Login,
    /// An account.
    Signup,
    /// A new password.
    Reset,
    /// The proof of an address.
    Verify,
    /// To sign in without a password.
    Passwordless,
    /// A code to a telephone.
    Phone,
    /// To be the first administrator.
    Bootstrap,
    /// With wrong credentials of a program.
    Machine,
    /// To be whoever verifies identities, with a signature that is not theirs.
    IdentityEvent,
    /// To sign in with a passkey, in two steps.
    Passkey,
    /// What came of a sign-in that another device approves.
    Poll,
    /// To sign in through an identity provider.
    Oauth,
    /// All that is kept of one.
    Export,
}

impl Rate {
    const fn most(self, config: &RatesConfig) -> u32 {
        match self {
            Self::Login => config.login,
            Self::Signup => config.signup,
            Self::Reset => config.reset,
            Self::Verify => config.verify,
            Self::Passwordless => config.passwordless,
            Self::Phone => config.phone,
            Self::Bootstrap => config.bootstrap,
            Self::Machine => config.machine,
            Self::IdentityEvent => config.identity_event,
            Self::Passkey => config.passkey,
            Self::Poll => config.poll,
            Self::Oauth => config.oauth,
            Self::Export => EXPORTS,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Signup => "signup",
            Self::Reset => "reset",
            Self::Verify => "verify",
            Self::Passwordless => "passwordless",
            Self::Phone => "phone",
            Self::Bootstrap => "bootstrap",
            Self::Machine => "machine",
            Self::IdentityEvent => "identity_event",
            Self::Passkey => "passkey",
            Self::Poll => "poll",
            Self::Oauth => "oauth",
            Self::Export => "export",
        }
    }

    /// Whether it is counted for who came through that door.
    const fn counts_at(self, listener: Listener) -> bool {
        !matches!((self, listener), (Self::Login, Listener::Admin | Listener::Internal))
    }
}

/// Who asked how often.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    addresses: Mutex<Windows<(Rate, IpAddr)>>,
    accounts: Mutex<Windows<(Rate, [u8; DIGEST])>>,
    /// What all control APIs count together.
    shared: OnceLock<SharedRates>,
    /// Milliseconds since the epoch until which that is not asked, as it did not answer; 0 where it did.
    away_until: AtomicI64,
}

impl Rates {
    /// From now on counts with all others that do.
    pub(crate) fn share(&self, shared: SharedRates) {
        if self.shared.set(shared).is_err() {
            tracing::debug!("rates are shared already");
        }
    }

    /// Counts with the others, where that is possible now.
    async fn take_shared(&self, name: &str, most: u32, now: Timestamp) -> Result<(), AppError> {
        let Some(shared) = self.shared.get() else { return Ok(()) };
        let away_until = self.away_until.load(Ordering::Relaxed);
        // Whoever comes while it hangs does not wait for it, too.
        if away_until > now.millis() {
            return Ok(());
        }
        let why = match tokio::time::timeout(PATIENCE, shared.count(name, WINDOW)).await {
            Ok(Ok(asked)) => {
                if self.away_until.swap(0, Ordering::Relaxed) > 0 {
                    tracing::info!("rates are shared again");
                }
                if asked.times > u64::from(most) {
                    return Err(AppError::RateLimited { retry_after: asked.left.min(WINDOW).as_secs().max(1) });
                }
                return Ok(());
            }
            Ok(Err(error)) => problem::chain(&error),
            Err(_) => format!("no answer within {PATIENCE:?}"),
        };
        if self.away_until.swap((now + REST).millis(), Ordering::Relaxed) == 0 {
            tracing::warn!(error = why, "rates are not shared: each control API counts for itself until Redis answers");
        }
        Ok(())
    }
}

impl Parts {
    /// Counts a request of a client's address. One whose address nobody knows came over a socket of this machine and is not counted.
    ///
    /// # Errors
    /// [`AppError::RateLimited`].
    pub(crate) async fn admit_address(&self, rate: Rate, context: &RequestContext) -> Result<(), AppError> {
        let most = rate.most(&self.config.identity.rates);
        let Some(from) = context.client.filter(|_| most > 0 && rate.counts_at(context.listener)) else {
            return Ok(());
        };
        let from = network(from);
        let taken = locked(&self.rates.addresses).take((rate, from), most, self.now());
        taken.map_err(|retry_after| AppError::RateLimited { retry_after })?;
        self.rates.take_shared(&format!("{}:a:{from}", rate.name()), most, self.now()).await
    }

    /// After how many seconds an address may ask again that has asked often enough, as this process counts. Nothing is counted by this.
    pub(crate) fn spent_address(&self, rate: Rate, context: &RequestContext) -> Option<u64> {
        let most = rate.most(&self.config.identity.rates);
        let from = context.client.filter(|_| most > 0 && rate.counts_at(context.listener))?;
        locked(&self.rates.addresses).spent(&(rate, network(from)), most, self.now())
    }

    /// Counts a request for an account of a project, by the name or id that it goes by.
    ///
    /// # Errors
    /// [`AppError::RateLimited`], whether or not there is such an account.
    pub(crate) async fn admit_account(
        &self,
        rate: Rate,
        context: &RequestContext,
        (project, account): (ProjectId, &str),
    ) -> Result<(), AppError> {
        let most = rate.most(&self.config.identity.rates);
        if most == 0 || !rate.counts_at(context.listener) {
            return Ok(());
        }
        let account = digest_of(project, account);
        let taken = locked(&self.rates.accounts).take((rate, account), most, self.now());
        taken.map_err(|retry_after| AppError::RateLimited { retry_after })?;
        let mut name = format!("{}:u:", rate.name());
        for byte in account {
            // Writing to a String does not fail.
            _ = write!(name, "{byte:02x}");
        }
        self.rates.take_shared(&name, most, self.now()).await
    }
}

/// Windows that are open, and in which order they began.
#[derive(Debug)]
struct Windows<K> {
    open: HashMap<K, Window>,
    order: VecDeque<K>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    began: Timestamp,
    asked: u32,
}

impl<K> Default for Windows<K> {
    fn default() -> Self {
        Self { open: HashMap::new(), order: VecDeque::new() }
    }
}

impl<K: Copy + Eq + Hash> Windows<K> {
    /// Counts one more; says after how many seconds, where there were enough.
    fn take(&mut self, key: K, most: u32, now: Timestamp) -> Result<(), u64> {
        while let Some(oldest) = self.order.front() {
            let is_over = self.open.get(oldest).is_none_or(|window| window.began + WINDOW <= now);
            let is_full = self.open.len() >= MOST && !self.open.contains_key(&key);
            if !is_over && !is_full {
                break;
            }
            self.open.remove(oldest);
            self.order.pop_front();
        }
        let order = &mut self.order;
        let window = self.open.entry(key).or_insert_with(|| {
            order.push_back(key);
            Window { began: now, asked: 0 }
        });
        if window.asked >= most {
            return Err((window.began + WINDOW).since(now).as_secs().max(1));
        }
        window.asked += 1;
        Ok(())
    }

    /// After how many seconds there is one more, where there were enough.
    fn spent(&self, key: &K, most: u32, now: Timestamp) -> Option<u64> {
        let ends = self.open.get(key).filter(|window| window.asked >= most)?.began + WINDOW;
        (ends > now).then(|| ends.since(now).as_secs().max(1))
    }
}

fn locked<T>(windows: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    windows.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whoever has one address of a /64 has all of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// An account without its name, in any spelling of it. The project's id has one length: nothing else gives the same text.
fn digest_of(project: ProjectId, account: &str) -> [u8; DIGEST] {
    let text = format!("{project}:{}", fold(account));
    let mut short = [0; DIGEST];
    for (to, from) in short.iter_mut().zip(digest(&SHA256, text.as_bytes()).as_ref()) {
        *to = *from;
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_secs(1_200_000_030);

    fn from(address: &str) -> IpAddr {
        network(address.parse().unwrap())
    }

    #[test]
    fn an_address_asks_so_often_in_a_minute_and_another_is_not_concerned() {
        let (mut windows, config) = (Windows::default(), RatesConfig::default());
        let mut ask = |rate: Rate, address: &str, at| windows.take((rate, from(address)), rate.most(&config), at);
        for (rate, most) in [
            (Rate::Login, 30),
            (Rate::Signup, 10),
            (Rate::Reset, 5),
            (Rate::Verify, 20),
            (Rate::Passwordless, 5),
            (Rate::Phone, 5),
            (Rate::Bootstrap, 5),
            (Rate::Machine, 30),
            (Rate::Passkey, 60),
            (Rate::Poll, 300),
            (Rate::Oauth, 30),
        ] {
            for _ in 0..most {
                ask(rate, "192.0.2.1", AT).unwrap();
            }
            assert_eq!(ask(rate, "192.0.2.1", AT + Duration::from_secs(30)), Err(30), "{rate:?}");
            ask(rate, "192.0.2.2", AT).unwrap();
        }
        for rate in [Rate::Login, Rate::Reset] {
            ask(rate, "192.0.2.1", AT + WINDOW).unwrap();
        }
        for last in 0..5 {
            ask(Rate::Reset, &format!("2001:db8::{last}"), AT + WINDOW).unwrap();
        }
        assert!(ask(Rate::Reset, "2001:db8::ffff", AT + WINDOW).is_err(), "a /64 is one");
        ask(Rate::Reset, "2001:db8:0:1::1", AT + WINDOW).unwrap();
    }

    #[test]
    fn a_full_table_forgets_who_came_first_and_goes_on_counting_newcomers() {
        let mut windows = Windows::default();
        let mut ask = |who: usize, later: u64| windows.take(who, 1, AT + Duration::from_millis(later));
        ask(0, 0).unwrap();
        for who in 1..=MOST {
            ask(who, 1).unwrap();
        }
        ask(0, 2).expect("it began first, and was forgotten for the last that came");
        for newcomer in [MOST, MOST - 1, 0] {
            assert!(ask(newcomer, 3).is_err(), "{newcomer} is counted however full it is");
        }
        assert_eq!((windows.open.len(), windows.order.len()), (MOST, MOST));
        windows.take(7, 1, AT + WINDOW + Duration::from_secs(1)).unwrap();
        assert_eq!((windows.open.len(), windows.order.len()), (1, 1), "what is over is not kept");
    }

    #[test]
    fn an_account_is_one_in_any_spelling_and_another_in_another_project() {
        let (one, other) = (ProjectId::new(uuid::Uuid::from_u128(1)), ProjectId::new(uuid::Uuid::from_u128(2)));
        assert_eq!(digest_of(one, "Ann@Example.com"), digest_of(one, "ann@example.com"));
        assert_ne!(digest_of(one, "ann@example.com"), digest_of(other, "ann@example.com"));
        assert_ne!(digest_of(one, "ann@example.com"), digest_of(one, "bob@example.com"));
    }

    #[test]
    fn sign_ins_on_the_own_machine_lock_nobody_out() {
        assert!(Rate::Login.counts_at(Listener::Public) && !Rate::Login.counts_at(Listener::Admin));
        assert!(Rate::Bootstrap.counts_at(Listener::Admin) && Rate::Reset.counts_at(Listener::Admin));
    }
}
