-- The order service's own tables, beside its outbox in the same database.
create table wallets (
  customer text primary key,
  balance  bigint not null constraint balance_suffices check (balance >= 0)
);
create table orders (
  id       uuid primary key,
  customer text not null references wallets,
  item     text not null,
  quantity int not null check (quantity > 0),
  price    bigint not null check (price >= 0),
  state    text not null default 'placed' check (state in ('placed', 'confirmed', 'cancelled')),
  reason   text                          -- why it was cancelled
);
