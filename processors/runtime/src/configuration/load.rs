//! Reads pipeline files that run together.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::applications;
use super::check::{self, Checked};
use super::document;
use super::file::File;
use super::grammar::Grammar;
use super::pipeline::Pipeline;
use super::problem::{self, Problem};
use super::substitution::{Environment, substitute};
use crate::Catalogue;

/// Values shorter than this are not searched for in sentences: they would be found everywhere.
const SHORTEST_SECRET: usize = 4;

/// Files without mistakes.
#[derive(Debug)]
pub struct Loaded {
    /// The pipelines, in the order of their files.
    pub pipelines: Vec<Pipeline>,
    /// What to look at.
    pub warnings: Vec<Problem>,
}

/// Reads and checks files that run together. Opens no connection. `environment` looks variables up.
///
/// # Errors
/// Every problem of every file, warnings too, by file and place.
pub fn load(
    paths: &[PathBuf],
    catalogue: &Catalogue,
    environment: Environment<'_>,
) -> Result<Loaded, Vec<Problem>> {
    let grammar = Grammar::of(catalogue);
    let mut all = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        match File::read(path) {
            Ok(file) => all.push(one(file, catalogue, &grammar, environment)),
            Err(problem) => problems.push(*problem),
        }
    }
    check_together(&mut all);
    let mut pipelines = Vec::new();
    for one in all {
        problems.extend(one.finish(&mut pipelines));
    }
    problem::sort(&mut problems, paths);
    if problems.iter().any(Problem::is_error) {
        return Err(problems);
    }
    Ok(Loaded { pipelines, warnings: problems })
}

/// A file and what it was found to be.
struct One {
    file: File,
    pipeline: Option<Pipeline>,
    problems: Vec<Problem>,
    /// The bytes that hold secrets.
    secret_spans: Vec<Range<usize>>,
    /// The values that came from variables and files.
    secret_texts: Vec<String>,
    /// Paths of the HTTP listener, each with its source.
    paths: Vec<(String, String, Range<usize>)>,
    /// Where the pipeline's name stands.
    name_span: Range<usize>,
}

fn one(file: File, catalogue: &Catalogue, grammar: &Grammar, environment: Environment<'_>) -> One {
    let mut problems = Vec::new();
    let mut root = match document::parse(&file) {
        Ok(root) => root,
        Err(problems) => {
            return One {
                file,
                pipeline: None,
                problems,
                secret_spans: Vec::new(),
                secret_texts: Vec::new(),
                paths: Vec::new(),
                name_span: 0..0,
            };
        }
    };
    let mut secret_texts = substitute(&mut root, &file, environment, &mut problems);
    secret_texts.retain(|text| text.len() >= SHORTEST_SECRET);
    // The longest first, so that one which holds another is hidden whole.
    secret_texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
    let own = applications::of(&file, &root, catalogue, grammar, &mut problems);
    let checked = match own.as_slice() {
        [] => check::check(&file, &root, catalogue, grammar),
        own => {
            let mut catalogue = catalogue.clone();
            catalogue.sinks.extend(own.iter().map(|one| one.declaration.clone()));
            check::check(&file, &root, &catalogue, &Grammar::of(&catalogue))
        }
    };
    let Checked { pipeline, problems: found, secrets, paths } = checked;
    let complete = !problems.iter().any(Problem::is_error);
    problems.extend(found);
    let name_span = root.get("name").map_or(0..0, |node| node.span.clone());
    let pipeline =
        pipeline.filter(|_| complete).map(|pipeline| Pipeline { applications: own, ..pipeline });
    One { file, pipeline, problems, secret_spans: secrets, secret_texts, paths, name_span }
}

impl One {
    fn finish(mut self, pipelines: &mut Vec<Pipeline>) -> Vec<Problem> {
        for problem in &mut self.problems {
            problem.hide(&self.secret_spans, &self.secret_texts);
        }
        pipelines.extend(self.pipeline);
        self.problems
    }

    fn wrong(&mut self, span: Range<usize>, code: &'static str, cause: String, hint: &str) {
        self.problems.push(self.file.problem(span, code, cause).hint(hint));
    }
}

/// What files that run in one process must not share, and what they must.
fn check_together(all: &mut [One]) {
    for at in 1..all.len() {
        let (before, rest) = all.split_at_mut(at);
        let Some(this) = rest.first_mut() else { continue };
        let Some(pipeline) = this.pipeline.clone() else { continue };
        for other in before.iter() {
            let Some(first) = &other.pipeline else { continue };
            let shown = other.file.path.display().to_string();
            if first.name == pipeline.name {
                let cause = format!("`{shown}` has a pipeline of this name, too");
                let hint = "a pipeline's name is part of its consumer groups: rename one of them";
                this.wrong(this.name_span.clone(), "duplicate_pipeline", cause, hint);
            }
            for section in differing(first, &pipeline) {
                let cause =
                    format!("`{section}` differs from `{shown}`, and both run in one process");
                let hint = "say the same in all files, or run them apart";
                this.wrong(this.name_span.clone(), "different_process", cause, hint);
            }
            if first.http.listen == pipeline.http.listen {
                for (path, source, span) in this.paths.clone() {
                    if let Some((_, by, _)) = other.paths.iter().find(|(taken, ..)| *taken == path)
                    {
                        let cause = format!(
                            "`{path}` of `{source}` is already taken by the source `{by}` of `{shown}`"
                        );
                        let hint = "two sources cannot listen at one path";
                        this.wrong(span, "path_taken", cause, hint);
                    }
                }
            }
        }
    }
}

/// The sections that a process has once, and that two files give differently.
fn differing(one: &Pipeline, other: &Pipeline) -> Vec<&'static str> {
    let data = |pipeline: &Pipeline| -> PathBuf { Path::new(&pipeline.data).to_owned() };
    let sections = [
        ("kafka", one.kafka != other.kafka),
        ("registry", one.registry != other.registry),
        ("admin", one.admin != other.admin),
        ("data", data(one) != data(other)),
        ("outcomes.retention", one.outcomes.retention != other.outcomes.retention),
    ];
    sections.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}
