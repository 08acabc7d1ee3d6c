//! Which reader's type may read which writer's, for types without parts.

use super::plan::Node;
use crate::decimal::Shape;
use crate::leaf::{Leaf, Length, Logical, Number, NumberForm, Real, Store};

impl Leaf {
    /// What reads this type as it was written.
    pub(super) fn node(self) -> Node {
        match self {
            Leaf::Null => Node::Null,
            Leaf::Boolean => Node::Boolean,
            Leaf::Number(wire, form) => Node::Number(wire, form),
            Leaf::Real(wire) => Node::Real(wire),
            Leaf::Bytes(store, Some(logical)) => Node::Logical(store.length(), logical),
            Leaf::Bytes(Store::String, None) => Node::Text(Length::Prefixed),
            Leaf::Bytes(store, None) => Node::Bytes(store.length()),
        }
    }

    /// What reads this type as the reader's. Logical types are the reader's business, except that a
    /// writer's unit and scale tell what its numbers mean.
    ///
    /// # Errors
    /// The reader's type cannot hold it; the text says why where the types' names do not.
    pub(super) fn node_for(self, reader: Self) -> Result<Node, Option<String>> {
        match (self, reader) {
            (Leaf::Null, Leaf::Null) | (Leaf::Boolean, Leaf::Boolean) => Ok(self.node()),
            (Leaf::Number(Number::Long, _), Leaf::Number(Number::Int, _)) => Err(None),
            (Leaf::Number(wire, ours), Leaf::Number(_, theirs)) => {
                number_form(ours, theirs).map(|form| Node::Number(wire, form)).ok_or(None)
            }
            (Leaf::Number(wire, _), Leaf::Real(Real::Float)) => {
                Ok(Node::Number(wire, NumberForm::Float))
            }
            (Leaf::Number(wire, _), Leaf::Real(Real::Double)) => {
                Ok(Node::Number(wire, NumberForm::Double))
            }
            (Leaf::Real(Real::Double), Leaf::Real(Real::Float)) => Err(None),
            (Leaf::Real(wire), Leaf::Real(_)) => Ok(Node::Real(wire)),
            (Leaf::Bytes(ours, logical), Leaf::Bytes(theirs, wanted)) => {
                bytes_node((ours, logical), (theirs, wanted))
            }
            _ => Err(None),
        }
    }
}

fn number_form(writer: NumberForm, reader: NumberForm) -> Option<NumberForm> {
    use NumberForm::{Date, Integer, Local, Time, Timestamp};
    match (writer, reader) {
        (_, Integer) => Some(Integer),
        (Integer, form) => Some(form),
        (Date, Date) => Some(Date),
        (Time(unit), Time(_)) => Some(Time(unit)),
        (Timestamp(unit) | Local(unit), Timestamp(_)) => Some(Timestamp(unit)),
        (Timestamp(unit) | Local(unit), Local(_)) => Some(Local(unit)),
        _ => None,
    }
}

type Stored = (Store, Option<Logical>);

fn bytes_node((ours, logical): Stored, (theirs, wanted): Stored) -> Result<Node, Option<String>> {
    match (ours, theirs) {
        (Store::Fixed(a), Store::Fixed(b)) if a != b => {
            return Err(Some(format!("a fixed of {a} bytes is not one of {b}")));
        }
        (Store::Fixed(_), Store::Fixed(_)) => {}
        (Store::Fixed(_), _) | (_, Store::Fixed(_)) => return Err(None),
        _ => {}
    }
    let length = ours.length();
    match logical_form(logical, wanted)? {
        Some(logical) => Ok(Node::Logical(length, logical)),
        None if matches!(theirs, Store::String) => Ok(Node::Text(length)),
        None => Ok(Node::Bytes(length)),
    }
}

fn logical_form(
    writer: Option<Logical>,
    reader: Option<Logical>,
) -> Result<Option<Logical>, Option<String>> {
    use Logical::{Decimal, Uuid, UuidText};
    match (writer, reader) {
        (_, None) => Ok(None),
        (None, wanted) => Ok(wanted),
        (Some(Decimal(a)), Some(Decimal(b))) if a.scale != b.scale => Err(Some(format!(
            "its scale is {} for the writer and {} for the reader",
            a.scale, b.scale
        ))),
        (Some(Decimal(a)), Some(Decimal(b))) => {
            let precision = a.precision.max(b.precision);
            Ok(Some(Decimal(Shape { precision, ..a })))
        }
        (Some(form @ (Uuid | UuidText)), Some(Uuid | UuidText)) => Ok(Some(form)),
        (Some(form), Some(wanted)) if form == wanted => Ok(Some(form)),
        _ => Err(None),
    }
}
