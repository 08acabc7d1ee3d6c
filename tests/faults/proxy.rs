//! A stretch of network that can fail: a TCP proxy in this process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How large a piece is that is lost or delayed: a segment on an Ethernet.
const SEGMENT: usize = 1460;
/// How long TCP waits before it sends a lost segment again, at least (Linux: `TCP_RTO_MIN`).
const RETRANSMISSION: Duration = Duration::from_millis(200);

/// What the network does with what is sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Weather {
    /// It arrives.
    Fair,
    /// Connections break, and new ones are refused.
    Cut,
    /// Nothing arrives, and nobody is told: a partition. Connections are taken and stay silent.
    Silent,
    /// Everything arrives this much later.
    Slow(Duration),
    /// So many bytes a second arrive.
    Trickle(usize),
    /// Of a hundred segments so many are lost, and sent again after a while, as TCP does: a proxy
    /// sees streams, so loss shows as what it does to them.
    Lossy(u32),
}

/// The proxy; its connections break when it is dropped.
pub struct Proxy {
    /// Where to connect to instead.
    pub address: SocketAddr,
    weather: watch::Sender<Weather>,
    upstream: watch::Sender<SocketAddr>,
}

impl Proxy {
    /// A proxy on a free port.
    pub async fn start(upstream: SocketAddr) -> Self {
        Self::listen("127.0.0.1:0".parse().unwrap(), upstream).await
    }

    /// A proxy at an address.
    pub async fn listen(at: SocketAddr, upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (weather, seen) = watch::channel(Weather::Fair);
        let (upstream, leads) = watch::channel(upstream);
        tokio::spawn(accept(listener, seen, leads));
        Self { address, weather, upstream }
    }

    /// Changes the weather, for connections that there are too.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// New connections lead elsewhere, as after a name was given another address; those that there
    /// are break.
    pub fn lead_to(&self, upstream: SocketAddr) {
        self.upstream.send_replace(upstream);
    }
}

async fn accept(
    listener: TcpListener,
    mut weather: watch::Receiver<Weather>,
    upstream: watch::Receiver<SocketAddr>,
) {
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((near, _)) = accepted else { continue };
                if *weather.borrow() == Weather::Cut {
                    let _ = near.set_zero_linger();
                    continue;
                }
                let (weather, mut upstream) = (weather.clone(), upstream.clone());
                tokio::spawn(async move {
                    let leads = *upstream.borrow_and_update();
                    let Ok(far) = TcpStream::connect(leads).await else { return };
                    tokio::select! {
                        () = carry(near, far, weather) => {}
                        _ = upstream.changed() => {}
                    }
                });
            }
            changed = weather.changed() => if changed.is_err() { return },
        }
    }
}

async fn carry(near: TcpStream, far: TcpStream, weather: watch::Receiver<Weather>) {
    for stream in [&near, &far] {
        let _ = stream.set_nodelay(true);
        let _ = stream.set_zero_linger();
    }
    let mut cut = weather.clone();
    let cut = async move {
        // An error: the proxy is gone.
        let _ = cut.wait_for(|weather| *weather == Weather::Cut).await;
    };
    let weather = Arc::new(weather);
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    tokio::select! {
        _ = one_way(near_in, far_out, Arc::clone(&weather)) => {}
        _ = one_way(far_in, near_out, weather) => {}
        () = cut => {}
    }
}

async fn one_way(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    weather: Arc<watch::Receiver<Weather>>,
) -> std::io::Result<()> {
    let mut segment = [0; SEGMENT];
    loop {
        let read = from.read(&mut segment).await?;
        if read == 0 {
            return Ok(());
        }
        let now = *weather.borrow();
        match now {
            Weather::Fair | Weather::Cut => {}
            Weather::Silent => {
                let mut weather = (*weather).clone();
                let _ = weather.wait_for(|weather| *weather != Weather::Silent).await;
            }
            Weather::Slow(delay) => tokio::time::sleep(delay).await,
            Weather::Trickle(rate) => {
                tokio::time::sleep(Duration::from_secs_f64(read as f64 / rate as f64)).await;
            }
            Weather::Lossy(percent) => {
                let mut wait = Duration::ZERO;
                while rand::rng().random_range(0..100) < percent {
                    wait = wait * 2 + RETRANSMISSION;
                }
                tokio::time::sleep(wait).await;
            }
        }
        to.write_all(&segment[..read]).await?;
    }
}
