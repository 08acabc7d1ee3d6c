//! For tests: a way to an ERP that cuts the client's connection while the ERP goes on working.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use ::tests::bad_server;

/// A proxy on loopback, in front of an ERP.
pub(super) struct Cutter {
    /// Its address: `127.0.0.1:PORT`.
    pub(super) address: String,
    /// The end of the request line's path after which the client is left alone, once.
    cut: Arc<Mutex<Option<&'static str>>>,
}

impl Cutter {
    /// Stands in front of the server at `host`.
    pub(super) async fn before(host: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let cut = Arc::new(Mutex::new(None));
        let (host, armed) = (host.to_owned(), Arc::clone(&cut));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (host, armed) = (host.clone(), Arc::clone(&armed));
                tokio::spawn(async move { forward(client, &host, &armed).await });
            }
        });
        Self { address, cut }
    }

    /// Cuts the connection 10 ms after the next request of this method and path was passed on.
    pub(super) fn cut_next(&self, request: &'static str) {
        *self.cut.lock().unwrap() = Some(request);
    }

    /// Whether the last request to cut has come.
    pub(super) fn has_cut(&self) -> bool {
        self.cut.lock().unwrap().is_none()
    }
}

async fn forward(mut client: TcpStream, host: &str, armed: &Mutex<Option<&str>>) -> Option<()> {
    let request = bad_server::read(&mut client).await?;
    let mut server = TcpStream::connect(host).await.ok()?;
    let mut head = format!("{}\r\nconnection: close\r\n", request.line);
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    server.write_all(format!("{head}\r\n").as_bytes()).await.ok()?;
    server.write_all(&request.body).await.ok()?;
    let cut = {
        let mut armed = armed.lock().unwrap();
        let asked = request.line.split('?').next().unwrap_or_default();
        let cut = armed.is_some_and(|end| is_request(asked, end) || is_call(&request.body, end));
        if cut {
            *armed = None;
        }
        cut
    };
    if cut {
        tokio::time::sleep(Duration::from_millis(10)).await;
        drop(client);
        let mut unheard = Vec::new();
        server.read_to_end(&mut unheard).await.ok()?;
        return None;
    }
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await.ok()?;
    client.write_all(&answer).await.ok()
}

/// `POST …/sale.sale` for `POST /sale.sale`.
pub(super) fn is_request(asked: &str, wanted: &str) -> bool {
    let (method, path) = wanted.split_once(' ').unwrap();
    asked.starts_with(method) && asked.ends_with(path)
}

/// Whether a body calls what is wanted: `RPC sale.sale.create`, `WIZARD account.invoice.pay.execute`.
fn is_call(body: &[u8], wanted: &str) -> bool {
    let name = match wanted.split_once(' ') {
        Some(("RPC", method)) => format!("\"method\":\"model.{method}\""),
        Some(("WIZARD", method)) => format!("\"method\":\"wizard.{method}\""),
        _ => return false,
    };
    String::from_utf8_lossy(body).contains(&name)
}
