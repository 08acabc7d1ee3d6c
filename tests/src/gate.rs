//! The way to a broker, in this process: it can hold back the very answer that says that events were
//! written, let nothing pass, and ask for a password.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, ProduceRequest, RequestHeader, ResponseHeader,
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeResponse,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Kafka's error code for a name or password that is not right.
const SASL_AUTHENTICATION_FAILED: i16 = 58;

/// An answer of the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// That events of this topic were written.
    Written(&'static str),
    /// That the transaction was committed with which events of this topic were written.
    Committed(&'static str),
}

/// A name and a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The user's name.
    pub user: &'static str,
    /// The user's password.
    pub password: &'static str,
}

/// A way to a broker; its connections break when it is dropped.
pub struct Gate {
    /// Where clients connect to instead.
    pub address: SocketAddr,
    upstream: watch::Sender<Option<SocketAddr>>,
    way: Arc<Way>,
}

/// What all connections share.
struct Way {
    shut: watch::Sender<bool>,
    /// Who may pass; a change breaks all connections.
    login: watch::Sender<Option<Login>>,
    hold: Mutex<Hold>,
    held: watch::Sender<bool>,
}

/// The answer that is to be held back.
#[derive(Default)]
struct Hold {
    wanted: Option<Answer>,
    /// Whether events were written since then.
    written: bool,
}

impl Gate {
    /// A gate on a free port. Clients wait until it [leads](Self::lead_to) to a broker, which sends its
    /// clients to [`address`](Self::address).
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let way = Arc::new(Way {
            shut: watch::Sender::new(false),
            login: watch::Sender::new(None),
            hold: Mutex::default(),
            held: watch::Sender::new(false),
        });
        let upstream = watch::Sender::new(None);
        tokio::spawn(accept(listener, upstream.subscribe(), Arc::clone(&way)));
        Self { address, upstream, way }
    }

    /// Where clients come to.
    pub fn lead_to(&self, broker: SocketAddr) {
        self.upstream.send_replace(Some(broker));
    }

    /// Lets nothing pass, in neither direction, or lets it pass again; connections stay.
    pub fn shut(&self, shut: bool) {
        self.way.shut.send_replace(shut);
    }

    /// Lets pass only who knows this password (SASL PLAIN). Connections that there are break.
    pub fn ask_for(&self, login: Login) {
        self.way.login.send_replace(Some(login));
    }

    /// Holds back the next answer of this kind, and what follows it on its connection, for as long as
    /// that lives.
    pub fn hold(&self, answer: Answer) {
        self.way.held.send_replace(false);
        *self.way.hold() = Hold { wanted: Some(answer), written: false };
    }

    /// Waits until the broker has given the answer that is held back.
    ///
    /// # Panics
    /// If the gate is gone.
    pub async fn holds(&self) {
        self.way.held.subscribe().wait_for(|held| *held).await.unwrap();
    }
}

impl Way {
    fn hold(&self) -> std::sync::MutexGuard<'_, Hold> {
        self.hold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn opens(&self) {
        let _ = self.shut.subscribe().wait_for(|shut| !*shut).await;
    }

    /// Whether the answer to this request is the one to hold back.
    fn is_wanted(&self, request: &Bytes) -> bool {
        let mut hold = self.hold();
        let Some(wanted) = hold.wanted.clone() else { return false };
        let (Answer::Written(topic) | Answer::Committed(topic)) = wanted;
        hold.written |= writes(request, topic);
        let key = i16::from_be_bytes([request[0], request[1]]);
        let answers = match wanted {
            Answer::Written(_) => hold.written,
            Answer::Committed(_) => hold.written && key == ApiKey::EndTxn as i16,
        };
        if answers {
            hold.wanted = None;
        }
        answers
    }
}

/// Whether a request writes to a topic.
fn writes(request: &Bytes, topic: &str) -> bool {
    let mut frame = request.clone();
    let (key, version) = (i16::from_be_bytes([frame[0], frame[1]]), [frame[2], frame[3]]);
    if key != ApiKey::Produce as i16 {
        return false;
    }
    let version = i16::from_be_bytes(version);
    RequestHeader::decode(&mut frame, ProduceRequest::header_version(version)).unwrap();
    let written = ProduceRequest::decode(&mut frame, version).unwrap();
    written.topic_data.iter().any(|data| data.name.as_str() == topic)
}

async fn accept(
    listener: TcpListener,
    upstream: watch::Receiver<Option<SocketAddr>>,
    way: Arc<Way>,
) {
    loop {
        let mut gone = upstream.clone();
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((near, _)) = accepted else { continue };
                tokio::spawn(connection(near, upstream.clone(), Arc::clone(&way)));
            }
            // The gate is gone.
            () = async { while gone.changed().await.is_ok() {} } => return,
        }
    }
}

async fn connection(near: TcpStream, upstream: watch::Receiver<Option<SocketAddr>>, way: Arc<Way>) {
    let mut login = way.login.subscribe();
    let asked = login.borrow_and_update().clone();
    let (mut changing, mut leads) = (upstream.clone(), upstream);
    let carried = async {
        let broker = leads.wait_for(Option::is_some).await.ok().and_then(|broker| *broker)?;
        let far = TcpStream::connect(broker).await.ok()?;
        for stream in [&near, &far] {
            stream.set_nodelay(true).ok()?;
        }
        let (mut near, mut far) = (Ends::of(near), Ends::of(far));
        if let Some(login) = asked
            && !let_in(&mut near, &mut far, &login).await.ok()?
        {
            return None;
        }
        carry(near, far, &way).await.ok()
    };
    tokio::select! {
        _ = carried => {}
        _ = login.changed() => {}
        () = async { while changing.changed().await.is_ok() {} } => {}
    }
}

/// Both ends of a connection, in frames: a length of four bytes, then what it says.
struct Ends {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
}

impl Ends {
    fn of(stream: TcpStream) -> Self {
        let (reader, writer) = stream.into_split();
        Self { reader, writer }
    }
}

async fn read(from: &mut OwnedReadHalf) -> io::Result<Bytes> {
    let length = from.read_u32().await?;
    let mut frame = vec![0; length as usize];
    from.read_exact(&mut frame).await?;
    Ok(frame.into())
}

async fn write(to: &mut OwnedWriteHalf, frame: &[u8]) -> io::Result<()> {
    to.write_u32(u32::try_from(frame.len()).unwrap()).await?;
    to.write_all(frame).await
}

async fn carry(near: Ends, far: Ends, way: &Way) -> io::Result<()> {
    let wanted: Mutex<HashSet<[u8; 4]>> = Mutex::default();
    let correlation = |at: &[u8]| -> [u8; 4] { at[..4].try_into().unwrap() };
    let (mut client, mut answers, mut broker, mut requests) =
        (near.reader, near.writer, far.reader, far.writer);
    let asking = async {
        loop {
            let request = read(&mut client).await?;
            way.opens().await;
            if way.is_wanted(&request) {
                wanted.lock().unwrap().insert(correlation(&request[4..]));
            }
            write(&mut requests, &request).await?;
        }
    };
    let answering = async {
        loop {
            let answer = read(&mut broker).await?;
            if wanted.lock().unwrap().contains(&correlation(&answer)) {
                way.held.send_replace(true);
                std::future::pending::<()>().await;
            }
            way.opens().await;
            write(&mut answers, &answer).await?;
        }
    };
    tokio::select! { ended = asking => ended, ended = answering => ended }
}

/// Speaks with a client until it has said who it is (KIP-152); whether it is let in.
async fn let_in(near: &mut Ends, far: &mut Ends, login: &Login) -> io::Result<bool> {
    loop {
        let request = read(&mut near.reader).await?;
        let mut frame = request.clone();
        let key = i16::from_be_bytes([frame[0], frame[1]]);
        let version = i16::from_be_bytes([frame[2], frame[3]]);
        let Ok(key) = ApiKey::try_from(key) else { return Ok(false) };
        let header =
            RequestHeader::decode(&mut frame, key.request_header_version(version)).unwrap();
        let answers = |answer: Bytes| (header.correlation_id, answer);
        match key {
            ApiKey::ApiVersions => {
                write(&mut far.writer, &request).await?;
                let answer = read(&mut far.reader).await?;
                write(&mut near.writer, &with_sasl(answer, version)).await?;
            }
            ApiKey::SaslHandshake => {
                let mechanisms = vec![StrBytes::from_static_str("PLAIN")];
                let answer = SaslHandshakeResponse::default().with_mechanisms(mechanisms);
                let (id, body) = answers(encoded(&answer, version));
                write(&mut near.writer, &framed::<SaslHandshakeResponse>(id, version, &body))
                    .await?;
            }
            ApiKey::SaslAuthenticate => {
                let said = SaslAuthenticateRequest::decode(&mut frame, version).unwrap();
                let expected = format!("\0{}\0{}", login.user, login.password);
                let known = said.auth_bytes == expected.as_bytes();
                let mut answer = SaslAuthenticateResponse::default();
                if !known {
                    let message = "Authentication failed: Invalid username or password";
                    answer.error_code = SASL_AUTHENTICATION_FAILED;
                    answer.error_message = Some(StrBytes::from_static_str(message));
                }
                let (id, body) = answers(encoded(&answer, version));
                let frame = framed::<SaslAuthenticateResponse>(id, version, &body);
                write(&mut near.writer, &frame).await?;
                return Ok(known);
            }
            // Whoever has not said who it is gets no other answer.
            _ => return Ok(false),
        }
    }
}

/// What the broker knows, and the password that is asked for here.
fn with_sasl(mut answer: Bytes, version: i16) -> Bytes {
    let header = ApiVersionsResponse::header_version(version);
    let id = ResponseHeader::decode(&mut answer, header).unwrap().correlation_id;
    let mut known = ApiVersionsResponse::decode(&mut answer, version).unwrap();
    for (key, most) in [(ApiKey::SaslHandshake, 1), (ApiKey::SaslAuthenticate, 1)] {
        let version = ApiVersion::default().with_api_key(key as i16).with_max_version(most);
        known.api_keys.push(version);
    }
    framed::<ApiVersionsResponse>(id, version, &encoded(&known, version))
}

fn encoded(message: &impl Encodable, version: i16) -> Bytes {
    let mut bytes = BytesMut::new();
    message.encode(&mut bytes, version).unwrap();
    bytes.freeze()
}

fn framed<R: HeaderVersion>(correlation: i32, version: i16, body: &[u8]) -> Bytes {
    let header = ResponseHeader::default().with_correlation_id(correlation);
    let mut bytes = BytesMut::from(&encoded(&header, R::header_version(version))[..]);
    bytes.extend_from_slice(body);
    bytes.freeze()
}
