//! Electronic data interchange: segments in messages (transaction sets), in interchanges. UN/EDIFACT is
//! ISO 9735, X12 is ASC X12.5 and X12.6. What envelopes and messages say of their counts is checked.

use std::sync::Arc;

use encoding_rs::{Encoding, UTF_8};
use engine::Fault;

use super::message::{self, Message};
use super::segment::{Segment, Separators, USUAL, encoding_of, split};
use super::window::{Extent, Input, Window};
use super::{Found, Position, Record, Records, decode, too_large};

/// Which of the two, and the types of messages that become events.
#[derive(Debug, Clone)]
pub(super) enum Dialect {
    Edifact { types: Vec<String> },
    X12 { types: Vec<String> },
}

/// What a dialect calls its parts.
pub(super) struct Words {
    interchange: (&'static str, &'static str),
    group: (&'static str, &'static str),
    message: (&'static str, &'static str),
    /// Where the numbers of interchange, group and message are among the elements that begin them.
    numbers: (usize, usize, usize),
    /// The segment that begins a line of an order, and the one that begins what follows the lines.
    pub line: &'static str,
    pub summary: &'static str,
    /// The segment that names a party, and those that belong to it.
    pub party: &'static str,
    pub of_party: &'static [&'static str],
}

const EDIFACT: Words = Words {
    interchange: ("UNB", "UNZ"),
    group: ("UNG", "UNE"),
    message: ("UNH", "UNT"),
    numbers: (4, 4, 0),
    line: "LIN",
    summary: "UNS",
    party: "NAD",
    of_party: &["LOC", "FII", "RFF", "DOC", "CTA", "COM"],
};

const X12: Words = Words {
    interchange: ("ISA", "IEA"),
    group: ("GS", "GE"),
    message: ("ST", "SE"),
    numbers: (12, 5, 1),
    line: "PO1",
    summary: "CTT",
    party: "N1",
    of_party: &["N2", "IN2", "N3", "N4", "REF", "PER", "FOB"],
};

impl Dialect {
    pub fn words(&self) -> &'static Words {
        match self {
            Self::Edifact { .. } => &EDIFACT,
            Self::X12 { .. } => &X12,
        }
    }

    fn types(&self) -> &[String] {
        match self {
            Self::Edifact { types } | Self::X12 { types } => types,
        }
    }
}

/// An envelope that is open.
struct Envelope {
    begin: Segment,
    messages: u64,
    groups: u64,
}

/// The messages of a file.
pub(super) struct Messages {
    window: Window,
    dialect: Dialect,
    given: Option<&'static Encoding>,
    encoding: &'static Encoding,
    separators: Separators,
    interchange: Option<Envelope>,
    group: Option<Envelope>,
    open: Option<Open>,
    /// What the last segment showed besides what was given for it.
    next: Option<Found>,
    row: u64,
    largest: usize,
    ended: bool,
    size: u64,
}

/// A message that has begun.
struct Open {
    begin: Position,
    segments: Vec<Segment>,
    count: u64,
    fault: Option<Fault>,
}

impl Messages {
    pub fn open(
        dialect: Dialect,
        given: Option<&'static Encoding>,
        input: &Arc<Input>,
        largest: usize,
    ) -> Result<Self, Fault> {
        let mut window = Window::at(input, Position::default());
        window.pass_head(0)?;
        Ok(Self {
            window,
            dialect,
            given,
            encoding: given.unwrap_or(UTF_8),
            separators: USUAL,
            interchange: None,
            group: None,
            open: None,
            next: None,
            row: 0,
            largest,
            ended: false,
            size: input.size,
        })
    }

    /// Takes spaces and line breaks between segments.
    fn pass_blank(&mut self) -> Result<(), Fault> {
        loop {
            let bytes = self.window.bytes();
            let blank = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x1a);
            let count = bytes.iter().take_while(|byte| blank(byte)).count();
            let all = count == bytes.len();
            self.window.take(count);
            if !all || !self.window.more()? {
                return Ok(());
            }
        }
    }

    /// Whether other separators may come here although the interchange before has not ended.
    fn separators_come(&mut self) -> Result<bool, Fault> {
        self.window.at_least(3)?;
        Ok(self.window.bytes().starts_with(match self.dialect {
            Dialect::Edifact { .. } => b"UNA",
            Dialect::X12 { .. } => b"ISA",
        }))
    }

    /// Reads the separators where an interchange begins; false at the file's end.
    ///
    /// # Errors
    /// A `Data` fault: none begins there.
    fn interchange_begins(&mut self) -> Result<bool, Fault> {
        self.window.at_least(106)?;
        let bytes = self.window.bytes();
        if bytes.is_empty() {
            return Ok(false);
        }
        let is_edifact = matches!(self.dialect, Dialect::Edifact { .. });
        self.separators = match bytes {
            _ if is_edifact && bytes.starts_with(b"UNA") && bytes.len() >= 9 => Separators {
                component: Some(bytes[3]),
                element: bytes[4],
                // A space stands for none.
                release: (bytes[6] != b' ').then_some(bytes[6]),
                terminator: bytes[8],
            },
            _ if bytes.starts_with(b"ISA") && bytes.len() >= 106 => Separators {
                element: bytes[3],
                component: None,
                release: None,
                terminator: bytes[105],
            },
            _ => USUAL,
        };
        let advice = if is_edifact && bytes.starts_with(b"UNA") { bytes.len().min(9) } else { 0 };
        if advice > 0 {
            self.window.take(advice);
            self.pass_blank()?;
            self.window.at_least(3)?;
        }
        let open = self.dialect.words().interchange.0;
        if !self.window.bytes().starts_with(open.as_bytes()) {
            let message = format!("No interchange begins here: {open} is expected.");
            return Err(Fault::data("no_interchange", message));
        }
        Ok(true)
    }

    /// The next segment, in its bytes; nothing at the file's end.
    fn segment(&mut self) -> Result<Option<Segment>, Fault> {
        let Separators { release, terminator, .. } = self.separators;
        let mut released = false;
        let extent = self.window.extent(self.largest, |part| {
            part.iter()
                .position(|byte| {
                    let ends = *byte == terminator && !released;
                    released = !released && Some(*byte) == release;
                    ends
                })
                .map(|at| at + 1)
        })?;
        match extent {
            Extent::Whole(length) => {
                let text = decode(self.encoding, &self.window.bytes()[..length - 1]);
                self.window.take(length);
                text.map(|text| Some(split(&text, self.separators)))
            }
            Extent::Unended(0) => Ok(None),
            Extent::Unended(_) => {
                Err(Fault::data("edi_truncated", "The file ends within a segment."))
            }
            Extent::TooLong => Err(too_large(self.largest)),
        }
    }

    fn found(&mut self, begin: Position, record: Result<Record, Fault>) -> Option<Found> {
        let end = self.window.position();
        let found = Found::next(&mut self.row, begin, end, record);
        Some(Found { last: self.ended, ..found })
    }

    /// What cannot be read from here on.
    fn broken(&mut self, begin: Position, fault: Fault) -> Result<Option<Found>, Fault> {
        let end = self.window.position();
        let rest = Found::rest(&mut self.row, begin, end, self.size, fault)?;
        self.ended = true;
        Ok(Some(rest))
    }

    /// What a segment ends, if it ends something.
    fn take(&mut self, begin: Position, segment: Segment) -> Option<Found> {
        let words = self.dialect.words();
        let tag = segment.tag.as_str();
        if let Some(open) = &mut self.open {
            let (group, interchange) = (words.group, words.interchange);
            let cuts = [words.message.0, group.0, group.1, interchange.0, interchange.1];
            if !cuts.contains(&tag) {
                open.count += 1;
                let size = self.window.position().offset - open.begin.offset;
                if size > self.largest as u64 {
                    open.fault.get_or_insert_with(|| too_large(self.largest));
                    open.segments.clear();
                }
                let ends = tag == words.message.1;
                if open.fault.is_none() || ends {
                    open.segments.push(segment);
                }
                return if ends { self.end_message() } else { None };
            }
            let message = format!("The message has no end: {} is missing.", words.message.1);
            let unended = self.unended(begin, Fault::data("edi_unended", message));
            self.next = self.begin_or_close(begin, segment);
            return unended;
        }
        self.begin_or_close(begin, segment)
    }

    /// A message that another segment cut off.
    fn unended(&mut self, end: Position, fault: Fault) -> Option<Found> {
        let open = self.open.take()?;
        let mut found = self.found(open.begin, Err(fault))?;
        found.bytes.end = end.offset;
        Some(found)
    }

    /// What stands outside messages: begins and ends of envelopes and messages.
    fn begin_or_close(&mut self, begin: Position, segment: Segment) -> Option<Found> {
        let words = self.dialect.words();
        let tag = segment.tag.as_str();
        let opened = |begin| Envelope { begin, messages: 0, groups: 0 };
        let unended = |what: &'static str, end: &str| {
            Err(Fault::data(what, format!("{tag} comes where {end} has to end what is open.")))
        };
        if tag == words.interchange.0 {
            if let (Dialect::Edifact { .. }, None) = (&self.dialect, self.given) {
                self.encoding = encoding_of(segment.text(0));
            }
            let wrong = unended("interchange_count", words.interchange.1);
            self.group = None;
            let before = self.interchange.replace(opened(segment));
            before.and_then(|_| self.found(begin, wrong))
        } else if tag == words.group.0 {
            if let Some(interchange) = &mut self.interchange {
                interchange.groups += 1;
            }
            let wrong = unended("group_count", words.group.1);
            let before = self.group.replace(opened(segment));
            before.and_then(|_| self.found(begin, wrong))
        } else if tag == words.message.0 {
            for envelope in [&mut self.interchange, &mut self.group].into_iter().flatten() {
                envelope.messages += 1;
            }
            self.open = Some(Open { begin, segments: vec![segment], count: 1, fault: None });
            None
        } else if tag == words.group.1 {
            let group = self.group.take()?;
            let wrong = mismatch(&segment, group.messages, group.begin.text(words.numbers.1))?;
            self.found(begin, Err(Fault::data("group_count", wrong)))
        } else if tag == words.interchange.1 {
            let interchange = self.interchange.take()?;
            if self.group.take().is_some() {
                let wrong = unended("group_count", words.group.1);
                return self.found(begin, wrong);
            }
            let is_x12 = matches!(self.dialect, Dialect::X12 { .. });
            let counted = match interchange.groups {
                0 if !is_x12 => interchange.messages,
                groups => groups,
            };
            let number = interchange.begin.text(words.numbers.0);
            let wrong = mismatch(&segment, counted, number)?;
            self.found(begin, Err(Fault::data("interchange_count", wrong)))
        } else {
            let message = format!("The segment {tag} stands outside of any message.");
            self.found(begin, Err(Fault::data("stray_segment", message)))
        }
    }

    fn end_message(&mut self) -> Option<Found> {
        let Open { begin, segments, count, fault } = self.open.take()?;
        let record = match fault {
            Some(fault) => Err(fault),
            None => self.message(segments, count),
        };
        self.found(begin, record)
    }

    fn message(&self, segments: Vec<Segment>, count: u64) -> Result<Record, Fault> {
        let (begin, end) = match segments.as_slice() {
            [begin, .., end] => (begin.clone(), end.clone()),
            _ => return Err(Fault::data("edi_empty", "The message has no segments.")),
        };
        let words = self.dialect.words();
        if let Some(wrong) = mismatch(&end, count, begin.text(words.numbers.2)) {
            return Err(Fault::data("segment_count", wrong));
        }
        let kind = match self.dialect {
            Dialect::Edifact { .. } => begin.text(1),
            Dialect::X12 { .. } => begin.text(0),
        };
        if !self.dialect.types().iter().any(|wanted| wanted == kind) {
            let message = format!(
                "The message is of the type {kind}, and {} is read here.",
                self.dialect.types().join(", ")
            );
            return Err(Fault::data("message_type", message));
        }
        let interchange = self.interchange.as_ref().map(|envelope| &envelope.begin);
        let message = Message {
            dialect: &self.dialect,
            interchange,
            group: self.group.as_ref().map(|envelope| &envelope.begin),
            kind,
            segments: &segments,
        };
        message::check_lines(&message)?;
        Ok(Record::Texts(message.value()))
    }
}

/// What does not fit between an end, what was counted, and the number at the begin.
fn mismatch(end: &Segment, counted: u64, number: &str) -> Option<String> {
    let tag = &end.tag;
    if end.count(0) != Some(counted) {
        return Some(format!("{tag} tells {} where {counted} were counted.", shown(end.text(0))));
    }
    let (told, number) = (end.text(1).trim(), number.trim());
    (told != number)
        .then(|| format!("{tag} has the number {} and its begin {}.", shown(told), shown(number)))
}

fn shown(text: &str) -> String {
    format!("`{}`", text.chars().take(40).collect::<String>())
}

impl Records for Messages {
    fn next(&mut self) -> Result<Option<Found>, Fault> {
        if let Some(found) = self.next.take() {
            return Ok(Some(found));
        }
        while !self.ended {
            self.pass_blank()?;
            let begin = self.window.position();
            if self.interchange.is_none() || self.separators_come()? {
                match self.interchange_begins() {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(fault) => {
                        let open = self.open.as_ref().map_or(begin, |open| open.begin);
                        return self.broken(open, fault);
                    }
                }
            }
            let begin = self.window.position();
            match self.segment() {
                Ok(Some(segment)) => {
                    if let Some(found) = self.take(begin, segment) {
                        return Ok(Some(found));
                    }
                }
                Ok(None) => {
                    let open = self.open.as_ref().map_or(begin, |open| open.begin);
                    let message = format!(
                        "The file ends before its interchange does: {} is missing.",
                        self.dialect.words().interchange.1
                    );
                    return self.broken(open, Fault::data("edi_truncated", message));
                }
                // Bytes that are not of the encoding spoil the message, not what follows.
                Err(fault) if fault.cause == "not_in_encoding" && self.open.is_some() => {
                    if let Some(open) = &mut self.open {
                        open.count += 1;
                        open.fault.get_or_insert(fault);
                    }
                }
                Err(fault) => {
                    let open = self.open.as_ref().map_or(begin, |open| open.begin);
                    return self.broken(open, fault);
                }
            }
        }
        Ok(None)
    }
}
