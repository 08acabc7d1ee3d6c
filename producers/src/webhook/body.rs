//! Reading a body without trusting its size.

use std::io::Read;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use engine::Value;
use flate2::read::MultiGzDecoder;
use http_body_util::LengthLimitError;

use super::answer::Answer;

/// How long a caller may take to send its body.
const DEADLINE: Duration = Duration::from_secs(15);

/// A body as it was sent, and as it reads.
#[derive(Clone)]
pub struct Received {
    /// The bytes on the wire.
    pub raw: Bytes,
    /// The bytes after `Content-Encoding` was undone; the same where there was none.
    pub plain: Bytes,
}

impl Received {
    /// One part of a body, as JSON.
    pub fn of_value(value: &Value) -> Self {
        Self::of(schemas::json::write(value).into_bytes().into())
    }

    /// A body that was not packed.
    pub fn of(plain: Bytes) -> Self {
        Self { raw: plain.clone(), plain }
    }
}

/// Reads a body of at most `limit` bytes, both on the wire and unpacked.
///
/// # Errors
/// The answer to give: 400, 408, 413 or 415.
pub async fn receive(headers: &HeaderMap, body: Body, limit: usize) -> Result<Received, Answer> {
    let read = tokio::time::timeout(DEADLINE, axum::body::to_bytes(body, limit)).await;
    let raw = match read {
        Ok(Ok(raw)) => raw,
        Ok(Err(error)) if is_too_long(&error) => return Err(too_large(limit)),
        Ok(Err(error)) => {
            return Err(Answer::error(
                StatusCode::BAD_REQUEST,
                format!("The body could not be read: {error}."),
            ));
        }
        Err(_) => {
            return Err(Answer::error(
                StatusCode::REQUEST_TIMEOUT,
                "The body did not arrive within 15 s.",
            ));
        }
    };
    let plain = match headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes()) {
        None | Some(b"identity" | b"") => raw.clone(),
        Some(b"gzip" | b"x-gzip") => unpack(&raw, limit)?,
        Some(_) => {
            let message =
                "The body's Content-Encoding is not understood: send it plain or with gzip.";
            return Err(Answer::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
    };
    Ok(Received { raw, plain })
}

fn is_too_long(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<LengthLimitError>())
}

fn too_large(limit: usize) -> Answer {
    Answer::error(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("The body is larger than {limit} bytes, the limit of this source (`body_limit`)."),
    )
}

/// One byte more than the limit is enough to know: a bomb never unpacks further.
fn unpack(raw: &[u8], limit: usize) -> Result<Bytes, Answer> {
    let mut plain = Vec::new();
    MultiGzDecoder::new(raw).take(limit as u64 + 1).read_to_end(&mut plain).map_err(|error| {
        Answer::error(
            StatusCode::BAD_REQUEST,
            format!("The body says that it is gzip and cannot be unpacked: {error}."),
        )
    })?;
    if plain.len() > limit {
        return Err(too_large(limit));
    }
    Ok(plain.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    async fn status(encoding: &str, body: Vec<u8>, limit: usize) -> u16 {
        let headers = HeaderMap::from_iter([(header::CONTENT_ENCODING, encoding.parse().unwrap())]);
        receive(&headers, Body::from(body), limit)
            .await
            .map_or_else(|answer| answer.status.as_u16(), |_| 200)
    }

    #[tokio::test]
    async fn a_bomb_is_refused_before_it_unpacks() {
        let bomb = gzip(&vec![0; 50_000_000]);
        assert!(bomb.len() < 100_000);
        assert_eq!(status("gzip", bomb, 100_000).await, 413);
    }

    #[tokio::test]
    async fn sizes_and_encodings_have_their_own_answers() {
        assert_eq!(status("identity", vec![b'x'; 11], 10).await, 413);
        assert_eq!(status("identity", vec![b'x'; 10], 10).await, 200);
        assert_eq!(status("gzip", gzip(b"0123456789"), 100).await, 200);
        assert_eq!(status("gzip", b"not gzip".to_vec(), 100).await, 400);
        assert_eq!(status("br", b"x".to_vec(), 100).await, 415);
    }
}
