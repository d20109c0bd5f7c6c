//! Several servers as processes, with TLS between them and a stock Synapse among them.
//!
//! Needs Python, in whose virtual environment Synapse is installed once; `contrib/test.sh` sees to it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{path::PathBuf, process::Stdio, time::Duration};

use tests::{folder, server::binary};
use tokio::{process::Command, sync::Mutex};

/// A script that hangs is ended after so long. The longest takes a minute or two on a machine with nothing else to do.
const PATIENCE: Duration = Duration::from_secs(900);

/// The scripts use the same addresses, and three servers are enough for two cores.
static WORLD: Mutex<()> = Mutex::const_new(());

/// A Python that knows Synapse.
async fn python() -> PathBuf {
    let output =
        Command::new("python3").arg(folder().join("peers/synapse.py")).arg("venv").stdin(Stdio::null()).output().await;
    let output = output.expect("tests/peers/synapse.py");
    assert!(output.status.success(), "synapse.py: {}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

async fn run(script: &str, arguments: &[&str]) {
    let _world = WORLD.lock().await;
    let mut command = Command::new(python().await);
    command.arg(folder().join("federation").join(script)).arg("--binary").arg(binary().expect("the binary"));
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = output.expect("the script hangs").unwrap_or_else(|error| panic!("{command:?}: {error}"));
    println!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}:\n{}", output.status, String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn rooms_of_every_side() {
    run("rooms.py", &["--versions", "10,11,12", "--short", "1,2,3,6", "--servers", "ccs"]).await;
}

#[tokio::test]
async fn a_dinner_across_servers_with_partitions_and_crashes() {
    run("dinner.py", &[]).await;
}

#[tokio::test]
async fn a_ledger_from_a_stock_server_alone() {
    run("stock_ledger.py", &[]).await;
}

#[tokio::test]
async fn files_of_every_side() {
    run("media.py", &[]).await;
}

#[tokio::test]
async fn notifications_to_push_gateways() {
    run("push.py", &[]).await;
}
