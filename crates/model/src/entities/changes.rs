//! Validation of write bodies into values to be written (`domain-api.md` §3.1–3.4).

use odata::{Decimal, EntityId, Json, parse_instant};
use uuid::Uuid;

use crate::Timestamp;
use crate::entities::query::find;
use crate::entities::schema::{
    Attribute, AttributeKind, EntityType, Member, Reference, ReferenceBond, VERSION, ValueSource,
};
use crate::entities::{EntityRefusal, EntityValue, FixedDecimal, answers_to, target_of};

/// Values to be written, in the order of the body.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    pub assignments: Vec<Assignment>,
    /// References that follow a quantity's unit: written together with the quantity, and checked against it.
    pub units: Vec<Assignment>,
    /// The `ObjectVersion` the caller believes current (§3.10).
    pub version: Option<i64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    pub member: &'static Member,
    pub value: EntityValue,
}

impl Changes {
    /// Sets the reference that follows `quantity` to its unit. There is at most one.
    pub fn follow(&mut self, entity: &'static EntityType, quantity: &str, unit: Option<Uuid>) {
        let follows = |member: &&Member| match member {
            Member::Reference(reference) => reference.follows == Some(quantity),
            Member::Attribute(_) => false,
        };
        if let Some(member) = entity.members.iter().find(follows) {
            self.assignments.retain(|assignment| assignment.member != member);
            self.assignments.push(Assignment { member, value: unit.map_or(EntityValue::Null, EntityValue::Guid) });
        }
    }

    /// Checks that a unit bound beside a quantity is that of the quantity, in either order of the members (§3.4).
    /// `held` returns the reference's current value.
    pub fn check_units(&self, held: impl Fn(&str) -> EntityValue) -> Result<(), EntityRefusal> {
        for Assignment { member, value } in &self.units {
            let Member::Reference(Reference { name, follows: Some(quantity), .. }) = member else { continue };
            let written = self.assignments.iter().find(|assignment| assignment.member == *member);
            if written.map_or_else(|| held(name), |written| written.value.clone()) != *value {
                return Err(EntityRefusal::OtherUnit { member: name, quantity });
            }
        }
        Ok(())
    }
}

impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

/// The writing user and the time of the write.
#[derive(Clone, Copy, Debug)]
pub struct Author<'a> {
    pub login: &'a str,
    pub now: Timestamp,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Write {
    Create,
    Update,
}

/// Validates a new entity: required members must be present, and values left to the server are filled in.
///
/// `service_root` is absolute and ends with `/`.
pub fn check_create(
    entity: &'static EntityType,
    body: &Json,
    service_root: &str,
    author: Author<'_>,
) -> Result<Changes, EntityRefusal> {
    let mut changes = read(entity, body, service_root, Write::Create)?;
    for member in entity.members {
        if changes.assignments.iter().any(|assignment| assignment.member == member) {
            continue;
        }
        let (value, nullable) = match member {
            Member::Attribute(attribute) if !attribute.stored() => continue,
            Member::Attribute(attribute) => (initial(attribute, author), attribute.nullable),
            Member::Reference(reference) => (EntityValue::Null, reference.nullable),
        };
        if value == EntityValue::Null && !nullable {
            return Err(EntityRefusal::Missing { member: member.name() });
        }
        changes.assignments.push(Assignment { member, value });
    }
    Ok(changes)
}

/// Validates an update. Only members in the body change; without any, the change stamps do not change either.
pub fn check_update(
    entity: &'static EntityType,
    body: &Json,
    service_root: &str,
    author: Author<'_>,
) -> Result<Changes, EntityRefusal> {
    let mut changes = read(entity, body, service_root, Write::Update)?;
    if changes.assignments.is_empty() {
        return Ok(changes);
    }
    for member in entity.members {
        if let Member::Attribute(attribute) = member
            && matches!(attribute.origin, ValueSource::UpdatedAt | ValueSource::UpdatedBy)
        {
            let value = initial(attribute, author);
            changes.assignments.push(Assignment { member, value });
        }
    }
    Ok(changes)
}

/// The value of an attribute that a new entity's body does not give.
pub fn initial(attribute: &Attribute, author: Author<'_>) -> EntityValue {
    match (attribute.origin, attribute.kind) {
        (ValueSource::CreatedAt | ValueSource::UpdatedAt, _) => EntityValue::Instant(author.now.micros()),
        (ValueSource::CreatedBy | ValueSource::UpdatedBy, _) => EntityValue::text(author.login),
        (ValueSource::Default(number) | ValueSource::Fixed(number), kind) => match kind {
            AttributeKind::Boolean => EntityValue::Boolean(number != 0),
            AttributeKind::Decimal => EntityValue::Decimal(FixedDecimal(number * FixedDecimal::ONE)),
            AttributeKind::Enum(_) => EntityValue::Rank(number),
            _ => EntityValue::Integer(number),
        },
        (ValueSource::Written | ValueSource::Derived | ValueSource::System, _) => EntityValue::Null,
    }
}

fn read(entity: &'static EntityType, body: &Json, service_root: &str, write: Write) -> Result<Changes, EntityRefusal> {
    let Json::Object(members) = body else {
        return Err(wrong("body", "a JSON object"));
    };
    let mut changes = Changes::default();
    for (name, value) in members {
        let (member, bound) = match name.split_once('@') {
            Some(("", annotation)) => {
                check_annotation(entity, annotation, value)?;
                continue;
            }
            Some((bound, "odata.bind")) => (find(entity, bound)?, true),
            Some((_, annotation)) if annotation.starts_with("odata.") => continue,
            Some(_) => return Err(EntityRefusal::Unsupported(name.clone())),
            None => (find(entity, name)?, false),
        };
        if name == VERSION && write == Write::Update {
            changes.version = Some(version(value)?);
        } else if member.is_writable(write) {
            let value = if bound { bind(member, value, service_root)? } else { assign(member, value, service_root)? };
            let unit = matches!(member, Member::Reference(Reference { follows: Some(_), .. }));
            let list = if unit { &mut changes.units } else { &mut changes.assignments };
            if list.iter().any(|other| other.member == member) {
                return Err(wrong(member.name(), "one value, not two"));
            }
            list.push(Assignment { member, value });
        }
    }
    Ok(changes)
}

impl Member {
    /// Read-only members in a body are ignored, not refused (`OData` Protocol 4.01 §11.4.2, §11.4.3: clients send back
    /// the entity that they read).
    fn is_writable(&self, write: Write) -> bool {
        match self {
            Self::Attribute(attribute) => attribute.writable(),
            Self::Reference(reference) => write == Write::Create || reference.bond == ReferenceBond::Loose,
        }
    }
}

fn version(value: &Json) -> Result<i64, EntityRefusal> {
    let number = if let Json::Number(number) = value { number.scaled(0).ok() } else { None };
    number.ok_or_else(|| wrong(VERSION, "a whole number"))
}

fn check_annotation(entity: &EntityType, annotation: &str, value: &Json) -> Result<(), EntityRefusal> {
    match (annotation, value) {
        ("odata.type", Json::Text(name)) if is_type(name, entity.name) => Ok(()),
        ("odata.type", _) => Err(wrong("@odata.type", "the type of the set's entities")),
        _ if annotation.starts_with("odata.") => Ok(()),
        _ => Err(EntityRefusal::Unsupported(format!("@{annotation}"))),
    }
}

fn is_type(written: &str, name: &str) -> bool {
    written.strip_prefix('#').unwrap_or(written).strip_prefix("Erp.") == Some(name)
}

fn bind(member: &'static Member, value: &Json, service_root: &str) -> Result<EntityValue, EntityRefusal> {
    match (member, value) {
        (Member::Reference(reference), Json::Text(id)) => target(reference, id, service_root),
        (Member::Reference(reference), _) => Err(wrong(reference.name, "an entity id")),
        (Member::Attribute(attribute), _) => Err(wrong(attribute.name, "a value: only references are bound")),
    }
}

fn assign(member: &'static Member, value: &Json, service_root: &str) -> Result<EntityValue, EntityRefusal> {
    let attribute = match member {
        Member::Reference(reference) => return point(reference, value, service_root),
        Member::Attribute(attribute) => attribute,
    };
    let value = attribute_value(attribute, value)?;
    let absent = match &value {
        EntityValue::Null => true,
        EntityValue::Text(text) => text.is_empty(),
        _ => false,
    };
    if absent && !attribute.nullable {
        return Err(EntityRefusal::Missing { member: attribute.name });
    }
    Ok(value)
}

fn point(reference: &'static Reference, value: &Json, service_root: &str) -> Result<EntityValue, EntityRefusal> {
    match value {
        Json::Null if reference.nullable => Ok(EntityValue::Null),
        Json::Null => Err(EntityRefusal::Missing { member: reference.name }),
        Json::Object(members) => {
            let other = members.iter().find(|(name, _)| !name.starts_with("@odata."));
            let id = members.iter().find(|(name, _)| name == "@odata.id");
            match (id, other) {
                (Some((_, Json::Text(id))), None) => target(reference, id, service_root),
                _ => Err(EntityRefusal::Unsupported(format!("{} with members", reference.name))),
            }
        }
        _ => Err(wrong(reference.name, "an object with @odata.id")),
    }
}

fn target(reference: &'static Reference, id: &str, service_root: &str) -> Result<EntityValue, EntityRefusal> {
    let id = EntityId::parse_reference(id, service_root).filter(|id| answers_to(target_of(reference.target), &id.set));
    match id {
        Some(id) => Ok(EntityValue::Guid(id.key)),
        None => Err(wrong(reference.name, "an entity id of the referenced set")),
    }
}

fn attribute_value(attribute: &'static Attribute, value: &Json) -> Result<EntityValue, EntityRefusal> {
    let (read, expected) = match (attribute.kind, value) {
        (_, Json::Null) => (Some(EntityValue::Null), ""),
        (AttributeKind::Text(longest), Json::Text(text)) => {
            (Some(EntityValue::Text(fitting(attribute, text, longest)?)), "")
        }
        (AttributeKind::Text(_), _) => (None, "a text"),
        (AttributeKind::Boolean, Json::Boolean(flag)) => (Some(EntityValue::Boolean(*flag)), ""),
        (AttributeKind::Boolean, _) => (None, "true or false"),
        (AttributeKind::Integer, value) => (integer(value).map(EntityValue::Integer), "a whole number of 32 bits"),
        (AttributeKind::Decimal, value) => (Some(EntityValue::Decimal(fixed(attribute.name, value)?)), ""),
        (AttributeKind::Instant { .. }, Json::Text(text)) => (parse_instant(text).map(EntityValue::Instant), "a date"),
        (AttributeKind::Instant { .. }, _) => (None, "a date"),
        (AttributeKind::Enum(of), Json::Text(name)) => {
            (of.rank(name).map(EntityValue::Rank), "a member of its enumeration")
        }
        (AttributeKind::Enum(_), _) => (None, "a member of its enumeration"),
        (AttributeKind::Names(longest), Json::Object(texts)) => (Some(names(attribute, texts, longest)?), ""),
        (AttributeKind::Names(_), _) => (None, "an object of texts by language"),
        (AttributeKind::Amount, value) => (Some(measure(attribute.name, value, &AMOUNT)?), ""),
        (AttributeKind::Quantity, value) => (Some(measure(attribute.name, value, &QUANTITY)?), ""),
        (AttributeKind::Guid, _) => (None, "no value"),
    };
    read.ok_or_else(|| wrong(attribute.name, expected))
}

fn fitting(attribute: &'static Attribute, text: &str, longest: usize) -> Result<String, EntityRefusal> {
    if text.chars().count() > longest {
        let member = attribute.name;
        return Err(EntityRefusal::TooLong { member, longest });
    }
    Ok(text.to_owned())
}

fn integer(value: &Json) -> Option<i64> {
    let Json::Number(number) = value else { return None };
    number.scaled(0).ok().filter(|n| i32::try_from(*n).is_ok())
}

/// A number, or a number in quotes (`domain-api.md` §2.2: both are accepted).
fn fixed(member: &str, value: &Json) -> Result<FixedDecimal, EntityRefusal> {
    let number = match value {
        Json::Number(number) => Some(*number),
        Json::Text(text) => Decimal::parse(text),
        _ => None,
    };
    let number = number.ok_or_else(|| wrong(member, "a number"))?;
    FixedDecimal::of(number).map_err(|unfit| EntityRefusal::of_unfit(member, unfit))
}

/// The texts replace those of all languages. A language that is not included is removed.
fn names(
    attribute: &'static Attribute,
    texts: &[(String, Json)],
    longest: usize,
) -> Result<EntityValue, EntityRefusal> {
    const MAX_LANGUAGES: usize = 32;
    let mut names: Vec<(String, String)> = Vec::new();
    for (language, text) in texts.iter().filter(|(name, _)| !name.starts_with("@odata.")) {
        let code = language.to_ascii_uppercase();
        let is_code = code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase());
        let known = names.iter().any(|(other, _)| *other == code);
        let Json::Text(text) = text else {
            return Err(wrong(attribute.name, "an object of texts by language"));
        };
        if !is_code || known || names.len() == MAX_LANGUAGES {
            return Err(wrong(attribute.name, "languages of two letters, each once"));
        }
        names.push((code, fitting(attribute, text, longest)?));
    }
    Ok(if names.is_empty() { EntityValue::Null } else { EntityValue::Names(names) })
}

/// The form of a number with a code.
struct MeasureForm {
    /// The member that has the code.
    code: &'static str,
    expected: &'static str,
}

const AMOUNT: MeasureForm = MeasureForm { code: "Currency", expected: "an object of Value and Currency" };
const QUANTITY: MeasureForm = MeasureForm { code: "Unit", expected: "an object of Value and Unit" };

/// A number with its currency or unit. A refusal names the wrong part.
fn measure(name: &str, value: &Json, form: &MeasureForm) -> Result<EntityValue, EntityRefusal> {
    let MeasureForm { code: unit, expected } = *form;
    let Json::Object(members) = value else { return Err(wrong(name, expected)) };
    let (mut number, mut code) = (None, None);
    for (part, value) in members.iter().filter(|(part, _)| !part.starts_with("@odata.")) {
        match value {
            value if part == "Value" => number = Some(fixed(&format!("{name}/Value"), value)?),
            Json::Text(text) if part == unit && !text.is_empty() => code = Some(text.clone()),
            _ if part == unit => return Err(wrong(&format!("{name}/{unit}"), "a code")),
            _ => return Err(wrong(name, expected)),
        }
    }
    match (number, code) {
        (Some(value), Some(code)) => Ok(EntityValue::Measure { value, code }),
        _ => Err(wrong(name, expected)),
    }
}

fn wrong(member: &str, expected: &'static str) -> EntityRefusal {
    EntityRefusal::WrongValue { member: member.to_owned(), expected }
}
