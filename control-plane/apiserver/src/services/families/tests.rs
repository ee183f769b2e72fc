use super::*;

const BOTH: &[&str] = &["IPv4", "IPv6"];

fn spec(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[test]
fn what_is_left_open_is_completed() {
    let selected = json!({"app": "a"});
    let cases = [
        (json!({}), &BOTH[..1], "SingleStack", json!(["IPv4"])),
        (json!({}), &BOTH[1..], "SingleStack", json!(["IPv6"])),
        (json!({"ipFamilyPolicy": PREFER}), &BOTH[..1], PREFER, json!(["IPv4"])),
        (json!({"ipFamilyPolicy": PREFER}), BOTH, PREFER, json!(["IPv4", "IPv6"])),
        (
            json!({"ipFamilyPolicy": REQUIRE, "ipFamilies": ["IPv6"]}),
            BOTH,
            REQUIRE,
            json!(["IPv6", "IPv4"]),
        ),
        (json!({"clusterIP": "fd00::1"}), BOTH, SINGLE, json!(["IPv6"])),
        (json!({"clusterIP": "None", "selector": selected}), BOTH, SINGLE, json!(["IPv4"])),
        // Without a selector others write the endpoints, of any family.
        (json!({"clusterIP": "None"}), &BOTH[..1], REQUIRE, json!(["IPv4", "IPv6"])),
        (
            json!({"clusterIP": "None", "ipFamilies": ["IPv6"], "ipFamilyPolicy": SINGLE}),
            &BOTH[..1],
            SINGLE,
            json!(["IPv6"]),
        ),
    ];
    for (value, cluster, policy, families) in cases {
        let mut spec = spec(&value);
        complete(&mut spec, None, cluster).unwrap();
        assert_eq!(
            (&spec["ipFamilyPolicy"], &spec["ipFamilies"]),
            (&policy.into(), &families),
            "{value}"
        );
    }
}

#[test]
fn contradictions_are_named() {
    let cases = [
        (
            json!({"ipFamilyPolicy": REQUIRE}),
            &BOTH[..1],
            "spec.ipFamilyPolicy",
            "not configured for dual-stack",
        ),
        (
            json!({"ipFamilies": ["IPv6"]}),
            &BOTH[..1],
            "spec.ipFamilies[0]",
            "not configured on this cluster",
        ),
        (
            json!({"clusterIP": "fd00::1"}),
            &BOTH[..1],
            "spec.clusterIPs[0]",
            "IPv6 is not configured",
        ),
        (
            json!({"ipFamilies": ["IPv4", "IPv6"]}),
            BOTH,
            "spec.ipFamilyPolicy",
            "multiple IP families",
        ),
        (
            json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"]}),
            BOTH,
            "spec.ipFamilyPolicy",
            "multiple cluster IPs",
        ),
        (
            json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "10.0.0.2"], "ipFamilyPolicy": REQUIRE}),
            BOTH,
            "spec.clusterIPs",
            "no more than one IP for each IP family",
        ),
        (json!({"clusterIPs": ["10.0.0.1"]}), BOTH, "spec.clusterIPs", "must be empty when"),
        (
            json!({"clusterIP": "10.0.0.2", "clusterIPs": ["10.0.0.1"]}),
            BOTH,
            "spec.clusterIPs",
            "first value",
        ),
        (
            json!({"clusterIP": "10.0.0.2", "ipFamilies": ["IPv6"]}),
            BOTH,
            "spec.clusterIPs[0]",
            "expected an IPv6",
        ),
        (json!({"ipFamilies": ["IPv5"]}), BOTH, "spec.ipFamilies[0]", "supported values"),
        (
            json!({"ipFamilies": ["IPv4", "IPv4"], "ipFamilyPolicy": REQUIRE}),
            BOTH,
            "spec.ipFamilies[1]",
            "",
        ),
        (
            json!({"clusterIP": "None", "clusterIPs": ["None", "fd00::1"]}),
            BOTH,
            "spec.clusterIPs",
            "'None' must be",
        ),
    ];
    for (value, cluster, field, detail) in cases {
        let errors = complete(&mut spec(&value), None, cluster).unwrap_err();
        assert_eq!(errors[0].field, field, "{value}");
        assert!(errors[0].detail.contains(detail), "{value}: {}", errors[0].detail);
    }
}

#[test]
fn an_update_gives_up_its_second_family_by_policy_alone() {
    let old = spec(&json!({
        "type": "ClusterIP", "ipFamilyPolicy": PREFER, "ipFamilies": ["IPv4", "IPv6"],
        "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"],
    }));
    let with = |field: &str, value: Value| {
        let mut spec = old.clone();
        spec.insert(field.to_owned(), value);
        spec
    };
    // The cluster lost a family: who prefers two keeps what there is.
    let mut same = old.clone();
    complete(&mut same, Some(&old), &BOTH[..1]).unwrap();
    assert_eq!(same, old);

    let mut single = with("ipFamilyPolicy", SINGLE.into());
    complete(&mut single, Some(&old), BOTH).unwrap();
    assert_eq!(
        (&single["clusterIPs"], &single["ipFamilies"]),
        (&json!(["10.0.0.1"]), &json!(["IPv4"]))
    );

    for (field, value) in [("clusterIPs", json!(["10.0.0.1"])), ("ipFamilies", json!(["IPv4"]))] {
        let errors = complete(&mut with(field, value), Some(&old), BOTH).unwrap_err();
        assert!(errors[0].detail.starts_with("must be 'SingleStack' to release"), "{field}");
    }
}
