//! Values within values: hands each word of a body to the writer of its form.

use super::Question;
use super::scanner::{Malformed, Number, Scanner};
use super::writer::{Scalar, Shorten, Writer};

/// Objects and lists within each other at most.
const DEEPEST: u8 = 127;

/// Why a body has no form.
pub enum Wrong {
    Malformed(Malformed),
    /// With its name if it stands in the outermost object.
    DuplicateKey(String),
    NotAnObject,
}

impl From<Malformed> for Wrong {
    fn from(malformed: Malformed) -> Self {
        Wrong::Malformed(malformed)
    }
}

pub struct Written {
    pub form: Vec<u8>,
    pub question: Question,
    /// A number did not fit: two different numbers may look alike, so the bytes themselves must count.
    pub imprecise: bool,
}

pub struct Reader<'body> {
    scanner: Scanner<'body>,
    writer: Writer,
    question: Question,
    imprecise: bool,
    /// Members of the outermost object that the form leaves out.
    without: &'static [&'static [u8]],
}

impl<'body> Reader<'body> {
    pub fn new(body: &'body [u8], shorten: Shorten) -> Self {
        let writer = Writer::new(body.len(), shorten);
        let scanner = Scanner::new(body);
        Reader { scanner, writer, question: Question::default(), imprecise: false, without: &[] }
    }

    /// Leaves these members of the outermost object out. Whether one stands there twice is not seen then.
    pub fn without(self, members: &'static [&'static [u8]]) -> Self {
        Reader { without: members, ..self }
    }

    /// Reads the whole text: one value, an object, and nothing behind it.
    pub fn read(mut self) -> Result<Written, Wrong> {
        let value = self.value(0)?;
        if self.scanner.peek().is_some() {
            return Err(self.scanner.malformed().into());
        }
        match value {
            Scalar::Object => {
                Ok(Written { form: self.writer.finish(), question: self.question, imprecise: self.imprecise })
            }
            _ => Err(Wrong::NotAnObject),
        }
    }

    fn value(&mut self, depth: u8) -> Result<Scalar, Wrong> {
        match self.scanner.peek() {
            Some(b'"') => Ok(self.writer.text(&self.scanner.string()?)),
            Some(b'{') => self.object(deeper(depth, &self.scanner)?),
            Some(b'[') => self.array(deeper(depth, &self.scanner)?),
            Some(b'-' | b'0'..=b'9') => Ok(self.number()?),
            Some(b't') => Ok(self.scanner.name("true").map(|()| self.writer.bool(true))?),
            Some(b'f') => Ok(self.scanner.name("false").map(|()| self.writer.bool(false))?),
            Some(b'n') => Ok(self.scanner.name("null").map(|()| self.writer.null())?),
            _ => Err(self.scanner.malformed().into()),
        }
    }

    fn number(&mut self) -> Result<Scalar, Malformed> {
        let number = self.scanner.number()?;
        if let Number::Float(value) = number {
            // An integer beyond 64 bits arrives as a float: some backends read it exactly.
            self.imprecise |= value.abs() >= i64::MAX as f64;
        }
        Ok(self.writer.number(&number))
    }

    fn array(&mut self, depth: u8) -> Result<Scalar, Wrong> {
        self.scanner.expect(b'[')?;
        self.writer.open_array();
        if !self.scanner.takes(b']') {
            loop {
                self.value(depth)?;
                if self.scanner.takes(b']') {
                    break;
                }
                self.scanner.expect(b',')?;
            }
        }
        Ok(self.writer.close_array())
    }

    fn object(&mut self, depth: u8) -> Result<Scalar, Wrong> {
        self.scanner.expect(b'{')?;
        let object = self.writer.open_object();
        if !self.scanner.takes(b'}') {
            loop {
                let key = self.writer.key(&self.scanner.string()?);
                self.scanner.expect(b':')?;
                let start = self.scanner.at();
                let value = self.value(depth)?;
                if depth == 1 {
                    if self.writer.is_any_of(&key, &[b"stream_options"]) {
                        self.question.stream_options = Some(start..self.scanner.at());
                    }
                    self.writer.note(&key, &value, &mut self.question);
                }
                if depth == 1 && self.writer.is_any_of(&key, self.without) {
                    self.writer.take_back(key);
                } else {
                    self.writer.member(key);
                }
                if self.scanner.takes(b'}') {
                    break;
                }
                self.scanner.expect(b',')?;
            }
        }
        // Keys further in may hold a prompt.
        let named = |key: String| Wrong::DuplicateKey(if depth == 1 { key } else { String::new() });
        self.writer.close_object(&object).map_err(named)
    }
}

fn deeper(depth: u8, scanner: &Scanner<'_>) -> Result<u8, Malformed> {
    if depth < DEEPEST { Ok(depth + 1) } else { Err(scanner.malformed()) }
}
