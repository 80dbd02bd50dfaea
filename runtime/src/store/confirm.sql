-- Receipts by message, through avouch.confirm: whether its consumer is waited for, null if there is no such message; in the order of
-- the receipts. $1 consumers, $2 messages, $3 why they are dead: three arrays side by side.
select avouch.confirm(t.consumer, t.id, t.dead)
from unnest($1::text[], $2::uuid[], $3::text[]) with ordinality as t (consumer, id, dead, n)
order by t.n
