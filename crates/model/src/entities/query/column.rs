//! Resolution of member paths to columns.

use odata::Path;

use crate::Culture;
use crate::entities::query::{find, permit};
use crate::entities::schema::{Attribute, AttributeKind, EntityType, ID, Member, Reference, ReferenceBond};
use crate::entities::{AccessKind, EntityRefusal, Permissions, target_of};

/// A column of the entity's row, or of the row reached by following references in order.
#[derive(Clone, Debug)]
pub struct Column {
    pub via: Vec<&'static Reference>,
    pub name: &'static str,
    pub part: ColumnPart,
}

impl PartialEq for Column {
    fn eq(&self, other: &Self) -> bool {
        let names = |column: &Self| column.via.iter().map(|reference| reference.name).collect::<Vec<_>>();
        names(self) == names(other) && self.name == other.name && self.part == other.part
    }
}

/// The part of an attribute, which may be stored in several columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnPart {
    Plain,
    /// The number of an amount or a quantity.
    Value,
    /// The currency or unit of an amount or a quantity.
    Code,
    /// A multilingual text in all languages, for searching.
    Text,
    /// A multilingual text as shown in this language.
    Shown(Culture),
}

/// The target of a path.
#[derive(Clone, Copy, Debug)]
pub(in crate::entities) enum Leaf {
    Attribute(&'static Attribute),
    /// The number of an amount or a quantity: `<Name>Value`.
    Number(&'static Attribute),
    Reference(&'static Reference),
}

impl Leaf {
    pub(in crate::entities) const fn name(self) -> &'static str {
        match self {
            Self::Attribute(attribute) | Self::Number(attribute) => attribute.name,
            Self::Reference(reference) => reference.name,
        }
    }
}

impl Column {
    pub fn own(name: &'static str, part: ColumnPart) -> Self {
        Self { via: Vec::new(), name, part }
    }

    pub fn id() -> Self {
        Self::own(ID, ColumnPart::Plain)
    }

    /// A column of the aggregate's root, which is the entity itself or its owner.
    pub(in crate::entities) fn of_aggregate(entity: &'static EntityType, name: &'static str) -> Self {
        Self { via: entity.owner().into_iter().collect(), name, part: ColumnPart::Plain }
    }

    pub(in crate::entities) fn part(mut self, part: ColumnPart) -> Self {
        self.part = part;
        self
    }

    /// The display column of the referenced entity.
    pub(in crate::entities) fn shown_through(
        mut self,
        reference: &'static Reference,
        permissions: &Permissions,
    ) -> Result<Self, EntityRefusal> {
        permit(permissions, reference.target, AccessKind::Read)?;
        let shown = display(target_of(reference.target), ColumnPart::Text, permissions)?;
        self.via.push(reference);
        self.via.extend(shown.via);
        Ok(Self { via: self.via, name: shown.name, part: shown.part })
    }
}

/// The display column of an entity. For a multilingual text, this part of it. Requires permission to read every entity
/// on the display path.
pub(in crate::entities) fn display(
    entity: &'static EntityType,
    of_names: ColumnPart,
    permissions: &Permissions,
) -> Result<Column, EntityRefusal> {
    let (last, crossed) = entity.display.split_last().expect("a test checks every display path");
    let mut via = Vec::new();
    let mut at = entity;
    for name in crossed {
        let Some(Member::Reference(reference)) = at.member(name) else {
            unreachable!("a test checks every display path");
        };
        permit(permissions, reference.target, AccessKind::Read)?;
        via.push(reference);
        at = target_of(reference.target);
    }
    let Some(Member::Attribute(attribute)) = at.member(last) else {
        unreachable!("a test checks every display path");
    };
    let part = if matches!(attribute.kind, AttributeKind::Names(_)) { of_names } else { ColumnPart::Plain };
    Ok(Column { via, name: attribute.column, part })
}

/// Resolves a path. It may cross references to the owner and filterable references (`domain-api.md` §2.3), to sets that
/// the caller may read.
pub(in crate::entities) fn resolve(
    entity: &'static EntityType,
    path: &Path,
    permissions: &Permissions,
) -> Result<(Column, Leaf), EntityRefusal> {
    let (last, crossed) = path.0.split_last().expect("a path has at least one segment");
    let mut via = Vec::new();
    let mut at = entity;
    for name in crossed {
        let Member::Reference(reference) = find(at, name)? else {
            return Err(unknown(at, &format!("{name}/…")));
        };
        if reference.bond != ReferenceBond::Owner && !reference.filterable {
            return Err(EntityRefusal::NotCrossable { reference: reference.name });
        }
        permit(permissions, reference.target, AccessKind::Read)?;
        via.push(reference);
        at = target_of(reference.target);
    }
    let (leaf, part) = leaf(at, last)?;
    let name = match leaf {
        Leaf::Attribute(attribute) | Leaf::Number(attribute) => attribute.column,
        Leaf::Reference(reference) => reference.name,
    };
    Ok((Column { via, name, part }, leaf))
}

fn leaf(entity: &'static EntityType, name: &str) -> Result<(Leaf, ColumnPart), EntityRefusal> {
    let number = name.strip_suffix("Value").and_then(|measure| entity.member(measure));
    if let Some(Member::Attribute(attribute)) = number
        && matches!(attribute.kind, AttributeKind::Amount | AttributeKind::Quantity)
    {
        return Ok((Leaf::Number(attribute), ColumnPart::Value));
    }
    Ok(match find(entity, name)? {
        Member::Attribute(attribute) => (Leaf::Attribute(attribute), ColumnPart::Plain),
        Member::Reference(reference) => (Leaf::Reference(reference), ColumnPart::Plain),
    })
}

fn unknown(entity: &'static EntityType, member: &str) -> EntityRefusal {
    EntityRefusal::UnknownMember { entity: entity.name, member: member.to_owned() }
}
