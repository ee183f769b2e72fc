use serde_json::{Value, json};
use skep_api::registry;

use super::*;

fn services() -> Services {
    Services::new("10.96.0.0/24".parse().unwrap(), 30000..=30009)
}

fn resource() -> &'static Resource {
    registry::served().resource("", "v1", "services").unwrap()
}

fn service(spec: &Value) -> Object {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec})
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
    let mut same = service(&json!({"type": "NodePort", "ports": ports}));
    services.reserve(resource(), Some(&mut same), Some(&old)).unwrap().commit();
    assert_eq!(same["spec"], old["spec"]);

    let mut smaller = service(&json!({"type": "ClusterIP", "ports": ports}));
    services.reserve(resource(), Some(&mut smaller), Some(&old)).unwrap().commit();
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
