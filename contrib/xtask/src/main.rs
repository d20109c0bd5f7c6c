//! `cargo xtask`: developer tasks.

use std::path::Path;
use std::process::ExitCode;

use xtask::workspace::{Workspace, WorkspaceError};
use xtask::{arrows, house};

const USAGE: &str = "cargo xtask COMMAND
  arrows   prints which crate depends on which, and checks that it may
  house    checks what lies at the top level
  check    both, quietly";

fn report(findings: &[String]) -> ExitCode {
    for finding in findings {
        eprintln!("{finding}");
    }
    if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print_arrows(workspace: &Workspace) {
    for package in &workspace.packages {
        let ours: Vec<&str> = arrows::of(package).into_iter().collect();
        let ours = if ours.is_empty() { "-".to_owned() } else { ours.join(" ") };
        println!("{:14} {ours}", package.name);
    }
}

fn run(command: &str) -> Result<ExitCode, WorkspaceError> {
    let workspace = Workspace::read(Path::new("."))?;
    let findings = match command {
        "arrows" => {
            print_arrows(&workspace);
            arrows::check(&workspace)
        }
        "house" => house::check(&workspace)?,
        "check" => [arrows::check(&workspace), house::check(&workspace)?].concat(),
        _ => {
            eprintln!("{USAGE}");
            return Ok(ExitCode::from(2));
        }
    };
    Ok(report(&findings))
}

fn main() -> ExitCode {
    let command = std::env::args().nth(1).unwrap_or_default();
    run(&command).unwrap_or_else(|error| {
        eprintln!("xtask: {error}");
        ExitCode::FAILURE
    })
}
