//! The messages of PostgreSQL's output plugin `pgoutput`, version 1 of its protocol (PostgreSQL's
//! documentation, Logical Replication Message Formats).

use bytes::{Buf, Bytes, TryGetError};
use engine::Fault;

use super::lsn::Lsn;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    /// A transaction begins.
    Begin {
        /// The position of its commit.
        commit: Lsn,
        /// When it was committed, microseconds since 2000-01-01.
        time: i64,
        /// Its number.
        xid: u32,
    },
    /// It has been sent whole.
    Commit {
        /// The position behind its commit.
        end: Lsn,
    },
    /// What the rows of a table look like from now on.
    Relation(Relation),
    /// A row is new.
    Insert {
        /// Its table's number.
        table: u32,
        /// The row.
        new: Tuple,
    },
    /// A row has changed.
    Update {
        /// Its table's number.
        table: u32,
        /// The row before: whole under `REPLICA IDENTITY FULL`, else its identity where that changed.
        old: Option<Tuple>,
        /// The row after.
        new: Tuple,
    },
    /// A row is gone.
    Delete {
        /// Its table's number.
        table: u32,
        /// The row before: whole under `REPLICA IDENTITY FULL`, else its identity.
        old: Tuple,
    },
    /// Tables were emptied.
    Truncate {
        /// Their numbers.
        tables: Vec<u32>,
    },
    /// Anything else.
    Other,
}

/// What the rows of a table look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation {
    /// Its number.
    pub id: u32,
    /// Its name: `public.orders`.
    pub name: String,
    /// Whether old rows are sent whole (`REPLICA IDENTITY FULL`).
    pub full: bool,
    /// Its columns.
    pub columns: Vec<RelationColumn>,
}

/// A column as the stream tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RelationColumn {
    /// Its name.
    pub name: String,
    /// The number of its type.
    pub oid: u32,
    /// Whether it is sent of old rows.
    pub key: bool,
}

/// A row's values, in the order of its table's columns.
pub(super) type Tuple = Vec<Cell>;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell {
    /// Null, or, in the identity of a row, not part of it.
    Null,
    /// A long value that has not changed and is not in the log.
    Unchanged,
    /// Its text.
    Text(Bytes),
}

impl Message {
    /// Reads a message.
    ///
    /// # Errors
    /// An `Internal` fault: it is none that the documentation describes.
    pub fn parse(data: Bytes) -> Result<Self, Fault> {
        Reader(data).message().map_err(|Malformed(what)| {
            let message = format!("A message of pgoutput cannot be read: {what}.");
            Fault::internal("pgoutput", message)
        })
    }
}

struct Malformed(String);

impl From<TryGetError> for Malformed {
    fn from(_: TryGetError) -> Self {
        Self("it is cut short".to_owned())
    }
}

struct Reader(Bytes);

impl Reader {
    fn message(&mut self) -> Result<Message, Malformed> {
        Ok(match self.0.try_get_u8()? {
            b'B' => Message::Begin {
                commit: Lsn(self.0.try_get_u64()?),
                time: self.0.try_get_i64()?,
                xid: self.0.try_get_u32()?,
            },
            b'C' => {
                let (_flags, _commit) = (self.0.try_get_u8()?, self.0.try_get_u64()?);
                Message::Commit { end: Lsn(self.0.try_get_u64()?) }
            }
            b'R' => Message::Relation(self.relation()?),
            b'I' => {
                let table = self.0.try_get_u32()?;
                self.kind(b"N")?;
                Message::Insert { table, new: self.tuple()? }
            }
            b'U' => {
                let table = self.0.try_get_u32()?;
                let mut old = None;
                if self.kind(b"KON")? != b'N' {
                    old = Some(self.tuple()?);
                    self.kind(b"N")?;
                }
                Message::Update { table, old, new: self.tuple()? }
            }
            b'D' => {
                let table = self.0.try_get_u32()?;
                self.kind(b"KO")?;
                Message::Delete { table, old: self.tuple()? }
            }
            b'T' => {
                let (count, _options) = (self.0.try_get_u32()?, self.0.try_get_u8()?);
                let tables = (0..count).map(|_| self.0.try_get_u32()).collect::<Result<_, _>>();
                Message::Truncate { tables: tables? }
            }
            _ => Message::Other,
        })
    }

    fn relation(&mut self) -> Result<Relation, Malformed> {
        let id = self.0.try_get_u32()?;
        let (schema, name) = (self.text()?, self.text()?);
        let full = self.0.try_get_u8()? == b'f';
        let count = self.0.try_get_u16()?;
        let column = |reader: &mut Self| -> Result<RelationColumn, Malformed> {
            let key = reader.0.try_get_u8()? & 1 == 1;
            let (name, oid) = (reader.text()?, reader.0.try_get_u32()?);
            reader.0.try_get_i32()?;
            Ok(RelationColumn { name, oid, key })
        };
        let columns = (0..count).map(|_| column(self)).collect::<Result<_, _>>()?;
        // What pg_catalog holds has no name of a schema here.
        let schema = if schema.is_empty() { "pg_catalog".to_owned() } else { schema };
        Ok(Relation { id, name: format!("{schema}.{name}"), full, columns })
    }

    fn tuple(&mut self) -> Result<Tuple, Malformed> {
        let count = self.0.try_get_u16()?;
        (0..count).map(|_| self.cell()).collect()
    }

    fn cell(&mut self) -> Result<Cell, Malformed> {
        match self.0.try_get_u8()? {
            b'n' => Ok(Cell::Null),
            b'u' => Ok(Cell::Unchanged),
            b't' => {
                let length = self.0.try_get_u32()? as usize;
                if self.0.remaining() < length {
                    return Err(Malformed("a value is cut short".to_owned()));
                }
                Ok(Cell::Text(self.0.split_to(length)))
            }
            other => Err(Malformed(format!("a value is of the unknown kind {other}"))),
        }
    }

    fn kind(&mut self, expected: &[u8]) -> Result<u8, Malformed> {
        let kind = self.0.try_get_u8()?;
        if expected.contains(&kind) {
            return Ok(kind);
        }
        Err(Malformed(format!("a row is of the unknown kind {kind}")))
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let end = self.0.iter().position(|byte| *byte == 0);
        let end = end.ok_or_else(|| Malformed("a name has no end".to_owned()))?;
        let text = self.0.split_to(end);
        self.0.advance(1);
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(parts: &[&[u8]]) -> Result<Message, Fault> {
        Message::parse(parts.concat().into())
    }

    #[test]
    fn an_update_tells_nulls_and_what_has_not_changed_apart() {
        let row: &[u8] = b"\0\x03t\0\0\0\x0242nu";
        let read = parse(&[b"U\0\0\0\x07N", row]).unwrap();
        let new = vec![Cell::Text("42".into()), Cell::Null, Cell::Unchanged];
        assert_eq!(read, Message::Update { table: 7, old: None, new: new.clone() });
        let read = parse(&[b"U\0\0\0\x07K", b"\0\x01t\0\0\0\x011", b"N", row]).unwrap();
        assert_eq!(
            read,
            Message::Update { table: 7, old: Some(vec![Cell::Text("1".into())]), new }
        );
    }

    #[test]
    fn a_message_that_is_cut_anywhere_is_an_error_and_no_panic() {
        let whole: [&[u8]; 4] = [
            b"R\0\0\0\x07public\0orders\0d\0\x01\x01id\0\0\0\0\x14\xff\xff\xff\xff",
            b"U\0\0\0\x07N\0\x01t\0\0\0\x0242",
            b"B\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\x03",
            b"T\0\0\0\x01\0\0\0\0\x07",
        ];
        for message in whole {
            assert!(parse(&[message]).is_ok());
            for end in 0..message.len() {
                assert!(parse(&[&message[..end]]).is_err(), "{message:?} cut at {end}");
            }
        }
        assert!(parse(&[b"U\0\0\0\x07N\0\x01t\xff\xff\xff\xff42"]).is_err());
    }
}
