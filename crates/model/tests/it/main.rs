//! The claims, checked over every run of the model; and for each rule a run in which a claim breaks without it.
#![allow(clippy::panic, reason = "a test that cannot go on fails")]

use model::{
    Mutant, Protocol, Step,
    claims::{ANSWERED, BOUNDED},
};
use stateright::{Checker, HasDiscoveries, Model};

#[test]
fn no_gateway_accepts_after_the_answer_nor_later_than_a_lease_after_the_commit() {
    let checker = Protocol::whole().checker().symmetry().spawn_dfs().join();
    checker.assert_properties();
    // A model that cannot move keeps every promise.
    assert!(checker.unique_state_count() > 1_000_000, "only {} states", checker.unique_state_count());
}

/// The shortest run in which the protocol breaks a claim for want of one of its rules.
fn counterexample(mutant: Mutant, claim: &'static str) -> Vec<Step> {
    let found = HasDiscoveries::AllOf([claim].into_iter().collect());
    let checker = Protocol::without(mutant).checker().finish_when(found).spawn_bfs().join();
    let run = checker.discovery(claim).unwrap_or_else(|| panic!("{mutant:?} keeps what it should break: {claim}"));
    run.into_actions()
}

/// Asked, answered, a moment passes, a revocation is committed, and the lease begins then.
#[test]
fn a_lease_from_receipt_outlives_the_commit() {
    let run = counterexample(Mutant::LeaseFromReceipt, BOUNDED);
    assert!(run.iter().any(|step| matches!(step, Step::Grant(_))), "{run:?}");
    counterexample(Mutant::LeaseFromReceipt, ANSWERED);
}

/// The standby does not know yet of what the primary has committed and numbered.
#[test]
fn a_standby_proves_what_is_over() {
    let run = counterexample(Mutant::StandbyRead, BOUNDED);
    assert!(run.iter().any(|step| matches!(step, Step::AnswerAsItIs(_))), "{run:?}");
    counterexample(Mutant::StandbyRead, ANSWERED);
}

/// The head of an earlier tick, or of one that was running when the question came, lacks what was committed since.
#[test]
fn an_answer_without_a_fresh_tick_misses_a_commit() {
    let run = counterexample(Mutant::AnswerWithoutFreshTick, BOUNDED);
    assert!(run.iter().any(|step| matches!(step, Step::AnswerAsItIs(_))), "{run:?}");
    counterexample(Mutant::AnswerWithoutFreshTick, ANSWERED);
}

/// The gateway was told of the fact, and believes itself current before it has it.
#[test]
fn a_lease_before_catch_up_accepts_what_the_gateway_was_told_of() {
    let run = counterexample(Mutant::LeaseBeforeCatchUp, BOUNDED);
    assert!(!run.iter().any(|step| matches!(step, Step::Fetch(_) | Step::Hear { .. })), "{run:?}");
    counterexample(Mutant::LeaseBeforeCatchUp, ANSWERED);
}

/// The second number is committed first; who has applied it never asks for the first.
#[test]
fn a_number_at_insert_is_overtaken_on_its_way_to_commit() {
    let run = counterexample(Mutant::NumberAtInsert, BOUNDED);
    assert_eq!(run.iter().filter(|step| matches!(step, Step::Write(_))).count(), 2, "{run:?}");
    counterexample(Mutant::NumberAtInsert, ANSWERED);
}

/// Redis has forgotten the fact, or was never told.
#[test]
fn a_look_up_in_redis_is_no_proof() {
    counterexample(Mutant::LookUpWithoutProof, BOUNDED);
    counterexample(Mutant::LookUpWithoutProof, ANSWERED);
}

/// The call finds nobody to wait for, between the tick that does not number it and the note of the lease proven by it.
#[test]
fn a_lease_noted_after_its_tick_is_not_waited_for() {
    let run = counterexample(Mutant::NotedAfterTheTick, ANSWERED);
    assert!(run.iter().any(|step| matches!(step, Step::Say(_))), "{run:?}");
}
