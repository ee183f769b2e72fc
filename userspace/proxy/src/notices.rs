//! What is wrong with a Service, told to its owner: Events on the Service.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;

use crate::service::ServiceName;

/// Notices that wait for the API server; more are dropped, and only logged.
const WAITING: usize = 256;

/// A part of a Service that is not served, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The Service.
    pub service: ServiceName,
    /// Its uid, so that `kubectl describe` finds the Event.
    pub uid: String,
    /// One word.
    pub reason: &'static str,
    /// A sentence.
    pub note: String,
}

/// Begins to write Events as the proxy of this node; ends with the sender.
pub fn reporter(client: Client, node_name: &str) -> mpsc::Sender<Notice> {
    let (notices, mut waiting) = mpsc::channel::<Notice>(WAITING);
    let reporter = Reporter { controller: "skep-proxy".into(), instance: Some(node_name.into()) };
    let recorder = Recorder::new(client, reporter);
    tokio::spawn(async move {
        while let Some(notice) = waiting.recv().await {
            let (event, about) = event(notice);
            if let Err(error) = recorder.publish(&event, &about).await {
                tracing::warn!(%error, service = about.name, "cannot write an Event");
            }
        }
    });
    notices
}

fn event(notice: Notice) -> (Event, ObjectReference) {
    let about = ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Service".into()),
        namespace: Some(notice.service.namespace.as_ref().into()),
        name: Some(notice.service.name.as_ref().into()),
        uid: Some(notice.uid).filter(|uid| !uid.is_empty()),
        ..ObjectReference::default()
    };
    let event = Event {
        type_: EventType::Warning,
        reason: notice.reason.into(),
        note: Some(notice.note),
        action: "Serve".into(),
        secondary: None,
    };
    (event, about)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_about_its_service() {
        let notice = Notice {
            service: ServiceName::new("shop", "web"),
            uid: "1-2".into(),
            reason: "AddressTaken",
            note: "192.0.2.1:80/TCP is shop/other's".into(),
        };
        let (event, about) = event(notice);
        assert_eq!(about.uid.as_deref(), Some("1-2"));
        assert_eq!(
            (about.namespace.as_deref(), about.name.as_deref()),
            (Some("shop"), Some("web"))
        );
        assert_eq!((event.reason.as_str(), event.type_), ("AddressTaken", EventType::Warning));
    }
}
