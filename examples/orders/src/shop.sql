-- The shop's own tables, beside the outbox in the same database. They belong to the order service, whose only other
-- right is to be an avouch_producer.
create role order_service login in role avouch_producer;
create role order_checker login;
create schema shop authorization order_service;
set role order_service;

create table shop.orders (
  id     bigint generated always as identity primary key,
  status text not null default 'created'
         constraint orders_status_known check (status in ('created', 'paying', 'paid', 'shipped')),
  step   int not null default 1,   -- how many messages of its own the order has had
  held   boolean not null default false  -- its half message is not decided yet: nothing may overtake it
);
create index orders_unfinished on shop.orders (id) where status in ('created', 'paid');

-- What the shop swears it did: a row for each message, written in the transaction that the message belongs to.
create table shop.history (
  message_id uuid primary key,
  key        text not null,
  step       int not null,         -- counts up within the key
  topic      text not null
);

-- One row for each committed transaction.
create table shop.transactions (attempt bigint primary key);

-- Sequences do not roll back, so they count what tables cannot: transactions begun, and rolled back on purpose.
create sequence shop.attempts;
create sequence shop.rollbacks;

-- The invoicing service is another one, with a role of its own: an avouch_consumer, for avouch.inbox_once. Nothing here keeps it
-- from writing an invoice twice: the demo counts.
reset role;
create role invoicing login in role avouch_consumer;
set role order_service;
create table shop.invoices (order_id text not null);
create sequence shop.invoices_again;    -- deliveries of what was invoiced before
grant usage on schema shop to invoicing;
grant insert on shop.invoices to invoicing;
grant usage on sequence shop.invoices_again to invoicing;

-- The plugin that judges half messages whose producer has died reads this and nothing else.
grant usage on schema shop to order_checker;
grant select on shop.orders to order_checker;

reset role;
