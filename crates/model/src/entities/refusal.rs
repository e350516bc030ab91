use odata::{DecimalError, EntityId, ODataErrorBody, ParseError};

use crate::entities::{AccessKind, FixedDecimal};

/// Why the Domain API refuses a request. An answer to the caller, not a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntityRefusal {
    /// The URL or the body could not be read.
    Unreadable(ParseError),
    /// Part of `OData` or of the documentation, but not supported by this server.
    Unsupported(String),
    Forbidden {
        set: &'static str,
        access: AccessKind,
    },
    UnknownSet(String),
    UnknownEntity(EntityId),
    UnknownMember {
        entity: &'static str,
        member: String,
    },
    /// A known option that does not apply to this resource and method.
    OutOfPlace(&'static str),
    /// The model does not allow this comparison of the member.
    NotFilterable {
        member: String,
        comparison: String,
    },
    /// A filter's path crosses a reference that is not filterable.
    NotCrossable {
        reference: &'static str,
    },
    NotOrderable {
        member: &'static str,
    },
    WrongValue {
        member: String,
        expected: &'static str,
    },
    /// Numbers are never rounded.
    TooPrecise {
        member: String,
        places: u32,
    },
    Missing {
        member: &'static str,
    },
    TooLong {
        member: &'static str,
        longest: usize,
    },
    /// The target of a reference or a code in the body does not exist.
    NothingThere {
        member: &'static str,
        value: String,
    },
    OutOfOrder {
        from: String,
        thru: String,
        rule: u32,
    },
    /// The currency of the line differs from that of the order.
    OtherCurrency {
        member: &'static str,
        given: String,
        effective: String,
    },
    /// The bound unit differs from the quantity's unit (`domain-api.md` §3.4).
    OtherUnit {
        member: &'static str,
        quantity: &'static str,
    },
    Closed {
        table: &'static str,
    },
    DuplicateKey {
        table: &'static str,
        member: &'static str,
        value: String,
    },
    Referenced {
        table: &'static str,
        by: &'static str,
    },
    /// The aggregate was changed after the caller read it.
    OutOfDate {
        given: i64,
        current: i64,
    },
    /// The entity's tag does not satisfy `If-Match` or `If-None-Match` (RFC 9110 §13.2.2).
    PreconditionFailed {
        current: i64,
    },
    /// Concurrent changes to the aggregate prevented every attempt.
    Busy,
}

impl From<ParseError> for EntityRefusal {
    fn from(problem: ParseError) -> Self {
        match problem {
            ParseError::Unsupported(what) => Self::Unsupported(what),
            problem => Self::Unreadable(problem),
        }
    }
}

impl EntityRefusal {
    pub(super) fn of_unfit(member: &str, unfit: DecimalError) -> Self {
        let member = member.to_owned();
        match unfit {
            DecimalError::TooPrecise => Self::TooPrecise { member, places: FixedDecimal::PLACES },
            DecimalError::TooLarge => {
                Self::WrongValue { member, expected: "a number from -9223372036854 to 9223372036854" }
            }
        }
    }

    /// The error for the caller (`domain-api.md` §3.9). The numbers are specific to Gatehouse, except 2129 for a
    /// duplicate key.
    pub fn body(&self) -> ODataErrorBody {
        let (kind, code, format, parameters) = self.parts();
        ODataErrorBody::new(kind, code, format, parameters)
    }

    fn parts(&self) -> (&'static str, i32, &'static str, Vec<String>) {
        let text = |text: &str| text.to_owned();
        match self {
            Self::Unreadable(problem) => ("FormatException", 2001, "{0}", vec![problem.to_string()]),
            Self::Unsupported(what) => ("NotSupportedException", 2002, "'{0}' is not supported.", vec![text(what)]),
            Self::Forbidden { set, access } => (
                "AccessDeniedException",
                2003,
                "The user's roles do not allow {0} access to '{1}'.",
                vec![format!("{access:?}").to_lowercase(), text(set)],
            ),
            Self::UnknownSet(set) => ("NotFoundException", 2004, "There is no entity set '{0}'.", vec![text(set)]),
            Self::UnknownEntity(id) => ("NotFoundException", 2005, "There is no entity '{0}'.", vec![id.to_string()]),
            Self::UnknownMember { entity, member } => {
                ("ArgumentException", 2006, "'{0}' has no member '{1}'.", vec![text(entity), text(member)])
            }
            Self::OutOfPlace(option) => ("ArgumentException", 2007, "'{0}' has no meaning here.", vec![text(option)]),
            Self::NotFilterable { member, comparison } => (
                "ArgumentException",
                2008,
                "'{0}' cannot be filtered with '{1}'.",
                vec![text(member), text(comparison)],
            ),
            Self::NotCrossable { reference } => (
                "ArgumentException",
                2009,
                "The reference '{0}' is not filterable, so no path may cross it.",
                vec![text(reference)],
            ),
            Self::NotOrderable { member } => {
                ("ArgumentException", 2010, "Entities cannot be ordered by '{0}'.", vec![text(member)])
            }
            Self::WrongValue { member, expected } => {
                ("ArgumentException", 2011, "'{0}' takes {1}.", vec![text(member), text(expected)])
            }
            Self::TooPrecise { member, places } => {
                ("ArgumentException", 2016, "'{0}' takes at most {1} decimals.", vec![text(member), places.to_string()])
            }
            Self::Missing { member } => ("ValidationException", 2101, "'{0}' is required.", vec![text(member)]),
            Self::TooLong { member, longest } => (
                "ValidationException",
                2102,
                "'{0}' takes at most {1} characters.",
                vec![text(member), longest.to_string()],
            ),
            Self::NothingThere { member, value } => {
                ("ValidationException", 2103, "'{0}': there is no '{1}'.", vec![text(member), text(value)])
            }
            Self::OutOfOrder { from, thru, rule } => (
                "ConstraintException",
                2104,
                "The date {1} is before the date {0}. (Constraint R{2})",
                vec![text(from), text(thru), rule.to_string()],
            ),
            Self::OtherCurrency { member, given, effective } => (
                "ValidationException",
                2105,
                "'{0}' is in '{1}', the document is in '{2}'.",
                vec![text(member), text(given), text(effective)],
            ),
            Self::OtherUnit { member, quantity } => {
                ("ValidationException", 2107, "'{0}' is not the unit of '{1}'.", vec![text(member), text(quantity)])
            }
            Self::Closed { table } => (
                "ConstraintException",
                2106,
                "The document in '{0}' is released and changes by operations only.",
                vec![text(table)],
            ),
            Self::DuplicateKey { table, member, value } => (
                "DuplicateKeyException",
                2129,
                "'{0}' already has an entry whose '{1}' is '{2}'.",
                vec![text(table), text(member), text(value)],
            ),
            Self::Referenced { table, by } => (
                "ReferenceException",
                2130,
                "The entry of '{0}' is referenced from '{1}'.",
                vec![text(table), text(by)],
            ),
            Self::OutOfDate { given, current } => (
                "ConcurrencyException",
                2131,
                "ObjectVersion {0} is out of date, the current one is {1}.",
                vec![given.to_string(), current.to_string()],
            ),
            Self::PreconditionFailed { current } => (
                "ConcurrencyException",
                2133,
                "The request's precondition does not hold: the entity's ETag is W/\"{0}\".",
                vec![current.to_string()],
            ),
            Self::Busy => ("ConcurrencyException", 2132, "The entry is being changed, try again.", Vec::new()),
        }
    }
}
