package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A member of a group that polls until it leaves.
type member struct {
	client *kgo.Client
	ended  chan struct{}
	lock   sync.Mutex
	owned  []int32
	// revoked counts the partitions it was asked to give up, one by one.
	revoked int
	failure error
}

// join starts a member that reads a topic.
func (c *check) join(group, topic string, options ...kgo.Opt) *member {
	m := &member{ended: make(chan struct{})}
	assigned := func(_ context.Context, _ *kgo.Client, given map[string][]int32) {
		m.lock.Lock()
		defer m.lock.Unlock()
		m.owned = append(m.owned, given[topic]...)
	}
	taken := func(_ context.Context, _ *kgo.Client, taken map[string][]int32) {
		m.lock.Lock()
		defer m.lock.Unlock()
		m.revoked += len(taken[topic])
		m.owned = slices.DeleteFunc(m.owned, func(owned int32) bool { return slices.Contains(taken[topic], owned) })
	}
	options = append([]kgo.Opt{
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(topic),
		kgo.HeartbeatInterval(200 * time.Millisecond),
		kgo.SessionTimeout(6 * time.Second),
		kgo.RebalanceTimeout(10 * time.Second),
		kgo.OnPartitionsAssigned(assigned),
		kgo.OnPartitionsRevoked(taken),
		kgo.OnPartitionsLost(taken),
		kgo.DisableAutoCommit(),
	}, options...)
	m.client = c.client(options...)
	go m.poll(c)
	return m
}

func (m *member) poll(c *check) {
	defer close(m.ended)
	for {
		fetches := m.client.PollFetches(c)
		if fetches.IsClientClosed() || c.Err() != nil {
			return
		}
		m.lock.Lock()
		for _, failed := range fetches.Errors() {
			m.failure = failed.Err
		}
		m.lock.Unlock()
	}
}

// leave has it leave its group, unless it is a static member, and end.
func (m *member) leave() {
	m.client.CloseAllowingRebalance()
	<-m.ended
}

func (m *member) has() (owned []int32, revoked int, failure error) {
	m.lock.Lock()
	defer m.lock.Unlock()
	owned = slices.Clone(m.owned)
	slices.Sort(owned)
	return owned, m.revoked, m.failure
}

// shared waits until members have so many partitions each, and none twice.
func (c *check) shared(counts []int, members ...*member) {
	c.eventually(fmt.Sprintf("partitions are shared as %v", counts), func() bool {
		var all []int32
		for i, m := range members {
			owned, _, _ := m.has()
			if len(owned) != counts[i] {
				return false
			}
			all = append(all, owned...)
		}
		slices.Sort(all)
		return slices.Equal(all, []int32{0, 1, 2, 3})
	})
}

// Each of the balancers shares partitions among the members there are.
func balancers(c *check) {
	for _, of := range []struct {
		name     string
		balancer kgo.GroupBalancer
	}{
		{"range", kgo.RangeBalancer()},
		{"roundrobin", kgo.RoundRobinBalancer()},
		{"sticky", kgo.StickyBalancer()},
	} {
		topic, group := c.topic(of.name, 4), c.group(of.name)
		one := c.join(group, topic, kgo.Balancers(of.balancer))
		c.shared([]int{4}, one)
		two := c.join(group, topic, kgo.Balancers(of.balancer))
		c.shared([]int{2, 2}, one, two)
		_, revoked, _ := one.has()
		c.says(of.name+": given up by the first", revoked)
		described, err := c.admin.DescribeGroups(c, group)
		c.must("describe the group", err)
		c.says(of.name+": described", fmt.Sprintf("%s %s %s of %d", described[group].State,
			described[group].ProtocolType, described[group].Protocol, len(described[group].Members)))
		one.leave()
		c.shared([]int{4}, two)
		two.leave()
		c.eventually("the group is empty", func() bool {
			described, err := c.admin.DescribeGroups(c, group)
			return err == nil && described[group].State == "Empty"
		})
	}
}

// A cooperative member keeps what it need not give up.
func cooperativeMoves(c *check) {
	topic, group := c.topic("cooperative", 4), c.group("cooperative")
	cooperative := kgo.Balancers(kgo.CooperativeStickyBalancer())
	one := c.join(group, topic, cooperative)
	c.shared([]int{4}, one)
	two := c.join(group, topic, cooperative)
	c.shared([]int{2, 2}, one, two)
	kept, revoked, _ := one.has()
	c.says("given up by the first", revoked)
	two.leave()
	c.shared([]int{4}, one)
	owned, revoked, _ := one.has()
	c.says("given up when the second leaves", revoked-2)
	c.holds("what it had it has", slices.Contains(owned, kept[0]) && slices.Contains(owned, kept[1]))
	described, err := c.admin.DescribeGroups(c, group)
	c.must("describe the group", err)
	c.says("protocol", described[group].Protocol)
}

// A static member that comes back has its partitions again, and no other is disturbed; of two
// processes of one name the older is fenced.
func staticMembers(c *check) {
	topic, group := c.topic("static", 4), c.group("static")
	static := func(name string) *member {
		return c.join(group, topic, kgo.InstanceID(name), kgo.Balancers(kgo.RangeBalancer()))
	}
	one, two := static("one"), static("two")
	c.shared([]int{2, 2}, one, two)
	had, before, _ := one.has()
	_, generation := one.client.GroupMetadata()
	two.leave()
	two = static("two")
	c.shared([]int{2, 2}, one, two)
	has, after, _ := one.has()
	_, now := two.client.GroupMetadata()
	c.holds("the first keeps its partitions", slices.Equal(had, has))
	c.says("given up by the first", after-before)
	c.says("generations passed", now-generation)

	usurper := static("two")
	c.eventually("the older process hears that it is fenced", func() bool {
		_, _, failure := two.has()
		return errors.Is(failure, kerr.FencedInstanceID)
	})
	c.shared([]int{2, 2}, one, usurper)
	described, err := c.admin.DescribeGroups(c, group)
	c.must("describe the group", err)
	for _, of := range described[group].Members {
		assigned, _ := of.Assigned.AsConsumer()
		c.says("member "+*of.InstanceID, len(assigned.Topics[0].Partitions))
	}
	left, err := c.admin.LeaveGroup(c, kadm.LeaveGroup(group).InstanceIDs("one", "two", "three"))
	c.must("remove members", err)
	for _, of := range left.Sorted() {
		c.says("remove "+of.InstanceID, of.Err)
	}
}

// The partitions of a member that says nothing more go to another.
func silentMembers(c *check) {
	topic, group := c.topic("silent", 4), c.group("silent")
	cut := &network{}
	silent := c.join(group, topic, kgo.Dialer(cut.dial), kgo.Balancers(kgo.RangeBalancer()))
	c.shared([]int{4}, silent)
	other := c.join(group, topic, kgo.Balancers(kgo.RangeBalancer()))
	c.shared([]int{2, 2}, silent, other)
	cut.cut()
	c.shared([]int{4}, other)
}

// What a group commits it finds again: offset, metadata, and where it goes on reading.
func commits(c *check) {
	topic, group := c.topic("committed", 2), c.group("committed")
	c.fill(topic, 0, 10)
	reader := c.client(kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit())
	read := reader.PollRecords(c, 4).Records()
	c.says("commit", reader.CommitRecords(c, read[3]))
	reader.Close()
	again := c.client(kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit())
	c.says("goes on at", again.PollRecords(c, 1).Records()[0].Offset)
	again.Close()

	commit := func(call string, offset kadm.Offset) {
		offset.Topic = topic
		offsets := kadm.Offsets{}
		offsets.Add(offset)
		responses, err := c.admin.CommitOffsets(c, group, offsets)
		c.must("commit", err)
		responses.Each(func(of kadm.OffsetResponse) { c.says(call, of.Err) })
	}
	commit("metadata", kadm.Offset{At: 7, LeaderEpoch: 0, Metadata: "näher"})
	commit("4,096 bytes of metadata", kadm.Offset{Partition: 1, At: 1, LeaderEpoch: -1, Metadata: string(make([]byte, 4096))})
	commit("4,097 bytes of metadata", kadm.Offset{Partition: 1, At: 2, LeaderEpoch: -1, Metadata: string(make([]byte, 4097))})
	commit("partition that is not there", kadm.Offset{Partition: 9, At: 1})
	commit("negative offset", kadm.Offset{Partition: 1, At: -5})
	fetched, err := c.admin.FetchOffsets(c, group)
	c.must("fetch offsets", err)
	for _, of := range fetched.Sorted() {
		c.says(fmt.Sprintf("committed in %d", of.Partition),
			fmt.Sprintf("%d, epoch %d, %d bytes of metadata, %v", of.At, of.LeaderEpoch, len(of.Metadata), of.Err))
	}
	lags, err := c.admin.Lag(c, group)
	c.must("ask for the lag", err)
	c.says("lag", lags[group].Lag[topic][0].Lag)
}

// Who is no member cannot commit for a live group, and a member needs the protocol of the others.
func strangersToAGroup(c *check) {
	topic, group := c.topic("live", 4), c.group("live")
	one := c.join(group, topic, kgo.Balancers(kgo.RangeBalancer()))
	c.shared([]int{4}, one)
	responses, err := c.admin.CommitOffsets(c, group, offsetsAt(topic, 0, 1))
	c.must("commit", err)
	c.says("commit from outside", responses.Error())
	deleted, err := c.admin.DeleteOffsets(c, group, kadm.TopicsSet{topic: {0: {}}})
	c.must("delete offsets", err)
	c.says("delete the offset of a topic that is read", deleted.Error())
	_, err = c.admin.DeleteGroup(c, group)
	c.says("delete the group", err)

	refused := func(call string, options ...kgo.Opt) {
		m := c.join(group, topic, options...)
		c.eventually(call, func() bool { owned, _, failure := m.has(); return failure != nil || len(owned) > 0 })
		_, _, failure := m.has()
		c.says(call, failure)
		m.leave()
	}
	refused("join with another balancer", kgo.Balancers(kgo.RoundRobinBalancer()))
	refused("join with another kind of protocol", kgo.GroupProtocol("connect"), kgo.Balancers(kgo.RangeBalancer()))
	refused("join with a session of 3 s", kgo.SessionTimeout(3*time.Second), kgo.Balancers(kgo.RangeBalancer()))
	refused("join with a session of an hour", kgo.SessionTimeout(time.Hour), kgo.RebalanceTimeout(time.Hour), kgo.Balancers(kgo.RangeBalancer()))
}

// The group protocol of KIP-848 is for brokers that have it.
func newerGroups(c *check) {
	topic := c.topic("newer", 4)
	c.fill(topic, 0, 1)
	group := c.group("newer")
	m := c.join(group, topic, kgo.ServerSideBalancer())
	c.shared([]int{4}, m)
	for _, kind := range []string{"classic", "consumer"} {
		listed, err := c.admin.ListGroupsByType(c, []string{kind})
		c.must("list groups", err)
		_, is := listed[group]
		c.says("a server-side balancer makes a group of type "+kind, is)
	}
	m.leave()
}
