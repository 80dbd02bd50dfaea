-- The carrier's own database: no transaction of the shop reaches it. It keeps the greatest token that it saw for an order,
-- refuses older ones, and replaces: an order is booked once, however often it is said.
create table parcels (
  order_id text primary key,
  token    bigint not null
);

-- For the demo's books only: each time that somebody tried.
create table calls (
  order_id    text not null,
  token       bigint not null,
  is_accepted boolean not null
);

create function book(for_order text, with_token bigint) returns boolean language plpgsql as $$
declare
  is_accepted boolean;
begin
  insert into parcels as p (order_id, token) values (for_order, with_token)
  on conflict (order_id) do update set token = excluded.token where p.token <= excluded.token;
  is_accepted := found;
  insert into calls values (for_order, with_token, is_accepted);
  return is_accepted;
end $$;
