//! A dinner split on the real server: by stock Matrix clients, by two browsers, and by both together.
//!
//! Needs Node.js, Debian's Chromium (or `CHROMIUM`), the web app's build and its packages, and Python; `contrib/test.sh`
//! installs them. `DINNER_PICTURES=FOLDER` keeps what the browsers showed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tests::folder;
use tests::server::{Server, Setup};
use tokio::process::Command;
use tokio::sync::Mutex;

/// A script that hangs is ended after so long. The longest takes seconds on a machine with nothing else to do.
const PATIENCE: Duration = Duration::from_secs(420);

/// One dinner at a time: two browsers are enough for two cores.
static KITCHEN: Mutex<()> = Mutex::const_new(());

/// Runs a script to its end, prints what it said, and fails where it does.
async fn run(command: &mut Command, server: &mut Server) {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = output.expect("the script hangs").unwrap_or_else(|error| panic!("{command:?}: {error}"));
    println!("{}", String::from_utf8_lossy(&output.stdout));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}:\n{words}\nthe server's log:\n{}", output.status, server.log_tail());

    let status = server.stop().await.expect("an orderly stop");
    assert!(status.success(), "the server ended with {status}\n{}", server.log_tail());
    let check = server.admin(&["check"]).expect("the check command");
    assert!(check.status.success(), "check: {}", String::from_utf8_lossy(&check.stdout));
}

/// A Python that knows matrix-nio.
async fn python() -> PathBuf {
    let output = Command::new("sh").arg(folder().join("stock/venv.sh")).stdin(Stdio::null()).output().await;
    let output = output.expect("tests/stock/venv.sh");
    assert!(output.status.success(), "venv.sh: {}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

/// A browser's script against the server, with pictures where they are wanted.
fn node(script: &str, server: &Server) -> Command {
    let mut command = Command::new("node");
    command.arg(folder().join(script)).arg(server.url());
    if let Some(pictures) = std::env::var_os("DINNER_PICTURES") {
        let name = Path::new(script).file_stem().unwrap_or_default();
        command.arg("--out").arg(Path::new(&pictures).join(name));
    }
    command
}

#[tokio::test]
async fn stock_clients_split_a_dinner() {
    let _kitchen = KITCHEN.lock().await;
    let mut server = Server::start(Setup::default()).await.expect("the server");
    let mut command = Command::new(python().await);
    command.arg(folder().join("stock/dinner.py")).args(["--ledger", "--url", &server.url()]);
    run(&mut command, &mut server).await;
}

#[tokio::test]
async fn two_browsers_split_a_dinner() {
    let _kitchen = KITCHEN.lock().await;
    let mut server = Server::start(Setup::default()).await.expect("the server");
    let mut command = node("browser/dinner.mjs", &server);
    run(&mut command, &mut server).await;
}

#[tokio::test]
async fn browsers_and_stock_clients_split_one_dinner() {
    let _kitchen = KITCHEN.lock().await;
    let mut server = Server::start(Setup::default()).await.expect("the server");
    let mut command = node("dinner/together.mjs", &server);
    command.arg("--python").arg(python().await);
    run(&mut command, &mut server).await;
}
