//! The CNI plugin's operations, as a runtime calls them.

use serde_json::json;
use skep_netns_tests::World;
use skep_network::topology::Routing;

#[test]
#[ignore = "needs root and a kernel with TCX"]
fn pods_are_attached_checked_detached_and_collected() {
    let world = World::new(Routing::Direct);
    let node = world.a();
    node.cni("STATUS", "", json!({})).expect("the datapath is ready");

    let (first, second) = (node.pod("first"), node.pod("second"));
    assert_ne!(first.address, second.address);
    for pod in [&first, &second] {
        node.cni_for("CHECK", pod, json!({ "prevResult": pod.result })).expect("as ADD left it");
        assert!(
            skep_network::endpoints::get(&node.tables(), pod.address)
                .expect("the table can be read")
                .is_some()
        );
    }

    for _ in 0..2 {
        node.cni_for("DEL", &first, json!({})).expect("DEL can be repeated");
    }
    let gone = node.cni_for("CHECK", &first, json!({})).expect_err("it is detached");
    assert_eq!(gone.code, 100);
    let row = skep_network::endpoints::get(&node.tables(), first.address);
    assert_eq!(row.expect("the table can be read"), None);

    let third = node.pod("third");
    assert_ne!(third.address, first.address, "a returned address rests");
    let keep = json!([{ "containerID": third.container_id(), "ifname": "eth0" }]);
    node.cni("GC", "", json!({ "cni.dev/valid-attachments": keep })).expect("collected");
    node.cni_for("CHECK", &second, json!({})).expect_err("it was collected");
    node.cni_for("CHECK", &third, json!({})).expect("it was named");
}
