//! JSON answers as text (`domain-api.md` §2.2).

use std::sync::LazyLock;

use flows::entities::{Entity, EntityPage};
use http::StatusCode;
use model::entities::{AttributeKind, EntityValue, FieldShape, SETS, SelectedField, check_options};
use odata::{EntityId, Query, context, format_instant, next_link, push_json_string};

use crate::odata::negotiation::MetadataLevel;
use crate::odata::{AnswerFormat, EntityResult, json};

pub(super) fn service_document(query: &Query, format: AnswerFormat, root: &str) -> EntityResult {
    check_options(query, &[])?;
    let mut out = String::with_capacity(128 + root.len() + ENTITY_SETS.len());
    let mut object = Object::open(&mut out);
    if format.metadata == MetadataLevel::Minimal {
        object.text("@odata.context", &[root, "$metadata"].concat());
    }
    object.name("value").push_str(&ENTITY_SETS);
    object.close();
    Ok(json(StatusCode::OK, format.metadata, out))
}

/// The entity sets as the service document lists them, equal for every caller.
static ENTITY_SETS: LazyLock<String> = LazyLock::new(|| {
    let mut sets = "[".to_owned();
    for (at, entity) in SETS.iter().enumerate() {
        if at > 0 {
            sets.push(',');
        }
        let mut item = Object::open(&mut sets);
        item.text("name", entity.set);
        item.text("kind", "EntitySet");
        item.text("url", entity.set);
        item.close();
    }
    sets.push(']');
    sets
});

pub(super) fn page_text(page: &EntityPage, query: &Query, format: AnswerFormat, root: &str) -> String {
    let mut out = String::with_capacity(256 + page.records.len() * 1024);
    let mut object = Object::open(&mut out);
    if format.metadata == MetadataLevel::Minimal {
        object.text("@odata.context", &context(root, &page.set.asked, false));
    }
    if let Some(count) = page.count {
        object.name("@odata.count").push_str(&count.to_string());
    }
    if let Some(next) = page.next {
        let mut link = next_link(root, &page.set.asked, query, next);
        // The next request may accept another language, and the rows would be in another order. So the link names the
        // culture.
        if let (Some(culture), Ok(None)) = (page.ordered_in, query.custom("culture")) {
            link.push_str("&culture=");
            link.push_str(culture.code());
        }
        object.text("@odata.nextLink", &link);
    }
    let rows = object.name("value");
    rows.push('[');
    for (at, record) in page.records.iter().enumerate() {
        if at > 0 {
            rows.push(',');
        }
        let mut item = Object::open(rows);
        let id = EntityId { set: page.set.asked.clone(), key: record.key };
        push_members(&mut item, &id, &page.fields, &record.values, format);
        item.close();
    }
    rows.push(']');
    object.close();
    out
}

pub(super) fn entity_id(entity: &Entity) -> EntityId {
    EntityId { set: entity.set.asked.clone(), key: entity.record.key }
}

pub(super) fn entity_text(entity: &Entity, format: AnswerFormat, root: &str) -> String {
    let mut out = String::with_capacity(2048);
    let mut object = Object::open(&mut out);
    if format.metadata == MetadataLevel::Minimal {
        object.text("@odata.context", &context(root, &entity.set.asked, true));
    }
    push_members(&mut object, &entity_id(entity), &entity.fields, &entity.record.values, format);
    object.close();
    out
}

/// Without metadata, entities and unexpanded references have no id in the answer.
fn push_members(
    object: &mut Object<'_>,
    id: &EntityId,
    fields: &[SelectedField],
    values: &[EntityValue],
    format: AnswerFormat,
) {
    if format.metadata == MetadataLevel::Minimal {
        object.text("@odata.id", &id.to_string());
    }
    for (field, value) in fields.iter().zip(values) {
        let is_reference = matches!(field.shape, FieldShape::Reference(_));
        let hidden = is_reference && format.metadata == MetadataLevel::None;
        if !hidden && (*value != EntityValue::Null || !format.style.skip_nulls) {
            push_value(object.name(field.name), field.shape, value);
        }
    }
}

fn push_value(out: &mut String, shape: FieldShape, value: &EntityValue) {
    match (value, shape) {
        (EntityValue::Null, _) => out.push_str("null"),
        (EntityValue::Boolean(flag), _) => out.push_str(if *flag { "true" } else { "false" }),
        (EntityValue::Rank(rank), FieldShape::Attribute(AttributeKind::Enum(of)))
            if let Some(name) = of.member(*rank) =>
        {
            push_json_string(out, name);
        }
        (EntityValue::Integer(number) | EntityValue::Rank(number), _) => out.push_str(&number.to_string()),
        (EntityValue::Decimal(fixed), _) => out.push_str(&fixed.to_string()),
        (EntityValue::Instant(micros), _) => push_json_string(out, &format_instant(*micros)),
        (EntityValue::Guid(key), FieldShape::Reference(set)) => {
            let mut object = Object::open(out);
            object.text("@odata.id", &EntityId { set: set.to_owned(), key: *key }.to_string());
            object.close();
        }
        (EntityValue::Guid(key), _) => push_json_string(out, &key.to_string()),
        (EntityValue::Text(text), _) => push_json_string(out, text),
        (EntityValue::Names(names), _) => {
            let mut object = Object::open(out);
            for (language, text) in names {
                object.text(language, text);
            }
            object.close();
        }
        (EntityValue::Measure { value, code }, shape) => {
            let unit = if shape == FieldShape::Attribute(AttributeKind::Amount) { "Currency" } else { "Unit" };
            let mut object = Object::open(out);
            object.name("Value").push_str(&value.to_string());
            object.text(unit, code);
            object.close();
        }
    }
}

/// Writes a JSON object into a buffer.
struct Object<'a> {
    out: &'a mut String,
    first: bool,
}

impl<'a> Object<'a> {
    fn open(out: &'a mut String) -> Self {
        out.push('{');
        Self { out, first: true }
    }

    /// Writes a member's name. The caller writes the value into the returned buffer.
    fn name(&mut self, name: &str) -> &mut String {
        if !std::mem::take(&mut self.first) {
            self.out.push(',');
        }
        push_json_string(self.out, name);
        self.out.push(':');
        self.out
    }

    fn text(&mut self, name: &str, text: &str) {
        push_json_string(self.name(name), text);
    }

    fn close(self) {
        self.out.push('}');
    }
}
