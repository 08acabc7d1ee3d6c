//! Segments of EDI: elements of components.

use encoding_rs::{Encoding, UTF_8};

/// What stands between the parts of a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Separators {
    pub element: u8,
    /// Only EDIFACT's components are taken apart: in X12 they are rare, and texts often hold theirs.
    pub component: Option<u8>,
    pub release: Option<u8>,
    pub terminator: u8,
}

/// ISO 9735's, where no UNA says others.
pub(super) const USUAL: Separators =
    Separators { element: b'+', component: Some(b':'), release: Some(b'?'), terminator: b'\'' };

/// A segment: its tag, and its elements of components.
#[derive(Debug, Clone, Default)]
pub(super) struct Segment {
    pub tag: String,
    pub elements: Vec<Vec<String>>,
}

impl Segment {
    /// The first component of an element, from 0; empty if there is none.
    pub fn text(&self, element: usize) -> &str {
        self.component(element, 0)
    }

    pub fn component(&self, element: usize, component: usize) -> &str {
        let found = self.elements.get(element).and_then(|element| element.get(component));
        found.map_or("", String::as_str)
    }

    pub fn count(&self, element: usize) -> Option<u64> {
        self.text(element).trim().parse().ok()
    }
}

/// The encoding of a syntax identifier (UNB, S001).
pub(super) fn encoding_of(syntax: &str) -> &'static Encoding {
    let label = match syntax {
        "UNOC" => "windows-1252",
        "UNOD" => "iso-8859-2",
        "UNOE" => "iso-8859-5",
        "UNOF" => "iso-8859-7",
        "UNOG" => "iso-8859-3",
        "UNOH" => "iso-8859-4",
        "UNOI" => "iso-8859-6",
        "UNOJ" => "iso-8859-8",
        "UNOK" => "iso-8859-9",
        _ => "utf-8",
    };
    Encoding::for_label(label.as_bytes()).unwrap_or(UTF_8)
}

/// The elements and components of a segment.
pub(super) fn split(text: &str, separators: Separators) -> Segment {
    let is = |character: char, byte: u8| character == char::from(byte);
    let mut elements = vec![vec![String::new()]];
    let mut released = false;
    for character in text.chars() {
        if !released {
            if separators.release.is_some_and(|release| is(character, release)) {
                released = true;
                continue;
            }
            if is(character, separators.element) {
                elements.push(vec![String::new()]);
                continue;
            }
            if separators.component.is_some_and(|component| is(character, component)) {
                elements.last_mut().into_iter().for_each(|last| last.push(String::new()));
                continue;
            }
        }
        released = false;
        let component = elements.last_mut().and_then(|element| element.last_mut());
        component.into_iter().for_each(|component| component.push(character));
    }
    let tag = elements.remove(0).into_iter().next().unwrap_or_default();
    Segment { tag, elements }
}
