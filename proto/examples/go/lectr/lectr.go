// SPDX-License-Identifier: Apache-2.0

// Package lectr is what the programs share: the server, the numbers of the events.
//
// The messages are generated beside it, into lectrpb:
//
//	protoc -I ../.. --go_out=. --go_opt=module=lectr.example/subscribers \
//	    --go_opt=Mlectr.proto=lectr.example/subscribers/lectrpb lectr.proto
//
// Environment: NATS_URL (nats://127.0.0.1:4222; a password may stand in it), NATS_CREDS (a file),
// NATS_CA (trust this authority), LECTR_STREAM (LECTR), LECTR_CONSUMER (a name, where the server's
// permissions are given by it).
package lectr

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sort"
	"time"

	"github.com/nats-io/nats.go"
)

func env(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}

func Connect() (*nats.Conn, error) {
	options := []nats.Option{nats.Name("lectr-subscriber"), nats.MaxReconnects(-1)}
	if file := os.Getenv("NATS_CREDS"); file != "" {
		options = append(options, nats.UserCredentials(file))
	}
	if file := os.Getenv("NATS_CA"); file != "" {
		options = append(options, nats.RootCAs(file))
	}
	return nats.Connect(env("NATS_URL", nats.DefaultURL), options...)
}

// Read gives every message of the stream under subject, from the first one that is kept, in order,
// for ever; with once until the last one that is there now. The consumer keeps nothing at the
// server: what was read is forgotten with this process, and read anew by the next.
func Read(nc *nats.Conn, subject string, once bool, each func(*nats.Msg) error) error {
	js, err := nc.JetStream()
	if err != nil {
		return err
	}
	stream := env("LECTR_STREAM", "LECTR")
	name := env("LECTR_CONSUMER", fmt.Sprintf("lectr_%d_%d", os.Getpid(), time.Now().UnixNano()))
	if os.Getenv("LECTR_CONSUMER") != "" {
		// One of this name remembers what it gave to the program before.
		_ = js.DeleteConsumer(stream, name)
	}
	made, err := js.AddConsumer(stream, &nats.ConsumerConfig{
		Name:              name,
		FilterSubject:     subject,
		AckPolicy:         nats.AckNonePolicy,
		DeliverPolicy:     nats.DeliverAllPolicy,
		InactiveThreshold: 30 * time.Second,
		MemoryStorage:     true,
	})
	if err != nil || once && made.NumPending == 0 {
		return err
	}
	sub, err := js.PullSubscribe(subject, "", nats.Bind(stream, name))
	if err != nil {
		return err
	}
	for {
		batch, err := sub.Fetch(500, nats.MaxWait(10*time.Second))
		if err != nil && !errors.Is(err, nats.ErrTimeout) {
			return err
		}
		for _, msg := range batch {
			if err := each(msg); err != nil {
				return err
			}
			if meta, err := msg.Metadata(); err != nil || once && meta.NumPending == 0 {
				return err
			}
		}
	}
}

// Event is what Call, Gap and Coverage have in common: they are numbered together.
type Event interface {
	GetAgentInstance() string
	GetPart() uint32
	GetSeq() uint64
}

type stream struct {
	instance string
	part     uint32
}

type interval struct{ first, last uint64 }

// Numbers that were seen, as intervals: small for ever, since there are few holes.
type Numbers struct {
	Received, Duplicates uint64
	streams              map[stream][]interval
}

// Claim is true when the event is new.
func (n *Numbers) Claim(event Event) bool {
	if n.streams == nil {
		n.streams = map[stream][]interval{}
	}
	key, seq := stream{event.GetAgentInstance(), event.GetPart()}, event.GetSeq()
	seen := n.streams[key]
	at := sort.Search(len(seen), func(i int) bool { return seen[i].first > seq })
	if at > 0 && seq <= seen[at-1].last {
		n.Duplicates++
		return false
	}
	n.Received++
	joinsBefore := at > 0 && seen[at-1].last+1 == seq
	joinsAfter := at < len(seen) && seen[at].first == seq+1
	switch {
	case joinsBefore && joinsAfter:
		seen[at-1].last = seen[at].last
		seen = append(seen[:at], seen[at+1:]...)
	case joinsBefore:
		seen[at-1].last = seq
	case joinsAfter:
		seen[at].first = seq
	default:
		seen = append(seen, interval{})
		copy(seen[at+1:], seen[at:])
		seen[at] = interval{seq, seq}
	}
	n.streams[key] = seen
	return true
}

// Missing are numbers below the highest of their stream that did not come (yet).
func (n *Numbers) Missing() (missing uint64) {
	for _, seen := range n.streams {
		next := uint64(1)
		for _, i := range seen {
			missing += i.first - next
			next = i.last + 1
		}
	}
	return missing
}

func Print(value any) {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
}

// Every prints the summary each ten seconds; the lock is held meanwhile.
func Every(lock interface {
	Lock()
	Unlock()
}, summary func() any) {
	for range time.Tick(10 * time.Second) {
		lock.Lock()
		Print(summary())
		lock.Unlock()
	}
}

// Words are the arguments, without --once, which is told apart.
func Words() (words []string, once bool) {
	for _, word := range os.Args[1:] {
		if word == "--once" {
			once = true
		} else {
			words = append(words, word)
		}
	}
	return words, once
}

// Must ends the program with the error, if there is one.
func Must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
