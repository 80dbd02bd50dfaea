-- The beginning of a payload. Text is cut at a whole character. $1 id, $2 most bytes.
select json_build_object(
  'bytes', coalesce(octet_length(o.payload), octet_length(o.payload_bytes)),
  'text', left(o.payload, $2),
  'base64', encode(substr(o.payload_bytes, 1, $2::int), 'base64'),
  'is_cut', coalesce(octet_length(o.payload), octet_length(o.payload_bytes)) > $2
)::text
from avouch.outbox o where o.id = $1
