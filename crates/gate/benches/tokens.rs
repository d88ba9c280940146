//! Does a verified token cost more the more of them are kept, and what does each take of memory?
//!
//! As many tokens as are kept are decided for in turn, so that each is the one that was not asked for longest, and a
//! thousand of them are asked for again and again. Goals: a hit among 100,000 at most 1.1 times that among 1,000, and at
//! most 400 bytes for each token. Tokens of one user share what is known of the user; where each is of a user of its own, that is
//! counted, too, but for the bindings, which were read before. A million tokens take about 3 GB and some minutes to be signed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a measuring program")]
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "it prints what it measured")]

#[path = "../tests/it/world.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod world;

mod warm;

use std::{process::Command, time::Instant};

use domain::fact::Bindings;

use crate::{
    warm::Warm,
    world::{MEMBER, ROLE_MEMBER, Sent, id},
};

/// Decisions for each number.
const DECISIONS: usize = 1_000_000;

/// Tokens that are asked for again and again.
const HOT: usize = 1_000;

/// Rounds, of which the fastest counts: what else the machine does makes none faster.
const ROUNDS: usize = 5;

/// As the gateway's (ADR 19).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Names a run that measures one row: what an earlier row has freed would be used by the next, and seem to take nothing.
const ROW: &str = "row";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, size, decisions, users] = &*arguments
        && first == ROW
    {
        return row(size.parse().unwrap(), decisions.parse().unwrap(), Users::named(users));
    }
    // Without `--bench` it is run as a test, to see that it runs.
    let is_bench = arguments.iter().any(|argument| argument == "--bench");
    let (sizes, decisions): (&[usize], usize) =
        if is_bench { (&[1_000, 10_000, 100_000, 1_000_000], DECISIONS) } else { (&[10, 100], 100) };
    for users in [Users::One, Users::Each] {
        println!(
            "{:>12} {:>16} {:>17} {:>14}  {}",
            "tokens kept",
            "all in turn, ns",
            "1,000 of them, ns",
            "bytes a token",
            users.name()
        );
        for &size in sizes {
            let own = std::env::current_exe().unwrap();
            let done = Command::new(own).args([ROW, &size.to_string(), &decisions.to_string(), users.name()]).status();
            assert!(done.unwrap().success(), "the row of {size} tokens");
        }
    }
}

/// Measures, and prints what came of it.
fn row(size: usize, decisions: usize, users: Users) {
    let kept = Kept::fill(size, users);
    let (all, hot) = (kept.time(size, decisions), kept.time(size.min(HOT), decisions));
    println!("{size:>12} {all:>16} {hot:>17} {:>14}", kept.bytes_each);
}

/// Whose the tokens are.
#[derive(Clone, Copy)]
enum Users {
    One,
    Each,
}

impl Users {
    fn name(self) -> &'static str {
        match self {
            Self::One => "one user",
            Self::Each => "a user for each token",
        }
    }

    fn named(name: &str) -> Self {
        [Self::One, Self::Each].into_iter().find(|it| it.name() == name).unwrap()
    }
}

/// A gate that has verified all of these.
struct Kept {
    warm: Warm,
    sent: Vec<Sent>,
    bytes_each: usize,
}

impl Kept {
    fn fill(size: usize, users: Users) -> Self {
        // The cache drops early what comes in a flood; with room to spare all are kept.
        let warm = Warm::keeping(size * 2);
        let world = &warm.world;
        let one = |n: usize| {
            let user = match users {
                Users::One => MEMBER,
                Users::Each => MEMBER + 1_000_000 + n as u128,
            };
            world.bind(user, Bindings { active: true, roles: vec![id(ROLE_MEMBER)], ..Bindings::default() });
            Sent::get("acme.localhost", "/orders").bearer(&world.token(&world.acme, user))
        };
        let sent: Vec<Sent> = (0..size).map(one).collect();
        let before = resident();
        for sent in &sent {
            warm.decide(&sent.head());
        }
        let bytes_each = resident().saturating_sub(before) / size;
        let found = warm.world.gate.token_cache();
        assert!(found.entries * 100 >= size * 99, "{found:?} of {size}");
        Self { warm, sent, bytes_each }
    }

    /// Nanoseconds of a decision for the first `among` tokens in turn.
    fn time(&self, among: usize, decisions: usize) -> u128 {
        let round = || {
            let began = Instant::now();
            for sent in self.sent.iter().take(among).cycle().take(decisions) {
                self.warm.decide(&sent.head());
            }
            began.elapsed().as_nanos() / decisions as u128
        };
        (0..ROUNDS).map(|_| round()).min().unwrap()
    }
}

/// Bytes of this process that are in memory (proc_pid_statm(5)).
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
