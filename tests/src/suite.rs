//! Cases that are told apart, run and reported one by one, and that say when they are skipped.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

/// The cases of a test binary with `harness = false`: a line a case when run, and last words on
/// those that were skipped.
#[derive(Default)]
pub struct Suite {
    trials: Vec<Trial>,
    last_words: Vec<String>,
    threads: Option<usize>,
}

impl Suite {
    /// Adds a case.
    pub fn case(&mut self, name: String, run: impl FnOnce() + Send + 'static) {
        self.trials.push(Trial::test(name, move || {
            run();
            Ok::<(), Failed>(())
        }));
    }

    /// Adds cases that cannot run here.
    pub fn skip(&mut self, names: impl IntoIterator<Item = String>, reason: &str) {
        let before = self.trials.len();
        let ignored = |name| {
            let reason = reason.to_owned();
            Trial::test(name, || Err(reason.into())).with_ignored_flag(true)
        };
        self.trials.extend(names.into_iter().map(ignored));
        let count = self.trials.len() - before;
        if count > 0 {
            self.remark(format!("SKIPPED {count} cases: {reason}"));
        }
    }

    /// Says something when all is done.
    pub fn remark(&mut self, remark: String) {
        if !self.last_words.contains(&remark) {
            self.last_words.push(remark);
        }
    }

    /// How many cases run at the same time, unless the command line says otherwise: cases that wait
    /// most of the time can be more than there are cores.
    pub fn at_once(&mut self, threads: usize) {
        self.threads = Some(threads);
    }

    /// Runs what the command line asks for.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let mut arguments = Arguments::from_args();
        arguments.test_threads = arguments.test_threads.or(self.threads);
        let conclusion = libtest_mimic::run(&arguments, self.trials);
        if !arguments.list {
            for line in &self.last_words {
                eprintln!("{line}");
            }
        }
        conclusion.exit_code()
    }
}

/// Names cases by their paths: `cases![records::one, groups::another]`.
#[macro_export]
macro_rules! cases {
    ($($case:path),* $(,)?) => {
        [$((stringify!($case), $case as _)),*]
    };
}
