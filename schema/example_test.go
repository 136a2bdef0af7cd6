package schema_test

import (
	"encoding/json"
	"fmt"
	"log"
	"time"

	"github.com/callpop/connector/schema"
)

// A consumer on NATS rebuilds the event from the message's headers and data, and
// decodes the body by its type.
func ExampleFromNATSHeaders() {
	pop := schema.CallPop{
		ID: "019aa1b0-7d00-7000-8000-000000000001", Version: schema.Version,
		Key: schema.Key("hq", "1234", "", ""), Server: "hq", Agent: schema.Agent{ID: "801"},
		Customer:   schema.Customer{Number: "86307627"},
		Format:     schema.T1V4,
		Raw:        "H=t1v4,ph=86307627,op=801,sn=1234;",
		Source:     schema.Source{Type: "session", Name: "hq"},
		ReceivedAt: time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC),
	}
	published := pop.Event()
	headers := make(map[string]string) // in their place: the message's nats.Header
	for name, value := range published.NATSHeaders() {
		headers[name] = value
	}

	event, err := schema.FromNATSHeaders(func(name string) string { return headers[name] }, published.Body)
	if err != nil {
		log.Fatal(err)
	}
	var received schema.CallPop
	if event.Type == schema.TypeCallPop {
		if err := json.Unmarshal(event.Body, &received); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(event.Subject(), event.Key, received.Customer.Number)
	// Output: callpop.v1.hq.801 hq/1234 86307627
}
