// Asks the gate before each effect, and tells it afterwards. Needs @nats-io/transport-node and @nats-io/jetstream.
import { jetstream } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { appendFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const { NATS_URL, STREAM, CONSUMER, EFFECTS } = process.env;
const connection = await connect({ servers: NATS_URL });

// Its store should refuse a token older than one that it has seen.
function effect(message, token) {
  appendFileSync(EFFECTS, `${message.headers.get("Avouch-Id")} ${token}\n`);
}

async function ask(word, payload, headers) {
  for (;;) { // every request may be repeated
    const asked = connection.request(`avouch.v1.inbox.${word}.${CONSUMER}`, payload, { timeout: 2000, headers });
    const answer = await asked.then((reply) => reply.json(), (error) => ({ error }));
    if (answer.decision) return answer;
    console.error(answer.error); // nobody answers, or the gate says why not
    await sleep(1000);
  }
}

const consumer = await jetstream(connection).consumers.get(STREAM, CONSUMER);
for await (const message of await consumer.consume({ max_messages: 10 })) {
  let answer = await ask("begin", message.data, message.headers);
  if (answer.decision === "run") {
    effect(message, answer.token);
    const { key, token } = answer;
    answer = await ask("complete", JSON.stringify({ key, token, result: { by: "JavaScript" } }));
  }
  switch (answer.decision) {
    case "done": case "skip": message.ack(); break;
    case "reject": case "conflict": message.term(); break;
    default: message.nak(answer.retry_after_ms ?? 1000); // busy, or fenced: another one has begun
  }
}
