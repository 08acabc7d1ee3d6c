//! An application that is called over HTTP, and that misbehaves as it is told. It writes down what
//! it received before it answers: whoever is killed meanwhile does not know.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::ledger::{Ledger, Receipt, hash, now};
use crate::party::{Commands, say};

/// The path at which it takes an idempotency key once. At any other it takes all that comes.
pub const UNIQUE: &str = "/unique";

/// What an application is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// Its ledger.
    pub ledger: PathBuf,
    /// The seed of everything that is left to chance.
    pub seed: u64,
}

/// How some of the requests are met. The first manner that fits is taken; what none fits is taken
/// and answered 201 at once.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Manner {
    /// Only requests whose path starts like this.
    pub path: String,
    /// Only orders whose id starts like this.
    pub id: String,
    /// Only this share of them, drawn at random; none: all.
    pub share: Option<f64>,
    /// How long it takes before it answers, in milliseconds.
    pub work: u64,
    /// What it does then.
    pub act: Act,
}

/// What an application does with a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// Takes it: 201.
    #[default]
    Take,
    /// Answers this status with these headers. It takes what it answers 2xx.
    Answer { status: u16, headers: Vec<(String, String)> },
    /// Takes it and never says a word.
    TakeInSilence,
    /// Takes it and closes the connection without a word.
    TakeAndClose,
    /// Closes the connection without a word, and takes nothing.
    Close,
    /// Takes it, answers half a response, and closes the connection.
    TakeAndCut,
    /// Takes it, and sends its 201 with a byte of the body every so many milliseconds for ever.
    TakeAndTrickle { every: u64 },
    /// Takes it, and sends its 201 with a body of so many bytes.
    TakeAndFlood { bytes: u64 },
}

impl Act {
    fn answer(&self) -> u16 {
        match self {
            Act::Take | Act::TakeAndCut | Act::TakeAndTrickle { .. } | Act::TakeAndFlood { .. } => {
                201
            }
            Act::Answer { status, .. } => *status,
            Act::TakeInSilence | Act::TakeAndClose | Act::Close => 0,
        }
    }

    fn takes(&self) -> bool {
        match self {
            Act::Answer { status, .. } => (200..300).contains(status),
            Act::Close => false,
            _ => true,
        }
    }
}

/// A request as it was read.
struct Request {
    path: String,
    key: String,
    instance: String,
    body: Value,
}

impl Request {
    /// The id of the order, or of the sale that was made of it.
    fn id(&self) -> &str {
        let field = |name: &str| self.body.get(name).and_then(Value::as_str);
        field("web_id").or_else(|| field("id")).unwrap_or_default()
    }
}

struct Desk {
    ledger: Ledger,
    inner: Mutex<Inner>,
}

struct Inner {
    manners: Vec<Manner>,
    taken: HashSet<String>,
    received: HashMap<String, usize>,
    at_once: usize,
    peak: usize,
    rng: StdRng,
}

/// What an application is told.
#[derive(Debug, Serialize, Deserialize)]
pub enum Command {
    /// To behave so from now on.
    Behave(Vec<Manner>),
    /// To say how many requests it has received at a path.
    Count(String),
    /// To say how many requests it had at once at most, since it last said so.
    Peak,
}

/// Serves until the harness has gone.
pub async fn run(plan: Plan, mut commands: Commands) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let inner = Inner {
        manners: Vec::new(),
        taken: HashSet::new(),
        received: HashMap::new(),
        at_once: 0,
        peak: 0,
        rng: StdRng::seed_from_u64(plan.seed),
    };
    let desk = Arc::new(Desk { ledger: Ledger::open(&plan.ledger), inner: Mutex::new(inner) });
    say(&listener.local_addr().unwrap().to_string());
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let desk = Arc::clone(&desk);
                tokio::spawn(async move { serve(stream, &desk).await });
            }
            command = commands.recv() => {
                let Some(command) = command else { return };
                say(&desk.follow(serde_json::from_str(&command).unwrap()));
            }
        }
    }
}

impl Desk {
    /// Does as it is told; what there is to say.
    fn follow(&self, command: Command) -> String {
        let mut inner = self.inner.lock().unwrap();
        match command {
            Command::Behave(manners) => {
                inner.manners = manners;
                "so be it".to_owned()
            }
            Command::Count(path) => {
                inner.received.get(&path).copied().unwrap_or_default().to_string()
            }
            Command::Peak => {
                let now = inner.at_once;
                std::mem::replace(&mut inner.peak, now).to_string()
            }
        }
    }

    /// Writes the request down; how it is met.
    fn receive(&self, request: &Request) -> Manner {
        let mut inner = self.inner.lock().unwrap();
        inner.at_once += 1;
        inner.peak = inner.peak.max(inner.at_once);
        let Inner { manners, taken, received, rng, .. } = &mut *inner;
        *received.entry(request.path.clone()).or_default() += 1;
        let fits = |manner: &&Manner| {
            request.path.starts_with(&manner.path)
                && request.id().starts_with(&manner.id)
                && manner.share.is_none_or(|share| rng.random_bool(share))
        };
        let manner = manners.iter().find(fits).cloned().unwrap_or_default();
        let takes = manner.act.takes();
        let known = request.path == UNIQUE && takes && !taken.insert(request.key.clone());
        self.ledger.append(&Receipt {
            at: now(),
            path: request.path.clone(),
            instance: request.instance.clone(),
            id: request.id().to_owned(),
            key: request.key.clone(),
            hash: hash(&request.body),
            taken: takes,
            effect: takes && !known,
            answer: manner.act.answer(),
        });
        manner
    }
}

async fn serve(stream: TcpStream, desk: &Desk) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut stream = BufReader::new(stream);
    loop {
        let request = read(&mut stream).await?;
        let Manner { work, act, .. } = desk.receive(&request);
        tokio::time::sleep(Duration::from_millis(work)).await;
        desk.inner.lock().unwrap().at_once -= 1;
        answer(stream.get_mut(), &act).await?;
    }
}

/// Reads a request; none when the caller has gone.
async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let line = read_line(stream).await?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = HashMap::new();
    loop {
        let line = read_line(stream).await?;
        let Some((name, value)) = line.split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut take = |name| headers.remove(name).unwrap_or_default();
    let mut body = vec![0; take("content-length").parse().unwrap_or(0)];
    stream.read_exact(&mut body).await.ok()?;
    let body = serde_json::from_slice(&body).unwrap_or_default();
    Some(Request { path, key: take("idempotency-key"), instance: take("x-instance"), body })
}

async fn read_line(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
    Some(line.trim_end().to_owned())
}

/// None when the connection is to be closed.
async fn answer(stream: &mut TcpStream, act: &Act) -> Option<()> {
    let head = |length: &str| format!("HTTP/1.1 201 Created\r\ncontent-length: {length}\r\n\r\n");
    match act {
        Act::Take => stream.write_all(head("0").as_bytes()).await.ok(),
        Act::Answer { status, headers } => {
            let headers: String =
                headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let text = format!("HTTP/1.1 {status} As told\r\ncontent-length: 0\r\n{headers}\r\n");
            stream.write_all(text.as_bytes()).await.ok()
        }
        Act::TakeInSilence => std::future::pending().await,
        Act::TakeAndClose | Act::Close => None,
        Act::TakeAndCut => {
            stream.write_all((head("1000") + "{\"half\":").as_bytes()).await.ok()?;
            None
        }
        Act::TakeAndTrickle { every } => {
            stream.write_all(head("1000000").as_bytes()).await.ok()?;
            loop {
                stream.write_all(b" ").await.ok()?;
                tokio::time::sleep(Duration::from_millis(*every)).await;
            }
        }
        Act::TakeAndFlood { bytes } => {
            stream.write_all(head(&bytes.to_string()).as_bytes()).await.ok()?;
            let mut left = usize::try_from(*bytes).unwrap();
            while left > 0 {
                let part = left.min(1 << 16);
                stream.write_all(&vec![b' '; part]).await.ok()?;
                left -= part;
            }
            Some(())
        }
    }
}

/// A running application, as the harness sees it.
pub struct Target {
    party: crate::party::Party,
    /// Where it listens.
    pub listens: SocketAddr,
    /// Where pipelines are told that it is: a proxy may be between.
    pub address: SocketAddr,
}

impl Target {
    pub fn start(plan: Plan) -> Self {
        let party = crate::party::Party::start(&crate::party::Role::Target(plan));
        let listens = party.greeting.parse().unwrap();
        Self { listens, address: listens, party }
    }

    /// From now on it behaves so; an empty list is good behaviour.
    pub fn behave(&mut self, manners: &[Manner]) {
        self.party.tell(&Command::Behave(manners.to_vec()));
    }

    /// How many requests it had at once at most, since this was last asked.
    pub fn peak(&mut self) -> usize {
        self.party.tell(&Command::Peak).parse().unwrap()
    }

    /// How many requests it has received at a path.
    pub fn count(&mut self, path: &str) -> usize {
        self.party.tell(&Command::Count(path.to_owned())).parse().unwrap()
    }
}
