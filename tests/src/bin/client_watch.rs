//! `scripts/client-watch.sh`'s program: client libraries follow for long, and are judged; and the follower of kube-rs.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use coracle_tests::followers::{self, Plan, kube_rs};
use coracle_tests::interrupt;

/// Lets the informers of three client libraries follow a kind while it is written to, its history is compacted away under
/// them, and the server crashes. Exit code 0: none missed a write, or told one that was not.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// How long
    #[arg(long, default_value_t = 60)]
    minutes: u32,
    /// As short as it can be, whatever `--minutes` says
    #[arg(long)]
    short: bool,
    /// Writes in a second
    #[arg(long, default_value_t = 20)]
    pace: u32,
}

#[derive(Subcommand)]
enum Command {
    /// Be the follower of kube-rs
    Follow {
        /// The namespace whose ConfigMaps are followed
        namespace: String,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn follow(namespace: &str) -> ExitCode {
    match kube_rs::follow(namespace).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(Command::Follow { namespace }) = args.command {
        return follow(&namespace);
    }
    if let Err(error) = interrupt::watch() {
        eprintln!("error: cannot listen for signals: {error}");
        return ExitCode::FAILURE;
    }
    let (time, parts) = if args.short {
        (Duration::from_secs(6), 2)
    } else {
        (Duration::from_secs(60) * args.minutes, args.minutes.div_ceil(10))
    };
    let verdicts = followers::run(&Plan {
        time,
        parts,
        pace: args.pace,
        crash: true,
    });
    println!("| library | told live | made up for by a list | lists | watches | errors told | faults |");
    println!("|---|---|---|---|---|---|---|");
    verdicts.iter().for_each(|verdict| println!("{verdict}"));
    if verdicts.iter().all(followers::Verdict::is_good) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
