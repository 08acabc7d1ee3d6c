//! As much HTTP/1.1 as the measurements need, at little cost to the machine they share: kept
//! connections, bodies with a length.

use std::io::{self, Error, ErrorKind};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// A connection and what was read from it.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A message's first line and its body.
pub struct Message<'a> {
    /// The request line or the status line.
    pub first: &'a str,
    /// The body.
    pub body: &'a [u8],
}

impl Connection {
    /// A connection over a stream.
    ///
    /// # Errors
    /// The stream is closed.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 << 10) })
    }

    /// A connection to `host:port`.
    ///
    /// # Errors
    /// It is refused.
    pub async fn open(address: &str) -> io::Result<Self> {
        Self::new(TcpStream::connect(address).await?)
    }

    /// Reads a message and hands it over; `None` when the other side has closed the connection.
    ///
    /// # Errors
    /// The connection breaks, or the message has no length.
    pub async fn read<T>(&mut self, take: impl FnOnce(Message<'_>) -> T) -> io::Result<Option<T>> {
        let head = loop {
            match self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                Some(place) => break place + 4,
                None if self.more().await? => {}
                None => return Ok(None),
            }
        };
        let end = head + length(&self.buffer[..head])?;
        while self.buffer.len() < end {
            if !self.more().await? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        let first = self.buffer[..head].split(|byte| *byte == b'\r').next().unwrap_or_default();
        let first = str::from_utf8(first).map_err(Error::other)?;
        let taken = take(Message { first, body: &self.buffer[head..end] });
        self.buffer.drain(..end);
        Ok(Some(taken))
    }

    async fn more(&mut self) -> io::Result<bool> {
        Ok(self.stream.read_buf(&mut self.buffer).await? > 0)
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// The connection breaks.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Posts JSON and returns the answer's status.
    ///
    /// # Errors
    /// The connection breaks.
    pub async fn post(&mut self, url: &Url, body: &str) -> io::Result<u16> {
        let Url { address, path } = url;
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        self.write(request.as_bytes()).await?;
        let status = |message: Message<'_>| message.first.get(9..12).and_then(|s| s.parse().ok());
        let status = self.read(status).await?.ok_or(ErrorKind::UnexpectedEof)?;
        status.ok_or_else(|| Error::other("not an HTTP answer"))
    }
}

fn length(head: &[u8]) -> io::Result<usize> {
    let head = str::from_utf8(head).map_err(Error::other)?;
    for line in head.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-length") {
            return value.trim().parse().map_err(Error::other);
        }
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(Error::other("bodies in chunks are not understood here"));
        }
    }
    Ok(0)
}

/// `http://ADDRESS/PATH`.
#[derive(Clone)]
pub struct Url {
    /// Host and port.
    pub address: String,
    /// From the slash on.
    pub path: String,
}

impl Url {
    /// Reads one.
    pub fn new(text: &str) -> Self {
        let rest = text.strip_prefix("http://").expect("an http URL");
        let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
        Self { address: address.to_owned(), path: format!("/{path}") }
    }
}
