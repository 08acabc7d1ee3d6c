//! Lines of JSON: <https://jsonlines.org>.

use engine::{Fault, Value};

use super::rows::{Format, Rows};

pub(super) struct JsonLines;

impl Format for JsonLines {
    fn extension(&self) -> &'static str {
        "jsonl"
    }

    fn begin(&self) -> Box<dyn Rows> {
        Box::new(Lines(String::new()))
    }
}

struct Lines(String);

impl Rows for Lines {
    fn add(&mut self, value: &Value) -> Result<(), Fault> {
        self.0.push_str(&schemas::json::write(value));
        self.0.push('\n');
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Vec<u8>, Fault> {
        Ok(self.0.into_bytes())
    }
}
