//! How surely it is known who somebody is, and since when: what a token says of it, and what a route may demand.
//!
//! ```text
//! pwd            -> aal1        a password, a code by mail
//! pwd, otp, mfa  -> aal2        two factors, or one that is two (a passkey that verified its user)
//! ```
//!
//! The levels are those of NIST SP 800-63B; a token carries them as `acr`, and the means as `amr` (RFC 8176). A route that
//! demands more than a token shows is refused with the challenge of RFC 9470.

use std::{fmt, ops::RangeInclusive};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{CredentialKind, Credentials, HumanDuration, Timestamp, snapshot::Access};

/// How surely (`acr`). The later is the surer.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Acr {
    /// One factor.
    #[default]
    Aal1,
    /// Two.
    Aal2,
}

impl Acr {
    /// Its text in tokens, files and challenges.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aal1 => "aal1",
            Self::Aal2 => "aal2",
        }
    }
}

/// One way somebody proved who they are, in the words of RFC 8176 §2.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Amr {
    /// A password.
    Pwd,
    /// A one-time code.
    Otp,
    /// A key in hardware.
    Hwk,
    /// A key that is not, such as one that is kept in step between devices.
    Swk,
    /// Somebody was there and said yes.
    User,
    /// Two factors or more.
    Mfa,
}

impl Amr {
    /// All of them, in the order in which they are written.
    pub const ALL: [Self; 6] = [Self::Pwd, Self::Otp, Self::Hwk, Self::Swk, Self::User, Self::Mfa];

    /// Its text in tokens and files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pwd => "pwd",
            Self::Otp => "otp",
            Self::Hwk => "hwk",
            Self::Swk => "swk",
            Self::User => "user",
            Self::Mfa => "mfa",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// The ways somebody proved who they are together. On every wire a list without repeats.
#[derive(Clone, Copy, Default, Eq, Hash, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "Vec<Amr>", into = "Vec<Amr>")]
#[schemars(with = "Vec<Amr>", extend("uniqueItems" = true))]
pub struct AmrSet(u8);

impl AmrSet {
    /// Of these.
    pub const fn of(words: &[Amr]) -> Self {
        let (mut bits, mut rest) = (0, words);
        while let [first, others @ ..] = rest {
            bits |= first.bit();
            rest = others;
        }
        Self(bits)
    }

    /// Of these texts; what is none of ours counts for nothing.
    pub fn read<'t>(words: impl IntoIterator<Item = &'t str>) -> Self {
        let known = |word: &str| Amr::ALL.into_iter().find(|it| it.name() == word);
        Self(words.into_iter().filter_map(known).fold(0, |bits, word| bits | word.bit()))
    }

    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether one is among them.
    pub const fn contains(self, word: Amr) -> bool {
        self.0 & word.bit() != 0
    }

    /// Whether all of `others` are.
    pub const fn covers(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0 == 0
    }

    /// How surely somebody is known by them.
    pub const fn acr(self) -> Acr {
        if self.contains(Amr::Mfa) { Acr::Aal2 } else { Acr::Aal1 }
    }

    /// They, in the order of [`Amr::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Amr> {
        Amr::ALL.into_iter().filter(move |word| self.contains(*word))
    }
}

impl From<Vec<Amr>> for AmrSet {
    fn from(words: Vec<Amr>) -> Self {
        Self::of(&words)
    }
}
impl From<AmrSet> for Vec<Amr> {
    fn from(set: AmrSet) -> Self {
        set.iter().collect()
    }
}
impl fmt::Debug for AmrSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
impl fmt::Display for AmrSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, word) in self.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { " " })?;
            f.write_str(word.name())?;
        }
        Ok(())
    }
}

/// What a credential shows of its holder's sign-in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Assurance {
    /// How surely.
    pub acr: Acr,
    /// By which means.
    pub amr: AmrSet,
    /// Since when.
    pub auth_time: Timestamp,
}

/// How long ago a sign-in that a route demands may be at most.
pub const AGES: RangeInclusive<HumanDuration> = HumanDuration::from_secs(1)..=HumanDuration::from_secs(30 * 86_400);

/// What a route demands of its callers' sign-in, beside their rights. At least one of `acr`, `amr` and `max_age`.
///
/// Tokens of external issuers, API keys and client certificates show no sign-in of ours: they are refused, but for the
/// kinds in `exempt`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    /// At least so surely: `aal1` or `aal2`, which takes a second factor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<Acr>,
    /// By all of these means.
    #[serde(default, skip_serializing_if = "AmrSet::is_empty")]
    pub amr: AmrSet,
    /// Not longer ago than this, `1s` to `30d`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<HumanDuration>,
    /// Kinds of credentials of which nothing is demanded; never `token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exempt: Option<Credentials>,
}

impl Requirement {
    /// Whether a credential of this kind has to show anything.
    pub fn concerns(&self, kind: CredentialKind) -> bool {
        kind == CredentialKind::Token || self.exempt.is_none_or(|exempt| !exempt.contains(kind))
    }

    /// Whether a sign-in is enough. What lies ahead of us by a clock that differs is now.
    pub fn is_met(&self, shown: &Assurance, now: Timestamp) -> bool {
        self.acr.is_none_or(|least| shown.acr >= least)
            && shown.amr.covers(self.amr)
            && self.ends(shown).is_none_or(|end| now <= end)
    }

    /// Until when a sign-in is recent enough; none for always.
    pub fn ends(&self, shown: &Assurance) -> Option<Timestamp> {
        self.max_age.map(|age| shown.auth_time + age.get())
    }

    /// The challenge of RFC 9470 §3: what a client has to ask of its user.
    pub fn challenge(&self) -> String {
        let text = "the sign-in is not sure or recent enough for this";
        let mut field = format!(r#"Bearer error="insufficient_user_authentication", error_description="{text}""#);
        // Means have no parameter there: of what we know, a surer sign-in brings them.
        let least = self.acr.or(self.amr.contains(Amr::Mfa).then_some(Acr::Aal2));
        if let Some(least) = least {
            field.push_str(&format!(r#", acr_values="{}""#, least.name()));
        }
        if let Some(age) = self.max_age {
            field.push_str(&format!(r#", max_age="{}""#, age.get().as_secs()));
        }
        field
    }

    /// Whether a route of this access may demand it.
    ///
    /// # Errors
    /// The member that is wrong, and why.
    pub fn check(&self, access: &Access) -> Result<(), (&'static str, &'static str)> {
        if matches!(access, Access::Public | Access::Optional) {
            return Err(("require", "is demanded of principals, and the route is for anyone"));
        }
        if self.acr.is_none() && self.amr.is_empty() && self.max_age.is_none() {
            return Err(("require", "demands nothing: give `acr`, `amr` or `max_age`"));
        }
        if self.max_age.is_some_and(|age| !AGES.contains(&age) || age.get().subsec_nanos() != 0) {
            return Err(("require/max_age", "is not whole seconds from 1s to 30d"));
        }
        if self.exempt.is_some_and(|exempt| exempt.contains(CredentialKind::Token)) {
            return Err(("require/exempt", "holds `token`: then nothing would be demanded of anybody"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_900_000_000);

    fn requirement(text: &str) -> Requirement {
        serde_json::from_str(text).unwrap()
    }

    fn signed_in(amr: &[Amr], secs_ago: i64) -> Assurance {
        let amr = AmrSet::of(amr);
        Assurance { acr: amr.acr(), amr, auth_time: Timestamp::from_secs(1_900_000_000 - secs_ago) }
    }

    #[test]
    fn two_factors_are_surer_than_one_and_enough_for_one() {
        let (one, two) = (signed_in(&[Amr::Pwd], 0), signed_in(&[Amr::Pwd, Amr::Otp, Amr::Mfa], 0));
        let (least, second) = (requirement(r#"{"acr": "aal1"}"#), requirement(r#"{"acr": "aal2"}"#));
        assert!(least.is_met(&one, NOW) && least.is_met(&two, NOW) && second.is_met(&two, NOW));
        assert!(!second.is_met(&one, NOW));
        let means = requirement(r#"{"amr": ["otp", "pwd"]}"#);
        assert!(means.is_met(&two, NOW) && !means.is_met(&one, NOW));
    }

    #[test]
    fn a_sign_in_is_recent_to_the_second_and_no_longer() {
        let recent = requirement(r#"{"max_age": "5m"}"#);
        assert!(recent.is_met(&signed_in(&[Amr::Pwd], 300), NOW));
        assert!(!recent.is_met(&signed_in(&[Amr::Pwd], 301), NOW));
        assert!(recent.is_met(&signed_in(&[Amr::Pwd], -20), NOW), "a clock that differs");
    }

    #[test]
    fn machines_are_concerned_unless_the_route_says_otherwise() {
        let strict = requirement(r#"{"acr": "aal2"}"#);
        assert!(CredentialKind::ALL.into_iter().all(|kind| strict.concerns(kind)));
        let lax = requirement(r#"{"acr": "aal2", "exempt": ["api_key"]}"#);
        assert!(!lax.concerns(CredentialKind::ApiKey));
        assert!(lax.concerns(CredentialKind::Token) && lax.concerns(CredentialKind::Certificate));
    }

    #[test]
    fn what_cannot_be_demanded_is_refused_where_it_stands() {
        let check = |text: &str, access: &Access| requirement(text).check(access).map_err(|(member, _)| member);
        let people = Access::Authenticated;
        assert_eq!(check(r#"{"acr": "aal2", "max_age": "5m"}"#, &people), Ok(()));
        assert_eq!(check("{}", &people), Err("require"));
        assert_eq!(check(r#"{"exempt": ["api_key"]}"#, &people), Err("require"));
        assert_eq!(check(r#"{"acr": "aal2"}"#, &Access::Public), Err("require"));
        assert_eq!(check(r#"{"acr": "aal2"}"#, &Access::Optional), Err("require"));
        for age in ["0s", "31d", "1500ms"] {
            assert_eq!(check(&format!(r#"{{"max_age": "{age}"}}"#), &people), Err("require/max_age"), "{age}");
        }
        assert_eq!(check(r#"{"acr": "aal2", "exempt": ["token"]}"#, &people), Err("require/exempt"));
        assert!(serde_json::from_str::<Requirement>(r#"{"acr": "aal3"}"#).is_err());
        assert!(serde_json::from_str::<Requirement>(r#"{"amr": ["face"]}"#).is_err());
    }

    /// RFC 9470 §3.
    #[test]
    fn a_challenge_says_what_to_ask_of_the_user() {
        let text = requirement(r#"{"acr": "aal2", "max_age": "5m"}"#).challenge();
        assert!(text.starts_with(r#"Bearer error="insufficient_user_authentication", error_description=""#), "{text}");
        assert!(text.ends_with(r#", acr_values="aal2", max_age="300""#), "{text}");
        let text = requirement(r#"{"amr": ["mfa"]}"#).challenge();
        assert!(text.ends_with(r#", acr_values="aal2""#), "{text}");
    }

    #[test]
    fn means_read_back_what_they_wrote_and_strange_ones_count_for_nothing() {
        let set = AmrSet::of(&[Amr::Mfa, Amr::Pwd]);
        assert_eq!(set.to_string(), "pwd mfa");
        assert_eq!(AmrSet::read("pwd mfa face".split(' ')), set);
        assert_eq!(serde_json::to_string(&set).unwrap(), r#"["pwd","mfa"]"#);
        assert_eq!(serde_json::from_str::<AmrSet>(r#"["mfa","pwd","mfa"]"#).unwrap(), set);
        for word in Amr::ALL {
            assert_eq!(serde_json::to_string(&word).unwrap(), format!("\"{}\"", word.name()));
        }
        for acr in [Acr::Aal1, Acr::Aal2] {
            assert_eq!(serde_json::to_string(&acr).unwrap(), format!("\"{}\"", acr.name()));
        }
    }
}
