use tokio::sync::oneshot::{self, Receiver};

use super::{super::member::JoinAsk, *};

const SESSION: Duration = Duration::from_secs(6);
const REBALANCE: Duration = Duration::from_secs(30);

/// A group with a clock that only the test moves.
struct Scene {
    group: Group,
    now: Instant,
}

type Wait<T> = Receiver<Result<T, ResponseError>>;

fn ask(member: &str) -> JoinAsk {
    JoinAsk {
        member: member.to_owned(),
        instance: None,
        client: "client".to_owned(),
        host: "/127.0.0.1".to_owned(),
        session: SESSION,
        rebalance: REBALANCE,
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), Bytes::from_static(b"orders"))],
        needs_id: true,
        can_skip_assignment: true,
    }
}

fn static_ask(member: &str, instance: &str) -> JoinAsk {
    JoinAsk { instance: Some(instance.to_owned()), ..ask(member) }
}

fn answer<T>(wait: &mut Wait<T>) -> Result<T, ResponseError> {
    wait.try_recv().expect("an answer")
}

impl Scene {
    fn new() -> Self {
        let rules = Rules { initial_delay: Duration::ZERO, members: 10 };
        Self { group: Group::new(rules), now: Instant::now() }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(deadline) = self.group.next_deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.group.tick(self.now);
        }
        self.now = end;
    }

    fn try_join(&mut self, ask: JoinAsk) -> Result<Wait<Joined>, (ResponseError, String)> {
        let (reply, wait) = oneshot::channel();
        self.group.join(self.now, ask, reply).map(|()| wait)
    }

    fn join(&mut self, ask: JoinAsk) -> Wait<Joined> {
        self.try_join(ask).expect("it may join")
    }

    /// Joins as a client does that is first told its id.
    fn join_new(&mut self) -> (String, Wait<Joined>) {
        let (code, id) = self.try_join(ask("")).expect_err("an id first");
        assert_eq!(code, ResponseError::MemberIdRequired);
        let wait = self.join(ask(&id));
        (id, wait)
    }

    fn sync(&mut self, joined: &Joined) -> Wait<Synced> {
        let assignments = joined
            .members
            .iter()
            .map(|peer| (peer.id.clone(), Bytes::from(format!("for {}", peer.id))))
            .collect();
        let ask = SyncAsk {
            member: joined.member.clone(),
            generation: joined.generation,
            assignments,
            ..SyncAsk::default()
        };
        let (reply, wait) = oneshot::channel();
        self.group.sync(self.now, ask, reply).expect("it may sync");
        wait
    }

    fn heartbeat(&mut self, member: &Joined) -> Result<(), ResponseError> {
        self.group.heartbeat(self.now, &member.member, None, member.generation)
    }

    /// A stable group of two: the leader and a follower.
    fn pair() -> (Self, Joined, Joined) {
        let mut scene = Self::new();
        let (first, _) = scene.join_new();
        let (_, mut second) = scene.join_new();
        let mut first = scene.join(ask(&first));
        let leader = answer(&mut first).unwrap();
        let follower = answer(&mut second).unwrap();
        let mut waits = [scene.sync(&follower), scene.sync(&leader)];
        waits.iter_mut().for_each(|wait| assert!(answer(wait).is_ok()));
        assert_eq!(scene.group.state(), State::Stable);
        (scene, leader, follower)
    }
}

#[test]
fn one_member_joins_and_is_assigned_everything() {
    let mut scene = Scene::new();
    let (id, mut wait) = scene.join_new();
    let joined = answer(&mut wait).unwrap();
    assert_eq!((joined.generation, &joined.leader, &joined.member), (1, &id, &id));
    assert_eq!(joined.protocol, "range");
    assert_eq!(joined.members[0].metadata, "orders");
    let synced = answer(&mut scene.sync(&joined)).unwrap();
    assert_eq!(synced.assignment, format!("for {id}"));
    assert_eq!(scene.heartbeat(&joined), Ok(()));
}

#[test]
fn a_second_member_has_the_first_join_again() {
    let mut scene = Scene::new();
    let (first, mut wait) = scene.join_new();
    let alone = answer(&mut wait).unwrap();
    assert!(answer(&mut scene.sync(&alone)).is_ok());
    let (second, mut second_wait) = scene.join_new();
    assert!(second_wait.try_recv().is_err(), "it waits for the first");
    assert_eq!(scene.heartbeat(&alone), Err(ResponseError::RebalanceInProgress));
    let leader = answer(&mut scene.join(ask(&first))).unwrap();
    let follower = answer(&mut second_wait).unwrap();
    assert_eq!((leader.generation, follower.generation), (2, 2));
    assert_eq!((leader.members.len(), follower.members.len()), (2, 0));
    let mut follower_wait = scene.sync(&follower);
    assert!(follower_wait.try_recv().is_err(), "it waits for the leader");
    assert!(answer(&mut scene.sync(&leader)).is_ok());
    assert_eq!(answer(&mut follower_wait).unwrap().assignment, format!("for {second}"));
}

#[test]
fn a_member_that_is_silent_for_its_session_is_given_up() {
    let (mut scene, leader, follower) = Scene::pair();
    for _ in 0..4 {
        scene.pass(SESSION / 2);
        let _ = scene.heartbeat(&leader);
    }
    assert_eq!(scene.heartbeat(&follower), Err(ResponseError::UnknownMemberId));
    assert_eq!(scene.heartbeat(&leader), Err(ResponseError::RebalanceInProgress));
    let alone = answer(&mut scene.join(ask(&leader.member))).unwrap();
    assert_eq!((alone.generation, alone.members.len()), (leader.generation + 1, 1));
}

#[test]
fn a_member_that_does_not_join_again_is_given_up_after_the_rebalance_timeout() {
    let (mut scene, leader, follower) = Scene::pair();
    let mut wait = scene.join(ask(&leader.member));
    for _ in 0..10 {
        assert!(wait.try_recv().is_err());
        // It lives, and sends heartbeats, and does not join.
        let _ = scene.heartbeat(&follower);
        scene.pass(REBALANCE / 10);
    }
    let alone = answer(&mut wait).unwrap();
    assert_eq!(alone.members.len(), 1);
    assert_eq!(scene.heartbeat(&follower), Err(ResponseError::UnknownMemberId));
}

#[test]
fn a_leader_that_assigns_nothing_is_given_up_after_the_rebalance_timeout() {
    let (mut scene, leader, follower) = Scene::pair();
    let mut waits = [scene.join(ask(&leader.member)), scene.join(ask(&follower.member))];
    let [leader, follower] = [0, 1].map(|i| answer(&mut waits[i]).unwrap());
    let mut wait = scene.sync(&follower);
    for _ in 0..10 {
        let _ = scene.heartbeat(&leader);
        scene.pass(REBALANCE / 10);
    }
    assert_eq!(answer(&mut wait), Err(ResponseError::RebalanceInProgress));
    let led = answer(&mut scene.join(ask(&follower.member))).unwrap();
    assert_eq!((&led.leader, led.members.len()), (&follower.member, 1));
}

#[test]
fn the_last_to_leave_leaves_an_empty_group() {
    let (mut scene, leader, follower) = Scene::pair();
    scene.group.leave(scene.now, &leader.member, None).unwrap();
    assert_eq!(scene.heartbeat(&follower), Err(ResponseError::RebalanceInProgress));
    scene.group.leave(scene.now, &follower.member, None).unwrap();
    assert_eq!(scene.group.state(), State::Empty);
    assert!(scene.group.is_idle());
    assert_eq!(
        scene.group.leave(scene.now, &follower.member, None),
        Err(ResponseError::UnknownMemberId)
    );
}

#[test]
fn a_follower_that_changes_nothing_keeps_its_generation() {
    let (mut scene, leader, follower) = Scene::pair();
    let again = answer(&mut scene.join(ask(&follower.member))).unwrap();
    assert_eq!(again.generation, leader.generation);
    assert_eq!(scene.heartbeat(&leader), Ok(()));
}

#[test]
fn a_member_of_an_earlier_generation_may_neither_sync_nor_commit() {
    let (mut scene, leader, _) = Scene::pair();
    let (reply, _wait) = oneshot::channel();
    let old = SyncAsk {
        member: leader.member.clone(),
        generation: leader.generation - 1,
        ..SyncAsk::default()
    };
    assert_eq!(scene.group.sync(scene.now, old, reply), Err(ResponseError::IllegalGeneration));
    let mut commit =
        |member: &str, generation| scene.group.check_commit(scene.now, member, None, generation);
    assert_eq!(commit(&leader.member, leader.generation), Ok(()));
    assert_eq!(commit(&leader.member, 0), Err(ResponseError::IllegalGeneration));
    assert_eq!(commit("zombie", leader.generation), Err(ResponseError::UnknownMemberId));
    assert_eq!(commit("", -1), Err(ResponseError::UnknownMemberId));
}

#[test]
fn a_client_without_a_group_commits_as_long_as_there_are_no_members() {
    let mut scene = Scene::new();
    assert_eq!(scene.group.check_commit(scene.now, "", None, -1), Ok(()));
}

#[test]
fn a_static_member_that_restarts_causes_no_rebalance() {
    let mut scene = Scene::new();
    let mut first = scene.join(static_ask("", "one"));
    let first = answer(&mut first).unwrap();
    assert!(answer(&mut scene.sync(&first)).is_ok());
    let restarted = answer(&mut scene.join(static_ask("", "one"))).unwrap();
    assert_eq!(restarted.generation, first.generation);
    assert!(restarted.skip_assignment);
    assert_ne!(restarted.member, first.member);
    let assignment = answer(&mut scene.sync(&restarted)).unwrap().assignment;
    assert_eq!(assignment, format!("for {}", first.member));
    // The one before is fenced.
    let zombie = scene.group.heartbeat(scene.now, &first.member, Some("one"), first.generation);
    assert_eq!(zombie, Err(ResponseError::FencedInstanceId));
}

#[test]
fn a_static_member_that_is_away_keeps_its_place_for_its_session() {
    let mut scene = Scene::new();
    let one = answer(&mut scene.join(static_ask("", "one"))).unwrap();
    assert!(answer(&mut scene.sync(&one)).is_ok());
    let mut two = scene.join(static_ask("", "two"));
    let mut again = scene.join(static_ask(&one.member, "one"));
    let (one, two) = (answer(&mut again).unwrap(), answer(&mut two).unwrap());
    let mut waits = [scene.sync(&two), scene.sync(&one)];
    waits.iter_mut().for_each(|wait| assert!(answer(wait).is_ok()));
    scene.pass(SESSION / 2);
    assert_eq!(scene.heartbeat(&one), Ok(()));
    scene.pass(SESSION * 2 / 3);
    assert_eq!(scene.heartbeat(&one), Err(ResponseError::RebalanceInProgress));
}

#[test]
fn members_that_share_no_protocol_are_refused() {
    let (mut scene, ..) = Scene::pair();
    let other = JoinAsk { protocols: vec![("sticky".to_owned(), Bytes::new())], ..ask("") };
    let refused = scene.try_join(other).unwrap_err().0;
    assert_eq!(refused, ResponseError::InconsistentGroupProtocol);
    let none = JoinAsk { protocols: Vec::new(), ..ask("") };
    assert_eq!(
        Scene::new().try_join(none).unwrap_err().0,
        ResponseError::InconsistentGroupProtocol
    );
}

#[test]
fn the_first_rebalance_waits_out_its_delay() {
    let mut scene = Scene::new();
    scene.group.rules.initial_delay = Duration::from_secs(3);
    let (_, mut first) = scene.join_new();
    scene.pass(Duration::from_secs(1));
    let (_, mut second) = scene.join_new();
    assert!(first.try_recv().is_err());
    scene.pass(Duration::from_secs(3));
    assert_eq!(answer(&mut first).unwrap().generation, 1);
    assert_eq!(answer(&mut second).unwrap().generation, 1);
}

#[test]
fn a_group_takes_no_more_members_than_allowed() {
    let mut scene = Scene::new();
    let ids: Vec<_> = (0..10).map(|_| scene.try_join(ask("")).unwrap_err()).collect();
    assert!(ids.iter().all(|(code, _)| *code == ResponseError::MemberIdRequired));
    assert_eq!(scene.try_join(ask("")).unwrap_err().0, ResponseError::GroupMaxSizeReached);
    // Those that never join with their ids make room.
    scene.pass(SESSION);
    assert!(scene.group.is_idle());
    assert_eq!(scene.try_join(ask("")).unwrap_err().0, ResponseError::MemberIdRequired);
}

#[test]
fn a_client_that_hung_up_while_joining_is_given_up() {
    let mut scene = Scene::new();
    let (_, wait) = scene.join_new();
    drop(wait);
    scene.pass(SESSION * 2);
    assert!(scene.group.is_idle());
    assert_eq!(scene.group.state(), State::Empty);
}
