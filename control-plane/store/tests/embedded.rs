//! The embedded store keeps etcd's promises.

use std::time::Duration;

use bytes::Bytes;
use skep_store::{
    EmbeddedStore, Error, Expect, Options, Range, Revision, Store, Txn, TxnOutcome, WatchStream,
};

struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn open(&self) -> EmbeddedStore {
        self.open_with(Options::default())
    }

    fn open_with(&self, options: Options) -> EmbeddedStore {
        EmbeddedStore::open(self.folder.path(), options).unwrap()
    }

    fn files(&self, extension: &str) -> Vec<std::path::PathBuf> {
        let files =
            std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> =
            files.filter(|path| path.extension().is_some_and(|e| e == extension)).collect();
        files.sort();
        files
    }
}

async fn put(store: &EmbeddedStore, key: &str, value: &str) -> Revision {
    let txn =
        Txn::default().put(Bytes::copy_from_slice(key.as_bytes()), value.to_owned().into(), None);
    match store.txn(txn).await.unwrap() {
        TxnOutcome::Committed(revision) => revision,
        TxnOutcome::Conflict(found) => panic!("a put without comparison conflicted: {found:?}"),
    }
}

async fn keys(store: &EmbeddedStore, range: Range) -> Vec<(String, String)> {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let kvs = store.range(range).await.unwrap().kvs;
    kvs.iter().map(|kv| (text(&kv.key), text(&kv.value))).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn a_transaction_happens_whole_or_not_at_all() {
    let home = Home::new();
    let store = home.open();
    let created = store.txn(Txn::create("a".into(), "1".into(), None)).await.unwrap();
    assert_eq!(created, TxnOutcome::Committed(Revision(2)));

    let TxnOutcome::Conflict(found) =
        store.txn(Txn::create("a".into(), "2".into(), None)).await.unwrap()
    else {
        panic!("an existing key was created again");
    };
    assert_eq!(found[0].as_ref().unwrap().value, "1");

    let both = Txn::default()
        .expecting("a".into(), Expect::Revision(Revision(2)))
        .expecting("b".into(), Expect::Revision(Revision(9)))
        .put("a".into(), "3".into(), None)
        .put("c".into(), "3".into(), None);
    assert!(matches!(store.txn(both).await.unwrap(), TxnOutcome::Conflict(_)));
    assert_eq!(keys(&store, Range::prefix("")).await, pairs(&[("a", "1")]));
    assert_eq!(store.revision().await.unwrap(), Revision(2));

    let update = store.txn(Txn::update("a".into(), Revision(2), "4".into(), None)).await.unwrap();
    assert_eq!(update, TxnOutcome::Committed(Revision(3)));
    let kv = store.get("a".into()).await.unwrap().unwrap();
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (Revision(2), Revision(3), 2));
    store.txn(Txn::delete("a".into(), Revision(3))).await.unwrap();
    assert_eq!(store.get("a".into()).await.unwrap(), None);
}

#[tokio::test]
async fn a_list_goes_on_at_the_revision_it_began_with() {
    let home = Home::new();
    let store = home.open();
    for key in ["/p/a", "/p/b", "/p/c", "/p/d", "/q/a"] {
        put(&store, key, "old").await;
    }
    let first = Range { limit: Some(2), ..Range::prefix("/p/") };
    let page = store.range(first).await.unwrap();
    assert_eq!((page.kvs.len(), page.remaining), (2, 2));

    put(&store, "/p/c", "new").await;
    put(&store, "/p/bb", "new").await;
    let d = store.get("/p/d".into()).await.unwrap().unwrap();
    store.txn(Txn::delete("/p/d".into(), d.mod_revision)).await.unwrap();

    let rest =
        Range { start: "/p/b\0".into(), revision: Some(page.revision), ..Range::prefix("/p/") };
    assert_eq!(keys(&store, rest.clone()).await, pairs(&[("/p/c", "old"), ("/p/d", "old")]));
    let now = Range { revision: None, ..rest };
    assert_eq!(keys(&store, now).await, pairs(&[("/p/bb", "new"), ("/p/c", "new")]));

    store.compact(store.revision().await.unwrap()).await.unwrap();
    let gone = Range { revision: Some(page.revision), ..Range::prefix("/p/") };
    assert!(matches!(store.range(gone).await, Err(Error::Compacted { .. })));
    let ahead = Range { revision: Some(Revision(99)), ..Range::prefix("/p/") };
    assert!(matches!(store.range(ahead).await, Err(Error::Future { .. })));
}

async fn revisions(stream: &mut WatchStream, count: usize) -> Vec<u64> {
    let mut revisions = Vec::new();
    while revisions.len() < count {
        revisions.push(stream.next().await.unwrap().revision.0);
    }
    revisions
}

#[tokio::test]
async fn events_come_in_order_without_gap_and_resume_across_a_restart() {
    let home = Home::new();
    let store = home.open();
    let mut live = store.watch(Range::prefix("/p/")).await.unwrap();
    for number in 0..20 {
        put(&store, &format!("/p/{}", number % 3), &number.to_string()).await;
        put(&store, "/elsewhere", "x").await;
    }
    let expected: Vec<u64> = (0..20).map(|number| 2 + number * 2).collect();
    assert_eq!(revisions(&mut live, 20).await, expected);

    let resume = Range { revision: Some(Revision(expected[9])), ..Range::prefix("/p/") };
    let mut resumed = store.watch(resume.clone()).await.unwrap();
    assert_eq!(revisions(&mut resumed, 10).await, expected[10..]);
    drop((live, resumed, store));

    let store = home.open();
    let mut resumed = store.watch(resume).await.unwrap();
    let batch = resumed.next().await.unwrap();
    assert_eq!(batch.revision.0, expected[10]);
    assert_eq!(batch.events[0].current.as_ref().unwrap().value, "10");
    assert_eq!(batch.events[0].previous.as_ref().unwrap().value, "7");

    store.compact(store.revision().await.unwrap()).await.unwrap();
    let old = Range { revision: Some(Revision(3)), ..Range::prefix("/p/") };
    assert!(matches!(store.watch(old).await, Err(Error::Compacted { .. })));
}

#[tokio::test]
async fn a_watch_may_begin_in_the_future() {
    let home = Home::new();
    let store = home.open();
    let range = Range { revision: Some(Revision(3)), ..Range::prefix("") };
    let mut watch = store.watch(range).await.unwrap();
    for _ in 0..3 {
        put(&store, "a", "1").await;
    }
    assert_eq!(watch.next().await.unwrap().revision, Revision(4));
}

#[tokio::test]
async fn progress_follows_everything_before_it() {
    let home = Home::new();
    let store = home.open();
    let mut watch = store.watch(Range::prefix("/p/")).await.unwrap();
    put(&store, "/p/a", "1").await;
    let last = put(&store, "/elsewhere", "1").await;
    store.progress().await.unwrap();
    assert_eq!(watch.next().await.unwrap().events.len(), 1);
    let progress = watch.next().await.unwrap();
    assert_eq!((progress.revision, progress.events.len()), (last, 0));
}

#[tokio::test]
async fn a_slow_watcher_is_cut_and_never_waited_for() {
    let home = Home::new();
    let store = home.open_with(Options { watch_buffer: 4, ..Options::default() });
    let mut slow = store.watch(Range::prefix("")).await.unwrap();
    let mut keen = store.watch(Range::prefix("")).await.unwrap();
    for number in 0..10 {
        let revision = put(&store, "/p/a", &number.to_string()).await;
        assert_eq!(keen.next().await.unwrap().revision, revision);
    }
    assert_eq!(revisions(&mut slow, 4).await, [2, 3, 4, 5]);
    assert!(matches!(slow.next().await, Err(Error::WatchCut)));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_share_one_sync() {
    let home = Home::new();
    let store = home.open();
    let writers = (0..64).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for number in 0..20 {
                put(&store, &format!("/{writer}/{number}"), "x").await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let stats = store.stats();
    assert_eq!(stats.keys, 64 * 20);
    assert!(stats.syncs < 64 * 20, "{} syncs for {} writes", stats.syncs, 64 * 20);
}

#[tokio::test]
async fn a_lease_takes_its_keys_along_also_when_it_ran_out_while_the_store_was_down() {
    let home = Home::new();
    let store = home.open();
    let mut watch = store.watch(Range::prefix("")).await.unwrap();
    let lease = store.lease(Duration::from_millis(5)).await.unwrap();
    let long = store.lease(Duration::from_secs(3600)).await.unwrap();
    let txn = Txn::default().put("/e/a".into(), "1".into(), Some(lease));
    // On a stalled machine the lease may be over before its key is put: that is an answer, too.
    match store.txn(txn).await {
        Ok(_) => {
            assert_eq!(watch.next().await.unwrap().events.len(), 1);
            let gone = watch.next().await.unwrap();
            assert_eq!((&gone.events[0].key[..], &gone.events[0].current), (&b"/e/a"[..], &None));
        }
        Err(error) => assert!(matches!(error, Error::NoSuchLease(_)), "{error}"),
    }
    let short = store.lease(Duration::from_millis(1500)).await.unwrap();
    store.txn(Txn::default().put("/e/b".into(), "1".into(), Some(short))).await.unwrap();
    store.txn(Txn::default().put("/e/c".into(), "1".into(), Some(long))).await.unwrap();
    drop((watch, store));

    let store = home.open();
    let mut watch = store
        .watch(Range { revision: Some(Revision::FIRST), ..Range::prefix("/e/b") })
        .await
        .unwrap();
    while watch.next().await.unwrap().events[0].current.is_some() {}
    assert_eq!(keys(&store, Range::prefix("/e/")).await, pairs(&[("/e/c", "1")]));
    assert!(matches!(
        store.txn(Txn::default().put("/e/d".into(), "1".into(), Some(short))).await,
        Err(Error::NoSuchLease(_))
    ));
}

#[tokio::test]
async fn a_grown_log_becomes_a_snapshot_and_nothing_is_lost() {
    let home = Home::new();
    let options = Options { log_bytes: 4096, ..Options::default() };
    let store = home.open_with(options);
    let mut last = Revision::FIRST;
    for number in 0..200 {
        last = put(&store, &format!("/k/{}", number % 10), &format!("{number:>100}")).await;
    }
    drop(store);
    assert_eq!(home.files("snapshot").len(), 1);
    let bytes: u64 = home.files("log").iter().map(|log| log.metadata().unwrap().len()).sum();
    assert!(bytes < 200 * 100, "the log still has {bytes} bytes");

    let store = home.open_with(options);
    assert_eq!(store.revision().await.unwrap(), last);
    let found = keys(&store, Range::prefix("/k/")).await;
    let expected = (0..10).map(|k| (format!("/k/{k}"), format!("{:>100}", 190 + k)));
    assert_eq!(found, expected.collect::<Vec<_>>());
    let kv = store.get("/k/3".into()).await.unwrap().unwrap();
    assert_eq!((kv.version, kv.create_revision), (20, Revision(5)));
}

#[tokio::test]
async fn a_torn_tail_is_cut_off() {
    let home = Home::new();
    let store = home.open();
    put(&store, "a", "1").await;
    put(&store, "b", "2").await;
    drop(store);
    let log = home.files("log").pop().unwrap();
    let whole = std::fs::read(&log).unwrap();
    for cut in 1..20 {
        std::fs::write(&log, &whole[..whole.len() - cut]).unwrap();
        let store = home.open();
        assert_eq!(keys(&store, Range::prefix("")).await, pairs(&[("a", "1")]), "cut by {cut}");
        assert_eq!(store.revision().await.unwrap(), Revision(2));
        drop(store);
        home.files("log")
            .iter()
            .filter(|path| **path != log)
            .for_each(|p| std::fs::remove_file(p).unwrap());
    }
}

#[tokio::test]
async fn damage_in_the_middle_is_refused_with_its_place() {
    let home = Home::new();
    let store = home.open();
    put(&store, "a", "1").await;
    let first_bytes = home.files("log")[0].metadata().unwrap().len();
    put(&store, "b", "2").await;
    put(&store, "c", "3").await;
    drop(store);
    let log = home.files("log").pop().unwrap();
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[usize::try_from(first_bytes).unwrap() + 20] ^= 1;
    std::fs::write(&log, &bytes).unwrap();
    let error = EmbeddedStore::open(home.folder.path(), Options::default()).unwrap_err();
    let Error::Corrupt { file, offset, .. } = error else { panic!("{error}") };
    assert_eq!((file, offset), (log.clone(), first_bytes));
    assert_eq!(std::fs::read(&log).unwrap(), bytes, "nothing was changed");
}

#[tokio::test]
async fn a_folder_has_one_owner() {
    let home = Home::new();
    let store = home.open();
    let second = EmbeddedStore::open(home.folder.path(), Options::default());
    assert!(matches!(second, Err(Error::Locked(_))));
    drop(store);
    home.open();
}
