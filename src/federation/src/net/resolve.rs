//! Names to addresses.

use std::{fmt::Debug, io, net::SocketAddr, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use hickory_resolver::{TokioResolver, proto::rr::RData};

/// How long a look-up of SRV records may take. They are deprecated or rare, and their absence must not cost much.
const SRV_TIMEOUT: Duration = Duration::from_secs(2);

/// Where an SRV record points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SrvTarget {
    /// The lowest is tried first.
    pub priority: u16,
    /// Of those of one priority, how often this one is tried first.
    pub weight: u16,
    /// A host name.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// Looks names up.
pub trait Resolver: Send + Sync + Debug {
    /// The addresses of a host.
    fn addresses<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>>;

    /// The SRV records of a name; none where there are none, and where that cannot be told.
    fn srv<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Vec<SrvTarget>>;
}

/// Asks the operating system for addresses, so that `/etc/hosts` counts, and its name servers for SRV records.
pub struct SystemResolver {
    dns: Option<TokioResolver>,
}

impl Debug for SystemResolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SystemResolver").field("srv", &self.dns.is_some()).finish()
    }
}

impl SystemResolver {
    /// With SRV records or without. Also without where the system names no name servers.
    pub fn new(srv: bool) -> Self {
        let build = || {
            let mut builder = TokioResolver::builder_tokio().ok()?;
            let options = builder.options_mut();
            options.timeout = SRV_TIMEOUT;
            options.attempts = 1;
            builder.build().ok()
        };
        Self { dns: srv.then(build).flatten() }
    }
}

impl Resolver for SystemResolver {
    fn addresses<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) }.boxed()
    }

    fn srv<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Vec<SrvTarget>> {
        async move {
            let Some(dns) = &self.dns else { return Vec::new() };
            // With the dot at its end the name is whole: no search domains are tried.
            let lookup = tokio::time::timeout(SRV_TIMEOUT, dns.srv_lookup(format!("{name}."))).await;
            let Ok(Ok(found)) = lookup else { return Vec::new() };
            let records = found.answers().iter().filter_map(|record| match &record.data {
                RData::SRV(srv) => Some(SrvTarget {
                    priority: srv.priority,
                    weight: srv.weight,
                    host: srv.target.to_utf8().trim_end_matches('.').to_owned(),
                    port: srv.port,
                }),
                _ => None,
            });
            records.collect()
        }
        .boxed()
    }
}

/// Targets in the order in which they are tried; `random` gives a number below the one it is given.
/// [RFC 2782](https://www.rfc-editor.org/rfc/rfc2782).
pub(super) fn in_order(mut targets: Vec<SrvTarget>, mut random: impl FnMut(u32) -> u32) -> Vec<SrvTarget> {
    // A root target says that there is no such service.
    targets.retain(|target| !target.host.is_empty());
    targets.sort_by_key(|target| (target.priority, target.weight));
    let mut ordered = Vec::with_capacity(targets.len());
    while let Some(priority) = targets.first().map(|target| target.priority) {
        let group = targets.iter().take_while(|target| target.priority == priority);
        let total: u32 = group.map(|target| u32::from(target.weight)).sum();
        let drawn = random(total + 1);
        let mut sum = 0;
        let chosen = targets.iter().position(|target| {
            sum += u32::from(target.weight);
            sum >= drawn
        });
        ordered.push(targets.remove(chosen.unwrap_or(0)));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_tried_by_priority_and_drawn_by_weight() {
        let target = |priority, weight, host: &str| SrvTarget { priority, weight, host: host.to_owned(), port: 1 };
        let targets = vec![target(20, 0, "last"), target(10, 90, "often"), target(10, 10, "seldom"), target(5, 0, "")];
        let hosts = |draw: u32| -> Vec<String> {
            in_order(targets.clone(), |below| draw.min(below - 1)).into_iter().map(|target| target.host).collect()
        };
        assert_eq!(hosts(10), ["seldom", "often", "last"]);
        assert_eq!(hosts(11), ["often", "seldom", "last"]);
        assert_eq!(hosts(1000), ["often", "seldom", "last"]);
    }
}
