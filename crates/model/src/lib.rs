//! The log of restrictions and the lease (`docs/architecture.md`), small enough to be searched in full.
//!
//! Two replicas of the control API, two gateways, two revocations, one database, one Redis. [`Protocol`] says which steps
//! each may take; the checker (`stateright`) takes them in every order there is and looks at every state for one that
//! breaks a [claim](claims). A [`Mutant`] is the same protocol with one rule left out; that the checker finds what goes
//! wrong then shows that the claims are not true by accident.
//!
//! ```text
//! revocation  write ─▶ commit ─────────────▶ (a tick numbers it) ─▶ say "done", or "done at the latest in n"
//! replica     note: this gateway may hold a lease ─▶ tick: number all that is committed ─▶ answer with the head
//! gateway     ask (t0) ─────────────────────────────────────────▶ fetch what is missing ─▶ lease until t0 + 2
//! Redis       publish ─▶ hear: the next number only        (forgets whatever it likes, whenever it likes)
//! ```
//!
//! # What is modelled
//!
//! - **Time** passes in units of one second between any two steps, also while a question, an answer or a transaction is on
//!   its way. A lease lasts [`LEASE`] units. Times are kept as ages and remainders that end at [`LEASE`]: nothing older makes
//!   a difference, so the search has no horizon. It covers runs of every length.
//! - **SQL** is one history. Write and commit are two steps, so that transactions overtake each other. A tick is one step:
//!   the head row's lock makes ticks one after the other, and what commits while one runs is not seen by it, as if it had
//!   committed after it.
//! - **The lease is noted before the tick that proves it**, as `Plane::prove` does: the note is taken where the question
//!   arrives, and the answer comes from a tick of that replica which began later.
//! - **Redis** drops, restarts empty and rolls back (it forgets any fact at any time), repeats (publishing is possible at any
//!   time and again) and reorders (any fact that it holds can be heard next). A gateway takes only the next number.
//! - **Stops.** A step is never forced, so every actor stops in some run wherever it can stop, for good or for a while. What
//!   a stop makes forget has steps of its own: a question or its answer is lost, a gateway restarts with nothing. A
//!   replica keeps nothing that an answer depends on; a call that was lost with it is one that is never answered.
//! - **The answer of a revoking call** says until when a gateway may still accept: zero for the 200, the longest noted lease
//!   of those behind for the 202.
//!
//! Where the model is coarser than the code, it does *more* than the code may: a report arrives at once, so that calls are
//! answered as early as they ever could be; a call waits for its own number, not for the head that its tick found.
//!
//! # What is not modelled
//!
//! - A SQL history that is lost (a restored backup, a failover that loses commits). Tags and hints that name the tag before
//!   them are for that; `link`'s follower tests cover them.
//! - Snapshots and `min_revision`: the lease waits for them as it waits for facts.
//! - A decision takes no time: lease and mirror are read in one step. In the code they are read one after the other, and
//!   again when the request is sent on; a gateway that stops between that and the first byte sends the request when it wakes.
//! - Clocks run equally fast. What a replica notes is compared on another replica's clock in the code, which allows 500 ms.
//! - That anything happens at all. These are claims about what never happens; the checker is also asked for runs in which
//!   the good things do, lest all claims hold because nothing moves.

pub mod claims;
mod mutant;
mod protocol;
mod state;

pub use self::{
    mutant::Mutant,
    protocol::{Protocol, Step},
    state::{GATEWAYS, Gateway, LEASE, Question, REPLICAS, REVOCATIONS, Revocation, Said, Stage, State},
};
