// SPDX-License-Identifier: Apache-2.0

// Calls, tokens, cost, errors, latency and coverage from the roll-ups: little to read, nothing to
// add up twice.
//
//	rollups [--once] [WINDOW [ORG]]        1m (default), 1h, 1d
//
// A bucket that changed is told again, whole, with a higher revision: the highest one counts alone.
package main

import (
	"math"
	"sort"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"
	"lectr.example/subscribers/lectr"
	"lectr.example/subscribers/lectrpb"
)

// Quantiles that can be merged: counts of the same bucket are added, that is all there is to it.
type sketch struct {
	count         uint64
	relativeError float64
	buckets       map[uint32]uint64
}

func (s *sketch) add(m *lectrpb.Rollup_Sketch) {
	if m.GetCount() == 0 {
		return
	}
	s.count += m.GetCount()
	s.relativeError = m.GetRelativeError()
	for i, bucket := range m.Bucket {
		s.buckets[bucket] += m.BucketCount[i]
	}
}

func (s *sketch) quantile(q float64) any {
	growth := (1 + s.relativeError) / (1 - s.relativeError)
	var order []uint32
	for bucket := range s.buckets {
		order = append(order, bucket)
	}
	sort.Slice(order, func(i, j int) bool { return order[i] < order[j] })
	var seen uint64
	for _, bucket := range order {
		seen += s.buckets[bucket]
		if seen > uint64(q*float64(s.count-1)) {
			if bucket == 0 {
				return 1
			}
			return 2 * math.Pow(growth, float64(bucket)) / (growth + 1)
		}
	}
	return nil
}

type feature struct {
	Calls       uint64            `json:"calls"`
	CostNanoUSD int64             `json:"cost_nanousd"`
	CostUnknown uint64            `json:"cost_unknown"`
	Errors      map[string]uint64 `json:"errors"`
	Usage       map[string]uint64 `json:"usage"`
	LatencyP95  any               `json:"latency_p95_us"`
	latency     sketch
}

func (f *feature) add(r *lectrpb.Rollup) {
	f.Calls += r.GetCalls()
	f.CostNanoUSD += r.GetCostExpectedNanousd()
	f.CostUnknown += r.GetCallsCostUnknown()
	for _, e := range r.ErrorTypes {
		f.Errors[e.GetType()] += e.GetCalls()
	}
	for _, u := range r.Usage {
		name := u.GetKind()
		if u.GetModality() != "" {
			name += "." + u.GetModality()
		}
		unit := u.GetUnit()
		if unit == "" {
			unit = "token"
		}
		source := strings.ToLower(strings.TrimPrefix(u.GetSource().String(), "SOURCE_"))
		f.Usage[name+"/"+unit+"/"+source] += u.GetCount()
	}
	f.latency.add(r.LatencyUs)
}

type rollups struct {
	sync.Mutex
	latest  map[string]*lectrpb.Rollup // by id
	revised uint64
}

func (s *rollups) feed(msg *nats.Msg) error {
	r := &lectrpb.Rollup{}
	if err := proto.Unmarshal(msg.Data, r); err != nil {
		return err
	}
	s.Lock()
	defer s.Unlock()
	known := s.latest[r.GetId()]
	if known != nil && known.GetRevision() >= r.GetRevision() {
		return nil
	}
	if known != nil {
		s.revised++
	}
	s.latest[r.GetId()] = r
	return nil
}

func (s *rollups) summary() any {
	features := map[string]*feature{}
	var seen, metered uint64
	gaps := map[string]uint64{}
	for _, r := range s.latest {
		if r.Coverage != nil {
			seen += r.Coverage.GetSeenConnections()
			metered += r.Coverage.GetMeteredConnections()
			for _, gap := range r.Coverage.Gaps {
				gaps[gap.GetReason()] += gap.GetConnections()
			}
			continue
		}
		f := features[r.GetFeature()]
		if f == nil {
			f = &feature{Errors: map[string]uint64{}, Usage: map[string]uint64{},
				latency: sketch{buckets: map[uint32]uint64{}}}
			features[r.GetFeature()] = f
		}
		f.add(r)
	}
	for _, f := range features {
		f.LatencyP95 = f.latency.quantile(0.95)
	}
	return map[string]any{
		"features": features,
		"coverage": map[string]any{"seen": seen, "metered": metered, "gaps": gaps},
		"rollups":  len(s.latest), "revised": s.revised,
	}
}

func main() {
	words, once := lectr.Words()
	window, org := "1m", "*"
	if len(words) > 0 {
		window = words[0]
	}
	if len(words) > 1 {
		org = words[1]
	}
	s := &rollups{latest: map[string]*lectrpb.Rollup{}}
	nc, err := lectr.Connect()
	lectr.Must(err)
	defer nc.Close()
	if !once {
		go lectr.Every(s, s.summary)
	}
	lectr.Must(lectr.Read(nc, "lectr.v1.rollup."+org+"."+window, once, s.feed))
	lectr.Print(s.summary())
}
