//! The payload being read. Nothing it promises is believed beyond the bytes it has.

use bytes::Bytes;

use super::Fault;
use super::plan::NodeId;
use crate::leaf::{Length, Number};

/// Most arrays, maps and records within each other. A value nested deeper would exhaust the stack,
/// here or when it is dropped.
pub(crate) const MAX_DEPTH: usize = 128;

/// How many values may cost no bytes (nulls in an array, records without fields), beyond the length
/// of the payload. Without a bound a payload of six bytes holds a billion nulls.
const FREE_VALUES: usize = 1_024;

/// Items for which room is made before they are seen.
const MAX_RESERVED: usize = 1_024;

pub(super) struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
    /// A copy of the payload that texts and bytes are slices of.
    shared: Bytes,
    depth: usize,
    free: usize,
}

/// One block of an array or a map.
pub(super) struct Block {
    pub count: usize,
    /// How many bytes it takes, where the writer says so.
    pub bytes: Option<usize>,
}

impl Block {
    pub(super) fn reserve(&self) -> usize {
        self.count.min(MAX_RESERVED)
    }
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let shared = Bytes::copy_from_slice(bytes);
        Self { bytes, at: 0, shared, depth: 0, free: bytes.len().saturating_add(FREE_VALUES) }
    }

    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(super) fn fault(&self, cause: String) -> Fault {
        Fault::new(self.at, cause)
    }

    /// Goes into an array, a map or a record.
    pub(super) fn enter(&mut self) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.fault(format!("values are nested more than {MAX_DEPTH} deep")));
        }
        self.spend(1)
    }

    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    fn spend(&mut self, values: usize) -> Result<(), Fault> {
        match self.free.checked_sub(values) {
            Some(free) => self.free = free,
            None => {
                return Err(self.fault("it holds more empty values than it has bytes".to_owned()));
            }
        }
        Ok(())
    }

    /// The next bytes, as a slice.
    pub(super) fn take(&mut self, size: usize) -> Result<&'a [u8], Fault> {
        let Some(taken) = self.bytes[self.at..].get(..size) else {
            let left = self.left();
            return Err(self.fault(format!("of the {size} bytes it takes, {left} are left")));
        };
        self.at += size;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let taken = self.take(N)?.first_chunk().copied();
        taken.ok_or_else(|| self.fault(format!("{N} bytes are needed")))
    }

    /// The next bytes, as many as their length or their type says.
    pub(super) fn bytes(&mut self, length: Length) -> Result<&'a [u8], Fault> {
        let size = match length {
            Length::Fixed(size) => size,
            Length::Prefixed => self.size("length")?,
        };
        self.take(size)
    }

    /// The same bytes, shared with the copy of the payload.
    pub(super) fn shared(&mut self, length: Length) -> Result<Bytes, Fault> {
        let size = self.bytes(length)?.len();
        Ok(self.shared.slice(self.at - size..self.at))
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Fault> {
        let bytes = self.bytes(Length::Prefixed)?;
        std::str::from_utf8(bytes)
            .map_err(|cause| self.fault(format!("its text is not UTF-8: {cause}")))
    }

    pub(super) fn boolean(&mut self) -> Result<bool, Fault> {
        match self.take(1)? {
            [0] => Ok(false),
            [1] => Ok(true),
            other => Err(self.fault(format!("a boolean is 0 or 1, not {other:?}"))),
        }
    }

    pub(super) fn number(&mut self, wire: Number) -> Result<i64, Fault> {
        let number = self.long()?;
        if wire == Number::Int && i32::try_from(number).is_err() {
            return Err(self.fault(format!("an int does not hold {number}")));
        }
        Ok(number)
    }

    /// A zigzag varint of at most ten bytes.
    fn long(&mut self) -> Result<i64, Fault> {
        let mut number = 0_u64;
        for (index, byte) in self.bytes[self.at..].iter().enumerate().take(10) {
            // The tenth byte has one bit that counts.
            if index == 9 && *byte > 1 {
                break;
            }
            number |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.at += index + 1;
                return Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed());
            }
        }
        let cause = if self.left() < 10 {
            "the payload ends within a number"
        } else {
            "a number is longer than 64 bits"
        };
        Err(self.fault(cause.to_owned()))
    }

    fn size(&mut self, what: &str) -> Result<usize, Fault> {
        let number = self.long()?;
        let left = self.left();
        usize::try_from(number)
            .ok()
            .filter(|size| *size <= left)
            .ok_or_else(|| self.fault(format!("its {what} is {number} and {left} bytes are left")))
    }

    /// Which branch of a union comes next.
    pub(super) fn choice(&mut self, branches: &[NodeId]) -> Result<NodeId, Fault> {
        let index = self.long()?;
        let branch = usize::try_from(index).ok().and_then(|index| branches.get(index));
        branch.copied().ok_or_else(|| {
            self.fault(format!("branch {index} of a union that has {}", branches.len()))
        })
    }

    /// The next block of an array or map whose items take at least `size` bytes; nothing at its end.
    pub(super) fn block(&mut self, size: usize) -> Result<Option<Block>, Fault> {
        let number = self.long()?;
        if number == 0 {
            return Ok(None);
        }
        let bytes = if number < 0 { Some(self.size("block's size")?) } else { None };
        let count = usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX);
        let left = self.left();
        match left.checked_div(size) {
            None => self.spend(count)?,
            Some(most) if count <= most => {}
            Some(_) => {
                return Err(
                    self.fault(format!("{count} items do not fit in the {left} bytes left"))
                );
            }
        }
        Ok(Some(Block { count, bytes }))
    }
}
