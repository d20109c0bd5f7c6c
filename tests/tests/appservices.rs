//! The real server with a small bridge: `tests/appservices/bridge.py`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::process::{Command, Stdio};

use tests::server::binary;

#[test]
fn a_bridge_gets_what_it_missed_exactly_once() {
    let script = tests::folder().join("appservices/bridge.py");
    let mut command = Command::new("timeout");
    // One that hangs is ended.
    command.arg("120").arg("python3").arg(script).arg("--binary").arg(binary().expect("the binary"));
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{}:\n{}", output.status, String::from_utf8_lossy(&output.stderr));
}
