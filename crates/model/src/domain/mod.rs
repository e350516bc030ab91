//! The Domain API's model (`domain-api.md` §9) and what may be asked of it.

mod changes;
mod column;
mod entities;
mod permissions;
mod query;
mod refusal;
mod rules;
mod schema;
#[cfg(test)]
mod tests;
mod value;

pub use changes::{Assignment, Author, Changes, check_create, check_update, initial};
pub use column::{Column, Part};
pub use entities::{SETS, answers_to, find_set, target_of};
pub use permissions::{Access, Permissions};
pub use query::{
    Condition, Field, Match, NamedSet, Selection, Shape, Start, Style, by_key, check_fields, check_filter, check_list,
    check_options, page_size, permit, reference_field, version_field, where_equal,
};
pub use refusal::Refusal;
pub use rules::{Held, held_fields};
pub use schema::{
    Attribute, Bond, CHANGED_AT, DISPLAY, EntityType, Enumeration, ID, Kind, Member, Origin, Reference, Rule, VERSION,
};
pub use value::{Fixed, Value};
