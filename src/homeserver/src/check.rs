//! `cliquepay check`: everything derived is rebuilt from the events and compared.

use std::process::ExitCode;

use crate::{config::Config, error::StartError, wiring};

/// Compares and reports; the exit code says whether all is well.
pub async fn run(config: Config) -> Result<ExitCode, StartError> {
    let parts = wiring::open(&config, wiring::Purpose::Maintain, || {})?;
    let mut findings = Vec::new();
    let (mut rooms, mut events) = (0u64, 0u64);
    let mut after = 0;
    loop {
        let page = parts.engine.room_nums(after, 1000).await?;
        let Some(last) = page.last() else { break };
        after = *last;
        for num in page {
            let report = parts.engine.check_room(num).await?;
            rooms += 1;
            events += report.events;
            findings.extend(report.findings);
            let ledger = parts.expenses.check_room(num).await;
            findings.extend(ledger.unwrap_or_else(|error| vec![format!("room {num}: {error}")]));
        }
    }
    parts.db.shutdown();
    println!("checked {rooms} rooms with {events} events: {} findings", findings.len());
    for finding in &findings {
        println!("  {finding}");
    }
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
