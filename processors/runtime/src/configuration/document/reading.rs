//! From the parser's events to the tree.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

use super::{Content, Entry, File, Node, Problem, Text, plain};

/// How deep lists and maps may lie in each other.
const DEEPEST: usize = 64;
/// How many values a file may have, aliases followed: a bomb of aliases stops here.
const MOST: usize = 50_000;

/// Reads a file's YAML.
///
/// # Errors
/// Every problem that was found: what YAML itself refuses (only the first of these, since nothing
/// after it can be trusted), fields given twice, tags, more than one document.
pub fn parse(file: &File) -> Result<Node, Vec<Problem>> {
    let mut reading = Reading::new(file);
    let mut parser = Parser::new_from_str(file.text());
    while let Some(event) = parser.next_event() {
        let taken = match event {
            Ok((event, span)) => reading.take(event, span),
            Err(error) => Err(Box::new(reading.scan_problem(&error))),
        };
        if let Err(problem) = taken {
            reading.problems.push(*problem);
            return Err(reading.problems);
        }
        if reading.done {
            break;
        }
    }
    match reading.root {
        _ if !reading.problems.is_empty() => Err(reading.problems),
        Some(root) if !matches!(root.content, Content::Null) => Ok(root),
        _ => Err(vec![
            file.problem(0..0, "empty_file", "the file is empty")
                .hint("a pipeline begins with its name: `name: orders`"),
        ]),
    }
}

struct Reading<'a> {
    file: &'a File,
    /// The byte of each character, when they differ.
    bytes: Option<Vec<usize>>,
    stack: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, (Node, usize)>,
    /// Values so far.
    count: usize,
    documents: usize,
    done: bool,
    problems: Vec<Problem>,
}

/// A list or a map that is being read.
struct Open {
    span: Range<usize>,
    anchor: usize,
    /// How many values there were before it.
    before: usize,
    holds: Holds,
}

enum Holds {
    Items(Vec<Node>),
    Fields { entries: Vec<Entry>, merged: Vec<Entry>, name: Option<(String, Range<usize>)> },
}

type Taken = Result<(), Box<Problem>>;

impl<'a> Reading<'a> {
    fn new(file: &'a File) -> Self {
        let text = file.text();
        let bytes = (!text.is_ascii()).then(|| text.char_indices().map(|(at, _)| at).collect());
        Self {
            file,
            bytes,
            stack: Vec::new(),
            root: None,
            anchors: HashMap::new(),
            count: 0,
            documents: 0,
            done: false,
            problems: Vec::new(),
        }
    }

    /// The parser counts characters.
    fn byte(&self, character: usize) -> usize {
        let end = self.file.text().len();
        match &self.bytes {
            Some(bytes) => bytes.get(character).copied().unwrap_or(end),
            None => character.min(end),
        }
    }

    fn span(&self, span: &Span) -> Range<usize> {
        let start = self.byte(span.start.index());
        start..self.byte(span.end.index()).max(start)
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Taken {
        let span = self.span(&span);
        match event {
            Event::DocumentStart(_) => self.document(span),
            Event::StreamEnd => {
                self.done = true;
                Ok(())
            }
            Event::Scalar(content, style, anchor, tag) => {
                let node = self.scalar(content.into_owned(), style, span, tag.as_deref());
                self.count_one(&node.span, 1)?;
                self.remember(anchor, &node, 1);
                self.add(node)
            }
            Event::Alias(anchor) => self.alias(anchor, span),
            Event::SequenceStart(anchor, tag) => {
                self.open(span, anchor, tag, Holds::Items(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                let holds = Holds::Fields { entries: Vec::new(), merged: Vec::new(), name: None };
                self.open(span, anchor, tag, holds)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Nothing | Event::StreamStart | Event::DocumentEnd => Ok(()),
        }
    }

    fn document(&mut self, span: Range<usize>) -> Taken {
        self.documents += 1;
        if self.documents == 1 {
            return Ok(());
        }
        let cause = "the file holds more than one document";
        let hint = "write each pipeline in a file of its own: `passerelle run a.yaml b.yaml`";
        Err(Box::new(self.file.problem(span, "several_documents", cause).hint(hint)))
    }

    fn count_one(&mut self, span: &Range<usize>, values: usize) -> Taken {
        self.count += values;
        if self.count <= MOST {
            return Ok(());
        }
        let cause = format!("the file holds more than {MOST} values, aliases followed");
        Err(Box::new(self.file.problem(span.clone(), "file_too_large", cause)))
    }

    fn open(
        &mut self,
        span: Range<usize>,
        anchor: usize,
        tag: Option<Cow<'_, Tag>>,
        holds: Holds,
    ) -> Taken {
        self.count_one(&span, 1)?;
        if self.stack.len() >= DEEPEST {
            let cause = format!("lists and maps lie more than {DEEPEST} deep in each other");
            return Err(Box::new(self.file.problem(span, "too_deep", cause)));
        }
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            self.refuse_tag(&span, &tag);
        }
        self.stack.push(Open { span, anchor, before: self.count, holds });
        Ok(())
    }

    fn close(&mut self) -> Taken {
        let Some(open) = self.stack.pop() else { return Ok(()) };
        let content = match open.holds {
            Holds::Items(items) => Content::List(items),
            Holds::Fields { mut entries, merged, .. } => {
                for entry in merged {
                    if entries.iter().all(|own| own.name != entry.name) {
                        entries.push(entry);
                    }
                }
                Content::Map(entries)
            }
        };
        let node = Node { span: open.span, content };
        self.remember(open.anchor, &node, 1 + self.count - open.before);
        self.add(node)
    }

    fn remember(&mut self, anchor: usize, node: &Node, values: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), values));
        }
    }

    fn alias(&mut self, anchor: usize, span: Range<usize>) -> Taken {
        let Some((node, values)) = self.anchors.get(&anchor).cloned() else {
            let cause = "the alias stands inside the very value that it repeats";
            return Err(Box::new(self.file.problem(span, "recursive_alias", cause)));
        };
        self.count_one(&span, values)?;
        if self.stack.len() + depth(&node) > DEEPEST {
            let cause = format!("lists and maps lie more than {DEEPEST} deep in each other");
            return Err(Box::new(self.file.problem(span, "too_deep", cause)));
        }
        self.add(node)
    }

    fn scalar(
        &mut self,
        content: String,
        style: ScalarStyle,
        span: Range<usize>,
        tag: Option<&Tag>,
    ) -> Node {
        let written = self.file.text().get(span.clone()).unwrap_or_default();
        let text = |content| Content::Text(Text::read(content, style, span.clone(), written));
        let typed = match tag {
            None => style == ScalarStyle::Plain,
            Some(tag) if tag.is_yaml_core_schema() => tag.suffix != "str",
            Some(tag) => {
                self.refuse_tag(&span, tag);
                true
            }
        };
        let found = if typed { plain(&content) } else { None };
        Node { content: found.unwrap_or_else(|| text(content)), span }
    }

    fn refuse_tag(&mut self, span: &Range<usize>, tag: &Tag) {
        let cause = format!("`{tag}` is a YAML tag, and pipeline files have none");
        self.problems.push(
            self.file
                .problem(span.clone(), "yaml_tag", cause)
                .hint("a text that begins with `!` needs quotes or a block (`|`)"),
        );
    }

    /// Puts a finished node into what is open.
    fn add(&mut self, node: Node) -> Taken {
        match self.stack.last_mut().map(|open| &mut open.holds) {
            None => self.root = Some(node),
            Some(Holds::Items(items)) => items.push(node),
            Some(Holds::Fields { name: name @ None, .. }) => match key(self.file, &node) {
                Some(text) => *name = Some((text, node.span)),
                None => return Err(Box::new(self.refuse_key(&node))),
            },
            Some(Holds::Fields { entries, merged, name }) => {
                let Some((name, name_span)) = name.take() else { return Ok(()) };
                let first = entries.iter().find(|entry| entry.name == name);
                if let Some(first) = first {
                    let line = self.file.position(first.name_span.start).line;
                    let cause = format!("`{name}` is given twice; the first is on line {line}");
                    self.problems.push(self.file.problem(name_span, "duplicate_field", cause));
                } else if name == "<<" {
                    match merge(node) {
                        Some(fields) => merged.extend(fields),
                        None => self.problems.push(self.file.problem(
                            name_span,
                            "bad_merge",
                            "`<<` takes the fields of a map or of a list of maps, not this",
                        )),
                    }
                } else {
                    entries.push(Entry { name, name_span, value: node });
                }
            }
        }
        Ok(())
    }

    fn refuse_key(&self, node: &Node) -> Problem {
        let cause = format!("the name of a field must be a text, not {}", node.kind());
        self.file
            .problem(node.span.clone(), "bad_field_name", cause)
            .hint("a text that begins with `{` or `[` needs quotes")
    }

    /// The parser's error, with advice for the usual mistakes.
    fn scan_problem(&self, error: &ScanError) -> Problem {
        let at = self.byte(error.marker().index());
        let line = self.file.line(self.file.position(at).line);
        let before = line.trim_start_matches(' ');
        let rest = self.file.text().get(at..).unwrap_or_default();
        let hint = if before.starts_with('\t') {
            "YAML is indented with spaces, never tabs"
        } else if rest.starts_with(['%', '@', '`']) {
            "a text that begins with `%`, `@` or a backquote needs quotes or a block (`|`)"
        } else if error.info().contains("mapping values are not allowed") {
            "a text that holds `: ` needs quotes or a block (`|`)"
        } else if error.info().contains("unknown anchor") {
            "a text that begins with `*` needs quotes; an alias repeats a value marked `&name` above it"
        } else {
            ""
        };
        let cause = format!("this is not YAML: {}", error.info());
        self.file.problem(at..at, "yaml_syntax", cause).hint(hint)
    }
}

/// The name that a scalar gives to a field: the text, or what is written for a number or a word.
fn key(file: &File, node: &Node) -> Option<String> {
    match &node.content {
        Content::Text(text) => Some(text.as_str().to_owned()),
        Content::List(_) | Content::Map(_) => None,
        Content::Null if node.span.is_empty() => None,
        _ => file.text().get(node.span.clone()).map(str::to_owned),
    }
}

/// The fields that `<<` brings: of several maps, the first that has a field wins.
fn merge(node: Node) -> Option<Vec<Entry>> {
    match node.content {
        Content::Map(entries) => Some(entries),
        Content::List(items) => {
            let mut all: Vec<Entry> = Vec::new();
            for item in items {
                let Content::Map(entries) = item.content else { return None };
                all.extend(entries);
            }
            Some(all)
        }
        _ => None,
    }
}

fn depth(node: &Node) -> usize {
    let items = node.items().iter().map(depth);
    let fields = node.entries().iter().map(|entry| depth(&entry.value));
    match node.content {
        Content::List(_) | Content::Map(_) => 1 + items.chain(fields).max().unwrap_or(0),
        _ => 0,
    }
}
