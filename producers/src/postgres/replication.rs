//! A connection in replication mode: the log-in, the stream of changes, and what we confirm of it.
//!
//! tokio-postgres does not speak this mode, so the few messages it takes are exchanged here, over
//! rust-postgres' own `postgres-protocol` (PostgreSQL's documentation, Streaming Replication Protocol).

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use database::{Database, Said, Stream, fault_of, login_failed};
use engine::Fault;
use engine::clock::unix_millis;
use futures::FutureExt;
use postgres_protocol::authentication::{md5_hash, sasl};
use postgres_protocol::message::backend::{Header, Message};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::lsn::Lsn;
use super::text::SETTINGS;

/// The server answers `START_REPLICATION` with this (`CopyBothResponse`).
const COPY_BOTH: u8 = b'W';
/// How often the server hears what we have, so that it does not end the connection
/// (`wal_sender_timeout`, a minute unless it is set otherwise).
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// How often it is asked for an answer: its position, and that it lives.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// A server that says nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(60);
/// Room for what is read at once, in bytes.
const READ: usize = 64 << 10;
/// Seconds from the Unix epoch to PostgreSQL's, 2000-01-01.
pub(super) const EPOCH: i64 = 946_684_800;

/// What the server sends.
#[derive(Debug)]
pub(super) enum Frame {
    /// All that was committed before `end` has been sent.
    KeepAlive {
        /// Its position.
        end: Lsn,
        /// It wants to hear at once what we have: it is about to end.
        urgent: bool,
    },
    /// A message of the output plugin.
    Data {
        /// The change's position.
        at: Lsn,
        /// The message.
        data: Bytes,
    },
}

/// A stream of changes.
pub(super) struct Replication {
    wire: Wire<ReadHalf<Stream>>,
    confirmed: watch::Sender<Lsn>,
    status: JoinHandle<()>,
    /// When the server said something last.
    heard: Instant,
}

impl Drop for Replication {
    fn drop(&mut self) {
        self.status.abort();
    }
}

impl Replication {
    /// Logs in and starts a slot's stream at `from`.
    pub async fn start(
        database: &Database,
        application: &str,
        slot: &str,
        publication: &str,
        from: Lsn,
    ) -> Result<Self, Fault> {
        let stream = database.stream().await?;
        let mut wire = Wire { stream, buffer: BytesMut::new(), shown: database.shown().to_owned() };
        let begin = async {
            log_in(&mut wire, database, application).await?;
            begin(&mut wire, slot, publication, from).await
        };
        let begun = timeout(database.timeout(), begin).await;
        begun.unwrap_or_else(|_| {
            let message = format!("{} did not start the slot `{slot}` in time.", database.shown());
            Err(Fault::remote("postgres_timeout", message))
        })?;
        let Wire { stream, buffer, shown } = wire;
        let (reader, writer) = split(stream);
        let (confirmed, confirmations) = watch::channel(from);
        let status = tokio::spawn(keep_informed(writer, confirmations));
        let wire = Wire { stream: reader, buffer, shown };
        Ok(Self { wire, confirmed, status, heard: Instant::now() })
    }

    /// Tells the server that it may forget what was committed before `lsn`.
    pub fn confirm(&self, lsn: Lsn) {
        self.confirmed.send_if_modified(|known| {
            let later = lsn > *known;
            *known = lsn.max(*known);
            later
        });
    }

    /// What has arrived already, if anything has.
    pub fn arrived(&mut self) -> Result<Option<Frame>, Fault> {
        self.next().now_or_never().transpose()
    }

    /// The next frame. Nothing is lost when it is not waited for.
    pub async fn next(&mut self) -> Result<Frame, Fault> {
        loop {
            // (Not from now on: whoever waits for it looks at other things in between.)
            let silent = self.heard + SILENCE;
            let received = timeout_at(silent, self.wire.receive()).await.map_err(|_| {
                let message = format!("{} has said nothing for {SILENCE:?}.", self.wire.shown);
                Fault::remote("postgres_silent", message)
            })?;
            self.heard = Instant::now();
            match received? {
                Some(Message::CopyData(body)) => return frame(body.into_bytes()),
                Some(Message::ErrorResponse(body)) => {
                    let doing = format!("The replication from {}", self.wire.shown);
                    return Err(fault_of(&doing, &said(&body)));
                }
                Some(Message::CopyDone) => {
                    let message = format!("{} has ended the replication.", self.wire.shown);
                    return Err(Fault::remote("postgres_ended", message));
                }
                _ => {}
            }
        }
    }
}

/// Reads `XLogData` and `Primary keepalive message`.
fn frame(mut data: Bytes) -> Result<Frame, Fault> {
    let wrong = || Fault::internal("postgres_protocol", "A message of replication is cut short.");
    let number = |data: &mut Bytes| data.try_get_u64().map_err(|_| wrong());
    match data.try_get_u8().map_err(|_| wrong())? {
        b'w' => {
            let at = Lsn(number(&mut data)?);
            number(&mut data)?;
            number(&mut data)?;
            Ok(Frame::Data { at, data })
        }
        b'k' => {
            let end = Lsn(number(&mut data)?);
            number(&mut data)?;
            Ok(Frame::KeepAlive { end, urgent: data.first() == Some(&1) })
        }
        other => Err(Fault::internal(
            "postgres_protocol",
            format!("A message of replication is of the unknown kind {other}."),
        )),
    }
}

/// Says again and again what was confirmed, also while nobody reads.
async fn keep_informed(mut writer: WriteHalf<Stream>, mut confirmations: watch::Receiver<Lsn>) {
    let mut asked = Instant::now();
    loop {
        let ask = asked.elapsed() >= ASK_EVERY;
        if ask {
            asked = Instant::now();
        }
        let confirmed = *confirmations.borrow_and_update();
        let mut message = BytesMut::new();
        // Where the connection has failed, whoever reads from it notices.
        if status_update(confirmed, ask, &mut message).is_err()
            || writer.write_all(&message).await.is_err()
        {
            return;
        }
        // News go out soon, together with those that come meanwhile.
        sleep(Duration::from_millis(100)).await;
        tokio::select! {
            changed = confirmations.changed() => if changed.is_err() { return },
            () = sleep(STATUS_EVERY) => {}
        }
    }
}

/// `Standby status update`: written, flushed and applied up to the same position.
fn status_update(confirmed: Lsn, ask: bool, out: &mut BytesMut) -> std::io::Result<()> {
    let mut body = BytesMut::with_capacity(34);
    body.put_u8(b'r');
    for _ in 0..3 {
        body.put_u64(confirmed.0);
    }
    body.put_i64(unix_millis().saturating_sub(EPOCH * 1_000).saturating_mul(1_000));
    body.put_u8(ask.into());
    frontend::CopyData::new(body.freeze())?.write(out);
    Ok(())
}

async fn log_in(
    wire: &mut Wire<Stream>,
    database: &Database,
    application: &str,
) -> Result<(), Fault> {
    let refused = |said: Said| login_failed(database.shown(), database.user(), &said);
    let unsupported = || Said { code: None, message: "the way it wants is not known here".into() };
    let parameters = [
        ("client_encoding", "UTF8"),
        ("user", database.user()),
        ("database", database.name()),
        ("replication", "database"),
        ("application_name", application),
        ("options", SETTINGS),
    ];
    wire.send(|out| frontend::startup_message(parameters, out)).await?;
    let password = || database.password().ok_or_else(|| refused(Said::no_password()));
    let mut scram = None;
    loop {
        match wire.expect().await? {
            Message::AuthenticationOk => {}
            Message::AuthenticationCleartextPassword => {
                let password = password()?;
                wire.send(|out| frontend::password_message(password, out)).await?;
            }
            Message::AuthenticationMd5Password(body) => {
                let hash = md5_hash(database.user().as_bytes(), password()?, body.salt());
                wire.send(|out| frontend::password_message(hash.as_bytes(), out)).await?;
            }
            Message::AuthenticationSasl(_) => {
                // The certificate was checked: the channel need not be bound to the log-in.
                let unbound = sasl::ChannelBinding::unsupported();
                let exchange = scram.insert(sasl::ScramSha256::new(password()?, unbound));
                let first = exchange.message().to_vec();
                let name = sasl::SCRAM_SHA_256;
                wire.send(|out| frontend::sasl_initial_response(name, &first, out)).await?;
            }
            Message::AuthenticationSaslContinue(body) => {
                let exchange = scram.as_mut().ok_or_else(|| refused(unsupported()))?;
                let answer = exchange.update(body.data()).map(|()| exchange.message().to_vec());
                let answer = answer.map_err(|error| refused(Said::nothing(&error)))?;
                wire.send(|out| frontend::sasl_response(&answer, out)).await?;
            }
            Message::AuthenticationSaslFinal(body) => {
                let exchange = scram.as_mut().ok_or_else(|| refused(unsupported()))?;
                let finished = exchange.finish(body.data());
                finished.map_err(|error| refused(Said::nothing(&error)))?;
            }
            Message::ErrorResponse(body) => return Err(refused(said(&body))),
            Message::ReadyForQuery(_) => return Ok(()),
            Message::ParameterStatus(_)
            | Message::BackendKeyData(_)
            | Message::NoticeResponse(_) => {}
            _ => return Err(refused(unsupported())),
        }
    }
}

async fn begin(
    wire: &mut Wire<Stream>,
    slot: &str,
    publication: &str,
    from: Lsn,
) -> Result<(), Fault> {
    // The name of the publication is an identifier within a literal.
    let publication = publication.replace('"', "\"\"").replace('\'', "''");
    let start = format!(
        "START_REPLICATION SLOT \"{slot}\" LOGICAL {from} (proto_version '1', publication_names \
         '\"{publication}\"', messages 'true')"
    );
    wire.send(|out| frontend::query(&start, out)).await?;
    loop {
        match wire.receive().await? {
            None => return Ok(()),
            Some(Message::ErrorResponse(body)) => {
                let doing = format!("Starting the slot `{slot}` at {from} of {}", wire.shown);
                return Err(fault_of(&doing, &said(&body)));
            }
            Some(_) => {}
        }
    }
}

fn said(body: &postgres_protocol::message::backend::ErrorResponseBody) -> Said {
    use fallible_iterator::FallibleIterator as _;
    let mut parts = body.fields();
    let (mut code, mut message) = (None, Vec::new());
    while let Ok(Some(part)) = parts.next() {
        let text = String::from_utf8_lossy(part.value_bytes()).into_owned();
        match part.type_() {
            b'C' => code = Some(text),
            b'M' | b'D' | b'H' => message.push(text),
            _ => {}
        }
    }
    Said { code, message: message.join(" ") }
}

/// Messages over a connection.
struct Wire<S> {
    stream: S,
    buffer: BytesMut,
    shown: String,
}

impl<S: tokio::io::AsyncRead + Unpin> Wire<S> {
    /// The next message; nothing for the one that starts the stream. Loses nothing when it is not
    /// waited for.
    async fn receive(&mut self) -> Result<Option<Message>, Fault> {
        loop {
            match self.parse() {
                Ok(Some(message)) => return Ok(message),
                Ok(None) => {}
                Err(error) => return Err(self.cut(&error)),
            }
            // A full buffer would grow by a few bytes: as many reads, and soon more than tokio lets a task
            // make in one go, so that what has arrived would seem not to have.
            if self.buffer.capacity() - self.buffer.len() < READ / 8 {
                self.buffer.reserve(READ);
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) => return Err(self.cut(&"it was closed")),
                Ok(_) => {}
                Err(error) => return Err(self.cut(&error)),
            }
        }
    }

    fn parse(&mut self) -> std::io::Result<Option<Option<Message>>> {
        match Header::parse(&self.buffer)? {
            Some(header) if header.tag() == COPY_BOTH => {
                let length = usize::try_from(header.len()).unwrap_or_default() + 1;
                if self.buffer.len() < length {
                    return Ok(None);
                }
                self.buffer.advance(length);
                Ok(Some(None))
            }
            _ => Ok(Message::parse(&mut self.buffer)?.map(Some)),
        }
    }

    fn cut(&self, error: &dyn std::fmt::Display) -> Fault {
        let message = format!("The replication connection to {} is lost: {error}.", self.shown);
        Fault::remote("postgres_cut", message)
    }
}

impl Wire<Stream> {
    async fn expect(&mut self) -> Result<Message, Fault> {
        self.receive().await?.ok_or_else(|| self.cut(&"it streams before it was asked to"))
    }

    async fn send(
        &mut self,
        write: impl FnOnce(&mut BytesMut) -> std::io::Result<()>,
    ) -> Result<(), Fault> {
        let mut out = BytesMut::new();
        write(&mut out).map_err(|error| self.cut(&error))?;
        self.stream.write_all(&out).await.map_err(|error| self.cut(&error))
    }
}
