//! A network namespace for one runtime: its cable can be pulled, and the kernels on both sides see what they see in a partition.
//!
//! Needs root and iproute2, so only long runs ask for it; elsewhere a `Wire` is cut.

use std::process::Command;

use uuid::Uuid;

/// A namespace, and the pair of interfaces that leads into it. Both are removed when it is dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    cable: String,
    here: String,
}

impl Namespace {
    /// Makes it, with an address on both sides that nothing else has.
    #[expect(clippy::new_without_default, reason = "it changes the machine")]
    pub fn new() -> Namespace {
        let id = Uuid::now_v7();
        // Its end is random.
        let [.., a, b, c, d] = *id.as_bytes();
        let name = format!("avouch-{a:02x}{b:02x}{c:02x}{d:02x}");
        let cable = format!("av{a:02x}{b:02x}{c:02x}{d:02x}");
        let (here, there) = (format!("10.213.{a}.{}", b & 0xfc | 1), format!("10.213.{a}.{}", b & 0xfc | 2));
        ip(&["netns", "add", &name]);
        let namespace = Namespace { name, cable, here };
        let (name, cable) = (namespace.name.as_str(), namespace.cable.as_str());
        ip(&["link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name]);
        ip(&["addr", "add", &format!("{}/30", namespace.here), "dev", cable]);
        ip(&["link", "set", cable, "up"]);
        ip(&["-n", name, "addr", "add", &format!("{there}/30"), "dev", "eth0"]);
        ip(&["-n", name, "link", "set", "eth0", "up"]);
        ip(&["-n", name, "link", "set", "lo", "up"]);
        namespace
    }

    /// For `ip netns exec`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address of this side, as the namespace sees it.
    pub fn here(&self) -> &str {
        &self.here
    }

    /// Pulls the cable: packets are dropped, and nobody is told.
    pub fn cut(&self) {
        ip(&["link", "set", &self.cable, "down"]);
    }

    /// Puts it back.
    pub fn mend(&self) {
        ip(&["link", "set", &self.cable, "up"]);
    }
}

impl Drop for Namespace {
    /// The interfaces go with it.
    fn drop(&mut self) {
        if let Err(why) = try_ip(&["netns", "del", &self.name]) {
            eprintln!("{why}");
        }
    }
}

fn ip(args: &[&str]) {
    try_ip(args).unwrap_or_else(|why| panic!("{why}: namespaces need root and iproute2"));
}

fn try_ip(args: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(args).output().map_err(|e| format!("cannot run ip: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("ip {}: {}", args.join(" "), said.trim())) }
}
