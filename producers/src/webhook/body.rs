//! Reading a body without trusting its size.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use engine::Value;
use flate2::read::MultiGzDecoder;
use futures::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::Answer;

/// How long a caller may take to send its body.
const DEADLINE: Duration = Duration::from_secs(15);

/// How many bytes of a source's bodies are under way at once, from the caller to Kafka's acknowledgement.
/// An event is held several times as large: parsed, encoded, in the producer's queue.
const ROOM: usize = 8 << 20;

/// Room for the bodies of a source that are under way.
#[derive(Clone)]
pub struct Room(Arc<Semaphore>);

/// The part of it that a call takes; free again once this is dropped.
pub struct Taken(OwnedSemaphorePermit);

impl Room {
    /// Room for some bodies of at most `limit` bytes, or for one of them, as it was sent and unpacked.
    pub fn new(limit: usize) -> Self {
        let bytes = ROOM.max(limit.saturating_mul(2)).min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Semaphore::new(bytes)))
    }

    fn take(&self, bytes: usize) -> Option<Taken> {
        let bytes = u32::try_from(bytes).ok()?;
        Arc::clone(&self.0).try_acquire_many_owned(bytes).ok().map(Taken)
    }
}

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

/// Reads a body of at most `limit` bytes, both on the wire and unpacked, if there is room for it.
///
/// # Errors
/// The answer to give: 400, 408, 413, 415 or 503.
pub async fn receive(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    room: &Room,
) -> Result<(Received, Taken), Answer> {
    let read = read(body.into_data_stream(), limit, room);
    let (raw, mut taken) = tokio::time::timeout(DEADLINE, read).await.unwrap_or_else(|_| {
        let message = "The body did not arrive within 15 s.";
        Err(Answer::error(StatusCode::REQUEST_TIMEOUT, message))
    })?;
    let plain = match headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes()) {
        None | Some(b"identity" | b"") => raw.clone(),
        Some(b"gzip" | b"x-gzip") => {
            let plain = unpack(&raw, limit)?;
            taken.0.merge(room.take(plain.len()).ok_or_else(no_room)?.0);
            plain
        }
        Some(_) => {
            let message =
                "The body's Content-Encoding is not understood: send it plain or with gzip.";
            return Err(Answer::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
    };
    Ok((Received { raw, plain }, taken))
}

/// Reads what comes. What there is no room for is read to its end and forgotten: who still sends does
/// not hear the answer.
async fn read(
    mut body: BodyDataStream,
    limit: usize,
    room: &Room,
) -> Result<(Bytes, Taken), Answer> {
    let (mut kept, mut length) = (room.take(0).map(|taken| (BytesMut::new(), taken)), 0);
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| {
            let message = format!("The body could not be read: {error}.");
            Answer::error(StatusCode::BAD_REQUEST, message)
        })?;
        length += piece.len();
        if length > limit {
            return Err(too_large(limit));
        }
        kept = kept.zip(room.take(piece.len())).map(|((mut bytes, mut taken), more)| {
            bytes.extend_from_slice(&piece);
            taken.0.merge(more.0);
            (bytes, taken)
        });
    }
    let (bytes, taken) = kept.ok_or_else(no_room)?;
    Ok((bytes.freeze(), taken))
}

fn no_room() -> Answer {
    Answer::unavailable("Too many calls are on their way to Kafka: send this one again.")
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
        receive(&headers, Body::from(body), limit, &Room::new(limit))
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

    #[tokio::test]
    async fn what_there_is_no_room_for_comes_again_later() {
        let room = Room::new(10);
        let receive = || receive_of(ROOM / 2 + 1, &room);
        let (_, first) = receive().await.unwrap();
        assert_eq!(receive().await.map(drop).unwrap_err().status.as_u16(), 503);
        drop(first);
        assert!(receive().await.is_ok());
    }

    async fn receive_of(bytes: usize, room: &Room) -> Result<(Received, Taken), Answer> {
        receive(&HeaderMap::new(), Body::from(vec![b'x'; bytes]), ROOM, room).await
    }
}
