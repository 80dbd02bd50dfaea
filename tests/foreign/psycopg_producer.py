"""A producer with psycopg 3, as the contract documents it: a plain row, then half messages of transactions in doubt.

Argument: the database's URL, for a role in avouch_producer. Prints the ids of the messages that must arrive, in order.
"""

import sys

import psycopg
from psycopg.types.json import Jsonb

PLAIN = """insert into avouch.outbox (topic, key, payload, headers) values (%s, %s, %s, %s) returning id"""
BYTES = """insert into avouch.outbox (topic, key, payload_bytes) values (%s, %s, %s) returning id"""
HALF = """insert into avouch.outbox (tx_id, topic, key, payload) values (%s, %s, %s, %s) returning id"""
COMPENSATION = """insert into avouch.outbox (tx_id, topic, key, payload, release_on)
                  values (%s, %s, %s, %s, 'rollback') returning id"""


def one(connection, statement, *parameters):
    return connection.execute(statement, parameters).fetchone()[0]


def main(url):
    with psycopg.connect(url) as connection:
        print(one(connection, PLAIN, "orders.created", "ключ 42", '{"id":42}', Jsonb({"traceparent": "00-py"})))
        print(one(connection, BYTES, "orders.created", "ключ 42", bytes(range(256))))
        connection.commit()

        # The business transaction is undone, and its message with it.
        one(connection, PLAIN, "orders.created", "ключ 42", "never", None)
        connection.rollback()

        committed = one(connection, "select avouch.prepare('payments', '5 minutes', 'payment-42')")
        half = one(connection, HALF, committed, "payments.settled", "ключ 42", "settled")
        one(connection, COMPENSATION, committed, "payments.refused", "ключ 42", "never")
        connection.commit()
        connection.execute("select avouch.commit(%s)", (committed,))
        connection.commit()
        print(half)

        declined = one(connection, "select avouch.prepare('payments', '5 minutes', 'payment-43')")
        one(connection, HALF, declined, "payments.settled", "ключ 42", "never")
        compensation = one(connection, COMPENSATION, declined, "payments.refused", "ключ 42", "refused")
        connection.commit()
        connection.execute("select avouch.rollback(%s, 'declined')", (declined,))
        connection.commit()
        print(compensation)

        try:
            one(connection, HALF, declined, "payments.settled", "ключ 42", "too late")
            sys.exit("a message after the rollback was accepted")
        except psycopg.errors.ObjectNotInPrerequisiteState as refusal:
            assert "before avouch.commit or avouch.rollback" in refusal.diag.message_hint, refusal
            connection.rollback()
        try:
            one(connection, PLAIN, "orders.*", None, "never", None)
            sys.exit("a topic with a wildcard was accepted")
        except psycopg.errors.CheckViolation as refusal:
            assert refusal.diag.constraint_name == "topic_tokens", refusal


main(sys.argv[1])
