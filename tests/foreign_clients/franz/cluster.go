package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The cluster, its broker and its folders are described.
func cluster(c *check) {
	metadata, err := c.admin.BrokerMetadata(c)
	c.must("ask for metadata", err)
	c.holds("the cluster has an id", metadata.Cluster != "")
	c.says("brokers", fmt.Sprint(metadata.Brokers.NodeIDs(), " controller ", metadata.Controller))
	c.says("address", fmt.Sprintf("%s:%d", metadata.Brokers[0].Host, metadata.Brokers[0].Port))
	request := kmsg.NewPtrDescribeClusterRequest()
	described, err := request.RequestWith(c, c.client())
	c.must("describe the cluster", err)
	c.says("described", fmt.Sprint(kerr.ErrorForCode(described.ErrorCode), " ", described.ControllerID, " ", len(described.Brokers)))
	c.holds("the same cluster", described.ClusterID == metadata.Cluster)

	topic := c.topic("stored", 2)
	c.fill(topic, 0, 10)
	for _, of := range []kadm.TopicsSet{{topic: {0: {}, 1: {}}}, {c.prefix + ".nowhere": {0: {}}}} {
		directories, err := c.admin.DescribeBrokerLogDirs(c, 1, of)
		c.must("describe folders", err)
		partitions := directories.SortedPartitions()
		c.says("folders", len(directories))
		c.says("partitions in them", len(partitions))
		for _, directory := range directories {
			c.says("folder", directory.Err)
			c.says("volume is told", directory.TotalBytes > 0 && directory.UsableBytes > 0)
		}
		if len(partitions) == 2 {
			c.holds("what was written has a size", partitions[0].Size > 0 && partitions[1].Size == 0)
		}
	}
	configs, err := c.admin.DescribeBrokerConfigs(c, 1)
	c.must("describe settings of the broker", err)
	c.says("settings of the broker", configs[0].Err)
	_, err = c.admin.DescribeBrokerConfigs(c, 99)
	c.says("settings of a broker that is not there", err)
}

// Groups are listed by state, described, and deleted once empty.
func groups(c *check) {
	topic, group := c.topic("grouped", 4), c.group("grouped")
	one := c.join(group, topic, kgo.ClientID("reader"), kgo.Balancers(kgo.RangeBalancer()))
	c.shared([]int{4}, one)
	listed := func(call string, states ...string) {
		listed, err := c.admin.ListGroups(c, states...)
		c.must("list groups", err)
		of, is := listed[group]
		c.says(call, fmt.Sprintf("%t %s %s", is, of.State, of.ProtocolType))
	}
	listed("listed")
	listed("listed as stable", "Stable")
	listed("listed as empty", "Empty")
	described, err := c.admin.DescribeGroups(c, group, c.group("nowhere"))
	c.must("describe groups", err)
	member := described[group].Members[0]
	c.holds("the member's id begins with its client's", strings.HasPrefix(member.MemberID, "reader-"))
	c.says("member", fmt.Sprintf("%s at %s", member.ClientID, member.ClientHost))
	joined, _ := member.Join.AsConsumer()
	assigned, _ := member.Assigned.AsConsumer()
	c.says("subscribed to", joined.Topics)
	c.says("assigned", assigned.Topics[0].Partitions)
	nowhere := described[c.group("nowhere")]
	c.says("a group that is not there", fmt.Sprintf("%s, %s", nowhere.State, c.errorOrOk(nowhere.Err)))
	coordinators := c.admin.FindGroupCoordinators(c, group)
	c.says("coordinator", fmt.Sprintf("%d, %v", coordinators[group].NodeID, coordinators[group].Err))
	one.leave()
	c.eventually("the group is empty", func() bool {
		described, err := c.admin.DescribeGroups(c, group)
		return err == nil && described[group].State == "Empty"
	})
	listed("listed when all have left")
	// Nothing was committed: a group without members and offsets may be dead already.
	c.must("commit", c.admin.CommitAllOffsets(c, group, offsetsAt(topic, 0, 3)))
	for range 2 {
		_, err = c.admin.DeleteGroup(c, group)
		c.says("delete", err)
	}
}

// Offsets of a group that nobody is in are altered and deleted by an administrator.
func groupOffsets(c *check) {
	topic, group := c.topic("grouped", 3), c.group("offsets")
	c.must("commit", c.admin.CommitAllOffsets(c, group, offsetsAt(topic, 0, 3)))
	c.must("commit", c.admin.CommitAllOffsets(c, group, offsetsAt(topic, 1, 4)))
	deleted, err := c.admin.DeleteOffsets(c, group, kadm.TopicsSet{topic: {0: {}, 2: {}}})
	c.must("delete offsets", err)
	for partition := range int32(3) {
		err, there := deleted.Lookup(topic, partition)
		c.says(fmt.Sprintf("delete the offset of %d", partition), fmt.Sprintf("%t %s", there, c.errorOrOk(err)))
	}
	fetched, err := c.admin.FetchOffsets(c, group)
	c.must("fetch offsets", err)
	for _, of := range fetched.Sorted() {
		c.says(fmt.Sprintf("committed in %d", of.Partition), of.At)
	}
	none, err := c.admin.FetchOffsets(c, c.group("nowhere"))
	c.says("offsets of a group that is not there", fmt.Sprintf("%d, %s", len(none), c.errorOrOk(err)))
	_, err = c.admin.DeleteOffsets(c, c.group("nowhere"), kadm.TopicsSet{topic: {0: {}}})
	c.says("delete offsets of a group that is not there", err)
	many := c.admin.FetchManyOffsets(c, group, c.group("nowhere"))
	c.says("offsets of many groups", fmt.Sprintf("%d, %s", len(many), c.errorOrOk(many.Error())))
}

// Who produces to a partition is described.
func producers(c *check) {
	topic := c.topic("produced", 1)
	c.must("write", c.write(c.client(), numbered(topic, 0, 3)...))
	described, err := c.admin.DescribeProducers(c, kadm.TopicsSet{topic: {0: {}}})
	c.says("describe", err)
	for _, of := range described.SortedProducers() {
		c.says("producer", fmt.Sprintf("epoch %d, last sequence %d, transaction from %d", of.ProducerEpoch, of.LastSequence, of.CurrentTxnStartOffset))
	}
}

// asks sends a request as it is, and says the answer's first error.
func (c *check) asks(call string, request kmsg.Request, code func(kmsg.Response) int16) {
	within, cancel := context.WithTimeout(c, 10*time.Second)
	defer cancel()
	response, err := c.client().Request(within, request)
	if err == nil && code != nil {
		err = kerr.ErrorForCode(code(response))
	}
	c.says(call, err)
}

// Security and quotas: what a broker without them says.
func security(c *check) {
	_, err := c.admin.DescribeACLs(c, kadm.NewACLs().AnyResource().ResourcePatternType(kadm.ACLPatternAny).Operations().Allow().AllowHosts().Deny().DenyHosts())
	c.says("describe ACLs", err)
	created, err := c.admin.CreateACLs(c, kadm.NewACLs().Topics(c.prefix).Operations(kadm.OpRead).ResourcePatternType(kadm.ACLPatternLiteral).Allow("User:one"))
	for _, of := range created {
		err = of.Err
	}
	c.says("create an ACL", err)
	_, err = c.admin.DescribeClientQuotas(c, false, []kadm.DescribeClientQuotaComponent{{Type: "client-id", MatchType: kmsg.QuotasMatchTypeAny}})
	c.says("describe quotas", err)
	_, err = c.admin.DescribeUserSCRAMs(c)
	c.says("describe users", err)
	_, err = c.admin.DescribeDelegationTokens(c)
	c.says("describe delegation tokens", err)
	c.asks("SASL handshake", &kmsg.SASLHandshakeRequest{Version: 1, Mechanism: "PLAIN"}, func(r kmsg.Response) int16 {
		return r.(*kmsg.SASLHandshakeResponse).ErrorCode
	})
}

// What is between many brokers, and newer than what is served here: no call waits in vain.
func clustering(c *check) {
	topic := c.topic("placed", 1)
	set := kadm.TopicsSet{topic: {0: {}}}
	elected, err := c.admin.ElectLeaders(c, kadm.ElectPreferredReplica, set)
	if err == nil {
		err = elected[topic][0].Err
	}
	c.says("elect leaders", err)
	_, err = c.admin.ListPartitionReassignments(c, set)
	c.says("list reassignments", err)
	assignments := kadm.AlterPartitionAssignmentsReq{}
	assignments.Assign(topic, 0, []int32{1})
	assigned, err := c.admin.AlterPartitionAssignments(c, assignments)
	if err == nil {
		err = assigned[topic][0].Err
	}
	c.says("reassign", err)
	updated, err := c.admin.UpdateFeatures(c, true, kadm.FeatureUpdate{Feature: "group.version", MaxVersionLevel: 1, UpgradeType: 1})
	if err == nil {
		err = updated.Error()
	}
	c.says("update a feature", err)
	_, err = c.admin.ListConfigResources(c)
	c.says("list what has settings", err)
	_, err = c.admin.DescribeConsumerGroups(c, c.group("nowhere"))
	c.says("describe a group of KIP-848", err)
	_, err = c.admin.DescribeShareGroups(c, c.group("nowhere"))
	c.says("describe a share group", err)
	c.asks("describe the quorum", kmsg.NewPtrDescribeQuorumRequest(), func(r kmsg.Response) int16 {
		return r.(*kmsg.DescribeQuorumResponse).ErrorCode
	})
	c.asks("telemetry subscriptions", kmsg.NewPtrGetTelemetrySubscriptionsRequest(), func(r kmsg.Response) int16 {
		return r.(*kmsg.GetTelemetrySubscriptionsResponse).ErrorCode
	})
}
