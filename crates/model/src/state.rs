//! What there is at one moment.

/// Replicas of the control API.
pub const REPLICAS: usize = 2;

/// Gateways.
pub const GATEWAYS: usize = 2;

/// Revocations, each by a call of its own.
pub const REVOCATIONS: usize = 2;

/// How long a lease lasts, in units of time.
pub const LEASE: u8 = 2;

/// All of it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct State {
    /// The revocations, as SQL has them.
    pub revocations: [Revocation; REVOCATIONS],
    /// The gateways, with what SQL has of each.
    pub gateways: [Gateway; GATEWAYS],
    /// Which facts Redis holds.
    pub redis: Facts,
    /// The head that each replica's last tick found. Kept only where a mutant uses it.
    pub last_head: [u8; REPLICAS],
    /// The head that a standby of the database shows. It moves only where a mutant reads it.
    pub standby: u8,
}

/// A set of facts: a bit each.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Facts(u8);

/// One revocation: its fact, and the call that it answers.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Revocation {
    /// The fact's number; 0 for none yet.
    pub seq: u8,
    /// How far it has come.
    pub stage: Stage,
}

/// How far a revocation has come.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    /// Nobody has asked for it.
    #[default]
    Unasked,
    /// Written in a transaction that is open.
    Written,
    /// Committed.
    Committed {
        /// Units of time since; [`LEASE`] for that long and longer.
        age: u8,
        /// What its caller was told.
        said: Said,
    },
}

/// What the caller of a revocation was told.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Said {
    /// Nothing yet, or the answer was lost.
    Nothing,
    /// That no gateway accepts once this much time has passed: zero is the 200, more is the 202.
    NoneAfter(u8),
}

/// One gateway, and what SQL has of it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Gateway {
    /// What its mirror refuses.
    pub applied: Facts,
    /// The number up to which it has applied the log.
    pub position: u8,
    /// What is left of its lease.
    pub lease: u8,
    /// The question it has under way.
    pub question: Question,
    /// In SQL: how much longer it may hold a lease.
    pub noted: u8,
    /// In SQL: how far it said that it has applied the log.
    pub reported: u8,
}

/// A question for the log's head. `age` is the time since t0, less than [`LEASE`]: older ones grant nothing.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Question {
    /// None is under way.
    #[default]
    None,
    /// On its way to a replica.
    Asked {
        /// Since t0.
        age: u8,
    },
    /// At a replica, waiting for a tick.
    Arrived {
        /// Since t0.
        age: u8,
        /// Where.
        replica: usize,
    },
    /// Ticked for, and the lease not noted yet: only in [`Mutant::NotedAfterTheTick`](crate::Mutant::NotedAfterTheTick).
    Unnoted {
        /// Since t0.
        age: u8,
        /// The head it will be told.
        head: u8,
    },
    /// Answered; the answer is on its way, or here and not applied yet.
    Answered {
        /// Since t0.
        age: u8,
        /// The head it is told.
        head: u8,
    },
}

impl State {
    /// Nothing was revoked, nothing was asked.
    pub fn new() -> Self {
        Self {
            revocations: Default::default(),
            gateways: Default::default(),
            redis: Facts::default(),
            last_head: [0; REPLICAS],
            standby: 0,
        }
    }

    /// The log's head, as SQL shows it: the highest number that is committed.
    pub fn head(&self) -> u8 {
        self.revocations.iter().filter(|it| it.is_committed()).map(|it| it.seq).max().unwrap_or_default()
    }

    /// The highest number given, committed or not.
    pub fn newest_number(&self) -> u8 {
        self.revocations.iter().map(|it| it.seq).max().unwrap_or_default()
    }

    /// One unit of time passes.
    pub fn pass(&mut self) {
        for revocation in &mut self.revocations {
            if let Stage::Committed { age, said } = &mut revocation.stage {
                *age = (*age + 1).min(LEASE);
                if let Said::NoneAfter(left) = said {
                    *left = left.saturating_sub(1);
                }
            }
        }
        for gateway in &mut self.gateways {
            gateway.lease = gateway.lease.saturating_sub(1);
            gateway.noted = gateway.noted.saturating_sub(1);
            if let Some(age) = gateway.question.age_mut() {
                *age += 1;
                if *age >= LEASE {
                    gateway.question = Question::None;
                }
            }
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl Facts {
    /// Whether it holds this fact.
    pub const fn has(self, fact: usize) -> bool {
        self.0 & (1 << fact) != 0
    }

    /// Adds a fact.
    pub const fn add(&mut self, fact: usize) {
        self.0 |= 1 << fact;
    }

    /// Forgets a fact.
    pub const fn forget(&mut self, fact: usize) {
        self.0 &= !(1 << fact);
    }

    /// The same set after the two facts changed names.
    pub(crate) const fn swapped(self) -> Self {
        Self((self.0 & 1) << 1 | (self.0 >> 1) & 1)
    }
}

impl Revocation {
    /// Whether its transaction was committed.
    pub const fn is_committed(&self) -> bool {
        matches!(self.stage, Stage::Committed { .. })
    }
}

impl Gateway {
    /// Applies the fact of a number, and reports it.
    pub const fn apply(&mut self, fact: usize, seq: u8) {
        self.applied.add(fact);
        self.position = seq;
        if self.reported < seq {
            self.reported = seq;
        }
    }

    /// Restarts with nothing. What SQL has of it stays.
    pub const fn restart(&mut self) {
        *self = Self { applied: Facts(0), position: 0, lease: 0, question: Question::None, ..*self };
    }
}

impl Question {
    const fn age_mut(&mut self) -> Option<&mut u8> {
        match self {
            Self::None => None,
            Self::Asked { age }
            | Self::Arrived { age, .. }
            | Self::Unnoted { age, .. }
            | Self::Answered { age, .. } => Some(age),
        }
    }
}
