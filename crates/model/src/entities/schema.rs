//! What an entity type is made of. One description drives the checks, the SQL and the answers.

/// Of an entity set, its one entity type (`domain-api.md` §1.12).
#[derive(Debug)]
pub struct EntityType {
    pub set: &'static str,
    /// Singular, without the namespace.
    pub name: &'static str,
    /// The table's documented name: a third name, seen in messages.
    pub table: &'static str,
    /// Sets of base types, under whose name an id of this type may also be written.
    pub bases: &'static [&'static str],
    pub members: &'static [Member],
    /// Owned collections, which are known and not served.
    pub collections: &'static [&'static str],
    /// The path to what the `DisplayText` shows.
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
    /// Where it is kept; an attribute that shows another's value shares its column.
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
    /// The set of what it points to.
    pub target: &'static str,
    pub nullable: bool,
    pub bond: ReferenceBond,
    /// A filter's path may cross it.
    pub filterable: bool,
    /// The quantity whose unit this is: set with it, not by itself.
    pub follows: Option<&'static str>,
}

/// How firmly an entity holds to what it references.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceBond {
    Loose,
    /// Chosen when the entity is made, and never again.
    Fixed,
    /// Fixed, and the target owns this entity: they change and die together.
    Owner,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributeKind {
    /// At most so many characters.
    Text(usize),
    Boolean,
    /// `Edm.Int32`.
    Integer,
    /// At most six places.
    Decimal,
    /// `exact`: a filter's literal is compared as it is; otherwise its date is (`domain-api.md` §2.3).
    Instant {
        exact: bool,
    },
    Guid,
    Enum(&'static Enumeration),
    /// One text for each language, each of at most so many characters.
    Names(usize),
    Amount,
    Quantity,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Enumeration {
    pub name: &'static str,
    pub members: &'static [(&'static str, i64)],
}

/// Where an attribute's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueSource {
    /// From writes; without one, nothing.
    Written,
    /// From writes; without one, this number or flag.
    Default(i64),
    /// This number, until an operation changes it.
    Fixed(i64),
    CreatedAt,
    CreatedBy,
    UpdatedAt,
    UpdatedBy,
    /// Another attribute's column.
    Derived,
    /// The aggregate's row.
    System,
}

/// Which comparisons a filter may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterCapabilities(u8);

impl FilterCapabilities {
    pub const NONE: Self = Self(0);
    pub const EQUALS: Self = Self(1);
    /// `ge`, `le`.
    pub const RANGE: Self = Self(2);
    /// `contains` and its kin.
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

/// What must hold of a whole aggregate, beyond its single values (`domain-api.md` §3.5).
#[derive(Clone, Copy, Debug)]
pub enum AggregateRule {
    /// Two dates, not the second before the first; the number is the rule's public one.
    InOrder { from: &'static str, thru: &'static str, number: u32 },
    /// A document that has reached this state changes by operations only.
    OpenBelow { state: &'static str, rank: i64 },
    /// Amounts of the parts are in the currency that this reference of the whole leads to.
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

    /// The type whose row stands for the aggregate: the owner's, or this one.
    pub fn root(&'static self) -> &'static Self {
        self.owner().map_or(self, |owner| super::target_of(owner.target))
    }

    /// The reference to the entity this one is a part of; none for the root of an aggregate.
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

/// What every entity has and shows only when asked; the version and the stamp are the aggregate's.
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

    /// Names one entity of its set in the instance.
    pub(super) const fn unique(mut self) -> Self {
        self.unique = true;
        self.required()
    }

    pub(super) const fn from(mut self, origin: ValueSource) -> Self {
        self.origin = origin;
        self
    }

    /// Never null: this number, or 0 and 1 for a flag, unless a write says otherwise.
    pub(super) const fn or(self, value: i64) -> Self {
        self.from(ValueSource::Default(value)).required()
    }

    /// Shows what is kept in another attribute's column.
    pub(super) const fn shows(mut self, column: &'static str) -> Self {
        self.column = column;
        self.from(ValueSource::Derived)
    }

    pub(super) const fn member(self) -> Member {
        Member::Attribute(self)
    }

    /// Whether a body may set it.
    pub const fn writable(&self) -> bool {
        matches!(self.origin, ValueSource::Written | ValueSource::Default(_))
    }

    /// Whether the entity's own row keeps it.
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
