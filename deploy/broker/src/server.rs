//! The listener and its connections.
//!
//! A connection's requests are answered in order, as Kafka's clients expect. They are also handled
//! one after the other, except that produce requests overlap: while the disk syncs one, the next
//! are appended, and share the sync after it.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use futures::{StreamExt, future::BoxFuture, stream::FuturesOrdered};
use kafka_protocol::messages::ApiKey;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinError, JoinSet},
};

use crate::{
    api::{self, Answer, Call, Unreadable},
    node::Node,
    wire::take_head,
};

/// The largest request other than a produce request.
const MAX_SMALL_REQUEST: usize = 8 * 1024 * 1024;
/// How much is read at once, and requested of the memory budget.
const CHUNK: usize = 64 * 1024;
/// How long a client may take to take an answer, or to send the rest of a request it began.
const STALLED: Duration = Duration::from_secs(60);
/// How long connections may take to finish what they are at when the broker shuts down.
const GRACE: Duration = Duration::from_secs(5);

/// Accepts connections until the node closes, then waits for them to finish.
pub(crate) async fn serve(node: Arc<Node>, listener: TcpListener) {
    let limits = &node.config.limits;
    let room = Arc::new(Semaphore::new(limits.connections));
    let memory = Arc::new(Semaphore::new(limits.requests_bytes.div_ceil(CHUNK)));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = node.closed() => break,
            accepted = accept(&listener) => {
                let (stream, peer) = accepted;
                match Arc::clone(&room).try_acquire_owned() {
                    Ok(place) => {
                        let connection = Connection::new(&node, &memory, stream, peer);
                        connections.spawn(async move {
                            connection.run().await;
                            drop(place);
                        });
                    }
                    Err(_) => turned_away(peer, limits.connections),
                }
            }
            // Takes in those that ended; a panic in one ended that one only.
            Some(Err(error)) = connections.join_next() => failed(&error),
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, ended).await.is_err() {
        tracing::warn!("connections are cut: they did not finish in {GRACE:?}");
    }
}

/// The next connection.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                // Out of file descriptors, most likely: they come back as connections end.
                tracing::warn!(%error, "accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn turned_away(peer: SocketAddr, limit: usize) {
    tracing::warn!(%peer, limit, "too many connections");
}

fn failed(error: &JoinError) {
    tracing::error!(%error, "a connection failed");
}

type Pending = BoxFuture<'static, Result<Option<Bytes>, Unreadable>>;

struct Connection {
    node: Arc<Node>,
    memory: Arc<Semaphore>,
    stream: TcpStream,
    peer: SocketAddr,
    /// Read, and not yet handled.
    received: BytesMut,
    /// Memory held for the request being read.
    held: Option<OwnedSemaphorePermit>,
    /// Produce requests that wait for the disk.
    pending: FuturesOrdered<Pending>,
}

/// Why a connection ends.
enum End {
    /// The client went, or the broker closes.
    Gone,
    /// The connection broke.
    Broken(io::Error),
    /// The client sent what cannot be answered.
    Unreadable(Unreadable),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

impl From<Unreadable> for End {
    fn from(why: Unreadable) -> Self {
        Self::Unreadable(why)
    }
}

impl Connection {
    fn new(node: &Arc<Node>, memory: &Arc<Semaphore>, stream: TcpStream, peer: SocketAddr) -> Self {
        let (node, memory) = (Arc::clone(node), Arc::clone(memory));
        let (received, held, pending) = (BytesMut::new(), None, FuturesOrdered::new());
        Self { node, memory, stream, peer, received, held, pending }
    }

    async fn run(mut self) {
        let peer = self.peer;
        match self.work().await {
            End::Gone => tracing::debug!(%peer, "a client disconnected"),
            End::Broken(error) => tracing::debug!(%peer, %error, "a connection broke"),
            End::Unreadable(Unreadable(reason)) => {
                tracing::warn!(%peer, reason, "a connection is closed: it sent what is no request");
            }
        }
    }

    async fn work(&mut self) -> End {
        let node = Arc::clone(&self.node);
        // Answers are small and awaited.
        let _ = self.stream.set_nodelay(true);
        loop {
            let more = self.pending.len() < node.config.limits.pipelined;
            let closing = *node.closing.borrow();
            let step = tokio::select! {
                biased;
                () = node.closed(), if self.pending.is_empty() => Err(End::Gone),
                Some(answer) = self.pending.next() => self.send_pending(answer).await,
                frame = next_frame(
                    &mut self.stream,
                    &mut self.received,
                    &mut self.held,
                    &self.memory,
                    node.config.limits.request_bytes,
                ), if more && !closing => match frame {
                    Ok(frame) => self.handle(frame).await,
                    Err(end) => Err(end),
                },
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    async fn send_pending(&mut self, answer: Result<Option<Bytes>, Unreadable>) -> Result<(), End> {
        match answer? {
            Some(frame) => self.send(&frame).await,
            None => Ok(()),
        }
    }

    async fn send(&mut self, frame: &[u8]) -> Result<(), End> {
        match tokio::time::timeout(STALLED, self.stream.write_all(frame)).await {
            Ok(sent) => Ok(sent?),
            Err(_) => Err(End::Broken(io::ErrorKind::TimedOut.into())),
        }
    }

    /// Sends what is owed for the requests before the next one.
    async fn settle(&mut self) -> Result<(), End> {
        while let Some(answer) = self.pending.next().await {
            self.send_pending(answer).await?;
        }
        Ok(())
    }

    async fn handle(&mut self, mut body: Bytes) -> Result<(), End> {
        let held = self.held.take();
        let size = body.len();
        let head = take_head(&mut body).map_err(Unreadable)?;
        let produces = head.key == ApiKey::Produce as i16;
        if size > MAX_SMALL_REQUEST && !produces {
            return Err(Unreadable(format!(
                "a request of {size} bytes, the limit is {MAX_SMALL_REQUEST}"
            ))
            .into());
        }
        if !produces {
            self.settle().await?;
        }
        let waits = api::waits(head.key);
        let call = Call { head, client_host: self.peer.ip(), advertised: self.advertised()? };
        let answer = api::answer(&self.node, &call, body);
        let answer = if waits {
            tokio::select! {
                answer = answer => answer?,
                gone = gone(&mut self.stream, &mut self.received) => return Err(gone),
            }
        } else {
            answer.await?
        };
        match answer {
            Answer::Ready(frame) => self.send(&frame).await,
            Answer::Produced(produced) => {
                self.pending.push_back(Box::pin(async move {
                    let response = produced.response(&call.head).await;
                    drop(held);
                    response
                }));
                Ok(())
            }
        }
    }

    /// The host and port that this client reaches the broker by.
    fn advertised(&self) -> io::Result<(String, u16)> {
        if let Some(advertised) = &self.node.config.advertised {
            return Ok(advertised.clone());
        }
        let local = self.stream.local_addr()?;
        Ok((local.ip().to_canonical().to_string(), local.port()))
    }
}

/// Reads the next frame. What was read stays in `received` if this is dropped half-way.
async fn next_frame(
    stream: &mut TcpStream,
    received: &mut BytesMut,
    held: &mut Option<OwnedSemaphorePermit>,
    memory: &Arc<Semaphore>,
    limit: usize,
) -> Result<Bytes, End> {
    while received.len() < 4 {
        read_some(stream, received, CHUNK).await?;
    }
    let claimed = (&received[..]).get_i32();
    let length = usize::try_from(claimed).ok().filter(|length| (1..=limit).contains(length));
    let Some(length) = length else {
        return Err(Unreadable(format!(
            "a request that claims {claimed} bytes, the limit is {limit}"
        ))
        .into());
    };
    if held.is_none() && length > CHUNK {
        let chunks = u32::try_from(length.div_ceil(CHUNK)).unwrap_or(u32::MAX);
        let permit = Arc::clone(memory).acquire_many_owned(chunks).await;
        *held = Some(permit.map_err(|_| End::Gone)?);
    }
    while received.len() < 4 + length {
        let missing = 4 + length - received.len();
        let read = read_some(stream, received, missing.min(received.len().max(CHUNK)));
        match tokio::time::timeout(STALLED, read).await {
            Ok(read) => read?,
            Err(_) => return Err(End::Broken(io::ErrorKind::TimedOut.into())),
        }
    }
    received.advance(4);
    let frame = received.split_to(length).freeze();
    if length > CHUNK {
        // What is left goes to a buffer of its own: the large one ends with its request.
        *received = BytesMut::from(&received[..]);
    }
    Ok(frame)
}

async fn read_some(
    stream: &mut TcpStream,
    received: &mut BytesMut,
    room: usize,
) -> Result<(), End> {
    received.reserve(room);
    match stream.read_buf(received).await? {
        0 => Err(End::Gone),
        _ => Ok(()),
    }
}

/// Returns when the client goes; what it sends meanwhile is kept for later, up to a bound.
async fn gone(stream: &mut TcpStream, received: &mut BytesMut) -> End {
    while received.len() < CHUNK {
        if let Err(end) = read_some(stream, received, CHUNK).await {
            return end;
        }
    }
    std::future::pending().await
}
