//! How far a replay is: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use engine::replay::{Plan, Progress};
use indicatif::{ProgressBar, ProgressStyle};

/// Between two lines, where there is no terminal.
const LINE: Duration = Duration::from_secs(5);
const TEMPLATE: &str = "{bar:30} {percent:>3} %  {pos}/{len} offsets  {per_sec}  ETA {eta}  {msg}";

/// Shows how far a replay is, on standard error.
pub struct Shown {
    bar: Option<ProgressBar>,
    started: Instant,
    /// How many offsets were done before this run.
    before: i64,
    last: Instant,
}

impl Shown {
    /// Begins at where the replay was left.
    pub fn new(plan: &Plan) -> Self {
        let (total, before) = plan.progress();
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(unsigned(total)).with_position(unsigned(before));
            // The template is ours and right: where it were not, the default one is shown.
            if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
                bar.set_style(style);
            }
            bar.reset_eta();
            bar
        });
        Self { bar, started: Instant::now(), before, last: Instant::now() }
    }

    /// Shows a progress.
    pub fn show(&mut self, progress: &Progress) {
        match &self.bar {
            Some(bar) => {
                bar.set_position(unsigned(progress.done));
                bar.set_message(message(progress));
            }
            None if self.last.elapsed() >= LINE => {
                self.last = Instant::now();
                eprintln!("{}", self.line(progress));
            }
            None => {}
        }
    }

    /// The last word of it.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }

    fn line(&self, progress: &Progress) -> String {
        let Progress { total, done, .. } = *progress;
        let percent = done * 100 / total.max(1);
        let rate = (done - self.before) as f64 / self.started.elapsed().as_secs_f64().max(0.001);
        let left = match rate > 0.0 {
            true => format!("{:.0} s left", (total - done) as f64 / rate),
            false => "no end in sight".to_owned(),
        };
        format!(
            "{done} of {total} offsets ({percent} %), {rate:.0}/s, {left}; {}",
            message(progress)
        )
    }
}

fn message(progress: &Progress) -> String {
    let counts = progress.counts;
    let told = format!(
        "{} delivered, {} already there, {} dead letters",
        counts.delivered, counts.already_there, counts.dead_letters
    );
    match &progress.waits {
        Some(reason) => format!("{told}; waits: {reason}"),
        None => told,
    }
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use engine::replay::Counts;

    use super::*;

    #[test]
    fn a_line_tells_the_rate_the_rest_and_what_it_waits_for() {
        let shown = Shown {
            bar: None,
            started: Instant::now().checked_sub(Duration::from_secs(10)).unwrap(),
            before: 100,
            last: Instant::now(),
        };
        let counts = Counts { delivered: 190, already_there: 10, ..Counts::default() };
        let waits = Some("the target answers 503".to_owned());
        let line = shown.line(&Progress { total: 500, done: 300, counts, waits });
        assert_eq!(
            line,
            "300 of 500 offsets (60 %), 20/s, 10 s left; 190 delivered, 10 already there, 0 dead letters; waits: the target answers 503"
        );
    }
}
