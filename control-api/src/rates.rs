//! How often one client address may ask for what costs a mail or a guess.
//!
//! Counted within whole minutes, by each process for itself. What a stranger can do to one account is counted beside this, in the
//! database: failed sign-ins, wrong codes, letters to an address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
};

use domain::Timestamp;

use crate::{config::RatesConfig, error::AppError};

/// What is counted together.
const WINDOW_SECS: i64 = 60;

/// Most addresses that are counted at once. Beyond that one is forgotten for each that comes.
const MOST: usize = 100_000;

/// What is asked for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Rate {
    /// An account.
    Signup,
    /// A new password.
    Reset,
    /// The proof of an address.
    Verify,
    /// To sign in without a password.
    Passwordless,
    /// With wrong credentials of a program.
    Machine,
}

impl Rate {
    const fn most(self, config: &RatesConfig) -> u32 {
        match self {
            Self::Signup => config.signup,
            Self::Reset => config.reset,
            Self::Verify => config.verify,
            Self::Passwordless => config.passwordless,
            Self::Machine => config.machine,
        }
    }
}

/// Who asked how often.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    counts: Mutex<Counts>,
}

/// Within one minute.
#[derive(Debug, Default)]
struct Counts {
    minute: i64,
    asked: HashMap<(Rate, IpAddr), u32>,
}

impl Rates {
    /// Counts a request. One whose address nobody knows came over a socket of this machine and is not counted.
    ///
    /// # Errors
    /// [`AppError::RateLimited`].
    pub(crate) fn take(
        &self,
        config: &RatesConfig,
        rate: Rate,
        from: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<(), AppError> {
        let most = rate.most(config);
        let Some(from) = from.filter(|_| most > 0) else { return Ok(()) };
        let minute = now.secs().div_euclid(WINDOW_SECS);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.minute != minute {
            *counts = Counts { minute, asked: HashMap::new() };
        }
        let key = (rate, network(from));
        if counts.asked.len() >= MOST && !counts.asked.contains_key(&key) {
            let any = counts.asked.keys().next().copied();
            any.and_then(|any| counts.asked.remove(&any));
        }
        let asked = counts.asked.entry(key).or_insert(0);
        if *asked >= most {
            let left = (minute + 1) * WINDOW_SECS - now.secs();
            return Err(AppError::RateLimited { retry_after: u64::try_from(left).unwrap_or(1).max(1) });
        }
        *asked += 1;
        Ok(())
    }
}

/// Whoever has one address of a /64 has all of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_address_asks_so_often_in_a_minute_and_another_is_not_concerned() {
        let (rates, config) = (Rates::default(), RatesConfig::default());
        let at = Timestamp::from_secs(1_200_000_030);
        let ask = |rate, from: &str, at| rates.take(&config, rate, Some(from.parse().unwrap()), at);
        for (rate, most) in [(Rate::Signup, 10), (Rate::Reset, 5), (Rate::Verify, 20), (Rate::Passwordless, 5)] {
            for _ in 0..most {
                ask(rate, "192.0.2.1", at).unwrap();
            }
            let refused = ask(rate, "192.0.2.1", at).unwrap_err();
            assert!(matches!(refused, AppError::RateLimited { retry_after: 30 }), "{rate:?}: {refused:?}");
            ask(rate, "192.0.2.2", at).unwrap();
            ask(rate, "192.0.2.1", at + Duration::from_secs(30)).unwrap();
        }
        for last in 0..5 {
            ask(Rate::Reset, &format!("2001:db8::{last}"), at).unwrap();
        }
        assert!(ask(Rate::Reset, "2001:db8::ffff", at).is_err(), "a /64 is one");
        ask(Rate::Reset, "2001:db8:0:1::1", at).unwrap();
        let free = RatesConfig { reset: 0, ..config };
        assert!(rates.take(&free, Rate::Reset, Some("192.0.2.1".parse().unwrap()), at).is_ok());
        assert!(rates.take(&config, Rate::Reset, None, at).is_ok());
    }
}
