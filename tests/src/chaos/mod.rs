//! Chaos: three Services under load, rollouts, scalings and deletes, and at random instants everything is killed, stopped,
//! filled up or cut off that can be.
//!
//! Flows in: a seed and a length. Flows out: for each round a verdict, with the figures and every broken promise. Nothing
//! that the API acknowledged may be lost, the cluster must get to the state that was asked for, with exactly its
//! processes, and every dropped request must have been inside something that was killed.

pub mod disk;
mod harm;
mod ledger;
mod plan;
mod requests;
mod resident;
mod stage;
mod verdict;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

pub use verdict::Verdict;

use disk::Disk;
use harm::Harms;
use ledger::Ledger;
use requests::Requests;
use stage::Stage;
use world::World;

use crate::zero_drop::reason;
use crate::{Cluster, Options};

/// Decks of acts in a round of the long form.
const DECKS: u32 = 5;

/// MiB of the disk that it lives on: more than a cluster needs in a round.
const DISK: u32 = 384;

/// One round on a cluster of its own; the short form has one deck of acts.
pub fn round(seed: u64, short: bool) -> Verdict {
    let begin = Instant::now();
    let mut verdict = Verdict {
        seed,
        ..Verdict::default()
    };
    let decks = if short { 1 } else { DECKS };
    let played = catch_unwind(AssertUnwindSafe(|| play(&mut verdict, decks)));
    verdict.wrong.extend(played.err().map(|why| reason(&*why)));
    verdict.took = begin.elapsed();
    verdict
}

fn play(verdict: &mut Verdict, decks: u32) {
    let disk = Disk::of(DISK);
    let mut cluster = Cluster::start_with(Options {
        nodes: plan::NODES,
        within: Some(disk.path().to_owned()),
        ..Options::default()
    });
    let world = World::begin(&cluster);
    let requests = Requests::start(&cluster.kubectl());
    let ledger = Ledger::start(&cluster, verdict.seed);
    requests.flow(20);

    let harms = Harms::default();
    let mut stage = Stage::new(&mut cluster, &disk, &world, &harms);
    stage.play(&plan::plan(verdict.seed, decks));
    (verdict.acts, verdict.done, verdict.missed) = (stage.told, stage.done, stage.missed);

    let wanted = world.finish();
    match world::settle(&cluster.kubectl()) {
        Ok(()) => requests.flow(20),
        Err(why) => verdict.wrong.push(why),
    }
    verdict.requests = requests.finish(&harms);
    verdict.objects = ledger.finish();
    verdict.look(&cluster, &wanted);
    cluster.stop();
}
