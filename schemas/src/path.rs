//! Where in a value or a schema something is, written the way VRL writes it: `.lines[2].unit_price`.

use std::fmt::{self, Display, Formatter};

/// One step of a [`Path`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Segment {
    /// A record's field or a map's key.
    Field(String),
    /// One item of an array.
    Index(usize),
    /// Every item of an array: `[]`. Only paths into schemas hold it.
    Items,
    /// Every value of a map: `.*`. Only paths into schemas hold it.
    Values,
}

/// A path from the root of an event, shown as VRL writes it; the root is `.`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path(Vec<Segment>);

impl Path {
    /// The event itself.
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// The steps from the root.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// This path and one step more.
    pub fn join(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }

    /// This path and a field.
    pub fn field(&self, name: &str) -> Self {
        self.join(Segment::Field(name.to_owned()))
    }

    /// Reads a path as it is shown: `.lines[].note`, `."a b".*`. Nothing when the text is none.
    pub fn parse(text: &str) -> Option<Self> {
        let mut segments = Vec::new();
        // Before an item of the event itself, and alone, the dot stands for the event.
        let root = text.strip_prefix('.').filter(|rest| rest.is_empty() || rest.starts_with('['));
        let mut rest = root.unwrap_or(text);
        while !rest.is_empty() {
            let (segment, after) = segment(rest)?;
            segments.push(segment);
            rest = after;
        }
        text.starts_with('.').then_some(Self(segments))
    }

    /// Builds a path from the steps that an error collected on its way up: the deepest first.
    pub(crate) fn from_deepest(mut segments: Vec<Segment>) -> Self {
        segments.reverse();
        Self(segments)
    }
}

impl From<Vec<Segment>> for Path {
    fn from(segments: Vec<Segment>) -> Self {
        Self(segments)
    }
}

impl Display for Path {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !matches!(self.0.first(), Some(Segment::Field(_) | Segment::Values)) {
            f.write_str(".")?;
        }
        self.0.iter().try_for_each(|segment| match segment {
            Segment::Field(name) if is_plain(name) => write!(f, ".{name}"),
            Segment::Field(name) => write!(f, ".{name:?}"),
            Segment::Index(index) => write!(f, "[{index}]"),
            Segment::Items => f.write_str("[]"),
            Segment::Values => f.write_str(".*"),
        })
    }
}

/// The first step of a path's text, and what is left of it.
fn segment(text: &str) -> Option<(Segment, &str)> {
    if let Some(inner) = text.strip_prefix('[') {
        let (index, rest) = inner.split_once(']')?;
        let item =
            if index.is_empty() { Segment::Items } else { Segment::Index(index.parse().ok()?) };
        return Some((item, rest));
    }
    let name = text.strip_prefix('.')?;
    if let Some(rest) = name.strip_prefix('*') {
        return Some((Segment::Values, rest));
    }
    if let Some(name) = name.strip_prefix('"') {
        // A name with quotes in it is beyond what a person writes.
        let (quoted, rest) = name.split_once('"')?;
        return (!quoted.contains('\\')).then(|| (Segment::Field(quoted.to_owned()), rest));
    }
    let end = name.find(['.', '[']).unwrap_or(name.len());
    let (plain, rest) = name.split_at(end);
    is_plain(plain).then(|| (Segment::Field(plain.to_owned()), rest))
}

/// Whether VRL takes the name without quotes.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_written_as_vrl_writes_it() {
        assert_eq!(Path::root().to_string(), ".");
        let line = Path::root().field("lines").join(Segment::Index(2)).field("unit_price");
        assert_eq!(line.to_string(), ".lines[2].unit_price");
        assert_eq!(Path::from(vec![Segment::Index(0)]).to_string(), ".[0]");
        assert_eq!(Path::root().field("a b").join(Segment::Values).to_string(), ".\"a b\".*");
        assert_eq!(Path::root().field("lines").join(Segment::Items).to_string(), ".lines[]");
    }

    #[test]
    fn a_path_is_read_as_it_is_shown() {
        for text in
            [".", ".a", ".lines[].unit_price", ".[0]", ".[].x", ".\"a b\".*", ".*.x", ".@id[2]"]
        {
            assert_eq!(Path::parse(text).map(|path| path.to_string()).as_deref(), Some(text));
        }
        for text in ["", "a", "a.b", ".a b", ".a[", ".a[x]", "..a", ".a.", ".\"a", "[0]"] {
            assert_eq!(Path::parse(text), None, "{text}");
        }
    }
}
