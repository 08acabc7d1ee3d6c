//! What goes with time: records past their retention, values that newer ones replace, and the
//! offsets of groups long gone.

use std::sync::Arc;

use crate::{
    node::{Node, now_ms},
    refusal::Outcome,
    topics::{Partition, Topic},
};

/// Cleans every partition, one after the other, again and again.
pub(crate) async fn run(node: &Arc<Node>) {
    let mut ticks = tokio::time::interval(node.config.cleaning_interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for topic in node.topics.view().by_name.values() {
            for partition in &topic.partitions {
                clean(node, topic, partition).await;
            }
        }
        if let Err(refusal) = node.groups.expire(node.config.offsets_retention).await {
            tracing::warn!(%refusal, "expire the offsets of unused groups");
        }
    }
}

async fn clean(node: &Arc<Node>, topic: &Topic, partition: &Arc<Partition>) {
    if partition.log().is_ok_and(|log| log.stopped().is_some()) {
        // It has said why, and waits for someone to repair it.
        return;
    }
    let cleaned = Arc::clone(partition);
    let cleaning = node.aside(move |_| -> Outcome<_> { Ok(cleaned.log()?.clean(now_ms())?) });
    match cleaning.await {
        Ok(cleaned) => tracing::debug!(topic = topic.name, partition = partition.index, ?cleaned),
        Err(refusal) => tracing::warn!(topic = topic.name, partition = partition.index, %refusal,
            "clean a partition"),
    }
}
