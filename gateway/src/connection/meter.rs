//! How much of a head has come, and whether it takes too long.

use std::{
    mem,
    task::{Context, Poll},
};

use gate::Denial;
use memchr::{memchr, memchr_iter};
use tokio::time::Instant;

use super::alarm::Alarm;
use crate::config::ConnectionConfig;

/// What a request line has beside its target: method, spaces, version.
const AROUND_TARGET: u64 = 32;

/// Meters one head. Nothing of it runs while all of a head comes at once.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// Which head.
    phase: u32,
    bytes: u64,
    lines: usize,
    /// Bytes until the first line break.
    first_line: u64,
    /// When the client will have waited too long, once it waits.
    until: Option<Instant>,
    alarm: Alarm,
}

impl Meter {
    #[cfg(test)]
    fn of(phase: u32) -> Self {
        Self { phase, ..Self::default() }
    }

    /// Goes on to this head.
    pub(super) fn turn_to(&mut self, phase: u32) {
        *self = Self { phase, alarm: mem::take(&mut self.alarm), ..Self::default() };
    }

    pub(super) const fn phase(&self) -> u32 {
        self.phase
    }

    /// Whether nothing has come of the head.
    pub(super) const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Takes what came.
    pub(super) fn saw(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.is_empty() && self.phase > 1 {
            // What was waited for was the next head, not its end.
            self.until = None;
        }
        if self.lines == 0 {
            let end = memchr(b'\n', bytes).unwrap_or(bytes.len());
            self.first_line += u64::try_from(end).unwrap_or(u64::MAX);
        }
        self.lines += memchr_iter(b'\n', bytes).count();
        self.bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    }

    /// What is wrong with a head of which more is asked for, or which cannot be parsed.
    pub(super) fn exceeds(&self, limits: &ConnectionConfig) -> Option<Denial> {
        if self.first_line > limits.max_target.bytes() + AROUND_TARGET {
            return Some(Denial::TargetTooLong);
        }
        (self.bytes > limits.max_head.bytes() || self.lines > limits.max_fields + 2).then_some(Denial::HeadTooLarge)
    }

    /// Ready when the client has waited too long.
    pub(super) fn poll_late(&mut self, cx: &mut Context<'_>, limits: &ConnectionConfig) -> Poll<()> {
        let waits_for_a_request = self.is_empty() && self.phase > 1;
        let limit = if waits_for_a_request { limits.idle_timeout } else { limits.header_timeout };
        let until = *self.until.get_or_insert_with(|| Instant::now() + limit.get());
        self.alarm.poll_at(until, cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metered(head: &str) -> Option<Denial> {
        let mut meter = Meter::of(1);
        for piece in head.as_bytes().chunks(7) {
            meter.saw(piece);
        }
        meter.exceeds(&ConnectionConfig::default())
    }

    #[test]
    fn an_honest_head_may_go_on() {
        assert_eq!(metered("GET / HTTP/1.1\r\nHost: acme.example.test\r\nAccept: */*\r\n"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_head_has_its_time_from_the_start_of_the_connection_and_later_ones_from_their_first_byte() {
        let limits = ConnectionConfig::default();
        let late = async |meter: &mut Meter| std::future::poll_fn(|cx| meter.poll_late(cx, &limits)).await;
        for (phase, expected) in [(1, limits.header_timeout.get()), (3, limits.header_timeout.get() * 2)] {
            let begun = tokio::time::Instant::now();
            let mut meter = Meter::of(phase);
            drop(tokio::time::timeout(limits.header_timeout.get(), late(&mut meter)).await);
            meter.saw(b"G");
            late(&mut meter).await;
            assert!(begun.elapsed() >= expected && begun.elapsed() < expected * 2, "{phase}: {:?}", begun.elapsed());
        }
    }

    #[test]
    fn what_is_too_much_has_its_own_answer() {
        assert_eq!(metered(&format!("GET /{}", "a".repeat(17 << 10))), Some(Denial::TargetTooLong));
        assert_eq!(metered(&format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(65 << 10))), Some(Denial::HeadTooLarge));
        assert_eq!(metered(&format!("GET / HTTP/1.1\r\n{}", "X: 1\r\n".repeat(200))), Some(Denial::HeadTooLarge));
    }
}
