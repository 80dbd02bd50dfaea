-- The coordinator's own table, beside the outbox in the same database.
create table transfers (
  id      uuid primary key,        -- also the id of its transaction in avouch.tx
  debtor  text not null,           -- an account at bank_a
  payee   text not null,           -- an account at bank_b
  amount  bigint not null check (amount > 0),
  outcome text check (outcome in ('confirmed', 'cancelled'))  -- what the caller was told; null: nobody was left to tell
);
