//! The API's objects as far as Services depend on them, in the API's own wire format.
//!
//! Protobuf, and only the fields that matter: what is not named here is skipped while reading, which is
//! most of a large cluster's lists. Numbers are those of upstream's generated.proto files; the tests
//! hold them against the schema tables of skep-api.

#![expect(missing_docs, reason = "the fields are upstream's, and described there")]

use std::collections::HashMap;

use prost::Message;

/// A kind that can be listed and watched.
pub trait Object: Message + Default + Send + 'static {
    /// Its resource's path.
    const PATH: &'static str;
    /// What people call several of them.
    const NAME: &'static str;

    /// Who it is.
    fn meta(&self) -> &Meta;
}

macro_rules! objects {
    ($($kind:ident, $path:literal, $name:literal;)*) => {
        $(impl Object for $kind {
            const PATH: &'static str = $path;
            const NAME: &'static str = $name;

            fn meta(&self) -> &Meta {
                static NOBODY: std::sync::LazyLock<Meta> = std::sync::LazyLock::new(Meta::default);
                self.metadata.as_ref().unwrap_or(&NOBODY)
            }
        })*
    };
}

objects! {
    Service, "/api/v1/services", "services";
    Node, "/api/v1/nodes", "nodes";
    EndpointSlice, "/apis/discovery.k8s.io/v1/endpointslices", "endpoint slices";
    ServiceCidr, "/apis/networking.k8s.io/v1/servicecidrs", "Service CIDRs";
}

/// Part of `ObjectMeta`.
#[derive(Clone, PartialEq, Message)]
pub struct Meta {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "3")]
    pub namespace: String,
    #[prost(string, tag = "5")]
    pub uid: String,
    #[prost(string, tag = "6")]
    pub resource_version: String,
    #[prost(message, optional, tag = "9")]
    pub deletion_timestamp: Option<Time>,
    #[prost(map = "string, string", tag = "11")]
    pub labels: HashMap<String, String>,
    #[prost(map = "string, string", tag = "12")]
    pub annotations: HashMap<String, String>,
}

impl Meta {
    /// Whether somebody has asked for the object's end.
    pub fn is_being_deleted(&self) -> bool {
        self.deletion_timestamp.is_some()
    }
}

/// Part of `Time`.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Time {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
}

/// Part of a Service.
#[derive(Clone, PartialEq, Message)]
pub struct Service {
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<Meta>,
    #[prost(message, optional, tag = "2")]
    pub spec: Option<ServiceSpec>,
    #[prost(message, optional, tag = "3")]
    pub status: Option<ServiceStatus>,
}

/// Part of `ServiceSpec`.
#[derive(Clone, PartialEq, Message)]
pub struct ServiceSpec {
    #[prost(message, repeated, tag = "1")]
    pub ports: Vec<ServicePort>,
    #[prost(string, tag = "3")]
    pub cluster_ip: String,
    #[prost(string, tag = "4")]
    pub kind: String,
    #[prost(string, repeated, tag = "5")]
    pub external_ips: Vec<String>,
    #[prost(string, tag = "7")]
    pub session_affinity: String,
    #[prost(string, repeated, tag = "9")]
    pub load_balancer_source_ranges: Vec<String>,
    #[prost(string, tag = "11")]
    pub external_traffic_policy: String,
    #[prost(int32, tag = "12")]
    pub health_check_node_port: i32,
    #[prost(message, optional, tag = "14")]
    pub session_affinity_config: Option<SessionAffinityConfig>,
    #[prost(string, repeated, tag = "18")]
    pub cluster_ips: Vec<String>,
    #[prost(string, tag = "22")]
    pub internal_traffic_policy: String,
}

/// Part of `ServicePort`.
#[derive(Clone, PartialEq, Message)]
pub struct ServicePort {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub protocol: String,
    #[prost(int32, tag = "3")]
    pub port: i32,
    #[prost(int32, tag = "5")]
    pub node_port: i32,
}

/// `SessionAffinityConfig`.
#[derive(Clone, PartialEq, Message)]
pub struct SessionAffinityConfig {
    #[prost(message, optional, tag = "1")]
    pub client_ip: Option<ClientIpConfig>,
}

/// `ClientIPConfig`.
#[derive(Clone, PartialEq, Message)]
pub struct ClientIpConfig {
    #[prost(int32, optional, tag = "1")]
    pub timeout_seconds: Option<i32>,
}

/// Part of `ServiceStatus`.
#[derive(Clone, PartialEq, Message)]
pub struct ServiceStatus {
    #[prost(message, optional, tag = "1")]
    pub load_balancer: Option<LoadBalancerStatus>,
}

/// `LoadBalancerStatus`.
#[derive(Clone, PartialEq, Message)]
pub struct LoadBalancerStatus {
    #[prost(message, repeated, tag = "1")]
    pub ingress: Vec<LoadBalancerIngress>,
}

/// Part of `LoadBalancerIngress`.
#[derive(Clone, PartialEq, Message)]
pub struct LoadBalancerIngress {
    #[prost(string, tag = "1")]
    pub ip: String,
    #[prost(string, tag = "3")]
    pub ip_mode: String,
}

/// An EndpointSlice.
#[derive(Clone, PartialEq, Message)]
pub struct EndpointSlice {
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<Meta>,
    #[prost(message, repeated, tag = "2")]
    pub endpoints: Vec<Endpoint>,
    #[prost(message, repeated, tag = "3")]
    pub ports: Vec<EndpointPort>,
    #[prost(string, tag = "4")]
    pub address_type: String,
}

/// Part of an `Endpoint`.
#[derive(Clone, PartialEq, Message)]
pub struct Endpoint {
    #[prost(string, repeated, tag = "1")]
    pub addresses: Vec<String>,
    #[prost(message, optional, tag = "2")]
    pub conditions: Option<EndpointConditions>,
    #[prost(message, optional, tag = "4")]
    pub target_ref: Option<ObjectReference>,
    #[prost(string, optional, tag = "6")]
    pub node_name: Option<String>,
    #[prost(message, optional, tag = "8")]
    pub hints: Option<EndpointHints>,
}

/// `EndpointConditions`.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct EndpointConditions {
    #[prost(bool, optional, tag = "1")]
    pub ready: Option<bool>,
    #[prost(bool, optional, tag = "2")]
    pub serving: Option<bool>,
    #[prost(bool, optional, tag = "3")]
    pub terminating: Option<bool>,
}

/// `EndpointHints`.
#[derive(Clone, PartialEq, Message)]
pub struct EndpointHints {
    #[prost(message, repeated, tag = "1")]
    pub for_zones: Vec<Hint>,
    #[prost(message, repeated, tag = "2")]
    pub for_nodes: Vec<Hint>,
}

/// `ForZone` and `ForNode`.
#[derive(Clone, PartialEq, Message)]
pub struct Hint {
    #[prost(string, tag = "1")]
    pub name: String,
}

/// Part of `ObjectReference`.
#[derive(Clone, PartialEq, Message)]
pub struct ObjectReference {
    #[prost(string, tag = "1")]
    pub kind: String,
    #[prost(string, tag = "2")]
    pub namespace: String,
    #[prost(string, tag = "3")]
    pub name: String,
}

/// Part of `EndpointPort`.
#[derive(Clone, PartialEq, Message)]
pub struct EndpointPort {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub protocol: Option<String>,
    #[prost(int32, optional, tag = "3")]
    pub port: Option<i32>,
}

/// Part of a Node.
#[derive(Clone, PartialEq, Message)]
pub struct Node {
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<Meta>,
    #[prost(message, optional, tag = "2")]
    pub spec: Option<NodeSpec>,
    #[prost(message, optional, tag = "3")]
    pub status: Option<NodeStatus>,
}

/// Part of `NodeSpec`.
#[derive(Clone, PartialEq, Message)]
pub struct NodeSpec {
    #[prost(string, tag = "1")]
    pub pod_cidr: String,
    #[prost(message, repeated, tag = "5")]
    pub taints: Vec<Taint>,
    #[prost(string, repeated, tag = "7")]
    pub pod_cidrs: Vec<String>,
}

/// Part of `Taint`.
#[derive(Clone, PartialEq, Message)]
pub struct Taint {
    #[prost(string, tag = "1")]
    pub key: String,
}

/// Part of `NodeStatus`.
#[derive(Clone, PartialEq, Message)]
pub struct NodeStatus {
    #[prost(message, repeated, tag = "5")]
    pub addresses: Vec<NodeAddress>,
}

/// `NodeAddress`.
#[derive(Clone, PartialEq, Message)]
pub struct NodeAddress {
    #[prost(string, tag = "1")]
    pub kind: String,
    #[prost(string, tag = "2")]
    pub address: String,
}

/// A range of Service addresses.
#[derive(Clone, PartialEq, Message)]
pub struct ServiceCidr {
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<Meta>,
    #[prost(message, optional, tag = "2")]
    pub spec: Option<ServiceCidrSpec>,
}

/// `ServiceCIDRSpec`.
#[derive(Clone, PartialEq, Message)]
pub struct ServiceCidrSpec {
    #[prost(string, repeated, tag = "1")]
    pub cidrs: Vec<String>,
}

/// An object of `apiVersion` and `kind` written as JSON, the way an API server would send it.
///
/// # Panics
/// When it is none of that kind: for tests.
#[cfg(any(test, feature = "json"))]
pub fn from_json<K: Object>(api_version: &str, kind: &str, object: &serde_json::Value) -> K {
    use skep_api::GroupVersionKind;
    use skep_api::codec::{self, FieldValidation, Media};
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    let gvk = GroupVersionKind::new(group.to_owned(), version.to_owned(), kind.to_owned());
    let mut json = object.clone();
    json["apiVersion"] = api_version.into();
    json["kind"] = kind.into();
    let bytes = serde_json::to_vec(&json).expect("JSON");
    let decoded = codec::decode(&bytes, Media::Json, Some(&gvk), FieldValidation::Strict)
        .expect("an object of that kind");
    let protobuf = codec::encode(&decoded.object, &gvk, Media::Protobuf);
    let envelope = codec::unwrap_envelope(&protobuf).expect("an envelope");
    K::decode(envelope.raw).expect("a subset of the same schema")
}
