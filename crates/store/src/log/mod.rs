//! The log and the change log: what writers leave behind, numbered by the tick.
//!
//! Nothing is numbered at insert: commits overtake each other, and a reader that has seen number 7 could miss the 6
//! that commits later. Writers leave facts and entities unnumbered, with a random tag, in the transaction of the
//! change; the tick, one at a time behind the head's row lock, numbers whatever it then sees. So numbers have no gaps
//! and say in which order things became visible.

pub(crate) mod audience;
pub(crate) mod chain;
pub(crate) mod chain_row;
pub(crate) mod erasure;
pub(crate) mod facts;
pub(crate) mod feed;
pub(crate) mod prune;
pub(crate) mod publish;
pub(crate) mod readers;
pub(crate) mod republish;
pub(crate) mod retention;
pub(crate) mod tick;
pub(crate) mod unsealed;
