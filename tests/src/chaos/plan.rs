//! What is done in a round, and when: decided by a seed and by nothing else, so that a round can be played again.
//!
//! Flows in: a seed and a length. Flows out: acts with their instants. Cards of a shuffled deck, so that every kind of act
//! comes in every deck, each time in another order and at another distance from the others.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::world::SERVICES;

/// Nodes of the cluster.
pub const NODES: u16 = 3;

/// Time for a deck is about this times the number of its cards.
const GAP: std::ops::Range<u64> = 100..1500;
/// How long what stands still does so, in milliseconds; no request waits longer than ten times that.
const PAUSE: std::ops::Range<u64> = 200..1500;
/// How long a node's agent is away, or the disk is full.
const ABSENCE: std::ops::Range<u64> = 1000..4000;

/// One act at its instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Since the round's start.
    pub at: Duration,
    /// What is done.
    pub act: Act,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A Deployment gets a new image.
    Roll(usize),
    /// A Deployment gets another number of replicas.
    Scale(usize, i32),
    /// A pod is deleted.
    Delete(Pick),
    /// The server gets SIGKILL, and is started again after a while.
    KillServer(Duration),
    /// The server stands still (SIGSTOP) for a while.
    FreezeServer(Duration),
    /// The balancer gets SIGKILL.
    KillBalancer,
    /// The balancer stands still for a while.
    FreezeBalancer(Duration),
    /// A pod's keeper gets SIGKILL.
    KillKeeper(Pick),
    /// A pod's keeper stands still for a while.
    FreezeKeeper(Pick, Duration),
    /// All processes of a pod's program get SIGKILL.
    KillProgram(Pick),
    /// All processes of a pod's program stand still for a while.
    FreezeProgram(Pick, Duration),
    /// A node's agent is stopped, and started again after a while.
    StopAgent(u16, Duration),
    /// The disk has no byte left for a while.
    FillDisk(Duration),
    /// Every connection of the API breaks.
    DropSockets,
}

/// A pod: the so many-th of those that a Service has at that instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// Which Service.
    pub service: usize,
    /// Which pod, modulo their number.
    pub number: usize,
}

impl Act {
    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Roll(_) => "roll",
            Self::Scale(..) => "scale",
            Self::Delete(_) => "delete a pod",
            Self::KillServer(_) => "kill -9 server",
            Self::FreezeServer(_) => "stop server",
            Self::KillBalancer => "kill -9 balancer",
            Self::FreezeBalancer(_) => "stop balancer",
            Self::KillKeeper(_) => "kill -9 keeper",
            Self::FreezeKeeper(..) => "stop keeper",
            Self::KillProgram(_) => "kill -9 program",
            Self::FreezeProgram(..) => "stop program",
            Self::StopAgent(..) => "stop agent",
            Self::FillDisk(_) => "fill disk",
            Self::DropSockets => "drop sockets",
        }
    }
}

/// The acts of a round of so many decks.
pub fn plan(seed: u64, decks: u32) -> Vec<Step> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut at = Duration::ZERO;
    let mut steps = Vec::new();
    for _ in 0..decks {
        for act in deck(&mut random) {
            at += millis(&mut random, GAP);
            steps.push(Step { at, act });
        }
    }
    steps
}

fn deck(random: &mut StdRng) -> Vec<Act> {
    let mut cards: Vec<Act> = (0..SERVICES).map(Act::Roll).collect();
    cards.extend((0..SERVICES).map(|service| Act::Scale(service, random.random_range(2..=5))));
    cards.extend([Act::Delete(pick(random)), Act::Delete(pick(random))]);
    cards.extend([
        Act::KillServer(millis(random, PAUSE)),
        Act::FreezeServer(millis(random, PAUSE)),
        Act::KillBalancer,
        Act::FreezeBalancer(millis(random, PAUSE)),
        Act::KillKeeper(pick(random)),
        Act::FreezeKeeper(pick(random), millis(random, PAUSE)),
        Act::KillProgram(pick(random)),
        Act::KillProgram(pick(random)),
        Act::FreezeProgram(pick(random), millis(random, PAUSE)),
        Act::StopAgent(random.random_range(1..=NODES), millis(random, ABSENCE)),
        Act::FillDisk(millis(random, ABSENCE)),
        Act::DropSockets,
    ]);
    cards.shuffle(random);
    cards
}

fn pick(random: &mut StdRng) -> Pick {
    Pick {
        service: random.random_range(0..SERVICES),
        number: random.random_range(0..1000),
    }
}

fn millis(random: &mut StdRng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(random.random_range(range))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_decides_everything_and_another_seed_decides_otherwise() {
        assert_eq!(plan(7, 2), plan(7, 2));
        assert_ne!(plan(7, 2), plan(8, 2));
    }

    #[test]
    fn every_deck_has_every_kind_of_act() {
        let names = |steps: &[Step]| steps.iter().map(|step| step.act.name()).collect::<BTreeSet<_>>();
        let (one, three) = (plan(1, 1), plan(1, 3));
        assert_eq!(names(&one).len(), 14);
        assert_eq!(three[..one.len()], one);
        for deck in three.chunks(one.len()) {
            assert_eq!(names(deck), names(&one));
        }
        assert!(three.is_sorted_by_key(|step| step.at));
    }
}
