//! Who is at the other end of the connection.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use http::{Extensions, HeaderMap};

/// The address of the client, set as a request extension by the server's accept loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientIp(pub IpAddr);

impl ClientIp {
    /// The address that the request's extensions carry: a [`ClientIp`], else axum's `ConnectInfo<SocketAddr>`.
    pub fn of(extensions: &Extensions) -> Option<IpAddr> {
        extensions
            .get::<Self>()
            .map(|ip| ip.0)
            .or_else(|| extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip()))
    }
}

/// The reverse proxies whose `X-Forwarded-For` is believed.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<(IpAddr, u8)>);

impl TrustedProxies {
    /// Parses addresses (`10.0.0.7`) and networks (`10.0.0.0/8`, `fd00::/8`). The first bad one is the error.
    pub fn parse<'a>(networks: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        networks
            .into_iter()
            .map(|text| parse_network(text).ok_or_else(|| text.to_owned()))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The client's address: the peer itself, or, where the peer is a trusted proxy, the rightmost address of
    /// `X-Forwarded-For` that is not one.
    pub fn client_ip(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if self.0.is_empty() {
            return client;
        }
        let hops: Vec<&str> = headers
            .get_all("x-forwarded-for")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .collect();
        for hop in hops.into_iter().rev() {
            if !self.contains(client) {
                break;
            }
            let Ok(next) = hop.trim().parse::<IpAddr>() else {
                break;
            };
            client = next.to_canonical();
        }
        client
    }

    /// Whether an address is that of a trusted proxy.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|(network, bits)| prefix(*network, *bits) == prefix(ip, *bits))
    }
}

fn parse_network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let ip = address.trim().parse::<IpAddr>().ok()?;
    let longest = if ip.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(longest);
    (bits <= longest).then_some((ip, bits))
}

/// The first `bits` of an address, with its family.
fn prefix(ip: IpAddr, bits: u8) -> (bool, u128) {
    match ip {
        IpAddr::V4(ip) => {
            (true, u128::from(u32::from(ip).checked_shr(32_u32.saturating_sub(bits.into())).unwrap_or(0)))
        }
        IpAddr::V6(ip) => (false, u128::from(ip).checked_shr(128_u32.saturating_sub(bits.into())).unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn client(trusted: &[&str], peer: &str, forwarded: &'static str) -> String {
        let headers = HeaderMap::from_iter([(
            http::HeaderName::from_static("x-forwarded-for"),
            HeaderValue::from_static(forwarded),
        )]);
        let proxies = TrustedProxies::parse(trusted.iter().copied()).unwrap();
        proxies.client_ip(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(client(&[], "10.0.0.1", "1.2.3.4"), "10.0.0.1");
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", "1.2.3.4"), "1.2.3.4");
        assert_eq!(client(&["10.0.0.0/8"], "11.0.0.1", "1.2.3.4"), "11.0.0.1");
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", "6.6.6.6, 1.2.3.4, 10.9.9.9"), "1.2.3.4");
        assert_eq!(client(&["10.0.0.1"], "::ffff:10.0.0.1", "fd00::1"), "fd00::1");
        assert_eq!(client(&["10.0.0.1"], "10.0.0.1", "garbage"), "10.0.0.1");
        assert_eq!(client(&["0.0.0.0/0"], "10.0.0.1", "9.9.9.9"), "9.9.9.9");
    }

    #[test]
    fn bad_networks_are_named() {
        for bad in ["x", "10.0.0.0/33", "::/129", "10.0.0.0/-1"] {
            assert_eq!(TrustedProxies::parse([bad]).unwrap_err(), bad);
        }
    }
}
