//! Cluster roles that gather the rules of others, such as `admin`, `edit` and `view`.

use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};

use crate::Error;
use crate::runtime::{Context, Informer, Key, Next, Objects, Queue, Reconcile, is_not_found};
use crate::selector::matches;

/// The controller's name.
pub(crate) const NAME: &str = "clusterrole-aggregation-controller";

struct ClusterRoles {
    roles: Arc<Informer<ClusterRole>>,
    objects: Objects,
}

/// Sets up the controller.
pub(crate) fn set_up(context: &mut Context, objects: Objects) {
    let mut controller = context.controller(NAME, objects);
    let roles = controller.informer::<ClusterRole>();
    let queue = Queue::default();
    {
        let (queue, known) = (queue.clone(), roles.clone());
        roles.subscribe(move |_| {
            let gathering = known.cache().all();
            let gathering = gathering.iter().filter(|role| role.aggregation_rule.is_some());
            gathering.for_each(|role| queue.add(Key::of(&role.metadata)));
        });
    }
    let objects = controller.objects();
    controller.run(queue, 2, ClusterRoles { roles, objects });
}

/// The rules of all roles that one of the role's selectors matches, each once, in the order of the
/// roles' names.
fn gathered(role: &ClusterRole, all: &[Arc<ClusterRole>]) -> Vec<PolicyRule> {
    let rule = role.aggregation_rule.iter();
    let selectors: Vec<_> =
        rule.flat_map(|rule| rule.cluster_role_selectors.iter().flatten()).collect();
    let mut rules: Vec<PolicyRule> = Vec::new();
    for other in all.iter().filter(|other| other.metadata.name != role.metadata.name) {
        let labels = other.metadata.labels.as_ref();
        if !selectors.iter().any(|selector| matches(selector, labels)) {
            continue;
        }
        for rule in other.rules.iter().flatten() {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    rules
}

impl Reconcile for ClusterRoles {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(role) = self.roles.cache().get(key) else { return Ok(Next::Change) };
        if role.aggregation_rule.is_none() {
            return Ok(Next::Change);
        }
        let rules = gathered(&role, &self.roles.cache().all());
        if role.rules.as_deref().unwrap_or_default() == rules {
            return Ok(Next::Change);
        }
        let new = ClusterRole { rules: Some(rules), ..ClusterRole::clone(&role) };
        match self.objects.replace(&new).await {
            Err(error) if is_not_found(&error) => Ok(Next::Change),
            result => result.map(|_| Next::Change).map_err(Error::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rules_of_labelled_roles_are_gathered_once() {
        let role = |name: &str, label: &str, resources: &[&str]| {
            let rules: Vec<_> = resources
                .iter()
                .map(|resource| json!({"verbs": ["get"], "resources": [resource]}))
                .collect();
            let role =
                json!({"metadata": {"name": name, "labels": {label: "true"}}, "rules": rules});
            Arc::new(serde_json::from_value(role).unwrap())
        };
        let view: ClusterRole = serde_json::from_value(json!({
            "metadata": {"name": "view", "labels": {"to-view": "true"}}, "rules": [{"verbs": ["*"]}],
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to-view": "true"}}]},
        }))
        .unwrap();
        let all = [
            role("a", "to-view", &["pods", "services"]),
            role("b", "to-view", &["pods", "jobs"]),
            role("c", "to-edit", &["secrets"]),
            Arc::new(view.clone()),
        ];
        let resources: Vec<String> =
            gathered(&view, &all).into_iter().filter_map(|rule| rule.resources?.pop()).collect();
        assert_eq!(resources, ["pods", "services", "jobs"]);
    }
}
