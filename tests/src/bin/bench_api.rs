//! `scripts/bench-api.sh`'s program.

use std::process::ExitCode;

use clap::Parser;
use coracle_tests::bench_api::{self, Error, Plan, Programs, Target};
use coracle_tests::interrupt;

/// Measures the API of coracle, and of upstream's programs where `ETCD`, `KUBE_APISERVER`, `KUBE_CONTROLLER_MANAGER`,
/// `KUBE_SCHEDULER` and `KWOK` say where they are. The table has medians, least and greatest in brackets.
#[derive(Parser)]
struct Args {
    /// How often each side is measured
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Less of everything, once: to see that it works
    #[arg(long)]
    short: bool,
}

async fn run(args: &Args) -> Result<(), Error> {
    let (plan, rounds) = if args.short {
        (Plan::SHORT, 1)
    } else {
        (Plan::LONG, args.rounds)
    };
    let upstream = Programs::from_environment()?.map(Target::Upstream);
    let (mut own, mut peer) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        own.push(bench_api::round(&Target::Coracle, &plan).await?);
        if let Some(upstream) = &upstream {
            peer.push(bench_api::round(upstream, &plan).await?);
        }
    }
    println!("{}", bench_api::table(&own, &peer));
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(error) = interrupt::watch() {
        eprintln!("error: cannot listen for signals: {error}");
        return ExitCode::FAILURE;
    }
    match run(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
