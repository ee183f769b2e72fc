//! A column: its header, and where its cells come from.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Object;

use super::{age, selector, tree};

/// An object on its way into a table.
pub(super) struct Row<'a> {
    pub(super) item: &'a Object,
    /// All of the table's objects
    pub(super) items: &'a [&'a Object],
    pub(super) now: Timestamp,
}

impl Row<'_> {
    /// The age of the time at `path`.
    pub(super) fn since(&self, path: &str) -> String {
        age::since(tree::at(self.item, path), self.now)
    }
}

/// A column of a table.
pub(super) struct Column {
    name: &'static str,
    kind: &'static str,
    format: &'static str,
    description: &'static str,
    priority: i32,
    pub(super) cell: Cell,
}

/// Where a cell comes from. Paths are dotted.
#[derive(Clone, Copy)]
pub(super) enum Cell {
    /// Text, empty when absent
    Text(&'static str),
    /// Text, or this when absent or empty
    TextOr(&'static str, &'static str),
    /// A number, zero when absent
    Number(&'static str),
    /// A truth value, false when absent
    Flag(&'static str),
    /// How many items or entries
    Count(&'static str),
    /// How long ago
    Since(&'static str),
    /// A map of labels
    Labels(&'static str),
    /// A label selector
    Selector(&'static str),
    /// The names of a pod specification's containers
    Containers(&'static str),
    /// Their images
    Images(&'static str),
    /// Anything else
    Made(fn(&Row) -> Value),
}

impl Cell {
    pub(super) fn of(self, row: &Row) -> Value {
        match self {
            Self::Text(path) => tree::text(row.item, path).into(),
            Self::TextOr(path, otherwise) => {
                tree::some_text(row.item, path).unwrap_or(otherwise).into()
            }
            Self::Number(path) => tree::number(row.item, path).into(),
            Self::Flag(path) => tree::flag(row.item, path).into(),
            Self::Count(path) => tree::count(row.item, path).into(),
            Self::Since(path) => row.since(path).into(),
            Self::Labels(path) => selector::labels(row.item, path).into(),
            Self::Selector(path) => selector::or_none(tree::at(row.item, path)).into(),
            Self::Containers(path) => containers(row.item, path, "name").into(),
            Self::Images(path) => containers(row.item, path, "image").into(),
            Self::Made(make) => make(row),
        }
    }
}

fn containers(object: &Object, path: &str, field: &str) -> String {
    let containers = tree::list(tree::at(object, path), "containers").iter();
    containers.map(|container| tree::text(container, field)).collect::<Vec<_>>().join(",")
}

/// The column every object has.
pub(super) const NAME: Column = Column {
    format: "name",
    ..Column::text("Name", "unique within its namespace", Cell::Text("metadata.name"))
};
/// Time since creation.
pub(super) const AGE: Column =
    Column::text("Age", "time since creation", Cell::Since("metadata.creationTimestamp"));
/// Time of creation, for kinds without columns of their own.
pub(super) const CREATED_AT: Column = Column {
    kind: "date",
    ..Column::text("Created At", "time of creation", Cell::Text("metadata.creationTimestamp"))
};

impl Column {
    /// A column of text.
    pub(super) const fn text(name: &'static str, description: &'static str, cell: Cell) -> Self {
        Self { name, kind: "string", format: "", description, priority: 0, cell }
    }

    /// A column of numbers.
    pub(super) const fn integer(name: &'static str, description: &'static str, cell: Cell) -> Self {
        Self { kind: "integer", ..Self::text(name, description, cell) }
    }

    /// A column of truth values.
    pub(super) const fn boolean(name: &'static str, description: &'static str, cell: Cell) -> Self {
        Self { kind: "boolean", ..Self::text(name, description, cell) }
    }

    /// Shown on wide output alone.
    pub(super) const fn wide(self) -> Self {
        Self { priority: 1, ..self }
    }

    /// Holds names of objects.
    pub(super) const fn name_format(self) -> Self {
        Self { format: "name", ..self }
    }

    /// Has no format.
    pub(super) const fn plain(self) -> Self {
        Self { format: "", ..self }
    }

    /// The TableColumnDefinition.
    pub(super) fn definition(&self) -> Value {
        json!({
            "name": self.name,
            "type": self.kind,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        })
    }
}
