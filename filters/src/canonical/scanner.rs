//! The words of JSON (RFC 8259), read from a text one after another.
//!
//! Strings are not unescaped: one that is spelled as nearly all are comes back as it stands in the text. A
//! general parser resolves every escape into a copy, which at 256 KB took a third of the time of
//! forwarding; here nobody needs the copy.

use std::borrow::Cow;

use super::string::{End, Spelling, end};

pub struct Scanner<'body> {
    bytes: &'body [u8],
    at: usize,
}

/// Where the text stops being JSON.
#[derive(Debug, PartialEq)]
pub struct Malformed {
    pub at: usize,
}

#[derive(Debug, PartialEq)]
pub enum Number {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
}

impl<'body> Scanner<'body> {
    pub fn new(bytes: &'body [u8]) -> Self {
        Scanner { bytes, at: 0 }
    }

    /// Where what was not read yet begins, white space included.
    pub const fn at(&self) -> usize {
        self.at
    }

    pub fn malformed(&self) -> Malformed {
        Malformed { at: self.at }
    }

    /// The first byte of the next word, which stays to be read; none at the end.
    pub fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.bytes.get(self.at) {
            self.at += 1;
        }
        self.bytes.get(self.at).copied()
    }

    /// Whether the next word is this byte, and if so steps over it.
    pub fn takes(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    pub fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.takes(byte) { Ok(()) } else { Err(self.malformed()) }
    }

    /// A name such as `true`, at its first letter.
    pub fn name(&mut self, name: &str) -> Result<(), Malformed> {
        if !self.bytes[self.at..].starts_with(name.as_bytes()) {
            return Err(self.malformed());
        }
        self.at += name.len();
        Ok(())
    }

    /// A string, which must come next: in the spelling of serde_json, which escapes only what it must
    /// and each of these in one way, and without the quotes.
    pub fn string(&mut self) -> Result<Cow<'body, [u8]>, Malformed> {
        self.expect(b'"')?;
        let start = self.at;
        let End { at, spelling } = end(self.bytes, start)?;
        self.at = at + 1;
        // Checked here and not for the whole text at once: what was just looked at is still at hand.
        let text = simdutf8::basic::from_utf8(&self.bytes[start..at]).map_err(|_| Malformed { at: start })?;
        match spelling {
            Spelling::Usual => Ok(Cow::Borrowed(text.as_bytes())),
            Spelling::Other => respelled(text).map(Cow::Owned).ok_or(Malformed { at: start }),
        }
    }

    /// A number, at its first character.
    pub fn number(&mut self) -> Result<Number, Malformed> {
        let start = self.at;
        let negative = self.takes_now(b'-');
        let zero = self.takes_now(b'0');
        if !zero {
            self.digits()?;
        }
        let fraction = self.takes_now(b'.');
        if fraction {
            self.digits()?;
        }
        let exponent = self.takes_now(b'e') || self.takes_now(b'E');
        if exponent {
            let _ = self.takes_now(b'+') || self.takes_now(b'-');
            self.digits()?;
        }
        let digits = std::str::from_utf8(&self.bytes[start..self.at]).map_err(|_| Malformed { at: start })?;
        let integer = (!fraction && !exponent).then(|| match negative {
            true => digits.parse().map(Number::Signed).ok(),
            false => digits.parse().map(Number::Unsigned).ok(),
        });
        match (integer.flatten(), digits.parse::<f64>()) {
            (Some(integer), _) => Ok(integer),
            (None, Ok(float)) if float.is_finite() => Ok(Number::Float(float)),
            _ => Err(Malformed { at: start }),
        }
    }

    fn takes_now(&mut self, byte: u8) -> bool {
        let found = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), Malformed> {
        let count = self.bytes[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count == 0 { Err(self.malformed()) } else { Ok(()) }
    }
}

/// A string in its usual spelling; none where its escapes are none.
fn respelled(text: &str) -> Option<Vec<u8>> {
    let meaning: String = serde_json::from_str(&format!("\"{text}\"")).ok()?;
    let mut spelled = serde_json::to_vec(&meaning).ok()?;
    spelled.pop();
    spelled.remove(0);
    Some(spelled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str) -> Result<Vec<u8>, Malformed> {
        Scanner::new(format!("\"{text}").as_bytes()).string().map(Cow::into_owned)
    }

    #[test]
    fn a_string_ends_at_its_quote_wherever_blocks_begin() {
        for length in 0..200 {
            for piece in ["x", r"\n", r#"\""#, r"\\", "é"] {
                for shift in 0..2 {
                    let content = format!("{}{}", "y".repeat(shift), piece.repeat(length));
                    let text = format!("\"{content}\" \"and more\\");
                    let mut scanner = Scanner::new(text.as_bytes());
                    assert_eq!(scanner.string().unwrap(), content.as_bytes(), "{length} times {piece}");
                    assert_eq!(scanner.at, content.len() + 2);
                }
            }
        }
    }

    #[test]
    fn what_is_no_string_is_malformed_wherever_blocks_begin() {
        for length in 0..200 {
            let plain = "x".repeat(length);
            for wrong in ["", "\\", "\\\"", "\u{1}\"", "\\x\"", "\\u12\"", "\\ud800\"", "\n\"", "\0\""] {
                assert!(string(&format!("{plain}{wrong}")).is_err(), "{length} and then {wrong:?}");
            }
        }
    }

    #[test]
    fn numbers_are_those_of_the_standard() {
        let number = |text: &str| {
            let mut scanner = Scanner::new(text.as_bytes());
            scanner.number().ok().filter(|_| scanner.at == text.len())
        };
        assert_eq!(number("0"), Some(Number::Unsigned(0)));
        assert_eq!(number("18446744073709551615"), Some(Number::Unsigned(u64::MAX)));
        assert_eq!(number("-9223372036854775808"), Some(Number::Signed(i64::MIN)));
        assert_eq!(number("18446744073709551616"), Some(Number::Float(18_446_744_073_709_551_616.0)));
        assert_eq!(number("-1.50E+2"), Some(Number::Float(-150.0)));
        for wrong in ["", "-", "01", "1.", ".5", "+1", "1e", "1e+", "0x1", "1e999", "--1", "NaN"] {
            assert_eq!(number(wrong), None, "{wrong}");
        }
    }
}
