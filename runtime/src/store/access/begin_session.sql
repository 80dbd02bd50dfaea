-- A session begins, and some that have ended are forgotten. $1: SHA-256 of its id, $2: its token, null for a person of OpenID Connect
-- $3: who, $4: role, $5: seconds that it may last
with ended as (
  delete from avouch.session s where s.hash in (select e.hash from avouch.session e where e.ends_at < clock_timestamp() limit 1000)
)
insert into avouch.session (hash, token_id, who, role, ends_at)
values ($1, $2, $3, $4, clock_timestamp() + $5::float8 * interval '1 s')
