//! The steps, and when each may be taken.

#![expect(
    clippy::indexing_slicing,
    reason = "INVARIANT: every index names one of the model's own replicas, gateways or revocations"
)]

use stateright::{Model, Property, Representative};

use crate::{
    Mutant, claims,
    state::{GATEWAYS, LEASE, Question, REPLICAS, REVOCATIONS, Said, Stage, State},
};

/// The protocol, whole or with one rule left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Protocol {
    /// The rule that is left out.
    pub mutant: Option<Mutant>,
}

/// One step of one actor, or of time. Actors are named by their index.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// A unit of time passes.
    Pass,
    /// A revocation's fact is written.
    Write(usize),
    /// Its transaction is committed.
    Commit(usize),
    /// A replica numbers what is committed, and answers the questions that wait for it.
    Tick {
        /// Which.
        replica: usize,
        /// The revocation that is numbered first, where there are several.
        first: usize,
    },
    /// The call that revokes answers.
    Say(usize),
    /// A numbered fact is published to Redis, for the first time or again.
    Publish(usize),
    /// Redis drops a fact, restarts empty, rolls back.
    Forget(usize),
    /// A standby of the database catches up by one number.
    Follow,
    /// A gateway asks for the head.
    Ask(usize),
    /// Its question arrives at a replica, which notes that it may hold a lease.
    Arrive {
        /// Whose.
        gateway: usize,
        /// Where.
        replica: usize,
    },
    /// An answer that needed no fresh tick.
    AnswerAsItIs(usize),
    /// The lease is noted at last, and the answer sent.
    NoteLate(usize),
    /// A question, or its answer, is lost or given up.
    Lose(usize),
    /// A gateway hears of a fact from Redis.
    Hear {
        /// Which gateway.
        gateway: usize,
        /// Which fact.
        fact: usize,
    },
    /// A gateway that has an answer fetches what it is missing.
    Fetch(usize),
    /// A gateway that has applied everything its answer speaks of takes the lease.
    Grant(usize),
    /// A gateway restarts with nothing.
    Restart(usize),
}

impl Protocol {
    /// The whole protocol.
    pub const fn whole() -> Self {
        Self { mutant: None }
    }

    /// The protocol without one of its rules.
    pub const fn without(mutant: Mutant) -> Self {
        Self { mutant: Some(mutant) }
    }

    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Whether a gateway may apply a fact of this number next. Numbers of a tick have no gaps.
    fn fits(&self, seq: u8, position: u8) -> bool {
        if self.is(Mutant::NumberAtInsert) { seq > position } else { seq == position + 1 }
    }

    /// The steps of the log's writers, of the replicas and of Redis.
    fn steps_of_the_log(&self, state: &State, steps: &mut Vec<Step>) {
        let mut unnumbered = 0;
        for (index, revocation) in state.revocations.iter().enumerate() {
            match revocation.stage {
                Stage::Unasked => steps.push(Step::Write(index)),
                Stage::Written => steps.push(Step::Commit(index)),
                Stage::Committed { .. } if revocation.seq == 0 => unnumbered += 1,
                Stage::Committed { said, .. } => {
                    if said == Said::Nothing {
                        steps.push(Step::Say(index));
                    }
                    steps.push(if state.redis.has(index) { Step::Forget(index) } else { Step::Publish(index) });
                }
            }
        }
        for replica in 0..REPLICAS {
            let orders = if unnumbered == REVOCATIONS { REVOCATIONS } else { 1 };
            steps.extend((0..orders).map(|first| Step::Tick { replica, first }));
        }
        if self.is(Mutant::StandbyRead) && state.standby < state.head() {
            steps.push(Step::Follow);
        }
    }

    fn steps_of_a_gateway(&self, state: &State, index: usize, steps: &mut Vec<Step>) {
        let gateway = &state.gateways[index];
        match gateway.question {
            Question::None => steps.push(Step::Ask(index)),
            Question::Asked { .. } => {
                steps.extend((0..REPLICAS).map(|replica| Step::Arrive { gateway: index, replica }));
            }
            Question::Arrived { .. } => {
                if self.is(Mutant::StandbyRead) || self.is(Mutant::AnswerWithoutFreshTick) {
                    steps.push(Step::AnswerAsItIs(index));
                }
            }
            Question::Unnoted { .. } => steps.push(Step::NoteLate(index)),
            Question::Answered { head, .. } => {
                if gateway.position < state.head() {
                    steps.push(Step::Fetch(index));
                }
                if gateway.position >= head || self.is(Mutant::LeaseBeforeCatchUp) {
                    steps.push(Step::Grant(index));
                }
            }
        }
        if gateway.question != Question::None {
            steps.push(Step::Lose(index));
        }
        let hearable = (0..REVOCATIONS).filter(|fact| state.redis.has(*fact));
        steps.extend(hearable.map(|fact| Step::Hear { gateway: index, fact }));
        steps.push(Step::Restart(index));
    }

    fn write(&self, state: &mut State, index: usize) {
        state.revocations[index].stage = Stage::Written;
        if self.is(Mutant::NumberAtInsert) {
            state.revocations[index].seq = state.newest_number() + 1;
        }
    }

    fn tick(&self, state: &mut State, replica: usize, first: usize) {
        for offset in 0..REVOCATIONS {
            let index = (first + offset) % REVOCATIONS;
            if state.revocations[index].is_committed() && state.revocations[index].seq == 0 {
                state.revocations[index].seq = state.newest_number() + 1;
            }
        }
        let head = state.head();
        if self.is(Mutant::AnswerWithoutFreshTick) {
            state.last_head[replica] = head;
        }
        for gateway in &mut state.gateways {
            if let Question::Arrived { age, replica: at } = gateway.question
                && at == replica
            {
                gateway.question = if self.is(Mutant::NotedAfterTheTick) {
                    Question::Unnoted { age, head }
                } else {
                    Question::Answered { age, head }
                };
            }
        }
    }

    /// What the call may promise: nobody who is behind accepts for longer than was noted.
    fn say(state: &mut State, index: usize) {
        let seq = state.revocations[index].seq;
        let behind = state.gateways.iter().filter(|gateway| gateway.reported < seq);
        let longest = behind.map(|gateway| gateway.noted).max().unwrap_or_default();
        if let Stage::Committed { said, .. } = &mut state.revocations[index].stage {
            *said = Said::NoneAfter(longest);
        }
    }

    fn hear(&self, state: &mut State, gateway: usize, fact: usize) {
        let seq = state.revocations[fact].seq;
        if self.fits(seq, state.gateways[gateway].position) {
            state.gateways[gateway].apply(fact, seq);
        }
    }

    fn fetch(&self, state: &mut State, gateway: usize) {
        let mut missing: Vec<(u8, usize)> = (0..REVOCATIONS)
            .filter(|fact| state.revocations[*fact].is_committed() && state.revocations[*fact].seq > 0)
            .map(|fact| (state.revocations[fact].seq, fact))
            .collect();
        missing.sort_unstable();
        for (seq, fact) in missing {
            if self.fits(seq, state.gateways[gateway].position) {
                state.gateways[gateway].apply(fact, seq);
            }
        }
    }

    fn grant(&self, state: &mut State, index: usize) {
        let gateway = &mut state.gateways[index];
        if let Question::Answered { age, .. } = gateway.question {
            let lasts = if self.is(Mutant::LeaseFromReceipt) { LEASE } else { LEASE - age };
            gateway.lease = gateway.lease.max(lasts);
        }
        gateway.question = Question::None;
    }

    fn answer_as_it_is(&self, state: &mut State, index: usize) {
        if let Question::Arrived { age, replica } = state.gateways[index].question {
            let head = if self.is(Mutant::StandbyRead) { state.standby } else { state.last_head[replica] };
            state.gateways[index].question = Question::Answered { age, head };
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::new()]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        steps.push(Step::Pass);
        self.steps_of_the_log(state, steps);
        for index in 0..GATEWAYS {
            self.steps_of_a_gateway(state, index, steps);
        }
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        let mut state = *before;
        match step {
            Step::Pass => state.pass(),
            Step::Write(index) => self.write(&mut state, index),
            Step::Commit(index) => state.revocations[index].stage = Stage::Committed { age: 0, said: Said::Nothing },
            Step::Tick { replica, first } => self.tick(&mut state, replica, first),
            Step::Say(index) => Self::say(&mut state, index),
            Step::Publish(fact) => state.redis.add(fact),
            Step::Forget(fact) => state.redis.forget(fact),
            Step::Follow => state.standby += 1,
            Step::Ask(index) => state.gateways[index].question = Question::Asked { age: 0 },
            Step::Arrive { gateway, replica } => {
                let gateway = &mut state.gateways[gateway];
                if let Question::Asked { age } = gateway.question {
                    gateway.question = Question::Arrived { age, replica };
                }
                if !self.is(Mutant::NotedAfterTheTick) {
                    gateway.noted = LEASE;
                }
            }
            Step::AnswerAsItIs(index) => self.answer_as_it_is(&mut state, index),
            Step::NoteLate(index) => {
                let gateway = &mut state.gateways[index];
                if let Question::Unnoted { age, head } = gateway.question {
                    gateway.question = Question::Answered { age, head };
                }
                gateway.noted = LEASE;
            }
            Step::Lose(index) => state.gateways[index].question = Question::None,
            Step::Hear { gateway, fact } => self.hear(&mut state, gateway, fact),
            Step::Fetch(index) => self.fetch(&mut state, index),
            Step::Grant(index) => self.grant(&mut state, index),
            Step::Restart(index) => state.gateways[index].restart(),
        }
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        claims::all()
    }
}

/// Replicas, gateways and revocations have no names: states that differ in names only are one.
impl Representative for State {
    fn representative(&self) -> Self {
        let with = |state: Self, swaps: [bool; 3]| {
            let [replicas, gateways, revocations] = swaps;
            let mut state = state;
            if replicas {
                state.swap_replicas();
            }
            if gateways {
                state.gateways.swap(0, 1);
            }
            if revocations {
                state.swap_revocations();
            }
            state
        };
        let swaps = (0..8_u8).map(|bits| [bits & 1 != 0, bits & 2 != 0, bits & 4 != 0]);
        swaps.map(|swaps| with(*self, swaps)).min().unwrap_or(*self)
    }
}

impl State {
    fn swap_replicas(&mut self) {
        self.last_head.swap(0, 1);
        for gateway in &mut self.gateways {
            if let Question::Arrived { replica, .. } = &mut gateway.question {
                *replica = 1 - *replica;
            }
        }
    }

    fn swap_revocations(&mut self) {
        self.revocations.swap(0, 1);
        self.redis = self.redis.swapped();
        for gateway in &mut self.gateways {
            gateway.applied = gateway.applied.swapped();
        }
    }
}
