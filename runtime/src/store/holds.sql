-- What is held: paused topics, paused and parked keys.
select distinct kind, name from avouch.hold where kind <> 'consumer'
