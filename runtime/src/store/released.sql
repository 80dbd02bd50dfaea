-- Nothing waits for this consumer that must not: all was looked at, and marks that did not know of the change have ended. $1 consumer.
update avouch.consumer c set is_releasing = false
where c.id = $1 and c.is_releasing and c.changed_at < clock_timestamp() - interval '1 minute'
