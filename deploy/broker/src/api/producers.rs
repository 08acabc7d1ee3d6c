//! Producers' ids.

use std::sync::Arc;

use kafka_protocol::{
    error::ResponseError,
    messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId},
};

use crate::{
    node::Node,
    refusal::{Outcome, Refusal},
};

/// InitProducerId: an id for an idempotent producer.
pub(super) async fn init(node: &Arc<Node>, ask: InitProducerIdRequest) -> InitProducerIdResponse {
    match producer_id(node, &ask).await {
        Ok(id) => InitProducerIdResponse::default()
            .with_producer_id(ProducerId(id))
            .with_producer_epoch(0),
        Err(refusal) => {
            tracing::warn!(%refusal, "no producer id was given");
            InitProducerIdResponse::default()
                .with_error_code(refusal.number())
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1)
        }
    }
}

async fn producer_id(node: &Arc<Node>, ask: &InitProducerIdRequest) -> Outcome<i64> {
    if ask.transactional_id.is_some() {
        return Err(no_transactions());
    }
    node.aside(|node| node.topics.producer_id()).await
}

/// What transactional producers are told.
pub(super) fn no_transactions() -> Refusal {
    Refusal::new(
        ResponseError::TransactionalIdAuthorizationFailed,
        "this broker serves no transactions: produce without a transactional.id, or use a cluster",
    )
}
