//! Proofs by DNS: who shows a text that only its claimant was told, at a place that only the name's owner can write to, has
//! the name.
//!
//! ```text
//! _portcullis-challenge.shop.example.com.  TXT  "portcullis-verify=8f3a…"
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{EmailDomainId, HostName, HostnameId, Id, ProjectId, TenantId, Timestamp};

/// The label in front of a name where its proof stands.
pub const CHALLENGE_LABEL: &str = "_portcullis-challenge";

/// What a proof begins with, so that it is told from other texts.
const PREFIX: &str = "portcullis-verify=";

/// Longest name that a challenge fits in front of: a name in DNS has at most 253 bytes (RFC 1035 §2.3.4).
pub const MAX_PROVABLE_BYTES: usize = 253 - CHALLENGE_LABEL.len() - 1;

/// What has to stand in DNS: random, the claimant's own, always of the same form.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Challenge(Box<str>);

impl Challenge {
    /// From random bytes.
    pub fn new(random: [u8; 32]) -> Self {
        let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("{PREFIX}{digits}").into())
    }

    /// As it was kept.
    pub fn stored(text: String) -> Self {
        Self(text.into())
    }

    /// The text of the TXT record.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where the proof of a name stands.
pub fn challenge_record(name: &HostName) -> String {
    format!("{CHALLENGE_LABEL}.{name}")
}

/// Why a name is not proven.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProofFailure {
    /// There is no TXT record where the proof should stand.
    RecordMissing,
    /// There are TXT records, and none is the claimant's.
    RecordDiffers,
    /// The name leads to none of the targets.
    PointsElsewhere,
    /// The name does not exist, or leads nowhere.
    NotResolved,
    /// The name's aliases lead in a circle, or too far.
    AliasLoop,
    /// DNS could not be asked, or did not answer: nothing is known. Takes nothing from who holds the name.
    DnsUnavailable,
    /// Another claimant proved the name after this proof was lost.
    TakenOver,
    /// The domain is one of a public mail provider.
    PublicProvider,
}

/// The state of a proof.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    /// What has to be found.
    pub challenge: Challenge,
    /// When it was last looked for.
    pub checked_at: Option<Timestamp>,
    /// Since when a proof that was there is not found; none while it is.
    pub lost_at: Option<Timestamp>,
    /// When that had lasted too long.
    pub failed_at: Option<Timestamp>,
    /// Why the last look did not find it.
    pub failure: Option<ProofFailure>,
    /// When it is looked for next; none when somebody has to ask.
    pub due_at: Option<Timestamp>,
}

impl Proof {
    /// One that nobody has looked for.
    pub const fn new(challenge: Challenge) -> Self {
        Self { challenge, checked_at: None, lost_at: None, failed_at: None, failure: None, due_at: None }
    }
}

/// What a look in DNS brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Finding {
    /// The proof stands.
    Proven,
    /// It does not.
    Absent(ProofFailure),
    /// Nobody could say.
    Unknown,
}

impl Finding {
    /// Why it is no proof.
    pub const fn failure(self) -> Option<ProofFailure> {
        match self {
            Self::Proven => None,
            Self::Absent(failure) => Some(failure),
            Self::Unknown => Some(ProofFailure::DnsUnavailable),
        }
    }
}

/// How long a proof may be missing, and what follows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ProofRules {
    /// How long what was proven stays so without its proof.
    pub grace: Duration,
    /// How long who failed keeps the name from others.
    pub takeover_after: Duration,
    /// How long a name that was given up is nobody else's.
    pub quarantine: Duration,
}

/// What follows from a look, for a claim in this state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It is proven, and was not: it is served from now on.
    Wins,
    /// It was never proven, or fails still: nothing changes but what is known.
    Waits(ProofFailure),
    /// It holds. `found_again`: it had been lost.
    Holds {
        /// Whether it was missing before.
        found_again: bool,
    },
    /// Its proof is missing, and was there at the look before.
    Lost(ProofFailure),
    /// Its proof is missing for less than the grace.
    Lacks(ProofFailure),
    /// Its proof was missing for too long: it is served no more.
    Fails(ProofFailure),
    /// Nothing is known.
    Unknown,
}

/// What follows from `finding` for a claim that is verified or not, and whose proof was lost at `lost_at`.
///
/// Not knowing never fails anything: a name fails by a look that found its proof missing, when an earlier look that found it
/// missing, too, is longer ago than the grace.
pub fn judge(finding: Finding, verified: bool, lost_at: Option<Timestamp>, grace: Duration, now: Timestamp) -> Verdict {
    match (verified, finding) {
        (_, Finding::Unknown) => Verdict::Unknown,
        (false, Finding::Proven) => Verdict::Wins,
        (false, Finding::Absent(failure)) => Verdict::Waits(failure),
        (true, Finding::Proven) => Verdict::Holds { found_again: lost_at.is_some() },
        (true, Finding::Absent(failure)) => match lost_at {
            Some(since) if since + grace <= now => Verdict::Fails(failure),
            Some(_) => Verdict::Lacks(failure),
            None if grace.is_zero() => Verdict::Fails(failure),
            None => Verdict::Lost(failure),
        },
    }
}

/// Whose proof it is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ProofSubject {
    /// A hostname's.
    Hostname(HostnameId),
    /// An email domain's.
    EmailDomain(EmailDomainId),
}

impl ProofSubject {
    /// Its id without its kind.
    pub const fn uuid(self) -> uuid::Uuid {
        match self {
            Self::Hostname(id) => Id::uuid(id),
            Self::EmailDomain(id) => Id::uuid(id),
        }
    }
}

/// A proof that is to be looked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DueProof {
    /// Whose.
    pub subject: ProofSubject,
    /// Of which project.
    pub project_id: ProjectId,
    /// Of which tenant, if any.
    pub tenant_id: Option<TenantId>,
    /// Of which name.
    pub name: HostName,
    /// What has to be found.
    pub challenge: Challenge,
    /// Changes with each look.
    pub epoch: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_900_000_000_000);
    const GRACE: Duration = Duration::from_secs(60);

    #[test]
    fn every_challenge_has_one_form() {
        let (one, two) = (Challenge::new([0; 32]), Challenge::new([0xfe; 32]));
        assert_eq!(one.as_str().len(), two.as_str().len());
        assert!(two.as_str().starts_with("portcullis-verify=fefe"));
        let longest = format!("{}.example", "a".repeat(60)).parse::<HostName>().unwrap();
        assert_eq!(challenge_record(&longest).len(), CHALLENGE_LABEL.len() + 1 + longest.as_str().len());
    }

    #[test]
    fn not_knowing_changes_nothing_however_long() {
        for (verified, lost) in [(true, None), (true, Some(NOW - GRACE * 100)), (false, None)] {
            assert_eq!(judge(Finding::Unknown, verified, lost, GRACE, NOW), Verdict::Unknown);
        }
    }

    #[test]
    fn a_missing_proof_is_a_warning_first_and_a_failure_after_the_grace() {
        let missing = ProofFailure::RecordMissing;
        let look = |lost: Option<Timestamp>| judge(Finding::Absent(missing), true, lost, GRACE, NOW);
        assert_eq!(look(None), Verdict::Lost(missing));
        assert_eq!(look(Some(NOW - GRACE / 2)), Verdict::Lacks(missing));
        assert_eq!(look(Some(NOW - GRACE)), Verdict::Fails(missing));
        assert_eq!(judge(Finding::Absent(missing), true, None, Duration::ZERO, NOW), Verdict::Fails(missing));
        assert_eq!(judge(Finding::Proven, true, Some(NOW), GRACE, NOW), Verdict::Holds { found_again: true });
        assert_eq!(judge(Finding::Absent(missing), false, None, GRACE, NOW), Verdict::Waits(missing));
        assert_eq!(judge(Finding::Proven, false, None, GRACE, NOW), Verdict::Wins);
    }
}
