//! The command line: words, then options with values.

use std::{collections::BTreeMap, env, str::FromStr};

/// What the tool was called with.
pub struct Arguments {
    words: std::vec::IntoIter<String>,
    options: BTreeMap<String, String>,
    usage: &'static str,
}

impl Arguments {
    /// Those of this process.
    pub fn of_process(usage: &'static str) -> Self {
        let (mut words, mut options) = (Vec::new(), BTreeMap::new());
        let mut given = env::args().skip(1);
        while let Some(word) = given.next() {
            match word.strip_prefix("--") {
                Some(name) => {
                    let value = given.next().unwrap_or_else(|| panic!("--{name} needs a value"));
                    options.insert(name.to_owned(), value);
                }
                None => words.push(word),
            }
        }
        Self { words: words.into_iter(), options, usage }
    }

    /// The next word.
    pub fn word(&mut self) -> String {
        self.words.next().unwrap_or_else(|| panic!("{}", self.usage))
    }

    /// An option's value.
    pub fn option<T: FromStr>(&self, name: &str) -> T {
        let value = self.options.get(name).unwrap_or_else(|| panic!("--{name}: {}", self.usage));
        value.parse().unwrap_or_else(|_| panic!("--{name} {value}"))
    }

    /// An option's value, or another.
    pub fn option_or<T: FromStr>(&self, name: &str, otherwise: T) -> T {
        if self.options.contains_key(name) { self.option(name) } else { otherwise }
    }
}
