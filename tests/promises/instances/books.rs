//! Who owned which shard when, and who marked what: kept by triggers, so that nothing happens between two looks.

use std::collections::HashMap;

use async_nats::Subscriber;
use futures_util::{FutureExt, StreamExt};
use tokio_postgres::Client;

use crate::ground::Ground;

/// One sequence numbers both: a mark holds its shard's row while it is noted, and so does a change of owner.
const KEEP: &str = "
create sequence public.noted;
create table public.owners (
  n bigint default nextval('public.noted'), shard int, old_owner uuid, new_owner uuid, new_name text,
  old_epoch bigint, epoch bigint, old_lease timestamptz, at timestamptz default clock_timestamp());
create table public.marks (n bigint default nextval('public.noted'), shard int, id uuid, app text);
create function public.note_owner() returns trigger language plpgsql as $$ begin
  insert into public.owners (shard, old_owner, new_owner, new_name, old_epoch, epoch, old_lease)
  select new.shard, old.owner, new.owner, (select name from avouch.instance where id = new.owner), old.epoch, new.epoch,
         (select lease_until from avouch.instance where id = old.owner);
  return null; end $$;
create function public.note_mark() returns trigger language plpgsql as $$ begin
  insert into public.marks (shard, id, app) values (new.shard, new.id, current_setting('application_name'));
  return null; end $$;
create trigger note_owner after update on avouch.shard for each row execute function public.note_owner();
create trigger note_mark after update on avouch.outbox for each row
  when (new.state = 'sent' and old.state <> 'sent') execute function public.note_mark();
";

/// Each counts what must not be.
const RULES: &[(&str, &str)] = &[
    ("marked twice", "select count(*) from (select id from public.marks group by id having count(*) > 1) m"),
    (
        "marked by somebody else than the owner",
        "select count(*) from public.marks m cross join lateral \
           (select new_name from public.owners o where o.shard = m.shard and o.n < m.n order by o.n desc limit 1) o \
         where m.app is distinct from 'avouch ' || o.new_name",
    ),
    (
        "not marked, or never owned",
        "select count(*) from avouch.outbox o left join public.marks m on m.id = o.id where m.id is null",
    ),
    ("changed hands without a new epoch", "select count(*) from public.owners where epoch <> old_epoch + 1"),
    (
        "taken from an owner whose lease had not run out",
        "select count(*) from public.owners where new_owner is not null and old_owner is not null and old_lease > at",
    ),
    (
        "sent out of order",
        "select count(*) from (select stream_seq - lag(stream_seq) over (partition by key order by seq) as step \
         from avouch.outbox where state = 'sent') s where step <= 0",
    ),
];

/// Begins to keep them.
pub async fn keep(client: &Client) {
    client.batch_execute(KEEP).await.expect("is valid");
}

/// Everything is in the stream, in order, and was marked once, by whoever owned it then.
pub async fn balance(ground: &Ground) {
    ground.balance().await;
    for (what, rule) in RULES {
        let broken: i64 = ground.client.query_one(*rule, &[]).await.expect("is valid").get(0);
        assert_eq!(broken, 0, "{what}");
    }
}

/// Everything that is published, duplicates that the broker suppresses included.
pub struct Published(Subscriber);

impl Published {
    pub async fn listen(ground: &Ground) -> Self {
        let client = async_nats::ConnectOptions::new().subscription_capacity(1 << 20).connect(&ground.nats_url).await;
        let client = client.expect("the server runs");
        let heard = client.subscribe(ground.names.subjects()).await.expect("the server runs");
        client.flush().await.expect("the server runs");
        Self(heard)
    }

    /// How often each message was published. What the stream holds was heard before this is asked: it went the same way.
    pub fn counts(&mut self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        while let Some(Some(message)) = self.0.next().now_or_never() {
            let id = message.headers.as_ref().and_then(|h| h.get("Nats-Msg-Id")).expect("every message of ours has it");
            *counts.entry(id.to_string()).or_default() += 1;
        }
        counts
    }
}
