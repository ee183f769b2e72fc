//! What happened to pods, told to the API server: one object per kind of happening, counted up when
//! it happens again. Telling never delays the work; what does not fit the queue is dropped.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, Node, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::status::whole_seconds;

const QUEUE: usize = 512;
/// Happenings that are remembered for counting.
const REMEMBERED: usize = 2048;
const PATIENCE: Duration = Duration::from_secs(10);

/// Is it worth a look?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Normal,
    Warning,
}

/// Takes happenings; clones share one queue.
#[derive(Clone, Debug)]
pub(crate) struct Recorder(mpsc::Sender<Happening>);

#[derive(Debug)]
struct Happening {
    about: ObjectReference,
    kind: Kind,
    reason: &'static str,
    message: String,
    at: Timestamp,
}

impl Recorder {
    /// Starts the task that writes events as this node.
    pub(crate) fn start(client: Client, node_name: String, shutdown: CancellationToken) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(write(client, node_name, receiver, shutdown));
        Self(sender)
    }

    /// Something happened to a pod, or to one of its containers (`field`: spec.containers{name}).
    pub(crate) fn pod(
        &self,
        pod: &Pod,
        field: Option<String>,
        kind: Kind,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        let meta = &pod.metadata;
        let about = ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            field_path: field,
        };
        self.put(about, kind, reason, message.into());
    }

    /// Something happened to the node.
    pub(crate) fn node(
        &self,
        node: &Node,
        kind: Kind,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        let name = node.metadata.name.clone();
        let about = ObjectReference {
            kind: Some("Node".into()),
            uid: name.clone(),
            name,
            ..ObjectReference::default()
        };
        self.put(about, kind, reason, message.into());
    }

    fn put(&self, about: ObjectReference, kind: Kind, reason: &'static str, message: String) {
        tracing::debug!(?kind, reason, message, name = about.name, "event");
        let at = whole_seconds(Timestamp::now());
        // A full queue means that the API server is slow: the work goes on.
        let _ = self.0.try_send(Happening { about, kind, reason, message, at });
    }
}

type Key = (Option<String>, Option<String>, &'static str, String);

async fn write(
    client: Client,
    node_name: String,
    mut queue: mpsc::Receiver<Happening>,
    shutdown: CancellationToken,
) {
    let mut known: HashMap<Key, (String, i32)> = HashMap::new();
    let mut serial = Timestamp::now().as_nanosecond();
    loop {
        let happening = tokio::select! {
            () = shutdown.cancelled() => return,
            happening = queue.recv() => match happening {
                Some(happening) => happening,
                None => return,
            },
        };
        if known.len() >= REMEMBERED {
            known.clear();
        }
        serial += 1;
        let told = tell(&client, &node_name, happening, serial, &mut known);
        match tokio::time::timeout(PATIENCE, told).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "an event was not taken"),
            Err(_) => tracing::debug!("an event was not taken in time"),
        }
    }
}

async fn tell(
    client: &Client,
    node_name: &str,
    happening: Happening,
    serial: i128,
    known: &mut HashMap<Key, (String, i32)>,
) -> kube::Result<()> {
    let Happening { about, kind, reason, message, at } = happening;
    let namespace = about.namespace.clone().unwrap_or_else(|| "default".into());
    let events: Api<Event> = Api::namespaced(client.clone(), &namespace);
    let key: Key = (about.uid.clone(), about.field_path.clone(), reason, message.clone());
    if let Some((name, count)) = known.get_mut(&key) {
        *count += 1;
        let patch = json!({"count": *count, "lastTimestamp": Time(at)});
        match events.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            other => return other.map(drop),
        }
    }
    let name = format!("{}.{serial:x}", about.name.as_deref().unwrap_or_default());
    let event = Event {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace),
            ..ObjectMeta::default()
        },
        involved_object: about,
        type_: Some(if kind == Kind::Normal { "Normal" } else { "Warning" }.into()),
        reason: Some(reason.into()),
        message: Some(message),
        count: Some(1),
        first_timestamp: Some(Time(at)),
        last_timestamp: Some(Time(at)),
        source: Some(EventSource {
            component: Some("kubelet".into()),
            host: Some(node_name.into()),
        }),
        reporting_component: Some("kubelet".into()),
        reporting_instance: Some(node_name.into()),
        ..Event::default()
    };
    events.create(&PostParams::default(), &event).await?;
    known.insert(key, (name, 1));
    Ok(())
}

/// The part of a pod that an event is about.
pub(crate) fn container_field(pod: &Pod, name: &str) -> Option<String> {
    let member = crate::role::all(pod).into_iter().find(|member| member.name() == name)?;
    Some(match member.role {
        crate::role::Role::Main => format!("spec.containers{{{name}}}"),
        crate::role::Role::Ephemeral => format!("spec.ephemeralContainers{{{name}}}"),
        _ => format!("spec.initContainers{{{name}}}"),
    })
}
