//! How members come into a group.

use std::time::Instant;

use kafka_protocol::error::ResponseError;
use uuid::Uuid;

use super::{
    super::member::{JoinAsk, Joined, Member, Reply},
    Group, State,
};

impl Group {
    /// JoinGroup. The answer may have to wait for other members.
    ///
    /// # Errors
    /// If the member may not join; with the id it is to join with, if that is all it lacks.
    pub fn join(
        &mut self,
        now: Instant,
        ask: JoinAsk,
        reply: Reply<Joined>,
    ) -> Result<(), (ResponseError, String)> {
        let member = ask.member.clone();
        let joined = if member.is_empty() {
            self.join_new(now, ask, reply)
        } else {
            self.rejoin(now, ask, reply).map_err(|code| (code, member))
        };
        self.settle(now);
        joined
    }

    fn join_new(
        &mut self,
        now: Instant,
        ask: JoinAsk,
        reply: Reply<Joined>,
    ) -> Result<(), (ResponseError, String)> {
        let refused = |code| (code, String::new());
        self.check_protocols(&ask).map_err(refused)?;
        if let Some(instance) = &ask.instance {
            if let Some(old) = self.instances.get(instance).cloned() {
                return self.replace_static(now, old, ask, reply).map_err(refused);
            }
            self.check_room().map_err(refused)?;
            let id = format!("{instance}-{}", Uuid::new_v4());
            self.add(now, id, ask, reply);
            return Ok(());
        }
        self.check_room().map_err(refused)?;
        let id = format!("{}-{}", ask.client, Uuid::new_v4());
        if ask.needs_id {
            self.pending.insert(id.clone(), now + ask.session);
            return Err((ResponseError::MemberIdRequired, id));
        }
        self.add(now, id, ask, reply);
        Ok(())
    }

    fn check_room(&self) -> Result<(), ResponseError> {
        if self.members.len() + self.pending.len() >= self.rules.members {
            return Err(ResponseError::GroupMaxSizeReached);
        }
        Ok(())
    }

    /// Whether a member could take part with what it supports.
    fn check_protocols(&self, ask: &JoinAsk) -> Result<(), ResponseError> {
        let all_support = |name: &str| self.members.values().all(|member| member.supports(name));
        let fits = self.members.is_empty()
            || (self.protocol_type == ask.protocol_type
                && ask.protocols.iter().any(|(name, _)| all_support(name)));
        if ask.protocol_type.is_empty() || ask.protocols.is_empty() || !fits {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn rejoin(
        &mut self,
        now: Instant,
        ask: JoinAsk,
        reply: Reply<Joined>,
    ) -> Result<(), ResponseError> {
        self.check_protocols(&ask)?;
        let id = ask.member.clone();
        if ask.instance.is_none() && self.pending.remove(&id).is_some() {
            self.add(now, id, ask, reply);
            return Ok(());
        }
        let (state, leads, protocol) = (self.state, self.leader == id, self.protocol.clone());
        let member = self.member(&id, ask.instance.as_deref())?;
        let same = member.protocols == ask.protocols;
        // A follower that changes nothing, or whose answer was lost, is told what there is.
        let as_it_is = match state {
            State::Stable => same && !leads,
            State::CompletingRebalance => same,
            State::PreparingRebalance | State::Empty => false,
        };
        if as_it_is && member.supports(&protocol) {
            member.heard(now);
            let _ = reply.send(Ok(self.joined(&id)));
            return Ok(());
        }
        member.update(ask, now);
        member.joining = Some(reply);
        self.prepare_rebalance(now);
        Ok(())
    }

    fn add(&mut self, now: Instant, id: String, ask: JoinAsk, reply: Reply<Joined>) {
        if let Some(instance) = &ask.instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        if self.members.is_empty() {
            self.protocol_type.clone_from(&ask.protocol_type);
        }
        if self.leader.is_empty() {
            self.leader.clone_from(&id);
        }
        let mut member = Member::new(id.clone(), ask, now);
        member.joining = Some(reply);
        self.members.insert(id, member);
        self.prepare_rebalance(now);
    }

    /// Puts a restarted static member in the place of the one before (KIP-345).
    fn replace_static(
        &mut self,
        now: Instant,
        old: String,
        ask: JoinAsk,
        reply: Reply<Joined>,
    ) -> Result<(), ResponseError> {
        let mut member = self.members.remove(&old).ok_or(ResponseError::UnknownMemberId)?;
        member.refuse(ResponseError::FencedInstanceId);
        let instance = ask.instance.clone().unwrap_or_default();
        let id = format!("{instance}-{}", Uuid::new_v4());
        self.instances.insert(instance, id.clone());
        let led = self.leader == old;
        if led {
            self.leader.clone_from(&id);
        }
        let can_skip = ask.can_skip_assignment;
        member.id.clone_from(&id);
        member.update(ask, now);
        self.members.insert(id.clone(), member);
        if self.state == State::Stable && self.select_protocol() == self.protocol {
            let mut joined = self.joined(&id);
            if led && can_skip {
                joined.skip_assignment = true;
            } else if led {
                // A client that knows of no skipping must not see itself lead.
                joined.leader = old;
                joined.members.clear();
            }
            let _ = reply.send(Ok(joined));
            return Ok(());
        }
        if let Some(member) = self.members.get_mut(&id) {
            member.joining = Some(reply);
        }
        self.prepare_rebalance(now);
        Ok(())
    }
}
