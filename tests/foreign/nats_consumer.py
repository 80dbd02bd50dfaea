"""A consumer with nats-py: a durable pull consumer and a plain ack, with nothing of Avouch's.

Arguments: the server's URL, the stream, the filter subject, how many messages. Prints each message as a line of JSON.
"""

import asyncio
import base64
import json
import sys

import nats

TIMEOUT_S = 20
DURABLE = "billing"


async def main(url, stream, subject, count):
    connection = await nats.connect(url)
    jetstream = connection.jetstream()
    subscription = await jetstream.pull_subscribe(subject, durable=DURABLE, stream=stream)
    read = 0
    while read < count:
        for message in await subscription.fetch(count - read, timeout=TIMEOUT_S):
            payload = base64.b64encode(message.data).decode()
            line = {"subject": message.subject, "headers": message.headers, "payload": payload}
            print(json.dumps(line))
            await message.ack_sync(timeout=TIMEOUT_S)
            read += 1
    info = await jetstream.consumer_info(stream, DURABLE)
    assert (info.num_pending, info.num_ack_pending) == (0, 0), info
    await connection.close()


asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
