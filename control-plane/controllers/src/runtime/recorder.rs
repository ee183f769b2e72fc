//! Events about objects, written in the background. The same event again raises its count instead of
//! adding another; when the API is slower than the controllers, events are dropped, never waited for.

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event as ApiEvent, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::Patch;
use serde_json::json;
use tokio::sync::mpsc;
use tracing::debug;

use super::object::{Key, Kind, Objects, is_not_found};

const BACKLOG: usize = 1000;
/// How many different events are remembered for counting.
const REMEMBERED: usize = 1000;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    /// `Warning` rather than `Normal`.
    pub warning: bool,
    /// One word in CamelCase for programs.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
}

impl Event {
    /// Something went as it should.
    pub fn normal(reason: &'static str, message: impl Into<String>) -> Self {
        Self { warning: false, reason, message: message.into() }
    }

    /// Something did not.
    pub fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self { warning: true, reason, message: message.into() }
    }
}

/// Records events under one controller's name. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<(ObjectReference, Event)>,
}

impl Recorder {
    /// Starts the task that writes; it ends with the last recorder.
    pub(super) fn start(component: &'static str, objects: Objects) -> Self {
        let (queue, mut incoming) = mpsc::channel(BACKLOG);
        tokio::spawn(async move {
            let mut journal = Journal::default();
            while let Some((about, event)) = incoming.recv().await {
                journal.write(&objects, component, about, event).await;
            }
        });
        Self { queue }
    }

    /// Records an event about an object.
    pub fn record<K: Kind>(&self, object: &K, event: Event) {
        let mut about = object.object_ref(&());
        about.resource_version.clone_from(&object.meta().resource_version);
        self.record_about(about, event);
    }

    /// Records an event about an object that is known only by reference.
    pub fn record_about(&self, about: ObjectReference, event: Event) {
        if self.queue.try_send((about, event)).is_err() {
            debug!("event dropped: the API takes them too slowly");
        }
    }
}

type Sameness = (Option<String>, Event);

#[derive(Default)]
struct Journal {
    written: HashMap<Sameness, (Key, i32)>,
}

impl Journal {
    async fn write(
        &mut self,
        objects: &Objects,
        component: &str,
        about: ObjectReference,
        event: Event,
    ) {
        let sameness = (about.uid.clone(), event.clone());
        if let Some((key, count)) = self.written.get_mut(&sameness) {
            *count += 1;
            let patch = json!({ "count": *count, "lastTimestamp": Time(Timestamp::now()) });
            match objects.patch::<ApiEvent, _>(key, "", &Patch::Merge(patch)).await {
                Err(error) if is_not_found(&error) => {}
                Err(error) => return debug!(%error, "event not counted"),
                Ok(_) => return,
            }
        }
        let api_event = describe(component, about, &event, Timestamp::now());
        match objects.create(&api_event).await {
            Ok(created) => {
                if self.written.len() >= REMEMBERED {
                    self.written.clear();
                }
                self.written.insert(sameness, (Key::of(&created.metadata), 1));
            }
            Err(error) => debug!(%error, "event not written"),
        }
    }
}

fn describe(component: &str, about: ObjectReference, event: &Event, now: Timestamp) -> ApiEvent {
    let namespace = about.namespace.clone().unwrap_or_else(|| "default".into());
    let name = about.name.clone().unwrap_or_default();
    ApiEvent {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{:x}", now.as_nanosecond())),
            namespace: Some(namespace),
            ..ObjectMeta::default()
        },
        involved_object: about,
        type_: Some(if event.warning { "Warning" } else { "Normal" }.into()),
        reason: Some(event.reason.into()),
        message: Some(event.message.clone()),
        source: Some(EventSource { component: Some(component.into()), host: None }),
        reporting_component: Some(component.into()),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        count: Some(1),
        ..ApiEvent::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_lives_beside_its_object_and_cluster_scoped_ones_in_default() {
        let cases = [(Some("shop"), "shop"), (None, "default")];
        for (namespace, expected) in cases {
            let about = ObjectReference {
                namespace: namespace.map(Into::into),
                name: Some("web".into()),
                ..ObjectReference::default()
            };
            let event =
                describe("c", about, &Event::normal("Did", "did it"), Timestamp::UNIX_EPOCH);
            assert_eq!(event.metadata.namespace.as_deref(), Some(expected));
            assert_eq!(event.metadata.name.as_deref(), Some("web.0"));
            assert_eq!(event.type_.as_deref(), Some("Normal"));
        }
    }
}
