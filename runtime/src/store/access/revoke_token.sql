-- A token is revoked, and its sessions end. $1 name, $2 who revokes it, $3 why.
with revoked as (
  update avouch.token t set revoked_at = clock_timestamp()
  where t.name = $1::text and t.revoked_at is null
  returning t.id, t.name
), ended as (
  delete from avouch.session s using revoked r where s.token_id = r.id
), audited as (
  insert into avouch.audit (actor, action, subject, why)
  select $2::text, 'revoke token', r.name, $3::text from revoked r
)
select exists (select from revoked)
