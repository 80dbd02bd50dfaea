"""A producer with asyncpg, which prepares every statement and sends binary parameters.

Argument: the database's URL, for a role in avouch_producer. Prints the ids of the messages that must arrive, in order.
"""

import asyncio
import json
import sys
import uuid

import asyncpg

PLAIN = """insert into avouch.outbox (topic, key, payload, headers) values ($1, $2, $3, $4) returning id"""
BYTES = """insert into avouch.outbox (topic, key, payload_bytes) values ($1, $2, $3) returning id"""
HALF = """insert into avouch.outbox (tx_id, topic, key, payload, release_on) values ($1, $2, $3, $4, $5) returning id"""
PREPARE = """select avouch.prepare($1, $2::text::interval, $3, $4)"""


async def main(url):
    connection = await asyncpg.connect(url)
    headers = json.dumps({"traceparent": "00-py"})
    async with connection.transaction():
        print(await connection.fetchval(PLAIN, "orders.created", "ключ 42", '{"id":42}', headers))
        print(await connection.fetchval(BYTES, "orders.created", "ключ 42", bytes(range(256))))

    wanted = uuid.uuid4()
    for _ in range(2):  # A retried prepare.
        tx = await connection.fetchval(PREPARE, "payments", "5 minutes", "payment-42", wanted)
        assert tx == wanted, tx
    half = await connection.fetchval(HALF, tx, "payments.settled", "ключ 42", "settled", None)
    await connection.fetchval(HALF, tx, "payments.refused", "ключ 42", "never", "rollback")
    async with connection.transaction():
        await connection.execute("select avouch.commit($1)", tx)
    print(half)

    tx = await connection.fetchval(PREPARE, "payments", "5 minutes", None, None)
    await connection.fetchval(HALF, tx, "payments.settled", "ключ 42", "never", "commit")
    compensation = await connection.fetchval(HALF, tx, "payments.refused", "ключ 42", "refused", "rollback")
    await connection.execute("select avouch.rollback($1, $2)", tx, "declined")
    print(compensation)

    # The fence: the business transaction aborts.
    try:
        async with connection.transaction():
            await connection.fetchval(PLAIN, "orders.created", "ключ 42", "never", None)
            await connection.execute("select avouch.commit($1)", tx)
        sys.exit("a commit after the rollback was accepted")
    except asyncpg.ObjectNotInPrerequisiteStateError as refusal:
        assert "let this database transaction abort" in refusal.hint, refusal
    await connection.close()


asyncio.run(main(sys.argv[1]))
