package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Topics are created, found and deleted; what makes no topic is refused.
func topics(c *check) {
	create := func(call, name string, partitions int32, replicas int16, settings ...string) {
		created, err := c.admin.CreateTopics(c, partitions, replicas, pairs(settings), name)
		c.must("create topics", err)
		of := created[name]
		c.says(call, of.Err)
		if of.Err == nil {
			c.says(call+": made", fmt.Sprintf("%d partitions on %d, id %t", of.NumPartitions, of.ReplicationFactor, of.ID != kadm.TopicID{}))
		}
	}
	one := c.prefix + ".one"
	create("create", one, 3, 1, "retention.ms", "86400000")
	create("create again", one, 3, 1)
	create("with the broker's defaults", c.prefix+".defaults", -1, -1)
	create("no partition", c.prefix+".none", 0, 1)
	create("two replicas", c.prefix+".replicated", 1, 2)
	create("no name", "", 1, 1)
	create("name of dots", "..", 1, 1)
	create("invalid name", "no/such", 1, 1)
	create("name of 250 letters", strings.Repeat("x", 250), 1, 1)
	create("name that collides", strings.ReplaceAll(one, ".one", "_one"), 1, 1)
	create("unknown setting", c.prefix+".set", 1, 1, "retention.hours", "1")
	create("wrong value", c.prefix+".set", 1, 1, "retention.ms", "tomorrow")
	dry, err := c.admin.ValidateCreateTopics(c, 1, 1, nil, c.prefix+".dry")
	c.must("validate", err)
	c.says("validate only", dry.Error())

	var listed kadm.TopicDetails
	c.eventually("the topic is found", func() bool {
		listed, err = c.admin.ListTopics(c, one, c.prefix+".dry")
		c.must("list topics", err)
		return listed[one].Err == nil
	})
	c.says("found", fmt.Sprintf("%d partitions, %v", len(listed[one].Partitions), listed[one].Err))
	c.says("found what was only validated", listed[c.prefix+".dry"].Err)
	for _, of := range [][2]string{{"delete", one}, {"delete again", one}, {"delete an invalid name", "no/such"}} {
		deleted, err := c.admin.DeleteTopics(c, of[1])
		c.must("delete topics", err)
		c.says(of[0], deleted[of[1]].Err)
	}
}

// Partitions are added, never taken away.
func partitions(c *check) {
	topic := c.topic("grown", 2)
	grow := func(call, topic string, to int) {
		grown, err := c.admin.UpdatePartitions(c, to, topic)
		c.must("create partitions", err)
		c.says(call, grown[topic].Err)
	}
	grow("more", topic, 4)
	grow("as many", topic, 4)
	grow("fewer", topic, 3)
	grow("none", topic, 0)
	grow("of a topic that is not there", c.prefix+".nowhere", 2)
	dry, err := c.admin.ValidateUpdatePartitions(c, 9, topic)
	c.must("validate", err)
	c.says("validate only", dry[topic].Err)
	c.eventually("there are more", func() bool {
		listed, err := c.admin.ListTopics(c, topic)
		return err == nil && len(listed[topic].Partitions) == 4
	})
}

// Records are deleted before an offset.
func deletedRecords(c *check) {
	topic := c.topic("emptied", 1)
	c.fill(topic, 0, 10)
	for _, of := range []struct {
		call      string
		partition int32
		before    int64
	}{
		{"before 4", 0, 4},
		{"before 2, which is gone", 0, 2},
		{"before 11, beyond the end", 0, 11},
		{"all", 0, -1},
		{"before -2", 0, -2},
		{"of a partition that is not there", 7, 1},
	} {
		deleted, err := c.admin.DeleteRecords(c, offsetsAt(topic, of.partition, of.before))
		if err != nil {
			c.says(of.call, err)
			continue
		}
		for _, at := range deleted.Sorted() {
			c.says(of.call, fmt.Sprintf("first offset left %d, %s", at.LowWatermark, c.errorOrOk(at.Err)))
		}
	}
}

func (c *check) errorOrOk(err error) string {
	if err == nil {
		return "ok"
	}
	return c.reason(err)
}

// Offsets are found at the ends, by time, and at the greatest time.
func listedOffsets(c *check) {
	topic := c.topic("timed", 2)
	base := time.Now().Truncate(time.Second).Add(-time.Hour)
	producer := c.client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for i, minute := range []int{0, 20, 10, 30} {
		at := base.Add(time.Duration(minute) * time.Minute)
		record := &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, "%d", i), Timestamp: at}
		c.must("write", c.write(producer, record))
	}
	says := func(call string, listed kadm.ListedOffsets, err error) {
		c.must(call, err)
		for partition := range int32(2) {
			at, _ := listed.Lookup(topic, partition)
			when := fmt.Sprint(at.Timestamp)
			if at.Timestamp > 0 {
				when = fmt.Sprintf("minute %v", time.UnixMilli(at.Timestamp).Sub(base).Minutes())
			}
			c.says(fmt.Sprintf("%s of %d", call, partition), fmt.Sprintf("%d, %s, %s", at.Offset, when, c.errorOrOk(at.Err)))
		}
	}
	list := func(call string, list func() (kadm.ListedOffsets, error)) {
		listed, err := list()
		says(call, listed, err)
	}
	list("start", func() (kadm.ListedOffsets, error) { return c.admin.ListStartOffsets(c, topic) })
	list("end", func() (kadm.ListedOffsets, error) { return c.admin.ListEndOffsets(c, topic) })
	list("committed end", func() (kadm.ListedOffsets, error) { return c.admin.ListCommittedOffsets(c, topic) })
	list("greatest time", func() (kadm.ListedOffsets, error) { return c.admin.ListMaxTimestampOffsets(c, topic) })
	list("local start", func() (kadm.ListedOffsets, error) { return c.admin.ListLocalLogStartOffsets(c, topic) })
	list("latest remote", func() (kadm.ListedOffsets, error) { return c.admin.ListLatestRemoteOffsets(c, topic) })
	for _, minute := range []int{-1, 5, 15, 30, 31} {
		after := base.Add(time.Duration(minute) * time.Minute).UnixMilli()
		list(fmt.Sprintf("minute %d", minute), func() (kadm.ListedOffsets, error) { return c.admin.ListOffsetsAfterMilli(c, after, topic) })
	}
	epochs := kadm.OffsetForLeaderEpochRequest{}
	epochs.Add(topic, 0, 0)
	epochs.Add(topic, 1, 7)
	ends, err := c.admin.OffsetForLeaderEpoch(c, epochs)
	c.must("ask for ends of epochs", err)
	for partition := range int32(2) {
		of := ends[topic][partition]
		c.says(fmt.Sprintf("end of an epoch of %d", partition), fmt.Sprintf("%d in %d, %s", of.EndOffset, of.LeaderEpoch, c.errorOrOk(of.Err)))
	}
}

// What topics may be configured with.
var values = map[string][]string{
	"cleanup.policy":                          {"compact", "compact,delete", "delete", "", "burn"},
	"compression.gzip.level":                  {"1", "9", "12"},
	"compression.lz4.level":                   {"9", "30"},
	"compression.type":                        {"gzip", "lz4", "producer", "snappy", "uncompressed", "zip", "zstd"},
	"compression.zstd.level":                  {"3", "40"},
	"delete.retention.ms":                     {"0", "100", "-1"},
	"errors.deadletterqueue.group.enable":     {"false"},
	"file.delete.delay.ms":                    {"0", "60000", "-1"},
	"flush.messages":                          {"1", "9223372036854775807", "0"},
	"flush.ms":                                {"0", "9223372036854775807", "-1"},
	"follower.replication.throttled.replicas": {"", "*"},
	"index.interval.bytes":                    {"0", "4096", "-1"},
	"internal.segment.bytes":                  {"1000"},
	"leader.replication.throttled.replicas":   {"", "*"},
	"local.retention.bytes":                   {"-2", "100", "-3"},
	"local.retention.ms":                      {"-2", "100", "-3"},
	"max.compaction.lag.ms":                   {"1", "9223372036854775807", "0"},
	"max.message.bytes":                       {"0", "1000", "-1"},
	"message.downconversion.enable":           {"true"},
	"message.format.version":                  {"3.0"},
	"message.timestamp.after.max.ms":          {"0", "1000", "9223372036854775807", "-1"},
	"message.timestamp.before.max.ms":         {"0", "1000", "9223372036854775807", "-1"},
	"message.timestamp.difference.max.ms":     {"1000"},
	"message.timestamp.type":                  {"CreateTime", "LogAppendTime", "Noon"},
	"min.cleanable.dirty.ratio":               {"0", "0.5", "1", "1.5", "-0.1"},
	"min.compaction.lag.ms":                   {"0", "100", "-1"},
	"min.insync.replicas":                     {"1", "2", "0"},
	"preallocate":                             {"false", "true", "perhaps"},
	"remote.copy.disable":                     {"false", "true"},
	"remote.log.copy.disable":                 {"false"},
	"remote.log.delete.on.disable":            {"false"},
	"remote.storage.enable":                   {"false", "true"},
	"retention.bytes":                         {"-1", "1000", "-2"},
	"retention.ms":                            {"-1", "1000", "-2"},
	"segment.bytes":                           {"1048576", "1073741824", "1000", "13"},
	"segment.index.bytes":                     {"10485760", "4", "3"},
	"segment.jitter.ms":                       {"0", "100", "-1"},
	"segment.ms":                              {"1", "1000", "0"},
	"unclean.leader.election.enable":          {"false", "true"},
}

// Which settings and which values a topic takes.
func settings(c *check) {
	for name, values := range values {
		for _, value := range values {
			dry, err := c.admin.ValidateCreateTopics(c, 1, 1, pairs([]string{name, value}), c.prefix)
			c.must("validate", err)
			c.says(name+"="+value, dry[c.prefix].Err)
		}
	}
	slices.Sort(c.lines)
	both := pairs([]string{"max.compaction.lag.ms", "5", "min.compaction.lag.ms", "10"})
	dry, err := c.admin.ValidateCreateTopics(c, 1, 1, both, c.prefix)
	c.must("validate", err)
	c.says("max.compaction.lag.ms less than min.compaction.lag.ms", dry[c.prefix].Err)
}

// What a topic that sets nothing is described as.
func defaults(c *check) {
	topic := c.topic("plain", 1)
	described, err := c.admin.DescribeTopicConfigs(c, topic)
	c.must("describe settings", err)
	for _, of := range described[0].Configs {
		c.says(of.Key, of.MaybeValue())
	}
	slices.Sort(c.lines)
}

// Settings are set, deleted, added to and taken from, one by one.
func alteredSettings(c *check) {
	topic := c.topic("altered", 1, "retention.ms", "1000")
	alter := func(call, topic string, op kadm.IncrementalOp, name, value string) {
		altered, err := c.admin.AlterTopicConfigs(c, []kadm.AlterConfig{{Op: op, Name: name, Value: &value}}, topic)
		c.must("alter settings", err)
		c.says(call, altered[0].Err)
	}
	alter("set", topic, kadm.SetConfig, "segment.bytes", "2097152")
	alter("delete", topic, kadm.DeleteConfig, "retention.ms", "")
	alter("delete what is not set", topic, kadm.DeleteConfig, "retention.bytes", "")
	alter("append to a list", topic, kadm.AppendConfig, "cleanup.policy", "compact")
	alter("subtract from a list", topic, kadm.SubtractConfig, "cleanup.policy", "delete")
	alter("append to what is no list", topic, kadm.AppendConfig, "retention.ms", "1")
	alter("wrong value", topic, kadm.SetConfig, "retention.ms", "tomorrow")
	alter("unknown setting", topic, kadm.SetConfig, "retention.hours", "1")
	alter("of a topic that is not there", c.prefix+".nowhere", kadm.SetConfig, "retention.ms", "1")
	var described kadm.ResourceConfigs
	c.eventually("what was set is described", func() bool {
		var err error
		described, err = c.admin.DescribeTopicConfigs(c, topic)
		c.must("describe settings", err)
		return slices.ContainsFunc(described[0].Configs, func(of kadm.Config) bool {
			return of.Key == "cleanup.policy" && of.MaybeValue() == "compact"
		})
	})
	for _, of := range described[0].Configs {
		if of.Source.String() == "DYNAMIC_TOPIC_CONFIG" {
			c.says("described "+of.Key, of.MaybeValue())
		}
	}
	replaced, err := c.admin.AlterTopicConfigsState(c, []kadm.AlterConfig{{Name: "retention.ms", Value: kadm.StringPtr("5")}}, topic)
	c.must("replace settings", err)
	c.says("replace all", replaced[0].Err)
	broker, err := c.admin.AlterBrokerConfigs(c, []kadm.AlterConfig{{Name: "log.cleaner.threads", Value: kadm.StringPtr("1")}}, 1)
	if err == nil {
		err = broker[0].Err
	}
	c.says("set a setting of the broker", err)
}
