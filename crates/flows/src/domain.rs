//! The Domain API: load, decide with the model, one guarded batch (`domain-api.md` §2, §3).

use model::domain::{
    Access, Assignment, Author, Changes, Column, Condition, EntityType, Field, Held, Kind, Match, Member, NamedSet,
    Part, Permissions, Reference, Refusal, SETS, Selection, Shape, Start, Style, Value, by_key, check_create,
    check_fields, check_filter, check_list, check_update, demo, find_set, held_fields, page_size, permit, target_of,
    where_equal,
};
use model::{Moment, Timestamp};
use odata::{EntityId, Json, Next, Query};
use store::domain::{Record, Turn, delete, insert, insert_all, rows, touch, update};
use store::{Batch, Fault, FaultKind, Outcome, Store};
use uuid::Uuid;

use crate::Answer;

/// One instance's entities.
pub struct Domain {
    store: Store,
    ceiling: u32,
}

/// As whom, and when.
#[derive(Clone, Copy)]
pub struct Actor<'a> {
    pub permissions: &'a Permissions,
    pub login: &'a str,
    pub now: Timestamp,
}

/// A body, and the absolute service root (ending with `/`) that ids in it may begin with.
#[derive(Clone, Copy)]
pub struct Body<'a> {
    pub json: &'a Json,
    pub service_root: &'a str,
}

/// A page of a set, under the name the set was asked by.
#[derive(Debug)]
pub struct Page {
    pub set: NamedSet,
    pub fields: Vec<Field>,
    pub records: Vec<Record>,
    /// Of all pages, if asked for.
    pub count: Option<u64>,
    pub next: Option<Next>,
}

#[derive(Debug)]
pub struct Entity {
    pub set: NamedSet,
    pub fields: Vec<Field>,
    pub record: Record,
}

/// What is to be decided, as often as it takes.
enum Write<'a> {
    Create { entity: &'static EntityType, key: Uuid, changes: &'a Changes },
    Update { entity: &'static EntityType, id: &'a EntityId, changes: &'a Changes },
    Delete { entity: &'static EntityType, id: &'a EntityId },
}

/// How often a write is decided anew when others were first.
const ATTEMPTS: usize = 5;

/// Rows of one page at most, so that an answer has a size (§2.4).
const CEILING: u32 = 10_000;

/// What ends a flow before its answer; at the door the two part again.
enum Stop {
    Refused(Refusal),
    Failed(Fault),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<odata::Problem> for Stop {
    fn from(problem: odata::Problem) -> Self {
        Self::Refused(problem.into())
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

fn answer<T>(result: Result<T, Stop>) -> Answer<T, Refusal> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Stop::Refused(refusal)) => Ok(Err(refusal)),
        Err(Stop::Failed(fault)) => Err(fault),
    }
}

impl Domain {
    pub const fn new(store: Store) -> Self {
        Self { store, ceiling: CEILING }
    }

    /// The same with pages of at most so many rows.
    #[must_use]
    pub fn cut_at(self, ceiling: u32) -> Self {
        Self { store: self.store, ceiling }
    }

    pub async fn list(&self, actor: Actor<'_>, set: &str, query: &Query) -> Answer<Page, Refusal> {
        answer(self.page(actor, set, query).await)
    }

    async fn page(&self, actor: Actor<'_>, set: &str, query: &Query) -> Result<Page, Stop> {
        let set = permitted(set, actor, Access::Read)?;
        let selection = check_list(set.entity, query, actor.permissions, self.ceiling)?;
        let mut records = rows(&self.store, &selection).await?;
        let page = page_size(query, self.ceiling);
        let size = usize::try_from(page).unwrap_or(usize::MAX);
        let more = records.get(size).map(|record| record.key).filter(|_| page > 0);
        records.truncate(size);
        let next = more.map(|key| match selection.start {
            Start::Skip(rows) if !selection.order.is_empty() => Next::Skip(rows + u64::from(page)),
            _ => Next::Token(key),
        });
        let mut count = None;
        if query.count {
            count = Some(store::domain::count(&self.store, set.entity, &selection.conditions).await?);
        }
        Ok(Page { set, fields: selection.fields, records, count, next })
    }

    pub async fn count(&self, actor: Actor<'_>, set: &str, query: &Query) -> Answer<u64, Refusal> {
        answer(self.total(actor, set, query).await)
    }

    async fn total(&self, actor: Actor<'_>, set: &str, query: &Query) -> Result<u64, Stop> {
        let set = permitted(set, actor, Access::Read)?;
        let conditions = check_filter(set.entity, query, actor.permissions)?;
        Ok(store::domain::count(&self.store, set.entity, &conditions).await?)
    }

    pub async fn get(&self, actor: Actor<'_>, id: &EntityId, query: &Query) -> Answer<Entity, Refusal> {
        answer(self.one(actor, id, query).await)
    }

    async fn one(&self, actor: Actor<'_>, id: &EntityId, query: &Query) -> Result<Entity, Stop> {
        let set = permitted(&id.set, actor, Access::Read)?;
        let style = Style::of(query)?;
        let fields = check_fields(set.entity, query.select.as_deref(), style, actor.permissions)?;
        self.entity(set, id.key, fields).await
    }

    async fn entity(&self, set: NamedSet, key: Uuid, fields: Vec<Field>) -> Result<Entity, Stop> {
        let mut found = rows(&self.store, &by_key(set.entity, key, fields.clone())).await?;
        match found.pop() {
            Some(record) => Ok(Entity { set, fields, record }),
            None => Err(Refusal::UnknownEntity(EntityId { set: set.asked, key }).into()),
        }
    }

    /// `key` is the new entity's; the answer is the entity with what the server filled in.
    pub async fn create(&self, actor: Actor<'_>, set: &str, body: Body<'_>, key: Uuid) -> Answer<Entity, Refusal> {
        answer(self.make(actor, set, body, key).await)
    }

    async fn make(&self, actor: Actor<'_>, set: &str, body: Body<'_>, key: Uuid) -> Result<Entity, Stop> {
        let set = permitted(set, actor, Access::Update)?;
        let changes = check_create(set.entity, body.json, body.service_root, actor.author())?;
        self.settle(actor, &Write::Create { entity: set.entity, key, changes: &changes }).await?;
        let style = Style { include_id: true, ..Style::default() };
        let fields = check_fields(set.entity, None, style, actor.permissions)?;
        self.entity(set, key, fields).await
    }

    async fn creation(
        &self,
        actor: Actor<'_>,
        entity: &'static EntityType,
        key: Uuid,
        mut changes: Changes,
    ) -> Result<Batch, Stop> {
        self.look_up(actor, entity, &mut changes).await?;
        let owner = entity.owner().and_then(|owner| Some((owner, pointed_to(&changes, owner)?)));
        let held = match owner {
            None => Held::nothing(entity),
            Some((owner, key)) => {
                let (held, _) = self.held(target_of(owner.target), key).await?.ok_or_else(|| nothing_at(owner, key))?;
                held
            }
        };
        held.check(entity, &changes)?;
        self.check_unique(entity, key, &changes).await?;
        let turn = turn(&held, actor.now);
        let mut batch = Batch::new();
        if let Some((owner, key)) = owner {
            batch.push(touch(&self.store, target_of(owner.target), key, turn));
        }
        batch.push(insert(&self.store, entity, key, &changes.assignments, turn.stamp));
        Ok(batch)
    }

    pub async fn update(&self, actor: Actor<'_>, id: &EntityId, body: Body<'_>) -> Answer<(), Refusal> {
        answer(self.change(actor, id, body).await)
    }

    async fn change(&self, actor: Actor<'_>, id: &EntityId, body: Body<'_>) -> Result<(), Stop> {
        let set = permitted(&id.set, actor, Access::Update)?;
        let changes = check_update(set.entity, body.json, body.service_root, actor.author())?;
        self.settle(actor, &Write::Update { entity: set.entity, id, changes: &changes }).await
    }

    async fn updating(
        &self,
        actor: Actor<'_>,
        (entity, id): (&'static EntityType, &EntityId),
        mut changes: Changes,
    ) -> Result<Batch, Stop> {
        let (held, owner) = self.held(entity, id.key).await?.ok_or_else(|| Refusal::UnknownEntity(id.clone()))?;
        self.look_up(actor, entity, &mut changes).await?;
        held.check(entity, &changes)?;
        self.check_unique(entity, id.key, &changes).await?;
        let mut batch = Batch::new();
        if changes.assignments.is_empty() {
            return Ok(batch);
        }
        let turn = turn(&held, actor.now);
        if let Some(owner) = owner {
            batch.push(touch(&self.store, entity.root(), owner, turn));
        }
        let guard = owner.is_none().then_some(turn);
        batch.push(update(&self.store, entity, id.key, &changes.assignments, guard));
        Ok(batch)
    }

    /// The entity and what it owns.
    pub async fn delete(&self, actor: Actor<'_>, id: &EntityId) -> Answer<(), Refusal> {
        answer(self.remove(actor, id).await)
    }

    async fn remove(&self, actor: Actor<'_>, id: &EntityId) -> Result<(), Stop> {
        let set = permitted(&id.set, actor, Access::Update)?;
        self.settle(actor, &Write::Delete { entity: set.entity, id }).await
    }

    async fn removal(&self, now: Timestamp, entity: &'static EntityType, id: &EntityId) -> Result<Batch, Stop> {
        let (held, owner) = self.held(entity, id.key).await?.ok_or_else(|| Refusal::UnknownEntity(id.clone()))?;
        held.check_open()?;
        self.check_unreferenced(entity, id.key).await?;
        let turn = turn(&held, now);
        let mut batch = Batch::new();
        if let Some(owner) = owner {
            batch.push(touch(&self.store, entity.root(), owner, turn));
        }
        let version = owner.is_none().then_some(turn.version);
        batch.push(delete(&self.store, entity, id.key, version));
        Ok(batch)
    }

    /// Decides and commits until nobody else was first. A constraint that broke means the same as a guard that failed:
    /// what was read is no longer so. If deciding anew does not say why, it was a fault after all.
    async fn settle(&self, actor: Actor<'_>, write: &Write<'_>) -> Result<(), Stop> {
        let mut broken = None;
        for _ in 0..ATTEMPTS {
            let batch = match *write {
                Write::Create { entity, key, changes } => self.creation(actor, entity, key, changes.clone()).await,
                Write::Update { entity, id, changes } => self.updating(actor, (entity, id), changes.clone()).await,
                Write::Delete { entity, id } => self.removal(actor.now, entity, id).await,
            }?;
            if let Some(fault) = broken {
                return Err(Stop::Failed(fault));
            }
            if batch.is_empty() {
                return Ok(());
            }
            broken = match self.store.commit(batch).await {
                Ok(Outcome::Committed) => return Ok(()),
                Ok(Outcome::GuardFailed { .. }) => None,
                Err(fault) if fault.kind() == FaultKind::Failed => Some(fault),
                Err(fault) => return Err(Stop::Failed(fault)),
            };
        }
        Err(Refusal::Busy.into())
    }

    /// What the rules look at, and the owner's key if the entity is a part of something.
    async fn held(&self, entity: &'static EntityType, key: Uuid) -> Result<Option<(Held, Option<Uuid>)>, Fault> {
        let mut fields = held_fields(entity);
        fields.extend(entity.owner().map(|owner| Field {
            name: owner.name,
            shape: Shape::Reference(owner.target),
            columns: vec![Column::own(owner.name, Part::Plain)],
        }));
        let Some(mut record) = rows(&self.store, &by_key(entity, key, fields)).await?.pop() else {
            return Ok(None);
        };
        let owner = match (entity.owner(), record.values.last()) {
            (Some(_), Some(Value::Guid(key))) => Some(*key),
            _ => None,
        };
        record.values.truncate(held_fields(entity).len());
        Ok(Some((Held::new(entity, record.values), owner)))
    }

    /// Makes sure of everything the changes lead to, and spells codes as the register does.
    async fn look_up(&self, actor: Actor<'_>, entity: &'static EntityType, changes: &mut Changes) -> Result<(), Stop> {
        let mut units = Vec::new();
        for Assignment { member, value } in &mut changes.assignments {
            match (*member, value) {
                (Member::Reference(reference), Value::Guid(key)) => {
                    permit(actor.permissions, reference.target, Access::Read)?;
                    let found = rows(&self.store, &by_key(target_of(reference.target), *key, Vec::new())).await?;
                    if found.is_empty() {
                        return Err(nothing_at(reference, *key).into());
                    }
                }
                (Member::Attribute(attribute), value @ (Value::Measure { .. } | Value::Null)) => {
                    let unit = self.registered(attribute.name, attribute.kind, value).await?;
                    units.push((attribute.name, unit));
                }
                _ => {}
            }
        }
        for (quantity, unit) in units {
            changes.follow(entity, quantity, unit);
        }
        Ok(())
    }

    /// The key of the currency or unit that a measure's code names, in any case.
    async fn registered(&self, name: &'static str, kind: Kind, value: &mut Value) -> Result<Option<Uuid>, Stop> {
        let (Some((register, member)), Value::Measure { code, .. }) = (EntityType::register_of(kind), value) else {
            return Ok(None);
        };
        let column = Column::own(member, Part::Plain);
        let shown = Field { name: member, shape: Shape::Attribute(Kind::Text(0)), columns: vec![column.clone()] };
        let selection = Selection {
            entity: register,
            fields: vec![shown],
            conditions: vec![Condition::Like(column, Match::Whole, code.clone())],
            order: Vec::new(),
            start: Start::Skip(0),
            limit: 1,
        };
        match rows(&self.store, &selection).await?.pop() {
            Some(Record { key, values }) => {
                values[0].shown().clone_into(code);
                Ok(Some(key))
            }
            None => Err(Refusal::NothingThere { member: name, value: code.clone() }.into()),
        }
    }

    async fn check_unique(&self, entity: &'static EntityType, key: Uuid, changes: &Changes) -> Result<(), Stop> {
        for Assignment { member, value } in &changes.assignments {
            let Member::Attribute(attribute) = member else { continue };
            if !attribute.unique {
                continue;
            }
            let column = Column::own(attribute.column, Part::Plain);
            let found = rows(&self.store, &where_equal(entity, column, value.clone(), Vec::new())).await?;
            if found.iter().any(|record| record.key != key) {
                let value = value.shown().to_owned();
                return Err(Refusal::DuplicateKey { table: entity.table, member: attribute.name, value }.into());
            }
        }
        Ok(())
    }

    /// References from elsewhere veto a deletion; what is owned goes along.
    async fn check_unreferenced(&self, entity: &'static EntityType, key: Uuid) -> Result<(), Stop> {
        for other in SETS {
            let owner = other.owner().map(|owner| owner.name);
            let pointing = other.references().filter(|reference| reference.target == entity.set);
            for reference in pointing.filter(|reference| owner != Some(reference.name)) {
                let column = Column::own(reference.name, Part::Plain);
                let found = rows(&self.store, &where_equal(other, column, Value::Guid(key), Vec::new())).await?;
                if found.iter().any(|record| other.set != entity.set || record.key != key) {
                    return Err(Refusal::Referenced { table: entity.table, by: other.table }.into());
                }
            }
        }
        Ok(())
    }
}

impl<'a> Actor<'a> {
    const fn author(&self) -> Author<'a> {
        Author { login: self.login, now: self.now }
    }
}

fn permitted(set: &str, actor: Actor<'_>, access: Access) -> Result<NamedSet, Refusal> {
    let set = find_set(set)?;
    permit(actor.permissions, set.entity.set, access)?;
    Ok(set)
}

fn turn(held: &Held, now: Timestamp) -> Turn {
    Turn { version: held.version(), stamp: held.next_stamp(now) }
}

fn pointed_to(changes: &Changes, reference: &Reference) -> Option<Uuid> {
    let found = changes.assignments.iter().find(|assignment| assignment.member.name() == reference.name)?;
    match found.value {
        Value::Guid(key) => Some(key),
        _ => None,
    }
}

fn nothing_at(reference: &'static Reference, key: Uuid) -> Refusal {
    let id = EntityId { set: reference.target.to_owned(), key };
    Refusal::NothingThere { member: reference.name, value: id.to_string() }
}

/// Fills an instance with the demo's rows.
pub async fn seed(store: &Store, moment: &mut Moment<'_>) -> Result<(), Fault> {
    let now = moment.now;
    let mut batch = Batch::new();
    for (entity, filled) in demo::tables(Author { login: "admin", now }) {
        let filled = filled.iter().map(|row| (row.key, row.assignments.as_slice()));
        batch.extend(insert_all(store, entity, filled, now));
    }
    match store.commit(batch).await? {
        Outcome::Committed => Ok(()),
        Outcome::GuardFailed { .. } => Err(Fault::failed("the demo's rows were not all new")),
    }
}
