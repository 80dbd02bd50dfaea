create table payments (
  number   text primary key,
  merchant text not null,
  cents    bigint not null,
  state    text not null default 'settled'
);
