//! Loads a Matrix homeserver on this machine and reports what it cost.
//!
//! `loadtest --url http://127.0.0.1:PORT --pid SERVER_PID [--label X] [--json out.json]`, or `--start "command"`
//! instead of `--pid`: then the server is started, timed until it answers, and stopped at the end.

use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use http::Method;
use tests::http::{Conn, Endpoint};
use tests::load::phases::{Bench, Board};
use tests::load::report::{InitialSync, Report};
use tests::load::setup::{self, HEAVY_MEMBERS, HEAVY_MESSAGES, HEAVY_ROOMS, LOADED_ROOMS, Registrar, SENDERS_PER_ROOM};
use tests::load::{LoadError, procfs};

/// Initial syncs that are timed.
const INITIAL_SYNCS: usize = 6;

#[derive(Debug, Parser)]
#[command(about = "Loads a Matrix homeserver on this machine and reports what it cost", version)]
struct Options {
    /// The server, on a loopback address: http://127.0.0.1:8008
    #[arg(long)]
    url: String,
    /// The server's process id, for its CPU time and memory
    #[arg(long, required_unless_present = "start")]
    pid: Option<u32>,
    /// Start the server with this shell command, time it until it answers, stop it at the end
    #[arg(long, conflicts_with = "pid")]
    start: Option<String>,
    /// What to call this run in the report
    #[arg(long, default_value = "server")]
    label: String,
    /// Write the report as JSON to this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Register by the shared secret (Synapse's admin API) instead of openly
    #[arg(long)]
    shared_secret: Option<String>,
    /// Seconds each phase measures
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Seconds of load before each loaded phase
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=60))]
    warmup: u64,
    /// Messages one sender sends at most in one phase
    #[arg(long, default_value_t = 100_000)]
    cap: usize,
    /// Give up after so many seconds in all
    #[arg(long, default_value_t = 900)]
    limit: u64,
}

/// A server that this run started; it is stopped when this goes.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let pid = self.0.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        for _ in 0..100 {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn answers(endpoint: &Endpoint) -> bool {
    let Ok(mut conn) = Conn::open(endpoint).await else {
        return false;
    };
    let reply = conn.call(Method::GET, "/_matrix/client/versions", None, None).await;
    reply.is_ok_and(|reply| reply.status.is_success())
}

async fn start(command: &str, endpoint: &Endpoint) -> Result<(Started, Duration), LoadError> {
    if answers(endpoint).await {
        return Err(LoadError::Usage(format!("something answers at {} already", endpoint.url())));
    }
    let begun = Instant::now();
    let mut child = Command::new("sh");
    child.arg("-c").arg(format!("exec {command}")).stdin(Stdio::null()).stdout(Stdio::null());
    let mut started = Started(child.spawn()?);
    loop {
        if answers(endpoint).await {
            return Ok((started, begun.elapsed()));
        }
        if let Some(status) = started.0.try_wait()? {
            return Err(LoadError::Process(format!("the server ended with {status}")));
        }
        if begun.elapsed() > Duration::from_secs(60) {
            return Err(LoadError::Process("the server did not answer within 60 s".to_owned()));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn mebibytes(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1024).unwrap_or(u32::MAX)) / 1024.0
}

async fn measure(options: &Options) -> Result<Report, LoadError> {
    let endpoint = Endpoint::parse(&options.url)?;
    let mut started = None;
    if let Some(command) = &options.start {
        started = Some(start(command, &endpoint).await?);
        // What a start still does in the background is not load.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let pid = options.pid.or_else(|| started.as_ref().map(|(server, _)| server.0.id()));
    let pid = pid.ok_or_else(|| LoadError::Usage("give --pid or --start".to_owned()))?;
    let fresh = procfs::usage(pid)?;
    let registrar = Registrar::new(endpoint, options.shared_secret.clone());
    let mut conn = setup::connect(&registrar).await?;

    eprintln!("accounts and rooms …");
    let quiet = registrar.hall(&mut conn, "quiet", 1).await?;
    let mut halls = Vec::with_capacity(LOADED_ROOMS);
    for index in 0..LOADED_ROOMS {
        halls.push(registrar.hall(&mut conn, &format!("r{index}"), SENDERS_PER_ROOM).await?);
    }
    let (phase, board) = (Duration::from_secs(options.seconds), Arc::new(Board::default()));
    let bench = Bench { registrar: &registrar, pid, phase, cap: options.cap, board };
    eprintln!("unloaded …");
    let unloaded = bench.unloaded_sends(&quiet).await?;
    let unloaded_delivery = bench.unloaded_delivery(&quiet).await?;
    let warmup = Duration::from_secs(options.warmup);
    eprintln!("loaded, nobody syncing …");
    let loaded = bench.loaded(&halls, false, warmup).await?;
    eprintln!("loaded, one long-polling member a room …");
    let loaded_polling = bench.loaded(&halls, true, warmup).await?;
    eprintln!("{HEAVY_ROOMS} rooms …");
    let heavy = registrar.heavy(&mut conn).await?;
    let (first, later, bytes) = bench.initial_syncs(&heavy, INITIAL_SYNCS).await?;
    Ok(Report {
        label: options.label.clone(),
        seconds: options.seconds,
        senders: LOADED_ROOMS * SENDERS_PER_ROOM,
        rooms: LOADED_ROOMS,
        start_ms: started.as_ref().map(|(_, took)| took.as_secs_f64() * 1e3),
        fresh_mib: mebibytes(fresh.resident),
        after_mib: mebibytes(procfs::usage(pid)?.resident),
        unloaded,
        unloaded_delivery,
        loaded,
        loaded_polling,
        initial_sync: InitialSync {
            rooms: HEAVY_ROOMS,
            members_per_room: HEAVY_MEMBERS,
            messages_per_room: HEAVY_MESSAGES,
            first_ms: first.as_secs_f64() * 1e3,
            later_p50_ms: later.percentile_ms(50),
            bytes,
        },
        own_cpu_seconds: procfs::own_cpu()?.as_secs_f64(),
    })
}

async fn run(options: &Options) -> Result<(), LoadError> {
    let limit = Duration::from_secs(options.limit);
    let report = tokio::time::timeout(limit, measure(options))
        .await
        .map_err(|_| LoadError::Usage(format!("not done within {limit:?}; raise --limit")))??;
    println!("{report}");
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)?)?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("loadtest: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loadtest: {error}");
            ExitCode::FAILURE
        }
    }
}
