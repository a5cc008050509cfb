//! `scripts/chaos.sh`'s program: rounds of damage, and what was left standing.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Parser;
use coracle_tests::{chaos, interrupt};

/// Kills, stops, fills and cuts everything while three Services are rolled out, scaled and asked, and compares what is
/// left with what was acknowledged. Exit code 0: nothing is lost, nothing is left behind, and every dropped request was
/// inside something that was killed.
#[derive(Parser)]
struct Args {
    /// One short round, under a minute
    #[arg(long)]
    short: bool,
    /// The first round's seed, which decides all that is done in it; the next round has the next
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many rounds [default: 6, or 1 with --short]
    #[arg(long)]
    rounds: Option<u64>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(error) = interrupt::watch() {
        eprintln!("error: cannot listen for signals: {error}");
        return ExitCode::FAILURE;
    }
    let rounds = args.rounds.unwrap_or(if args.short { 1 } else { 6 });
    let (mut good, mut played) = (0, 0);
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in args.seed..args.seed.saturating_add(rounds) {
        let verdict = chaos::round(seed, args.short);
        println!("{verdict}");
        played += 1;
        good += u64::from(verdict.is_good());
        verdict.sum_up(&mut sums);
        if interrupt::is_set() {
            return ExitCode::from(130);
        }
    }
    println!("rounds: {played}, as promised: {good}");
    for (what, count) in sums {
        println!("{count:>9} {what}");
    }
    if played > 0 && good == played {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
