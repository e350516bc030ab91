//! Validation of a request's URL against the model.

pub(super) mod column;

use odata::{Literal, Operator, Query, Selected, Term};
use uuid::Uuid;

use crate::Culture;
use crate::entities::query::column::{Column, ColumnPart, Leaf, resolve};
use crate::entities::schema::{
    Attribute, AttributeKind, DISPLAY, EntityType, FilterCapabilities, ID, Member, Reference, VERSION,
};
use crate::entities::{AccessKind, EntityRefusal, EntityValue, FixedDecimal, Permissions, answers_to};

/// An entity set, with the name used in the request, which the response repeats.
#[derive(Clone, Debug)]
pub struct NamedSet {
    pub entity: &'static EntityType,
    pub asked: String,
}

/// A query for rows. All columns are of the model, and all values are typed.
#[derive(Clone, Debug)]
pub struct Selection {
    pub entity: &'static EntityType,
    pub fields: Vec<SelectedField>,
    /// Combined with `and`.
    pub conditions: Vec<FilterCondition>,
    /// Sort columns, with a flag for descending. Ties, and an empty list, are ordered by key.
    pub order: Vec<(Column, bool)>,
    pub start: Start,
    /// Maximum number of rows.
    pub limit: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Skip(u64),
    /// Starting at this key, in key order.
    At(Uuid),
}

/// A member of the response, and the columns that it is built from.
#[derive(Clone, Debug)]
pub struct SelectedField {
    pub name: &'static str,
    pub shape: FieldShape,
    pub columns: Vec<Column>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldShape {
    Attribute(AttributeKind),
    /// A reference to an entity of this set.
    Reference(&'static str),
}

#[derive(Clone, Debug, PartialEq)]
pub enum FilterCondition {
    Compare {
        column: Column,
        operator: Operator,
        value: EntityValue,
        /// Whether null matches too (`equalnull` and similar).
        or_null: bool,
    },
    Null(Column),
    OneOf(Column, Vec<EntityValue>),
    /// A case-insensitive text match.
    Like(Column, MatchKind, String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchKind {
    Contains,
    Starts,
    Ends,
    Whole,
}

/// Response options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnswerStyle {
    pub skip_nulls: bool,
    pub include_id: bool,
    /// The language of multilingual texts in the response and in its order.
    pub culture: Culture,
}

impl AnswerStyle {
    /// Reads `options` (`domain-api.md` §2.1) and `culture`, or `lang` of old clients. Unknown flags are ignored: they
    /// may be meant for other software. The culture has precedence over `Accept-Language` (§4.4); an invalid one is
    /// ignored.
    pub fn of(query: &Query, accepted: Culture) -> Result<Self, EntityRefusal> {
        let flags = query.custom("options")?.unwrap_or_default();
        let has = |wanted: &str| flags.split(',').any(|flag| flag.trim().eq_ignore_ascii_case(wanted));
        let culture = match query.custom("culture")? {
            Some(tag) => Some(tag),
            None => query.custom("lang")?,
        };
        let culture = culture.and_then(Culture::of_tag).unwrap_or(accepted);
        Ok(Self { skip_nulls: has("skipnulls"), include_id: has("includeid"), culture })
    }
}

/// Refuses system options that do not apply to the resource or method. `$format` always applies.
pub fn check_options(query: &Query, useful: &[&str]) -> Result<(), EntityRefusal> {
    match query.given.iter().find(|option| **option != "$format" && !useful.contains(option)) {
        Some(option) => Err(EntityRefusal::OutOfPlace(option)),
        None => Ok(()),
    }
}

/// Selects the row of a key.
pub fn by_key(entity: &'static EntityType, key: Uuid, fields: Vec<SelectedField>) -> Selection {
    where_equal(entity, Column::id(), EntityValue::Guid(key), fields)
}

/// Selects at most two rows whose column has this value.
pub fn where_equal(
    entity: &'static EntityType,
    column: Column,
    value: EntityValue,
    fields: Vec<SelectedField>,
) -> Selection {
    let condition = FilterCondition::Compare { column, operator: Operator::Equal, value, or_null: false };
    Selection { entity, fields, conditions: vec![condition], order: Vec::new(), start: Start::Skip(0), limit: 2 }
}

/// Validates a list request. A page has at most `ceiling` rows; one more is read to know whether a next page exists.
pub fn check_list(
    entity: &'static EntityType,
    query: &Query,
    style: AnswerStyle,
    ceiling: u32,
    permissions: &Permissions,
) -> Result<Selection, EntityRefusal> {
    let order = query.orderby.iter().map(|key| order_column(entity, key, style.culture, permissions));
    let order = order.collect::<Result<Vec<_>, _>>()?;
    let start = match &query.skiptoken {
        None => Start::Skip(query.skip.unwrap_or(0).into()),
        Some(token) => Start::At(token_key(token, query)?),
    };
    Ok(Selection {
        entity,
        fields: check_fields(entity, query.select.as_deref(), style, permissions)?,
        conditions: check_filter(entity, query, permissions)?,
        order,
        start,
        limit: u64::from(page_size(query, ceiling)) + 1,
    })
}

/// Number of rows in a page.
pub fn page_size(query: &Query, ceiling: u32) -> u32 {
    query.top.unwrap_or(ceiling).min(ceiling)
}

fn token_key(token: &str, query: &Query) -> Result<Uuid, EntityRefusal> {
    let key = token.parse().ok().filter(|_| token.len() == 36);
    match (key, query.orderby.is_empty() && query.skip.is_none()) {
        (Some(key), true) => Ok(key),
        _ => Err(EntityRefusal::WrongValue {
            member: "$skiptoken".to_owned(),
            expected: "what a next link says, and neither $orderby nor $skip beside it",
        }),
    }
}

fn order_column(
    entity: &'static EntityType,
    key: &odata::OrderBy,
    culture: Culture,
    permissions: &Permissions,
) -> Result<(Column, bool), EntityRefusal> {
    let (column, leaf) = resolve(entity, &key.path, permissions)?;
    match leaf {
        Leaf::Attribute(Attribute { kind: AttributeKind::Names(_), .. }) => {
            Ok((column.part(ColumnPart::Shown(culture)), key.descending))
        }
        Leaf::Attribute(attribute) if attribute.orderable => Ok((column, key.descending)),
        other => Err(EntityRefusal::NotOrderable { member: other.name() }),
    }
}

/// The columns for `$select`, or for the default members without it (`domain-api.md`, rule 4).
pub fn check_fields(
    entity: &'static EntityType,
    select: Option<&[Selected]>,
    style: AnswerStyle,
    permissions: &Permissions,
) -> Result<Vec<SelectedField>, EntityRefusal> {
    let mut members: Vec<&'static Member> = Vec::new();
    for selected in select.unwrap_or(&[Selected::All]) {
        match selected {
            Selected::Member(name) if !name.eq_ignore_ascii_case("default") => members.push(find(entity, name)?),
            _ => {
                members.extend(style.include_id.then(|| entity.member(ID)).flatten());
                members.extend(entity.members);
            }
        }
    }
    let mut fields: Vec<SelectedField> = Vec::new();
    for member in members {
        if !fields.iter().any(|field| field.name == member.name()) {
            fields.push(field(entity, member, style.culture, permissions)?);
        }
    }
    Ok(fields)
}

/// Finds a member by name. Owned collections are known, but not served.
pub(super) fn find(entity: &'static EntityType, name: &str) -> Result<&'static Member, EntityRefusal> {
    if let Some(collection) = entity.collections.iter().find(|collection| **collection == name) {
        return Err(EntityRefusal::Unsupported(format!("the collection {collection}")));
    }
    entity.member(name).ok_or_else(|| EntityRefusal::UnknownMember { entity: entity.name, member: name.to_owned() })
}

/// The field of a member. The aggregate's version and the display text have columns of other entities, other members of
/// the entity itself.
pub(super) fn field(
    entity: &'static EntityType,
    member: &'static Member,
    culture: Culture,
    permissions: &Permissions,
) -> Result<SelectedField, EntityRefusal> {
    let attribute = match member {
        Member::Attribute(attribute) => attribute,
        Member::Reference(reference) => return Ok(reference_field(reference)),
    };
    let columns = match attribute.name {
        DISPLAY => vec![column::display(entity, ColumnPart::Shown(culture), permissions)?],
        VERSION => return Ok(version_field(entity)),
        _ => {
            let parts: &[ColumnPart] = match attribute.kind {
                AttributeKind::Amount | AttributeKind::Quantity => &[ColumnPart::Value, ColumnPart::Code],
                _ => &[ColumnPart::Plain],
            };
            parts.iter().map(|part| Column::own(attribute.column, *part)).collect()
        }
    };
    Ok(SelectedField { name: attribute.name, shape: FieldShape::Attribute(attribute.kind), columns })
}

/// The field with the key of a referenced entity.
pub fn reference_field(reference: &'static Reference) -> SelectedField {
    SelectedField {
        name: reference.name,
        shape: FieldShape::Reference(reference.target),
        columns: vec![Column::own(reference.name, ColumnPart::Plain)],
    }
}

/// The field with the version of the entity's aggregate.
pub fn version_field(entity: &'static EntityType) -> SelectedField {
    let columns = vec![Column::of_aggregate(entity, VERSION)];
    SelectedField { name: VERSION, shape: FieldShape::Attribute(AttributeKind::Integer), columns }
}

/// Validates `$filter` against the model: paths, comparisons and types of literals.
pub fn check_filter(
    entity: &'static EntityType,
    query: &Query,
    permissions: &Permissions,
) -> Result<Vec<FilterCondition>, EntityRefusal> {
    let terms = query.filter.iter().flat_map(|filter| &filter.0);
    terms.map(|term| check_term(entity, term, permissions)).collect()
}

fn check_term(
    entity: &'static EntityType,
    term: &Term,
    permissions: &Permissions,
) -> Result<FilterCondition, EntityRefusal> {
    match term {
        Term::Compare { path, operator, literal } => {
            let (column, leaf) = resolve(entity, path, permissions)?;
            compare(column, leaf, *operator, literal, false)
        }
        Term::In { path, literals } => {
            let (column, leaf) = resolve(entity, path, permissions)?;
            leaf.require(FilterCapabilities::IN, "in")?;
            let values = literals.iter().map(|literal| leaf.value(literal));
            Ok(FilterCondition::OneOf(column, values.collect::<Result<_, _>>()?))
        }
        Term::Call { function, path, literal } => {
            let (column, leaf) = resolve(entity, path, permissions)?;
            let operator = match function.to_ascii_lowercase().as_str() {
                "equalnull" => Operator::Equal,
                "greaterequalnull" => Operator::AtLeast,
                "lessequalnull" => Operator::AtMost,
                "contains" => return like(column, leaf, MatchKind::Contains, literal, permissions),
                "startswith" => return like(column, leaf, MatchKind::Starts, literal, permissions),
                "endswith" => return like(column, leaf, MatchKind::Ends, literal, permissions),
                _ => return Err(EntityRefusal::Unsupported(function.clone())),
            };
            compare(column, leaf, operator, literal, true)
        }
    }
}

fn compare(
    column: Column,
    leaf: Leaf,
    operator: Operator,
    literal: &Literal,
    or_null: bool,
) -> Result<FilterCondition, EntityRefusal> {
    let (wanted, written) = match operator {
        Operator::Equal => (FilterCapabilities::EQUALS, "eq"),
        Operator::AtLeast => (FilterCapabilities::RANGE, "ge"),
        Operator::AtMost => (FilterCapabilities::RANGE, "le"),
    };
    leaf.require(wanted, written)?;
    if *literal == Literal::Null && operator == Operator::Equal && !or_null {
        return Ok(FilterCondition::Null(column));
    }
    Ok(FilterCondition::Compare { column, operator, value: leaf.value(literal)?, or_null })
}

fn like(
    column: Column,
    leaf: Leaf,
    how: MatchKind,
    literal: &Literal,
    permissions: &Permissions,
) -> Result<FilterCondition, EntityRefusal> {
    let Literal::Text(text) = literal else {
        return Err(leaf.wrong("a quoted text"));
    };
    let column = match (leaf, how) {
        (Leaf::Reference(reference), MatchKind::Contains) => column.shown_through(reference, permissions)?,
        (Leaf::Attribute(Attribute { kind: AttributeKind::Names(_), .. }), MatchKind::Contains) => {
            column.part(ColumnPart::Text)
        }
        (Leaf::Attribute(attribute), _)
            if matches!(attribute.kind, AttributeKind::Text(_))
                && attribute.filters.allow(FilterCapabilities::LIKE) =>
        {
            column
        }
        _ => {
            return Err(EntityRefusal::NotFilterable {
                member: leaf.name().to_owned(),
                comparison: format!("{how:?}").to_lowercase(),
            });
        }
    };
    Ok(FilterCondition::Like(column, how, text.clone()))
}

impl Leaf {
    fn require(self, wanted: FilterCapabilities, comparison: &str) -> Result<(), EntityRefusal> {
        let allowed = match self {
            Self::Attribute(attribute) => attribute.filters,
            Self::Number(_) => FilterCapabilities::EQUALS.and(FilterCapabilities::RANGE),
            Self::Reference(_) => FilterCapabilities::EQUALS.and(FilterCapabilities::IN),
        };
        if allowed.allow(wanted) {
            return Ok(());
        }
        Err(EntityRefusal::NotFilterable { member: self.name().to_owned(), comparison: comparison.to_owned() })
    }

    /// The literal, converted to the type of this leaf.
    fn value(self, literal: &Literal) -> Result<EntityValue, EntityRefusal> {
        let attribute = match self {
            Self::Attribute(attribute) => attribute,
            Self::Number(_) => return self.decimal(literal),
            Self::Reference(reference) => {
                let Literal::Text(text) = literal else {
                    return Err(self.wrong("a quoted entity id"));
                };
                let id =
                    odata::EntityId::parse(text).filter(|id| answers_to(super::target_of(reference.target), &id.set));
                return id
                    .map(|id| EntityValue::Guid(id.key))
                    .ok_or_else(|| self.wrong("an entity id of the referenced set"));
            }
        };
        let (value, expected) = match (attribute.kind, literal) {
            (AttributeKind::Boolean, Literal::Boolean(flag)) => (Some(EntityValue::Boolean(*flag)), ""),
            (AttributeKind::Boolean, _) => (None, "true or false"),
            (AttributeKind::Integer, Literal::Number(number)) => {
                (number.scaled(0).ok().map(EntityValue::Integer), "a whole number")
            }
            (AttributeKind::Integer, _) => (None, "a whole number"),
            (AttributeKind::Decimal, _) => return self.decimal(literal),
            (AttributeKind::Instant { exact }, Literal::Instant(micros)) => {
                (Some(EntityValue::Instant(cut(*micros, exact))), "")
            }
            (AttributeKind::Instant { .. }, _) => (None, "a date"),
            (AttributeKind::Guid, Literal::Guid(key)) => (Some(EntityValue::Guid(*key)), ""),
            (AttributeKind::Guid, _) => (None, "a GUID without quotes"),
            (AttributeKind::Text(_), Literal::Text(text)) => (Some(EntityValue::Text(text.clone())), ""),
            (AttributeKind::Text(_), _) => (None, "a quoted text"),
            (AttributeKind::Enum(of), Literal::Text(name)) => {
                (of.rank(name).map(EntityValue::Rank), "a member of its enumeration")
            }
            (AttributeKind::Enum(of), Literal::Enum { type_name, member }) => {
                let of = type_name.strip_prefix("Erp.").filter(|name| *name == of.name).map(|_| of);
                (of.and_then(|of| of.rank(member)).map(EntityValue::Rank), "a member of its enumeration")
            }
            (AttributeKind::Enum(_), Literal::Number(rank)) => {
                (rank.scaled(0).ok().map(EntityValue::Rank), "a member of its enumeration")
            }
            (AttributeKind::Enum(_), _) => (None, "a member of its enumeration"),
            (AttributeKind::Names(_) | AttributeKind::Amount | AttributeKind::Quantity, _) => (None, "no comparison"),
        };
        value.ok_or_else(|| self.wrong(expected))
    }

    fn decimal(self, literal: &Literal) -> Result<EntityValue, EntityRefusal> {
        let Literal::Number(number) = literal else {
            return Err(self.wrong("a number"));
        };
        FixedDecimal::of(*number).map(EntityValue::Decimal).map_err(|unfit| EntityRefusal::of_unfit(self.name(), unfit))
    }

    fn wrong(self, expected: &'static str) -> EntityRefusal {
        EntityRefusal::WrongValue { member: self.name().to_owned(), expected }
    }
}

/// Cuts an instant to its date unless `exact` (`domain-api.md` §2.3: dates are compared as dates, change stamps
/// exactly).
const fn cut(micros: i64, exact: bool) -> i64 {
    const DAY: i64 = 86_400_000_000;
    if exact { micros } else { micros.div_euclid(DAY) * DAY }
}

/// Checks the permissions of the caller's roles.
pub fn permit(permissions: &Permissions, set: &'static str, access: AccessKind) -> Result<(), EntityRefusal> {
    if permissions.allows(set, access) { Ok(()) } else { Err(EntityRefusal::Forbidden { set, access }) }
}
