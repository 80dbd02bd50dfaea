-- All sessions of somebody end. $1 whose, $2 who ends them, $3 why. Returns how many they were.
with ended as (
  delete from avouch.session s where s.who = $1::text returning s.hash
), audited as (
  insert into avouch.audit (actor, action, subject, detail, why)
  select $2::text, 'end sessions', $1::text, format('sessions: %s', count(*)), $3::text from ended having count(*) > 0
)
select count(*) from ended
