//! What the checks know of a value: its type as far as the input's schema tells, and where its
//! decimals are, which VRL's types do not tell from other texts.

use std::collections::BTreeMap;

use schemas::{Path, Segment};
use vrl::path::{OwnedSegment, OwnedValuePath};
use vrl::value::Kind;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    /// Its type; anything at all once a program has computed it.
    pub(super) kind: Kind,
    decimals: Decimals,
}

/// Where decimals are in a value.
#[derive(Debug, Clone, Default, PartialEq)]
struct Decimals {
    /// It is one itself.
    here: bool,
    /// In its fields.
    fields: BTreeMap<String, Decimals>,
    /// In each of its items, or in each of a map's values.
    each: Option<Box<Decimals>>,
}

impl Shape {
    /// A value of this type with decimals at these paths.
    pub(super) fn new(kind: Kind, paths: &[Path]) -> Self {
        let mut decimals = Decimals::default();
        for path in paths {
            decimals.add(path.segments());
        }
        Self { kind, decimals }
    }

    /// A value that a program has computed.
    pub(super) fn computed() -> Self {
        Self { kind: Kind::any(), decimals: Decimals::default() }
    }

    /// A decimal that a program has computed.
    pub(super) fn decimal() -> Self {
        let decimals = Decimals { here: true, ..Decimals::default() };
        Self { kind: Kind::any(), decimals }
    }

    /// An array or an object whose parts have this shape.
    pub(super) fn collection_of(each: Self) -> Self {
        let decimals = Decimals { each: Some(Box::new(each.decimals)), ..Decimals::default() };
        Self { kind: Kind::any(), decimals }
    }

    /// An object of these fields.
    pub(super) fn object(fields: impl IntoIterator<Item = (String, Self)>) -> Self {
        let fields = fields.into_iter().map(|(name, shape)| (name, shape.decimals)).collect();
        Self { kind: Kind::any(), decimals: Decimals { fields, ..Decimals::default() } }
    }

    /// Whether it is a decimal.
    pub(super) fn is_decimal(&self) -> bool {
        self.decimals.here
    }

    /// What is at a path in it.
    pub(super) fn at(&self, path: &OwnedValuePath) -> Self {
        let mut decimals = self.decimals.clone();
        for segment in &path.segments {
            decimals = decimals.part(segment).unwrap_or_default();
        }
        Self { kind: self.kind.at_path(path), decimals }
    }

    /// Any of its items or values.
    pub(super) fn item(&self) -> Self {
        let object = self.kind.as_object().map(|fields| fields.reduced_kind());
        let array = self.kind.as_array().map(|items| items.reduced_kind());
        let kind = match (object, array) {
            (Some(object), Some(array)) => object.union(array),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => Kind::any(),
        };
        let named = self.decimals.fields.values().cloned();
        let parts = named.chain(self.decimals.each.as_deref().cloned());
        Self { kind, decimals: parts.fold(Decimals::default(), Decimals::union) }
    }

    /// Puts `value` at a path in it.
    pub(super) fn set(&mut self, path: &OwnedValuePath, value: Self) {
        self.kind.set_at_path(path, value.kind);
        self.decimals.set(&path.segments, value.decimals);
    }

    /// One or the other.
    #[must_use]
    pub(super) fn union(self, other: Self) -> Self {
        let decimals = self.decimals.union(other.decimals);
        Self { kind: self.kind.union(other.kind), decimals }
    }
}

impl Decimals {
    fn add(&mut self, path: &[Segment]) {
        match path {
            [] => self.here = true,
            [Segment::Field(name), rest @ ..] => {
                self.fields.entry(name.clone()).or_default().add(rest);
            }
            [Segment::Index(_) | Segment::Items | Segment::Values, rest @ ..] => {
                self.each.get_or_insert_default().add(rest);
            }
        }
    }

    fn part(&self, segment: &OwnedSegment) -> Option<Self> {
        let field = match segment {
            OwnedSegment::Field(name) => self.fields.get(name.as_str()),
            OwnedSegment::Index(_) => None,
        };
        field.or(self.each.as_deref()).cloned()
    }

    fn set(&mut self, path: &[OwnedSegment], value: Self) {
        match path {
            [] => *self = value,
            [OwnedSegment::Field(name), rest @ ..] => {
                let known = self.part(&OwnedSegment::Field(name.clone())).unwrap_or_default();
                let field = self.fields.entry(name.to_string()).or_insert(known);
                field.set(rest, value);
            }
            // Which item it is may not be known: the others keep what they were.
            [OwnedSegment::Index(_), rest @ ..] => {
                let mut each = self.each.as_deref().cloned().unwrap_or_default();
                each.set(rest, value);
                let before = self.each.take().map(|each| *each).unwrap_or_default();
                self.each = Some(Box::new(before.union(each)));
            }
        }
    }

    fn union(mut self, other: Self) -> Self {
        self.here |= other.here;
        for (name, theirs) in other.fields {
            let ours = self.fields.remove(&name).unwrap_or_default();
            self.fields.insert(name, ours.union(theirs));
        }
        self.each = match (self.each, other.each) {
            (Some(ours), Some(theirs)) => Some(Box::new(ours.union(*theirs))),
            (one, other) => one.or(other),
        };
        self
    }
}
