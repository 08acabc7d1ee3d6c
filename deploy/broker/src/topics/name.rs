//! What a topic may be called, as Kafka has it (`org.apache.kafka.common.internals.Topic`).

use kafka_protocol::error::ResponseError;

use crate::refusal::{Outcome, Refusal};

const MAX_CHARACTERS: usize = 249;

/// Checks a topic's name.
///
/// # Errors
/// `INVALID_TOPIC_EXCEPTION` with what is wrong.
pub(crate) fn check(name: &str) -> Outcome<()> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let wrong = match name {
        "" => "it is empty".to_owned(),
        "." | ".." => "it is a folder's".to_owned(),
        _ if name.len() > MAX_CHARACTERS => {
            format!("it has {} characters, at most {MAX_CHARACTERS} are allowed", name.len())
        }
        _ => match name.chars().find(|&c| !legal(c)) {
            Some(c) => format!("{c:?} is none of a-z, A-Z, 0-9, '.', '_', '-'"),
            None => return Ok(()),
        },
    };
    let message = format!("topic name {name:?} is invalid: {wrong}");
    Err(Refusal::new(ResponseError::InvalidTopicException, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_held_to_kafkas_rules() {
        for name in ["orders", "shop.orders-v1_2", "__consumer_offsets", &"x".repeat(249)] {
            assert!(check(name).is_ok(), "{name}");
        }
        for name in ["", ".", "..", "a/b", "../x", "a b", "é", &"x".repeat(250)] {
            assert!(check(name).is_err(), "{name}");
        }
    }
}
