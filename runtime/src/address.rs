//! Where a name may lead that others chose: to the public, to private networks that are allowed, never to a cloud's metadata.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Which private networks may be reached.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    everything: bool,
    nets: Vec<IpNet>,
    /// In lower case; `*.` stands for any names below.
    names: Vec<String>,
}

impl Allowed {
    /// All of them.
    pub fn everything() -> Self {
        Self { everything: true, ..Self::default() }
    }

    /// `10.1.0.0/16`, `192.168.7.9`, `partner.internal`, `*.partner.internal`.
    pub fn parse(entries: &[String]) -> Result<Self, String> {
        let mut allowed = Self::default();
        for entry in entries {
            let is_name = |text: &str| {
                !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
            };
            if let Ok(net) = entry.parse::<IpNet>() {
                allowed.nets.push(net);
            } else if let Ok(ip) = entry.parse::<IpAddr>() {
                allowed.nets.push(ip.into());
            } else if is_name(entry.strip_prefix("*.").unwrap_or(entry)) {
                allowed.names.push(entry.to_ascii_lowercase());
            } else {
                return Err(format!("{entry:?} is no network (10.1.0.0/16), address or host name"));
            }
        }
        Ok(allowed)
    }

    /// True if a connection may be made to this address, which that name has, or is.
    pub fn may_reach(&self, name: &str, ip: IpAddr) -> bool {
        match zone(ip) {
            Zone::Public => true,
            Zone::Never => false,
            Zone::Private => {
                self.everything || self.has(name) || self.nets.iter().any(|net| net.contains(&ip.to_canonical()))
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        self.names.iter().any(|known| match known.strip_prefix('*') {
            Some(ending) => name.len() > ending.len() && name.ends_with(ending),
            None => *known == name,
        })
    }
}

/// Who answers for a name in the DNS may be somebody else than whoever chose it.
pub struct Careful {
    /// Where it may lead beside the public.
    pub allowed: Allowed,
}

/// All addresses of a name are of a private network that is not allowed.
#[derive(Debug, thiserror::Error)]
#[error("its name has addresses of private networks only")]
pub struct PrivateOnly;

impl Resolve for Careful {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = self.allowed.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            Ok(Box::new(usable(name.as_str(), found, &allowed)?.into_iter()) as Addrs)
        })
    }
}

/// Those of a name's addresses that a connection may be made to. It is made to them: nobody asks the DNS a second time.
fn usable(
    name: &str,
    mut found: Vec<SocketAddr>,
    allowed: &Allowed,
) -> Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
    found.retain(|a| zone(a.ip()) != Zone::Never);
    if found.is_empty() {
        return Err(format!("{name} has no address that may be used").into());
    }
    found.retain(|a| allowed.may_reach(name, a.ip()));
    if found.is_empty() { Err(PrivateOnly.into()) } else { Ok(found) }
}

/// The address that the host of a URL is, if it is not a name: the resolver never sees it.
pub fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// The host of a URL is an address that is nobody's service.
pub fn is_never_asked(host: &str) -> bool {
    literal(host).is_some_and(|ip| zone(ip) == Zone::Never)
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
            // Teredo hides an IPv4 address, and nobody offers a service there.
            [0x2001, 0, ..] => Zone::Never,
            [0, 0, 0, 0, 0, 0, 0, 1] | [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] | [0x64, 0xff9b, 1, ..] => {
                Zone::Private
            }
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
        let never = "169.254.169.254 ::ffff:169.254.169.254 64:ff9b::a9fe:a9fe fe80::1 0.0.0.0 :: 100.100.100.200 fd00:ec2::254 2001::1";
        for ip in never.split(' ') {
            let ip = ip.parse().expect("is an address");
            assert_eq!(zone(ip), Zone::Never, "{ip}");
            assert!(!Allowed::everything().may_reach("x", ip), "{ip}");
        }
    }

    #[test]
    fn addresses_of_private_networks_are_known() {
        let private = "127.0.0.1 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 ::1 fd12::1 ::ffff:10.0.0.1 2002:7f00:1:: 64:ff9b:1::1";
        for ip in private.split(' ') {
            let ip = ip.parse().expect("is an address");
            assert_eq!(zone(ip), Zone::Private, "{ip}");
            assert!(!Allowed::default().may_reach("x", ip) && Allowed::everything().may_reach("x", ip), "{ip}");
        }
        for ip in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8"] {
            assert_eq!(zone(ip.parse().expect("is an address")), Zone::Public, "{ip}");
        }
    }

    /// A name server that says one thing to whoever checks and another to whoever connects, or both at once.
    #[test]
    fn name_that_changes_its_mind_leads_to_public_addresses_alone() {
        let at = |ips: &[&str]| {
            let found = ips.iter().map(|ip| SocketAddr::new(ip.parse().expect("is an address"), 0)).collect();
            usable("rebind.test", found, &Allowed::default()).map(|a| a.iter().map(|a| a.ip().to_string()).collect())
        };
        let ok = |ips: &[&str]| -> Option<Vec<String>> { at(ips).ok() };
        assert_eq!(ok(&["93.184.216.34"]), Some(vec!["93.184.216.34".to_owned()]));
        for led in [&["127.0.0.1"][..], &["10.0.0.1", "::1"], &["169.254.169.254"], &["::ffff:127.0.0.1"], &[]] {
            assert_eq!(ok(led), None, "{led:?}");
        }
        assert_eq!(ok(&["127.0.0.1", "93.184.216.34", "fe80::1"]), Some(vec!["93.184.216.34".to_owned()]));
    }

    #[test]
    fn private_network_is_reached_where_it_or_the_name_is_allowed() {
        let entries = ["10.1.0.0/16", "192.168.7.9", "Partner.Internal", "*.shop.internal"].map(str::to_owned);
        let allowed = Allowed::parse(&entries).expect("is valid");
        let may = |name: &str, ip: &str| allowed.may_reach(name, ip.parse().expect("is an address"));
        assert!(may("x", "10.1.2.3") && may("x", "::ffff:10.1.2.3") && may("x", "192.168.7.9"));
        assert!(!may("x", "10.2.0.1") && !may("x", "192.168.7.8") && !may("x", "127.0.0.1"));
        assert!(may("partner.internal.", "127.0.0.1") && may("a.shop.internal", "::1"));
        assert!(
            !may("shop.internal", "::1")
                && !may("evilshop.internal", "::1")
                && !may("partner.internal", "169.254.169.254")
        );
        for wrong in ["", "10.1.0.0/33", "a b", "*", "http://x"] {
            assert!(Allowed::parse(&[wrong.to_owned()]).is_err(), "{wrong}");
        }
    }
}
