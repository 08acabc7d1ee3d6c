//! What changed between two schemas, a line a field.

use std::collections::BTreeMap;

use crate::schema::Field;
use crate::{Path, Schema};

/// The fields added (`+ .total: int`), removed (`-`) and changed (`~ .id: int → long`), in the
/// order of the new schema, then those that are gone.
pub fn changes(old: &Schema, new: &Schema) -> Vec<String> {
    let (old, new) = (old.fields(), new.fields());
    let before: BTreeMap<&Path, &Field> = old.iter().map(|field| (&field.path, field)).collect();
    let after: BTreeMap<&Path, &Field> = new.iter().map(|field| (&field.path, field)).collect();
    let kept = new.iter().filter_map(|field| match before.get(&field.path) {
        None => Some(format!("+ {}: {}", field.path, kind(field))),
        Some(earlier) if kind(earlier) != kind(field) => {
            Some(format!("~ {}: {} → {}", field.path, kind(earlier), kind(field)))
        }
        Some(_) => None,
    });
    let gone = old.iter().filter(|field| !after.contains_key(&field.path));
    kept.chain(gone.map(|field| format!("- {}: {}", field.path, kind(field)))).collect()
}

fn kind(field: &Field) -> String {
    match &field.default {
        Some(default) => format!("{} = {default}", field.kind),
        None => field.kind.clone(),
    }
}
