-- What consumers are called, for fields that suggest one. $1 most rows.
select c.name from avouch.consumer c order by c.name limit $1
