//! Countries, as ISO 3166-1 numbers them by two letters.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The officially assigned codes of ISO 3166-1 alpha-2, sorted.
const ASSIGNED: &str = "\
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ \
    CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO \
    FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE \
    JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO \
    MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW \
    PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM \
    TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";

/// A country, such as `IN`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^[A-Z]{2}$"))]
pub struct Country([u8; 2]);

impl FromStr for Country {
    type Err = CountryError;
    fn from_str(text: &str) -> Result<Self, CountryError> {
        let unknown = || CountryError { text: text.into() };
        let code: [u8; 2] = text.as_bytes().try_into().map_err(|_| unknown())?;
        let assigned = ASSIGNED.split(' ').any(|known| known == text);
        if assigned { Ok(Self(code)) } else { Err(unknown()) }
    }
}

/// Why a text is no [`Country`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is not a country's two letters (ISO 3166-1 alpha-2), in capitals")]
pub struct CountryError {
    text: String,
}

impl TryFrom<String> for Country {
    type Error = CountryError;
    fn try_from(text: String) -> Result<Self, CountryError> {
        text.parse()
    }
}
impl From<Country> for String {
    fn from(country: Country) -> Self {
        country.to_string()
    }
}
impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|letter| write!(f, "{}", char::from(*letter)))
    }
}

#[test]
fn a_country_is_one_that_iso_has_assigned() {
    assert_eq!(ASSIGNED.split(' ').count(), 249);
    assert!(ASSIGNED.split(' ').is_sorted());
    for known in ["AD", "IN", "DE", "ZW"] {
        assert_eq!(known.parse::<Country>().unwrap().to_string(), known);
    }
    for unknown in ["", "I", "in", "IND", "XX", "UK", "EU", "D ", " AD", "É"] {
        assert!(unknown.parse::<Country>().is_err(), "{unknown}");
    }
}
