//! Label selectors inside objects.

use serde_json::{Map, Value};

use crate::status::FieldError;
use crate::syntax;
use crate::validate::path::Path;

use super::items;

pub(super) fn label_selector(
    selector: &Map<String, Value>,
    path: &mut Path,
    errors: &mut Vec<FieldError>,
) {
    for (key, value) in selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten()
    {
        crate::validate::meta::labels_entry(key, value, &path.child("matchLabels"), errors);
    }
    for (index, expression) in items(selector, "matchExpressions").enumerate() {
        let at = path.child(&format!("matchExpressions[{index}]"));
        let values = expression["values"].as_array().is_some_and(|values| !values.is_empty());
        match expression["operator"].as_str().unwrap_or_default() {
            "In" | "NotIn" if !values => {
                let detail = "must be specified when `operator` is 'In' or 'NotIn'";
                errors.push(FieldError::required(format!("{at}.values"), detail));
            }
            "Exists" | "DoesNotExist" if values => {
                let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(FieldError::forbidden(format!("{at}.values"), detail));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.push(FieldError::invalid(
                format!("{at}.operator"),
                other,
                "not a valid selector operator",
            )),
        }
        let key = expression["key"].as_str().unwrap_or_default();
        let wrong = syntax::qualified_name(key).into_iter();
        errors.extend(wrong.map(|why| FieldError::invalid(format!("{at}.key"), key, why)));
    }
}
