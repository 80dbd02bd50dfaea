-- sent, dead -> discarded: its producer's checker says that it never happened. Audited. $1 message, $2 reason.
with gone as (
  update avouch.outbox o set state = 'discarded', reason = $2, awaiting = null
  where o.id = $1 and o.state in ('sent', 'dead') and o.awaiting is not null
  returning o.id
), forgotten as (
  delete from avouch.recovery r using gone where r.message_id = gone.id
)
insert into avouch.audit (action, subject, detail) select 'discard', gone.id::text, $2 from gone
