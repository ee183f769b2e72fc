//! What upstream's kube-apiserver 1.37.1 printed for these objects is what we print. A fixture is a list
//! of tables: kind, the time of the answer, column definitions (name, type, format, priority), and for
//! each row the object, the cells, and the reasons of the row's conditions.

use serde::Deserialize;

use crate::codec;
use crate::names::GroupVersion;

use super::*;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Recorded {
    api_version: String,
    kind: String,
    now: Timestamp,
    columns: Vec<(String, String, String, i64)>,
    rows: Vec<RecordedRow>,
}

#[derive(Deserialize)]
struct RecordedRow {
    object: Value,
    cells: Vec<Value>,
    #[serde(default)]
    conditions: Vec<String>,
}

fn compare(fixture: &str) {
    let tables: Vec<Recorded> = serde_json::from_str(fixture).expect("a fixture");
    for table in tables {
        let group_version = GroupVersion::parse(&table.api_version).expect("group, version");
        let gvk = group_version.with_kind(table.kind);
        let items: Vec<&Object> = table.rows.iter().map(|row| &row.object).collect();
        let ours = render(&gvk, &items, table.now, Include::Object, true);

        let columns = ours["columnDefinitions"].as_array().expect("columns").iter();
        let columns: Vec<Value> = columns
            .map(|column| {
                assert_ne!(column["description"], "", "{gvk}");
                json!([column["name"], column["type"], column["format"], column["priority"]])
            })
            .collect();
        assert_eq!(json!(columns), json!(table.columns), "{gvk}");

        for (ours, theirs) in ours["rows"].as_array().expect("rows").iter().zip(&table.rows) {
            // IPAddress has a cell more than it has columns.
            let cells = &theirs.cells[..table.columns.len()];
            assert_eq!(ours["cells"], json!(cells), "{gvk}: {}", theirs.object);
            let conditions = ours["conditions"].as_array().into_iter().flatten();
            let reasons: Vec<&Value> = conditions.map(|condition| &condition["reason"]).collect();
            assert_eq!(json!(reasons), json!(theirs.conditions), "{gvk}: {}", theirs.object);
            assert_eq!(ours["object"], theirs.object);
        }
    }
}

#[test]
fn core_kinds_print_as_upstream_does() {
    compare(include_str!("fixtures/core.json"));
}

#[test]
fn all_other_kinds_print_as_upstream_does() {
    compare(include_str!("fixtures/others.json"));
}

#[test]
fn rows_carry_what_was_asked_for() {
    let gvk = GroupVersionKind::new("", "v1", "ConfigMap");
    let object = json!({ "metadata": { "name": "a" }, "data": { "b": "c" } });
    let now = Timestamp::UNIX_EPOCH;
    let row = |include| render(&gvk, &[&object], now, include, true)["rows"][0]["object"].clone();
    assert_eq!(
        row("".parse().expect("default")),
        json!({
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": { "name": "a" },
        })
    );
    assert_eq!(row(Include::Object), object);
    assert_eq!(row(Include::None), Value::Null);
    assert!("Everything".parse::<Include>().is_err());
}

#[test]
fn tables_are_written_as_upstream_writes_them() {
    let gvk = GroupVersionKind::new("", "v1", "ConfigMap");
    let object = json!({ "metadata": { "name": "a" }, "data": { "b": "c" } });
    let table = render(&gvk, &[&object], Timestamp::UNIX_EPOCH, Include::None, false);
    let kind = GroupVersionKind::new("meta.k8s.io", "v1", "Table");
    let written = codec::encode(&table, &kind, codec::Media::Json);
    assert_eq!(
        String::from_utf8(written).expect("JSON").trim_end(),
        concat!(
            r#"{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{},"#,
            r#""columnDefinitions":null,"rows":[{"cells":["a",1,"<unknown>"],"object":null}]}"#
        )
    );
}

#[test]
fn headers_can_be_left_out() {
    let gvk = GroupVersionKind::new("", "v1", "Pod");
    let table = render(&gvk, &[], Timestamp::UNIX_EPOCH, Include::None, false);
    assert_eq!(
        table,
        json!({ "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "rows": [] })
    );
}

#[test]
fn kinds_without_columns_have_a_name_and_a_time() {
    let object =
        json!({ "metadata": { "name": "a", "creationTimestamp": "1970-01-01T00:00:00Z" } });
    let now = "1970-01-01T00:05:03Z".parse().expect("time");
    let cells = |gvk: &GroupVersionKind| {
        render(gvk, &[&object], now, Include::None, false)["rows"][0]["cells"].clone()
    };
    let role = GroupVersionKind::new("rbac.authorization.k8s.io", "v1", "Role");
    assert_eq!(cells(&role), json!(["a", "1970-01-01T00:00:00Z"]));
    let custom = GroupVersionKind::new("example.com", "v1", "Widget");
    assert_eq!(cells(&custom), json!(["a", "5m3s"]));
}
