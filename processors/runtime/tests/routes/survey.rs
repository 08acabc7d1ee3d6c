//! How far topics reach, asked for many readers at once.

use std::sync::Arc;
use std::time::Duration;

use engine::kafka::Survey;
use tokio::task::block_in_place;

use crate::world::{World, until};

const LONG: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_cannot_be_seen_keeps_no_other_answer_back() {
    let world = World::new("survey").await;
    world.create_topics(2).await;
    let survey = Survey::new(&world.cluster).unwrap();
    let (there, missing) = (world.topic("in").into(), Arc::from(world.topic("missing")));
    let mut last = -1;
    for round in 0..5 {
        let unseen = survey.ask(&missing, vec![0]);
        let half_seen = survey.ask(&there, vec![0, 7]);
        let seen = until("an answer", || {
            block_in_place(|| survey.ask(&there, vec![0, 1]).recv_timeout(LONG)).ok()
        });
        let seen = seen.await;
        assert_eq!(seen.ends.keys().collect::<Vec<_>>(), [&0, &1]);
        assert_eq!(seen.ends.values().sum::<i64>(), round);
        assert!(seen.at >= last, "{} after {last}", seen.at);
        last = seen.at;
        for nothing in [unseen, half_seen] {
            block_in_place(|| nothing.recv_timeout(LONG)).unwrap_err();
        }
        world.write_things(round..round + 1, 1).await;
    }
}
