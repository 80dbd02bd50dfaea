-- One bank. Its rules are constraints, so that each of its three moves is one statement; see bank.rs.
create table accounts (
  name     text primary key,
  balance  bigint not null,
  reserved bigint not null default 0,   -- of the balance, promised to transfers that are not decided yet
  constraint balance_suffices check (reserved between 0 and balance)
);

-- A transfer's part at this bank: money that leaves (a negative amount) or comes. It stays when the transfer has ended: so a
-- repeated confirm or cancel finds that it is done, and a try that comes after its cancel finds that it is too late.
create table reservations (
  transfer uuid primary key,
  account  text constraint account_exists references accounts,  -- null: cancelled before it was tried
  amount   bigint,
  state    text not null check (state in ('reserved', 'confirmed', 'cancelled'))
);
