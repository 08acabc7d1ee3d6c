package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Records are acknowledged as asked: not at all, by the leader, by all replicas.
func acknowledgements(c *check) {
	topic := c.topic("acknowledged", 1)
	none := c.client(kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	leader := c.client(kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	all := c.client(kgo.RequiredAcks(kgo.AllISRAcks()), kgo.DisableIdempotentWrite())
	c.says("acks=0", c.write(none, numbered(topic, 0, 1)...))
	c.eventually("the record is there", func() bool { return c.end(topic, 0) == 1 })
	c.says("acks=1", c.write(leader, numbered(topic, 0, 1)...))
	c.says("acks=all", c.write(all, numbered(topic, 0, 1)...))
	c.says("read back", len(c.read(topic, 0, start(), 3)))
}

// end is where a partition ends.
func (c *check) end(topic string, partition int32) int64 {
	ends, err := c.admin.ListEndOffsets(c, topic)
	c.must("list end offsets", err)
	at, _ := ends.Lookup(topic, partition)
	return at.Offset
}

// What every codec compresses is read back as it was.
func codecs(c *check) {
	topic := c.topic("compressed", 1)
	var from int64
	for _, codec := range []struct {
		name  string
		codec kgo.CompressionCodec
	}{
		{"none", kgo.NoCompression()},
		{"gzip", kgo.GzipCompression()},
		{"snappy", kgo.SnappyCompression()},
		{"lz4", kgo.Lz4Compression()},
		{"zstd", kgo.ZstdCompression()},
	} {
		producer := c.client(kgo.ProducerBatchCompression(codec.codec))
		written := numbered(topic, 0, 50)
		for _, record := range written {
			record.Value = bytes.Repeat(record.Value, 40)
			record.Headers = []kgo.RecordHeader{{Key: "codec", Value: []byte(codec.name)}}
		}
		c.says(codec.name, c.write(producer, written...))
		read := c.read(topic, 0, kgo.NewOffset().At(from), len(written))
		for i, record := range read {
			same := bytes.Equal(record.Key, written[i].Key) && bytes.Equal(record.Value, written[i].Value)
			c.holds(codec.name+" is read back", same && string(record.Headers[0].Value) == codec.name)
		}
		from += int64(len(written))
	}
}

// An idempotent producer's records are each there once, in order.
func idempotence(c *check) {
	topic := c.topic("idempotent", 3)
	producer := c.client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0), kgo.MaxBufferedRecords(7))
	results := make(chan error, 300)
	for i := range 300 {
		record := &kgo.Record{Topic: topic, Partition: int32(i % 3), Value: fmt.Appendf(nil, "%d", i/3)}
		producer.Produce(c, record, func(_ *kgo.Record, err error) { results <- err })
	}
	for range 300 {
		c.must("write", <-results)
	}
	for partition := range int32(3) {
		for i, record := range c.read(topic, partition, start(), 100) {
			c.holds("each record is at its place", string(record.Value) == fmt.Sprint(i) && record.Offset == int64(i))
		}
		c.says(fmt.Sprintf("end of partition %d", partition), c.end(topic, partition))
	}
	id, epoch, err := producer.ProducerID(c)
	c.must("have an id", err)
	c.holds("the producer has an id", id >= 0)
	c.says("epoch", epoch)
}

// Null and empty are told apart; headers keep their order and may repeat.
func recordShapes(c *check) {
	topic := c.topic("shapes", 1)
	producer := c.client()
	headers := []kgo.RecordHeader{{Key: "b", Value: []byte("1")}, {Key: "a"}, {Key: "b", Value: []byte{}}}
	c.says("null key", c.write(producer, &kgo.Record{Topic: topic, Value: []byte("value")}))
	c.says("null value", c.write(producer, &kgo.Record{Topic: topic, Key: []byte("key")}))
	c.says("both empty", c.write(producer, &kgo.Record{Topic: topic, Key: []byte{}, Value: []byte{}}))
	c.says("headers", c.write(producer, &kgo.Record{Topic: topic, Headers: headers}))
	for _, record := range c.read(topic, 0, start(), 4) {
		c.says(fmt.Sprintf("read offset %d", record.Offset), fmt.Sprintf("key %#v, value %#v, headers %v",
			record.Key, record.Value, record.Headers))
	}
}

// What a topic does not take is refused, and what follows is taken.
func refusedRecords(c *check) {
	producer := c.client(kgo.RecordRetries(0))
	write := func(record *kgo.Record) error { return c.write(producer, record) }

	small := c.topic("small", 1, "max.message.bytes", "1000")
	noise := make([]byte, 5000)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	c.says("larger than max.message.bytes", write(&kgo.Record{Topic: small, Value: noise}))
	c.says("after it", write(&kgo.Record{Topic: small, Value: []byte("small")}))

	compacted := c.topic("compacted", 1, "cleanup.policy", "compact")
	c.says("without key, compacted", write(&kgo.Record{Topic: compacted, Value: []byte("value")}))
	c.says("with key, compacted", write(&kgo.Record{Topic: compacted, Key: []byte("key")}))

	timed := c.topic("timed", 1)
	for _, at := range []struct {
		name string
		time time.Time
	}{
		{"of tomorrow", time.Now().Add(26 * time.Hour)},
		{"in 30 minutes", time.Now().Add(30 * time.Minute)},
		{"of 1999", time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC)},
		{"of the epoch", time.UnixMilli(0)},
	} {
		c.says(at.name, write(&kgo.Record{Topic: timed, Value: []byte("value"), Timestamp: at.time}))
	}
	c.says("topic that is not there", write(&kgo.Record{Topic: c.prefix + ".nowhere"}))
	c.says("topic of an invalid name", write(&kgo.Record{Topic: "no/such"}))

	bound := c.topic("bound", 1, "message.timestamp.before.max.ms", "1000", "message.timestamp.after.max.ms", "86400000")
	hours := func(hours time.Duration) *kgo.Record {
		return &kgo.Record{Topic: bound, Value: []byte("value"), Timestamp: time.Now().Add(hours * time.Hour)}
	}
	c.says("older than message.timestamp.before.max.ms", write(hours(-1)))
	c.says("within message.timestamp.after.max.ms", write(hours(2)))
}

// A topic may stamp records with the broker's clock.
func appendTime(c *check) {
	topic := c.topic("stamped", 1, "message.timestamp.type", "LogAppendTime")
	before := time.Now().Add(-time.Second)
	record := &kgo.Record{Topic: topic, Value: []byte("value"), Timestamp: time.UnixMilli(1)}
	c.says("write", c.write(c.client(), record))
	read := c.read(topic, 0, start(), 1)[0]
	c.holds("it has the time of its append", read.Timestamp.After(before))
	c.says("type", read.Attrs.TimestampType())
}

// A partition is read from where the reader says.
func readingByOffset(c *check) {
	topic := c.topic("read", 1)
	c.fill(topic, 0, 10)
	first := func(name string, from kgo.Offset) {
		c.says(name, c.read(topic, 0, from, 1)[0].Offset)
	}
	first("from the start", start())
	first("from 4", kgo.NewOffset().At(4))
	first("from 3 after the start", start().Relative(3))
	first("from 2 before the end", kgo.NewOffset().AtEnd().Relative(-2))
	first("from beyond the end, with a reset to 1 before it", kgo.NewOffset().At(100))

	deleted, err := c.admin.DeleteRecords(c, offsetsAt(topic, 0, 6))
	c.must("delete records", err)
	c.must("delete records", deleted.Error())
	first("from the start, records deleted", start())
	at := map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(2)}}
	strict := c.client(kgo.ConsumePartitions(at), kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	c.says("from a deleted record, without reset", strict.PollFetches(c).Err())
}

func offsetsAt(topic string, partition int32, at int64) kadm.Offsets {
	offsets := kadm.Offsets{}
	offsets.AddOffset(topic, partition, at, -1)
	return offsets
}

// A record is read even if it is larger than what the reader asks for.
func largeRecords(c *check) {
	topic := c.topic("large", 1)
	value := strings.Repeat("x", 900_000)
	producer := c.client(kgo.ProducerBatchCompression(kgo.NoCompression()))
	for i := range 3 {
		c.says(fmt.Sprintf("write %d", i), c.write(producer, &kgo.Record{Topic: topic, Value: []byte(value)}))
	}
	for _, record := range c.read(topic, 0, start(), 3, kgo.FetchMaxPartitionBytes(1), kgo.FetchMaxBytes(1)) {
		c.holds("it is whole", string(record.Value) == value)
	}
}
