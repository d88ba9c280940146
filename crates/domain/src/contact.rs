//! Where customers are, and who speaks for them: postal addresses and contacts.
//!
//! What is printed on an invoice is free text of a bounded length; what programs act on (country, email, phone) has a
//! form. Holding one of these means that it was checked.

use serde::{Deserialize, Deserializer, Serialize, de::Error};

use crate::Country;

/// Lengths of a line of text, in characters.
const LINE: std::ops::RangeInclusive<usize> = 1..=128;
/// Lengths of a postal code, in characters.
const POSTAL_CODE: std::ops::RangeInclusive<usize> = 1..=16;
/// Longest email, in bytes (RFC 5321 §4.5.3.1.3, without its brackets).
const EMAIL_BYTES: usize = 254;
/// Digits of a phone number with its country code (ITU-T E.164 §6.1), and the fewest there are anywhere.
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 5..=15;

/// A postal address.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Address {
    /// One to three lines: street, building, care of. 1 to 128 characters each.
    #[schemars(length(min = 1, max = 3))]
    pub lines: Vec<String>,
    /// City, 1 to 128 characters.
    pub city: String,
    /// State, province or region, 1 to 128 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Postal code, 1 to 16 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postal_code: Option<String>,
    /// Country, by its two letters (ISO 3166-1).
    pub country: Country,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAddress {
    lines: Vec<String>,
    city: String,
    state: Option<String>,
    postal_code: Option<String>,
    country: Country,
}

impl TryFrom<RawAddress> for Address {
    type Error = ContactError;
    fn try_from(raw: RawAddress) -> Result<Self, ContactError> {
        if !(1..=3).contains(&raw.lines.len()) {
            return Err(ContactError::Lines { lines: raw.lines.len() });
        }
        raw.lines.iter().try_for_each(|line| text("lines", line, LINE))?;
        text("city", &raw.city, LINE)?;
        raw.state.iter().try_for_each(|state| text("state", state, LINE))?;
        raw.postal_code.iter().try_for_each(|code| text("postal_code", code, POSTAL_CODE))?;
        let RawAddress { lines, city, state, postal_code, country } = raw;
        Ok(Self { lines, city, state, postal_code, country })
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        RawAddress::deserialize(from)?.try_into().map_err(D::Error::custom)
    }
}

/// Whom to ask.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Contact {
    /// Their name, 1 to 128 characters.
    pub name: String,
    /// Their email.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Their phone number with country code, such as `+91 22 1234 5678`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawContact {
    name: String,
    email: Option<String>,
    phone: Option<String>,
}

impl TryFrom<RawContact> for Contact {
    type Error = ContactError;
    fn try_from(RawContact { name, email, phone }: RawContact) -> Result<Self, ContactError> {
        text("name", &name, LINE)?;
        if email.as_deref().is_some_and(|email| !is_email(email)) {
            return Err(ContactError::Email);
        }
        if phone.as_deref().is_some_and(|phone| !is_phone(phone)) {
            return Err(ContactError::Phone);
        }
        Ok(Self { name, email, phone })
    }
}

impl<'de> Deserialize<'de> for Contact {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        RawContact::deserialize(from)?.try_into().map_err(D::Error::custom)
    }
}

/// Why something is no [`Address`] or [`Contact`]. What was written is not repeated: it is somebody's data.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ContactError {
    /// Too few or too many lines.
    #[error("an address has 1 to 3 lines, not {lines}")]
    Lines {
        /// How many there are.
        lines: usize,
    },
    /// Too short, too long, or not plain text.
    #[error("`{field}` has {least} to {most} characters, none of control")]
    Text {
        /// Which field.
        field: &'static str,
        /// The fewest characters.
        least: usize,
        /// The most.
        most: usize,
    },
    /// No email.
    #[error("`email` is no email address")]
    Email,
    /// No phone number.
    #[error("`phone` is no number with country code, such as `+91 22 1234 5678`")]
    Phone,
}

fn text(field: &'static str, text: &str, lengths: std::ops::RangeInclusive<usize>) -> Result<(), ContactError> {
    let plain = !text.chars().any(char::is_control) && text.trim() == text;
    if plain && lengths.contains(&text.chars().count()) {
        return Ok(());
    }
    Err(ContactError::Text { field, least: *lengths.start(), most: *lengths.end() })
}

/// Whether a text can be an email: one `@` with something on both sides, no spaces. Whether it is one, only a letter says.
pub fn is_email(text: &str) -> bool {
    let clean = (1..=EMAIL_BYTES).contains(&text.len()) && !text.chars().any(|c| c.is_control() || c.is_whitespace());
    let sides = text.split_once('@');
    clean && sides.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'))
}

/// A `+`, then digits that spaces, dashes and brackets may part.
fn is_phone(text: &str) -> bool {
    let Some(number) = text.strip_prefix('+') else { return false };
    let digits = number.chars().filter(char::is_ascii_digit).count();
    let parts = number.chars().all(|c| c.is_ascii_digit() || matches!(c, ' ' | '-' | '(' | ')' | '.'));
    text.len() <= 32 && parts && PHONE_DIGITS.contains(&digits) && number.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_address_reads_back_what_it_wrote_and_refuses_what_is_none() {
        let whole =
            json!({ "lines": ["1 Main St"], "city": "Pune", "state": "MH", "postal_code": "411001", "country": "IN" });
        let address: Address = serde_json::from_value(whole.clone()).unwrap();
        assert_eq!(serde_json::to_value(&address).unwrap(), whole);
        let with = |name: &str, value: serde_json::Value| {
            let mut changed = whole.clone();
            changed[name] = value;
            serde_json::from_value::<Address>(changed).unwrap_err().to_string()
        };
        assert!(with("lines", json!([])).contains("1 to 3 lines"));
        assert!(with("lines", json!(["a", "b", "c", "d"])).contains("1 to 3 lines"));
        assert!(with("lines", json!(["a\nb"])).contains("`lines`"));
        assert!(with("city", json!("")).contains("`city`"));
        assert!(with("city", json!("x".repeat(129))).contains("`city`"));
        assert!(with("country", json!("India")).contains("ISO 3166-1"));
        assert!(with("planet", json!("Earth")).contains("unknown field"));
    }

    #[test]
    fn a_contact_has_a_name_and_an_email_and_phone_that_can_be_ones() {
        let read = |email: &str, phone: &str| {
            serde_json::from_value::<Contact>(json!({ "name": "Ann", "email": email, "phone": phone }))
        };
        assert!(read("ann@acme.example", "+91 22 1234-5678").is_ok());
        for email in ["", "ann", "@acme.example", "ann@", "a@b@c", "a nn@acme.example", "ann@acme.example\n"] {
            assert!(read(email, "+91 22 1234-5678").unwrap_err().to_string().contains("`email`"), "{email:?}");
        }
        for phone in ["", "022 1234567", "+", "+12", "+1234567890123456", "+91 22 CALL ME", "+ 91 22 1234567"] {
            assert!(read("ann@acme.example", phone).unwrap_err().to_string().contains("`phone`"), "{phone:?}");
        }
    }
}
