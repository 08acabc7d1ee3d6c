//! The statements that write rows. Each column is one parameter, an array of texts, so that a
//! statement is the same for any number of rows, and prepared once.

use super::catalogue::Table;
use super::identifier::quoted;
use super::rows::Group;
use super::{Mode, Options};

/// The statement that writes a group.
pub(super) fn of(group: &Group<'_>, table: &Table, options: &Options) -> String {
    match group.is_deleted {
        true => deletion(&group.names, table),
        false => insertion(&group.names, table, options),
    }
}

/// `unnest($1::text[], $2::text[]) AS u(c1, c2)`.
fn given(names: &[&str]) -> String {
    let list =
        |form: fn(usize) -> String| (1..=names.len()).map(form).collect::<Vec<_>>().join(", ");
    let (parameters, columns) =
        (list(|number| format!("${number}::text[]")), list(|number| format!("c{number}")));
    format!("unnest({parameters}) AS u({columns})")
}

/// `u.c1::numeric`: by its type without length or precision, as a cast to those would cut in
/// silence; what the column does to it at the assignment is refused where it does not fit.
fn cast(number: usize, name: &str, table: &Table) -> String {
    match table.column(name) {
        Some(column) => format!("u.c{}::{}", number + 1, column.cast),
        None => format!("u.c{}", number + 1),
    }
}

fn insertion(names: &[&str], table: &Table, options: &Options) -> String {
    let columns: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    let casts: Vec<String> =
        names.iter().enumerate().map(|(number, name)| cast(number, name, table)).collect();
    format!(
        "INSERT INTO {} AS t ({}) SELECT {} FROM {}{}",
        table.name.sql(),
        columns.join(", "),
        casts.join(", "),
        given(names),
        conflict(names, options)
    )
}

fn conflict(names: &[&str], options: &Options) -> String {
    let Options { mode, keys, newer_by, .. } = options;
    if keys.is_empty() {
        return String::new();
    }
    let target: Vec<String> = keys.iter().map(|key| quoted(key)).collect();
    let target = target.join(", ");
    let is_key = |name: &&&str| !keys.iter().any(|key| key == **name);
    let changes: Vec<String> = names
        .iter()
        .filter(is_key)
        .map(|name| format!("{0} = excluded.{0}", quoted(name)))
        .collect();
    if *mode == Mode::Insert || changes.is_empty() {
        return format!(" ON CONFLICT ({target}) DO NOTHING");
    }
    let guard = newer_by
        .as_ref()
        .map(|column| format!(" WHERE t.{0} IS NULL OR excluded.{0} >= t.{0}", quoted(column)));
    format!(
        " ON CONFLICT ({target}) DO UPDATE SET {}{}",
        changes.join(", "),
        guard.unwrap_or_default()
    )
}

fn deletion(names: &[&str], table: &Table) -> String {
    let equal = names
        .iter()
        .enumerate()
        .map(|(number, name)| format!("t.{} = {}", quoted(name), cast(number, name, table)));
    let equal: Vec<String> = equal.collect();
    format!(
        "DELETE FROM {} AS t USING {} WHERE {}",
        table.name.sql(),
        given(names),
        equal.join(" AND ")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::catalogue::tests::table;
    use super::super::tests::options;
    use super::*;

    fn sql(names: &[&'static str], is_deleted: bool, given: Json) -> String {
        let group = Group { is_deleted, names: names.to_vec(), rows: Vec::new() };
        let table = table("shop.orders", &[("id", "bigint"), ("total", "numeric")]);
        of(&group, &table, &options(given))
    }

    #[test]
    fn an_upsert_replaces_what_is_no_key() {
        assert_eq!(
            sql(&["id", "total"], false, json!({ "keys": ["id"] })),
            "INSERT INTO \"shop\".\"orders\" AS t (\"id\", \"total\") \
             SELECT u.c1::bigint, u.c2::numeric FROM unnest($1::text[], $2::text[]) AS u(c1, c2) \
             ON CONFLICT (\"id\") DO UPDATE SET \"total\" = excluded.\"total\""
        );
        assert!(
            sql(&["id"], false, json!({ "keys": ["id"] }))
                .ends_with("ON CONFLICT (\"id\") DO NOTHING")
        );
    }

    #[test]
    fn an_older_event_changes_nothing_where_a_column_tells() {
        let sql = sql(&["id", "total"], false, json!({ "keys": ["id"], "newer_by": "total" }));
        let guard = "WHERE t.\"total\" IS NULL OR excluded.\"total\" >= t.\"total\"";
        assert!(sql.ends_with(guard), "{sql}");
    }

    #[test]
    fn an_insert_leaves_the_row_that_is_there() {
        let plain = sql(&["id"], false, json!({ "mode": "insert" }));
        assert!(plain.ends_with("AS u(c1)"), "{plain}");
        let keyed = sql(&["id", "total"], false, json!({ "mode": "insert", "keys": ["id"] }));
        assert!(keyed.ends_with("ON CONFLICT (\"id\") DO NOTHING"), "{keyed}");
    }

    #[test]
    fn a_deletion_is_by_the_keys() {
        assert_eq!(
            sql(&["id"], true, json!({ "keys": ["id"] })),
            "DELETE FROM \"shop\".\"orders\" AS t USING unnest($1::text[]) AS u(c1) \
             WHERE t.\"id\" = u.c1::bigint"
        );
    }
}
