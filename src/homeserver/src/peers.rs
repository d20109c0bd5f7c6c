//! How many connections each address has open.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use http_kit::{LimitKey, TrustedProxies};
use parking_lot::Mutex;
use tracing::warn;

/// Connections of one address (of IPv6: of one /64) at a time, on all listeners together. Far more than the people behind one router
/// open, and few enough that no address alone takes the places of all others.
pub const PER_ADDRESS: usize = 1000;

/// Counts connections by address. In memory there is a number for each address that is connected.
#[derive(Debug, Default)]
pub struct Peers(Mutex<HashMap<LimitKey, usize>>);

/// One connection among those of its address, until it goes out of scope.
#[derive(Debug)]
pub struct Place {
    peers: Arc<Peers>,
    /// None for who is not counted.
    key: Option<LimitKey>,
}

impl Peers {
    /// A place for a connection of an address; `None` where that has enough. Behind a trusted proxy there are many people, and this
    /// machine itself is trusted: neither is counted.
    pub fn enter(self: &Arc<Self>, peer: IpAddr, proxies: &TrustedProxies) -> Option<Place> {
        let peer = peer.to_canonical();
        let key = (!peer.is_loopback() && !proxies.contains(peer)).then(|| LimitKey::ip(peer));
        if let Some(key) = &key {
            let mut open = self.0.lock();
            let count = open.entry(key.clone()).or_default();
            if *count >= PER_ADDRESS {
                return None;
            }
            *count += 1;
            if *count == PER_ADDRESS {
                warn!(%peer, "an address has as many connections as one may have: a proxy is to be named in trusted_proxies");
            }
        }
        Some(Place { peers: Arc::clone(self), key })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(key) = &self.key else { return };
        let mut open = self.peers.0.lock();
        if let Some(count) = open.get_mut(key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let (peers, none) = (Arc::new(Peers::default()), TrustedProxies::default());
        let enter = |address: &str| peers.enter(address.parse().unwrap(), &none);
        let mut places: Vec<Place> = (0..PER_ADDRESS).map(|_| enter("192.0.2.1").unwrap()).collect();
        assert!(enter("192.0.2.1").is_none() && enter("::ffff:192.0.2.1").is_none());
        assert!(enter("192.0.2.2").is_some());
        places.pop();
        places.push(enter("192.0.2.1").unwrap());
        assert!(enter("192.0.2.1").is_none());
        places.clear();
        assert!(peers.0.lock().is_empty());
    }

    #[test]
    fn addresses_of_one_subscriber_count_together() {
        let (peers, none) = (Arc::new(Peers::default()), TrustedProxies::default());
        let address = |n: usize| format!("2001:db8::{n:x}").parse().unwrap();
        let places: Vec<Place> = (0..PER_ADDRESS).map(|n| peers.enter(address(n), &none).unwrap()).collect();
        assert!(peers.enter(address(PER_ADDRESS), &none).is_none());
        assert!(peers.enter("2001:db8:0:1::1".parse().unwrap(), &none).is_some());
        drop(places);
    }

    #[test]
    fn proxies_and_this_machine_are_not_counted() {
        let (peers, proxies) = (Arc::new(Peers::default()), TrustedProxies::parse(["10.0.0.0/8"]).unwrap());
        for address in ["10.1.2.3", "127.0.0.5", "::1"] {
            let places: Vec<_> = (0..=PER_ADDRESS).map(|_| peers.enter(address.parse().unwrap(), &proxies)).collect();
            assert!(places.iter().all(Option::is_some), "{address}");
        }
    }
}
