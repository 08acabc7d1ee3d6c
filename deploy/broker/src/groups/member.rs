//! A member of a consumer group.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use tokio::sync::oneshot;

/// Where an answer goes that may have to wait for other members.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, ResponseError>>;

/// What a member is told once its group has a new generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Joined {
    pub generation: i32,
    pub protocol_type: String,
    pub protocol: String,
    pub leader: String,
    /// Whether the leader is to leave assignments as they are (KIP-814).
    pub skip_assignment: bool,
    pub member: String,
    /// Told to the leader only.
    pub members: Vec<Peer>,
}

/// A member as its leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    pub id: String,
    pub instance: Option<String>,
    pub metadata: Bytes,
}

/// What a member is told once its leader has assigned partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Synced {
    pub protocol_type: String,
    pub protocol: String,
    pub assignment: Bytes,
}

/// What a client joins with.
#[derive(Debug, Clone)]
pub(crate) struct JoinAsk {
    /// Empty for a new member.
    pub member: String,
    pub instance: Option<String>,
    pub client: String,
    pub host: String,
    pub session: Duration,
    pub rebalance: Duration,
    pub protocol_type: String,
    /// By preference, with the metadata for each.
    pub protocols: Vec<(String, Bytes)>,
    /// Whether a new member is first told its id, and joins with it (KIP-394).
    pub needs_id: bool,
    /// Whether the client knows of `skip_assignment`.
    pub can_skip_assignment: bool,
}

/// What a member asks for its assignment with.
#[derive(Debug, Default)]
pub(crate) struct SyncAsk {
    pub member: String,
    pub instance: Option<String>,
    pub generation: i32,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    /// Of the leader: by member id.
    pub assignments: HashMap<String, Bytes>,
}

/// A member of a group.
#[derive(Debug)]
pub(crate) struct Member {
    pub id: String,
    pub instance: Option<String>,
    pub client: String,
    pub host: String,
    pub session: Duration,
    pub rebalance: Duration,
    pub protocols: Vec<(String, Bytes)>,
    pub assignment: Bytes,
    /// When it is taken for dead, unless it is heard of before.
    pub expires: Instant,
    /// Set while it waits for the others to join.
    pub joining: Option<Reply<Joined>>,
    /// Set while it waits for the leader's assignment.
    pub syncing: Option<Reply<Synced>>,
    /// Whether it has asked for its assignment in this generation.
    pub synced: bool,
}

impl Member {
    pub fn new(id: String, ask: JoinAsk, now: Instant) -> Self {
        Self {
            id,
            expires: now + ask.session,
            instance: ask.instance,
            client: ask.client,
            host: ask.host,
            session: ask.session,
            rebalance: ask.rebalance,
            protocols: ask.protocols,
            assignment: Bytes::new(),
            joining: None,
            syncing: None,
            synced: false,
        }
    }

    /// Takes what it joined with this time.
    pub fn update(&mut self, ask: JoinAsk, now: Instant) {
        self.client = ask.client;
        self.host = ask.host;
        self.session = ask.session;
        self.rebalance = ask.rebalance;
        self.protocols = ask.protocols;
        self.heard(now);
    }

    /// Notes a sign of life.
    pub fn heard(&mut self, now: Instant) {
        self.expires = now + self.session;
    }

    /// Whether it waits for an answer of ours: it cannot send heartbeats, then.
    pub fn waits(&self) -> bool {
        waits(self.joining.as_ref()) || waits(self.syncing.as_ref())
    }

    /// Whether it takes part in the rebalance under way.
    pub fn joins(&self) -> bool {
        self.joining.is_some()
    }

    /// Its metadata for a protocol.
    pub fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    /// Whether it can be assigned partitions by a protocol.
    pub fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    /// Answers what it waits for with an error.
    pub fn refuse(&mut self, code: ResponseError) {
        // Whoever waited may have gone meanwhile, here as elsewhere.
        if let Some(reply) = self.joining.take() {
            let _ = reply.send(Err(code));
        }
        if let Some(reply) = self.syncing.take() {
            let _ = reply.send(Err(code));
        }
    }
}

fn waits<T>(reply: Option<&Reply<T>>) -> bool {
    reply.is_some_and(|reply| !reply.is_closed())
}
