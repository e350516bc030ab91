use uuid::Uuid;

use crate::entity_id::parse_guid;
use crate::{Decimal, ParseError, parse_instant};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// A name, operator or keyword. It may contain dots (`Erp.State`) or begin with `$` or `@`.
    Word(&'a str),
    Text(String),
    Number(Decimal),
    Guid(Uuid),
    Instant(i64),
    Slash,
    Open,
    Close,
    Comma,
    Star,
    End,
}

/// The tokens of an option's value, with one token of lookahead.
pub(crate) struct TokenReader<'a> {
    place: &'static str,
    text: &'a str,
    next: usize,
    start: usize,
    current: Token<'a>,
}

impl<'a> TokenReader<'a> {
    pub(crate) fn new(place: &'static str, text: &'a str) -> Result<Self, ParseError> {
        let mut tokens = Self { place, text, next: 0, start: 0, current: Token::End };
        tokens.advance()?;
        Ok(tokens)
    }

    pub(crate) fn peek(&self) -> &Token<'a> {
        &self.current
    }

    pub(crate) fn take(&mut self) -> Result<Token<'a>, ParseError> {
        self.advance()
    }

    /// Consumes the current token if it is `wanted`.
    pub(crate) fn accept(&mut self, wanted: &Token<'_>) -> Result<bool, ParseError> {
        let found = self.current == *wanted;
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    pub(crate) fn expect(&mut self, wanted: &Token<'_>, name: &'static str) -> Result<(), ParseError> {
        if self.accept(wanted)? { Ok(()) } else { Err(self.syntax(name)) }
    }

    /// Consumes the current token if it is one of `words`, in any case, and returns the word.
    pub(crate) fn accept_word(&mut self, words: &[&'static str]) -> Result<Option<&'static str>, ParseError> {
        let Token::Word(found) = self.current else {
            return Ok(None);
        };
        let word = words.iter().find(|word| word.eq_ignore_ascii_case(found)).copied();
        if word.is_some() {
            self.advance()?;
        }
        Ok(word)
    }

    /// A syntax error: the current token is not `expected`.
    pub(crate) fn syntax(&self, expected: &'static str) -> ParseError {
        ParseError::Syntax { place: self.place, at: self.start, expected }
    }

    /// Reads the next token and returns the current one.
    fn advance(&mut self) -> Result<Token<'a>, ParseError> {
        let rest = &self.text[self.next..];
        let rest = rest.trim_start_matches([' ', '\t']);
        self.start = self.text.len() - rest.len();
        let (token, length) = self.read(rest)?;
        self.next = self.start + length;
        Ok(std::mem::replace(&mut self.current, token))
    }

    fn read(&self, rest: &'a str) -> Result<(Token<'a>, usize), ParseError> {
        let Some(first) = rest.bytes().next() else {
            return Ok((Token::End, 0));
        };
        let single = match first {
            b'/' => Some(Token::Slash),
            b'(' => Some(Token::Open),
            b')' => Some(Token::Close),
            b',' => Some(Token::Comma),
            b'*' => Some(Token::Star),
            _ => None,
        };
        if let Some(token) = single {
            return Ok((token, 1));
        }
        if first == b'\'' {
            return self.read_text(rest);
        }
        let run = length_of(rest, |b| b.is_ascii_alphanumeric() || b"_.-:+$@".contains(&b));
        if let Some(guid) = parse_guid(&rest[..run]) {
            return Ok((Token::Guid(guid), run));
        }
        if first.is_ascii_digit() || first == b'-' {
            let split = split_at_plus(rest, run);
            let token = split.or_else(|| Some((literal(&rest[..run])?, run)));
            return token.ok_or_else(|| self.syntax("a number, a date or a GUID"));
        }
        if first.is_ascii_alphabetic() || matches!(first, b'_' | b'$' | b'@') {
            let length = 1 + length_of(&rest[1..], |b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'));
            return Ok((Token::Word(&rest[..length]), length));
        }
        Err(self.syntax("a name or a literal"))
    }

    /// A quoted string, in which quotes are doubled (`OData` ABNF `string`).
    fn read_text(&self, rest: &'a str) -> Result<(Token<'a>, usize), ParseError> {
        let mut text = String::new();
        let mut at = 1;
        loop {
            let Some(quote) = rest[at..].find('\'') else {
                return Err(self.syntax("a closing quote"));
            };
            text.push_str(&rest[at..at + quote]);
            at += quote + 1;
            if !rest[at..].starts_with('\'') {
                return Ok((Token::Text(text), at));
            }
            text.push('\'');
            at += 1;
        }
    }
}

fn literal(text: &str) -> Option<Token<'static>> {
    let number = Decimal::parse(text).map(Token::Number);
    number.or_else(|| parse_instant(text).map(Token::Instant))
}

/// A `+` in a URL arrives as a blank, even that of an offset (`T10:00:00+03:00`) or an exponent (`1e+3`). Two literals
/// never follow each other, so a blank between two texts that form one literal was such a `+`.
fn split_at_plus(text: &str, run: usize) -> Option<(Token<'static>, usize)> {
    let after = text[run..].strip_prefix(' ')?;
    let more = length_of(after, |b| b.is_ascii_digit() || b == b':');
    let joined = [&text[..run], "+", &after[..more]].concat();
    literal(&joined).filter(|_| more > 0).map(|token| (token, run + 1 + more))
}

fn length_of(text: &str, belongs: impl Fn(u8) -> bool) -> usize {
    text.bytes().position(|b| !belongs(b)).unwrap_or(text.len())
}
