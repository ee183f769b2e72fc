//! A kill -9 in the middle of concurrent writes loses nothing acknowledged and shows no half of a write.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use bytes::Bytes;
use skep_store::{EmbeddedStore, Options, Range, Store, Txn, TxnOutcome};

const FOLDER: &str = "SKEP_STORE_CRASH_FOLDER";
const WRITERS: usize = 16;

fn options() -> Options {
    // Small, so that the kill also hits snapshots and the removal of segments.
    Options { log_bytes: 64 << 10, ..Options::default() }
}

/// Not a test of its own: the process that the test below kills. Each writer counts up in two keys by one
/// transaction and prints every count that was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writer_process() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let store = EmbeddedStore::open(Path::new(&folder), options()).unwrap();
    let writers = (0..WRITERS).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for count in start(&store, writer).await + 1.. {
                let value = Bytes::from(format!("{count:0>200}"));
                let txn = Txn::default()
                    .put(format!("/left/{writer}").into(), value.clone(), None)
                    .put(format!("/right/{writer}").into(), value, None);
                assert!(matches!(store.txn(txn).await.unwrap(), TxnOutcome::Committed(_)));
                let line = format!("ack {writer} {count}\n");
                std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

async fn start(store: &EmbeddedStore, writer: usize) -> u64 {
    let kv = store.get(format!("/left/{writer}").into()).await.unwrap();
    kv.map_or(0, |kv| std::str::from_utf8(&kv.value).unwrap().parse().unwrap())
}

#[tokio::test]
async fn kill_9_loses_no_acknowledged_write_and_shows_no_half_of_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeMap::new();
    for round in 1..=5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["writer_process", "--exact", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut seen = 0;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let Some((_, ack)) = line.split_once("ack ") else { continue };
            let Some((writer, count)) = ack.split_once(' ') else { continue };
            let count: u64 = count.parse().unwrap();
            acknowledged.insert(writer.parse::<usize>().unwrap(), count);
            seen += 1;
            if seen == 300 * round {
                child.kill().unwrap();
            }
        }
        assert!(!child.wait().unwrap().success(), "the writer ended by itself");

        let store = EmbeddedStore::open(folder.path(), options()).unwrap();
        for (&writer, &count) in &acknowledged {
            let found = start(&store, writer).await;
            assert!(found >= count, "writer {writer}: {count} acknowledged, {found} found");
        }
        let left = store.range(Range::prefix("/left/")).await.unwrap().kvs;
        let right = store.range(Range::prefix("/right/")).await.unwrap().kvs;
        assert_eq!(left.len(), right.len());
        for (left, right) in left.iter().zip(&right) {
            assert_eq!((&left.value, left.mod_revision), (&right.value, right.mod_revision));
        }
    }
    assert_eq!(acknowledged.len(), WRITERS);
}
