//! The configuration that the demo writes, for `avouch run` and whoever looks on.

use avouch_runtime::dev::Servers;

use crate::provider::Provider;
use crate::{consumer, invoices, parcels};

/// The consumers, whose durables the runtime makes.
pub const CONSUMERS: [&str; 3] = [consumer::NAME, invoices::NAME, parcels::NAME];

/// As a file.
pub fn text(servers: &Servers, provider: &Provider) -> String {
    let (runtime, nats, address) = (servers.runtime_url(), servers.nats_url(), provider.address);
    let checker = servers.database_url().replacen("postgres@", "order_checker@", 1);
    let [audit, invoices, parcels] = CONSUMERS;
    format!(
        r#"# Written by the demo, for `avouch run` and `avouch status`.
[source.main]
url = "{runtime}"

[nats]
url = "{nats}"

[log]
form = "human"

# What the plugins are granted, and that their word counts at once.
[binding.sql.orders]
url = "{checker}"

[binding.http.payments]
origin = "http://{address}"

[checker.order-check]
rollback_after_ms = 0

[checker.payment-http-check]
rollback_after_ms = 0

[checkback]
in_progress_ms = 500

# A message is consumed once all that take its topic have finished it. Short waits, so that much happens in little time.
# What the broker has settled without a receipt that anybody saw is sent again after the deadline.
[consumer.{audit}]
topics = ["orders.>"]
receipt = "ack"
ack_wait_ms = 2000
deadline_ms = 3000

[consumer.{invoices}]
topics = ["orders.paid"]
receipt = "inbox"
ack_wait_ms = 500

[consumer.{parcels}]
topics = ["orders.shipped"]
receipt = "inbox"
ack_wait_ms = 500
lease_ms = 1000

[receipts]
every_ms = 200
grace_ms = 2000
"#
    )
}
