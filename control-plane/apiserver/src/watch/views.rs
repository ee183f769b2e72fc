//! The objects of recent events, decoded once, and the frames made of them, encoded once per form: any
//! number of watchers share both.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;
use skep_api::Object;
use skep_store::Revision;

use crate::http::accept::Accept;

/// Watchers that keep up are all within this many events.
const KEPT: usize = 512;

/// An object at a revision, as seen in one version of its group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ViewKey {
    pub(crate) key: Bytes,
    pub(crate) revision: Revision,
    /// What was there before `revision`, under its number: a deletion shows that.
    pub(crate) last_state: bool,
    pub(crate) version: &'static str,
}

/// One object of one event.
#[derive(Debug, Default)]
pub(crate) struct View {
    object: OnceLock<Option<Object>>,
    frames: Mutex<Vec<(Accept, &'static str, Bytes)>>,
}

impl View {
    /// The frame of this form and event type.
    pub(crate) fn frame(
        &self,
        accept: Accept,
        kind: &'static str,
        make: impl FnOnce() -> Vec<u8>,
    ) -> Bytes {
        let mut frames = self.frames.lock();
        let known = frames.iter().find(|(a, k, _)| *a == accept && *k == kind);
        if let Some((_, _, frame)) = known {
            return frame.clone();
        }
        let frame = Bytes::from(make());
        frames.push((accept, kind, frame.clone()));
        frame
    }

    /// The object, decoded by whoever comes first; `None` when it cannot be.
    pub(crate) fn object(&self, decode: impl FnOnce() -> Option<Object>) -> Option<&Object> {
        self.object.get_or_init(decode).as_ref()
    }
}

/// The views of the most recent events.
#[derive(Debug, Default)]
pub(crate) struct Views {
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    views: HashMap<ViewKey, Arc<View>>,
    order: VecDeque<ViewKey>,
}

impl Views {
    /// The view of this name, empty when nobody has asked for it yet.
    pub(crate) fn view(&self, key: ViewKey) -> Arc<View> {
        let mut recent = self.recent.lock();
        if let Some(view) = recent.views.get(&key) {
            return view.clone();
        }
        if recent.order.len() == KEPT
            && let Some(oldest) = recent.order.pop_front()
        {
            recent.views.remove(&oldest);
        }
        recent.order.push_back(key.clone());
        recent.views.entry(key).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(revision: u64) -> ViewKey {
        ViewKey { key: "k".into(), revision: Revision(revision), last_state: false, version: "v1" }
    }

    #[test]
    fn a_frame_is_made_once_for_all_watchers() {
        let views = Views::default();
        let first = views.view(key(1)).frame(Accept::JSON, "ADDED", || b"frame".to_vec());
        let second = views.view(key(1)).frame(Accept::JSON, "ADDED", || panic!("made twice"));
        assert_eq!(first.as_ptr(), second.as_ptr());
    }

    #[test]
    fn old_views_make_room() {
        let views = Views::default();
        for revision in 0..10 * KEPT as u64 {
            views.view(key(revision));
        }
        assert_eq!(views.recent.lock().views.len(), KEPT);
    }
}
