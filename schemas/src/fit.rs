//! Texts of files (columns, elements) become what a schema's fields want: `1 234,56` a decimal's
//! digits, `31/12/2025` a date.

use apache_avro::schema::{RecordField, Schema as Avro};
use vrl::value::{ObjectMap, Value};

use crate::leaf::{Leaf, Logical, NumberForm};
use crate::path::Path;
use crate::schema::Schema;

/// What a text stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A number, whole or decimal: what is exact stays a text of digits.
    Number,
    /// A number that the schema holds as a float or a double.
    Real,
    /// A day.
    Date,
    /// An instant.
    Timestamp,
    /// A date and a time without a zone.
    LocalTimestamp,
    /// True or false.
    Boolean,
}

/// Why a text is not what a field wants.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}`: {cause}")]
pub struct FitError {
    /// The field.
    pub path: Path,
    /// What is wrong with it.
    pub cause: String,
}

/// Gives the texts of a value the forms that the schema's fields want, to be read as JSON next.
/// `read` turns a text into the usual writing of its form. Where a field is not a text, an empty text
/// is null if the field may be null, and is left out (for its default) if not. An element of XML with
/// attributes (`#text`) is its text where a field holds no record; `@name` is the attribute for a field
/// `name`; what stands alone is a list of one where a field is an array.
///
/// # Errors
/// `read` refused a text: with the field.
pub fn fit(
    schema: &Schema,
    value: Value,
    read: &dyn Fn(Form, &str) -> Result<Value, String>,
) -> Result<Value, FitError> {
    let fitting = Fitting { schema, read };
    fitting.value(schema.avro(), value, &Path::root()).map(|value| value.unwrap_or(Value::Null))
}

/// What a field of this type wants of a text; nothing if it takes it as it is.
fn form(leaf: Leaf) -> Option<Form> {
    match leaf {
        Leaf::Boolean => Some(Form::Boolean),
        Leaf::Real(_) => Some(Form::Real),
        Leaf::Number(_, NumberForm::Date) => Some(Form::Date),
        Leaf::Number(_, NumberForm::Timestamp(_)) => Some(Form::Timestamp),
        Leaf::Number(_, NumberForm::Local(_)) => Some(Form::LocalTimestamp),
        Leaf::Number(_, NumberForm::Integer)
        | Leaf::Bytes(_, Some(Logical::Decimal(_) | Logical::BigDecimal)) => Some(Form::Number),
        _ => None,
    }
}

struct Fitting<'a> {
    schema: &'a Schema,
    read: &'a dyn Fn(Form, &str) -> Result<Value, String>,
}

impl Fitting<'_> {
    /// The value as the type wants it; nothing if it is to be left out.
    fn value(&self, avro: &Avro, value: Value, path: &Path) -> Result<Option<Value>, FitError> {
        let avro = self.schema.resolve(avro);
        match (avro, value) {
            (Avro::Union(union), value) => self.union(union.variants(), value, path),
            (Avro::Record(record), Value::Object(mut given)) => {
                let mut fitted = ObjectMap::new();
                for field in &record.fields {
                    if let Some(value) = self.field(field, &mut given, path)? {
                        fitted.insert(field.name.as_str().into(), value);
                    }
                }
                // What the schema lacks stays, to be counted as unknown.
                given.retain(|name, _| !fitted.contains_key(name));
                fitted.extend(given.into_iter().filter(|(name, _)| {
                    !record.fields.iter().any(|field| field.name == name.as_str())
                }));
                Ok(Some(Value::Object(fitted)))
            }
            (Avro::Array(array), value) => {
                let items = match value {
                    Value::Array(items) => items,
                    one => vec![one],
                };
                let mut fitted = Vec::with_capacity(items.len());
                for item in items {
                    fitted.push(self.value(&array.items, item, path)?.unwrap_or(Value::Null));
                }
                Ok(Some(Value::Array(fitted)))
            }
            (Avro::Map(map), Value::Object(given)) => {
                let mut fitted = ObjectMap::new();
                for (name, value) in given {
                    let within = path.field(&name);
                    if let Some(value) = self.value(&map.types, value, &within)? {
                        fitted.insert(name, value);
                    }
                }
                Ok(Some(Value::Object(fitted)))
            }
            (Avro::Record(_) | Avro::Map(_), other) => Ok(Some(other)),
            (avro, value) => self.leaf(avro, value, path),
        }
    }

    fn field(
        &self,
        field: &RecordField,
        given: &mut ObjectMap,
        path: &Path,
    ) -> Result<Option<Value>, FitError> {
        let attribute = || format!("@{}", field.name);
        let value = given.remove(field.name.as_str());
        match value.or_else(|| given.remove(attribute().as_str())) {
            Some(value) => self.value(&field.schema, value, &path.field(&field.name)),
            None if field.default.is_none()
                && matches!(self.schema.resolve(&field.schema), Avro::Array(_)) =>
            {
                Ok(Some(Value::Array(Vec::new())))
            }
            None => Ok(None),
        }
    }

    fn union(
        &self,
        branches: &[Avro],
        value: Value,
        path: &Path,
    ) -> Result<Option<Value>, FitError> {
        let mut others = branches.iter().filter(|branch| !matches!(branch, Avro::Null));
        // Of several types, JSON's reader chooses; nothing can be guessed of a text.
        let (Some(only), None) = (others.next(), others.next()) else { return Ok(Some(value)) };
        let nullable = branches.len() > 1;
        match self.value(only, value, path)? {
            None if nullable => Ok(Some(Value::Null)),
            Some(value) if nullable && value.to_str_lossy().is_some_and(|text| text.is_empty()) => {
                Ok(Some(Value::Null))
            }
            fitted => Ok(fitted),
        }
    }

    fn leaf(&self, avro: &Avro, value: Value, path: &Path) -> Result<Option<Value>, FitError> {
        let value = match value {
            Value::Object(mut element) if element.contains_key("#text") => {
                element.remove("#text").unwrap_or(Value::Null)
            }
            // An element that has attributes only: its text is empty.
            Value::Object(element) if element.keys().all(|name| name.starts_with('@')) => {
                Value::from("")
            }
            value => value,
        };
        let (Some(form), Some(text)) = (Leaf::of(avro).and_then(form), value.to_str_lossy()) else {
            return Ok(Some(value));
        };
        if text.trim().is_empty() {
            return Ok(None);
        }
        let fitted = (self.read)(form, &text);
        fitted.map(Some).map_err(|cause| FitError { path: path.clone(), cause })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_take_the_forms_of_their_fields_and_nothing_else_is_touched() {
        let schema = Schema::parse(
            r#"{"type":"record","name":"R","fields":[
            {"name":"code","type":"string"},
            {"name":"note","type":["null","string"],"default":null},
            {"name":"price","type":["null",{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}],"default":null},
            {"name":"currency","type":"string"},
            {"name":"lines","type":{"type":"array","items":"int"}},
            {"name":"none","type":{"type":"array","items":"int"}},
            {"name":"count","type":"int","default":7}]}"#,
        )
        .unwrap();
        let read = |form: Form, text: &str| Ok(Value::from(format!("{form:?} {text}")));
        let price = ObjectMap::from([("#text".into(), "1,5".into()), ("@a".into(), "b".into())]);
        let given = ObjectMap::from([
            ("code".into(), "00123".into()),
            ("note".into(), "".into()),
            ("price".into(), Value::Object(price)),
            ("@currency".into(), "EUR".into()),
            ("lines".into(), "3".into()),
            ("count".into(), " ".into()),
            ("more".into(), "kept".into()),
        ]);
        let fitted = fit(&schema, Value::Object(given), &read).unwrap();
        assert_eq!(
            crate::json::write(&fitted),
            r#"{"code":"00123","currency":"EUR","lines":["Number 3"],"more":"kept","none":[],"note":null,"price":"Number 1,5"}"#
        );
    }
}
