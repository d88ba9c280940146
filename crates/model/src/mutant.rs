//! The protocol with one rule left out.

/// Which rule is left out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mutant {
    /// The lease counts from the moment the answer came, not from before the question left.
    LeaseFromReceipt,
    /// The head is read from a standby of the database, which follows when it can.
    StandbyRead,
    /// The head is the one that the replica's last tick found.
    AnswerWithoutFreshTick,
    /// The lease is taken with the answer, before what it speaks of is applied.
    LeaseBeforeCatchUp,
    /// Numbers are given when a fact is written, and transactions overtake each other on their way to commit.
    NumberAtInsert,
    /// Without a lease, a `refuse` route takes Redis' word that a token was not revoked.
    LookUpWithoutProof,
    /// A lease is noted after the tick that proves it.
    NotedAfterTheTick,
}
