//! `scripts/zero-drop.sh`'s program: the whole test plan against dropped requests, and its table.

use std::process::ExitCode;

use clap::Parser;
use coracle_tests::interrupt;
use coracle_tests::zero_drop::{self, Choice, TITLES};

/// Puts traffic of every shape on servers of every habit while rolling updates and worse happen, and counts what is
/// dropped. Exit code 0: nothing that was promised not to be.
#[derive(Parser)]
struct Args {
    /// The short form: under two minutes
    #[arg(long)]
    short: bool,
    /// Only these rows of the plan
    #[arg(long, value_name = "ROW", value_delimiter = ',')]
    only: Vec<u8>,
    /// Decides what is left to chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Say what the rows are, and end
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.list {
        for (row, title) in TITLES {
            println!("{row:>2}  {title}");
        }
        return ExitCode::SUCCESS;
    }
    if let Err(error) = interrupt::watch() {
        eprintln!("error: cannot listen for signals: {error}");
        return ExitCode::FAILURE;
    }
    // The table tells what broke; this tells it as it happens.
    std::panic::set_hook(Box::new(|panic| eprintln!("\n{panic}")));
    let table = zero_drop::run(&Choice {
        short: args.short,
        rows: args.only,
        seed: args.seed,
    });
    println!("{table}");
    if interrupt::is_set() {
        ExitCode::from(130)
    } else if table.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
