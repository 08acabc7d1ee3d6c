//! A JSON text taken apart (RFC 8259), with each value's place and each number's own characters.

use std::borrow::Cow;

use super::Fault;
use crate::path::Path;

/// Most arrays and objects within each other: more would exhaust the stack.
const MAX_DEPTH: usize = 128;

/// A value, and where it stands.
#[derive(Clone, Debug)]
pub struct Json<'a> {
    /// The offset of its first byte.
    pub(super) at: usize,
    pub(super) node: Node<'a>,
}

/// What a value is: what JSON has, and what only other formats have.
#[derive(Clone, Debug)]
pub enum Node<'a> {
    /// Nothing.
    Null,
    /// True or false.
    Boolean(bool),
    /// A number, by its characters as JSON writes them.
    Number(Cow<'a, str>),
    /// A text.
    Text(Cow<'a, str>),
    /// Bytes, which JSON writes in base64.
    Bytes(Vec<u8>),
    /// What can be read as nothing, and why: `the number 7, which has no name`. It does no harm where
    /// the schema lacks its field.
    Wrong(String),
    /// A list.
    Array(Vec<Json<'a>>),
    /// Names and values.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

/// A value that stands in no text.
impl<'a> From<Node<'a>> for Json<'a> {
    fn from(node: Node<'a>) -> Self {
        Self { at: 0, node }
    }
}

pub(super) fn parse(bytes: &[u8]) -> Result<Json<'_>, Fault> {
    let text = std::str::from_utf8(bytes)
        .map_err(|cause| fault(cause.valid_up_to(), "the text is not UTF-8"))?;
    // Editors and spreadsheets of Windows write a byte order mark.
    let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut parser = Parser { text, at, depth: 0 };
    let value = parser.value()?;
    parser.space();
    match parser.peek() {
        None => Ok(value),
        Some(_) => Err(fault(parser.at, "something follows the value")),
    }
}

fn fault(at: usize, cause: &str) -> Fault {
    Fault { path: Path::root(), at, cause: cause.to_owned() }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let next = self.peek() == Some(byte);
        self.at += usize::from(next);
        next
    }

    /// What stands where something else should.
    fn unexpected(&self, wanted: &str) -> Fault {
        let found = self.text.get(self.at..).and_then(|rest| rest.chars().next());
        match found {
            Some(found) => {
                fault(self.at, &format!("{wanted} is expected, not `{}`", found.escape_debug()))
            }
            None => fault(self.at, &format!("{wanted} is expected, and the text ends")),
        }
    }

    fn value(&mut self) -> Result<Json<'a>, Fault> {
        self.space();
        let at = self.at;
        let node = match self.peek() {
            Some(b'{') => self.nested(Self::object)?,
            Some(b'[') => self.nested(Self::array)?,
            Some(b'"') => Node::Text(self.string()?),
            Some(b'-' | b'0'..=b'9') => Node::Number(Cow::Borrowed(self.number()?)),
            _ => self.word()?,
        };
        Ok(Json { at, node })
    }

    fn nested(
        &mut self,
        read: fn(&mut Self) -> Result<Node<'a>, Fault>,
    ) -> Result<Node<'a>, Fault> {
        if self.depth == MAX_DEPTH {
            return Err(fault(self.at, &format!("values are nested more than {MAX_DEPTH} deep")));
        }
        self.depth += 1;
        self.at += 1;
        let node = read(self);
        self.depth -= 1;
        node
    }

    fn array(&mut self) -> Result<Node<'a>, Fault> {
        let mut items = Vec::new();
        self.space();
        if self.eat(b']') {
            return Ok(Node::Array(items));
        }
        loop {
            items.push(self.value()?);
            self.space();
            if self.eat(b']') {
                return Ok(Node::Array(items));
            }
            if !self.eat(b',') {
                return Err(self.unexpected("`,` or `]`"));
            }
        }
    }

    fn object(&mut self) -> Result<Node<'a>, Fault> {
        let mut fields = Vec::new();
        self.space();
        if self.eat(b'}') {
            return Ok(Node::Object(fields));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("a field's name in quotes"));
            }
            let name = self.string()?;
            self.space();
            if !self.eat(b':') {
                return Err(self.unexpected("`:`"));
            }
            fields.push((name, self.value()?));
            self.space();
            if self.eat(b'}') {
                return Ok(Node::Object(fields));
            }
            if !self.eat(b',') {
                return Err(self.unexpected("`,` or `}`"));
            }
        }
    }

    fn word(&mut self) -> Result<Node<'a>, Fault> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        for (word, node) in
            [("true", Node::Boolean(true)), ("false", Node::Boolean(false)), ("null", Node::Null)]
        {
            if rest.starts_with(word) {
                self.at += word.len();
                return Ok(node);
            }
        }
        Err(self.unexpected("a value"))
    }

    fn number(&mut self) -> Result<&'a str, Fault> {
        let start = self.at;
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _ = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(fault(start, "a number does not start with 0 before other digits"));
        }
        Ok(&self.text[start..self.at])
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if start == self.at { Err(self.unexpected("a digit")) } else { Ok(()) }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Fault> {
        self.at += 1;
        let mut text = Cow::Borrowed("");
        loop {
            let start = self.at;
            while self.peek().is_some_and(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
                self.at += 1;
            }
            let run = &self.text[start..self.at];
            match self.peek() {
                Some(b'"') if text.is_empty() => {
                    self.at += 1;
                    return Ok(Cow::Borrowed(run));
                }
                Some(b'"') => {
                    self.at += 1;
                    text.to_mut().push_str(run);
                    return Ok(text);
                }
                Some(b'\\') => {
                    self.at += 1;
                    let escaped = self.escape()?;
                    let text = text.to_mut();
                    text.push_str(run);
                    text.push(escaped);
                }
                Some(_) => {
                    return Err(fault(
                        self.at,
                        "a text holds a control character: write it as an escape",
                    ));
                }
                None => return Err(fault(self.at, "a text is not closed")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Fault> {
        let at = self.at;
        let byte = self.peek();
        let escaped = match byte {
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'u') => {
                self.at += 1;
                return self.unicode(at);
            }
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            _ => return Err(self.unexpected("an escape")),
        };
        self.at += 1;
        Ok(escaped)
    }

    /// Four hexadecimal digits, or twice four for what lies beyond (a surrogate pair).
    fn unicode(&mut self, at: usize) -> Result<char, Fault> {
        let first = self.hex()?;
        let point = if matches!(first, 0xd800..=0xdbff) && self.eat(b'\\') && self.eat(b'u') {
            let second = self.hex()?;
            let low = second.wrapping_sub(0xdc00);
            if low < 0x400 { 0x1_0000 + ((first - 0xd800) << 10) + low } else { first }
        } else {
            first
        };
        char::from_u32(point).ok_or_else(|| fault(at, "half of a surrogate pair is no character"))
    }

    fn hex(&mut self) -> Result<u32, Fault> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4);
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let number = number.ok_or_else(|| fault(self.at, "four hexadecimal digits follow \\u"))?;
        self.at += 4;
        Ok(number)
    }
}
