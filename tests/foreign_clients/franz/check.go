package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// generous bounds what must happen on a slow, busy machine; it measures nothing.
const generous = 60 * time.Second

// A check is one run of a case: what it works with, and what it saw.
type check struct {
	context.Context
	address string
	// prefix begins the name of all it creates.
	prefix string
	admin  *kadm.Client
	closed []func()
	lines  []string
}

func newCheck(address, name string) *check {
	within, cancel := context.WithTimeout(context.Background(), generous)
	c := &check{
		Context: within,
		address: address,
		prefix:  fmt.Sprintf("franz.%s.%08x", name, rand.Uint32()),
		closed:  []func(){cancel},
	}
	c.admin = kadm.NewClient(c.client())
	return c
}

// ready waits for a broker that has just started.
func (c *check) ready() {
	c.eventually("groups have a coordinator", func() bool {
		return c.admin.FindGroupCoordinators(c, c.prefix)[c.prefix].Err == nil
	})
}

// close closes the clients, the latest first.
func (c *check) close() {
	topics, err := c.admin.ListTopics(c)
	if err == nil {
		ours := topics.Names()
		kept := ours[:0]
		for _, topic := range ours {
			if strings.HasPrefix(topic, c.prefix) {
				kept = append(kept, topic)
			}
		}
		if len(kept) > 0 {
			c.admin.DeleteTopics(c, kept...)
		}
	}
	for i := len(c.closed) - 1; i >= 0; i-- {
		c.closed[i]()
	}
}

// client makes a client, which is closed with the check.
func (c *check) client(options ...kgo.Opt) *kgo.Client {
	base := []kgo.Opt{
		kgo.SeedBrokers(c.address),
		kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.RetryTimeout(10 * time.Second),
	}
	client, err := kgo.NewClient(append(base, options...)...)
	c.must("make a client", err)
	c.closed = append(c.closed, client.CloseAllowingRebalance)
	return client
}

// topic creates a topic.
func (c *check) topic(name string, partitions int32, settings ...string) string {
	name = c.prefix + "." + name
	created, err := c.admin.CreateTopic(c, partitions, 1, pairs(settings), name)
	c.must("create "+name+created.ErrMessage, err)
	c.eventually("the topic is known", func() bool {
		listed, err := c.admin.ListTopics(c, name)
		return err == nil && listed[name].Err == nil && len(listed[name].Partitions) == int(partitions)
	})
	// Apache Kafka tells of a partition a moment before it leads it.
	c.eventually("the topic is led", func() bool {
		ends, err := c.admin.ListEndOffsets(c, name)
		return err == nil && ends.Error() == nil && len(ends[name]) == int(partitions)
	})
	return name
}

// group names a group.
func (c *check) group(name string) string {
	return c.prefix + "." + name
}

// pairs reads names and values in turn.
func pairs(settings []string) map[string]*string {
	values := map[string]*string{}
	for i := 0; i+1 < len(settings); i += 2 {
		values[settings[i]] = &settings[i+1]
	}
	return values
}

// says notes the answer to a call. It is to be the same from every broker.
func (c *check) says(call string, answer any) {
	text := fmt.Sprint(answer)
	if answer == nil {
		text = "ok"
	}
	if err, ok := answer.(error); ok {
		text = c.reason(err)
	}
	c.note(call, text)
}

func (c *check) note(call, answer string) {
	answer = strings.ReplaceAll(strings.ReplaceAll(answer, c.prefix, "…"), c.address, "ADDRESS")
	c.lines = append(c.lines, call+"\t"+oneLine(answer))
}

// reason names what went wrong: the protocol's error, or what the client says.
func (c *check) reason(err error) string {
	var refused *kerr.Error
	switch {
	case errors.As(err, &refused):
		return refused.Message
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer"
	default:
		return err.Error()
	}
}

// must ends the case where something fails that it only builds on.
func (c *check) must(doing string, err error) {
	if err != nil {
		panic(fmt.Sprintf("%s: %v", doing, err))
	}
}

// holds ends the case where something is not so that must be.
func (c *check) holds(what string, so bool) {
	if !so {
		panic("not so: " + what)
	}
}

// eventually looks again and again until something is so.
func (c *check) eventually(what string, look func() bool) {
	for !look() {
		select {
		case <-c.Done():
			panic("waited in vain: " + what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// write writes records with a client and returns the first error.
func (c *check) write(client *kgo.Client, records ...*kgo.Record) error {
	return client.ProduceSync(c, records...).FirstErr()
}

// fill writes so many records to a partition: `key N` and `value N` from N = 0.
func (c *check) fill(topic string, partition int32, count int) {
	c.must("write", c.write(c.client(kgo.RecordPartitioner(kgo.ManualPartitioner())), numbered(topic, partition, count)...))
}

func numbered(topic string, partition int32, count int) []*kgo.Record {
	records := make([]*kgo.Record, count)
	for i := range records {
		records[i] = &kgo.Record{
			Topic:     topic,
			Partition: partition,
			Key:       fmt.Appendf(nil, "key %d", i),
			Value:     fmt.Appendf(nil, "value %d", i),
		}
	}
	return records
}

// read reads so many records of a partition, assigned from an offset on.
func (c *check) read(topic string, partition int32, from kgo.Offset, count int, options ...kgo.Opt) []*kgo.Record {
	at := map[string]map[int32]kgo.Offset{topic: {partition: from}}
	client := c.client(append(options, kgo.ConsumePartitions(at))...)
	var records []*kgo.Record
	for len(records) < count {
		fetches := client.PollFetches(c)
		c.must("read "+topic, fetches.Err())
		records = append(records, fetches.Records()...)
	}
	return records
}

func start() kgo.Offset { return kgo.NewOffset().AtStart() }
