//! The application that is called.

use std::{
    collections::HashMap,
    io::Write as _,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::net::TcpListener;

use crate::{arguments::Arguments, http::Connection};

/// The answer to every call.
pub const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

/// The number of the order in a body: what follows `O-`.
pub fn number(body: &[u8]) -> Option<u64> {
    let start = body.windows(3).position(|bytes| bytes == b"\"O-")? + 3;
    let digits = body[start..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(Some(0), |sum: Option<u64>, digit| {
        sum?.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}

/// What was called, in which order.
#[derive(Default)]
struct Book {
    count: u64,
    /// The last order of each customer.
    last: HashMap<u64, u64>,
    /// Orders that came again, or after a later one of their customer.
    late: u64,
    /// Calls that hold no order.
    unknown: u64,
}

impl Book {
    fn enter(&mut self, order: Option<u64>, keys: u64) {
        self.count += 1;
        let Some(order) = order else {
            self.unknown += 1;
            return;
        };
        let last = self.last.insert(order % keys, order);
        self.late += u64::from(last.is_some_and(|last| last >= order));
    }
}

/// Answers calls until it is ended. Prints, beside seconds and count, how many calls were late for
/// their key, and how many held no order.
pub async fn run(arguments: &mut Arguments) {
    let port: u16 = arguments.word().parse().unwrap();
    let delay = Duration::from_millis(arguments.option("delay"));
    let keys: u64 = arguments.option("keys");
    let book = Arc::new(Mutex::new(Book::default()));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    tokio::spawn(accept(listener, delay, keys, Arc::clone(&book)));
    let started = Instant::now();
    loop {
        {
            let Book { count, late, unknown, .. } = &*book.lock().unwrap();
            println!("{:.3} {count} {late} {unknown}", started.elapsed().as_secs_f64());
        }
        std::io::stdout().flush().unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn accept(listener: TcpListener, delay: Duration, keys: u64, book: Arc<Mutex<Book>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let book = Arc::clone(&book);
        tokio::spawn(async move {
            let mut connection = Connection::new(stream)?;
            while let Some(order) = connection.read(|message| number(message.body)).await? {
                book.lock().unwrap().enter(order, keys);
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                connection.write(ANSWER).await?;
            }
            std::io::Result::Ok(())
        });
    }
}
