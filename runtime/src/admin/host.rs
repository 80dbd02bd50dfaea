//! What this server is called, and which pages are its own: against names that lead here from elsewhere, and foreign pages.

use std::net::{IpAddr, SocketAddr};

use axum::http::Uri;
use axum::http::uri::Authority;

/// Its names.
#[derive(Clone, Debug)]
pub struct Site {
    /// Whether browsers come by HTTPS: to this process, or to a proxy before it.
    pub is_https: bool,
    has_tls: bool,
    public: Option<Public>,
}

#[derive(Clone, Debug)]
struct Public {
    host: String,
    origin: String,
}

impl Site {
    /// `public_url` is what browsers call it, if that differs from where it listens.
    pub fn new(public_url: Option<&str>, has_tls: bool) -> Result<Self, String> {
        let public = public_url.map(Public::read).transpose()?;
        let is_https = public.as_ref().map_or(has_tls, |public| public.origin.starts_with("https:"));
        Ok(Self { is_https, has_tls, public })
    }

    /// What browsers call it, without a slash at the end.
    pub fn address(&self, listen: SocketAddr) -> String {
        let scheme = self.scheme();
        self.public.as_ref().map_or_else(|| format!("{scheme}://{listen}"), |public| public.origin.clone())
    }

    /// Whether a request for this host is meant for this server: an address of loopback or of the connection itself, `localhost`,
    /// or the public name. Any other name was made to lead here by somebody whose pages are not ours.
    pub fn knows(&self, host: &str, local: IpAddr) -> bool {
        let Some(name) = name_of(host) else {
            return false;
        };
        let is_of_connection = ip_of(&name).is_some_and(|ip| ip == local.to_canonical());
        is_loopback(&name) || is_of_connection || self.is_public(&name)
    }

    /// Whether only this machine is told to come here: it has no public name, or one of loopback.
    pub fn is_local(&self) -> bool {
        self.public.as_ref().is_none_or(|public| is_loopback(&public.host))
    }

    /// Whether a page of this origin is ours, given the host that it has called.
    pub fn owns(&self, origin: &str, host: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        let is_public = self.public.as_ref().is_some_and(|public| public.origin == origin);
        is_public || origin == format!("{}://{}", self.scheme(), host.to_ascii_lowercase())
    }

    fn scheme(&self) -> &'static str {
        if self.has_tls { "https" } else { "http" }
    }

    fn is_public(&self, name: &str) -> bool {
        self.public.as_ref().is_some_and(|public| public.host == name)
    }
}

impl Public {
    fn read(url: &str) -> Result<Self, String> {
        let unreadable = || "admin.public_url: write https://host, or http://host:port, without a path".to_owned();
        let uri: Uri = url.trim_end_matches('/').parse().map_err(|_| unreadable())?;
        let (scheme, authority) = (uri.scheme_str().ok_or_else(unreadable)?, uri.authority().ok_or_else(unreadable)?);
        let default_port = match scheme {
            "https" => 443,
            "http" => 80,
            _ => return Err(unreadable()),
        };
        let host = name_of(authority.as_str()).ok_or_else(unreadable)?;
        if uri.path() != "/" || uri.query().is_some() {
            return Err(unreadable());
        }
        let port = authority.port_u16().filter(|port| *port != default_port).map(|port| format!(":{port}"));
        Ok(Self { origin: format!("{scheme}://{host}{}", port.unwrap_or_default()), host })
    }
}

fn is_loopback(name: &str) -> bool {
    name == "localhost" || ip_of(name).is_some_and(|ip| ip.is_loopback())
}

fn ip_of(name: &str) -> Option<IpAddr> {
    let ip: IpAddr = name.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
    Some(ip.to_canonical())
}

/// The name without its port, in lower case.
fn name_of(host: &str) -> Option<String> {
    let authority: Authority = host.parse().ok()?;
    let is_plain = !host.contains('@') && !authority.host().is_empty();
    is_plain.then(|| authority.host().to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 2, 3));

    #[test]
    fn only_its_own_names_are_known() {
        let site = Site::new(Some("https://Avouch.example/"), false).expect("is a URL");
        for host in ["localhost", "LOCALHOST:9180", "127.0.0.1:9180", "[::1]:1", "10.1.2.3:9180", "avouch.example"] {
            assert!(site.knows(host, LOCAL), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "10.1.2.4",
            "avouch.example@evil.example",
            "a b",
            "localhost.",
        ] {
            assert!(!site.knows(host, LOCAL), "{host}");
        }
        assert!(!Site::new(None, false).expect("needs none").knows("avouch.example", LOCAL));
    }

    #[test]
    fn only_its_own_pages_are_its_own() {
        let site = Site::new(Some("https://avouch.example:443"), false).expect("is a URL");
        assert!(site.is_https);
        assert!(site.owns("https://avouch.example", "10.1.2.3:9180"), "a proxy may change the host");
        assert!(site.owns("http://127.0.0.1:9180", "127.0.0.1:9180"));
        for (origin, host) in [
            ("null", "127.0.0.1:9180"),
            ("", ""),
            ("http://127.0.0.1:9181", "127.0.0.1:9180"),
            ("https://127.0.0.1:9180", "127.0.0.1:9180"),
            ("http://avouch.example", "10.1.2.3"),
            ("https://avouch.example.evil.example", "avouch.example"),
        ] {
            assert!(!site.owns(origin, host), "{origin} {host}");
        }
    }

    #[test]
    fn public_url_is_a_scheme_and_a_host() {
        for wrong in ["", "avouch", "ftp://x", "https://", "https://x/console", "https://u@x", "https://x?y"] {
            assert!(Site::new(Some(wrong), false).is_err_and(|text| text.contains("public_url")), "{wrong}");
        }
    }
}
