//! The codecs of record batches, with a limit on what a batch may grow to.

use std::{
    borrow::Cow,
    io::{self, Read},
};

use bytes::{BufMut, BytesMut};
use kafka_protocol::compression::{Compressor, Gzip, Lz4, Snappy, Zstd};

/// Bytes the records of one batch may take decompressed: a small batch can claim to hold
/// gigabytes.
pub const MAX_DECOMPRESSED: usize = 64 * 1024 * 1024;

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Not at all.
    None = 0,
    /// gzip.
    Gzip = 1,
    /// snappy, in blocks as snappy-java frames them, or one raw block.
    Snappy = 2,
    /// The LZ4 frame format.
    Lz4 = 3,
    /// Zstandard.
    Zstd = 4,
}

impl Codec {
    /// The codec of a number in a batch's attributes.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd]
            .get(usize::from(number))
            .copied()
    }

    /// The records as they were before compression.
    ///
    /// # Errors
    /// What the codec says of damaged data, or that there is more than [`MAX_DECOMPRESSED`].
    pub fn decompress(self, data: &[u8]) -> io::Result<Cow<'_, [u8]>> {
        Ok(Cow::Owned(match self {
            Self::None => return Ok(Cow::Borrowed(data)),
            Self::Gzip => read_limited(flate2::read::MultiGzDecoder::new(data))?,
            Self::Snappy => unsnap(data)?,
            Self::Lz4 => unlz4(data)?,
            Self::Zstd => read_limited(zstd::Decoder::with_buffer(data)?)?,
        }))
    }

    /// Compresses records.
    ///
    /// # Errors
    /// What the codec says.
    pub fn compress(self, records: &[u8]) -> io::Result<BytesMut> {
        let mut compressed = BytesMut::with_capacity(records.len() / 2);
        let put = |to: &mut BytesMut| {
            to.put_slice(records);
            Ok(())
        };
        match self {
            Self::None => {
                compressed.put_slice(records);
                Ok(())
            }
            Self::Gzip => Gzip::compress(&mut compressed, put),
            Self::Snappy => Snappy::compress(&mut compressed, put),
            Self::Lz4 => Lz4::compress(&mut compressed, put),
            Self::Zstd => Zstd::compress(&mut compressed, put),
        }
        .map_err(io::Error::other)?;
        Ok(compressed)
    }
}

fn too_large() -> io::Error {
    io::Error::new(
        io::ErrorKind::FileTooLarge,
        format!("its records take more than {MAX_DECOMPRESSED} bytes decompressed"),
    )
}

fn read_limited(decoder: impl Read) -> io::Result<Vec<u8>> {
    let mut records = Vec::new();
    // One byte more than allowed tells too much from just enough.
    decoder.take(MAX_DECOMPRESSED as u64 + 1).read_to_end(&mut records)?;
    if records.len() > MAX_DECOMPRESSED { Err(too_large()) } else { Ok(records) }
}

/// The decoder takes the end of the data for the end of the frame, unless asked.
fn unlz4(data: &[u8]) -> io::Result<Vec<u8>> {
    let mut decoder = lz4::Decoder::new(data)?;
    let records = read_limited(&mut decoder)?;
    decoder.finish().1?;
    Ok(records)
}

/// What snappy-java's streams begin with; two versions of four bytes follow
/// (<https://github.com/xerial/snappy-java#compatibility-notes>).
const XERIAL: &[u8] = b"\x82SNAPPY\0";
const XERIAL_HEADER_BYTES: usize = 16;

fn unsnap(data: &[u8]) -> io::Result<Vec<u8>> {
    let mut records = Vec::new();
    if !data.starts_with(XERIAL) {
        unsnap_block(data, &mut records)?;
        return Ok(records);
    }
    let cut_short = || io::Error::new(io::ErrorKind::UnexpectedEof, "a snappy block is cut short");
    let mut rest = data.get(XERIAL_HEADER_BYTES..).ok_or_else(cut_short)?;
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = u32::from_be_bytes(*length) as usize;
        let (block, after) = after.split_at_checked(length).ok_or_else(cut_short)?;
        unsnap_block(block, &mut records)?;
        rest = after;
    }
    if rest.is_empty() { Ok(records) } else { Err(cut_short()) }
}

fn unsnap_block(block: &[u8], records: &mut Vec<u8>) -> io::Result<()> {
    let before = records.len();
    let length = snap::raw::decompress_len(block)?;
    if length > MAX_DECOMPRESSED - before {
        return Err(too_large());
    }
    records.resize(before + length, 0);
    snap::raw::Decoder::new().decompress(block, &mut records[before..])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    #[test]
    fn records_survive_every_codec() {
        let records: Vec<u8> = (0..100_000_u32).flat_map(|i| (i / 7).to_be_bytes()).collect();
        for codec in CODECS {
            let compressed = codec.compress(&records).unwrap();
            assert_eq!(codec.decompress(&compressed).unwrap(), records, "{codec:?}");
        }
    }

    #[test]
    fn a_batch_that_grows_beyond_the_limit_is_refused() {
        let records = vec![0; MAX_DECOMPRESSED + 1];
        for codec in CODECS.into_iter().skip(1) {
            let compressed = codec.compress(&records).unwrap();
            let error = codec.decompress(&compressed).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::FileTooLarge, "{codec:?}");
        }
    }

    #[test]
    fn damaged_data_is_an_error() {
        for codec in CODECS.into_iter().skip(1) {
            let compressed = codec.compress(&[7; 1000]).unwrap();
            let cut = &compressed[..compressed.len() - 3];
            assert!(codec.decompress(cut).is_err(), "{codec:?}");
            assert!(codec.decompress(b"").is_err(), "{codec:?}");
        }
    }
}
