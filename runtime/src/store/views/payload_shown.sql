-- The beginning of a payload. Text is counted in characters. $1 id, $2 most characters, or bytes of what is no text.
select json_build_object(
  'bytes', coalesce(octet_length(o.payload), octet_length(o.payload_bytes)),
  'text', left(o.payload, $2),
  'base64', replace(encode(substr(o.payload_bytes, 1, $2::int), 'base64'), E'\n', ''),
  'is_cut', coalesce(char_length(o.payload), octet_length(o.payload_bytes)) > $2
)::text
from avouch.outbox o where o.id = $1
