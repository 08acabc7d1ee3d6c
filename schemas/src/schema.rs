//! An Avro schema: its text, its parsed form, and the named types it defines.

mod blame;
mod fields;

use std::collections::HashMap;
use std::fmt::{self, Debug, Display, Formatter};
use std::sync::{Arc, OnceLock};

use apache_avro::schema::{DecimalSchema, Name, RecordSchema, Schema as Avro};

use vrl::value::Value;

pub use fields::Field;
pub(crate) use fields::type_name;

use crate::decimal::MAX_DIGITS;
use crate::defaults;
use crate::path::Path;

/// A parsed Avro schema and the text it came from. Cloning is cheap.
///
/// ```
/// let schema = schemas::Schema::parse(schemas::events::ORDER)?;
/// assert_eq!(schema.fullname(), Some("passerelle.shop.Order".to_owned()));
/// # Ok::<(), schemas::SchemaError>(())
/// ```
#[derive(Clone)]
pub struct Schema(Arc<Parsed>);

struct Parsed {
    text: String,
    avro: Avro,
    /// Every record, enum and fixed that the schema defines, by full name.
    names: HashMap<Name, Avro>,
    /// The values of the records' defaults, made when the first is asked for.
    defaults: OnceLock<Defaults>,
}

/// Values by record and field.
type Defaults = HashMap<Name, HashMap<String, Value>>;

/// Why a text is not a usable Avro schema, or why two schemas do not fit each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{doing}{}: {cause}", place(at))]
pub struct SchemaError {
    doing: &'static str,
    /// The field that is wrong, when it is known.
    pub at: Option<Path>,
    /// What is wrong there.
    pub cause: String,
}

fn place(at: &Option<Path>) -> String {
    at.as_ref().map(|path| format!(" at `{path}`")).unwrap_or_default()
}

impl SchemaError {
    /// The schema itself is wrong.
    pub(crate) fn invalid(at: Option<Path>, cause: impl Into<String>) -> Self {
        Self { doing: "the Avro schema is not valid", at, cause: cause.into() }
    }

    /// What one schema writes cannot be read with the other.
    pub(crate) fn unreadable(at: Path, cause: impl Into<String>) -> Self {
        let doing = "what the writer's Avro schema says cannot be read with the reader's";
        Self { doing, at: Some(at), cause: cause.into() }
    }
}

impl Schema {
    /// Parses the JSON text of a schema.
    ///
    /// # Errors
    /// The text is not JSON (with line and column), or not an Avro schema (with the field).
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        Self::parse_with(text, &[])
    }

    /// Parses a schema that uses named types of other schemas (the registry's references). The
    /// result holds those types itself; its [`text`](Self::text) stays what was given.
    ///
    /// # Errors
    /// As [`parse`](Self::parse); a name that neither text nor references define is one.
    pub fn parse_with(text: &str, references: &[Self]) -> Result<Self, SchemaError> {
        let avro =
            parse_avro(text, references).map_err(|cause| blame::locate(text, references, cause))?;
        let mut names = HashMap::new();
        collect_names(&avro, &mut names)?;
        Ok(Self(Arc::new(Parsed { text: text.to_owned(), avro, names, defaults: OnceLock::new() })))
    }

    /// The text as it was given.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The [parsing canonical form](https://avro.apache.org/docs/1.12.0/specification/#parsing-canonical-form-for-schemas):
    /// what matters for reading, without docs, aliases, defaults and logical types.
    pub fn canonical(&self) -> String {
        self.0.avro.canonical_form()
    }

    /// The full name of a record, enum or fixed; nothing for other types.
    pub fn fullname(&self) -> Option<String> {
        self.0.avro.name().map(|name| name.fullname(None))
    }

    /// Every field, depth first, as a person would list them.
    pub fn fields(&self) -> Vec<Field> {
        fields::list(self)
    }

    /// The parsed form, for this crate's own use.
    pub(crate) fn avro(&self) -> &Avro {
        &self.0.avro
    }

    /// The default of a record's field, as a decoder would give it. Nothing for one that is no value
    /// of its type, which [`Encoder::new`](crate::Encoder::new) refuses by name.
    pub(crate) fn default(&self, record: &Name, field: &str) -> Option<&Value> {
        let defaults = self.0.defaults.get_or_init(|| {
            let records = self.0.names.iter().filter_map(|(name, avro)| match avro {
                Avro::Record(record) => Some((name.clone(), defaults::values(self, record))),
                _ => None,
            });
            records.collect()
        });
        defaults.get(record)?.get(field)
    }

    /// Follows a reference to a named type; any other schema is returned as it is.
    pub(crate) fn resolve<'a>(&'a self, schema: &'a Avro) -> &'a Avro {
        match schema {
            Avro::Ref { name } => self.0.names.get(name).unwrap_or(schema),
            other => other,
        }
    }
}

impl Debug for Schema {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Schema").field(&self.text()).finish()
    }
}

impl Display for Schema {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// Two schemas are equal if their texts are: docs, defaults and logical types count.
impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Schema {}

fn parse_avro(text: &str, references: &[Schema]) -> Result<Avro, apache_avro::Error> {
    if references.is_empty() {
        return Avro::parse_str(text);
    }
    let texts = references.iter().map(Schema::text);
    let (mut avro, others) = Avro::parse_str_with_list(text, texts)?;
    avro.denormalize(&others)?;
    Ok(avro)
}

/// Gathers the named types, and refuses two definitions of one name that differ: apache-avro
/// would silently let the last one win.
fn collect_names(schema: &Avro, names: &mut HashMap<Name, Avro>) -> Result<(), SchemaError> {
    if let (Some(name), false) = (schema.name(), matches!(schema, Avro::Ref { .. })) {
        match names.get(name) {
            Some(known) if known == schema => return Ok(()),
            Some(_) => {
                let name = name.fullname(None);
                return Err(SchemaError::invalid(
                    None,
                    format!("the type `{name}` is defined twice, differently"),
                ));
            }
            None => names.insert(name.clone(), schema.clone()),
        };
    }
    match schema {
        Avro::Decimal(DecimalSchema { precision, .. }) if *precision > MAX_DIGITS => {
            let cause =
                format!("a decimal of {precision} digits is more than the {MAX_DIGITS} supported");
            Err(SchemaError::invalid(None, cause))
        }
        Avro::Record(RecordSchema { fields, .. }) => {
            fields.iter().try_for_each(|field| collect_names(&field.schema, names))
        }
        Avro::Array(array) => collect_names(&array.items, names),
        Avro::Map(map) => collect_names(&map.types, names),
        Avro::Union(union) => {
            union.variants().iter().try_for_each(|variant| collect_names(variant, names))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
