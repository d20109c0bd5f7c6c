//! What people wait for in their clients, measured on a homeserver on this machine.
//!
//! `clienttest fill --url URL --state FILE` makes users, rooms and messages; `clienttest measure --url URL --state FILE --pid PID` times
//! first syncs, older messages, searches, files, and a thousand idle clients.

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use tests::{
    http::Endpoint,
    load::{
        LoadError,
        clients::{Prepared, fill, measure, words},
        setup::Registrar,
    },
};

#[derive(Debug, Parser)]
#[command(about = "Measures what people wait for in their clients", version)]
struct Options {
    #[command(subcommand)]
    command: Command,
    /// The server, on a loopback address: http://127.0.0.1:8008
    #[arg(long, global = true, default_value = "http://127.0.0.1:8008")]
    url: String,
    /// Where it is written down what a server was filled with
    #[arg(long, global = true, default_value = "clienttest.json")]
    state: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes users, rooms and messages
    Fill {
        /// Messages in the rooms that are searched
        #[arg(long, default_value_t = 100_000)]
        messages: usize,
        /// Users that poll while nothing happens
        #[arg(long, default_value_t = 1_000)]
        idle: usize,
    },
    /// Prints messages, one a line, as `fill` sends them
    Words {
        /// How many
        #[arg(long)]
        count: usize,
    },
    /// Measures, and prints what was found as JSON
    Measure {
        /// The server's process id, for its CPU time and memory
        #[arg(long)]
        pid: u32,
        /// What to call this run
        #[arg(long, default_value = "server")]
        label: String,
    },
}

async fn run(options: &Options) -> Result<(), LoadError> {
    let registrar = Registrar::new(Endpoint::parse(&options.url)?, None);
    match &options.command {
        Command::Fill { messages, idle } => {
            let size = fill::Size { messages: *messages, idle: *idle };
            let prepared = fill::fill(&registrar, size).await?;
            std::fs::write(&options.state, serde_json::to_string_pretty(&prepared)?)?;
        }
        Command::Words { count } => {
            let mut out = std::io::BufWriter::new(std::io::stdout().lock());
            for number in 0..*count {
                writeln!(out, "{}", words::message(number))?;
            }
        }
        Command::Measure { pid, label } => {
            let prepared: Prepared = serde_json::from_slice(&std::fs::read(&options.state)?)?;
            let found = measure::measure(&registrar, *pid, label, &prepared).await?;
            println!("{}", serde_json::to_string_pretty(&found)?);
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("clienttest: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("clienttest: {error}");
            ExitCode::FAILURE
        }
    }
}
