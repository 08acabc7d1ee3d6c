//! The examples of a file: the topics and files that they name.

use super::Checker;
use crate::configuration::document::{Content, Node};

impl<'a> Checker<'a> {
    pub(super) fn check_examples(&mut self) {
        let tests = self.root.get("tests").map(Node::items).unwrap_or_default();
        for test in tests {
            for side in ["input", "expect"] {
                self.check_side(test, side);
            }
        }
    }

    fn check_side(&mut self, test: &'a Node, side: &str) {
        let names: Vec<_> = self.entries("topics").iter().map(|entry| &*entry.name).collect();
        for entry in test.get(side).map(Node::entries).unwrap_or_default() {
            if !names.contains(&entry.name.as_str()) {
                let cause = format!("unknown topic `{}`", entry.name);
                let hint = crate::configuration::validation::suggestion(&entry.name, &names);
                self.wrong(entry.name_span.clone(), "unknown_topic", cause, hint);
                continue;
            }
            let processors = self.entries("processors");
            let written = |topic: &str| {
                processors.iter().any(|route| self.written_by(route).contains(&topic))
            };
            if side == "expect" && !written(&entry.name) {
                let cause =
                    format!("no processor writes `{}`: nothing is to be expected", entry.name);
                self.wrong(entry.name_span.clone(), "nothing_expected", cause, "");
            }
            self.check_sample(&entry.value);
            entry.value.items().iter().for_each(|item| self.check_sample(item));
        }
    }

    /// A text names a file of JSON; anything else is the value itself.
    fn check_sample(&mut self, node: &'a Node) {
        let Content::Text(path) = &node.content else { return };
        let full = self.file.folder().join(path.as_str());
        let shown = super::quoted(path);
        match std::fs::read(&full) {
            Err(error) => {
                let cause = format!("the example {shown} cannot be read: {error}");
                let hint = "paths start at the folder of the pipeline file";
                self.wrong(node.span.clone(), "missing_file", cause, hint);
            }
            Ok(bytes) => {
                if let Err(error) = schemas::json::read_plain(&bytes) {
                    let cause = format!("the example {shown} is not JSON: {error}");
                    self.wrong(node.span.clone(), "example_invalid", cause, "");
                }
            }
        }
    }
}
