//! A line parser for the dialect in which upstream writes API types: one field per line, tags in back
//! quotes, gofmt'd. It reads nothing else of Go.

use std::collections::BTreeMap;

use super::Package;

/// What a `type` line declares.
#[derive(Clone, Debug)]
pub(in super::super) enum Declaration {
    Struct(Vec<GoField>),
    /// `type X Y` or `type X = Y`
    Named(GoType),
}

/// A field of a struct.
#[derive(Clone, Debug)]
pub(in super::super) struct GoField {
    /// `None` for an embedded struct whose fields are the outer one's in JSON
    pub(in super::super) json: Option<String>,
    pub(in super::super) omitempty: bool,
    pub(in super::super) omitzero: bool,
    /// 0: not on the wire
    pub(in super::super) number: u32,
    pub(in super::super) ty: GoType,
}

/// A Go type expression; names are qualified by import path.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum GoType {
    Basic(String),
    Name { package: String, name: String },
    Pointer(Box<GoType>),
    Slice(Box<GoType>),
    Map(Box<GoType>, Box<GoType>),
}

const BASIC: [&str; 9] =
    ["string", "bool", "int", "int32", "int64", "uint64", "float64", "byte", "interface{}"];

/// Adds the declarations of one file to its package.
pub(super) fn parse(source: &str, path: &str, package: &mut Package) {
    let mut scope = Scope { package: path.to_owned(), imports: BTreeMap::new() };
    let mut fields: Option<(String, Vec<GoField>)> = None;
    let (mut in_imports, mut in_comment, mut enum_marker) = (false, false, false);
    for line in source.lines().map(str::trim) {
        if in_comment || line.starts_with("/*") {
            in_comment = !line.ends_with("*/");
            continue;
        }
        if line.starts_with("//") {
            enum_marker |= line == "// +enum";
            continue;
        }
        if line.starts_with("import (") {
            in_imports = true;
        } else if in_imports {
            in_imports = line != ")";
            scope.import(line);
        } else if let Some(single) = line.strip_prefix("import ") {
            scope.import(single);
        } else if let Some((name, list)) = &mut fields {
            if line == "}" {
                package
                    .declarations
                    .insert(name.clone(), Declaration::Struct(std::mem::take(list)));
                fields = None;
            } else if let Some(field) = scope.field(line) {
                list.push(field);
            }
        } else if let Some(rest) = line.strip_prefix("type ") {
            let Some((name, definition)) = rest.split_once(' ') else { continue };
            if definition == "struct {" {
                fields = Some((name.to_owned(), Vec::new()));
            } else if definition == "struct{}" {
                package.declarations.insert(name.to_owned(), Declaration::Struct(Vec::new()));
            } else {
                let ty = scope.ty(definition.trim_start_matches("= "));
                package.declarations.insert(name.to_owned(), Declaration::Named(ty));
                if enum_marker {
                    package.enums.insert(name.to_owned());
                }
            }
            enum_marker = false;
        } else if let Some((ty, value)) = constant(line) {
            package.constants.entry(ty).or_default().insert(value);
        } else if line.is_empty() {
            enum_marker = false;
        }
    }
}

/// `Name Type = "value"` or `Name = Type("value")` inside a const block.
fn constant(line: &str) -> Option<(String, String)> {
    let (left, right) = line.strip_prefix("const ").unwrap_or(line).split_once(" = ")?;
    let names: Vec<&str> = left.split_whitespace().collect();
    let (ty, value) = match (names.as_slice(), right.split_once('(')) {
        ([_, ty], _) => (*ty, right),
        ([_], Some((ty, value))) => (ty, value),
        _ => return None,
    };
    // A value that is another constant's name stands as it is: the type's list is then not known.
    let value = match value.strip_prefix('"') {
        Some(text) => text.split('"').next()?,
        None if names.len() == 1 => value.trim_end_matches(')'),
        None => return None,
    };
    Some((ty.to_owned(), value.to_owned()))
}

struct Scope {
    package: String,
    imports: BTreeMap<String, String>,
}

impl Scope {
    fn import(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let (alias, path) = match (words.next(), words.next()) {
            (Some(alias), Some(path)) => (Some(alias), path),
            (Some(path), None) => (None, path),
            _ => return,
        };
        let path = path.trim_matches('"');
        let last = path.rsplit('/').next().unwrap_or(path);
        self.imports.insert(alias.unwrap_or(last).to_owned(), path.to_owned());
    }

    fn field(&self, line: &str) -> Option<GoField> {
        let (left, rest) = line.split_once('`')?;
        let tags = rest.split('`').next()?;
        let expression = left.split_whitespace().last()?;
        let json = tag(tags, "json").unwrap_or_default();
        let mut options = json.split(',');
        let name = options.next().unwrap_or_default();
        let options: Vec<&str> = options.collect();
        let number = tag(tags, "protobuf")
            .and_then(|value| value.split(',').nth(1)?.parse().ok())
            .unwrap_or_default();
        Some(GoField {
            json: (!name.is_empty()).then(|| name.to_owned()),
            omitempty: options.contains(&"omitempty"),
            omitzero: options.contains(&"omitzero"),
            number,
            ty: self.ty(expression),
        })
    }

    fn ty(&self, expression: &str) -> GoType {
        let expression = expression.trim();
        if let Some(rest) = expression.strip_prefix('*') {
            return GoType::Pointer(Box::new(self.ty(rest)));
        }
        if let Some(rest) = expression.strip_prefix("[]") {
            return GoType::Slice(Box::new(self.ty(rest)));
        }
        if let Some((key, value)) =
            expression.strip_prefix("map[").and_then(|rest| rest.split_once(']'))
        {
            return GoType::Map(Box::new(self.ty(key)), Box::new(self.ty(value)));
        }
        if BASIC.contains(&expression) {
            return GoType::Basic(expression.to_owned());
        }
        let (package, name) = match expression.split_once('.') {
            Some((alias, name)) => {
                (self.imports.get(alias).cloned().unwrap_or_else(|| alias.to_owned()), name)
            }
            None => (self.package.clone(), expression),
        };
        GoType::Name { package, name: name.to_owned() }
    }
}

fn tag<'a>(tags: &'a str, key: &str) -> Option<&'a str> {
    let start = tags.find(&format!("{key}:\""))? + key.len() + 2;
    tags[start..].split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_come_in_two_forms() {
        let of = |ty: &str, value: &str| Some((ty.to_owned(), value.to_owned()));
        assert_eq!(constant("PodPending PodPhase = \"Pending\""), of("PodPhase", "Pending"));
        assert_eq!(constant("PathTypeExact = PathType(\"Exact\")"), of("PathType", "Exact"));
        let reference = "AddressTypeIPv4 = AddressType(v1.IPv4Protocol)";
        assert_eq!(constant(reference), of("AddressType", "v1.IPv4Protocol"));
    }

    #[test]
    fn fields_carry_presence_and_numbers() {
        let scope = Scope {
            package: "p".to_owned(),
            imports: BTreeMap::from([("metav1".to_owned(), "k8s.io/meta/v1".to_owned())]),
        };
        let cases = [
            (
                "Replicas *int32 `json:\"replicas,omitempty\" protobuf:\"varint,1,opt,name=replicas\"`",
                Some("replicas"),
                1,
            ),
            ("VolumeSource `json:\"\" protobuf:\"bytes,2,opt,name=volumeSource\"`", None, 2),
            ("metav1.TypeMeta `json:\",inline\"`", None, 0),
            (
                "Time metav1.Time `json:\"t,omitzero\" protobuf:\"bytes,8,opt,name=t\"` // why",
                Some("t"),
                8,
            ),
        ];
        for (line, json, number) in cases {
            let field = scope.field(line).expect(line);
            assert_eq!((field.json.as_deref(), field.number), (json, number), "{line}");
        }
    }
}
