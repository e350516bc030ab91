use uuid::Uuid;

use crate::token::{Token, TokenReader};
use crate::{Decimal, ParseError};

/// The supported part of `$filter`: terms combined with `and`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter(pub Vec<Term>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Term {
    Compare {
        path: Path,
        operator: Operator,
        literal: Literal,
    },
    In {
        path: Path,
        literals: Vec<Literal>,
    },
    /// A boolean function of a path and a literal. The name is as written and is not checked here.
    Call {
        function: String,
        path: Path,
        literal: Literal,
    },
}

/// Member names joined by `/`; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(pub Vec<String>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Equal,
    AtLeast,
    AtMost,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Literal {
    Null,
    Boolean(bool),
    Number(Decimal),
    Guid(Uuid),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Instant(i64),
    Text(String),
    /// `Namespace.Type'Member'`.
    Enum {
        type_name: String,
        member: String,
    },
}

const MAX_NODES: usize = 200;
const MAX_DEPTH: usize = 32;
const MAX_SEGMENTS: usize = 8;
const PLACE: &str = "$filter";

/// Operators of the standard that this server does not support (`OData` URL Conventions 4.01 §5.1.1).
const UNSUPPORTED: &[&str] = &["or", "ne", "gt", "lt", "has", "add", "sub", "mul", "div", "divby", "mod"];

impl Filter {
    pub(crate) fn parse(text: &str) -> Result<Self, ParseError> {
        let mut parser = Parser { tokens: TokenReader::new(PLACE, text)?, terms: Vec::new(), nodes: 0 };
        parser.conjunction(0)?;
        parser.tokens.expect(&Token::End, "'and' or the end")?;
        Ok(Self(parser.terms))
    }
}

struct Parser<'a> {
    tokens: TokenReader<'a>,
    terms: Vec<Term>,
    nodes: usize,
}

impl Parser<'_> {
    fn conjunction(&mut self, depth: usize) -> Result<(), ParseError> {
        if depth > MAX_DEPTH {
            return Err(too_many(MAX_DEPTH, "levels of parentheses"));
        }
        loop {
            if self.tokens.accept(&Token::Open)? {
                self.conjunction(depth + 1)?;
                self.tokens.expect(&Token::Close, "'and' or ')'")?;
            } else {
                let term = self.term()?;
                self.terms.push(term);
            }
            self.refuse_unsupported()?;
            if self.tokens.accept_word(&["and"])?.is_none() {
                return Ok(());
            }
        }
    }

    fn term(&mut self) -> Result<Term, ParseError> {
        self.count()?;
        if self.tokens.accept_word(&["not"])?.is_some() {
            return Err(ParseError::Unsupported("not".to_owned()));
        }
        let path = self.path()?;
        if *self.tokens.peek() == Token::Open {
            return self.call(path);
        }
        self.refuse_unsupported()?;
        let Some(word) = self.tokens.accept_word(&["eq", "ge", "le", "in"])? else {
            return Err(self.tokens.syntax("an operator"));
        };
        let operator = match word {
            "eq" => Operator::Equal,
            "ge" => Operator::AtLeast,
            "le" => Operator::AtMost,
            _ => {
                let literals = self.list()?;
                return Ok(Term::In { path, literals });
            }
        };
        let literal = self.literal()?;
        Ok(Term::Compare { path, operator, literal })
    }

    fn call(&mut self, mut name: Path) -> Result<Term, ParseError> {
        let function = name.0.pop().expect("a path has at least one segment");
        if !name.0.is_empty() {
            return Err(ParseError::Unsupported(function)); // a lambda or a bound function
        }
        self.tokens.expect(&Token::Open, "'('")?;
        let path = self.path()?;
        if let (Token::Open, Some(inner)) = (self.tokens.peek(), path.0.last()) {
            return Err(ParseError::Unsupported(inner.clone()));
        }
        self.refuse_unsupported()?;
        if *self.tokens.peek() == Token::Close {
            return Err(ParseError::Unsupported(function)); // of one argument: a value, not a condition
        }
        self.tokens.expect(&Token::Comma, "','")?;
        let literal = self.literal()?;
        self.refuse_unsupported()?;
        if *self.tokens.peek() == Token::Comma {
            return Err(ParseError::Unsupported(function));
        }
        self.tokens.expect(&Token::Close, "')'")?;
        if self.tokens.accept_word(&["eq", "ge", "le", "in"])?.is_some() {
            return Err(ParseError::Unsupported(function)); // compared, not asked
        }
        Ok(Term::Call { function, path, literal })
    }

    fn path(&mut self) -> Result<Path, ParseError> {
        let mut segments = Vec::new();
        loop {
            let name = match self.tokens.peek() {
                Token::Word(name) => *name,
                Token::Text(_) | Token::Number(_) | Token::Guid(_) | Token::Instant(_) if segments.is_empty() => {
                    return Err(ParseError::Unsupported("a literal on the left".to_owned()));
                }
                _ => return Err(self.tokens.syntax("a member's name")),
            };
            if name.starts_with(['$', '@']) || name.contains('.') {
                return Err(ParseError::Unsupported(name.to_owned()));
            }
            segments.push(name.to_owned());
            if segments.len() > MAX_SEGMENTS {
                return Err(too_many(MAX_SEGMENTS, "segments in a path"));
            }
            self.tokens.take()?;
            if !self.tokens.accept(&Token::Slash)? {
                return Ok(Path(segments));
            }
        }
    }

    fn list(&mut self) -> Result<Vec<Literal>, ParseError> {
        self.tokens.expect(&Token::Open, "'('")?;
        let mut literals = vec![self.literal()?];
        while self.tokens.accept(&Token::Comma)? {
            literals.push(self.literal()?);
        }
        self.tokens.expect(&Token::Close, "',' or ')'")?;
        Ok(literals)
    }

    fn literal(&mut self) -> Result<Literal, ParseError> {
        self.count()?;
        let literal = match self.tokens.peek().clone() {
            Token::Text(text) => Literal::Text(text),
            Token::Number(number) => Literal::Number(number),
            Token::Guid(guid) => Literal::Guid(guid),
            Token::Instant(micros) => Literal::Instant(micros),
            Token::Word(word) => return self.word_literal(word),
            _ => return Err(self.tokens.syntax("a literal")),
        };
        self.tokens.take()?;
        Ok(literal)
    }

    fn word_literal(&mut self, word: &str) -> Result<Literal, ParseError> {
        self.tokens.take()?;
        let member = match self.tokens.peek() {
            Token::Text(member) => Some(member.clone()),
            _ => None,
        };
        let literal = match (word, member) {
            ("null", None) => Literal::Null,
            ("true", None) => Literal::Boolean(true),
            ("false", None) => Literal::Boolean(false),
            (name, Some(member)) if name.contains('.') => {
                self.tokens.take()?;
                let type_name = name.to_owned();
                Literal::Enum { type_name, member }
            }
            (name, _) => return Err(ParseError::Unsupported(format!("{name} on the right"))),
        };
        Ok(literal)
    }

    fn refuse_unsupported(&mut self) -> Result<(), ParseError> {
        match self.tokens.accept_word(UNSUPPORTED)? {
            Some(word) => Err(ParseError::Unsupported(word.to_owned())),
            None => Ok(()),
        }
    }

    fn count(&mut self) -> Result<(), ParseError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(too_many(MAX_NODES, "comparisons and literals"));
        }
        Ok(())
    }
}

const fn too_many(limit: usize, unit: &'static str) -> ParseError {
    ParseError::TooMany { place: PLACE, limit, unit }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        Path(text.split('/').map(str::to_owned).collect())
    }

    fn equals(name: &str, literal: Literal) -> Term {
        Term::Compare { path: path(name), operator: Operator::Equal, literal }
    }

    fn text(text: &str) -> Literal {
        Literal::Text(text.to_owned())
    }

    fn number(digits: &str) -> Literal {
        Literal::Number(Decimal::parse(digits).expect("a number"))
    }

    const GUID: &str = "c0000000-0000-4000-8000-000000001001";

    #[test]
    fn every_kind_of_literal_is_read() {
        let guid = Literal::Guid(GUID.parse().expect("a guid"));
        for (written, read) in [
            ("A eq null", Literal::Null),
            ("A eq true", Literal::Boolean(true)),
            ("A EQ false", Literal::Boolean(false)),
            ("A eq -12.5", number("-12.5")),
            ("A eq 'it''s'", text("it's")),
            ("A eq ''", text("")),
            ("A eq ''''", text("'")),
            ("A eq c0000000-0000-4000-8000-000000001001", guid.clone()),
            ("A eq C0000000-0000-4000-8000-000000001001", guid),
            ("A eq 1970-01-02Z", Literal::Instant(86_400_000_000)),
            ("A eq 1970-01-01T00:00:01.5+00:00", Literal::Instant(1_500_000)),
            ("A eq 1970-01-01T03:00:01.5 03:00", Literal::Instant(1_500_000)),
            ("A eq 1e 3", number("1e3")),
            ("A eq Erp.State'New'", Literal::Enum { type_name: "Erp.State".to_owned(), member: "New".to_owned() }),
        ] {
            assert_eq!(Filter::parse(written), Ok(Filter(vec![equals("A", read)])), "{written}");
        }
    }

    #[test]
    fn terms_are_joined_by_and_with_blanks_and_parentheses_where_they_may_be() {
        let expected = Filter(vec![
            Term::Call { function: "contains".to_owned(), path: path("Party/Name"), literal: text("a b") },
            Term::Compare { path: path("N"), operator: Operator::AtLeast, literal: number("5") },
            Term::In { path: path("and"), literals: vec![number("1"), number("2")] },
        ]);
        for written in [
            "contains(Party/Name,'a b') and N ge 5 and and in (1,2)",
            " ( contains( Party / Name , 'a b' ) and ( N  ge  5 ) )and(and in(1, 2)) ",
            "contains(Party/Name,'a b') AND (N GE 5 aNd and IN ( 1 ,2 ))",
        ] {
            assert_eq!(Filter::parse(written), Ok(expected.clone()), "{written}");
        }
    }

    #[test]
    fn what_odata_has_and_we_have_not_is_named() {
        for (written, named) in [
            ("A eq 1 or B eq 2", "or"),
            ("(A eq 1) OR (B eq 2)", "or"),
            ("not contains(A,'x')", "not"),
            ("not (A eq 1)", "not"),
            ("A ne 1", "ne"),
            ("A gt 1", "gt"),
            ("A lt 1", "lt"),
            ("A has Erp.Flags'B'", "has"),
            ("A add 1 eq 2", "add"),
            ("A eq 1 sub 1", "sub"),
            ("Lines/any(l:l/A eq 1)", "any"),
            ("contains(tolower(A),'x')", "tolower"),
            ("length(A) eq 3", "length"),
            ("contains(A,'x') eq true", "contains"),
            ("substring(A,1,2) eq 'x'", "substring"),
            ("$it/A eq 1", "$it"),
            ("A eq @p", "@p on the right"),
            ("A eq B", "B on the right"),
            ("A eq duration'P1D'", "duration on the right"),
            ("'x' eq A", "a literal on the left"),
            ("Erp.Type/A eq 1", "Erp.Type"),
        ] {
            assert_eq!(Filter::parse(written), Err(ParseError::Unsupported(named.to_owned())), "{written}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused_with_its_place() {
        for (written, position) in [
            ("", 0),
            ("A", 1),
            ("A eq", 4),
            ("A eq 'x", 5),
            ("A eq 1 and", 10),
            ("A eq 1 B eq 2", 7),
            ("(A eq 1", 7),
            ("A eq 1)", 6),
            ("A in 1", 5),
            ("A in ()", 6),
            ("A in (1,)", 8),
            ("A eq 12x", 5),
            ("A eq 1-2", 5),
            ("A eq 1 2", 7),
            ("A eq 2026-01-01 03:00", 16),
            ("A eq 2026-01-01T00:00Z 03:00", 23),
            ("A eq 2026-01-01T00:00  03:00", 23),
            ("A//B eq 1", 2),
            ("contains A,'x')", 9),
            ("contains(A 'x')", 11),
            ("A eq #", 5),
            ("é eq 1", 0),
            ("A ~ 1", 2),
        ] {
            match Filter::parse(written) {
                Err(ParseError::Syntax { at, .. }) => assert_eq!(at, position, "{written}"),
                other => panic!("{written}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_filter_is_bounded_in_nodes_depth_and_path() {
        let terms = |n: usize| vec!["A eq 1"; n].join(" and ");
        assert_eq!(Filter::parse(&terms(100)).map(|f| f.0.len()), Ok(100));
        assert!(matches!(Filter::parse(&terms(101)), Err(ParseError::TooMany { limit: 200, .. })));
        let list = |n: usize| format!("A in ({})", vec!["1"; n].join(","));
        assert!(Filter::parse(&list(199)).is_ok());
        assert!(matches!(Filter::parse(&list(200)), Err(ParseError::TooMany { limit: 200, .. })));
        let nested = |n: usize| format!("{}A eq 1{}", "(".repeat(n), ")".repeat(n));
        assert!(Filter::parse(&nested(32)).is_ok());
        assert!(matches!(Filter::parse(&nested(33)), Err(ParseError::TooMany { limit: 32, .. })));
        assert!(matches!(Filter::parse(&nested(8000)), Err(ParseError::TooMany { limit: 32, .. })));
        let long = |n: usize| format!("{} eq 1", vec!["A"; n].join("/"));
        assert!(Filter::parse(&long(8)).is_ok());
        assert!(matches!(Filter::parse(&long(9)), Err(ParseError::TooMany { limit: 8, .. })));
    }
}
