package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func (c *check) transactional(id string, options ...kgo.Opt) *kgo.Client {
	return c.client(append(options, kgo.TransactionalID(id), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
}

func committed() kgo.Opt { return kgo.FetchIsolationLevel(kgo.ReadCommitted()) }

// What is committed is read; what is aborted is not; what is neither holds back what follows.
func commitAndAbort(c *check) {
	topic := c.topic("transactions", 2)
	producer := c.transactional(c.group("writer"))
	c.must("begin", producer.BeginTransaction())
	c.says("write to 0", c.write(producer, numbered(topic, 0, 3)...))
	c.says("write to 1", c.write(producer, numbered(topic, 1, 1)...))
	stable := func() int64 {
		stable, err := c.admin.ListCommittedOffsets(c, topic)
		c.must("list stable ends", err)
		return stable[topic][0].Offset
	}
	// The markers are written after the answer.
	ends := func(at int64) {
		c.eventually(fmt.Sprintf("all is stable at %d", at), func() bool { return stable() == at && c.end(topic, 0) == at })
	}
	c.says("while it is open", fmt.Sprintf("%d records, %d stable", c.end(topic, 0), stable()))
	c.says("read uncommitted", len(c.read(topic, 0, start(), 3)))
	within, cancel := context.WithTimeout(c, time.Second)
	at := map[string]map[int32]kgo.Offset{topic: {0: start()}}
	c.says("read committed", c.client(kgo.ConsumePartitions(at), committed()).PollFetches(within).NumRecords())
	cancel()
	c.says("commit", producer.EndTransaction(c, kgo.TryCommit))
	ends(4)

	c.must("begin", producer.BeginTransaction())
	c.must("write", c.write(producer, numbered(topic, 0, 2)...))
	c.says("abort", producer.EndTransaction(c, kgo.TryAbort))
	ends(7)
	c.must("begin", producer.BeginTransaction())
	c.must("write", c.write(producer, numbered(topic, 0, 1)...))
	c.must("commit", producer.EndTransaction(c, kgo.TryCommit))
	ends(9)

	for _, of := range []struct {
		call    string
		count   int
		options []kgo.Opt
	}{
		{"offsets committed", 4, []kgo.Opt{committed()}},
		{"offsets of all", 6, nil},
		{"offsets with markers", 9, []kgo.Opt{kgo.KeepControlRecords()}},
	} {
		var offsets []int64
		for _, record := range c.read(topic, 0, start(), of.count, of.options...) {
			offsets = append(offsets, record.Offset)
		}
		c.says(of.call, offsets)
	}
	c.must("begin", producer.BeginTransaction())
	c.says("commit nothing", producer.EndTransaction(c, kgo.TryCommit))
}

// A group's offsets are committed with what was made of the records.
func offsetsInTransactions(c *check) {
	from, to, group := c.topic("in", 1), c.topic("out", 1), c.group("mover")
	c.fill(from, 0, 10)
	session, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(c.address),
		kgo.TransactionalID(c.group("mover")),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(from),
		kgo.RequireStableFetchOffsets(),
	)
	c.must("make a session", err)
	defer session.Close()
	// The markers are written after the answer.
	ends := func(at int64) {
		c.eventually(fmt.Sprintf("the group is at %d", at), func() bool {
			fetched, err := c.admin.FetchOffsets(c, group)
			c.must("fetch offsets", err)
			of, _ := fetched.Lookup(from, 0)
			return of.At == at
		})
	}
	move := func(call string, count int, end kgo.TransactionEndTry) {
		var read []*kgo.Record
		for len(read) < count {
			polled := session.PollRecords(c, count-len(read))
			c.must("poll", polled.Err())
			read = append(read, polled.Records()...)
		}
		c.must("begin", session.Begin())
		for _, record := range read {
			c.must("write", session.ProduceSync(c, &kgo.Record{Topic: to, Value: record.Value}).FirstErr())
		}
		done, err := session.End(c, end)
		c.says(call, fmt.Sprintf("from %d: %t, %s", read[0].Offset, done, c.errorOrOk(err)))
	}
	move("commit", 4, kgo.TryCommit)
	ends(4)
	move("abort", 3, kgo.TryAbort)
	ends(4)
	move("commit again", 6, kgo.TryCommit)
	ends(10)
	for i, record := range c.read(to, 0, start(), 10, committed()) {
		c.holds("each is moved once, in order", string(record.Value) == fmt.Sprintf("value %d", i))
	}
}

// Of two producers of one transactional id, the older writes and commits nothing more.
func zombies(c *check) {
	topic := c.topic("fenced", 1)
	older := c.transactional(c.group("writer"))
	c.must("begin", older.BeginTransaction())
	c.must("write", c.write(older, numbered(topic, 0, 1)...))
	newer := c.transactional(c.group("writer"))
	c.must("begin", newer.BeginTransaction())
	c.must("write", c.write(newer, numbered(topic, 0, 2)...))
	c.says("the older writes", c.write(older, numbered(topic, 0, 1)...))
	c.says("the older commits", older.EndTransaction(c, kgo.TryCommit))
	c.says("the newer commits", newer.EndTransaction(c, kgo.TryCommit))
	var offsets []int64
	for _, record := range c.read(topic, 0, start(), 2, committed()) {
		offsets = append(offsets, record.Offset)
	}
	c.says("committed", offsets)
}

// A transaction that stays open too long is aborted by the broker.
func transactionTimeouts(c *check) {
	topic := c.topic("slow", 1)
	slow := c.transactional(c.group("slow"), kgo.TransactionTimeout(5*time.Second))
	c.must("begin", slow.BeginTransaction())
	c.must("write", c.write(slow, numbered(topic, 0, 1)...))
	c.eventually("it is aborted", func() bool {
		stable, err := c.admin.ListCommittedOffsets(c, topic)
		return err == nil && stable[topic][0].Offset == 2
	})
	c.says("commit too late", slow.EndTransaction(c, kgo.TryCommit))
	long := c.transactional(c.group("long"), kgo.TransactionTimeout(time.Hour))
	c.says("a timeout of an hour", long.BeginTransaction())
}

// Transactions are found, described, and listed by state.
func describedTransactions(c *check) {
	topic, id := c.topic("described", 2), c.group("writer")
	producer := c.transactional(id, kgo.TransactionTimeout(30*time.Second))
	c.must("begin", producer.BeginTransaction())
	c.must("write", c.write(producer, numbered(topic, 1, 3)...))
	described := func(when, id string) {
		described, err := c.admin.DescribeTransactions(c, id)
		if err != nil {
			c.says(when, err)
			return
		}
		of := described[id]
		c.says(when, fmt.Sprintf("%s, %d ms, in %v, %s", of.State, of.TimeoutMillis, of.Topics.Sorted(), c.errorOrOk(of.Err)))
	}
	listed := func(when string, states ...string) {
		listed, err := c.admin.ListTransactions(c, nil, states)
		if err != nil {
			c.says(when, err)
			return
		}
		of, is := listed[id]
		c.says(when, fmt.Sprintf("%t %s", is, of.State))
	}
	described("open", id)
	listed("listed")
	listed("listed as open", "Ongoing")
	listed("listed as committed", "CompleteCommit")
	producers, err := c.admin.DescribeProducers(c, kadm.TopicsSet{topic: {1: {}}})
	c.says("describe producers", err)
	for _, of := range producers.SortedProducers() {
		c.says("producer", fmt.Sprintf("last sequence %d, transaction from %d", of.LastSequence, of.CurrentTxnStartOffset))
	}
	c.must("commit", producer.EndTransaction(c, kgo.TryCommit))
	c.eventually("it is complete", func() bool {
		described, err := c.admin.DescribeTransactions(c, id)
		return err != nil || described[id].State == "CompleteCommit"
	})
	described("committed", id)
	described("never seen", c.group("nowhere"))
	found := c.admin.FindTxnCoordinators(c, id)
	c.says("coordinator", fmt.Sprintf("%d, %s", found[id].NodeID, c.errorOrOk(found[id].Err)))
}
