//! Reads the generated table of types.
//!
//! Tab-separated lines. A type: `@ NAME [kind=GROUP/VERSION/KIND] [map=MAPTYPE]`, followed by its
//! fields: `NAME NUMBER SHAPE PRESENCE [ATTRIBUTE...]`. A shape is a scalar's name, the name of a type,
//! or `[]`, `w[]` (a list that is a message of its own) or `{}` before another shape. Presence is `o`
//! (omitted when empty), `p` (a pointer, omitted when nil), `n` (a pointer, null when nil), `z` (omitted
//! when zero) or `a` (always there). Attributes: `in=2.1` (path of embedded messages), `go=NAME`,
//! `enum=A|B`, `required`, `default=JSON`, `format=F`, `list=TYPE`, `keys=A,B`, `strategy=S`,
//! `mergekey=K`, `map=TYPE`.

use std::collections::HashMap;

use crate::names::Name;

use super::{Field, ListType, Presence, Shape, Type, TypeRef};

/// The built-in types.
pub(super) struct Table {
    pub(super) types: Vec<Type>,
    pub(super) kinds: Vec<(&'static str, u16)>,
}

impl Table {
    /// Types are sorted by name.
    pub(super) fn find(&self, name: &str) -> Option<u16> {
        let at = self.types.binary_search_by(|ty| ty.name.as_ref().cmp(name)).ok()?;
        u16::try_from(at).ok()
    }
}

/// Reads the whole table. It is part of this crate, so a malformed line is a defect of the crate.
pub(super) fn read(text: &'static str) -> Table {
    let sections: Vec<&'static str> = text.split("\n@\t").skip(1).collect();
    let names = sections.iter().map(|section| first_cell(section));
    let positions: HashMap<&str, u16> = names.zip(0u16..).collect();
    let mut table = Table { types: Vec::with_capacity(sections.len()), kinds: Vec::new() };
    for (section, position) in sections.into_iter().zip(0u16..) {
        let mut lines = section.lines();
        let header = lines.next().unwrap_or_default();
        let fields = lines.map(|line| read_field(line, &positions)).collect();
        let mut ty = Type::new(Name::Borrowed(first_cell(header)), fields);
        for attribute in header.split('\t').skip(1) {
            match attribute.split_once('=') {
                Some(("kind", kind)) => table.kinds.push((kind, position)),
                Some(("map", map)) => ty.atomic = map == "atomic",
                _ => panic!("types.tsv: {}: attribute {attribute}", ty.name),
            }
        }
        table.types.push(ty);
    }
    table.kinds.sort_unstable();
    table
}

fn first_cell(line: &'static str) -> &'static str {
    line.split(['\t', '\n']).next().unwrap_or_default()
}

fn read_field(line: &'static str, positions: &HashMap<&str, u16>) -> Field {
    let mut cells = line.split('\t');
    let mut cell = || cells.next().unwrap_or_else(|| panic!("types.tsv: short line {line:?}"));
    let (name, number, shape, presence) = (cell(), cell(), cell(), cell());
    let mut field = Field {
        name: Name::Borrowed(name),
        number: number.parse().unwrap_or_else(|_| panic!("types.tsv: number in {line:?}")),
        embedded: Vec::new(),
        shape: read_shape(shape, positions),
        presence: match presence {
            "o" | "z" => Presence::OmitEmpty,
            "p" => Presence::Optional,
            "n" => Presence::Nullable,
            "a" => Presence::Always,
            _ => panic!("types.tsv: presence in {line:?}"),
        },
        required: false,
        default: None,
        values: Vec::new(),
        go_name: None,
        format: None,
        list: ListType::Atomic,
        atomic: false,
        patch_strategy: Vec::new(),
        patch_merge_key: None,
    };
    for attribute in cells {
        read_attribute(&mut field, attribute);
    }
    field
}

fn read_attribute(field: &mut Field, attribute: &'static str) {
    let (key, value) = attribute.split_once('=').unwrap_or((attribute, ""));
    match key {
        "in" => {
            field.embedded = value.split('.').filter_map(|number| number.parse().ok()).collect();
        }
        "go" => field.go_name = Some(Name::Borrowed(value)),
        "enum" => field.values = value.split('|').map(Name::Borrowed).collect(),
        "required" => field.required = true,
        "default" => field.default = serde_json::from_str(value).ok(),
        "format" => field.format = Some(Name::Borrowed(value)),
        "list" if value == "set" => field.list = ListType::Set,
        "list" if value == "map" => field.list = ListType::Map(Vec::new()),
        "list" => {}
        "keys" => field.list = ListType::Map(value.split(',').map(Name::Borrowed).collect()),
        "strategy" => field.patch_strategy = value.split(',').map(Name::Borrowed).collect(),
        "mergekey" => field.patch_merge_key = Some(Name::Borrowed(value)),
        "map" => field.atomic = value == "atomic",
        _ => panic!("types.tsv: attribute {attribute}"),
    }
}

fn read_shape(text: &str, positions: &HashMap<&str, u16>) -> Shape {
    let inner = |rest: &str| Box::new(read_shape(rest, positions));
    if let Some(rest) = text.strip_prefix("w[]") {
        return Shape::WrappedList(inner(rest));
    }
    if let Some(rest) = text.strip_prefix("[]") {
        return Shape::List(inner(rest));
    }
    if let Some(rest) = text.strip_prefix("{}") {
        return Shape::Map(inner(rest));
    }
    match text {
        "string" => Shape::String,
        "bool" => Shape::Bool,
        "int32" => Shape::Int32,
        "int64" => Shape::Int64,
        "double" => Shape::Double,
        "bytes" => Shape::Bytes,
        "quantity" => Shape::Quantity,
        "time" => Shape::Time,
        "microtime" => Shape::MicroTime,
        "duration" => Shape::Duration,
        "intorstring" => Shape::IntOrString,
        "raw" => Shape::Raw,
        "fields" => Shape::Fields,
        "json" => Shape::Json,
        "schemaorarray" => Shape::SchemaOrArray,
        "schemaorbool" => Shape::SchemaOrBool,
        "schemaorstrings" => Shape::SchemaOrStrings,
        name => match positions.get(name) {
            Some(position) => Shape::Object(TypeRef::Builtin(*position)),
            None => panic!("types.tsv: unknown shape {name}"),
        },
    }
}
