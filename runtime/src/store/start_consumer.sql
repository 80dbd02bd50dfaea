-- Where a new consumer starts, unless that is known. $1 consumer, $2 first sequence that it must have.
update avouch.consumer c set start_seq = $2 where c.id = $1 and c.start_seq is null
