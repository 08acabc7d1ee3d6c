//! Times as cron writes them (crontab(5)), found in local time.

use chrono::{Datelike as _, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike as _};

/// How far to look for a time: 29 February can be eight years away.
const MOST_DAYS: u32 = 8 * 366;

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// The times at which something is due.
#[derive(Debug, Clone)]
pub(super) struct Cron {
    seconds: Set,
    minutes: Set,
    hours: Set,
    days: Set,
    months: Set,
    weekdays: Set,
    /// Both the day of the month and that of the week are given: either of them makes a day.
    either: bool,
}

/// Numbers below 64.
#[derive(Debug, Clone, Copy)]
struct Set(u64);

impl Set {
    fn has(self, number: u32) -> bool {
        (self.0 >> number) & 1 == 1
    }

    /// Its numbers from this one on.
    fn starting_at(self, first: u32) -> impl Iterator<Item = u32> {
        (first..60).filter(move |number| self.has(*number))
    }
}

/// What a part of the text may hold.
struct Part {
    name: &'static str,
    first: u32,
    last: u32,
    names: &'static [&'static str],
}

impl Part {
    const fn new(name: &'static str, first: u32, last: u32) -> Self {
        Self { name, first, last, names: &[] }
    }

    const fn named(self, names: &'static [&'static str]) -> Self {
        Self { names, ..self }
    }

    /// Reads `*`, `5`, `1-5`, `*/15`, `MON,FRI`.
    fn read(&self, text: &str) -> Result<Set, String> {
        let mut all = 0_u64;
        for one in text.split(',') {
            let (range, step) = match one.split_once('/') {
                None => (one, 1),
                Some((range, step)) => {
                    let step = step.parse().ok().filter(|step| (1..60).contains(step));
                    let step = step.ok_or_else(|| format!("`{one}` has no step"))?;
                    (range, step)
                }
            };
            let (from, to) = match range.split_once('-') {
                _ if range == "*" => (self.first, self.last),
                Some((from, to)) => (self.number(from)?, self.number(to)?),
                // `5/15` counts from 5 to the end.
                None if one.contains('/') => (self.number(range)?, self.last),
                None => (self.number(range)?, self.number(range)?),
            };
            if from > to {
                return Err(format!("`{range}` of the {} goes backwards", self.name));
            }
            let step = usize::try_from(step).unwrap_or(1);
            (from..=to).step_by(step).for_each(|number| all |= 1 << number);
        }
        Ok(Set(all))
    }

    fn number(&self, text: &str) -> Result<u32, String> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let named = named.and_then(|at| u32::try_from(at).ok()).map(|at| at + self.first);
        let number = named.or_else(|| text.parse().ok());
        number.filter(|number| (self.first..=self.last).contains(number)).ok_or_else(|| {
            let Self { name, first, last, .. } = self;
            format!("`{text}` is no {name}: those are {first} to {last}")
        })
    }
}

impl Cron {
    /// Reads five parts, or six with the seconds first.
    ///
    /// # Errors
    /// A sentence that names the part.
    pub fn read(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split_whitespace().collect();
        let (seconds, [minute, hour, day, month, weekday]) = match parts[..] {
            [minute, hour, day, month, weekday] => ("0", [minute, hour, day, month, weekday]),
            [second, minute, hour, day, month, weekday] => {
                (second, [minute, hour, day, month, weekday])
            }
            _ => return Err(format!("it has {} parts, not five or six", parts.len())),
        };
        let mut weekdays = Part::new("day of the week", 0, 7).named(&WEEKDAYS).read(weekday)?;
        if weekdays.has(7) {
            weekdays.0 |= 1;
        }
        Ok(Self {
            seconds: Part::new("second", 0, 59).read(seconds)?,
            minutes: Part::new("minute", 0, 59).read(minute)?,
            hours: Part::new("hour", 0, 23).read(hour)?,
            days: Part::new("day of the month", 1, 31).read(day)?,
            months: Part::new("month", 1, 12).named(&MONTHS).read(month)?,
            weekdays,
            either: !day.starts_with('*') && !weekday.starts_with('*'),
        })
    }

    /// The first time after this one.
    pub fn after(&self, time: NaiveDateTime) -> Option<NaiveDateTime> {
        let from = time.with_nanosecond(0)?.checked_add_signed(TimeDelta::seconds(1))?;
        let mut date = from.date();
        let mut earliest = from.time();
        for _ in 0..MOST_DAYS {
            if self.is_day(date)
                && let Some(time) = self.first_of_day(earliest)
            {
                return Some(date.and_time(time));
            }
            date = date.checked_add_days(Days::new(1))?;
            earliest = NaiveTime::MIN;
        }
        None
    }

    fn is_day(&self, date: NaiveDate) -> bool {
        let day = self.days.has(date.day());
        let weekday = self.weekdays.has(date.weekday().num_days_from_sunday());
        let fits = if self.either { day || weekday } else { day && weekday };
        self.months.has(date.month()) && fits
    }

    fn first_of_day(&self, earliest: NaiveTime) -> Option<NaiveTime> {
        for hour in self.hours.starting_at(earliest.hour()) {
            let same_hour = hour == earliest.hour();
            let first_minute = if same_hour { earliest.minute() } else { 0 };
            for minute in self.minutes.starting_at(first_minute) {
                let same_minute = same_hour && minute == earliest.minute();
                let first_second = if same_minute { earliest.second() } else { 0 };
                if let Some(second) = self.seconds.starting_at(first_second).next() {
                    return NaiveTime::from_hms_opt(hour, minute, second);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(cron: &str, after: &str) -> String {
        let after = NaiveDateTime::parse_from_str(after, "%Y-%m-%d %H:%M:%S").unwrap();
        Cron::read(cron).unwrap().after(after).map(|time| time.to_string()).unwrap_or_default()
    }

    #[test]
    fn times_are_found_as_crontab_says() {
        for (cron, after, expected) in [
            ("0 2 * * *", "2026-01-31 02:00:00", "2026-02-01 02:00:00"),
            ("0 2 * * *", "2026-01-31 01:59:59", "2026-01-31 02:00:00"),
            ("*/15 9-17 * * MON-FRI", "2026-01-30 17:45:00", "2026-02-02 09:00:00"),
            ("5/20 * * * *", "2026-01-01 00:25:00", "2026-01-01 00:45:00"),
            ("0 0 29 2 *", "2026-01-01 00:00:00", "2028-02-29 00:00:00"),
            // The first of a month, or a Sunday (0 and 7 both are).
            ("0 0 1 * 7", "2026-01-30 00:00:00", "2026-02-01 00:00:00"),
            ("0 0 1 * 0", "2026-02-01 00:00:00", "2026-02-08 00:00:00"),
            ("30 0 12 * dec,JUN *", "2026-01-01 00:00:00", "2026-06-01 12:00:30"),
            ("0 0 31 2 *", "2026-01-01 00:00:00", ""),
        ] {
            assert_eq!(next(cron, after), expected, "{cron} after {after}");
        }
    }

    #[test]
    fn what_is_no_time_is_named() {
        for (cron, word) in [
            ("", "0 parts"),
            ("@daily", "1 parts"),
            ("60 * * * *", "minute"),
            ("* 24 * * *", "hour"),
            ("* * 0 * *", "day of the month"),
            ("* * * 13 *", "month"),
            ("* * * * FRY", "day of the week"),
            ("5-1 * * * *", "backwards"),
            ("*/0 * * * *", "step"),
            ("*/x * * * *", "step"),
            ("99999999999 * * * *", "minute"),
        ] {
            let error = Cron::read(cron).unwrap_err();
            assert!(error.contains(word), "{cron}: {error}");
        }
    }
}
