// SPDX-License-Identifier: Apache-2.0

// What each feature costs, from the single calls, to the nano-dollar.
//
//	cost [--once] [SUBJECT]        default lectr.v1.>; of one organisation lectr.v1.*.acme.>
//
// An event may come twice: it is counted once. One that did not come is told as missing. What the
// agents could not meter comes as gaps.
package main

import (
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"
	"lectr.example/subscribers/lectr"
	"lectr.example/subscribers/lectrpb"
)

type feature struct {
	Calls       uint64 `json:"calls"`
	CostNanoUSD int64  `json:"cost_nanousd"`
	CostUnknown uint64 `json:"cost_unknown"`
}

type costs struct {
	sync.Mutex
	numbers   lectr.Numbers
	features  map[string]*feature
	unmetered struct {
		Connections   uint64 `json:"connections"`
		CallsInFlight uint64 `json:"calls_in_flight"`
		EventsLost    uint64 `json:"events_lost"`
	}
}

func (c *costs) feed(msg *nats.Msg) error {
	c.Lock()
	defer c.Unlock()
	switch strings.Split(msg.Subject, ".")[2] {
	case "call":
		var call lectrpb.Call
		if err := proto.Unmarshal(msg.Data, &call); err != nil {
			return err
		}
		if c.numbers.Claim(&call) {
			c.addCall(&call)
		}
	case "gap":
		var gap lectrpb.Gap
		if err := proto.Unmarshal(msg.Data, &gap); err != nil {
			return err
		}
		if c.numbers.Claim(&gap) {
			c.unmetered.Connections += gap.GetConnections()
			c.unmetered.CallsInFlight += gap.GetCallsInFlight()
			c.unmetered.EventsLost += gap.GetEventsLost()
		}
	case "coverage":
		var coverage lectrpb.Coverage
		if err := proto.Unmarshal(msg.Data, &coverage); err != nil {
			return err
		}
		c.numbers.Claim(&coverage)
	}
	return nil // roll-ups and alerts, and what a later version may add
}

func (c *costs) addCall(call *lectrpb.Call) {
	name := call.GetFeature().GetValue()
	if c.features[name] == nil {
		c.features[name] = &feature{}
	}
	f := c.features[name]
	f.Calls++
	// Absent is unknown, never zero.
	if call.Cost == nil || call.Cost.ExpectedNanousd == nil {
		f.CostUnknown++
	} else {
		f.CostNanoUSD += *call.Cost.ExpectedNanousd
	}
}

func (c *costs) summary() any {
	return map[string]any{
		"features":  c.features,
		"unmetered": c.unmetered,
		"events": map[string]uint64{
			"received": c.numbers.Received, "duplicates": c.numbers.Duplicates, "missing": c.numbers.Missing(),
		},
	}
}

func main() {
	words, once := lectr.Words()
	subject := append(words, "lectr.v1.>")[0]
	c := &costs{features: map[string]*feature{}}
	nc, err := lectr.Connect()
	lectr.Must(err)
	defer nc.Close()
	if !once {
		go lectr.Every(c, c.summary)
	}
	lectr.Must(lectr.Read(nc, subject, once, c.feed))
	lectr.Print(c.summary())
}
