//! What must hold of an aggregate before one of its rows is written (`domain-api.md` §3.5).

use odata::{Preconditions, format_instant};

use super::query::{Field, Shape};
use super::schema::{Attribute, CHANGED_AT, EntityType, Kind, Member, Rule, VERSION};
use super::{Changes, Column, Part, Refusal, Value, target_of};
use crate::Timestamp;

/// What an aggregate holds of what its rules look at, as it was read.
#[derive(Clone, Debug)]
pub struct Held {
    entity: &'static EntityType,
    values: Vec<(&'static str, Value)>,
}

const CURRENCY: &str = "CurrencySign";

/// The columns of [`Held`], seen from a row of `entity`: its own for its own rules, the root's for the aggregate's.
pub fn held_fields(entity: &'static EntityType) -> Vec<Field> {
    let whole = |name| Field {
        name,
        shape: Shape::Attribute(Kind::Integer),
        columns: vec![Column::of_aggregate(entity, name)],
    };
    let mut fields = vec![whole(VERSION), whole(CHANGED_AT)];
    for rule in entity.root().rules {
        match rule {
            Rule::OpenBelow { state, .. } => fields.push(whole(state)),
            Rule::OneCurrency { reference } => fields.push(currency(entity, reference)),
            Rule::InOrder { .. } => {}
        }
    }
    for rule in entity.rules {
        if let Rule::InOrder { from, thru, .. } = rule {
            fields.extend([from, thru].map(|name| Field {
                name,
                shape: Shape::Attribute(Kind::Instant { exact: true }),
                columns: vec![Column::own(name, Part::Plain)],
            }));
        }
    }
    fields
}

/// The sign of the currency that the root's reference leads to; owner and reference are one chain.
fn currency(entity: &'static EntityType, name: &'static str) -> Field {
    let reference = entity.root().references().find(|reference| reference.name == name);
    let reference = reference.expect("a test checks what every rule names");
    let mut column = Column::of_aggregate(entity, CURRENCY);
    column.via.push(reference);
    Field { name: CURRENCY, shape: Shape::Attribute(Kind::Text(0)), columns: vec![column] }
}

impl Held {
    /// `values` are those of [`held_fields`], in their order.
    pub fn new(entity: &'static EntityType, values: Vec<Value>) -> Self {
        let names = held_fields(entity).into_iter().map(|field| field.name);
        Self { entity, values: names.zip(values).collect() }
    }

    /// An aggregate that is about to begin.
    pub fn nothing(entity: &'static EntityType) -> Self {
        Self { entity, values: Vec::new() }
    }

    pub fn version(&self) -> i64 {
        self.number(VERSION).unwrap_or(0)
    }

    /// The stamp of a change made now: later than every earlier one, whatever the clock says.
    pub fn next_stamp(&self, now: Timestamp) -> Timestamp {
        Timestamp(self.number(CHANGED_AT).map_or(now.micros(), |last| now.micros().max(last + 1)))
    }

    /// The rules of the whole: they hold for a write to any of its rows, a deletion included.
    pub fn check_open(&self) -> Result<(), Refusal> {
        let root = self.entity.root();
        for rule in root.rules {
            if let Rule::OpenBelow { state, rank } = rule
                && self.number(state).is_some_and(|now| now >= *rank)
            {
                return Err(Refusal::Closed { table: root.table });
            }
        }
        Ok(())
    }

    /// The entity's tag is the version of its aggregate.
    pub fn check_preconditions(&self, preconditions: &Preconditions) -> Result<(), Refusal> {
        let current = self.version();
        if preconditions.hold(&current.to_string()) { Ok(()) } else { Err(Refusal::PreconditionFailed { current }) }
    }

    /// The rules for a row of `entity` as `changes` will leave it; codes in `changes` are those of the register.
    pub fn check(&self, entity: &'static EntityType, changes: &Changes) -> Result<(), Refusal> {
        self.check_open()?;
        if let Some(given) = changes.version
            && given != self.version()
        {
            let current = self.version();
            return Err(Refusal::OutOfDate { given, current });
        }
        for rule in entity.rules {
            if let Rule::InOrder { from, thru, number } = rule {
                self.check_order(changes, (from, thru), *number)?;
            }
        }
        self.check_currency(changes)
    }

    fn check_order(&self, changes: &Changes, (from, thru): (&str, &str), rule: u32) -> Result<(), Refusal> {
        let after = |name: &str| {
            let written = changes.assignments.iter().find(|assignment| assignment.member.name() == name);
            written.map_or_else(|| self.value(name), |assignment| Some(&assignment.value))
        };
        match (after(from), after(thru)) {
            (Some(Value::Instant(from)), Some(Value::Instant(thru))) if from > thru => {
                Err(Refusal::OutOfOrder { from: format_instant(*from), thru: format_instant(*thru), rule })
            }
            _ => Ok(()),
        }
    }

    fn check_currency(&self, changes: &Changes) -> Result<(), Refusal> {
        let Some(Value::Text(effective)) = self.value(CURRENCY) else {
            return Ok(());
        };
        for assignment in &changes.assignments {
            if let Member::Attribute(Attribute { name, kind: Kind::Amount, .. }) = assignment.member
                && let Value::Measure { code, .. } = &assignment.value
                && code != effective
            {
                return Err(Refusal::OtherCurrency { member: name, given: code.clone(), effective: effective.clone() });
            }
        }
        Ok(())
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    fn number(&self, name: &str) -> Option<i64> {
        match self.value(name) {
            Some(Value::Integer(number)) => Some(*number),
            _ => None,
        }
    }
}

impl EntityType {
    /// Whose code a measure's unit is: the register's set and the member that names its entries.
    pub fn register_of(kind: Kind) -> Option<(&'static Self, &'static str)> {
        match kind {
            Kind::Amount => Some((target_of(super::entities::CURRENCIES.set), CURRENCY)),
            Kind::Quantity => Some((target_of(super::entities::MEASUREMENT_UNITS.set), "Code")),
            _ => None,
        }
    }
}
