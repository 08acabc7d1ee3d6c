//! Whether changes can be captured, and what would make it so.

use std::collections::BTreeMap;

use database::tokio_postgres::Row;
use engine::study::{Reading, Way};

use super::{Table, quoted};

/// Managed servers give the right by a role of theirs.
pub(super) const SERVER: &str = "SELECT current_setting('server_version'), \
     current_setting('server_version_num')::int4, current_setting('wal_level'), pg_is_in_recovery(), \
     current_user::text, coalesce((SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = \
     current_user), false) OR EXISTS (SELECT FROM pg_roles r WHERE r.rolname = 'rds_replication' AND \
     pg_has_role(current_user, r.oid, 'member')), current_setting('max_replication_slots')::int4, \
     current_setting('max_wal_senders')::int4, current_setting('max_connections')::int4, \
     has_database_privilege(current_database(), 'CREATE')";
pub(super) const PUBLISHED: &str = "SELECT p.pubname::text, t.schemaname::text, t.tablename::text FROM \
     pg_publication p LEFT JOIN pg_publication_tables t ON t.pubname = p.pubname ORDER BY 1, 2, 3 LIMIT \
     20000";
pub(super) const SLOTS: &str = "SELECT slot_name::text, coalesce(plugin::text, 'physical'), active, \
     coalesce(database::text, ''), coalesce(wal_status, '') FROM pg_replication_slots ORDER BY 1";

/// The source reads `pgoutput` with its messages.
const OLDEST: i32 = 140_000;
/// Tables that a statement names at most; the rest is for the reader.
const NAMED: usize = 10;

/// The server that we speak to, and what we may do there.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub version_text: String,
    version: i32,
    wal_level: String,
    is_standby: bool,
    user: String,
    replicates: bool,
    most_slots: i32,
    most_senders: i32,
    most_connections: i32,
    creates: bool,
}

/// Which publications publish a table.
#[derive(Debug, Default)]
pub(super) struct Publications {
    names: Vec<String>,
    by_table: BTreeMap<String, Vec<String>>,
}

impl Server {
    pub fn of(row: &Row) -> Self {
        Self {
            version_text: row.get(0),
            version: row.get(1),
            wal_level: row.get(2),
            is_standby: row.get(3),
            user: row.get(4),
            replicates: row.get(5),
            most_slots: row.get(6),
            most_senders: row.get(7),
            most_connections: row.get(8),
            creates: row.get(9),
        }
    }
}

impl Publications {
    pub fn of(rows: &[Row]) -> Self {
        let mut all = Self::default();
        for row in rows {
            let name: String = row.get(0);
            if !all.names.contains(&name) {
                all.names.push(name.clone());
            }
            let table: (Option<String>, Option<String>) = (row.get(1), row.get(2));
            if let (Some(schema), Some(table)) = table {
                all.by_table.entry(format!("{schema}.{table}")).or_default().push(name);
            }
        }
        all
    }

    pub fn of_table(&self, table: &str) -> &[String] {
        self.by_table.get(table).map(Vec::as_slice).unwrap_or_default()
    }
}

pub(super) fn access(server: &Server) -> Vec<String> {
    let Server { user, replicates, creates, .. } = server;
    let has = |right: &bool, name| format!("{} {name}", if *right { "may" } else { "may not" });
    vec![format!(
        "user `{user}`: {}, {}",
        has(replicates, "replicate (REPLICATION)"),
        has(creates, "create publications and schemas (CREATE on the database)")
    )]
}

pub(super) fn limits(server: &Server, slots: &[Row]) -> Vec<String> {
    let Server { most_slots, most_senders, most_connections, .. } = server;
    let mut limits = vec![
        format!("{most_connections} connections, {most_senders} of them for replication"),
        format!("{most_slots} replication slots, {} of them taken", slots.len()),
    ];
    limits.extend(slots.iter().map(|row| {
        let (name, plugin, active): (String, String, bool) = (row.get(0), row.get(1), row.get(2));
        let (database, status): (String, String) = (row.get(3), row.get(4));
        let used = if active { "in use" } else { "not in use: it keeps the log until it is read" };
        let of = if database.is_empty() { String::new() } else { format!(" of `{database}`") };
        format!("slot `{name}`{of} ({plugin}, {status}): {used}")
    }));
    limits
}

/// Whether the tables' changes can be captured: what is in the way, and the statements that clear it,
/// in the order in which they are to be run.
pub(super) fn reading(
    server: &Server,
    tables: &[Table],
    publications: &Publications,
    slots: usize,
) -> Reading {
    let real: Vec<&Table> = tables.iter().filter(|table| table.is_table).collect();
    let published =
        |table: &&Table| !publications.of_table(&table.name).is_empty() && table.readable;
    let mut in_the_way = Vec::new();
    let mut to_do = Vec::new();
    for (blocks, why, remedy) in of_server(server, slots) {
        if blocks {
            in_the_way.push(why);
            to_do.push(remedy);
        }
    }
    if real.is_empty() {
        in_the_way.push("there is no table that we see".to_owned());
    } else if !real.iter().any(published) {
        in_the_way.push("no publication publishes a table that we may read".to_owned());
        to_do.extend(publish(server, &real, publications));
    }
    if in_the_way.is_empty() {
        let (open, others): (Vec<&Table>, Vec<&Table>) = real.iter().copied().partition(published);
        let mut because = format!("the log tells every change of {}", names(&open));
        if !others.is_empty() {
            because +=
                &format!("; {} of {} tables are not published to us", others.len(), real.len());
            to_do.extend(publish(server, &others, publications));
        }
        to_do.extend(identify(&open));
        return Reading { to_do, ..Reading::open(Way::ChangeCapture, because) };
    }
    to_do.extend(identify(&real));
    Reading { to_do, ..Reading::closed(Way::ChangeCapture, in_the_way.join("; ")) }
}

/// What the server itself must have: whether it lacks it, in words, and the remedy.
fn of_server(server: &Server, slots: usize) -> [(bool, String, String); 5] {
    let Server { version_text, wal_level, user, most_slots, .. } = server;
    let enough = usize::try_from(*most_slots).is_ok_and(|most| slots < most);
    [
        (
            server.version < OLDEST,
            format!("PostgreSQL {version_text} is older than 14"),
            "-- upgrade the server to 14 or later".to_owned(),
        ),
        (
            server.is_standby,
            "this is a standby".to_owned(),
            "-- give the connection the primary's address".to_owned(),
        ),
        (
            wal_level != "logical",
            format!("`wal_level` is {wal_level}, not logical"),
            "ALTER SYSTEM SET wal_level = 'logical'; -- as a superuser; then restart the server"
                .to_owned(),
        ),
        (
            !server.replicates,
            format!("`{user}` has no right to replicate"),
            format!("ALTER ROLE {} REPLICATION; -- as a superuser", quoted(user)),
        ),
        (
            !enough && !server.is_standby,
            format!("all {most_slots} replication slots are taken"),
            format!(
                "ALTER SYSTEM SET max_replication_slots = {}; -- then restart the server; or drop a slot \
                 that nobody uses",
                most_slots.saturating_add(10)
            ),
        ),
    ]
}

/// How tables are published to us.
fn publish(server: &Server, tables: &[&Table], publications: &Publications) -> Vec<String> {
    let list = |tables: &[&&Table]| {
        let named: Vec<_> = tables.iter().take(NAMED).map(|table| table.quoted.as_str()).collect();
        named.join(", ")
    };
    let further = |tables: &[&&Table]| match tables.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" ({more} further tables likewise)"),
    };
    let mut statements = Vec::new();
    let unpublished: Vec<_> =
        tables.iter().filter(|table| publications.of_table(&table.name).is_empty()).collect();
    let passerelle = publications.names.iter().any(|name| name == "passerelle");
    // Changes of partitions are then told as the partitioned table's own.
    let partitioned = unpublished.iter().any(|table| table.is_partitioned);
    let (begin, with) = match (passerelle, partitioned) {
        (true, _) => ("ALTER PUBLICATION passerelle ADD TABLE", ""),
        (false, false) => ("CREATE PUBLICATION passerelle FOR TABLE", ""),
        (false, true) => {
            ("CREATE PUBLICATION passerelle FOR TABLE", " WITH (publish_via_partition_root = true)")
        }
    };
    if passerelle && partitioned {
        let through_roots =
            "ALTER PUBLICATION passerelle SET (publish_via_partition_root = true); -- as its owner";
        statements.push(through_roots.to_owned());
    }
    if !unpublished.is_empty() {
        let (tables, further) = (list(&unpublished), further(&unpublished));
        statements.push(format!("{begin} {tables}{with}; -- as their owner{further}"));
    }
    let hidden: Vec<_> = tables.iter().filter(|table| !table.readable).collect();
    if !hidden.is_empty() {
        let (tables, further, user) = (list(&hidden), further(&hidden), quoted(&server.user));
        statements.push(format!("GRANT SELECT ON {tables} TO {user}; -- as their owner{further}"));
    }
    statements
}

/// Without a primary key or a replica identity, updates and deletions of a published table fail.
fn identify(tables: &[&Table]) -> Vec<String> {
    let lacks = |table: &&&Table| table.identity == "n" || (table.identity == "d" && !table.keyed);
    let statement = |table: &&Table| {
        format!(
            "ALTER TABLE {} REPLICA IDENTITY FULL; -- or add a primary key: without either, its updates \
             and deletions fail once it is published",
            table.quoted
        )
    };
    tables.iter().filter(lacks).take(NAMED).map(statement).collect()
}

fn names(tables: &[&Table]) -> String {
    let named: Vec<_> = tables.iter().take(NAMED).map(|table| table.name.as_str()).collect();
    let more = if tables.len() > NAMED { ", …" } else { "" };
    format!("{}{more}", named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Server {
        Server {
            version_text: "15.8".to_owned(),
            version: 150_008,
            wal_level: "logical".to_owned(),
            is_standby: false,
            user: "o\"brien".to_owned(),
            replicates: true,
            most_slots: 10,
            most_senders: 10,
            most_connections: 100,
            creates: false,
        }
    }

    fn table(name: &str) -> Table {
        Table {
            name: format!("public.{name}"),
            quoted: format!("\"public\".\"{name}\""),
            is_table: true,
            is_partitioned: false,
            readable: true,
            keyed: true,
            identity: "d".to_owned(),
            times: Vec::new(),
        }
    }

    fn published(names: &[&str]) -> Publications {
        let mut all = Publications { names: vec!["passerelle".to_owned()], ..Default::default() };
        for name in names {
            all.by_table.insert(format!("public.{name}"), vec!["passerelle".to_owned()]);
        }
        all
    }

    #[test]
    fn everything_in_the_way_of_capture_is_told_with_the_statement_that_clears_it() {
        let server = Server { wal_level: "replica".to_owned(), replicates: false, ..server() };
        let keyless = Table { keyed: false, readable: false, ..table("log") };
        let found = reading(&server, &[table("orders"), keyless], &Publications::default(), 10);
        assert_eq!(found.open, Some(false));
        let to_do = found.to_do.join("\n");
        for text in [
            "ALTER SYSTEM SET wal_level = 'logical';",
            "ALTER ROLE \"o\"\"brien\" REPLICATION;",
            "max_replication_slots = 20",
            "CREATE PUBLICATION passerelle FOR TABLE \"public\".\"orders\", \"public\".\"log\";",
            "GRANT SELECT ON \"public\".\"log\" TO \"o\"\"brien\";",
            "ALTER TABLE \"public\".\"log\" REPLICA IDENTITY FULL;",
        ] {
            assert!(to_do.contains(text), "{text} is not in:\n{to_do}");
        }
    }

    #[test]
    fn a_database_that_is_ready_needs_nothing() {
        let found = reading(&server(), &[table("orders")], &published(&["orders"]), 0);
        assert_eq!((found.open, found.to_do.len()), (Some(true), 0), "{found:?}");
    }

    #[test]
    fn a_statement_for_many_tables_is_whole_and_tells_of_the_rest() {
        let tables: Vec<_> = (0..25).map(|number| table(&"t".repeat(50 + number))).collect();
        let found = reading(&server(), &tables, &Publications::default(), 0);
        let statement = &found.to_do[0];
        assert!(
            statement.ends_with("; -- as their owner (15 further tables likewise)"),
            "{statement}"
        );
        assert!(!statement.contains('…'), "{statement}");
    }

    #[test]
    fn a_partitioned_table_is_published_as_itself() {
        let tables = [Table { is_partitioned: true, ..table("sales") }];
        let found = reading(&server(), &tables, &Publications::default(), 0);
        assert!(found.to_do[0].contains("WITH (publish_via_partition_root = true);"), "{found:?}");
        let found = reading(&server(), &tables, &published(&["orders"]), 0);
        assert!(found.to_do[0].contains("SET (publish_via_partition_root = true);"), "{found:?}");
    }

    #[test]
    fn a_table_that_is_not_published_is_told_beside_those_that_are() {
        let tables = [table("orders"), table("customers")];
        let found = reading(&server(), &tables, &published(&["orders"]), 0);
        assert_eq!(found.open, Some(true));
        let add =
            "ALTER PUBLICATION passerelle ADD TABLE \"public\".\"customers\"; -- as their owner";
        assert_eq!(found.to_do, [add]);
    }
}
