//! What is on the disk, and what is left of a server that ended in the middle of things.

use std::{path::Path, sync::Arc};

use futures::StreamExt as _;
use store::MemoryStore;

use super::TestMedia;
use crate::{
    MediaConfig,
    blobs::Blobs,
    tables::{File, LOOSE, MEDIA, State},
};

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() { out.extend(files(&entry)) } else { out.push(entry) }
    }
    out
}

#[tokio::test]
async fn content_is_in_files_and_outlives_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let media = folder.path().join("media");
    let store: Arc<MemoryStore> = Arc::default();
    let test = TestMedia::over(Arc::clone(&store), Blobs::folder(&media).unwrap(), MediaConfig::default());
    let large = vec![7; 3_000_000];
    let (one, two) =
        (test.upload("", "text/plain", "small").await.id(), test.upload("", "text/plain", large.clone()).await.id());
    test.upload("", "text/plain", vec![0; 51 << 20]).await.refused(413, "M_TOO_LARGE");
    let mut sizes: Vec<u64> = files(&media).iter().map(|file| file.metadata().unwrap().len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [5, 3_000_000]);
    drop(test);
    let test = TestMedia::over(store, Blobs::folder(&media).unwrap(), MediaConfig::default());
    test.media.sweep().await.unwrap();
    assert_eq!(test.download(&format!("hs/{one}")).await.ok().bytes, "small");
    assert!(test.download(&format!("hs/{two}")).await.ok().bytes == large);
}

#[tokio::test]
async fn the_row_says_what_the_bytes_are() {
    let test = TestMedia::new();
    let id = test.upload("?filename=abc", "text/plain", "abc").await.id();
    let row = test.media.db.get(&MEDIA, &id).await.unwrap().unwrap().0;
    let State::Complete(File { size, sha256, filename, .. }) = row.state else { panic!("{row:?}") };
    assert_eq!((size, filename.as_deref(), row.owner), (3, Some("abc"), 1));
    assert_eq!(sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[tokio::test]
async fn what_an_earlier_run_left_is_removed_and_nothing_else() {
    let test = TestMedia::new();
    let id = test.upload("", "text/plain", "stays").await.id();
    // As where a server ends between an object and its row.
    let left = "ab/left".to_owned();
    let content = || Box::pin(futures::stream::iter([Ok("left".into())]));
    test.media.blobs.write(&left, content(), 100).await.unwrap();
    let mut write = test.media.db.write();
    write.put(&LOOSE, &left, &1).put(&LOOSE, &"cd/never-written".to_owned(), &1);
    write.commit().await.unwrap();
    // And what this run is writing.
    let head = crate::loose::Head { content_type: "text/plain".to_owned(), filename: None };
    let ours = test.media.loose.take_in("ef/ours".to_owned(), head, content(), 100).await.unwrap();
    assert_eq!(test.objects().await, (3, 3));
    test.media.sweep().await.unwrap();
    assert_eq!(test.objects().await, (2, 1));
    assert_eq!(test.media.blobs.read_whole(&ours.object, 10, |_| true).await.unwrap().unwrap(), "left");
    assert_eq!(test.download(&format!("hs/{id}")).await.ok().bytes, "stays");
    // The next run knows that nobody waits for it any more.
    let test = test.restarted(MediaConfig::default());
    test.media.sweep().await.unwrap();
    assert_eq!(test.objects().await, (1, 0));
}

#[tokio::test]
async fn half_a_file_is_removed_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::folder(folder.path()).unwrap();
    let test = TestMedia::over(Arc::default(), blobs, MediaConfig::default());
    let head = crate::loose::Head { content_type: "text/plain".to_owned(), filename: None };
    let begun = futures::stream::iter((0..9).map(|_| Ok(vec![1; 100_000].into()))).chain(futures::stream::pending());
    let mut writing = Box::pin(test.media.loose.take_in("ab/half".to_owned(), head, begun.boxed(), u64::MAX));
    while files(folder.path()).is_empty() {
        assert!(futures::poll!(writing.as_mut()).is_pending());
        tokio::task::yield_now().await;
    }
    // As where the process ends: nothing is tidied up.
    std::mem::forget(writing);
    let store = Arc::clone(&test.store);
    std::mem::forget(test);
    let test = TestMedia::over(store, Blobs::folder(folder.path()).unwrap(), MediaConfig::default());
    test.media.sweep().await.unwrap();
    assert_eq!((files(folder.path()), test.objects().await), (vec![], (0, 0)));
}
