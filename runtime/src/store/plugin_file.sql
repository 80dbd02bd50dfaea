-- A plugin's file. $1 name, $2 digest.
select file from avouch.plugin where name = $1 and digest = $2
