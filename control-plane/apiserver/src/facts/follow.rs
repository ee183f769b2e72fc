//! Keeping the facts in step: read what is there, then follow every change; begin again when cut.

use skep_api::status::Status;
use skep_store::{Range, Revision, WatchStream};
use tokio_util::sync::CancellationToken;

use super::known::{Known, SOURCES};
use crate::ApiServer;
use crate::objects::{Objects, ROOT, store_error};

/// Keeps `server`'s facts until `shutdown`.
pub(crate) async fn follow(server: ApiServer, shutdown: CancellationToken) {
    let sources =
        SOURCES.map(|(group, version, plural)| Objects::named(&server, group, version, plural));
    let work = async {
        loop {
            if let Err(error) = run(&server, &sources).await {
                tracing::warn!(%error, "the facts are read anew");
                tokio::task::yield_now().await;
            }
        }
    };
    shutdown.run_until_cancelled(work).await;
}

async fn run(server: &ApiServer, sources: &[Objects]) -> Result<(), Status> {
    let revision = server.store().revision().await.map_err(store_error)?;
    let mut known = Known::default();
    for source in sources {
        let range = Range { revision: Some(revision), ..Range::prefix(source.prefix("")) };
        for kv in server.store().range(range).await.map_err(store_error)?.kvs {
            apply(&mut known, source, &kv.key, Some((&kv.value, kv.mod_revision)));
        }
    }
    // Every key: the facts' revision then moves with the store's, whatever was written.
    let range = Range { revision: Some(revision), ..Range::prefix(format!("{ROOT}/")) };
    let events = server.store().watch(range).await.map_err(store_error)?;
    let facts = server.facts();
    *facts.known.write() = known;
    facts.revision.send_replace(revision);
    follow_events(server, sources, events).await
}

async fn follow_events(
    server: &ApiServer,
    sources: &[Objects],
    mut events: WatchStream,
) -> Result<(), Status> {
    let facts = server.facts();
    loop {
        let batch = events.next().await.map_err(store_error)?;
        for event in &batch.events {
            let source = sources.iter().find(|source| !source.relative(&event.key).is_empty());
            if let Some(source) = source {
                let current = event.current.as_ref().map(|kv| (&kv.value[..], kv.mod_revision));
                apply(&mut facts.known.write(), source, &event.key, current);
            }
        }
        facts.revision.send_replace(batch.revision);
    }
}

fn apply(known: &mut Known, source: &Objects, key: &[u8], current: Option<(&[u8], Revision)>) {
    let relative = source.relative(key);
    let (namespace, name) = match source.resource.namespaced {
        true => relative.split_once('/').unwrap_or_default(),
        false => ("", relative),
    };
    let object = match current.map(|(value, revision)| source.decode(value, revision)) {
        None => None,
        Some(Ok(object)) => Some(object),
        Some(Err(error)) => {
            tracing::warn!(key = %String::from_utf8_lossy(key), %error, "unreadable object");
            None
        }
    };
    let (group, resource) = (&source.resource.group, &source.resource.plural);
    known.apply(group, resource, namespace, name, object.as_ref());
}
