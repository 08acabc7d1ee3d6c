//! Which addresses a connection may reach.
//!
//! A name in a file, or a DNS server that somebody else runs, must not turn a sink into a way into
//! the network that Passerelle stands in (SSRF). So names are resolved here, addresses that are not
//! of the public internet are taken out, and the connection is made to what is left: nothing
//! resolves the name a second time. `allow_private: true` on a connection opens it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The networks that are not the public internet, as the IANA special-purpose address registries
/// list them (RFC 6890 and its updates), each with its prefix length.
const V4: [(Ipv4Addr, u32, &str); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, "of this host"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "behind a carrier's NAT"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "reserved"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "for documentation"),
    (Ipv4Addr::new(192, 31, 196, 0), 24, "reserved"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "a 6to4 relay"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "for benchmarks"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "for documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "for documentation"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved"),
];

/// As [`V4`]. Ranges that carry an IPv4 address (NAT64, 6to4, Teredo) are refused whole: they would
/// be a way around that list.
const V6: [(Ipv6Addr, u32, &str); 14] = [
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 0), 96, "loopback or unspecified"),
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96, "NAT64"),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, "NAT64"),
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64, "for discarding"),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, "Teredo"),
    (Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0), 48, "for benchmarks"),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, "for documentation"),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "6to4"),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, "for documentation"),
    (Ipv6Addr::new(0x5f00, 0, 0, 0, 0, 0, 0, 0), 16, "a segment routing id"),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, "private"),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, "link-local"),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, "site-local"),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, "multicast"),
];

/// What kind of network an address belongs to, when it is not the public internet.
pub(super) fn reserved(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        IpAddr::V4(v4) => V4.iter().find_map(|(network, length, kind)| {
            ((v4.to_bits() ^ network.to_bits()) >> (32 - length) == 0).then_some(*kind)
        }),
        IpAddr::V6(v6) => V6.iter().find_map(|(network, length, kind)| {
            ((v6.to_bits() ^ network.to_bits()) >> (128 - length) == 0).then_some(*kind)
        }),
    }
}

/// A name that resolves to nothing that may be reached.
#[derive(Debug)]
pub(super) struct Refused {
    name: String,
    address: IpAddr,
    kind: &'static str,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, address, kind } = self;
        write!(f, "`{name}` resolves to {address}, which is {kind}")
    }
}

impl std::error::Error for Refused {}

/// Resolves names with the system's resolver and keeps the public addresses.
#[derive(Debug)]
pub(super) struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(Box::new(keep_public(name.as_str(), found)?.into_iter()) as Addrs)
        })
    }
}

/// The addresses of a name that are public.
///
/// # Errors
/// There are others only.
pub(super) fn keep_public(
    name: &str,
    found: impl Iterator<Item = SocketAddr>,
) -> Result<Vec<SocketAddr>, Refused> {
    let mut refused = None;
    let mut public = Vec::new();
    for address in found {
        match reserved(address.ip()) {
            None => public.push(address),
            Some(kind) => {
                refused = Some(Refused { name: name.to_owned(), address: address.ip(), kind });
            }
        }
    }
    match refused {
        Some(refused) if public.is_empty() => Err(refused),
        _ => Ok(public),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(address: &str) -> Option<&'static str> {
        reserved(address.parse().unwrap())
    }

    #[test]
    fn private_addresses_are_refused_in_every_form() {
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.168.1.1",
            "198.19.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:a00:1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "5f00::1",
            "2001:db8::1",
        ] {
            assert!(kind(address).is_some(), "{address} should be refused");
        }
    }

    #[test]
    fn public_addresses_pass_up_to_the_edges_of_the_reserved_ones() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.1.1.1",
            "172.15.255.255",
            "172.32.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450:4001::1",
            "::ffff:1.1.1.1",
        ] {
            assert_eq!(kind(address), None, "{address} should pass");
        }
    }

    #[test]
    fn a_name_with_both_kinds_is_reached_at_its_public_addresses_only() {
        let at = |text: &str| SocketAddr::new(text.parse().unwrap(), 0);
        let both = [at("10.0.0.1"), at("1.1.1.1")];
        assert_eq!(keep_public("a.example", both.into_iter()).unwrap(), [at("1.1.1.1")]);
        let private = keep_public("a.example", [at("10.0.0.1")].into_iter()).unwrap_err();
        assert_eq!(private.to_string(), "`a.example` resolves to 10.0.0.1, which is private");
    }
}
