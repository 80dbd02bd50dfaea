-- Logged out. $1: SHA-256 of its id
delete from avouch.session where hash = $1
