//! Deleting a pod only if its disruption budget allows it.

use http::StatusCode;
use skep_api::Object;
use skep_api::names::{GroupResource, GroupVersionKind};
use skep_api::selector::LabelSelector;
use skep_api::status::{Cause, Status};
use skep_store::{Range, Txn, TxnOutcome};

use crate::answer::Answer;
use crate::call::Call;
use crate::objects::{Objects, Stored, store_error};
use crate::request::Query;
use crate::request::options::DeleteOptions;
use crate::verbs::delete::Deletion;
use crate::verbs::meta;

const ATTEMPTS: usize = 16;

pub(super) async fn evict(call: &Call) -> Answer {
    let gvk = GroupVersionKind::new("policy", "v1", "Eviction");
    let eviction = call.read_object(&gvk).await?.object;
    let body = eviction.get("deleteOptions");
    let mut options = DeleteOptions::read(&Query::default(), body)?;
    options.dry_run |= call.write_options()?.dry_run;
    let pod = call.objects()?.find(call.namespace(), call.name()).await?;
    if counts(&pod.object) {
        spend(call, &pod.object, options.dry_run).await?;
    }
    let deletion = Deletion {
        server: &call.server,
        user: &call.user,
        resource: call.resource,
        namespace: call.namespace(),
        name: call.name(),
        options: &options,
    };
    deletion.run().await?;
    let mut status = Status::success(None);
    status["code"] = StatusCode::CREATED.as_u16().into();
    call.answer_as(StatusCode::CREATED, &status, &GroupVersionKind::new("", "v1", "Status"))
}

/// Budgets are about pods that run.
fn counts(pod: &Object) -> bool {
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    !matches!(phase, "Succeeded" | "Failed" | "Pending") && !meta::is_deleting(pod)
}

/// Takes one disruption from the pod's budget, if it has one.
async fn spend(call: &Call, pod: &Object, dry_run: bool) -> Result<(), Status> {
    let budgets = Objects::named(&call.server, "policy", "v1", "poddisruptionbudgets");
    for _ in 0..ATTEMPTS {
        let mut matching = matching(&budgets, call.namespace(), pod).await?;
        let Some(budget) = matching.pop() else { return Ok(()) };
        if !matching.is_empty() {
            return Err(Status::internal(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            ));
        }
        let spent = spent(&budget.object, call.name())?;
        if dry_run {
            return Ok(());
        }
        let txn = Txn::update(budget.key, budget.revision, budgets.encode(&spent)?, budget.lease);
        if let TxnOutcome::Committed(_) = budgets.store.txn(txn).await.map_err(store_error)? {
            return Ok(());
        }
    }
    Err(Status::server_timeout(&GroupResource::new("policy", "poddisruptionbudgets"), "update", 1))
}

async fn matching(budgets: &Objects, namespace: &str, pod: &Object) -> Result<Vec<Stored>, Status> {
    let range = Range::prefix(budgets.prefix(namespace));
    let found = budgets.store.range(range).await.map_err(store_error)?;
    let mut matching = Vec::new();
    for kv in &found.kvs {
        let budget = budgets.stored(kv)?;
        let selector = LabelSelector::from_value(&budget.object["spec"]["selector"]);
        if selector.is_ok_and(|selector| selector.matches(pod["metadata"]["labels"].as_object())) {
            matching.push(budget);
        }
    }
    Ok(matching)
}

/// The budget after one more disruption, or 429.
fn spent(budget: &Object, pod: &str) -> Result<Object, Status> {
    let (spec, status) = (&budget["metadata"], &budget["status"]);
    let name = meta::text(budget, "name");
    let seen = status["observedGeneration"].as_i64().unwrap_or(0);
    if seen < spec["generation"].as_i64().unwrap_or(0) {
        return Err(refuse(format!(
            "The disruption budget {name} is still being processed by the server."
        ))
        .retry_after(10));
    }
    let allowed = status["disruptionsAllowed"].as_i64().unwrap_or(0);
    if allowed <= 0 {
        let healthy = status["currentHealthy"].as_i64().unwrap_or(0);
        let desired = status["desiredHealthy"].as_i64().unwrap_or(0);
        return Err(refuse(format!(
            "The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"
        )));
    }
    let mut budget = budget.clone();
    budget["status"]["disruptionsAllowed"] = (allowed - 1).into();
    budget["status"]["disruptedPods"][pod] = meta::time(jiff::Timestamp::now()).into();
    Ok(budget)
}

fn refuse(why: String) -> Status {
    let mut status = Status::too_many_requests(
        "Cannot evict pod as it would violate the pod's disruption budget.",
        0,
    );
    status = status.caused_by(Cause {
        reason: "DisruptionBudget".to_owned(),
        message: why,
        field: String::new(),
    });
    status
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_budget_is_spent_until_nothing_is_left() {
        let budget = |allowed: i64, seen: i64| {
            json!({
                "metadata": {"name": "b", "generation": 2},
                "status": {"observedGeneration": seen, "disruptionsAllowed": allowed},
            })
        };
        let after = spent(&budget(1, 2), "p").unwrap();
        assert_eq!(after["status"]["disruptionsAllowed"], 0);
        assert!(after["status"]["disruptedPods"]["p"].is_string());
        for refused in [budget(0, 2), budget(1, 1)] {
            assert_eq!(spent(&refused, "p").unwrap_err().code, 429, "{refused}");
        }
    }
}
