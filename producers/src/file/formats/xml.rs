//! XML: an element a record. No document type is read, and no entity but the five of XML itself and
//! those of characters: nothing is fetched, nothing expands.

use std::sync::Arc;

use encoding_rs::Encoding;
use engine::{Fault, Value};
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::{QName, ResolveResult};
use quick_xml::reader::NsReader;
use vrl::value::ObjectMap;

use super::decoded::Decoded;
use super::window::Input;
use super::{Found, Position, Record, Records, too_large};
use crate::file::options::Xml;

/// Most elements within each other.
const MAX_DEPTH: usize = 128;

/// The records of a file.
pub(super) struct Elements {
    reader: NsReader<Decoded>,
    buffer: Vec<u8>,
    options: Xml,
    lists: Arc<[String]>,
    /// The way to the records.
    way: Vec<String>,
    /// The names of the elements that are open above a record.
    open: Vec<String>,
    row: u64,
    largest: usize,
    ended: bool,
}

/// What an event of XML is to a record.
enum Piece {
    Start(Element),
    Empty(Element),
    End,
    Text(String),
    Nothing,
    Eof,
}

/// An element's begin.
struct Element {
    /// Its name, with the prefix that the options give its namespace.
    name: String,
    local: String,
    attributes: ObjectMap,
    /// Why its attributes cannot be told.
    fault: Option<Fault>,
}

impl Elements {
    pub fn open(
        options: &Xml,
        encoding: Option<&'static Encoding>,
        input: &Arc<Input>,
        largest: usize,
    ) -> Result<Self, Fault> {
        let decoded = Decoded::open(encoding, input, largest)?;
        let mut reader = NsReader::from_reader(decoded);
        reader.config_mut().check_end_names = true;
        Ok(Self {
            reader,
            buffer: Vec::new(),
            way: options.record.split('/').skip(1).map(str::to_owned).collect(),
            lists: options.lists.as_slice().into(),
            options: options.clone(),
            open: Vec::new(),
            row: 0,
            largest,
            ended: false,
        })
    }

    fn position(&mut self) -> Position {
        self.reader.get_mut().at
    }

    /// The next piece of the file.
    ///
    /// # Errors
    /// A `Remote` fault: the file cannot be read. A `Data` fault: it is no XML from here on.
    fn piece(&mut self) -> Result<Piece, Fault> {
        self.buffer.clear();
        let Self { reader, buffer, options, largest, .. } = self;
        reader.get_mut().left = *largest;
        let event = match reader.read_event_into(buffer) {
            Ok(event) => event.into_owned(),
            Err(error) => {
                let source = reader.get_mut();
                return Err(source.fault.take().unwrap_or_else(|| {
                    Fault::data("xml_malformed", format!("It is no well-formed XML: {error}."))
                }));
            }
        };
        Ok(match event {
            Event::Start(start) => Piece::Start(element(reader, &start, options)),
            Event::Empty(start) => Piece::Empty(element(reader, &start, options)),
            Event::End(_) => Piece::End,
            Event::Text(text) => Piece::Text(text.xml10_content().into_owned()),
            Event::CData(text) => Piece::Text(text.xml10_content().into_owned()),
            Event::GeneralRef(reference) => Piece::Text(resolve(&reference)?),
            Event::DocType(_) => {
                let message = "The file declares a document type (DTD), which is refused: it could \
                               fetch files and expand without end. Have it written without.";
                return Err(Fault::data("xml_dtd", message));
            }
            Event::Comment(_) | Event::PI(_) | Event::Decl(_) => Piece::Nothing,
            Event::Eof => Piece::Eof,
        })
    }

    /// Whether an element right below the open ones is a record.
    fn is_record(&self, element: &Element) -> bool {
        let fits = |step: &String, name: &str, local: &str| {
            step == "*" || step == name || (!step.contains(':') && step == local)
        };
        let depth = self.open.len();
        depth + 1 == self.way.len()
            && self.way[..depth]
                .iter()
                .zip(&self.open)
                .all(|(step, open)| fits(step, open, open.rsplit(':').next().unwrap_or(open)))
            && fits(&self.way[depth], &element.name, &element.local)
    }

    /// What a record holds. Reads up to its end, also when it is none.
    fn record(&mut self, element: Element, begin: u64) -> Result<Result<Value, Fault>, Fault> {
        let mut building = Building::new(&self.lists);
        building.start(element);
        loop {
            let piece = match self.piece() {
                // An entity that is not known spoils this record; what follows is still XML.
                Err(fault) if fault.cause == "xml_entity" => {
                    building.fault.get_or_insert(fault);
                    continue;
                }
                piece => piece?,
            };
            match piece {
                Piece::Start(element) => building.start(element),
                Piece::Empty(element) => {
                    building.start(element);
                    building.end();
                }
                Piece::Text(text) => building.text(&text),
                Piece::End => {
                    if let Some(value) = building.end() {
                        return Ok(building.fault.map_or(Ok(value), Err));
                    }
                }
                Piece::Nothing => {}
                Piece::Eof => {
                    let message = "The file ends within the record.";
                    return Err(Fault::data("xml_malformed", message));
                }
            }
            let size = self.position().offset.saturating_sub(begin);
            if size > self.largest as u64 {
                building.drop_all(too_large(self.largest));
            }
        }
    }

    fn found(&mut self, begin: Position, record: Result<Record, Fault>) -> Found {
        let end = self.position();
        let found = Found::next(&mut self.row, begin, end, record);
        Found { last: self.ended, ..found }
    }

    /// What cannot be read from here on.
    fn broken(&mut self, begin: Position, fault: Fault) -> Result<Option<Found>, Fault> {
        let (end, size) = (self.position(), self.reader.get_mut().input.size);
        let rest = Found::rest(&mut self.row, begin, end, size, fault)?;
        self.ended = true;
        Ok(Some(rest))
    }
}

impl Records for Elements {
    fn next(&mut self) -> Result<Option<Found>, Fault> {
        while !self.ended {
            let begin = self.position();
            let piece = match self.piece() {
                Err(fault) => return self.broken(begin, fault),
                Ok(piece) => piece,
            };
            match piece {
                Piece::Start(element) if self.is_record(&element) => {
                    return match self.record(element, begin.offset) {
                        Err(fault) => self.broken(begin, fault),
                        Ok(record) => Ok(Some(self.found(begin, record.map(Record::Texts)))),
                    };
                }
                Piece::Empty(element) if self.is_record(&element) => {
                    let mut building = Building::new(&self.lists);
                    building.start(element);
                    let value = building.end().unwrap_or(Value::Null);
                    let record = building.fault.map_or(Ok(Record::Texts(value)), Err);
                    return Ok(Some(self.found(begin, record)));
                }
                Piece::Start(element) => {
                    self.open.push(element.name);
                    if self.open.len() > MAX_DEPTH {
                        return self.broken(begin, too_deep());
                    }
                }
                Piece::End => drop(self.open.pop()),
                Piece::Empty(_) | Piece::Text(_) | Piece::Nothing => {}
                Piece::Eof if self.open.is_empty() => self.ended = true,
                Piece::Eof => {
                    let message = "The file ends before its root element does.";
                    return self.broken(begin, Fault::data("xml_malformed", message));
                }
            }
        }
        Ok(None)
    }
}

fn too_deep() -> Fault {
    Fault::data("xml_depth", format!("Elements are nested more than {MAX_DEPTH} deep."))
}

fn element(reader: &NsReader<Decoded>, start: &BytesStart<'_>, options: &Xml) -> Element {
    let resolver = reader.resolver();
    let (namespace, local) = resolver.resolve_element(start.name());
    let local = local.as_ref().to_owned();
    let mut element = Element {
        name: named(&namespace, &local, options),
        local,
        attributes: ObjectMap::new(),
        fault: None,
    };
    for attribute in start.attributes() {
        let read = attribute.map_err(|error| error.to_string()).and_then(|attribute| {
            let key = attribute.key;
            let value = attribute.normalized_value(XmlVersion::Implicit1_0);
            Ok((key, value.map_err(|error| error.to_string())?.into_owned()))
        });
        match read {
            Ok((key, _)) if is_declaration(key) => {}
            Ok((key, value)) => {
                let (namespace, local) = resolver.resolve_attribute(key);
                let name = named(&namespace, local.as_ref(), options);
                element.attributes.insert(format!("@{name}").into(), Value::from(value));
            }
            Err(error) => {
                let message =
                    format!("An attribute of `{}` cannot be read: {error}.", element.name);
                element.fault = Some(Fault::data("xml_attribute", message));
            }
        }
    }
    element
}

fn is_declaration(key: QName<'_>) -> bool {
    let name = key.as_ref();
    name == "xmlns" || name.starts_with("xmlns:")
}

fn named(namespace: &ResolveResult<'_>, local: &str, options: &Xml) -> String {
    if let ResolveResult::Bound(namespace) = namespace {
        let declared =
            options.namespaces.iter().find(|(_, uri)| uri.as_str() == namespace.as_ref());
        if let Some((prefix, _)) = declared {
            return format!("{prefix}:{local}");
        }
    }
    local.to_owned()
}

fn resolve(reference: &BytesRef<'_>) -> Result<String, Fault> {
    let name = reference.xml10_content();
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return Ok(character.to_string());
    }
    resolve_predefined_entity(&name).map(str::to_owned).ok_or_else(|| {
        let message =
            format!("The entity `&{name};` is not one of XML's own, and none is fetched.");
        Fault::data("xml_entity", message)
    })
}

/// A record as its pieces come.
struct Building {
    lists: Arc<[String]>,
    open: Vec<(String, ObjectMap, String)>,
    depth: usize,
    fault: Option<Fault>,
}

impl Building {
    fn new(lists: &Arc<[String]>) -> Self {
        Self { lists: Arc::clone(lists), open: Vec::new(), depth: 0, fault: None }
    }

    fn start(&mut self, element: Element) {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            self.drop_all(too_deep());
        }
        if let Some(fault) = element.fault {
            self.drop_all(fault);
        }
        if self.fault.is_none() {
            self.open.push((element.name, element.attributes, String::new()));
        }
    }

    fn text(&mut self, text: &str) {
        if let Some((_, _, there)) = self.open.last_mut() {
            there.push_str(text);
        }
    }

    /// Keeps nothing more of it.
    fn drop_all(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
        self.open.clear();
    }

    /// Ends the innermost element; gives the record at its end.
    fn end(&mut self) -> Option<Value> {
        self.depth = self.depth.saturating_sub(1);
        let ended = self.open.pop();
        let over = self.depth == 0;
        let Some((name, mut fields, text)) = ended else { return over.then_some(Value::Null) };
        let value = if fields.is_empty() {
            Value::from(text)
        } else {
            // Spaces between elements are no text of theirs.
            let only_attributes = fields.keys().all(|name| name.starts_with('@'));
            if only_attributes || !text.trim().is_empty() {
                fields.insert("#text".into(), Value::from(text));
            }
            Value::Object(fields)
        };
        if over {
            return Some(value);
        }
        if let Some((_, parent, _)) = self.open.last_mut() {
            let listed = self.lists.contains(&name);
            match (parent.get_mut(name.as_str()), listed) {
                (Some(Value::Array(items)), _) => items.push(value),
                (Some(there), _) => {
                    let first = std::mem::replace(there, Value::Null);
                    *there = Value::Array(vec![first, value]);
                }
                (None, true) => {
                    parent.insert(name.into(), Value::Array(vec![value]));
                }
                (None, false) => {
                    parent.insert(name.into(), value);
                }
            }
        }
        None
    }
}
