-- Programs were told of these. $1 messages, $2 consumers: two arrays side by side.
insert into avouch.dead_letter (message_id, consumer)
select * from unnest($1::uuid[], $2::int[])
on conflict on constraint dead_letter_pkey do nothing
