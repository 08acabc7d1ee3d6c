//! A small ERP: it takes sales under a unique order id, needs about 20 ms for each, and keeps them
//! in a file.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Path as Segment, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use engine::Shutdown;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::journey::{Journey, Landing};

/// How long it takes to answer.
const ANSWER_TIME: Duration = Duration::from_millis(20);

/// The ERP.
#[derive(Clone)]
pub struct Erp {
    books: Arc<Mutex<Books>>,
    journey: Journey,
}

struct Books {
    /// Sales by the shop's order id.
    sales: HashMap<String, Value>,
    file: File,
}

type Answer = (StatusCode, Json<Value>);

impl Erp {
    /// Opens the books in `file`, with what was sold before.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn open(file: &Path, journey: Journey) -> std::io::Result<Self> {
        let mut sales = HashMap::new();
        if let Ok(earlier) = File::open(file) {
            for line in BufReader::new(earlier).lines() {
                // A line torn by a crash was never answered: the sale comes again.
                if let Ok(sale) = serde_json::from_str::<Value>(&line?) {
                    sales.insert(text(&sale, "web_id").to_owned(), sale);
                }
            }
        }
        let mut file = OpenOptions::new().create(true).append(true).open(file)?;
        writeln!(file)?;
        Ok(Self { books: Arc::new(Mutex::new(Books { sales, file })), journey })
    }

    /// How many sales it has.
    pub fn count(&self) -> usize {
        self.books.lock().unwrap_or_else(PoisonError::into_inner).sales.len()
    }

    /// Answers on `listener` until `stop`.
    ///
    /// # Errors
    /// The listener fails.
    pub async fn serve(self, listener: TcpListener, stop: Shutdown) -> std::io::Result<()> {
        let router = Router::new()
            .route("/sales", post(sell).get(list))
            .route("/sales/{id}", get(show))
            .with_state(self);
        axum::serve(listener, router)
            .with_graceful_shutdown(async move { stop.requested().await })
            .await
    }

    /// Books a sale once for its order id.
    fn book(&self, mut sale: Value) -> Result<(StatusCode, Value), std::io::Error> {
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let id = text(&sale, "web_id").to_owned();
        if let Some(there) = books.sales.get(&id) {
            return Ok((StatusCode::OK, there.clone()));
        }
        let number = format!("S-{}", books.sales.len() + 1);
        sale["number"] = json!(number);
        writeln!(books.file, "{sale}")?;
        books.sales.insert(id.clone(), sale.clone());
        drop(books);
        self.journey.landed(&Landing {
            order: &id,
            customer: text(&sale["party"], "name"),
            lines: sale["lines"].as_array().map_or(0, Vec::len),
            total: &format!("{} {}", text(&sale, "total"), text(&sale, "currency")),
            sale: &number,
        });
        Ok((StatusCode::CREATED, sale))
    }
}

async fn sell(State(erp): State<Erp>, Json(sale): Json<Value>) -> Answer {
    tokio::time::sleep(ANSWER_TIME).await;
    if text(&sale, "web_id").is_empty() {
        return (
            StatusCode::UNPROCESSABLE_ENTITY,
            Json(json!({ "error": "A sale needs the order's id in `web_id`." })),
        );
    }
    match erp.book(sale) {
        Ok((status, sale)) => {
            (status, Json(json!({ "number": sale["number"], "state": "processing" })))
        }
        Err(error) => {
            (StatusCode::INSUFFICIENT_STORAGE, Json(json!({ "error": error.to_string() })))
        }
    }
}

async fn list(State(erp): State<Erp>) -> Json<Value> {
    let books = erp.books.lock().unwrap_or_else(PoisonError::into_inner);
    Json(json!({ "count": books.sales.len() }))
}

async fn show(State(erp): State<Erp>, Segment(id): Segment<String>) -> Answer {
    let books = erp.books.lock().unwrap_or_else(PoisonError::into_inner);
    match books.sales.get(&id) {
        Some(sale) => (StatusCode::OK, Json(sale.clone())),
        None => {
            (StatusCode::NOT_FOUND, Json(json!({ "error": format!("No sale for order {id}.") })))
        }
    }
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap_or_default()
}
