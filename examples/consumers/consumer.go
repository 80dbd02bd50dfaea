// Asks the gate before each effect, and tells it afterwards.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var connection = must(nats.Connect(os.Getenv("NATS_URL")))

type answer struct {
	Decision, Key string
	Token         int64
	RetryAfterMs  time.Duration `json:"retry_after_ms"`
	Error         any
}

// Its store should refuse a token older than one that it has seen.
func effect(message jetstream.Msg, token int64) {
	file := must(os.OpenFile(os.Getenv("EFFECTS"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644))
	defer file.Close()
	must(fmt.Fprintln(file, message.Headers().Get("Avouch-Id"), token))
}

func ask(word string, payload []byte, header nats.Header) (answer answer) {
	subject := fmt.Sprintf("avouch.v1.inbox.%s.%s", word, os.Getenv("CONSUMER"))
	for { // every request may be repeated
		reply, err := connection.RequestMsg(&nats.Msg{Subject: subject, Data: payload, Header: header}, 2*time.Second)
		if err == nil && json.Unmarshal(reply.Data, &answer) == nil && answer.Decision != "" {
			return answer
		}
		log.Println("the gate does not answer, or refuses:", err, answer.Error)
		time.Sleep(time.Second)
	}
}

func handle(message jetstream.Msg) {
	answer := ask("begin", message.Data(), message.Headers())
	if answer.Decision == "run" {
		effect(message, answer.Token)
		done := fmt.Sprintf(`{"key": %q, "token": %d, "result": {"by": "Go"}}`, answer.Key, answer.Token)
		answer = ask("complete", []byte(done), nil)
	}
	switch answer.Decision {
	case "done", "skip":
		message.Ack()
	case "reject", "conflict":
		message.Term()
	default: // busy, or fenced: another one has begun
		message.NakWithDelay(max(answer.RetryAfterMs, 100) * time.Millisecond)
	}
}

func main() {
	js := must(jetstream.New(connection))
	consumer := must(js.Consumer(context.Background(), os.Getenv("STREAM"), os.Getenv("CONSUMER")))
	must(consumer.Consume(handle, jetstream.PullMaxMessages(10)))
	select {}
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}
