//! Parked keys, and dead letters that are tried again, against brokers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::world::{Target, World, all, id_of, quick, until};
use engine::dead_letters::{Archive, Course, Decision, Entry, Filed, Letter, Looked, Standing};
use engine::positions::Start;
use engine::runtime::{OnError, SinkOptions};
use engine::{Delivery, Fault, Order};

fn parking() -> SinkOptions {
    SinkOptions { on_error: OnError::ParkKey, start: Some(Start::Beginning), ..quick() }
}

/// Takes everything but the thing 2 while it is broken.
fn target() -> (Target, Arc<AtomicBool>) {
    target_without(|id| id == 2)
}

/// Takes everything but such things while it is broken.
fn target_without(refuses: fn(i64) -> bool) -> (Target, Arc<AtomicBool>) {
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    let target = Target::new(move |event, _| {
        match refuses(id_of(event)) && is_broken.load(Ordering::Relaxed) {
            true => Err(Fault::data("http_422", "no such product")),
            false => Ok(Delivery::default()),
        }
    });
    (target, broken)
}

async fn archive(world: &World) -> Archive {
    let (cluster, route) = (world.cluster.clone(), format!("{}/sink", world.pipeline));
    tokio::task::spawn_blocking(move || Archive::read(&cluster, &route).unwrap()).await.unwrap()
}

/// Waits until this many dead letters are open.
async fn open_letters(world: &World, count: usize) -> Vec<Filed> {
    until(&format!("{count} open dead letters"), || {
        let open: Vec<Filed> =
            futures::executor::block_on(archive(world)).open().cloned().collect();
        (open.len() == count && !open.iter().any(Filed::is_retried)).then_some(open)
    })
    .await
}

fn causes(letters: &[Filed]) -> Vec<&str> {
    letters.iter().map(|filed| filed.cause().0).collect()
}

/// Asks for these letters to be tried again, as an operator does.
async fn retry(world: &World, letters: &[Filed]) {
    for filed in letters {
        let next = filed.next_entry(&format!("{}/sink", world.pipeline));
        ask(world, next, &filed.letter, None).await;
    }
}

/// Asks for a letter that has come to this entry to be tried again, in the order of its key.
async fn ask(world: &World, entry: Entry, letter: &Letter, looked: Option<Looked>) {
    let decision = Decision { by: "ada".into(), at: 0, reason: None };
    let entry = entry.retried(letter, decision, false, looked);
    world.send(&entry.record().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_key_waits_in_the_dead_letters_and_others_pass() {
    let world = World::new("park").await;
    let (target, broken) = target();
    world.create_topics(2).await;
    world.write_things(0..12, 4).await;
    let engine = world.run(world.plan_with_sink(2, target.clone(), parking())).await;
    let letters = open_letters(&world, 3).await;
    assert_eq!(causes(&letters), ["http_422", "behind", "behind"]);
    assert!(
        letters[1].letter.message.starts_with(&format!("behind {}", letters[0].letter.event.id()))
    );
    target.until_taken(9).await;
    until("what is parked counts as handled", || {
        let status = engine.statuses().remove(0);
        (status.lag_at.is_some() && (status.parked_keys, status.lag_events) == (1, 0)).then_some(())
    })
    .await;
    engine.shutdown().await;

    // Another process knows what is parked before it delivers anything.
    world.write_things(12..16, 4).await;
    broken.store(false, Ordering::Relaxed);
    let engine = world.run(world.plan_with_sink(2, target.clone(), parking())).await;
    let letters = open_letters(&world, 4).await;
    assert_eq!(causes(&letters), ["http_422", "behind", "behind", "behind"]);
    target.until_taken(12).await;

    retry(&world, &letters).await;
    target.until_taken(16).await;
    world.write_things(16..20, 4).await;
    target.until_taken(20).await;
    open_letters(&world, 0).await;
    engine.shutdown().await;
    target.assert_all_in_order(0..20);
    assert_eq!(target.taken.lock().unwrap().len(), 20, "nothing twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_comes_back_keeps_its_key_parked() {
    let world = World::new("come-back").await;
    let (target, broken) = target();
    world.create_topics(1).await;
    world.write_things(0..8, 4).await;
    let engine = world.run(world.plan_with_sink(1, target.clone(), parking())).await;
    retry(&world, &open_letters(&world, 2).await).await;
    let letters = until("it comes back", || {
        let open: Vec<Filed> =
            futures::executor::block_on(archive(&world)).open().cloned().collect();
        let returned = open.iter().any(|filed| filed.entry.as_ref().unwrap().returned == 1);
        (returned && !open.iter().any(Filed::is_retried)).then_some(open)
    })
    .await;
    let standings: Vec<_> =
        letters.iter().map(|filed| &filed.entry.as_ref().unwrap().standing).collect();
    assert!(matches!(standings[0], Standing::Returned { cause, .. } if cause == "http_422"));
    assert_eq!(standings[1], &Standing::Parked, "it was not tried");
    assert_eq!(world.dead_letters().await.len(), 2, "no second letter of the same event");
    world.write_things(10..11, 4).await;
    let letters = open_letters(&world, 3).await;
    assert_eq!(causes(&letters), ["http_422", "behind", "behind"]);
    broken.store(false, Ordering::Relaxed);
    retry(&world, &letters).await;
    target.until_taken(9).await;
    open_letters(&world, 0).await;
    engine.shutdown().await;
    let of_key: Vec<i64> = target.ids().into_iter().filter(|id| id % 4 == 2).collect();
    assert_eq!(of_key, [2, 6, 10]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_key_is_free_again_and_its_order_never_breaks() {
    let world = World::new("busy-key").await;
    let (target, broken) = target();
    world.create_topics(1).await;
    world.write_things(0..4, 1).await;
    let engine = world.run(world.plan_with_sink(1, target.clone(), parking())).await;
    open_letters(&world, 2).await;
    broken.store(false, Ordering::Relaxed);
    let writing = world.write_things(4..150, 1);
    let retrying = async {
        loop {
            let open: Vec<Filed> = archive(&world).await.open().cloned().collect();
            let asked: Vec<Filed> =
                open.iter().filter(|filed| !filed.is_retried()).cloned().collect();
            retry(&world, &asked).await;
            if open.is_empty() {
                break;
            }
        }
    };
    futures::join!(writing, retrying);
    target.until_taken(150).await;
    engine.shutdown().await;
    target.assert_all_in_order(0..150);
}

#[tokio::test(flavor = "multi_thread")]
async fn discarding_the_first_leaves_the_key_parked_until_the_others_are_settled() {
    let world = World::new("discard").await;
    let (target, _) = target();
    world.create_topics(1).await;
    world.write_things(0..8, 4).await;
    let engine = world.run(world.plan_with_sink(1, target.clone(), parking())).await;
    let letters = open_letters(&world, 2).await;
    let discarded = letters[0].next_entry("").becomes(Standing::Discarded);
    world.send(&discarded.record().unwrap()).await;
    let left = open_letters(&world, 1).await;
    retry(&world, &left).await;
    target.until_taken(7).await;
    world.write_things(10..11, 4).await;
    target.until_taken(8).await;
    engine.shutdown().await;
    let of_key: Vec<i64> = target.ids().into_iter().filter(|id| id % 4 == 2).collect();
    assert_eq!(of_key, [6, 10]);
    let archive = archive(&world).await;
    let standing = |filed: &Filed| filed.entry.clone().map(|entry: Entry| entry.standing);
    assert!(archive.letters.values().any(|filed| standing(filed) == Some(Standing::Discarded)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_whose_key_has_gone_on_is_known_as_overtaken() {
    let world = World::new("overtaken").await;
    let (target, _) = target();
    world.create_topics(1).await;
    world.write_things(0..8, 4).await;
    world.write("in", Some("alone"), Some(bytes::Bytes::from_static(b"junk"))).await;
    let options = SinkOptions { start: Some(Start::Beginning), ..quick() };
    let engine = world.run(world.plan_with_sink(1, target.clone(), options)).await;
    let letters = open_letters(&world, 2).await;
    target.until_taken(7).await;
    world.until_committed("sink", all).await;
    let (archive, cluster) = (archive(&world).await, world.cluster.clone());
    let overtaken = tokio::task::spawn_blocking(move || {
        let open: Vec<&Filed> = archive.open().collect();
        let mut course = Course::of(&archive.route, &open);
        course.look(&cluster).unwrap();
        let overtaken = open.into_iter().filter(|filed| course.has_passed(filed));
        overtaken.map(|filed| filed.letter.origin.clone()).collect::<Vec<_>>()
    });
    assert_eq!(overtaken.await.unwrap(), [letters[0].letter.origin.clone()]);
    engine.shutdown().await;
}

/// Asks for a letter to be tried again, with what was looked at before; gives the cause with which it
/// comes back, and nothing if it is delivered.
async fn tried(world: &World, filed: &Filed, looked: &Looked) -> Option<String> {
    let next = filed.next_entry(&format!("{}/sink", world.pipeline));
    ask(world, next, &filed.letter, Some(looked.clone())).await;
    until("it was tried", || {
        let archive = futures::executor::block_on(archive(world));
        match archive.letters[&filed.letter.origin].entry.clone()?.standing {
            Standing::Returned { cause, .. } => Some(Some(cause)),
            Standing::Delivered { .. } => Some(None),
            _ => None,
        }
    })
    .await
}

/// Looks whether a letter's key has gone on, as an operator's command does.
async fn look(world: &World, letter: &Filed) -> (bool, Looked) {
    let (route, cluster) = (format!("{}/sink", world.pipeline), world.cluster.clone());
    let letter = letter.clone();
    let looking = tokio::task::spawn_blocking(move || {
        let mut course = Course::of(&route, &[&letter]);
        course.look(&cluster).unwrap();
        (course.has_passed(&letter), course.looked(&letter).unwrap())
    });
    looking.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_whose_key_goes_on_after_it_was_looked_at_comes_back_untried() {
    let world = World::new("overtaken-later").await;
    let (target, broken) = target();
    world.create_topics(1).await;
    world.write_things(0..4, 4).await;
    let options = SinkOptions { start: Some(Start::Beginning), ..quick() };
    let engine = world.run(world.plan_with_sink(1, target.clone(), options.clone())).await;
    let letters = open_letters(&world, 1).await;
    world.until_committed("sink", all).await;
    broken.store(false, Ordering::Relaxed);
    let (passed, before) = look(&world, &letters[0]).await;
    assert!(!passed);
    world.write_things(6..7, 4).await;
    target.until_taken(4).await;
    assert_eq!(tried(&world, &letters[0], &before).await.as_deref(), Some("overtaken"));
    world.until_committed("sink", all).await;
    assert!(look(&world, &letters[0]).await.0, "whoever looks again sees it");
    engine.shutdown().await;

    // Another process does not know what this one delivered.
    let engine = world.run(world.plan_with_sink(1, target.clone(), options)).await;
    assert_eq!(tried(&world, &letters[0], &before).await.as_deref(), Some("untold"));
    let now = look(&world, &letters[0]).await.1;
    assert_eq!(tried(&world, &letters[0], &now).await, None, "it knows that nothing came since");
    engine.shutdown().await;
    assert_eq!(target.ids().into_iter().filter(|id| id % 4 == 2).collect::<Vec<_>>(), [6, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_of_two_topics_at_the_same_place_are_both_tried_and_in_no_order() {
    let world = World::new("two-topics").await;
    let (target, broken) = target();
    world.create_topics(1).await;
    world.write_things(0..4, 4).await;
    let options = SinkOptions { start: Some(Start::Beginning), ..quick() };
    let engine = world.run(world.plan_with_sink(1, target.clone(), options)).await;
    let [filed] = open_letters(&world, 1).await.try_into().unwrap();
    world.until_committed("sink", all).await;
    let looked = look(&world, &filed).await.1;
    broken.store(false, Ordering::Relaxed);
    // As a replay of another topic into this sink leaves them: one at the same place, one far behind.
    let mut letters = vec![filed.letter.clone(), filed.letter.clone(), filed.letter.clone()];
    letters[1].origin.offset = 9_000;
    letters[1..].iter_mut().for_each(|letter| letter.origin.topic = "another".into());
    letters.reverse();
    for letter in &letters {
        let entry = Entry::new(&format!("{}/sink", world.pipeline), letter, Standing::Parked);
        let looked = (letter.origin.topic == filed.letter.origin.topic).then(|| looked.clone());
        ask(&world, entry, letter, looked).await;
    }
    target.until_taken(6).await;
    engine.shutdown().await;
    assert_eq!(target.ids().into_iter().filter(|id| *id == 2).count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_behind_a_later_one_of_its_key_comes_back_untried() {
    let world = World::new("later-letter").await;
    let (mut target, broken) = target_without(|id| id % 4 == 2);
    target.takes = Duration::from_millis(300);
    world.create_topics(1).await;
    world.write_things(0..8, 4).await;
    let options = SinkOptions { start: Some(Start::Beginning), ..quick() };
    let engine = world.run(world.plan_with_sink(1, target.clone(), options)).await;
    let letters = open_letters(&world, 2).await;
    world.until_committed("sink", all).await;
    let looked = look(&world, &letters[0]).await.1;
    broken.store(false, Ordering::Relaxed);
    let later = tried(&world, &letters[1], &looked);
    let earlier = async {
        until("the later one is being delivered", || {
            (target.calls.load(Ordering::Relaxed) > 8).then_some(())
        })
        .await;
        tried(&world, &letters[0], &looked).await
    };
    let (later, earlier) = futures::join!(later, earlier);
    assert_eq!((later, earlier.as_deref()), (None, Some("overtaken")));
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_partition_is_in_order_nothing_overtakes_what_waits_for_its_key() {
    let world = World::new("park-in-order").await;
    let (mut target, broken) = target();
    // So slow that what comes meanwhile makes one batch.
    (target.order, target.batch, target.takes) = (Order::Partition, 50, Duration::from_millis(500));
    world.create_topics(1).await;
    world.write_things(0..4, 4).await;
    let engine = world.run(world.plan_with_sink(1, target.clone(), parking())).await;
    let letters = open_letters(&world, 1).await;
    broken.store(false, Ordering::Relaxed);
    target.until_taken(3).await;
    let before = target.calls.load(Ordering::Relaxed);
    world.write_things(4..5, 4).await;
    until("it is being delivered", || {
        (target.calls.load(Ordering::Relaxed) > before).then_some(())
    })
    .await;
    retry(&world, &letters).await;
    world.write_things(5..20, 4).await;
    target.until_taken(20).await;
    engine.shutdown().await;
    let later: Vec<_> = target.ids().into_iter().filter(|id| *id > 3).collect();
    assert_eq!(later, (4..20).collect::<Vec<_>>());
    assert!(target.ids().contains(&2));
}
