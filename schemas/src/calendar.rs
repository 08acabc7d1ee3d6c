//! Dates and times: between Avro's counts and the texts and timestamps that VRL works with.

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Timelike, Utc};

/// What a count of a time stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Thousandths of a second.
    Millis,
    /// Millionths.
    Micros,
    /// Billionths.
    Nanos,
}

impl Unit {
    const fn per_second(self) -> i64 {
        match self {
            Self::Millis => 1_000,
            Self::Micros => 1_000_000,
            Self::Nanos => 1_000_000_000,
        }
    }

    const fn digits(self) -> usize {
        match self {
            Self::Millis => 3,
            Self::Micros => 6,
            Self::Nanos => 9,
        }
    }

    /// Whole seconds before, and nanoseconds after them.
    fn split(self, count: i64) -> (i64, u32) {
        let per_second = self.per_second();
        let nanos = count.rem_euclid(per_second) * (1_000_000_000 / per_second);
        (count.div_euclid(per_second), u32::try_from(nanos).unwrap_or(0))
    }
}

/// Days of 1970-01-01 since the first of the Common Era.
const EPOCH_DAYS: i32 = 719_163;

/// `2024-05-01` for a count of days since 1970-01-01; nothing outside the years ±262,000.
pub(crate) fn date_text(days: i32) -> Option<String> {
    let date = NaiveDate::from_num_days_from_ce_opt(days.checked_add(EPOCH_DAYS)?)?;
    Some(write_date(date))
}

/// The count of days since 1970-01-01 of `2024-05-01`.
pub(crate) fn date_days(text: &str) -> Option<i32> {
    let date: NaiveDate = text.parse().ok()?;
    date.num_days_from_ce().checked_sub(EPOCH_DAYS)
}

fn write_date(date: NaiveDate) -> String {
    match date.year() {
        year @ 0..=9999 => format!("{year:04}-{:02}-{:02}", date.month(), date.day()),
        _ => date.to_string(),
    }
}

/// `12:34:56.789` for a count since midnight, with all the unit's digits; nothing beyond a day.
pub(crate) fn time_text(count: i64, unit: Unit) -> Option<String> {
    let (seconds, nanos) = unit.split(count);
    let time = NaiveTime::from_num_seconds_from_midnight_opt(u32::try_from(seconds).ok()?, nanos)?;
    Some(write_time(time, unit))
}

fn write_time(time: NaiveTime, unit: Unit) -> String {
    let fraction = i64::from(time.nanosecond()) / (1_000_000_000 / unit.per_second());
    let digits = unit.digits();
    format!("{:02}:{:02}:{:02}.{fraction:0digits$}", time.hour(), time.minute(), time.second())
}

/// The count since midnight of `12:34`, `12:34:56` or `12:34:56.789`; digits finer than the unit
/// are cut.
pub(crate) fn time_count(text: &str, unit: Unit) -> Option<i64> {
    let time = NaiveTime::parse_from_str(text, "%H:%M:%S%.f")
        .or_else(|_| NaiveTime::parse_from_str(text, "%H:%M"))
        .ok()?;
    let fraction =
        i64::from(time.nanosecond().min(999_999_999)) / (1_000_000_000 / unit.per_second());
    Some(i64::from(time.num_seconds_from_midnight()) * unit.per_second() + fraction)
}

/// The instant of a count since 1970-01-01 UTC; nothing outside the years ±262,000.
pub(crate) fn timestamp(count: i64, unit: Unit) -> Option<DateTime<Utc>> {
    let (seconds, nanos) = unit.split(count);
    DateTime::from_timestamp(seconds, nanos)
}

/// The count since 1970-01-01 UTC of an instant; what is finer than the unit is cut, towards the
/// past. Nothing if the count is beyond an Avro long (nanoseconds end in 2262).
pub(crate) fn timestamp_count(instant: DateTime<Utc>, unit: Unit) -> Option<i64> {
    let fraction =
        i64::from(instant.timestamp_subsec_nanos()) / (1_000_000_000 / unit.per_second());
    // Before 1970 the seconds alone may lie below the range that the sum is in.
    let count =
        i128::from(instant.timestamp()) * i128::from(unit.per_second()) + i128::from(fraction);
    i64::try_from(count).ok()
}

/// The instant of an RFC 3339 text; years beyond four digits carry a sign, as ISO 8601 has it.
pub(crate) fn parse_timestamp(text: &str) -> Option<DateTime<Utc>> {
    let instant = if text.starts_with(['+', '-']) {
        text.parse::<DateTime<FixedOffset>>()
    } else {
        DateTime::parse_from_rfc3339(text)
    };
    instant.ok().map(|instant| instant.with_timezone(&Utc))
}

/// `2024-05-01T12:34:56.789` for a count since 1970-01-01 of a clock whose zone is not known.
pub(crate) fn local_text(count: i64, unit: Unit) -> Option<String> {
    let local = timestamp(count, unit)?.naive_utc();
    Some(format!("{}T{}", write_date(local.date()), write_time(local.time(), unit)))
}

/// The count of `2024-05-01T12:34:56.789`; digits finer than the unit are cut.
pub(crate) fn local_count(text: &str, unit: Unit) -> Option<i64> {
    let local = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok()?;
    timestamp_count(local.and_utc(), unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_texts() {
        for (days, text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (19_844, "2024-05-01"),
            (-719_528, "0000-01-01"),
            (2_932_897, "+10000-01-01"),
        ] {
            assert_eq!(date_text(days).as_deref(), Some(text));
            assert_eq!(date_days(text), Some(days));
        }
        assert_eq!(date_text(i32::MAX), None);
        assert_eq!(date_text(i32::MIN), None);
        assert_eq!(date_days("2024-02-30"), None);
    }

    #[test]
    fn times_are_texts_with_the_unit_s_digits() {
        assert_eq!(time_text(45_296_789, Unit::Millis).as_deref(), Some("12:34:56.789"));
        assert_eq!(time_text(45_296_789_012, Unit::Micros).as_deref(), Some("12:34:56.789012"));
        assert_eq!(time_count("12:34:56.789", Unit::Millis), Some(45_296_789));
        assert_eq!(time_count("12:34", Unit::Millis), Some(45_240_000));
        assert_eq!(time_count("12:34:56.789012", Unit::Millis), Some(45_296_789));
        assert_eq!(time_text(86_400_000, Unit::Millis), None);
        assert_eq!(time_text(-1, Unit::Millis), None);
        assert_eq!(time_count("24:00:00", Unit::Millis), None);
    }

    #[test]
    fn timestamps_keep_what_their_unit_holds() {
        for unit in [Unit::Millis, Unit::Micros, Unit::Nanos] {
            for count in [0, -1, 1, 1_714_567_890_123, -62_135_596_800_000] {
                assert_eq!(timestamp_count(timestamp(count, unit).unwrap(), unit), Some(count));
            }
        }
        assert!(
            timestamp(i64::MAX, Unit::Nanos).is_some()
                && timestamp(i64::MIN, Unit::Nanos).is_some()
        );
        assert_eq!(
            timestamp_count(timestamp(i64::MIN, Unit::Nanos).unwrap(), Unit::Nanos),
            Some(i64::MIN)
        );
        assert_eq!(timestamp(i64::MAX, Unit::Millis), None);
        let far = parse_timestamp("2300-01-01T00:00:00Z").unwrap();
        assert_eq!(timestamp_count(far, Unit::Nanos), None);
        let fine = parse_timestamp("1969-12-31T23:59:59.9999Z").unwrap();
        assert_eq!(timestamp_count(fine, Unit::Millis), Some(-1));
    }

    #[test]
    fn local_timestamps_have_no_zone() {
        assert_eq!(
            local_text(1_714_566_896_789, Unit::Millis).as_deref(),
            Some("2024-05-01T12:34:56.789")
        );
        assert_eq!(local_count("2024-05-01T12:34:56.789", Unit::Millis), Some(1_714_566_896_789));
        assert_eq!(
            local_count("2024-05-01T12:34:56", Unit::Nanos),
            Some(1_714_566_896_000_000_000)
        );
        assert_eq!(local_count("2024-05-01T12:34:56Z", Unit::Millis), None);
    }
}
