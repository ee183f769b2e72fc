//! How many replicas each replica set of a deployment should have.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::revision::{DESIRED, MAXIMUM, number};
use crate::int_or_percent::{Round, resolve};

/// The replicas the deployment asks for.
pub(super) fn wanted(deployment: &Deployment) -> i32 {
    deployment.spec.replicas.unwrap_or(1)
}

/// The replicas the set asks for.
pub(super) fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.replicas.unwrap_or(1)
}

/// The replicas of the set that are available.
pub(super) fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or_default()
}

/// The pods the set has.
pub(super) fn actual(set: &ReplicaSet) -> i32 {
    set.status.as_ref().map_or(0, |status| status.replicas)
}

/// All old pods go before a new one comes.
pub(super) fn is_recreate(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.strategy.as_ref();
    strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
}

/// How many pods more than wanted there may be.
pub(super) fn max_surge(deployment: &Deployment) -> i32 {
    if is_recreate(deployment) { 0 } else { fenceposts(deployment).0 }
}

/// How many pods fewer than wanted may be available.
pub(super) fn max_unavailable(deployment: &Deployment) -> i32 {
    let wanted = wanted(deployment);
    if is_recreate(deployment) || wanted == 0 { 0 } else { fenceposts(deployment).1.min(wanted) }
}

/// Surge and unavailability; if both came to nothing, no roll-out could move.
fn fenceposts(deployment: &Deployment) -> (i32, i32) {
    let rolling = deployment.spec.strategy.as_ref().and_then(|s| s.rolling_update.as_ref());
    let quarter = IntOrString::String("25%".into());
    let surge = rolling.and_then(|rolling| rolling.max_surge.as_ref()).unwrap_or(&quarter);
    let unavailable =
        rolling.and_then(|rolling| rolling.max_unavailable.as_ref()).unwrap_or(&quarter);
    let wanted = wanted(deployment);
    let surge = resolve(surge, wanted, Round::Up).unwrap_or_default();
    let unavailable = resolve(unavailable, wanted, Round::Down).unwrap_or_default();
    (surge, if surge == 0 && unavailable == 0 { 1 } else { unavailable })
}

/// The size of the new set: as far up as the surge allows.
pub(super) fn new_set_size(deployment: &Deployment, total: i32, current: i32) -> i32 {
    let wanted = wanted(deployment);
    if is_recreate(deployment) {
        return wanted;
    }
    let room = wanted + max_surge(deployment) - total;
    if room <= 0 { current } else { current + room.min(wanted - current) }
}

/// The new set has all the replicas asked for, and they are available.
pub(super) fn is_saturated(deployment: &Deployment, set: &ReplicaSet) -> bool {
    let wanted = wanted(deployment);
    replicas(set) == wanted
        && number(set, DESIRED) == Some(wanted.into())
        && available(set) == wanted
}

/// New sizes for active sets when the deployment is scaled in the middle of a roll-out: each keeps
/// its share, the largest takes what is left over. The sets come back in the order given.
pub(super) fn proportional(deployment: &Deployment, sets: &[&ReplicaSet]) -> Vec<i32> {
    let wanted = wanted(deployment);
    let allowed = if wanted > 0 { wanted + max_surge(deployment) } else { 0 };
    let to_add = allowed - sets.iter().map(|set| replicas(set)).sum::<i32>();
    let created = |i: usize| sets[i].metadata.creation_timestamp.as_ref().map(|time| time.0);
    let mut order: Vec<usize> = (0..sets.len()).collect();
    order.sort_by(|&a, &b| {
        let by_size = replicas(sets[b]).cmp(&replicas(sets[a]));
        // Growing prefers the newer of two, shrinking the older.
        let by_age =
            if to_add > 0 { created(b).cmp(&created(a)) } else { created(a).cmp(&created(b)) };
        by_size.then(by_age)
    });
    let mut sizes: Vec<i32> = sets.iter().map(|set| replicas(set)).collect();
    let mut added = 0;
    for &i in &order {
        let share = share(deployment, sets[i], to_add, added);
        sizes[i] += share;
        added += share;
    }
    if let Some(&largest) = order.first() {
        sizes[largest] = (sizes[largest] + to_add - added).max(0);
    }
    sizes
}

fn share(deployment: &Deployment, set: &ReplicaSet, to_add: i32, added: i32) -> i32 {
    if replicas(set) == 0 || to_add == added {
        return 0;
    }
    let (fraction, left) = (fraction(deployment, set), to_add - added);
    if to_add > 0 { fraction.min(left) } else { fraction.max(left) }
}

fn fraction(deployment: &Deployment, set: &ReplicaSet) -> i32 {
    let (wanted, size) = (wanted(deployment), replicas(set));
    if wanted == 0 {
        return -size;
    }
    let now = f64::from(wanted + max_surge(deployment));
    let before =
        number(set, MAXIMUM).and_then(|max| i32::try_from(max).ok()).filter(|max| *max > 0);
    let current = deployment.status.as_ref().and_then(|status| status.replicas).unwrap_or_default();
    match before.unwrap_or(current) {
        0 => 0,
        before => {
            let ideal = (f64::from(size) * now / f64::from(before)).round();
            #[expect(clippy::cast_possible_truncation, reason = "a share of two replica counts")]
            let ideal = ideal as i32;
            ideal - size
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn deployment(replicas: i32, rolling: &Value) -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"name": "web"},
            "spec": {"replicas": replicas, "selector": {}, "template": {},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling}},
        }))
        .unwrap()
    }

    fn set(replicas: i32, max: i32, created: &str) -> ReplicaSet {
        serde_json::from_value(json!({
            "metadata": {"name": "s", "creationTimestamp": created,
                "annotations": {MAXIMUM: max.to_string()}},
            "spec": {"replicas": replicas, "selector": {}},
        }))
        .unwrap()
    }

    #[test]
    fn surge_rounds_up_and_unavailability_down_but_not_both_to_zero() {
        // (replicas, surge, unavailable) -> (surge, unavailable)
        let cases = [
            ((10, json!("25%"), json!("25%")), (3, 2)),
            ((1, json!("25%"), json!("25%")), (1, 0)),
            ((3, json!(0), json!("25%")), (0, 1)),
            ((4, json!(2), json!(1)), (2, 1)),
            ((2, json!("100%"), json!(5)), (2, 2)),
        ];
        for ((replicas, surge, unavailable), expected) in cases {
            let rolling = json!({"maxSurge": surge, "maxUnavailable": unavailable});
            let deployment = deployment(replicas, &rolling);
            let found = (max_surge(&deployment), max_unavailable(&deployment));
            assert_eq!(found, expected, "{replicas} {rolling}");
        }
    }

    #[test]
    fn the_new_set_grows_into_the_surge() {
        let deployment = deployment(10, &json!({"maxSurge": 3, "maxUnavailable": 2}));
        // (pods in all, pods of the new set) -> new size
        for ((total, current), expected) in
            [((10, 0), 3), ((13, 3), 3), ((11, 3), 5), ((5, 0), 8), ((9, 9), 10)]
        {
            assert_eq!(new_set_size(&deployment, total, current), expected, "{total} {current}");
        }
    }

    #[test]
    fn scaling_in_the_middle_keeps_the_shares() {
        let rolling = json!({"maxSurge": 3, "maxUnavailable": 2});
        let (older, newer) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        // (replicas wanted, [(size, maximum before)] of the older and the newer set) -> new sizes
        let cases = [
            ((15, [(8, 13), (5, 13)]), [11, 7]),
            ((5, [(8, 13), (5, 13)]), [5, 3]),
            ((0, [(8, 13), (5, 13)]), [0, 0]),
            ((10, [(8, 13), (5, 13)]), [8, 5]),
            ((12, [(5, 13), (5, 13)]), [6, 9]),
        ];
        for ((wanted, [old, new]), expected) in cases {
            let sets = [set(old.0, old.1, older), set(new.0, new.1, newer)];
            let found = proportional(&deployment(wanted, &rolling), &[&sets[0], &sets[1]]);
            assert_eq!(found, expected, "{wanted}");
        }
    }
}
