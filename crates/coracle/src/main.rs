//! `coracle`: Kubernetes' rolling update on one machine, with plain processes for pods.
//!
//! This binary is the command line and the wiring of the parts; it holds no business logic. The server, the balancer,
//! the keepers of pods and the stand-in web server are all this one program, under different subcommands.

mod backup;
mod cli;
mod client;
mod data_dir;
mod demo;
mod detach;
mod down;
mod image;
mod interrupt;
mod kubeconfig;
mod network;
mod node;
mod output;
mod process;
mod status;
mod up;
mod verbs;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(code) => code,
        Err(error) if output::reader_left(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
