//! Tax ids: what revenue authorities know a customer by.
//!
//! | Kind | Form | Checked by |
//! |---|---|---|
//! | `pan` | India: five letters, four digits, a letter; the fourth says what the holder is | form, holder's letter |
//! | `tan` | India: four letters, five digits, a letter | form |
//! | `gstin` | India: state, PAN, entity, `Z`, check character | form, the PAN in it, check character (modulo 36) |
//! | `abn` | Australia: eleven digits | form, checksum (modulo 89) |
//! | `ein` | United States: `12-3456789` | form |
//! | `vat` | European Union: country's letters and 2 to 13 letters or digits | form |
//! | any other | 1 to 64 letters, digits, `-`, `/`, `.` and spaces | length |

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Most ids of one customer.
const MOST: usize = 16;

/// What the fourth letter of a PAN says its holder is: person, company, firm, trust, and so on.
const PAN_HOLDERS: &[u8] = b"ABCFGHLJPT";

/// Tax ids by kind; kinds are in small letters.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
#[schemars(with = "BTreeMap<String, String>")]
pub struct TaxIds(BTreeMap<String, String>);

impl TaxIds {
    /// The id of this kind.
    pub fn of(&self, kind: &str) -> Option<&str> {
        self.0.get(kind).map(String::as_str)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<BTreeMap<String, String>> for TaxIds {
    type Error = TaxIdError;
    fn try_from(given: BTreeMap<String, String>) -> Result<Self, TaxIdError> {
        if given.len() > MOST {
            return Err(TaxIdError::Many { ids: given.len() });
        }
        for (kind, id) in &given {
            check(kind, id)?;
        }
        if let (Some(pan), Some(gstin)) = (given.get("pan"), given.get("gstin"))
            && gstin.get(2..12) != Some(pan.as_str())
        {
            return Err(TaxIdError::Another);
        }
        Ok(Self(given))
    }
}
impl From<TaxIds> for BTreeMap<String, String> {
    fn from(ids: TaxIds) -> Self {
        ids.0
    }
}

/// Why something is no tax id. The id is not repeated: it is somebody's data.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TaxIdError {
    /// Too many.
    #[error("{ids} tax ids are too many: {MOST} are allowed")]
    Many {
        /// How many there are.
        ids: usize,
    },
    /// No kind.
    #[error("`{kind}` is no kind of tax id: 1 to 32 of a-z, 0-9 and `_`, a letter first")]
    Kind {
        /// What was given for one.
        kind: String,
    },
    /// Not of its kind's form.
    #[error("`{kind}` is not of the form of one: {form}")]
    Form {
        /// The kind.
        kind: String,
        /// What one looks like.
        form: &'static str,
    },
    /// Its checksum does not fit.
    #[error("`{kind}` has a checksum that does not fit: a digit or letter is wrong")]
    Checksum {
        /// The kind.
        kind: String,
    },
    /// The GSTIN is of another PAN.
    #[error("`gstin` holds another PAN than `pan`")]
    Another,
}

fn check(kind: &str, id: &str) -> Result<(), TaxIdError> {
    let name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if !(1..=32).contains(&kind.len()) || !kind.bytes().all(name) || !kind.starts_with(|c: char| c.is_ascii_lowercase())
    {
        return Err(TaxIdError::Kind { kind: kind.into() });
    }
    let form = |holds: bool, form| if holds { Ok(()) } else { Err(TaxIdError::Form { kind: kind.into(), form }) };
    let sum = |holds: bool| if holds { Ok(()) } else { Err(TaxIdError::Checksum { kind: kind.into() }) };
    match kind {
        "pan" => form(is_pan(id), "AAAPA9999A, its fourth letter one of ABCFGHLJPT"),
        "tan" => form(is_of(id, "AAAA99999A"), "AAAA99999A"),
        "gstin" => {
            let pan = id.get(2..12).is_some_and(is_pan);
            form(pan && is_of(id, "99XXXXXXXXXXXZX"), "state code, PAN, entity, `Z` and check character")?;
            sum(gstin_check(id) == id.chars().nth(14))
        }
        "abn" => {
            form(is_of(id, "99999999999"), "11 digits")?;
            sum(abn_holds(id))
        }
        "ein" => form(is_of(id, "99-9999999"), "99-9999999"),
        "vat" => {
            let rest = id.get(2..).unwrap_or_default();
            let letters = id.get(..2).is_some_and(|country| is_of(country, "AA"));
            let alike = rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
            form(letters && alike && (2..=13).contains(&rest.len()), "two letters, then 2 to 13 letters or digits")
        }
        _ => {
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'/' | b'.' | b' ');
            let fits = (1..=64).contains(&id.len()) && id.bytes().all(plain) && id.trim() == id;
            form(fits, "1 to 64 letters, digits, `-`, `/`, `.` and spaces within")
        }
    }
}

/// Whether a text is of a form in which `A` stands for a capital, `9` for a digit, `X` for either, and all else for itself.
fn is_of(text: &str, form: &str) -> bool {
    let fits = |(byte, wanted): (u8, u8)| match wanted {
        b'A' => byte.is_ascii_uppercase(),
        b'9' => byte.is_ascii_digit(),
        b'X' => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
        other => byte == other,
    };
    text.len() == form.len() && text.bytes().zip(form.bytes()).all(fits)
}

fn is_pan(text: &str) -> bool {
    is_of(text, "AAAAA9999A") && text.as_bytes().get(3).is_some_and(|holder| PAN_HOLDERS.contains(holder))
}

/// The last character of a GSTIN by the fourteen before it: digits of base 36, every second one doubled, the digits of
/// each product added.
fn gstin_check(id: &str) -> Option<char> {
    let mut total = 0;
    for (at, c) in id.chars().take(14).enumerate() {
        let product = c.to_digit(36)? * if at % 2 == 0 { 1 } else { 2 };
        total += product / 36 + product % 36;
    }
    char::from_digit((36 - total % 36) % 36, 36).map(|c| c.to_ascii_uppercase())
}

/// The first digit less one, each digit by its weight: the sum is divisible by 89.
fn abn_holds(id: &str) -> bool {
    const WEIGHTS: [u32; 11] = [10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19];
    let digits = id.chars().filter_map(|c| c.to_digit(10));
    let weighted: u32 = digits.zip(WEIGHTS).map(|(digit, weight)| digit * weight).sum();
    weighted.checked_sub(10).is_some_and(|sum| sum % 89 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(ids: &[(&str, &str)]) -> Result<TaxIds, TaxIdError> {
        let ids: BTreeMap<String, String> = ids.iter().map(|(kind, id)| ((*kind).into(), (*id).into())).collect();
        ids.try_into()
    }

    /// Numbers that the authorities' own guides and public registers print.
    #[test]
    fn ids_of_every_kind_are_told_from_what_is_none() {
        for (kind, right, wrong) in [
            ("pan", "AAAPL1234C", "AAAXL1234C"),
            ("pan", "AABCU9603R", "aabcu9603r"),
            ("tan", "PDES03028F", "PDE003028F"),
            ("gstin", "27AAPFU0939F1ZV", "27AAPFU0939F1AV"),
            ("abn", "51824753556", "5182475355"),
            ("ein", "12-3456789", "123456789"),
            ("vat", "DE136695976", "136695976"),
            ("cnpj", "11.222.333/0001-81", "11\n222"),
        ] {
            assert!(read(&[(kind, right)]).is_ok(), "{kind} {right}");
            assert!(matches!(read(&[(kind, wrong)]), Err(TaxIdError::Form { .. })), "{kind} {wrong}");
        }
        for kind in ["", "PAN", "9a", "a-b", &"a".repeat(33)] {
            assert_eq!(read(&[(kind, "1")]), Err(TaxIdError::Kind { kind: kind.into() }));
        }
    }

    #[test]
    fn one_wrong_character_of_a_checked_id_is_noticed() {
        for (kind, right, digits) in
            [("gstin", "27AAPFU0939F1ZV", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"), ("abn", "51824753556", "0123456789")]
        {
            for (at, was) in right.char_indices() {
                for other in digits.chars().filter(|c| *c != was) {
                    let mut wrong = right.to_owned();
                    wrong.replace_range(at..=at, &other.to_string());
                    assert!(read(&[(kind, &wrong)]).is_err(), "{kind} {wrong}");
                }
            }
        }
    }

    #[test]
    fn a_gstin_is_of_the_pan_beside_it() {
        assert!(read(&[("pan", "AAPFU0939F"), ("gstin", "27AAPFU0939F1ZV")]).is_ok());
        assert_eq!(read(&[("pan", "AABCU9603R"), ("gstin", "27AAPFU0939F1ZV")]), Err(TaxIdError::Another));
    }

    #[test]
    fn there_are_at_most_sixteen() {
        let many: BTreeMap<String, String> = (0..17).map(|at| (format!("k{at}"), "1".into())).collect();
        assert_eq!(TaxIds::try_from(many), Err(TaxIdError::Many { ids: 17 }));
    }
}
