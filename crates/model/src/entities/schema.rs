//! Descriptions of entity types, which define the checks, the SQL and the responses.

/// The entity type of an entity set (`domain-api.md` §1.12).
#[derive(Debug)]
pub struct EntityType {
    pub set: &'static str,
    /// Singular, without the namespace.
    pub name: &'static str,
    /// The documented name of the table, used in messages.
    pub table: &'static str,
    /// Sets of base types. Ids of this type may use their names too.
    pub bases: &'static [&'static str],
    pub members: &'static [Member],
    /// Owned collections, which are known, but not served.
    pub collections: &'static [&'static str],
    /// The path to the value of `DisplayText`.
    pub display: &'static [&'static str],
    pub rules: &'static [AggregateRule],
}

#[derive(Debug)]
pub enum Member {
    Attribute(Attribute),
    Reference(Reference),
}

#[derive(Debug)]
pub struct Attribute {
    pub name: &'static str,
    /// The column that stores it. A derived attribute shares the column of another.
    pub column: &'static str,
    pub kind: AttributeKind,
    pub filters: FilterCapabilities,
    pub orderable: bool,
    pub nullable: bool,
    pub unique: bool,
    pub origin: ValueSource,
}

#[derive(Debug)]
pub struct Reference {
    pub name: &'static str,
    /// The set of the referenced entity.
    pub target: &'static str,
    pub nullable: bool,
    pub bond: ReferenceBond,
    /// Whether filter paths may cross the reference.
    pub filterable: bool,
    /// The quantity whose unit this is. It changes only with the quantity.
    pub follows: Option<&'static str>,
}

/// How strongly an entity is bound to a referenced one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceBond {
    Loose,
    /// Set at creation, then unchangeable.
    Fixed,
    /// Fixed, and the target owns this entity: both are versioned and deleted together.
    Owner,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributeKind {
    /// Maximum number of characters.
    Text(usize),
    Boolean,
    /// `Edm.Int32`.
    Integer,
    /// At most six decimal places.
    Decimal,
    /// With `exact`, filters compare the instant, otherwise its date (`domain-api.md` §2.3).
    Instant {
        exact: bool,
    },
    Guid,
    Enum(&'static Enumeration),
    /// One text per language, each with this maximum number of characters.
    Names(usize),
    Amount,
    Quantity,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Enumeration {
    pub name: &'static str,
    pub members: &'static [(&'static str, i64)],
}

/// The source of an attribute's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueSource {
    /// Written by clients; null by default.
    Written,
    /// Written by clients; by default this number or flag.
    Default(i64),
    /// This number, until an operation changes it.
    Fixed(i64),
    CreatedAt,
    CreatedBy,
    UpdatedAt,
    UpdatedBy,
    /// The column of another attribute.
    Derived,
    /// The row of the aggregate.
    System,
}

/// Comparisons allowed in filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterCapabilities(u8);

impl FilterCapabilities {
    pub const NONE: Self = Self(0);
    pub const EQUALS: Self = Self(1);
    /// `ge`, `le`.
    pub const RANGE: Self = Self(2);
    /// `contains` and similar.
    pub const LIKE: Self = Self(4);
    pub const IN: Self = Self(8);

    #[must_use]
    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn allow(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }
}

/// Rules of a whole aggregate, beyond those of single values (`domain-api.md` §3.5).
#[derive(Clone, Copy, Debug)]
pub enum AggregateRule {
    /// Two dates, the second not before the first. `number` is the public number of the rule.
    InOrder { from: &'static str, thru: &'static str, number: u32 },
    /// A document in this state or beyond is changed only by operations.
    OpenBelow { state: &'static str, rank: i64 },
    /// Amounts of the parts must be in the currency that this reference of the root leads to.
    OneCurrency { reference: &'static str },
}

impl EntityType {
    pub fn member(&self, name: &str) -> Option<&'static Member> {
        let system = SYSTEM.iter().filter(|member| member.name() != CHANGED_AT || self.owner().is_none());
        self.members.iter().chain(system).find(|member| member.name() == name)
    }

    pub fn attributes(&self) -> impl Iterator<Item = &'static Attribute> {
        self.members.iter().filter_map(|member| match member {
            Member::Attribute(attribute) => Some(attribute),
            Member::Reference(_) => None,
        })
    }

    pub fn references(&self) -> impl Iterator<Item = &'static Reference> {
        self.members.iter().filter_map(|member| match member {
            Member::Reference(reference) => Some(reference),
            Member::Attribute(_) => None,
        })
    }

    /// The type of the aggregate's root: the owner's, or this one.
    pub fn root(&'static self) -> &'static Self {
        self.owner().map_or(self, |owner| super::target_of(owner.target))
    }

    /// The reference to the owner; `None` for the root of an aggregate.
    pub fn owner(&self) -> Option<&'static Reference> {
        self.references().find(|reference| reference.bond == ReferenceBond::Owner)
    }
}

impl Member {
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Attribute(attribute) => attribute.name,
            Self::Reference(reference) => reference.name,
        }
    }
}

impl Enumeration {
    pub fn rank(&self, member: &str) -> Option<i64> {
        self.members.iter().find(|(name, _)| *name == member).map(|(_, rank)| *rank)
    }

    pub fn member(&self, rank: i64) -> Option<&'static str> {
        self.members.iter().find(|(_, known)| *known == rank).map(|(name, _)| *name)
    }
}

pub const ID: &str = "Id";
pub const VERSION: &str = "ObjectVersion";
pub const DISPLAY: &str = "DisplayText";
pub const CHANGED_AT: &str = "AggregateLastUpdateTimeUtc";

/// Members of every entity, shown only on request. The version and the stamp are those of the aggregate.
static SYSTEM: &[Member] = &[
    system(ID, AttributeKind::Guid, FilterCapabilities::EQUALS.and(FilterCapabilities::IN)),
    system(VERSION, AttributeKind::Integer, FilterCapabilities::NONE),
    system(DISPLAY, AttributeKind::Text(0), FilterCapabilities::NONE),
    system(
        CHANGED_AT,
        AttributeKind::Instant { exact: true },
        FilterCapabilities::EQUALS.and(FilterCapabilities::RANGE),
    ),
];

const fn system(name: &'static str, kind: AttributeKind, filters: FilterCapabilities) -> Member {
    let mut attribute = Attribute::new(name, kind, filters);
    attribute.origin = ValueSource::System;
    attribute.nullable = false;
    attribute.orderable = filters.allow(FilterCapabilities::EQUALS);
    Member::Attribute(attribute)
}

impl Attribute {
    const fn new(name: &'static str, kind: AttributeKind, filters: FilterCapabilities) -> Self {
        Self {
            name,
            column: name,
            kind,
            filters,
            orderable: true,
            nullable: true,
            unique: false,
            origin: ValueSource::Written,
        }
    }

    pub(super) const fn required(mut self) -> Self {
        self.nullable = false;
        self
    }

    /// The value is unique within the set and the instance.
    pub(super) const fn unique(mut self) -> Self {
        self.unique = true;
        self.required()
    }

    pub(super) const fn from(mut self, origin: ValueSource) -> Self {
        self.origin = origin;
        self
    }

    /// Never null. By default this number, or 0 or 1 for a flag.
    pub(super) const fn or(self, value: i64) -> Self {
        self.from(ValueSource::Default(value)).required()
    }

    /// Shows the value of another attribute's column.
    pub(super) const fn shows(mut self, column: &'static str) -> Self {
        self.column = column;
        self.from(ValueSource::Derived)
    }

    pub(super) const fn member(self) -> Member {
        Member::Attribute(self)
    }

    /// Whether a body may set the attribute.
    pub const fn writable(&self) -> bool {
        matches!(self.origin, ValueSource::Written | ValueSource::Default(_))
    }

    /// Whether the entity's own row stores the attribute.
    pub const fn stored(&self) -> bool {
        !matches!(self.origin, ValueSource::Derived | ValueSource::System)
    }
}

const COMPARED: FilterCapabilities = FilterCapabilities::EQUALS.and(FilterCapabilities::RANGE);

pub(super) const fn text(name: &'static str, longest: usize) -> Attribute {
    let filters = COMPARED.and(FilterCapabilities::LIKE).and(FilterCapabilities::IN);
    Attribute::new(name, AttributeKind::Text(longest), filters)
}

pub(super) const fn flag(name: &'static str) -> Attribute {
    Attribute::new(name, AttributeKind::Boolean, COMPARED)
}

pub(super) const fn integer(name: &'static str) -> Attribute {
    Attribute::new(name, AttributeKind::Integer, COMPARED)
}

pub(super) const fn decimal(name: &'static str) -> Attribute {
    Attribute::new(name, AttributeKind::Decimal, COMPARED)
}

pub(super) const fn instant(name: &'static str) -> Attribute {
    Attribute::new(name, AttributeKind::Instant { exact: false }, COMPARED)
}

pub(super) const fn choice(name: &'static str, of: &'static Enumeration) -> Attribute {
    Attribute::new(name, AttributeKind::Enum(of), COMPARED.and(FilterCapabilities::IN))
}

pub(super) const fn names(name: &'static str, longest: usize) -> Attribute {
    Attribute::new(name, AttributeKind::Names(longest), FilterCapabilities::LIKE)
}

pub(super) const fn amount(name: &'static str) -> Attribute {
    measured(name, AttributeKind::Amount)
}

pub(super) const fn quantity(name: &'static str) -> Attribute {
    measured(name, AttributeKind::Quantity)
}

const fn measured(name: &'static str, kind: AttributeKind) -> Attribute {
    let mut attribute = Attribute::new(name, kind, FilterCapabilities::NONE);
    attribute.orderable = false;
    attribute
}

pub(super) const fn reference(name: &'static str, target: &'static str) -> Reference {
    Reference { name, target, nullable: true, bond: ReferenceBond::Loose, filterable: false, follows: None }
}

impl Reference {
    pub(super) const fn required(mut self) -> Self {
        self.nullable = false;
        self
    }

    pub(super) const fn filterable(mut self) -> Self {
        self.filterable = true;
        self
    }

    const fn bound(mut self, bond: ReferenceBond) -> Self {
        self.bond = bond;
        self.required()
    }

    pub(super) const fn owner(self) -> Self {
        self.bound(ReferenceBond::Owner)
    }

    pub(super) const fn fixed(self) -> Self {
        self.bound(ReferenceBond::Fixed)
    }

    pub(super) const fn follows(mut self, quantity: &'static str) -> Self {
        self.follows = Some(quantity);
        self
    }

    pub(super) const fn member(self) -> Member {
        Member::Reference(self)
    }
}
