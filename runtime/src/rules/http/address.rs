//! Where an origin's name may lead: to the public, to private networks if the binding says so, never to a cloud's metadata.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The operator chose the name; who answers for it in the DNS may be somebody else.
pub struct Careful {
    pub private: bool,
}

/// All addresses of a name are of a private network, and the binding does not say that this is meant.
#[derive(Debug, thiserror::Error)]
#[error("its name has addresses of private networks only")]
pub struct PrivateOnly;

impl Resolve for Careful {
    fn resolve(&self, name: Name) -> Resolving {
        let private = self.private;
        Box::pin(async move {
            let mut found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            found.retain(|a| zone(a.ip()) != Zone::Never);
            if found.is_empty() {
                return Err(format!("{} has no address that may be used", name.as_str()).into());
            }
            found.retain(|a| private || zone(a.ip()) == Zone::Public);
            match found.is_empty() {
                true => Err(PrivateOnly.into()),
                false => Ok(Box::new(found.into_iter()) as Addrs),
            }
        })
    }
}

/// The host of a URL is an address that is nobody's service.
pub fn is_never_asked(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse();
    address.is_ok_and(|ip| zone(ip) == Zone::Never)
}

/// Where an address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Zone {
    Public,
    /// This machine, this house.
    Private,
    /// To nobody's service, or to the metadata of a cloud's instance and so to its credentials.
    Never,
}

/// Those of the clouds that are not link-local.
const METADATA: &[IpAddr] = &[
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

fn zone(ip: IpAddr) -> Zone {
    match ip.to_canonical() {
        ip if METADATA.contains(&ip) => Zone::Never,
        IpAddr::V4(v4) => match v4.octets() {
            [0, ..] | [169, 254, ..] | [224..=255, ..] => Zone::Never,
            [10 | 127, ..] | [192, 168, ..] | [172, 16..=31, ..] | [100, 64..=127, ..] | [198, 18 | 19, ..] => {
                Zone::Private
            }
            [192, 0, 0, _] => Zone::Private,
            _ => Zone::Public,
        },
        IpAddr::V6(v6) => match v6.segments() {
            [0, 0, 0, 0, 0, 0, 0, 0] | [0xfe80..=0xfebf, ..] | [0xff00..=0xffff, ..] => Zone::Never,
            [0, 0, 0, 0, 0, 0, 0, 1] | [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Zone::Private,
            // An IPv4 address in other clothes: compatible, translated, 6to4.
            [0, 0, 0, 0, 0, 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
                zone(IpAddr::V4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))))
            }
            _ => Zone::Public,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_addresses_are_never_connected_to() {
        let never = "169.254.169.254 ::ffff:169.254.169.254 64:ff9b::a9fe:a9fe fe80::1 0.0.0.0 :: 100.100.100.200 fd00:ec2::254";
        for ip in never.split(' ') {
            assert_eq!(zone(ip.parse().expect("is an address")), Zone::Never, "{ip}");
        }
    }

    #[test]
    fn addresses_of_private_networks_are_known() {
        let private = "127.0.0.1 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 ::1 fd12::1 ::ffff:10.0.0.1 2002:7f00:1::";
        for ip in private.split(' ') {
            assert_eq!(zone(ip.parse().expect("is an address")), Zone::Private, "{ip}");
        }
        for ip in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8"] {
            assert_eq!(zone(ip.parse().expect("is an address")), Zone::Public, "{ip}");
        }
    }
}
