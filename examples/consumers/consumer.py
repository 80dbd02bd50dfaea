"""Asks the gate before each effect, and tells it afterwards. Needs nats-py."""

import asyncio
import json
import os

import nats

NATS_URL, STREAM, CONSUMER, EFFECTS = (os.environ[name] for name in ("NATS_URL", "STREAM", "CONSUMER", "EFFECTS"))


# Its store should refuse a token older than one that it has seen.
def effect(message, token):
    with open(EFFECTS, "a") as file:
        file.write(f"{message.headers['Avouch-Id']} {token}\n")


async def ask(connection, word, payload, headers=None):
    while True:  # every request may be repeated
        try:
            reply = await connection.request(f"avouch.v1.inbox.{word}.{CONSUMER}", payload, timeout=2, headers=headers)
            answer = json.loads(reply.data)
            if "decision" in answer:
                return answer
            print("the gate refuses:", answer)
        except nats.errors.Error as error:
            print("the gate does not answer:", repr(error))
        await asyncio.sleep(1)


async def handle(connection, message):
    answer = await ask(connection, "begin", message.data, message.headers)
    if answer["decision"] == "run":
        effect(message, answer["token"])
        done = {"key": answer["key"], "token": answer["token"], "result": {"by": "Python"}}
        answer = await ask(connection, "complete", json.dumps(done).encode())
    if answer["decision"] in ("done", "skip"):
        await message.ack()
    elif answer["decision"] in ("reject", "conflict"):
        await message.term()
    else:  # busy, or fenced: another one has begun
        await message.nak(delay=answer.get("retry_after_ms", 1000) / 1000)


async def main():
    connection = await nats.connect(NATS_URL)
    subscription = await connection.jetstream().pull_subscribe_bind(durable=CONSUMER, stream=STREAM)
    while True:
        try:
            for message in await subscription.fetch(10, timeout=5):
                await handle(connection, message)
        except nats.errors.TimeoutError:
            continue  # there is none


asyncio.run(main())
