// SPDX-License-Identifier: Apache-2.0

// Who is alarmed, and why: every transition as it comes, and the episodes that are not over.
//
//	alerts [--once] [ORG [KIND]]        e.g. acme cost
//
// Transitions come at least once, in order for each episode: an id that was seen is dropped.
package main

import (
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"
	"lectr.example/subscribers/lectr"
	"lectr.example/subscribers/lectrpb"
)

type episode struct {
	Rule     string            `json:"rule"`
	Scope    map[string]string `json:"scope"`
	Observed float64           `json:"observed"`
	Baseline float64           `json:"baseline"`
	Reason   string            `json:"reason"`
}

type alerts struct {
	once        bool
	seen        map[string]bool // a program that keeps running forgets the ids of episodes that are over
	active      map[string]episode
	transitions map[string]int
}

func (s *alerts) feed(msg *nats.Msg) error {
	a := &lectrpb.Alert{}
	if err := proto.Unmarshal(msg.Data, a); err != nil {
		return err
	}
	if s.seen[a.GetId()] {
		return nil
	}
	s.seen[a.GetId()] = true
	status := strings.ToLower(strings.TrimPrefix(a.GetStatus().String(), "STATUS_"))
	s.transitions[status]++
	if a.GetStatus() == lectrpb.Alert_STATUS_RESOLVED {
		delete(s.active, a.GetFingerprint())
	} else {
		e := episode{Rule: a.GetRule(), Scope: map[string]string{}, Observed: a.GetObserved(),
			Baseline: a.GetBaseline(), Reason: a.GetReason()}
		for _, label := range a.Labels {
			e.Scope[label.GetName()] = label.GetValue()
		}
		s.active[a.GetFingerprint()] = e
	}
	if !s.once {
		fmt.Printf("%s %s %s: %s\n", status, a.GetSeverity(), a.GetRule(), a.GetReason())
	}
	return nil
}

func main() {
	words, once := lectr.Words()
	org, kind := "*", "*"
	if len(words) > 0 {
		org = words[0]
	}
	if len(words) > 1 {
		kind = words[1]
	}
	s := &alerts{once: once, seen: map[string]bool{}, active: map[string]episode{},
		transitions: map[string]int{"firing": 0, "updated": 0, "resolved": 0}}
	nc, err := lectr.Connect()
	lectr.Must(err)
	defer nc.Close()
	lectr.Must(lectr.Read(nc, "lectr.v1.alert."+org+"."+kind, once, s.feed))
	lectr.Print(map[string]any{"active": s.active, "transitions": s.transitions})
}
