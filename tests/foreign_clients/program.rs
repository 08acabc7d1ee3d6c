//! A client in a process of its own that runs cases on one broker, many at the same time.
//!
//! It reads the names of cases, a line each, until its input ends. Of every case it prints lines of
//! `case<TAB>call<TAB>answer` and at the end `case<TAB>.`; the call [`FAILED`] has the reason why a
//! case ended early.

use std::{
    collections::{BTreeMap, HashMap},
    io::{BufRead as _, BufReader, Write as _},
    mem,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex,
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

use tests::deadline::GENEROUS;

/// The call that says why a case ended early.
pub const FAILED: &str = "!";

/// What each call was answered; more answers to one call in their order, with commas between.
pub type Answers = BTreeMap<String, String>;

type Waiting = HashMap<String, (Answers, Sender<Answers>)>;

/// The process; it ends with this value, or with this process.
pub struct Program {
    process: Child,
    input: Mutex<ChildStdin>,
    waiting: Arc<Mutex<Waiting>>,
}

/// A case that runs.
pub struct Case {
    name: String,
    answers: Receiver<Answers>,
}

impl Program {
    pub fn start(command: &mut Command) -> Self {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = Mutex::new(process.stdin.take().unwrap());
        let output = process.stdout.take().unwrap();
        let waiting = Arc::default();
        let answered = Arc::clone(&waiting);
        thread::spawn(move || read(output, &answered));
        Self { process, input, waiting }
    }

    /// Has it run a case.
    pub fn ask(&self, case: &str) -> Case {
        let (sender, answers) = mpsc::channel();
        let waiting = (Answers::new(), sender);
        self.waiting.lock().unwrap().insert(case.to_owned(), waiting);
        writeln!(self.input.lock().unwrap(), "{case}").unwrap();
        Case { name: case.to_owned(), answers }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Case {
    pub fn wait(self) -> Answers {
        let answers = self.answers.recv_timeout(GENEROUS);
        answers.unwrap_or_else(|failure| panic!("no end of {}: {failure}", self.name))
    }
}

/// Hands out what the program prints, until it ends.
fn read(output: ChildStdout, waiting: &Mutex<Waiting>) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        let (case, said) = line.split_once('\t').unwrap_or((&line, ""));
        let mut waiting = waiting.lock().unwrap();
        let Some((answers, ended)) = waiting.get_mut(case) else { continue };
        match said.split_once('\t') {
            Some((call, answer)) => {
                let so_far = answers.entry(call.to_owned()).or_default();
                let comma = if so_far.is_empty() { "" } else { ", " };
                *so_far += &format!("{comma}{}", answer.trim());
            }
            None => {
                let _ = ended.send(mem::take(answers));
                waiting.remove(case);
            }
        }
    }
    // Who waits hears that nothing more comes.
    waiting.lock().unwrap().clear();
}
