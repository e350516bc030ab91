//! The Domain API: load, decide with the model, commit one guarded batch (`domain-api.md` §2, §3).

mod queues;

use std::time::Duration;

use model::entities::{
    AccessKind, AggregateState, AnswerStyle, Assignment, AttributeKind, Author, Changes, Column, ColumnPart,
    EntityRefusal, EntityType, EntityValue, FieldShape, FilterCondition, MatchKind, Member, NamedSet, Permissions,
    Reference, ReferenceBond, SETS, SelectedField, Selection, Start, by_key, check_create, check_fields, check_filter,
    check_list, check_update, find_set, held_fields, page_size, permit, reference_field, target_of, version_field,
    where_equal,
};
use model::{Culture, Timestamp};
use odata::{EntityId, Json, NextPage, Preconditions, Query};
use store::entities::{AggregateVersion, EntityRow, delete, insert, rows, touch, update};
use store::{Batch, CommitOutcome, Fault, FaultKind, Store};
use uuid::Uuid;

use self::queues::WriteQueues;
use crate::Answer;

/// The entities of one instance.
pub struct Entities {
    store: Store,
    ceiling: u32,
    queues: WriteQueues,
}

/// The caller of a request: user, permissions, time.
#[derive(Clone, Copy)]
pub struct Actor<'a> {
    pub permissions: &'a Permissions,
    pub login: &'a str,
    /// From the `Accept-Language` header, unless the URL says otherwise.
    pub culture: Culture,
    pub now: Timestamp,
}

/// A request body, and the absolute service root (ending with `/`) that ids in it may begin with.
#[derive(Clone, Copy)]
pub struct EntityBody<'a> {
    pub json: &'a Json,
    pub service_root: &'a str,
}

/// A page of a set, under the name used in the request.
#[derive(Debug)]
pub struct EntityPage {
    pub set: NamedSet,
    pub fields: Vec<SelectedField>,
    pub records: Vec<EntityRow>,
    /// The count over all pages, if requested.
    pub count: Option<u64>,
    pub next: Option<NextPage>,
    /// The language that the rows are ordered by, if any. The next page keeps it.
    pub ordered_in: Option<Culture>,
}

#[derive(Debug)]
pub struct Entity {
    pub set: NamedSet,
    pub fields: Vec<SelectedField>,
    pub record: EntityRow,
    /// The version of its aggregate.
    pub version: i64,
}

/// A requested write. It is decided again after each lost race.
enum EntityWrite<'a> {
    Create { entity: &'static EntityType, key: Uuid, changes: &'a Changes },
    Update { entity: &'static EntityType, id: &'a EntityId, changes: &'a Changes, preconditions: &'a Preconditions },
    Delete { entity: &'static EntityType, id: &'a EntityId, preconditions: &'a Preconditions },
}

/// A row as loaded for a write.
struct FoundEntity {
    held: AggregateState,
    /// References with the keys they point to.
    references: Vec<(&'static Reference, EntityValue)>,
}

/// The batch of a write, and the version of the aggregate after it.
struct WriteDecision {
    batch: Batch,
    version: i64,
}

/// Maximum attempts at a write that loses to other nodes. Each lost attempt means that another write succeeded, so
/// nodes with compatible writes all succeed in the end. The writers of one node queue, and count as one.
const ATTEMPTS: u32 = 40;

/// Pause before every attempt after the third, to let other nodes finish.
const PAUSE: Duration = Duration::from_millis(5);

/// Maximum rows per page, so that the size of an answer is bounded (§2.4).
const CEILING: u32 = 10_000;

/// Ends a flow early; [`answer`] separates refusals from faults again.
enum Interruption {
    Refused(EntityRefusal),
    Failed(Fault),
}

impl From<EntityRefusal> for Interruption {
    fn from(refusal: EntityRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<odata::ParseError> for Interruption {
    fn from(problem: odata::ParseError) -> Self {
        Self::Refused(problem.into())
    }
}

impl From<Fault> for Interruption {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

fn answer<T>(result: Result<T, Interruption>) -> Answer<T, EntityRefusal> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Interruption::Refused(refusal)) => Ok(Err(refusal)),
        Err(Interruption::Failed(fault)) => Err(fault),
    }
}

impl Entities {
    pub fn new(store: Store) -> Self {
        Self { store, ceiling: CEILING, queues: WriteQueues::default() }
    }

    /// Sets the maximum rows per page.
    #[must_use]
    pub fn cut_at(self, ceiling: u32) -> Self {
        Self { ceiling, ..self }
    }

    pub async fn list(&self, actor: Actor<'_>, set: &str, query: &Query) -> Answer<EntityPage, EntityRefusal> {
        answer(self.page(actor, set, query).await)
    }

    async fn page(&self, actor: Actor<'_>, set: &str, query: &Query) -> Result<EntityPage, Interruption> {
        let set = permitted(set, actor, AccessKind::Read)?;
        let style = AnswerStyle::of(query, actor.culture)?;
        let selection = check_list(set.entity, query, style, self.ceiling, actor.permissions)?;
        let mut records = rows(&self.store, &selection).await?;
        let page = page_size(query, self.ceiling);
        let size = usize::try_from(page).unwrap_or(usize::MAX);
        let more = records.get(size).map(|record| record.key).filter(|_| page > 0);
        records.truncate(size);
        let next = more.map(|key| match selection.start {
            Start::Skip(rows) if !selection.order.is_empty() => NextPage::Skip(rows + u64::from(page)),
            _ => NextPage::Token(key),
        });
        let mut count = None;
        if query.count {
            count = Some(store::entities::count(&self.store, set.entity, &selection.conditions).await?);
        }
        let by_language = selection.order.iter().any(|(column, _)| matches!(column.part, ColumnPart::Shown(_)));
        let ordered_in = by_language.then_some(style.culture);
        Ok(EntityPage { set, fields: selection.fields, records, count, next, ordered_in })
    }

    pub async fn count(&self, actor: Actor<'_>, set: &str, query: &Query) -> Answer<u64, EntityRefusal> {
        answer(self.total(actor, set, query).await)
    }

    async fn total(&self, actor: Actor<'_>, set: &str, query: &Query) -> Result<u64, Interruption> {
        let set = permitted(set, actor, AccessKind::Read)?;
        let conditions = check_filter(set.entity, query, actor.permissions)?;
        Ok(store::entities::count(&self.store, set.entity, &conditions).await?)
    }

    pub async fn get(&self, actor: Actor<'_>, id: &EntityId, query: &Query) -> Answer<Entity, EntityRefusal> {
        answer(self.one(actor, id, query).await)
    }

    async fn one(&self, actor: Actor<'_>, id: &EntityId, query: &Query) -> Result<Entity, Interruption> {
        let set = permitted(&id.set, actor, AccessKind::Read)?;
        let style = AnswerStyle::of(query, actor.culture)?;
        let fields = check_fields(set.entity, query.select.as_deref(), style, actor.permissions)?;
        self.entity(set, id.key, fields).await
    }

    async fn entity(&self, set: NamedSet, key: Uuid, fields: Vec<SelectedField>) -> Result<Entity, Interruption> {
        let mut read = fields.clone();
        read.push(version_field(set.entity));
        let Some(mut record) = rows(&self.store, &by_key(set.entity, key, read)).await?.pop() else {
            return Err(EntityRefusal::UnknownEntity(EntityId { set: set.asked, key }).into());
        };
        match record.values.pop() {
            Some(EntityValue::Integer(version)) => Ok(Entity { set, fields, record, version }),
            _ => Err(Fault::failed("an aggregate has a version").into()),
        }
    }

    /// `key` is the key of the new entity. Returns the entity with the values that the server filled in.
    pub async fn create(
        &self,
        actor: Actor<'_>,
        set: &str,
        body: EntityBody<'_>,
        key: Uuid,
    ) -> Answer<Entity, EntityRefusal> {
        answer(self.make(actor, set, body, key).await)
    }

    async fn make(&self, actor: Actor<'_>, set: &str, body: EntityBody<'_>, key: Uuid) -> Result<Entity, Interruption> {
        let set = permitted(set, actor, AccessKind::Update)?;
        let changes = check_create(set.entity, body.json, body.service_root, actor.author())?;
        let _turn = match set.entity.owner().and_then(|owner| pointed_to(&changes, owner)) {
            Some(owner) => Some(self.queues.turn(owner).await.ok_or(EntityRefusal::Busy)?),
            None => None,
        };
        self.settle(actor, &EntityWrite::Create { entity: set.entity, key, changes: &changes }).await?;
        let style = AnswerStyle { include_id: true, culture: actor.culture, ..AnswerStyle::default() };
        let fields = check_fields(set.entity, None, style, actor.permissions)?;
        self.entity(set, key, fields).await
    }

    async fn creation(
        &self,
        actor: Actor<'_>,
        entity: &'static EntityType,
        key: Uuid,
        mut changes: Changes,
    ) -> Result<WriteDecision, Interruption> {
        self.look_up(actor, entity, &mut changes, &[]).await?;
        changes.check_units(|_| EntityValue::Null)?;
        let owner = entity.owner().and_then(|owner| Some((owner, pointed_to(&changes, owner)?)));
        let held = match owner {
            None => AggregateState::nothing(entity),
            Some((owner, key)) => {
                let found = self.found(target_of(owner.target), key).await?;
                found.ok_or_else(|| nothing_at(owner, key))?.held
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
        Ok(WriteDecision { batch, version: turn.version + 1 })
    }

    /// Returns the new version of the entity's aggregate.
    pub async fn update(
        &self,
        actor: Actor<'_>,
        id: &EntityId,
        preconditions: &Preconditions,
        body: EntityBody<'_>,
    ) -> Answer<i64, EntityRefusal> {
        answer(self.change(actor, id, preconditions, body).await)
    }

    async fn change(
        &self,
        actor: Actor<'_>,
        id: &EntityId,
        preconditions: &Preconditions,
        body: EntityBody<'_>,
    ) -> Result<i64, Interruption> {
        let NamedSet { entity, .. } = permitted(&id.set, actor, AccessKind::Update)?;
        let changes = check_update(entity, body.json, body.service_root, actor.author())?;
        let _turn = self.turn_at(entity, id).await?;
        self.settle(actor, &EntityWrite::Update { entity, id, changes: &changes, preconditions }).await
    }

    async fn updating(
        &self,
        actor: Actor<'_>,
        entity: &'static EntityType,
        id: &EntityId,
        preconditions: &Preconditions,
        mut changes: Changes,
    ) -> Result<WriteDecision, Interruption> {
        let found = self.found(entity, id.key).await?.ok_or_else(|| EntityRefusal::UnknownEntity(id.clone()))?;
        found.held.check_preconditions(preconditions)?;
        self.look_up(actor, entity, &mut changes, &found.references).await?;
        changes.check_units(|name| found.reference(name))?;
        found.held.check(entity, &changes)?;
        self.check_unique(entity, id.key, &changes).await?;
        let (owner, turn, mut batch) = (found.owner(), turn(&found.held, actor.now), Batch::new());
        if changes.assignments.is_empty() {
            return Ok(WriteDecision { batch, version: turn.version });
        }
        if let Some(owner) = owner {
            batch.push(touch(&self.store, entity.root(), owner, turn));
        }
        let guard = owner.is_none().then_some(turn);
        batch.push(update(&self.store, entity, id.key, &changes.assignments, guard));
        Ok(WriteDecision { batch, version: turn.version + 1 })
    }

    /// Deletes the entity and its owned children.
    pub async fn delete(
        &self,
        actor: Actor<'_>,
        id: &EntityId,
        preconditions: &Preconditions,
    ) -> Answer<(), EntityRefusal> {
        answer(self.remove(actor, id, preconditions).await)
    }

    async fn remove(&self, actor: Actor<'_>, id: &EntityId, preconditions: &Preconditions) -> Result<(), Interruption> {
        let NamedSet { entity, .. } = permitted(&id.set, actor, AccessKind::Update)?;
        let _turn = self.turn_at(entity, id).await?;
        self.settle(actor, &EntityWrite::Delete { entity, id, preconditions }).await.map(drop)
    }

    async fn removal(
        &self,
        now: Timestamp,
        entity: &'static EntityType,
        id: &EntityId,
        preconditions: &Preconditions,
    ) -> Result<WriteDecision, Interruption> {
        let found = self.found(entity, id.key).await?.ok_or_else(|| EntityRefusal::UnknownEntity(id.clone()))?;
        found.held.check_preconditions(preconditions)?;
        found.held.check_open()?;
        self.check_unreferenced(entity, id.key).await?;
        let (owner, turn, mut batch) = (found.owner(), turn(&found.held, now), Batch::new());
        if let Some(owner) = owner {
            batch.push(touch(&self.store, entity.root(), owner, turn));
        }
        let version = owner.is_none().then_some(turn.version);
        batch.push(delete(&self.store, entity, id.key, version));
        Ok(WriteDecision { batch, version: turn.version + 1 })
    }

    /// Waits for the turn to write to the entity's aggregate.
    async fn turn_at(&self, entity: &'static EntityType, id: &EntityId) -> Result<queues::WriteTurn<'_>, Interruption> {
        let root = match entity.owner() {
            None => id.key,
            Some(owner) => {
                let record = rows(&self.store, &by_key(entity, id.key, vec![reference_field(owner)])).await?.pop();
                match record.and_then(|record| record.values.into_iter().next()) {
                    Some(EntityValue::Guid(owner)) => owner,
                    _ => return Err(EntityRefusal::UnknownEntity(id.clone()).into()),
                }
            }
        };
        Ok(self.queues.turn(root).await.ok_or(EntityRefusal::Busy)?)
    }

    /// Decides and commits until no other write was first. A violated constraint is treated like a failed guard: the
    /// data that was read is outdated. If the next decision does not refuse, the violation was a fault.
    async fn settle(&self, actor: Actor<'_>, write: &EntityWrite<'_>) -> Result<i64, Interruption> {
        let mut broken = None;
        for attempt in 0..ATTEMPTS {
            if attempt > 2 {
                tokio::time::sleep(PAUSE).await;
            }
            let WriteDecision { batch, version } = match *write {
                EntityWrite::Create { entity, key, changes } => {
                    self.creation(actor, entity, key, changes.clone()).await
                }
                EntityWrite::Update { entity, id, changes, preconditions } => {
                    self.updating(actor, entity, id, preconditions, changes.clone()).await
                }
                EntityWrite::Delete { entity, id, preconditions } => {
                    self.removal(actor.now, entity, id, preconditions).await
                }
            }?;
            if let Some(fault) = broken {
                return Err(Interruption::Failed(fault));
            }
            if batch.is_empty() {
                return Ok(version);
            }
            broken = match self.store.commit(batch).await {
                Ok(CommitOutcome::Committed) => return Ok(version),
                Ok(CommitOutcome::GuardFailed { .. }) => None,
                Err(fault) if fault.kind() == FaultKind::Failed => Some(fault),
                Err(fault) => return Err(Interruption::Failed(fault)),
            };
        }
        Err(EntityRefusal::Busy.into())
    }

    /// Loads the row and references that a write to the entity needs.
    async fn found(&self, entity: &'static EntityType, key: Uuid) -> Result<Option<FoundEntity>, Fault> {
        let mut fields = held_fields(entity);
        fields.extend(entity.references().map(reference_field));
        let Some(mut record) = rows(&self.store, &by_key(entity, key, fields)).await?.pop() else {
            return Ok(None);
        };
        let references = record.values.split_off(held_fields(entity).len());
        let references = entity.references().zip(references).collect();
        Ok(Some(FoundEntity { held: AggregateState::new(entity, record.values), references }))
    }

    /// Checks that every referenced entity exists, and spells unit and currency codes as the register does. A reference
    /// already `held` was checked when it was set: a caller that sends back what it read needs no right to read the
    /// referenced entity.
    async fn look_up(
        &self,
        actor: Actor<'_>,
        entity: &'static EntityType,
        changes: &mut Changes,
        held: &[(&'static Reference, EntityValue)],
    ) -> Result<(), Interruption> {
        let mut units = Vec::new();
        for Assignment { member, value } in &mut changes.assignments {
            match (*member, value) {
                (Member::Reference(reference), value)
                    if held.iter().any(|(known, held)| known.name == reference.name && held == value) => {}
                (Member::Reference(reference), EntityValue::Guid(key)) => {
                    permit(actor.permissions, reference.target, AccessKind::Read)?;
                    let found = rows(&self.store, &by_key(target_of(reference.target), *key, Vec::new())).await?;
                    if found.is_empty() {
                        return Err(nothing_at(reference, *key).into());
                    }
                }
                (Member::Attribute(attribute), value @ (EntityValue::Measure { .. } | EntityValue::Null)) => {
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

    /// The key of the currency or unit with the measure's code, case-insensitive.
    async fn registered(
        &self,
        name: &'static str,
        kind: AttributeKind,
        value: &mut EntityValue,
    ) -> Result<Option<Uuid>, Interruption> {
        let (Some((register, member)), EntityValue::Measure { code, .. }) = (EntityType::register_of(kind), value)
        else {
            return Ok(None);
        };
        let column = Column::own(member, ColumnPart::Plain);
        let shown = SelectedField {
            name: member,
            shape: FieldShape::Attribute(AttributeKind::Text(0)),
            columns: vec![column.clone()],
        };
        let selection = Selection {
            entity: register,
            fields: vec![shown],
            conditions: vec![FilterCondition::Like(column, MatchKind::Whole, code.clone())],
            order: Vec::new(),
            start: Start::Skip(0),
            limit: 1,
        };
        match rows(&self.store, &selection).await?.pop() {
            Some(EntityRow { key, values }) => {
                values[0].shown(Culture::ENGLISH).clone_into(code);
                Ok(Some(key))
            }
            None => Err(EntityRefusal::NothingThere { member: name, value: code.clone() }.into()),
        }
    }

    async fn check_unique(
        &self,
        entity: &'static EntityType,
        key: Uuid,
        changes: &Changes,
    ) -> Result<(), Interruption> {
        for Assignment { member, value } in &changes.assignments {
            let Member::Attribute(attribute) = member else { continue };
            if !attribute.unique {
                continue;
            }
            let column = Column::own(attribute.column, ColumnPart::Plain);
            let found = rows(&self.store, &where_equal(entity, column, value.clone(), Vec::new())).await?;
            if found.iter().any(|record| record.key != key) {
                let value = value.shown(Culture::ENGLISH).to_owned();
                return Err(EntityRefusal::DuplicateKey { table: entity.table, member: attribute.name, value }.into());
            }
        }
        Ok(())
    }

    /// Fails if another entity still references this one. Owned children do not count: they are deleted with it.
    async fn check_unreferenced(&self, entity: &'static EntityType, key: Uuid) -> Result<(), Interruption> {
        for other in SETS {
            let owner = other.owner().map(|owner| owner.name);
            let pointing = other.references().filter(|reference| reference.target == entity.set);
            for reference in pointing.filter(|reference| owner != Some(reference.name)) {
                let column = Column::own(reference.name, ColumnPart::Plain);
                let found = rows(&self.store, &where_equal(other, column, EntityValue::Guid(key), Vec::new())).await?;
                if found.iter().any(|record| other.set != entity.set || record.key != key) {
                    return Err(EntityRefusal::Referenced { table: entity.table, by: other.table }.into());
                }
            }
        }
        Ok(())
    }
}

impl FoundEntity {
    fn reference(&self, name: &str) -> EntityValue {
        let found = self.references.iter().find(|(reference, _)| reference.name == name);
        found.map_or(EntityValue::Null, |(_, value)| value.clone())
    }

    /// The key of the owner, if the entity is owned.
    fn owner(&self) -> Option<Uuid> {
        self.references.iter().find_map(|(reference, value)| match (reference.bond, value) {
            (ReferenceBond::Owner, EntityValue::Guid(key)) => Some(*key),
            _ => None,
        })
    }
}

impl<'a> Actor<'a> {
    const fn author(&self) -> Author<'a> {
        Author { login: self.login, now: self.now }
    }
}

fn permitted(set: &str, actor: Actor<'_>, access: AccessKind) -> Result<NamedSet, EntityRefusal> {
    let set = find_set(set)?;
    permit(actor.permissions, set.entity.set, access)?;
    Ok(set)
}

fn turn(held: &AggregateState, now: Timestamp) -> AggregateVersion {
    AggregateVersion { version: held.version(), stamp: held.next_stamp(now) }
}

fn pointed_to(changes: &Changes, reference: &Reference) -> Option<Uuid> {
    let found = changes.assignments.iter().find(|assignment| assignment.member.name() == reference.name)?;
    match found.value {
        EntityValue::Guid(key) => Some(key),
        _ => None,
    }
}

fn nothing_at(reference: &'static Reference, key: Uuid) -> EntityRefusal {
    let id = EntityId { set: reference.target.to_owned(), key };
    EntityRefusal::NothingThere { member: reference.name, value: id.to_string() }
}
