//! Phone numbers as the world dials them (ITU-T E.164).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Most digits of a number (E.164 §6).
const MOST: usize = 15;

/// Fewest digits of one that can be written to.
const LEAST: usize = 7;

/// Longest text that is read, in bytes.
const MAX_TEXT: usize = 32;

/// Countries in which people write a `0` before numbers that is dialled from within only: their calling codes. No number there begins
/// with it.
const TRUNK_ZERO: [&str; 14] = ["20", "27", "31", "32", "33", "41", "43", "44", "46", "49", "61", "62", "64", "91"];

/// Digits that tell where a number leads: the country and an area or a network.
const PREFIX: usize = 6;

/// A number with its country: `+` and 7 to 15 digits, of which the first is no `0`. Two spellings of one are equal.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PhoneNumber(String);

impl PhoneNumber {
    /// As it is dialled, `+` first.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its beginning and end, for the audit trail.
    pub fn masked(&self) -> String {
        let (head, tail) = (self.0.get(..3).unwrap_or("+"), self.0.get(self.0.len().saturating_sub(2)..).unwrap_or(""));
        format!("{head}…{tail}")
    }

    /// What it shares with those that lead to the same place or network.
    pub fn prefix(&self) -> &str {
        self.0.get(..=PREFIX).unwrap_or(&self.0)
    }

    /// Whether it begins with a calling code, such as `+49`.
    pub fn is_of(&self, code: &str) -> bool {
        self.0.starts_with(code)
    }
}

/// Why a text is no phone number.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PhoneNumberError {
    /// It names no country.
    #[error("a phone number begins with `+` and the country")]
    NoCountry,
    /// It has another character than digits and what people put between.
    #[error("a phone number is of digits, with blanks, dots, dashes and parentheses between")]
    Character,
    /// It has the `0` that is dialled within a country only.
    #[error("a phone number has no `0` between the country and the rest")]
    TrunkZero,
    /// It has too few digits or too many.
    #[error("a phone number has {LEAST} to {MOST} digits")]
    Length,
}

impl FromStr for PhoneNumber {
    type Err = PhoneNumberError;
    fn from_str(text: &str) -> Result<Self, PhoneNumberError> {
        let text = text.trim();
        if text.len() > MAX_TEXT {
            return Err(PhoneNumberError::Length);
        }
        let rest = text.strip_prefix('+').ok_or(PhoneNumberError::NoCountry)?;
        if rest.chars().any(|c| !c.is_ascii_digit() && !matches!(c, ' ' | '.' | '-' | '(' | ')')) {
            return Err(PhoneNumberError::Character);
        }
        let digits: String = rest.chars().filter(char::is_ascii_digit).collect();
        if digits.starts_with('0') {
            return Err(PhoneNumberError::NoCountry);
        }
        let within = |code: &&str| digits.strip_prefix(*code).is_some_and(|rest| rest.starts_with('0'));
        if rest.contains("(0)") || TRUNK_ZERO.iter().any(within) {
            return Err(PhoneNumberError::TrunkZero);
        }
        if !(LEAST..=MOST).contains(&digits.len()) {
            return Err(PhoneNumberError::Length);
        }
        Ok(Self(format!("+{digits}")))
    }
}

impl TryFrom<String> for PhoneNumber {
    type Error = PhoneNumberError;
    fn try_from(text: String) -> Result<Self, PhoneNumberError> {
        text.parse()
    }
}
impl From<PhoneNumber> for String {
    fn from(it: PhoneNumber) -> Self {
        it.0
    }
}
impl fmt::Display for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_number_are_one_number() {
        let number: PhoneNumber = "+14155550100".parse().unwrap();
        for text in ["+1 415 555 0100", "+1 (415) 555-0100", " +1.415.555.0100 "] {
            assert_eq!(text.parse(), Ok(number.clone()), "{text}");
        }
        assert_eq!(number.to_string().parse(), Ok(number.clone()));
        assert_eq!(number.masked(), "+14…00");
        assert!(number.is_of("+1") && !number.is_of("+44"));
        assert_eq!(number.prefix(), "+141555");
        // Where a zero is part of the number, it stays.
        assert_eq!("+39 06 1234 5678".parse::<PhoneNumber>().unwrap().as_str(), "+390612345678");
    }

    #[test]
    fn what_is_no_number_of_the_world_is_none() {
        for (text, why) in [
            ("", PhoneNumberError::NoCountry),
            ("4155550100", PhoneNumberError::NoCountry),
            ("0014155550100", PhoneNumberError::NoCountry),
            ("+04155550100", PhoneNumberError::NoCountry),
            ("+1415555010a", PhoneNumberError::Character),
            ("+1\u{0}4155550100", PhoneNumberError::Character),
            ("+1\u{0661}4155550100", PhoneNumberError::Character),
            ("++14155550100", PhoneNumberError::Character),
            ("+44 (0)20 7946 0000", PhoneNumberError::TrunkZero),
            ("+44 (0 20) 7946 0000", PhoneNumberError::TrunkZero),
            ("+49 030 1234567", PhoneNumberError::TrunkZero),
            ("+123456", PhoneNumberError::Length),
            ("+1234567890123456", PhoneNumberError::Length),
            ("+1 4 1 5 5 5 5 0 1 0 0                      ", PhoneNumberError::Length),
        ] {
            let read = text.parse::<PhoneNumber>();
            if text.ends_with("   ") { assert!(read.is_ok(), "{text}") } else { assert_eq!(read, Err(why), "{text}") }
        }
        assert_eq!(
            format!("+{}1{}", "(".repeat(20), " ".repeat(20) + "4155550100").parse::<PhoneNumber>(),
            Err(PhoneNumberError::Length)
        );
    }
}
