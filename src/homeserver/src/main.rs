//! `cliquepay`: a Matrix homeserver whose rooms are also shared ledgers.
//!
//! This crate reads the configuration, puts the parts together, listens, and shuts down; what the server does is in the
//! crates it depends on.

mod bridged;
mod check;
mod config;
mod error;
mod housekeeping;
mod keys;
mod media_links;
mod metrics;
mod older_history;
mod peers;
mod push_gateways;
mod remote_rooms;
mod remotes;
mod serve;
mod site;
mod tls;
mod wiring;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use store::{Clock as _, SystemClock};
use tracing::error;
use tracing_subscriber::EnvFilter;

use crate::{config::Config, error::StartError};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A Matrix homeserver whose rooms are also shared ledgers.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The configuration file (TOML). Settings can also come from the environment: `CLIQUEPAY_SERVER_NAME`,
    /// `CLIQUEPAY_STORE__SYNC` and so on.
    #[arg(long, short, env = "CLIQUEPAY_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Command {
    /// Runs the server (the default).
    Serve,
    /// With the server stopped: rebuilds heads, states, indexes and ledgers from the events and compares.
    Check,
    /// With the server stopped: makes a new signing key. The one before is kept, and published as one that is out of use.
    RotateKey,
}

async fn rotate_key(config: Config) -> Result<ExitCode, StartError> {
    // Whoever has the data folder open is alone in it: a server that runs would go on signing with the old key.
    let parts = wiring::open(&config, wiring::Purpose::Maintain, || {})?;
    let version = keys::rotate(&config.data_dir, SystemClock.now_ms())?;
    parts.db.shutdown();
    println!("the signing key is now ed25519:{version}");
    Ok(ExitCode::SUCCESS)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let run = Config::load(arguments.config.as_deref()).and_then(|config| {
        let filter = EnvFilter::try_new(&config.log).map_err(|error| StartError::Setting("log", error.to_string()))?;
        if config.log_json {
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).json().init();
        } else {
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .worker_threads(config.worker_threads())
            .build()
            .map_err(StartError::Io)?;
        match arguments.command.unwrap_or(Command::Serve) {
            Command::Serve => runtime.block_on(serve::run(config)),
            Command::Check => runtime.block_on(check::run(config)),
            Command::RotateKey => runtime.block_on(rotate_key(config)),
        }
    });
    match run {
        Ok(code) => code,
        Err(failure) => {
            error!(%failure, "stopped");
            eprintln!("cliquepay: {failure}");
            ExitCode::FAILURE
        }
    }
}
