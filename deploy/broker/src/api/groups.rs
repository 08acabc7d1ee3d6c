//! Consumer groups: finding the coordinator, joining, and what administrators ask.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use kafka_protocol::{
    error::ResponseError,
    messages::{
        ApiKey, BrokerId, DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest,
        DescribeGroupsResponse, FindCoordinatorRequest, FindCoordinatorResponse, GroupId,
        HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse,
        LeaveGroupRequest, LeaveGroupResponse, ListGroupsRequest, ListGroupsResponse,
        OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, SyncGroupRequest,
        SyncGroupResponse,
        delete_groups_response::DeletableGroupResult,
        describe_groups_response::{DescribedGroup, DescribedGroupMember},
        find_coordinator_response::Coordinator,
        join_group_response::JoinGroupResponseMember,
        leave_group_request::MemberIdentity,
        leave_group_response::MemberResponse,
        list_groups_response::ListedGroup,
    },
    protocol::StrBytes,
};

use super::{Call, Unreadable, commits, once, respond};
use crate::{
    groups::{Asker, Entry, JoinAsk, Joined, Member, SyncAsk},
    node::{NODE_ID, Node},
    refusal::{Refusal, code_of},
};

/// Answers a request of this family.
pub(super) async fn route(
    node: &Arc<Node>,
    call: &Call,
    api: ApiKey,
    body: Bytes,
) -> Result<Bytes, Unreadable> {
    let head = &call.head;
    match api {
        ApiKey::FindCoordinator => {
            respond(head, body, async |ask: FindCoordinatorRequest| find_coordinator(call, ask))
                .await
        }
        ApiKey::JoinGroup => {
            respond(head, body, |ask: JoinGroupRequest| join(node, call, ask)).await
        }
        ApiKey::SyncGroup => respond(head, body, |ask: SyncGroupRequest| sync(node, ask)).await,
        ApiKey::Heartbeat => {
            respond(head, body, async |ask: HeartbeatRequest| heartbeat(node, &ask)).await
        }
        ApiKey::LeaveGroup => {
            respond(head, body, async |ask: LeaveGroupRequest| leave(node, call, ask)).await
        }
        ApiKey::ListGroups => {
            respond(head, body, async |ask: ListGroupsRequest| list(node, &ask)).await
        }
        ApiKey::DescribeGroups => {
            respond(head, body, async |ask: DescribeGroupsRequest| describe(node, call, ask)).await
        }
        ApiKey::DeleteGroups => {
            respond(head, body, |ask: DeleteGroupsRequest| delete(node, ask)).await
        }
        ApiKey::OffsetCommit => {
            respond(head, body, |ask: OffsetCommitRequest| commits::commit(node, ask)).await
        }
        ApiKey::OffsetFetch => {
            respond(head, body, async |ask: OffsetFetchRequest| commits::fetch(node, call, ask))
                .await
        }
        ApiKey::OffsetDelete => {
            respond(head, body, |ask: OffsetDeleteRequest| commits::delete(node, ask)).await
        }
        other => Err(Unreadable(format!("{other:?} is not served"))),
    }
}

/// What is to be coordinated (`FindCoordinatorRequest.CoordinatorType`).
mod coordinated {
    pub const GROUP: i8 = 0;
    pub const TRANSACTION: i8 = 1;
}

fn find_coordinator(call: &Call, ask: FindCoordinatorRequest) -> FindCoordinatorResponse {
    let found = match ask.key_type {
        coordinated::GROUP | coordinated::TRANSACTION => Ok(()),
        other => Err(Refusal::new(
            ResponseError::InvalidRequest,
            format!(
                "there is no coordinator of type {other} here, only of groups and transactions"
            ),
        )),
    };
    let (host, port) = call.advertised.clone();
    let (node, host, port): (_, StrBytes, _) = match &found {
        Ok(()) => (NODE_ID, host.into(), i32::from(port)),
        Err(_) => (-1, StrBytes::default(), -1),
    };
    let message = found.as_ref().err().and_then(Refusal::text);
    if call.head.version < 4 {
        return FindCoordinatorResponse::default()
            .with_error_code(code_of(&found))
            .with_error_message(message)
            .with_node_id(BrokerId(node))
            .with_host(host)
            .with_port(port);
    }
    let coordinator = |key| {
        Coordinator::default()
            .with_key(key)
            .with_error_code(code_of(&found))
            .with_error_message(message.clone())
            .with_node_id(BrokerId(node))
            .with_host(host.clone())
            .with_port(port)
    };
    let coordinators = ask.coordinator_keys.into_iter().map(coordinator).collect();
    FindCoordinatorResponse::default().with_coordinators(coordinators)
}

/// How long a member may be silent at most (`group.max.session.timeout.ms`).
const MAX_SESSION_MS: i32 = 30 * 60 * 1000;

fn millis(count: i32) -> Duration {
    Duration::from_millis(u64::try_from(count).unwrap_or_default())
}

/// What is kept of a request is copied: a slice of it would keep the whole of it.
fn copied(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

async fn join(node: &Arc<Node>, call: &Call, ask: JoinGroupRequest) -> JoinGroupResponse {
    let member = ask.member_id.to_string();
    let joined = if ask.group_id.is_empty() {
        Err((ResponseError::InvalidGroupId, member))
    } else if !(1..=MAX_SESSION_MS).contains(&ask.session_timeout_ms) {
        Err((ResponseError::InvalidSessionTimeout, member))
    } else {
        let group = ask.group_id.to_string();
        node.groups.join(&group, join_ask(call, ask)).await
    };
    match joined {
        Ok(joined) => join_response(call, joined),
        Err((code, member)) => JoinGroupResponse::default()
            .with_error_code(code.code())
            .with_generation_id(-1)
            .with_protocol_name(unnamed(call))
            .with_member_id(member.into()),
    }
}

/// The protocol of a group that has none: null since version 7, empty before.
fn unnamed(call: &Call) -> Option<StrBytes> {
    (call.head.version < 7).then(StrBytes::default)
}

fn join_ask(call: &Call, ask: JoinGroupRequest) -> JoinAsk {
    let version = call.head.version;
    let session = millis(ask.session_timeout_ms);
    let protocol =
        |protocol: kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol| {
            (protocol.name.to_string(), copied(&protocol.metadata))
        };
    JoinAsk {
        member: ask.member_id.to_string(),
        instance: ask.group_instance_id.map(|id| id.to_string()),
        client: call.head.client.clone(),
        // As Kafka shows it.
        host: format!("/{}", call.client_host),
        session,
        rebalance: if version >= 1 { millis(ask.rebalance_timeout_ms) } else { session },
        protocol_type: ask.protocol_type.to_string(),
        protocols: ask.protocols.into_iter().map(protocol).collect(),
        needs_id: version >= 4,
        can_skip_assignment: version >= 9,
    }
}

fn join_response(call: &Call, joined: Joined) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|peer| {
        JoinGroupResponseMember::default()
            .with_member_id(peer.id.into())
            .with_group_instance_id(peer.instance.map(Into::into))
            .with_metadata(peer.metadata)
    });
    JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_type(Some(joined.protocol_type.into()))
        .with_protocol_name(Some(joined.protocol.into()))
        .with_leader(joined.leader.into())
        .with_skip_assignment(call.head.version >= 9 && joined.skip_assignment)
        .with_member_id(joined.member.into())
        .with_members(members.collect())
}

async fn sync(node: &Arc<Node>, ask: SyncGroupRequest) -> SyncGroupResponse {
    let group = ask.group_id.to_string();
    let assignments = ask.assignments.iter();
    let asked = SyncAsk {
        member: ask.member_id.to_string(),
        instance: ask.group_instance_id.as_ref().map(|id| id.to_string()),
        generation: ask.generation_id,
        protocol_type: ask.protocol_type.as_ref().map(|kind| kind.to_string()),
        protocol: ask.protocol_name.as_ref().map(|name| name.to_string()),
        assignments: assignments
            .map(|of| (of.member_id.to_string(), copied(&of.assignment)))
            .collect(),
    };
    drop(ask);
    match node.groups.sync(&group, asked).await {
        Ok(synced) => SyncGroupResponse::default()
            .with_protocol_type(Some(synced.protocol_type.into()))
            .with_protocol_name(Some(synced.protocol.into()))
            .with_assignment(synced.assignment),
        Err(code) => SyncGroupResponse::default().with_error_code(code.code()),
    }
}

fn heartbeat(node: &Node, ask: &HeartbeatRequest) -> HeartbeatResponse {
    let asker = Asker {
        member: &ask.member_id,
        instance: ask.group_instance_id.as_deref(),
        generation: ask.generation_id,
    };
    let heard = node.groups.heartbeat(&ask.group_id, asker);
    HeartbeatResponse::default().with_error_code(heard.err().map_or(0, |code| code.code()))
}

fn leave(node: &Node, call: &Call, ask: LeaveGroupRequest) -> LeaveGroupResponse {
    let leave = |member: &str, instance: Option<&str>| {
        let left = node.groups.leave(&ask.group_id, member, instance);
        left.err().map_or(0, |code| code.code())
    };
    if call.head.version < 3 {
        return LeaveGroupResponse::default().with_error_code(leave(&ask.member_id, None));
    }
    let members =
        ask.members.iter().map(|MemberIdentity { member_id, group_instance_id, .. }| {
            MemberResponse::default()
                .with_error_code(leave(member_id, group_instance_id.as_deref()))
                .with_member_id(member_id.clone())
                .with_group_instance_id(group_instance_id.clone())
        });
    LeaveGroupResponse::default().with_members(members.collect())
}

/// The only kind of group there is, by the names of KIP-848 and its followers.
const CLASSIC: &str = "classic";

fn list(node: &Node, ask: &ListGroupsRequest) -> ListGroupsResponse {
    let wanted = |filter: &[StrBytes], value: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
    };
    let groups = node.groups.list(|group, entry| {
        let state = entry.group.state().name();
        let listed = wanted(&ask.states_filter, state) && wanted(&ask.types_filter, CLASSIC);
        listed.then(|| {
            ListedGroup::default()
                .with_group_id(GroupId(group.to_owned().into()))
                .with_protocol_type(entry.group.protocol_type().to_owned().into())
                .with_group_state(state.into())
                .with_group_type(CLASSIC.into())
        })
    });
    ListGroupsResponse::default().with_groups(groups.into_iter().flatten().collect())
}

fn describe(node: &Node, call: &Call, ask: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let groups = once(ask.groups, Clone::clone).into_iter().map(|id| {
        let described = node.groups.look(&id, describe_one);
        // Since version 6 a group that does not exist is an error, before it is a dead one
        // (KIP-1043).
        let missing = || {
            let refusal =
                Refusal::new(ResponseError::GroupIdNotFound, format!("there is no group {}", *id));
            let dead = DescribedGroup::default().with_group_state("Dead".into());
            if call.head.version < 6 {
                return dead;
            }
            dead.with_error_code(refusal.number()).with_error_message(refusal.text())
        };
        described.unwrap_or_else(missing).with_group_id(id)
    });
    DescribeGroupsResponse::default().with_groups(groups.collect())
}

fn describe_one(entry: &Entry) -> DescribedGroup {
    let group = &entry.group;
    let member = |member: &Member| {
        DescribedGroupMember::default()
            .with_member_id(member.id.clone().into())
            .with_group_instance_id(member.instance.clone().map(Into::into))
            .with_client_id(member.client.clone().into())
            .with_client_host(member.host.clone().into())
            .with_member_metadata(member.metadata(group.protocol()))
            .with_member_assignment(member.assignment.clone())
    };
    DescribedGroup::default()
        .with_group_state(group.state().name().into())
        .with_protocol_type(group.protocol_type().to_owned().into())
        .with_protocol_data(group.protocol().to_owned().into())
        .with_members(group.members().map(member).collect())
}

async fn delete(node: &Arc<Node>, ask: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut results = Vec::new();
    for group in ask.groups_names {
        let deleted = node.groups.delete(&group).await;
        let result = DeletableGroupResult::default().with_error_code(code_of(&deleted));
        results.push(result.with_group_id(group));
    }
    DeleteGroupsResponse::default().with_results(results)
}
