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
}
