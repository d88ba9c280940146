//! How much of a product a tenant may use in a day and in a month, and what these are.
//!
//! Periods are those of UTC: a day begins at 00:00:00Z, a month on its first day. Their texts sort as they follow each
//! other: `2028-02-29`, `2028-02`.

use std::{fmt, str::FromStr};

use jiff::{
    ToSpan,
    civil::Date,
    tz::{Offset, TimeZone},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{TenantId, Timestamp, model::ProductKey};

/// The largest quota: a million million requests.
pub const MAX_QUOTA: u64 = 1_000_000_000_000;

/// Requests that a tenant may send through routes that demand a product. What is absent is not limited.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProductQuota {
    /// In one day of UTC, 1 to 1,000,000,000,000; absent for any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MAX_QUOTA))]
    pub per_day: Option<u64>,
    /// In one calendar month of UTC, 1 to 1,000,000,000,000; absent for any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MAX_QUOTA))]
    pub per_month: Option<u64>,
}

impl ProductQuota {
    /// Whether it limits nothing.
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// The most in one period.
    pub const fn of(&self, period: Period) -> Option<u64> {
        match period {
            Period::Day => self.per_day,
            Period::Month => self.per_month,
        }
    }

    /// Whether it allows less than `before` did in any period.
    pub fn is_narrower_than(&self, before: &Self) -> bool {
        Period::ALL.iter().any(|period| {
            let most = |quota: &Self| quota.of(*period).unwrap_or(u64::MAX);
            most(self) < most(before)
        })
    }

    /// Whether its numbers are within their bounds.
    ///
    /// # Errors
    /// Which is not.
    pub fn check(&self) -> Result<(), QuotaError> {
        for (field, number) in [("per_day", self.per_day), ("per_month", self.per_month)] {
            if number.is_some_and(|number| !(1..=MAX_QUOTA).contains(&number)) {
                return Err(QuotaError { field });
            }
        }
        Ok(())
    }
}

/// What of a [`ProductQuota`] is out of bounds.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{field}`: 1 to 1,000,000,000,000 are allowed")]
pub struct QuotaError {
    /// The field.
    pub field: &'static str,
}

/// How far one gateway is with what a tenant uses of a product.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UsageCount {
    /// The tenant.
    pub tenant_id: TenantId,
    /// The product.
    pub product: ProductKey,
    /// The day or month.
    pub span: Span,
    /// Requests that the gateway let through.
    pub used: u64,
}

/// The part of one gateway in what was used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UsagePart {
    /// The gateway, from its start to its end.
    pub counter: Uuid,
    /// Requests that it let through.
    pub used: u64,
}

/// Counts that are told at once, at most.
pub const MAX_COUNTS: usize = 256;

/// What quotas are counted by.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// A day of UTC.
    Day,
    /// A calendar month of UTC.
    Month,
}

impl Period {
    /// Each of them.
    pub const ALL: [Self; 2] = [Self::Day, Self::Month];
}

/// One day or month.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Span {
    period: Period,
    number: u32,
}

impl Span {
    /// The day or month of an instant. Before 1970 it is the first, and nothing goes beyond the year 4000.
    pub fn at(period: Period, now: Timestamp) -> Self {
        let date = date_of(now);
        let number = match period {
            Period::Day => now.secs().div_euclid(86_400),
            Period::Month => (i64::from(date.year()) - 1970) * 12 + i64::from(date.month()) - 1,
        };
        Self { period, number: u32::try_from(number).unwrap_or(0) }
    }

    /// The day or month of this number.
    pub const fn numbered(period: Period, number: u32) -> Self {
        Self { period, number }
    }

    /// Whether it is a day or a month.
    pub const fn period(self) -> Period {
        self.period
    }

    /// Which since 1970-01-01, from 0. Fits 20 bits.
    pub const fn number(self) -> u32 {
        self.number
    }

    /// Its first moment.
    pub fn starts_at(self) -> Timestamp {
        instant(self.first())
    }

    /// The first moment after it.
    pub fn ends_at(self) -> Timestamp {
        let first = self.first();
        let next = match self.period {
            Period::Day => first.checked_add(1.day()),
            Period::Month => first.checked_add(1.month()),
        };
        instant(next.unwrap_or(Date::MAX))
    }

    fn first(self) -> Date {
        match self.period {
            Period::Day => date_of(Timestamp::from_secs(i64::from(self.number) * 86_400)),
            Period::Month => {
                let (years, month) = (self.number / 12, self.number % 12 + 1);
                let year = i16::try_from(1970 + years).unwrap_or(i16::MAX);
                Date::new(year, i8::try_from(month).unwrap_or(1), 1).unwrap_or(Date::MAX)
            }
        }
    }
}

/// The last that is told apart: numbers of days must fit 20 bits.
const LAST: Date = jiff::civil::date(4000, 12, 31);

fn date_of(at: Timestamp) -> Date {
    let at = jiff::Timestamp::from_millisecond(at.millis()).unwrap_or(jiff::Timestamp::MAX);
    Offset::UTC.to_datetime(at).date().min(LAST)
}

fn instant(date: Date) -> Timestamp {
    let at = date.to_zoned(TimeZone::UTC).map_or(jiff::Timestamp::MAX, |at| at.timestamp());
    Timestamp::from_millis(at.as_millisecond())
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.first();
        match self.period {
            Period::Day => write!(f, "{first}"),
            Period::Month => write!(f, "{:04}-{:02}", first.year(), first.month()),
        }
    }
}

impl FromStr for Span {
    type Err = SpanError;
    fn from_str(text: &str) -> Result<Self, SpanError> {
        let wrong = || SpanError { text: text.into() };
        let (period, date) = match text.len() {
            10 => (Period::Day, text.parse::<Date>()),
            7 => (Period::Month, format!("{text}-01").parse::<Date>()),
            _ => return Err(wrong()),
        };
        let span = Self::at(period, instant(date.map_err(|_| wrong())?));
        // What reads back otherwise was written otherwise, or lies before the first.
        if span.to_string() == text { Ok(span) } else { Err(wrong()) }
    }
}

/// Why a text is not a [`Span`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is neither a day such as `2028-02-29` nor a month such as `2028-02`")]
pub struct SpanError {
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        serde_json::from_value(serde_json::json!(text)).unwrap()
    }

    #[test]
    fn a_day_and_a_month_end_where_the_next_begins() {
        for (now, day, month) in [
            ("2026-11-22T10:00:00Z", ("2026-11-22", "2026-11-23T00:00:00Z"), ("2026-11", "2026-12-01T00:00:00Z")),
            ("2028-02-29T23:59:59.999Z", ("2028-02-29", "2028-03-01T00:00:00Z"), ("2028-02", "2028-03-01T00:00:00Z")),
            ("2027-02-28T23:59:59.999Z", ("2027-02-28", "2027-03-01T00:00:00Z"), ("2027-02", "2027-03-01T00:00:00Z")),
            ("2028-02-28T23:59:59.999Z", ("2028-02-28", "2028-02-29T00:00:00Z"), ("2028-02", "2028-03-01T00:00:00Z")),
            ("2100-02-28T12:00:00Z", ("2100-02-28", "2100-03-01T00:00:00Z"), ("2100-02", "2100-03-01T00:00:00Z")),
            ("2026-12-31T23:59:59.999Z", ("2026-12-31", "2027-01-01T00:00:00Z"), ("2026-12", "2027-01-01T00:00:00Z")),
            ("1970-01-01T00:00:00Z", ("1970-01-01", "1970-01-02T00:00:00Z"), ("1970-01", "1970-02-01T00:00:00Z")),
        ] {
            for (period, (text, end)) in [(Period::Day, day), (Period::Month, month)] {
                let span = Span::at(period, at(now));
                assert_eq!((span.to_string(), span.ends_at()), (text.to_owned(), at(end)), "{now}");
                assert_eq!(text.parse(), Ok(span));
                assert_eq!(Span::at(period, span.starts_at()), span, "its first moment is in it");
                let next = Span::at(period, span.ends_at());
                assert_eq!((next.number(), next.starts_at()), (span.number() + 1, span.ends_at()), "{now}");
            }
        }
    }

    #[test]
    fn no_instant_is_beyond_twenty_bits() {
        for now in [i64::MIN, -1, 0, i64::MAX] {
            for period in Period::ALL {
                assert!(Span::at(period, Timestamp::from_millis(now)).number() < 1 << 20, "{now} {period:?}");
            }
        }
    }

    #[test]
    fn a_text_that_names_no_period_is_refused() {
        for text in
            ["", "2026", "2026-13", "2026-02-30", "2027-02-29", "1969-12-31", "1969-12", "2026-1-01", "26-11-222"]
        {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn less_in_any_period_is_narrower() {
        let quota = |per_day, per_month| ProductQuota { per_day, per_month };
        assert!(quota(Some(1), None).is_narrower_than(&quota(None, None)));
        assert!(quota(Some(1), Some(9)).is_narrower_than(&quota(Some(2), Some(3))));
        assert!(!quota(None, None).is_narrower_than(&quota(Some(1), Some(1))));
        assert!(!quota(Some(1), None).is_narrower_than(&quota(Some(1), None)));
        assert_eq!(quota(Some(0), None).check(), Err(QuotaError { field: "per_day" }));
        assert_eq!(quota(None, Some(MAX_QUOTA + 1)).check(), Err(QuotaError { field: "per_month" }));
        assert_eq!(quota(Some(1), Some(MAX_QUOTA)).check(), Ok(()));
    }
}
