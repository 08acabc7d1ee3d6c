//! One consumer group: the classic protocol's state machine
//! (<https://cwiki.apache.org/confluence/display/KAFKA/Kafka+Client-side+Assignment+Proposal>,
//! KIP-345 for static members, KIP-394 for ids given before joining), as Kafka's coordinator has
//! it.
//!
//! It knows no clock and no network: every call says what time it is, and [`Group::next_deadline`]
//! says when to call [`Group::tick`] next.

mod joining;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use bytes::Bytes;
use kafka_protocol::error::ResponseError;

use super::member::{Joined, Member, Peer, Reply, SyncAsk, Synced};

/// What a group is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It has no members; it may have offsets.
    Empty,
    /// Members are to join (again).
    PreparingRebalance,
    /// All have joined; the leader is to assign.
    CompletingRebalance,
    /// Everyone knows its assignment.
    Stable,
}

impl State {
    /// As the protocol names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// How groups of this broker behave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// How long the first rebalance of a group waits for more members.
    pub initial_delay: Duration,
    /// Members at most.
    pub members: usize,
}

/// A consumer group.
#[derive(Debug)]
pub(crate) struct Group {
    rules: Rules,
    state: State,
    generation: i32,
    protocol_type: String,
    protocol: String,
    leader: String,
    /// By id.
    members: BTreeMap<String, Member>,
    /// Ids given to members that have not joined with them yet, and until when they may.
    pending: HashMap<String, Instant>,
    /// Ids of static members, by instance id.
    instances: HashMap<String, String>,
    /// When those that have not joined or synced are given up.
    phase_ends: Option<Instant>,
    /// Whether the rebalance under way waits out its delay, everyone there or not.
    delayed: bool,
}

impl Group {
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            state: State::Empty,
            generation: 0,
            protocol_type: String::new(),
            protocol: String::new(),
            leader: String::new(),
            members: BTreeMap::new(),
            pending: HashMap::new(),
            instances: HashMap::new(),
            phase_ends: None,
            delayed: false,
        }
    }

    pub fn state(&self) -> State {
        self.state
    }

    pub fn protocol_type(&self) -> &str {
        &self.protocol_type
    }

    /// The assignment protocol of this generation.
    pub fn protocol(&self) -> &str {
        &self.protocol
    }

    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// Whether nobody is in it or about to be.
    pub fn is_idle(&self) -> bool {
        self.members.is_empty() && self.pending.is_empty()
    }

    /// A member that may act: known, and not replaced by another of its instance id.
    fn member(&mut self, id: &str, instance: Option<&str>) -> Result<&mut Member, ResponseError> {
        if let Some(instance) = instance {
            match self.instances.get(instance) {
                None => return Err(ResponseError::UnknownMemberId),
                Some(current) if current != id => return Err(ResponseError::FencedInstanceId),
                Some(_) => {}
            }
        }
        self.members.get_mut(id).ok_or(ResponseError::UnknownMemberId)
    }

    /// Has everyone join again.
    fn prepare_rebalance(&mut self, now: Instant) {
        if self.state == State::CompletingRebalance {
            for member in self.members.values_mut() {
                if let Some(reply) = member.syncing.take() {
                    // It could send no heartbeats while it waited.
                    member.heard(now);
                    let _ = reply.send(Err(ResponseError::RebalanceInProgress));
                }
            }
        }
        if self.state != State::PreparingRebalance {
            self.delayed = self.state == State::Empty && !self.rules.initial_delay.is_zero();
            let wait =
                if self.delayed { self.rules.initial_delay } else { self.rebalance_timeout() };
            self.phase_ends = Some(now + wait);
            self.state = State::PreparingRebalance;
        }
    }

    fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|member| member.rebalance).max().unwrap_or_default()
    }

    /// Goes on to the next generation if everyone has joined.
    fn settle(&mut self, now: Instant) {
        let all = self.members.values().all(Member::joins) && self.pending.is_empty();
        if self.state == State::PreparingRebalance && all && !self.delayed {
            self.complete_join(now);
        }
    }

    /// Begins a generation with those that have joined.
    fn complete_join(&mut self, now: Instant) {
        for id in self.ids(|member| !member.joins() && member.instance.is_none()) {
            self.remove(&id);
        }
        self.delayed = false;
        if self.members.is_empty() {
            self.generation += 1;
            self.protocol.clear();
            self.state = State::Empty;
            self.phase_ends = None;
            return;
        }
        self.phase_ends = Some(now + self.rebalance_timeout());
        if !self.members.get(&self.leader).is_some_and(Member::joins) {
            let Some(first) = self.members.values().find(|member| member.joins()) else {
                // Only static members are left, and none is back: their sessions decide.
                return;
            };
            self.leader = first.id.clone();
        }
        self.generation += 1;
        self.protocol = self.select_protocol();
        self.state = State::CompletingRebalance;
        let answers: Vec<_> = self.members.keys().map(|id| self.joined(id)).collect();
        for (member, joined) in self.members.values_mut().zip(answers) {
            // A static member that is away keeps its place, and nobody waits for it.
            member.synced = !member.joins();
            if let Some(reply) = member.joining.take() {
                member.heard(now);
                let _ = reply.send(Ok(joined));
            }
        }
    }

    /// The protocol that all support and most prefer.
    fn select_protocol(&self) -> String {
        let common = |name: &str| self.members.values().all(|member| member.supports(name));
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| common(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        let chosen = votes.into_iter().max_by_key(|(_, count)| *count);
        chosen.map(|(name, _)| name.to_owned()).unwrap_or_default()
    }

    fn joined(&self, id: &str) -> Joined {
        let peer = |member: &Member| Peer {
            id: member.id.clone(),
            instance: member.instance.clone(),
            metadata: member.metadata(&self.protocol),
        };
        let leads = self.leader == id;
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            skip_assignment: false,
            member: id.to_owned(),
            members: if leads { self.members.values().map(peer).collect() } else { Vec::new() },
        }
    }

    /// SyncGroup. The answer may have to wait for the leader.
    ///
    /// # Errors
    /// If the member is not of this generation.
    pub fn sync(
        &mut self,
        now: Instant,
        ask: SyncAsk,
        reply: Reply<Synced>,
    ) -> Result<(), ResponseError> {
        let (state, generation) = (self.state, self.generation);
        let other_type = ask.protocol_type.is_some_and(|kind| kind != self.protocol_type);
        let other_protocol = ask.protocol.is_some_and(|protocol| protocol != self.protocol);
        let member = self.member(&ask.member, ask.instance.as_deref())?;
        if ask.generation != generation {
            return Err(ResponseError::IllegalGeneration);
        }
        if other_type || other_protocol {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        member.heard(now);
        match state {
            State::Empty => Err(ResponseError::UnknownMemberId),
            State::PreparingRebalance => Err(ResponseError::RebalanceInProgress),
            State::CompletingRebalance => {
                member.synced = true;
                member.syncing = Some(reply);
                if self.leader == ask.member {
                    self.assign(now, ask.assignments);
                }
                Ok(())
            }
            State::Stable => {
                member.synced = true;
                let assignment = member.assignment.clone();
                let _ = reply.send(Ok(self.synced(assignment)));
                Ok(())
            }
        }
    }

    fn synced(&self, assignment: Bytes) -> Synced {
        let (protocol_type, protocol) = (self.protocol_type.clone(), self.protocol.clone());
        Synced { protocol_type, protocol, assignment }
    }

    /// Takes the leader's assignment and tells those who wait for it.
    fn assign(&mut self, now: Instant, mut assignments: HashMap<String, Bytes>) {
        self.state = State::Stable;
        let answer = self.synced(Bytes::new());
        for member in self.members.values_mut() {
            member.assignment = assignments.remove(&member.id).unwrap_or_default();
            if let Some(reply) = member.syncing.take() {
                member.heard(now);
                let assignment = member.assignment.clone();
                let _ = reply.send(Ok(Synced { assignment, ..answer.clone() }));
            }
        }
    }

    /// Heartbeat.
    ///
    /// # Errors
    /// If the member is unknown, of another generation, or is to join again.
    pub fn heartbeat(
        &mut self,
        now: Instant,
        id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), ResponseError> {
        match self.heard(now, id, instance, generation)? {
            State::PreparingRebalance => Err(ResponseError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// Notes that a member of this generation lives.
    fn heard(
        &mut self,
        now: Instant,
        id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<State, ResponseError> {
        let (state, current) = (self.state, self.generation);
        let member = self.member(id, instance)?;
        if generation != current {
            return Err(ResponseError::IllegalGeneration);
        }
        member.heard(now);
        Ok(state)
    }

    /// Whether offsets may be committed by this member.
    ///
    /// # Errors
    /// If the member is unknown or of another generation, or there are members and this is none.
    pub fn check_commit(
        &mut self,
        now: Instant,
        id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), ResponseError> {
        if generation < 0 && self.members.is_empty() {
            // A client that assigns itself partitions, and only keeps its offsets here.
            return Ok(());
        }
        match self.heard(now, id, instance, generation)? {
            State::CompletingRebalance => Err(ResponseError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// LeaveGroup, of one member.
    ///
    /// # Errors
    /// If the member is unknown.
    pub fn leave(
        &mut self,
        now: Instant,
        id: &str,
        instance: Option<&str>,
    ) -> Result<(), ResponseError> {
        if self.pending.remove(id).is_none() {
            // An administrator removes a static member by its instance id alone.
            let id = match instance {
                Some(instance) if id.is_empty() => {
                    self.instances.get(instance).ok_or(ResponseError::UnknownMemberId)?.clone()
                }
                _ => self.member(id, instance)?.id.clone(),
            };
            self.remove(&id);
            self.prepare_rebalance(now);
        }
        self.settle(now);
        Ok(())
    }

    fn remove(&mut self, id: &str) {
        let Some(mut member) = self.members.remove(id) else { return };
        member.refuse(ResponseError::UnknownMemberId);
        if let Some(instance) = &member.instance {
            self.instances.remove(instance);
        }
        if self.leader == id {
            self.leader = self.members.keys().next().cloned().unwrap_or_default();
        }
    }

    /// When to call [`tick`](Self::tick) next.
    pub fn next_deadline(&self) -> Option<Instant> {
        let members = self.members.values().filter(|member| !member.waits());
        let phase = self.phase_ends.filter(|_| self.is_awaited());
        members
            .map(|member| member.expires)
            .chain(self.pending.values().copied())
            .chain(phase)
            .min()
    }

    /// Whether somebody is still to join or to sync.
    fn is_awaited(&self) -> bool {
        match self.state {
            State::Empty => false,
            State::PreparingRebalance => true,
            State::CompletingRebalance | State::Stable => {
                self.members.values().any(|member| !member.synced)
            }
        }
    }

    /// Does what is due: gives up members that were not heard of, or that keep others waiting.
    pub fn tick(&mut self, now: Instant) {
        self.pending.retain(|_, expires| *expires > now);
        self.give_up(now, |member| !member.waits() && member.expires <= now);
        if self.is_awaited() && self.phase_ends.is_some_and(|ends| ends <= now) {
            if self.state == State::PreparingRebalance {
                self.complete_join(now);
            } else {
                self.give_up(now, |member| !member.synced);
            }
        }
        self.settle(now);
    }

    fn give_up(&mut self, now: Instant, which: impl Fn(&Member) -> bool) {
        for id in self.ids(which) {
            self.remove(&id);
            self.prepare_rebalance(now);
        }
    }

    fn ids(&self, which: impl Fn(&Member) -> bool) -> Vec<String> {
        self.members
            .values()
            .filter(|member| which(member))
            .map(|member| member.id.clone())
            .collect()
    }
}
