//! What a user can do with kubectl, against a running cluster.

use skep_cluster_tests::{Namespace, eventually, holds, kubectl, kubectl_command, run_with_input};

fn page(namespace: &str) -> Namespace {
    let namespace = Namespace::new(namespace);
    namespace.apply("page.yaml");
    namespace.rolled_out("page");
    namespace
}

#[test]
fn get_prints_upstreams_columns() {
    let space = page("columns");
    let header = |words: &[&str]| {
        let text = space.kubectl(words).ok();
        text.lines().next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for (words, expected) in [
        (&["get", "pods"][..], "NAME READY STATUS RESTARTS AGE"),
        (
            &["get", "pods", "-o", "wide"],
            "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES",
        ),
        (&["get", "deployments"], "NAME READY UP-TO-DATE AVAILABLE AGE"),
        (&["get", "replicasets"], "NAME DESIRED CURRENT READY AGE"),
        (&["get", "services"], "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE"),
        (&["get", "endpointslices"], "NAME ADDRESSTYPE PORTS ENDPOINTS AGE"),
        (&["get", "nodes"], "NAME STATUS ROLES AGE VERSION"),
        (&["get", "namespaces"], "NAME STATUS AGE"),
        (&["get", "events"], "LAST SEEN TYPE REASON OBJECT MESSAGE"),
        (&["get", "serviceaccounts"], "NAME AGE"),
        (&["get", "configmaps"], "NAME DATA AGE"),
    ] {
        assert_eq!(header(words), expected, "{words:?}");
    }
}

#[test]
fn get_knows_its_output_formats() {
    let space = page("formats");
    let names = space.kubectl(&["get", "deployments", "-o", "name"]).ok();
    assert_eq!(names.trim(), "deployment.apps/page");
    let replicas =
        space.kubectl(&["get", "deployment", "page", "-o", "jsonpath={.spec.replicas}"]).ok();
    assert_eq!(replicas, "2");
    let yaml = space.kubectl(&["get", "deployment", "page", "-o", "yaml"]).ok();
    assert!(yaml.contains("kind: Deployment"), "{yaml}");
    assert_eq!(space.field("deployment/page", "/status/readyReplicas"), 2);
}

#[test]
fn describe_tells_a_pods_events() {
    let space = page("describe");
    let pods = space.kubectl(&["get", "pods", "-o", "name"]).ok();
    let pod = pods.lines().next().expect("there are two");
    eventually("the events", || {
        let text = space.kubectl(&["describe", pod]).ok();
        let all = ["Scheduled", "Pulled", "Created", "Started"]
            .iter()
            .all(|reason| text.contains(reason));
        holds(all, &text)
    });
}

#[test]
fn labels_patches_and_edits_change_an_object() {
    let space = page("changes");
    space.kubectl(&["label", "deployment", "page", "tier=front"]).ok();
    assert_eq!(space.field("deployment/page", "/metadata/labels/tier"), "front");
    for (kind, patch) in [
        (
            "strategic",
            r#"{"spec":{"template":{"spec":{"containers":[{"name":"page","env":[{"name":"A","value":"1"}]}]}}}}"#,
        ),
        ("merge", r#"{"metadata":{"annotations":{"merged":"yes"}}}"#),
        ("json", r#"[{"op":"add","path":"/metadata/annotations/patched","value":"yes"}]"#),
    ] {
        space.kubectl(&["patch", "deployment", "page", "--type", kind, "-p", patch]).ok();
    }
    let container = space.field("deployment/page", "/spec/template/spec/containers/0");
    assert_eq!(container["env"][0]["value"], "1");
    assert_eq!(
        container["image"], "skep.local/demo:1",
        "a strategic patch merges containers by name"
    );
    assert_eq!(space.field("deployment/page", "/metadata/annotations/merged"), "yes");
    assert_eq!(space.field("deployment/page", "/metadata/annotations/patched"), "yes");
    let mut edit = kubectl_command();
    edit.args(["--namespace", &space.name, "edit", "deployment", "page"]);
    edit.env("KUBE_EDITOR", "sed -i s/tier:.front/tier:\\ back/");
    assert!(run_with_input(edit, b"").succeeded());
    assert_eq!(space.field("deployment/page", "/metadata/labels/tier"), "back");
}

#[test]
fn a_deployment_scales_restarts_and_rolls_back() {
    let space = page("rollouts");
    space.kubectl(&["scale", "deployment", "page", "--replicas=3"]).ok();
    space.rolled_out("page");
    assert_eq!(space.field("deployment/page", "/status/readyReplicas"), 3);
    space.kubectl(&["set", "env", "deployment/page", "ROUND=2"]).ok();
    space.rolled_out("page");
    let history = space.kubectl(&["rollout", "history", "deployment/page"]).ok();
    assert_eq!(history.lines().filter(|line| line.starts_with(['1', '2'])).count(), 2, "{history}");
    space.kubectl(&["rollout", "undo", "deployment/page"]).ok();
    space.rolled_out("page");
    let container = space.field("deployment/page", "/spec/template/spec/containers/0");
    assert_eq!(container.get("env"), None);
    let before = space.field("deployment/page", "/metadata/generation");
    space.kubectl(&["rollout", "restart", "deployment/page"]).ok();
    space.rolled_out("page");
    assert_ne!(space.field("deployment/page", "/metadata/generation"), before);
}

#[test]
fn expose_makes_a_service_with_endpoints() {
    let space = page("expose");
    space
        .kubectl(&[
            "expose",
            "deployment",
            "page",
            "--name=exposed",
            "--port=80",
            "--target-port=8080",
        ])
        .ok();
    eventually("two ready endpoints", || {
        let slices = space.get(&["endpointslices", "-l", "kubernetes.io/service-name=exposed"]);
        let ready = slices
            .pointer("/items/0/endpoints")
            .and_then(|endpoints| endpoints.as_array())
            .map_or(0, Vec::len);
        holds(ready == 2, &slices)
    });
}

#[test]
fn logs_exec_and_cp_reach_the_container() {
    let space = Namespace::new("reach");
    space.apply("shell.yaml");
    space.ready("shell");
    let logs = space.kubectl(&["logs", "shell"]).ok();
    assert!(logs.contains("hello from shell"), "{logs}");
    let output = space.kubectl(&["exec", "shell", "--", "sh", "-c", "echo $GREETING; exit 0"]).ok();
    assert_eq!(output, "hello\n");
    let status = space.kubectl(&["exec", "shell", "--", "sh", "-c", "exit 7"]).refused();
    assert!(status.contains("exit code 7"), "{status}");
    let mut cat = kubectl_command();
    cat.args(["--namespace", &space.name, "exec", "-i", "shell", "--", "cat"]);
    assert_eq!(run_with_input(cat, b"through and back").ok(), "through and back");
    let file = std::env::temp_dir().join(format!("skep-cp-{}", std::process::id()));
    std::fs::write(&file, "copied").expect("the temporary folder can be written");
    let path = file.display().to_string();
    space.kubectl(&["cp", &path, "shell:/tmp/copy"]).ok();
    assert_eq!(space.kubectl(&["exec", "shell", "--", "cat", "/tmp/copy"]).ok(), "copied");
    space.kubectl(&["cp", "shell:/tmp/copy", &path]).ok();
    assert_eq!(std::fs::read_to_string(&file).expect("cp wrote it"), "copied");
    std::fs::remove_file(&file).expect("it is ours");
}

#[test]
fn a_followed_log_ends_with_its_container() {
    let space = Namespace::new("follow");
    space.apply_text(
        r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"counter"},"spec":{"restartPolicy":"Never","containers":[
        {"name":"counter","image":"skep.local/busybox:1","command":["sh","-c","for i in 1 2 3; do echo line $i; sleep 0.2; done"]}]}}"#,
    ).ok();
    eventually("the container to run", || {
        let phase = space.field("pod/counter", "/status/phase");
        holds(phase == "Running" || phase == "Succeeded", &phase)
    });
    let logs = space.kubectl(&["logs", "-f", "counter"]).ok();
    assert_eq!(logs, "line 1\nline 2\nline 3\n");
}

#[test]
fn a_watch_shows_changes_as_they_come() {
    use std::io::{BufRead, BufReader};
    let space = Namespace::new("watching");
    let mut watch = kubectl_command();
    watch.args(["--namespace", &space.name, "get", "configmaps", "-w", "-o", "name"]);
    let mut child = watch.stdout(std::process::Stdio::piped()).spawn().expect("kubectl starts");
    let lines = BufReader::new(child.stdout.take().expect("its output is a pipe")).lines();
    space.kubectl(&["create", "configmap", "seen", "--from-literal=a=b"]).ok();
    let seen = lines.map_while(Result::ok).find(|line| line == "configmap/seen");
    child.kill().expect("it runs until it is killed");
    child.wait().expect("it was started here");
    assert!(seen.is_some());
}

#[test]
fn explain_resources_and_rights_are_told() {
    let text = kubectl(&["explain", "deployment.spec.strategy"]).ok();
    assert!(text.contains("rollingUpdate"), "{text}");
    let resources = kubectl(&["api-resources", "--verbs=list", "-o", "name"]).ok();
    for name in [
        "pods",
        "deployments.apps",
        "endpointslices.discovery.k8s.io",
        "roles.rbac.authorization.k8s.io",
    ] {
        assert!(resources.lines().any(|line| line == name), "{name} is missing:\n{resources}");
    }
    assert_eq!(kubectl(&["auth", "can-i", "create", "pods"]).ok().trim(), "yes");
    let other = "--as=system:serviceaccount:default:default";
    assert_eq!(kubectl(&["auth", "can-i", "create", "pods", other]).text().trim(), "no");
    let token = kubectl(&["create", "token", "default"]).ok();
    assert_eq!(token.trim().split('.').count(), 3, "a signed token has three parts");
}

#[test]
fn errors_read_like_upstreams() {
    let space = Namespace::new("errors");
    let missing = space.kubectl(&["get", "pod", "nobody"]).refused();
    assert!(
        missing.contains(r#"Error from server (NotFound): pods "nobody" not found"#),
        "{missing}"
    );
    let invalid = space
        .apply_text(r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"Bad_Name"},"spec":{"ports":[{"port":80}]}}"#)
        .refused();
    assert!(
        invalid.contains("Bad_Name") && invalid.contains("is invalid: metadata.name"),
        "{invalid}"
    );
    let unknown = space
        .apply_text(r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"dta":{}}"#)
        .refused();
    assert!(unknown.contains(r#"unknown field "dta""#), "{unknown}");
}

#[test]
fn a_deleted_namespace_takes_its_contents_along() {
    let space = page("vanishing");
    kubectl(&["delete", "namespace", "vanishing", "--timeout=60s"]).ok();
    let gone = kubectl(&["get", "namespace", "vanishing"]).refused();
    assert!(gone.contains("NotFound"), "{gone}");
    let left = space.kubectl(&["get", "pods,deployments,services", "-o", "name"]).ok();
    assert_eq!(left, "");
}
