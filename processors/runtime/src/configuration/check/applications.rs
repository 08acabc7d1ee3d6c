//! Files that describe applications.

use super::Checker;
use crate::Catalogue;
use crate::configuration::document::{Entry, Node};
use crate::configuration::file::File;
use crate::configuration::grammar::Grammar;
use crate::configuration::problem::Problem;
use crate::configuration::validation::Place;
use crate::connector::{Findings, SinkDeclaration};

/// The connector of a file that describes an application.
///
/// # Errors
/// Every mistake in it.
pub(in crate::configuration) fn application(
    file: &File,
    root: &Node,
    catalogue: &Catalogue,
    grammar: &Grammar,
) -> Result<SinkDeclaration, Vec<Problem>> {
    let whole = Entry { name: "the description".to_owned(), name_span: 0..0, value: root.clone() };
    let mut checker = Checker::new(file, &whole.value, catalogue, grammar);
    let declared = checker.application(&whole);
    match declared.filter(|_| !checker.problems.iter().any(Problem::is_error)) {
        Some(declared) => Ok(declared),
        None => Err(checker.problems),
    }
}

impl<'a> Checker<'a> {
    fn application(&mut self, whole: &'a Entry) -> Option<SinkDeclaration> {
        let Some(descriptions) = &self.catalogue.descriptions else {
            let cause = "descriptions of applications are not read here";
            self.wrong(0..0, "not_a_description", cause, "");
            return None;
        };
        let grammar = self.grammar;
        let place = Place::new("the description", 0..0);
        let shaped = self.shape(&whole.value, &grammar.description, &place);
        if !shaped.sound {
            return None;
        }
        let mut findings = Findings::default();
        let declared = match (descriptions.declare)(shaped.value, &mut findings) {
            Ok(declared) => declared,
            Err(error) => {
                self.refused(whole, &error);
                return None;
            }
        };
        self.report(findings, whole, None);
        let declared = declared?;
        if let Some(entry) = whole.value.entry("name") {
            self.check_name("connector", &declared.name, entry.value.span.clone(), false);
            let sources = self.catalogue.sources.iter();
            let taken = self.catalogue.sink(&declared.name).is_some()
                || sources.clone().any(|source| source.name == declared.name);
            if taken {
                let cause = format!("there is a connector `{}`", declared.name);
                let hint = "give yours a name of its own";
                self.wrong(entry.value.span.clone(), "duplicate_connector", cause, hint);
            }
        }
        Some(declared)
    }
}
