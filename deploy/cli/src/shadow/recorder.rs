//! The log of what would be sent.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat};
use engine::{Delivery, Domain, Event, Fault, Order, Sink};
use serde_json::{Value as Json, json};

use crate::failure::Failure;

/// How many events are synced together.
const TOGETHER: usize = 500;
/// How much is read at once in search of the last whole line.
const BLOCK: usize = 64 << 10;

/// A file that only this process appends to: whole lines, on the disk before an offset passes them.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    /// Where the last whole line ends.
    length: u64,
}

impl Recorder {
    /// Opens a log, or begins it. Half a line, left by a process that died, is cut off.
    ///
    /// # Errors
    /// It cannot be written, or another process writes it.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |why: String| {
            Failure::new(format!(
                "What would be sent cannot be written to {}: {why}.",
                path.display()
            ))
        };
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        // It holds what the target would hold: not for everybody's eyes.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path).map_err(|error| failed(error.to_string()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(failed(
                    "another process writes it; give each a file of its own".to_owned(),
                ));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error.to_string())),
        }
        let length = whole_lines(&mut file).map_err(|error| failed(error.to_string()))?;
        Ok(Self { path: path.to_owned(), inner: Mutex::new(Inner { file, length }) })
    }

    /// Appends lines and waits for the disk.
    fn append(&self, lines: &[u8]) -> io::Result<()> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { file, length } = &mut *inner;
        if let Err(error) = file.write_all(lines).and_then(|()| file.sync_data()) {
            // What of them was written is written again.
            file.set_len(*length)?;
            return Err(error);
        }
        *length += lines.len() as u64;
        Ok(())
    }
}

/// Cuts a file behind its last line's end; how long it is then.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    let size = file.metadata()?.len();
    let (mut end, mut block) = (size, vec![0; BLOCK]);
    while end > 0 {
        let start = end.saturating_sub(BLOCK as u64);
        let part = &mut block[..usize::try_from(end - start).unwrap_or(BLOCK)];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        if let Some(at) = part.iter().rposition(|byte| *byte == b'\n') {
            end = start + at as u64 + 1;
            break;
        }
        end = start;
    }
    if end < size {
        file.set_len(end)?;
    }
    Ok(end)
}

/// Stands in for a sink: writes down what that would send, and sends nothing.
pub struct Shadowed {
    /// The sink's own route, `pipeline/sink`: idempotency keys are those that it would send.
    pub route: Arc<str>,
    /// The sink, which is asked only what it would send.
    pub sink: Box<dyn Sink>,
    /// Where that is written.
    pub recorder: Arc<Recorder>,
}

impl Shadowed {
    /// The line of an event; nothing if the sink passes over it.
    fn line(&self, event: &Event) -> Result<Option<Json>, Fault> {
        let key = || event.key_text().unwrap_or_else(|| event.id());
        let time = DateTime::from_timestamp_millis(event.received()).unwrap_or_default();
        let time = time.to_rfc3339_opts(SecondsFormat::Millis, true);
        let (id, event_id) = (event.idempotency_key(&self.route), event.id());
        match self.sink.intent(event) {
            Ok(None) => Ok(None),
            Ok(Some(intent)) => Ok(Some(json!({
                "time": time,
                "id": id,
                "event": event_id,
                "key": intent.key.unwrap_or_else(key),
                "operation": intent.operation,
                "payload": intent.payload,
            }))),
            Err(fault) if fault.domain == Domain::Data => Ok(Some(json!({
                "time": time,
                "id": id,
                "event": event_id,
                "key": key(),
                "refused": fault.message,
            }))),
            Err(fault) => Err(fault),
        }
    }

    async fn write(&self, batch: &[Event]) -> Result<Vec<Delivery>, Fault> {
        let (mut text, mut told) = (String::new(), Vec::with_capacity(batch.len()));
        for event in batch {
            let line = self.line(event)?;
            told.push(Delivery {
                answer: match &line {
                    Some(_) => "in shadow: written down, not sent".to_owned(),
                    None => "in shadow: nothing would be sent".to_owned(),
                },
                already_there: false,
            });
            if let Some(line) = line {
                text.push_str(&line.to_string());
                text.push('\n');
            }
        }
        let recorder = Arc::clone(&self.recorder);
        let written = tokio::task::spawn_blocking(move || recorder.append(text.as_bytes())).await;
        let failed = |why: String| {
            let file = self.recorder.path.display();
            Fault::remote(
                "shadow_log",
                format!("Writing to {file} failed: {why}; it is tried again."),
            )
        };
        match written {
            Ok(Ok(())) => Ok(told),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

#[async_trait]
impl Sink for Shadowed {
    fn order(&self) -> Order {
        Order::Partition
    }

    fn batch(&self) -> usize {
        TOGETHER
    }

    async fn deliver(&self, batch: &[Event], _attempt: u32) -> Vec<Result<Delivery, Fault>> {
        match self.write(batch).await {
            Ok(told) => told.into_iter().map(Ok).collect(),
            Err(fault) => batch.iter().map(|_| Err(fault.clone())).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_line_of_a_process_that_died_is_cut_off_and_nobody_writes_beside_us() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let long = "x".repeat(2 * BLOCK);
        std::fs::write(&path, format!("one\n{long}\ntw{long}")).unwrap();
        let recorder = Recorder::open(&path).unwrap();
        let taken = Recorder::open(&path).unwrap_err();
        assert!(taken.0.contains("another process"), "{taken}");
        recorder.append(b"two\n").unwrap();
        drop(recorder);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("one\n{long}\ntwo\n"));
        std::fs::write(&path, "no end").unwrap();
        Recorder::open(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"");
    }
}
