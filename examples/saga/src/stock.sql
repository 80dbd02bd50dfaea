-- The stock service's own tables, beside its outbox in the same database.
create table items (
  name     text primary key,
  quantity int not null check (quantity >= 0)
);
create table answers (
  order_id uuid primary key,
  item     text not null,
  deducted int not null,                 -- 0: refused
  reason   text
);
