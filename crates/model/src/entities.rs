//! The Domain API's model (`domain-api.md` §9), and the validation of requests against it.

mod changes;
mod permissions;
mod query;
mod refusal;
mod rules;
mod schema;
mod sets;
#[cfg(test)]
mod tests;
mod value;

pub use changes::{Assignment, Author, Changes, check_create, check_update, initial};
pub use permissions::{AccessKind, Permissions};
pub use query::column::{Column, ColumnPart};
pub use query::{
    AnswerStyle, FieldShape, FilterCondition, MatchKind, NamedSet, SelectedField, Selection, Start, by_key,
    check_fields, check_filter, check_list, check_options, page_size, permit, reference_field, version_field,
    where_equal,
};
pub use refusal::EntityRefusal;
pub use rules::{AggregateState, held_fields};
pub use schema::{
    AggregateRule, Attribute, AttributeKind, CHANGED_AT, DISPLAY, EntityType, Enumeration, ID, Member, Reference,
    ReferenceBond, VERSION, ValueSource,
};
pub use sets::{SETS, answers_to, find_set, target_of};
pub use value::{EntityValue, FixedDecimal};
