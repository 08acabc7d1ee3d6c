//! Apache Parquet: <https://parquet.apache.org/docs/file-format/>.
//!
//! | Avro | Parquet |
//! |---|---|
//! | decimal | DECIMAL of its precision and scale; with more than 76 digits, a text |
//! | date, time, timestamp | DATE, TIME, TIMESTAMP of its unit, in UTC; local timestamps without a zone |
//! | string, enum, uuid, big-decimal | STRING |
//! | bytes, fixed | bytes |
//! | record, array, map | a group, LIST, MAP |
//! | a union with null | an optional column |
//! | other unions, records that hold themselves or nothing, durations | STRING, as JSON |

mod column;
mod shape;

use std::sync::Arc;

use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::{WriterProperties, WriterPropertiesPtr};
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::types::{Type, TypePtr};
use engine::{Fault, Value};
use schemas::columns::Column;

use super::rows::{Format, Rows};
use column::Buffer;
use shape::Node;

/// The columns that files have.
pub(super) struct Table {
    nodes: Arc<Vec<Node>>,
    /// Empty buffers, one for each column.
    buffers: Vec<Buffer>,
    schema: TypePtr,
    properties: WriterPropertiesPtr,
}

impl Table {
    /// # Errors
    /// A `Config` fault when Parquet has no such columns.
    pub fn new(columns: &[Column]) -> Result<Self, Fault> {
        let mut buffers = Vec::new();
        let built = shape::nodes(columns, &mut buffers).and_then(|(nodes, types)| {
            let schema = Type::group_type_builder("schema").with_fields(types).build()?;
            Ok((nodes, schema))
        });
        let (nodes, schema) = built.map_err(|error| {
            let message = format!("Parquet has no columns for the topic's schema: {error}.");
            Fault::config("parquet_schema", message)
        })?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by("passerelle".to_owned())
            .build();
        Ok(Self {
            nodes: Arc::new(nodes),
            buffers,
            schema: Arc::new(schema),
            properties: Arc::new(properties),
        })
    }
}

impl Format for Table {
    fn extension(&self) -> &'static str {
        "parquet"
    }

    fn begin(&self) -> Box<dyn Rows> {
        Box::new(Columns {
            nodes: Arc::clone(&self.nodes),
            buffers: self.buffers.clone(),
            schema: Arc::clone(&self.schema),
            properties: Arc::clone(&self.properties),
        })
    }
}

struct Columns {
    nodes: Arc<Vec<Node>>,
    buffers: Vec<Buffer>,
    schema: TypePtr,
    properties: WriterPropertiesPtr,
}

impl Rows for Columns {
    fn add(&mut self, value: &Value) -> Result<(), Fault> {
        let marks: Vec<_> = self.buffers.iter().map(Buffer::mark).collect();
        let added = match value.as_object() {
            Some(row) => shape::add_fields(&self.nodes, row, (0, 0), &mut self.buffers),
            None => Err("it is no record".to_owned()),
        };
        added.map_err(|cause| {
            self.buffers.iter_mut().zip(marks).for_each(|(buffer, mark)| buffer.cut(mark));
            Fault::data("row_invalid", format!("No row can be made of the event: {cause}."))
        })
    }

    fn finish(self: Box<Self>) -> Result<Vec<u8>, Fault> {
        self.written().map_err(|error| {
            Fault::internal("parquet", format!("Writing Parquet failed: {error}."))
        })
    }
}

impl Columns {
    fn written(self) -> Result<Vec<u8>, ParquetError> {
        let mut writer = SerializedFileWriter::new(Vec::new(), self.schema, self.properties)?;
        let mut group = writer.next_row_group()?;
        for buffer in self.buffers {
            let Some(mut column) = group.next_column()? else {
                return Err(ParquetError::General("columns are missing".to_owned()));
            };
            buffer.write(&mut column)?;
            column.close()?;
        }
        group.close()?;
        writer.into_inner()
    }
}

#[cfg(test)]
mod tests;
