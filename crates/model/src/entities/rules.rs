//! Rules of an aggregate, checked before one of its rows is written (`domain-api.md` §3.5).

use odata::{Preconditions, format_instant};

use crate::Timestamp;
use crate::entities::query::{FieldShape, SelectedField};
use crate::entities::schema::{AggregateRule, Attribute, AttributeKind, CHANGED_AT, EntityType, Member, VERSION};
use crate::entities::{Changes, Column, ColumnPart, EntityRefusal, EntityValue, target_of};

/// The values of an aggregate that its rules depend on, as read.
#[derive(Clone, Debug)]
pub struct AggregateState {
    entity: &'static EntityType,
    values: Vec<(&'static str, EntityValue)>,
}

const CURRENCY: &str = "CurrencySign";

/// The columns of [`AggregateState`] for a row of `entity`: its own for its own rules, the root's for the rules of the
/// aggregate.
pub fn held_fields(entity: &'static EntityType) -> Vec<SelectedField> {
    let whole = |name| SelectedField {
        name,
        shape: FieldShape::Attribute(AttributeKind::Integer),
        columns: vec![Column::of_aggregate(entity, name)],
    };
    let mut fields = vec![whole(VERSION), whole(CHANGED_AT)];
    for rule in entity.root().rules {
        match rule {
            AggregateRule::OpenBelow { state, .. } => fields.push(whole(state)),
            AggregateRule::OneCurrency { reference } => fields.push(currency(entity, reference)),
            AggregateRule::InOrder { .. } => {}
        }
    }
    for rule in entity.rules {
        if let AggregateRule::InOrder { from, thru, .. } = rule {
            fields.extend([from, thru].map(|name| SelectedField {
                name,
                shape: FieldShape::Attribute(AttributeKind::Instant { exact: true }),
                columns: vec![Column::own(name, ColumnPart::Plain)],
            }));
        }
    }
    fields
}

/// The currency sign of the root's referenced currency. The path goes through the owner, then the reference.
fn currency(entity: &'static EntityType, name: &'static str) -> SelectedField {
    let reference = entity.root().references().find(|reference| reference.name == name);
    let reference = reference.expect("a test checks what every rule names");
    let mut column = Column::of_aggregate(entity, CURRENCY);
    column.via.push(reference);
    SelectedField { name: CURRENCY, shape: FieldShape::Attribute(AttributeKind::Text(0)), columns: vec![column] }
}

impl AggregateState {
    /// `values` are those of [`held_fields`], in the same order.
    pub fn new(entity: &'static EntityType, values: Vec<EntityValue>) -> Self {
        let names = held_fields(entity).into_iter().map(|field| field.name);
        Self { entity, values: names.zip(values).collect() }
    }

    /// The state of a new aggregate.
    pub fn nothing(entity: &'static EntityType) -> Self {
        Self { entity, values: Vec::new() }
    }

    pub fn version(&self) -> i64 {
        self.number(VERSION).unwrap_or(0)
    }

    /// The stamp of a change made now. Later than all earlier stamps, even if the clock stepped back.
    pub fn next_stamp(&self, now: Timestamp) -> Timestamp {
        Timestamp(self.number(CHANGED_AT).map_or(now.micros(), |last| now.micros().max(last + 1)))
    }

    /// Checks the aggregate's own rules, which apply to a write of any of its rows, including deletion.
    pub fn check_open(&self) -> Result<(), EntityRefusal> {
        let root = self.entity.root();
        for rule in root.rules {
            if let AggregateRule::OpenBelow { state, rank } = rule
                && self.number(state).is_some_and(|now| now >= *rank)
            {
                return Err(EntityRefusal::Closed { table: root.table });
            }
        }
        Ok(())
    }

    /// Checks preconditions against the entity's tag, which is the version of its aggregate.
    pub fn check_preconditions(&self, preconditions: &Preconditions) -> Result<(), EntityRefusal> {
        let current = self.version();
        if preconditions.hold(&current.to_string()) {
            Ok(())
        } else {
            Err(EntityRefusal::PreconditionFailed { current })
        }
    }

    /// Checks the rules for a row of `entity` after `changes`. Codes in `changes` must be those of the referenced set.
    pub fn check(&self, entity: &'static EntityType, changes: &Changes) -> Result<(), EntityRefusal> {
        self.check_open()?;
        if let Some(given) = changes.version
            && given != self.version()
        {
            let current = self.version();
            return Err(EntityRefusal::OutOfDate { given, current });
        }
        for rule in entity.rules {
            if let AggregateRule::InOrder { from, thru, number } = rule {
                self.check_order(changes, from, thru, *number)?;
            }
        }
        self.check_currency(changes)
    }

    fn check_order(&self, changes: &Changes, from: &str, thru: &str, rule: u32) -> Result<(), EntityRefusal> {
        let after = |name: &str| {
            let written = changes.assignments.iter().find(|assignment| assignment.member.name() == name);
            written.map_or_else(|| self.value(name), |assignment| Some(&assignment.value))
        };
        match (after(from), after(thru)) {
            (Some(EntityValue::Instant(from)), Some(EntityValue::Instant(thru))) if from > thru => {
                Err(EntityRefusal::OutOfOrder { from: format_instant(*from), thru: format_instant(*thru), rule })
            }
            _ => Ok(()),
        }
    }

    fn check_currency(&self, changes: &Changes) -> Result<(), EntityRefusal> {
        let Some(EntityValue::Text(effective)) = self.value(CURRENCY) else {
            return Ok(());
        };
        for assignment in &changes.assignments {
            if let Member::Attribute(Attribute { name, kind: AttributeKind::Amount, .. }) = assignment.member
                && let EntityValue::Measure { code, .. } = &assignment.value
                && code != effective
            {
                return Err(EntityRefusal::OtherCurrency {
                    member: name,
                    given: code.clone(),
                    effective: effective.clone(),
                });
            }
        }
        Ok(())
    }

    fn value(&self, name: &str) -> Option<&EntityValue> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    fn number(&self, name: &str) -> Option<i64> {
        match self.value(name) {
            Some(EntityValue::Integer(number)) => Some(*number),
            _ => None,
        }
    }
}

impl EntityType {
    /// The entity type of a measure's currency or unit, and the member with its code.
    pub fn register_of(kind: AttributeKind) -> Option<(&'static Self, &'static str)> {
        match kind {
            AttributeKind::Amount => Some((target_of(super::sets::CURRENCIES.set), CURRENCY)),
            AttributeKind::Quantity => Some((target_of(super::sets::MEASUREMENT_UNITS.set), "Code")),
            _ => None,
        }
    }
}
