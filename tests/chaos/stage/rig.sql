-- The shop that the checker asks, and the rig's witnesses: what became of every row, who owned every shard, what was done once.
create schema shop;
create table shop.orders (id bigint primary key, status text not null);
create role checker login;
grant usage on schema shop to checker;
grant select on shop.orders to checker;

create schema chaos;
create table chaos.effect (n bigint generated always as identity, who text not null, number bigint not null);

create table chaos.move (n bigint generated always as identity, id uuid not null, was text, became text);
create function chaos.see_move() returns trigger language plpgsql security definer as $$
begin
  if tg_op = 'INSERT' then
    insert into chaos.move (id, became) values (new.id, new.state);
  elsif tg_op = 'UPDATE' then
    insert into chaos.move (id, was, became) values (new.id, old.state, new.state);
  else
    insert into chaos.move (id, was) values (old.id, old.state);
  end if;
  return null;
end $$;
create trigger see_insert after insert or delete on avouch.outbox for each row execute function chaos.see_move();
create trigger see_update after update on avouch.outbox for each row
  when (old.state is distinct from new.state) execute function chaos.see_move();

create table chaos.owned (n bigint generated always as identity, shard int not null, epoch bigint not null, owner uuid);
create function chaos.see_owner() returns trigger language plpgsql security definer as $$
begin
  insert into chaos.owned (shard, epoch, owner) values (new.shard, new.epoch, new.owner);
  return null;
end $$;
create trigger see_owner after update on avouch.shard for each row execute function chaos.see_owner();
