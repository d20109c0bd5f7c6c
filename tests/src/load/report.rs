//! What a run found, as JSON and as a table.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use serde::Serialize;

use super::stats::Samples;

/// Sends that were acknowledged. Times in milliseconds, from the request's first byte to the answer's last.
#[derive(Debug, Clone, Serialize)]
pub struct Sends {
    /// How many.
    pub events: usize,
    /// How many a second.
    pub per_second: f64,
    /// Median.
    pub p50_ms: Option<f64>,
    /// 99th percentile.
    pub p99_ms: Option<f64>,
}

impl Sends {
    /// Sums up samples taken over `took`.
    #[must_use]
    pub fn new(samples: &Samples, took: Duration) -> Self {
        Self {
            events: samples.len(),
            per_second: per(samples.len(), took.as_secs_f64()),
            p50_ms: samples.percentile_ms(50),
            p99_ms: samples.percentile_ms(99),
        }
    }
}

/// Deliveries to another user's long poll. Times in milliseconds, from the send's first byte to the poll's last.
#[derive(Debug, Clone, Serialize)]
pub struct Delivery {
    /// How many arrived.
    pub arrived: usize,
    /// How many were acknowledged and never arrived. Anything but 0 is the server's fault.
    pub missing: usize,
    /// Median.
    pub p50_ms: Option<f64>,
    /// 99th percentile.
    pub p99_ms: Option<f64>,
}

impl Delivery {
    /// Sums up the arrivals of `sent` messages.
    #[must_use]
    pub fn new(samples: &Samples, sent: usize) -> Self {
        Self {
            arrived: samples.len(),
            missing: sent.saturating_sub(samples.len()),
            p50_ms: samples.percentile_ms(50),
            p99_ms: samples.percentile_ms(99),
        }
    }
}

/// A phase under load.
#[derive(Debug, Clone, Serialize)]
pub struct Window {
    /// The senders' side.
    pub sends: Sends,
    /// The pollers' side, where somebody polled.
    pub delivery: Option<Delivery>,
    /// The server's CPU milliseconds per acknowledged event.
    pub server_cpu_ms_per_event: f64,
    /// The server's CPU seconds per second of the phase: 1 is one core.
    pub server_cores: f64,
    /// The generator's CPU milliseconds per acknowledged event.
    pub own_cpu_ms_per_event: f64,
    /// The generator's CPU seconds per second of the phase.
    pub own_cores: f64,
}

impl Window {
    /// Sums up one phase.
    #[must_use]
    pub fn new(samples: &Samples, took: Duration, delivery: Option<Delivery>, server: Duration, own: Duration) -> Self {
        let (server, own) = (server.as_secs_f64(), own.as_secs_f64());
        let sends = Sends::new(samples, took);
        let events = f64::from(u32::try_from(sends.events).unwrap_or(u32::MAX));
        Self {
            sends,
            delivery,
            server_cpu_ms_per_event: ratio(server * 1e3, events),
            server_cores: ratio(server, took.as_secs_f64()),
            own_cpu_ms_per_event: ratio(own * 1e3, events),
            own_cores: ratio(own, took.as_secs_f64()),
        }
    }
}

fn per(count: usize, seconds: f64) -> f64 {
    ratio(f64::from(u32::try_from(count).unwrap_or(u32::MAX)), seconds)
}

fn ratio(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
}

/// The user with many rooms.
#[derive(Debug, Clone, Serialize)]
pub struct InitialSync {
    /// How many rooms.
    pub rooms: usize,
    /// Members of each.
    pub members_per_room: usize,
    /// Messages in each.
    pub messages_per_room: usize,
    /// The first sync, in milliseconds.
    pub first_ms: f64,
    /// The median of the later ones, each from a new device, in milliseconds.
    pub later_p50_ms: Option<f64>,
    /// The answer's size in bytes.
    pub bytes: usize,
}

/// A whole run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What the user calls this run.
    pub label: String,
    /// Seconds each phase measured at most.
    pub seconds: u64,
    /// Senders of the loaded phases.
    pub senders: usize,
    /// Rooms of the loaded phases.
    pub rooms: usize,
    /// From the spawn until `/_matrix/client/versions` answered, in milliseconds, where this run started the server.
    pub start_ms: Option<f64>,
    /// Resident memory before the first request, in MiB.
    pub fresh_mib: f64,
    /// Resident memory after the last phase, in MiB.
    pub after_mib: f64,
    /// One sender, nobody syncing.
    pub unloaded: Sends,
    /// One sender, one poll.
    pub unloaded_delivery: Delivery,
    /// All senders, nobody syncing.
    pub loaded: Window,
    /// All senders, one long-polling member a room.
    pub loaded_polling: Window,
    /// The user with many rooms.
    pub initial_sync: InitialSync,
    /// The generator's CPU seconds over the whole run.
    pub own_cpu_seconds: f64,
}

struct Ms(Option<f64>);

impl Display for Ms {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(ms) => f.pad(&format!("{ms:.2} ms")),
            None => f.pad("-"),
        }
    }
}

impl Report {
    fn window(f: &mut Formatter<'_>, title: &str, window: &Window) -> fmt::Result {
        writeln!(f, "{title}")?;
        row(f, "sends/s", format_args!("{:.0}", window.sends.per_second))?;
        row(f, "send p50 / p99", format_args!("{} / {}", Ms(window.sends.p50_ms), Ms(window.sends.p99_ms)))?;
        if let Some(delivery) = &window.delivery {
            row(f, "delivery p50 / p99", format_args!("{} / {}", Ms(delivery.p50_ms), Ms(delivery.p99_ms)))?;
            row(f, "arrived / missing", format_args!("{} / {}", delivery.arrived, delivery.missing))?;
        }
        let server = format_args!("{:.3} ms ({:.2} cores)", window.server_cpu_ms_per_event, window.server_cores);
        row(f, "server CPU per event", server)?;
        let own = format_args!("{:.3} ms ({:.2} cores)", window.own_cpu_ms_per_event, window.own_cores);
        row(f, "generator CPU per event", own)
    }
}

fn row(f: &mut Formatter<'_>, name: &str, value: fmt::Arguments<'_>) -> fmt::Result {
    writeln!(f, "  {name:<28} {value}")
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "load test: {} ({} s a phase)", self.label, self.seconds)?;
        if let Some(start) = self.start_ms {
            row(f, "start", format_args!("{start:.0} ms"))?;
        }
        row(f, "memory fresh / after", format_args!("{:.0} / {:.0} MiB", self.fresh_mib, self.after_mib))?;
        writeln!(f, "unloaded: 1 sender")?;
        row(f, "sends/s", format_args!("{:.0}", self.unloaded.per_second))?;
        row(f, "send p50 / p99", format_args!("{} / {}", Ms(self.unloaded.p50_ms), Ms(self.unloaded.p99_ms)))?;
        let delivery = &self.unloaded_delivery;
        row(f, "delivery p50 / p99", format_args!("{} / {}", Ms(delivery.p50_ms), Ms(delivery.p99_ms)))?;
        row(f, "arrived / missing", format_args!("{} / {}", delivery.arrived, delivery.missing))?;
        let title = format!("loaded: {} senders over {} rooms", self.senders, self.rooms);
        Self::window(f, &format!("{title}, nobody syncing"), &self.loaded)?;
        Self::window(f, &format!("{title}, one long-polling member a room"), &self.loaded_polling)?;
        let sync = &self.initial_sync;
        let rooms = (sync.rooms, sync.members_per_room, sync.messages_per_room);
        writeln!(f, "initial sync: {} rooms of {} members and {} messages", rooms.0, rooms.1, rooms.2)?;
        row(f, "first / later p50", format_args!("{:.1} ms / {}", sync.first_ms, Ms(sync.later_p50_ms)))?;
        row(f, "size", format_args!("{} KiB", sync.bytes / 1024))?;
        row(f, "generator CPU in all", format_args!("{:.2} s", self.own_cpu_seconds))
    }
}
