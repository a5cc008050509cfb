//! The test plan against dropped requests: traffic of every shape, on servers of every habit, while everything happens.
//!
//! Flows in: which rows, how long, a seed. Flows out: a table with a line for each shape of each scenario, and whether
//! every promise was kept. The plan is data (`plan`); the clients are judges that never retry (crate `load`, and wrk).

mod event;
mod loads;
mod plan;
mod scenario;
mod server;
mod shape;
mod stage;
mod table;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

pub use plan::TITLES;
pub use table::Table;

use plan::PLAN;
pub(crate) use scenario::reason;
use scenario::{Cell, Played, Scenario, negative_control, took};

use crate::{Cluster, interrupt};

/// The row of the negative control, which plays on no cluster of ours.
const CONTROL: u8 = 20;

/// What is run.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// The short form.
    pub short: bool,
    /// Only these rows; empty: all.
    pub rows: Vec<u8>,
    /// For what is left to chance.
    pub seed: u64,
}

impl Choice {
    fn times(&self, scenario: &Scenario) -> u32 {
        if !self.rows.is_empty() && !self.rows.contains(&scenario.row) {
            return 0;
        }
        if self.short { scenario.short } else { scenario.long }
    }
}

/// Plays what was chosen, telling on standard error how far it is.
pub fn run(choice: &Choice) -> Table {
    let mut table = Table::default();
    let mut cluster = None;
    for scenario in PLAN {
        let times = choice.times(scenario);
        if times == 0 || interrupt::is_set() {
            continue;
        }
        eprint!(
            "row {}: {}, {} x {} ...",
            scenario.row,
            scenario.server.name(),
            times,
            scenario.title()
        );
        let begin = Instant::now();
        let played = catch_unwind(AssertUnwindSafe(|| {
            let cluster = cluster.get_or_insert_with(start);
            scenario.play(cluster, times, choice)
        }));
        let Played { cells, ended } = played.unwrap_or_else(|why| Played {
            cells: vec![Cell::broken(scenario, times, reason(&*why))],
            ended: false,
        });
        if !ended {
            // Whatever state the cluster is in, the next scenario gets another one.
            cluster = None;
        }
        let wrong = cells.iter().filter(|cell| cell.wrong.is_some()).count();
        eprintln!(" {}{}", took(begin), if wrong == 0 { "" } else { ", WRONG" });
        table.cells.extend(cells);
    }
    // In the tests it is one of its own.
    let control = if choice.rows.is_empty() {
        !choice.short
    } else {
        choice.rows.contains(&CONTROL)
    };
    if control && !interrupt::is_set() {
        eprintln!("row {CONTROL}: the negative control ...");
        table.cells.push(negative_control());
    }
    let stopped = catch_unwind(AssertUnwindSafe(|| {
        if let Some(cluster) = cluster {
            server::remove_images(&cluster);
            cluster.stop();
        }
    }));
    table.unclean = stopped.err().map(|why| reason(&*why));
    table
}

fn start() -> Cluster {
    let cluster = Cluster::start();
    server::add_images(&cluster);
    cluster
}
