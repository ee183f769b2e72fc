use serde_json::{Value, json};
use skep_api::registry;

use super::*;

fn services() -> Services {
    over(&["10.96.0.0/24"])
}

fn over(ranges: &[&str]) -> Services {
    Services::new(ranges.iter().map(|range| range.parse().unwrap()).collect(), 30000..=30009)
}

fn resource() -> &'static Resource {
    registry::served().resource("", "v1", "services").unwrap()
}

fn service(spec: &Value) -> Object {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec})
}

fn update(services: &Services, old: &Object, spec: &Value) -> Result<Object, Status> {
    let mut new = service(spec);
    skep_api::strategy::prepare_update(
        &resource().gvk(),
        &mut new,
        old,
        None,
        jiff::Timestamp::UNIX_EPOCH,
    );
    services.reserve(resource(), Some(&mut new), Some(old))?.commit();
    Ok(new)
}

fn create(services: &Services, spec: &Value) -> Result<Object, Status> {
    let mut object = service(spec);
    services.reserve(resource(), Some(&mut object), None)?.commit();
    Ok(object)
}

#[test]
fn what_is_not_committed_is_given_back() {
    let services = services();
    let spec = json!({"type": "ClusterIP", "clusterIP": "10.96.0.9"});
    for _ in 0..2 {
        services.reserve(resource(), Some(&mut service(&spec)), None).unwrap();
    }
    create(&services, &spec).unwrap();
    let error = create(&services, &spec).unwrap_err();
    assert_eq!(error.code, 422);
    assert!(
        error
            .message
            .ends_with("failed to allocate IP 10.96.0.9: provided IP is already allocated"),
        "{}",
        error.message
    );
}

#[test]
fn a_service_gets_what_its_type_needs() {
    let cases = [
        (json!({"type": "ClusterIP"}), true, 0),
        (json!({"type": "ClusterIP", "clusterIP": "None"}), false, 0),
        (json!({"type": "ExternalName", "externalName": "a.b"}), false, 0),
        (json!({"type": "NodePort", "ports": [{"port": 1, "protocol": "TCP"}]}), true, 1),
        (
            json!({"type": "NodePort", "ports": [{"port": 1, "protocol": "TCP"}, {"port": 1, "protocol": "UDP"}]}),
            true,
            1,
        ),
        (json!({"type": "LoadBalancer", "ports": [{"port": 1, "protocol": "TCP"}]}), true, 1),
        (
            json!({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": [{"port": 1}]}),
            true,
            0,
        ),
        (
            json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{"port": 1}]}),
            true,
            2,
        ),
    ];
    for (spec, address, ports) in cases {
        let services = services();
        let created = create(&services, &spec).unwrap();
        let holding = services.holding(&created);
        assert_eq!((holding.addresses.len() == 1, holding.ports.len()), (address, ports), "{spec}");
    }
}

#[test]
fn an_update_keeps_what_it_does_not_tell_and_frees_what_it_gives_up() {
    let services = services();
    let ports = json!([{"port": 80, "protocol": "TCP"}]);
    let old = create(&services, &json!({"type": "NodePort", "ports": ports})).unwrap();
    let same = update(&services, &old, &json!({"type": "NodePort", "ports": ports})).unwrap();
    assert_eq!(same["spec"], old["spec"]);
    let empty = json!({"type": "NodePort", "clusterIP": "", "ports": [{"port": 80, "protocol": "TCP", "nodePort": 0}]});
    assert_eq!(update(&services, &old, &empty).unwrap()["spec"], old["spec"]);

    let smaller = update(&services, &old, &json!({"type": "ClusterIP", "ports": ports})).unwrap();
    assert_eq!(smaller["spec"]["clusterIP"], old["spec"]["clusterIP"]);
    let port = old["spec"]["ports"][0]["nodePort"].clone();
    let again = json!({"type": "NodePort", "ports": [{"port": 81, "nodePort": port}]});
    create(&services, &again).unwrap();
    assert_eq!(create(&services, &again).unwrap_err().code, 422);
}

#[test]
fn a_full_range_is_an_error_and_deletion_makes_room() {
    let services = services();
    let spec = json!({"type": "NodePort", "ports": [{"port": 1, "protocol": "TCP"}]});
    let all: Vec<Object> = (0..10).map(|_| create(&services, &spec).unwrap()).collect();
    assert!(create(&services, &spec).is_err());
    services.release(resource(), &all[3]);
    create(&services, &spec).unwrap();
}

#[test]
fn each_family_gets_an_address_of_its_range() {
    let both = ["10.96.0.0/24", "fd00:10:96::/120"];
    let cases = [
        (&both[..], json!({}), vec!["10.96.0."]),
        (&both, json!({"ipFamilyPolicy": "PreferDualStack"}), vec!["10.96.0.", "fd00:10:96::"]),
        (
            &both,
            json!({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"]}),
            vec!["fd00:10:96::", "10.96.0."],
        ),
        (&both, json!({"ipFamilies": ["IPv6"]}), vec!["fd00:10:96::"]),
        (
            &both,
            json!({"clusterIP": "fd00:10:96::9", "ipFamilyPolicy": "PreferDualStack"}),
            vec!["fd00:10:96::9", "10.96.0."],
        ),
        (&both[..1], json!({"ipFamilyPolicy": "PreferDualStack"}), vec!["10.96.0."]),
        (&both[1..], json!({}), vec!["fd00:10:96::"]),
    ];
    for (ranges, mut spec, expected) in cases {
        spec["type"] = "ClusterIP".into();
        let services = over(ranges);
        let created = create(&services, &spec).unwrap();
        let addresses: Vec<&str> = created["spec"]["clusterIPs"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        assert_eq!(addresses.len(), expected.len(), "{spec}: {addresses:?}");
        for (address, expected) in addresses.iter().zip(expected) {
            assert!(address.starts_with(expected), "{spec}: {addresses:?}");
        }
        assert_eq!(created["spec"]["clusterIP"], addresses[0]);
        assert_eq!(services.holding(&created).addresses.len(), addresses.len());
    }
}

#[test]
fn a_second_address_comes_and_goes_with_the_policy() {
    let services = over(&["10.96.0.0/24", "fd00:10:96::/120"]);
    let one = create(&services, &json!({"type": "ClusterIP"})).unwrap();
    let prefer = json!({"type": "ClusterIP", "ipFamilyPolicy": "PreferDualStack"});
    let two = update(&services, &one, &prefer).unwrap();
    assert_eq!(two["spec"]["clusterIPs"][0], one["spec"]["clusterIP"]);
    let second = two["spec"]["clusterIPs"][1].clone();
    assert!(second.as_str().unwrap().starts_with("fd00:"));

    let mut single = two["spec"].clone();
    single["ipFamilyPolicy"] = "SingleStack".into();
    let again = update(&services, &two, &single).unwrap();
    assert_eq!(again["spec"]["clusterIPs"], one["spec"]["clusterIPs"]);
    assert_eq!(again["spec"]["ipFamilies"], json!(["IPv4"]));
    create(&services, &json!({"type": "ClusterIP", "clusterIP": second})).unwrap();
}
