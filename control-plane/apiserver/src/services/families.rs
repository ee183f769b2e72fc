//! `ipFamilyPolicy`, `ipFamilies` and `clusterIPs` of a Service: what it says, brought to what it means on
//! this cluster (KEP-563). Pure: addresses are chosen elsewhere.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Map, Value, json};
use skep_api::status::FieldError;

/// A `clusterIP` that says the Service has none.
pub(super) const NONE: &str = "None";

const SINGLE: &str = "SingleStack";
const PREFER: &str = "PreferDualStack";
const REQUIRE: &str = "RequireDualStack";
const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];

/// The name of an address's family.
pub(super) fn of_address(address: IpAddr) -> &'static str {
    FAMILIES[usize::from(address.is_ipv6())]
}

/// The name of a range's family.
pub(super) fn of_range(range: &IpNet) -> &'static str {
    of_address(range.addr())
}

fn other(family: &str) -> &'static str {
    if family == FAMILIES[0] { FAMILIES[1] } else { FAMILIES[0] }
}

/// Completes the fields of a Service that has addresses, or is headless; `old` is the specification
/// before an update, `cluster` the families of the cluster's ranges, the first of them first.
///
/// # Errors
/// The fields that contradict each other or the cluster, in upstream's words.
pub(super) fn complete(
    spec: &mut Map<String, Value>,
    old: Option<&Map<String, Value>>,
    cluster: &[&'static str],
) -> Result<(), Vec<FieldError>> {
    align_addresses(spec);
    // A Service that prefers two families keeps what it has when the cluster gets or loses one.
    if old.is_some_and(|old| is_preferring_as_before(spec, old)) {
        return Ok(());
    }
    let headless = spec.get("clusterIP").is_some_and(|address| address == NONE);
    let selects =
        spec.get("selector").and_then(Value::as_object).is_some_and(|map| !map.is_empty());
    // Endpoints that somebody else writes may have any family.
    let any_family = headless && !selects;
    complete_policy(spec, old, any_family);
    let policy = text(spec, "ipFamilyPolicy").to_owned();
    let mut errors = contradictions(spec);
    if let Some(old) = old.filter(|_| errors.is_empty()) {
        errors = reduce(spec, old, &policy);
    }
    if errors.is_empty() {
        errors = infer(spec, &policy, cluster);
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut families = strings(spec, "ipFamilies");
    if !any_family {
        demand(&families, &policy, cluster)?;
    }
    if families.is_empty() {
        families.push(cluster[0].to_owned());
    }
    if policy != SINGLE && families.len() == 1 && (any_family || cluster.len() == 2) {
        families.push(other(&families[0]).to_owned());
    }
    spec.insert("ipFamilies".to_owned(), json!(families));
    Ok(())
}

/// Clients that know one address tell only that: the list begins with it.
fn align_addresses(spec: &mut Map<String, Value>) {
    let first = text(spec, "clusterIP").to_owned();
    if !first.is_empty() && strings(spec, "clusterIPs").is_empty() {
        spec.insert("clusterIPs".to_owned(), json!([first]));
    }
}

fn is_preferring_as_before(spec: &Map<String, Value>, old: &Map<String, Value>) -> bool {
    let same = |field| spec.get(field) == old.get(field);
    text(spec, "ipFamilyPolicy") == PREFER
        && ["type", "ipFamilyPolicy", "clusterIPs", "ipFamilies"].into_iter().all(same)
}

/// A policy that nobody told is the one from before, or one family.
fn complete_policy(
    spec: &mut Map<String, Value>,
    old: Option<&Map<String, Value>>,
    any_family: bool,
) {
    if !text(spec, "ipFamilyPolicy").is_empty() {
        return;
    }
    let before = old.map(|old| text(old, "ipFamilyPolicy")).filter(|policy| !policy.is_empty());
    let policy = before.unwrap_or(if any_family { REQUIRE } else { SINGLE });
    spec.insert("ipFamilyPolicy".to_owned(), policy.into());
}

/// What the fields say against each other, whatever the cluster.
fn contradictions(spec: &Map<String, Value>) -> Vec<FieldError> {
    let (addresses, families) = (strings(spec, "clusterIPs"), strings(spec, "ipFamilies"));
    let mut errors = Vec::new();
    let mut of_list = |detail: &str| {
        errors.push(FieldError::invalid("spec.clusterIPs", json!(addresses), detail));
    };
    match (text(spec, "clusterIP"), addresses.first()) {
        ("", Some(_)) => of_list("must be empty when `clusterIP` is not specified"),
        (first, Some(found)) if first != found => of_list("first value must match `clusterIP`"),
        _ => {}
    }
    if addresses.len() > 1 && addresses[0] == NONE {
        of_list("'None' must be the first and only value");
        return errors;
    }
    if addresses.len() > 2 {
        of_list("may only hold up to 2 values");
    }
    let parsed: Vec<IpAddr> = addresses.iter().filter_map(|text| text.parse().ok()).collect();
    if let [first, second] = parsed[..]
        && first.is_ipv4() == second.is_ipv4()
    {
        of_list("may specify no more than one IP for each IP family");
    }
    for (index, family) in families.iter().enumerate() {
        let field = format!("spec.ipFamilies[{index}]");
        if !FAMILIES.contains(&family.as_str()) {
            errors.push(FieldError::not_supported(field, family.clone(), &FAMILIES));
        } else if families[..index].contains(family) {
            errors.push(FieldError::duplicate(field, family.clone()));
        }
    }
    for (index, (address, family)) in addresses.iter().zip(&families).enumerate() {
        let Ok(parsed) = address.parse() else { continue };
        if of_address(parsed) != family {
            let detail =
                format!("expected an {family} value as indicated by `ipFamilies[{index}]`");
            let field = format!("spec.clusterIPs[{index}]");
            errors.push(FieldError::invalid(field, address.clone(), detail));
        }
    }
    errors
}

/// What an update may take away: the second address and family, with the policy of one alone.
fn reduce(
    spec: &mut Map<String, Value>,
    old: &Map<String, Value>,
    policy: &str,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (field, what) in [("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")] {
        let (now, before) = (strings(spec, field), strings(old, field));
        if policy == SINGLE {
            if now == before && now.len() > 1 {
                spec.insert(field.to_owned(), json!([now[0]]));
            }
        } else if !now.is_empty() && now.len() < before.len() {
            let detail = format!("must be 'SingleStack' to release the secondary {what}");
            errors.push(FieldError::invalid("spec.ipFamilyPolicy", policy, detail));
        }
    }
    errors
}

/// Families that follow from addresses.
fn infer(spec: &mut Map<String, Value>, policy: &str, cluster: &[&str]) -> Vec<FieldError> {
    let (addresses, mut families) = (strings(spec, "clusterIPs"), strings(spec, "ipFamilies"));
    let mut errors = Vec::new();
    if policy == SINGLE {
        for (list, what) in [(&addresses, "cluster IPs"), (&families, "IP families")] {
            if list.len() == 2 {
                let detail = format!(
                    "must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"
                );
                errors.push(FieldError::invalid("spec.ipFamilyPolicy", policy, detail));
            }
        }
    }
    for (index, address) in addresses.iter().enumerate().skip(families.len()) {
        let Ok(parsed) = address.parse() else { break };
        let family = of_address(parsed);
        if cluster.contains(&family) {
            families.push(family.to_owned());
        } else {
            let detail = format!("{family} is not configured on this cluster");
            let field = format!("spec.clusterIPs[{index}]");
            errors.push(FieldError::invalid(field, json!(addresses), detail));
        }
    }
    if !families.is_empty() {
        spec.insert("ipFamilies".to_owned(), json!(families));
    }
    errors
}

/// Whether the cluster has what is asked for.
fn demand(families: &[String], policy: &str, cluster: &[&str]) -> Result<(), Vec<FieldError>> {
    let mut errors = Vec::new();
    if policy == REQUIRE && cluster.len() < 2 {
        let detail = "this cluster is not configured for dual-stack services";
        errors.push(FieldError::invalid("spec.ipFamilyPolicy", policy, detail));
    }
    for (index, family) in families.iter().enumerate() {
        if !cluster.contains(&family.as_str()) {
            let field = format!("spec.ipFamilies[{index}]");
            let detail = "not configured on this cluster";
            errors.push(FieldError::invalid(field, family.clone(), detail));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

pub(super) fn text<'a>(spec: &'a Map<String, Value>, field: &str) -> &'a str {
    spec.get(field).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn strings(spec: &Map<String, Value>, field: &str) -> Vec<String> {
    let list = spec.get(field).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
