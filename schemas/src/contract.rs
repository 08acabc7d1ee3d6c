//! Holds a mapping's final type against the schema of the topic it writes.

mod kinds;

use std::fmt::{self, Display, Formatter};

use apache_avro::schema::{Name, RecordField, RecordSchema, Schema as Avro};
use vrl::value::Kind;
use vrl::value::kind::{Collection, Field};

use crate::path::{Path, Segment};
use crate::schema::{Schema, type_name};
use kinds::Kinds;

/// One place where a mapping's result does not fit, or may not fit, the output schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Where it is in the result.
    pub path: Path,
    /// The output schema's type, as a person writes it; empty for a field it lacks.
    pub expected: String,
    /// The part of the mapping's type that is wrong: `null`, `a string or an integer`.
    pub found: String,
    /// What is wrong.
    pub cause: Cause,
}

/// What is wrong at a [`Misfit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The field is never set and has no default.
    MissingField,
    /// The field may not be set, and has no default.
    MaybeMissing,
    /// No value of the mapping's type is one of the schema's.
    WrongKind,
    /// Some values of the mapping's type are none of the schema's: null, or anything at all.
    MaybeWrong,
    /// More than one branch of the union takes the value: which one is meant cannot be told.
    AmbiguousUnion,
    /// The mapping sets a field that neither the output schema nor the input schema has.
    UnknownField {
        /// The schema's field of the nearest name, if one is near.
        nearest: Option<String>,
    },
}

impl Display for Misfit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { path, expected, found, cause } = self;
        let wants = "the output schema wants";
        match cause {
            Cause::MissingField => write!(f, "`{path}` is not set, and {wants} {expected}"),
            Cause::MaybeMissing => write!(f, "`{path}` may not be set, and {wants} {expected}"),
            Cause::WrongKind => write!(f, "`{path}` is {found}, and {wants} {expected}"),
            Cause::MaybeWrong => write!(f, "`{path}` may be {found}, and {wants} {expected}"),
            Cause::AmbiguousUnion => {
                write!(f, "`{path}` is {found}, which more than one branch of {expected} takes")
            }
            Cause::UnknownField { nearest: Some(nearest) } => {
                write!(f, "the output schema has no `{path}`: did you mean `{nearest}`?")
            }
            Cause::UnknownField { nearest: None } => write!(f, "the output schema has no `{path}`"),
        }
    }
}

/// Compares the type of a mapping's result with the output schema. Without misfits, encoding fails
/// only on what a type does not tell: a decimal's digits, an int's range, a date's form.
///
/// A field that the output lacks is dropped if `input`, the schema of the mapping's input, has it
/// there: the mapping merely passed it through. Without `input` every such field is a misfit.
pub fn misfits(kind: &Kind, output: &Schema, input: Option<&Schema>) -> Vec<Misfit> {
    let mut check = Check { output, input, misfits: Vec::new(), open: Vec::new() };
    check.value(kind, output.avro(), input.map(Schema::avro), &Path::root());
    check.misfits
}

struct Check<'a> {
    output: &'a Schema,
    input: Option<&'a Schema>,
    misfits: Vec<Misfit>,
    /// The records that enclose the current one: one that holds itself is checked once.
    open: Vec<&'a Name>,
}

impl<'a> Check<'a> {
    fn report(&mut self, path: &Path, avro: &Avro, found: Kinds, cause: Cause) {
        let expected = type_name(self.output, avro);
        self.misfits.push(Misfit { path: path.clone(), expected, found: found.to_string(), cause });
    }

    fn value(&mut self, kind: &Kind, avro: &'a Avro, input: Option<&'a Avro>, path: &Path) {
        let avro = self.output.resolve(avro);
        let (found, accepted) = (Kinds::of(kind), Kinds::accepted(self.output, avro));
        if !found.intersects(accepted) {
            return self.report(path, avro, found, Cause::WrongKind);
        }
        if !found.without(accepted).is_empty() {
            self.report(path, avro, found.without(accepted), Cause::MaybeWrong);
        }
        match avro {
            // Of what is unknown altogether, that it may be wrong says all.
            _ if kind.is_any() => {}
            Avro::Union(union) => self.union(kind, avro, union.variants(), input, path),
            _ => self.parts(kind, avro, input, path),
        }
    }

    /// Goes into what the value holds.
    fn parts(&mut self, kind: &Kind, avro: &'a Avro, input: Option<&'a Avro>, path: &Path) {
        match (avro, kind.as_object(), kind.as_array()) {
            (Avro::Record(record), Some(fields), _) => self.record(fields, record, input, path),
            (Avro::Map(map), Some(entries), _) => {
                let input = input.and_then(|input| self.input_part(input, value_of_map));
                for (key, kind) in entries.known() {
                    self.part(kind, &map.types, input, &path.field(key.as_str()));
                }
                let path = path.join(Segment::Values);
                self.part(&entries.unknown_kind(), &map.types, input, &path);
            }
            (Avro::Array(array), _, Some(items)) => {
                let input = input.and_then(|input| self.input_part(input, item_of_array));
                for (index, kind) in items.known() {
                    let path = path.join(Segment::Index(index.to_usize()));
                    self.part(kind, &array.items, input, &path);
                }
                let path = path.join(Segment::Items);
                self.part(&items.unknown_kind(), &array.items, input, &path);
            }
            _ => {}
        }
    }

    /// An item or a value, which may as well not be there.
    fn part(&mut self, kind: &Kind, avro: &'a Avro, input: Option<&'a Avro>, path: &Path) {
        if kind.contains_any_defined() {
            self.value(&kind.without_undefined(), avro, input, path);
        }
    }

    fn record(
        &mut self,
        fields: &Collection<Field>,
        record: &'a RecordSchema,
        input: Option<&'a Avro>,
        path: &Path,
    ) {
        if self.open.contains(&&record.name) {
            return;
        }
        self.open.push(&record.name);
        for field in &record.fields {
            let input =
                input.and_then(|input| self.input_part(input, |part| field_of(part, &field.name)));
            self.field(fields, field, input, &path.field(&field.name));
        }
        for (name, kind) in fields.known() {
            let declared = record.fields.iter().any(|field| field.name == name.as_str());
            if !declared && kind.contains_any_defined() {
                self.unknown_field(name.as_str(), kind, record, input, path);
            }
        }
        self.open.pop();
    }

    fn field(
        &mut self,
        fields: &Collection<Field>,
        field: &'a RecordField,
        input: Option<&'a Avro>,
        path: &Path,
    ) {
        let needed = field.default.is_none();
        let known = fields.known().get(&Field::from(field.name.as_str()));
        let open = fields.unknown_kind().contains_any_defined();
        match known {
            None if open && needed => {
                self.report(path, &field.schema, Kinds::NOTHING, Cause::MaybeMissing);
            }
            Some(kind) if kind.contains_any_defined() => {
                if needed && kind.contains_undefined() {
                    self.report(path, &field.schema, Kinds::NOTHING, Cause::MaybeMissing);
                }
                self.value(&kind.without_undefined(), &field.schema, input, path);
            }
            None if open => {}
            _ if needed => self.report(path, &field.schema, Kinds::NOTHING, Cause::MissingField),
            _ => {}
        }
    }

    fn unknown_field(
        &mut self,
        name: &str,
        kind: &Kind,
        record: &RecordSchema,
        input: Option<&'a Avro>,
        path: &Path,
    ) {
        let in_input = |input: &'a Avro| self.input_part(input, |part| field_of(part, name));
        if input.and_then(in_input).is_some() {
            return;
        }
        let nearest = nearest(name, record.fields.iter().map(|field| field.name.as_str()));
        self.misfits.push(Misfit {
            path: path.field(name),
            expected: String::new(),
            found: Kinds::of(kind).to_string(),
            cause: Cause::UnknownField { nearest },
        });
    }

    /// Null is null, and a union of null and one type is that type. Of several, the value's type
    /// must leave one, as [`Encoder`](crate::Encoder) chooses by the value.
    fn union(
        &mut self,
        kind: &Kind,
        avro: &'a Avro,
        branches: &'a [Avro],
        input: Option<&'a Avro>,
        path: &Path,
    ) {
        let found = Kinds::of(kind);
        let branches: Vec<&Avro> =
            branches.iter().map(|branch| self.output.resolve(branch)).collect();
        let accepted = |branch: &Avro| Kinds::accepted(self.output, branch).and(found);
        let takes = |branch: &&&Avro| !matches!(branch, Avro::Null) && !accepted(branch).is_empty();
        let taking: Vec<&Avro> = branches.iter().filter(takes).copied().collect();
        let meant = meant(kind, taking);
        let shared = meant.iter().enumerate().fold(Kinds::NOTHING, |shared, (index, branch)| {
            let others = meant.iter().skip(index + 1).map(|other| accepted(other));
            others.fold(shared, |shared, other| shared.or(other.and(accepted(branch))))
        });
        // Of numbers the first that holds the value is meant: that is no ambiguity.
        let shared = shared.without(Kinds::NUMBERS);
        if !shared.is_empty() {
            self.report(path, avro, shared, Cause::AmbiguousUnion);
        }
        if let [branch] = meant.as_slice() {
            self.parts(kind, branch, input, path);
        }
    }

    /// A part of the input's type, or of a branch of it.
    fn input_part(
        &self,
        avro: &'a Avro,
        part: impl Fn(&'a Avro) -> Option<&'a Avro>,
    ) -> Option<&'a Avro> {
        let input = self.input?;
        match input.resolve(avro) {
            Avro::Union(union) => {
                union.variants().iter().find_map(|branch| part(input.resolve(branch)))
            }
            other => part(other),
        }
    }
}

/// The branches that the object's type may mean: not the records that need fields it lacks, unless
/// all do; then the first, whose misfits say what is missing.
fn meant<'a>(kind: &Kind, taking: Vec<&'a Avro>) -> Vec<&'a Avro> {
    let Some(fields) = kind.as_object() else {
        return taking;
    };
    let has = |field: &RecordField| {
        let known = fields.known().get(&Field::from(field.name.as_str()));
        known.cloned().unwrap_or_else(|| fields.unknown_kind()).contains_any_defined()
    };
    let possible = |branch: &&&Avro| match branch {
        Avro::Record(record) => {
            record.fields.iter().all(|field| field.default.is_some() || has(field))
        }
        _ => true,
    };
    let possible: Vec<_> = taking.iter().filter(possible).copied().collect();
    if possible.is_empty() { taking.into_iter().take(1).collect() } else { possible }
}

fn field_of<'a>(avro: &'a Avro, name: &str) -> Option<&'a Avro> {
    match avro {
        Avro::Record(record) => {
            record.fields.iter().find(|field| field.name == name).map(|field| &field.schema)
        }
        other => value_of_map(other),
    }
}

fn value_of_map(avro: &Avro) -> Option<&Avro> {
    match avro {
        Avro::Map(map) => Some(&map.types),
        _ => None,
    }
}

fn item_of_array(avro: &Avro) -> Option<&Avro> {
    match avro {
        Avro::Array(array) => Some(&array.items),
        _ => None,
    }
}

/// The known name that was probably meant.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    known
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known.to_owned())
}

#[cfg(test)]
mod tests;
