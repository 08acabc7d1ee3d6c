//! A place in a topic, as it is typed: `beginning`, `now`, a time, a length of time back.

use chrono::{DateTime, Utc};
use engine::options::Period;
use engine::positions::Accept;

use crate::failure::Failure;

/// A place in a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The oldest event.
    Beginning,
    /// Behind the newest event.
    Now,
    /// The first event received at or after this time.
    Time(DateTime<Utc>),
}

impl Place {
    /// Reads a place.
    ///
    /// # Errors
    /// A sentence with the forms that are understood.
    pub fn read(text: &str) -> Result<Self, Failure> {
        match text {
            "beginning" => return Ok(Place::Beginning),
            "now" => return Ok(Place::Now),
            _ => {}
        }
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Ok(Place::Time(time.to_utc()));
        }
        let back =
            Period::parse(text).ok().and_then(|back| chrono::Duration::from_std(back.0).ok());
        back.and_then(|back| Utc::now().checked_sub_signed(back)).map(Place::Time).ok_or_else(|| {
            Failure::new(format!("`{text}` is not a place in a topic: write `beginning`, `now`, a time such as 2026-01-31T08:00:00Z, or a length of time back such as 15m."))
        })
    }
}

impl From<Place> for Accept {
    fn from(place: Place) -> Self {
        match place {
            Place::Beginning => Accept::Beginning,
            Place::Now => Accept::Now,
            Place::Time(time) => Accept::Time(time.timestamp_millis()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_in_each_of_its_forms() {
        assert_eq!(Place::read("beginning").unwrap(), Place::Beginning);
        assert_eq!(Place::read("now").unwrap(), Place::Now);
        assert_eq!(
            Place::read("1970-01-01T00:00:01Z").unwrap(),
            Place::Time(DateTime::from_timestamp(1, 0).unwrap())
        );
        assert!(matches!(Place::read("15m").unwrap(), Place::Time(time) if time < Utc::now()));
        assert!(Place::read("yesterday").is_err_and(|failure| failure.0.contains("beginning")));
        assert!(Place::read("9999999999y").is_err());
    }
}
