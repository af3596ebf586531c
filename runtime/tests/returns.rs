//! Connections that break while everybody lives, and schedulers that go and come back.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::{AtomicU32, Ordering};

use common::{Cable, LONG, add, any_port, leaf, open, pass, scheduler, worker};
use phalanx_engine::task;
use phalanx_runtime::{Client, Error, Notice, Scheduler, SchedulerOptions};

#[tokio::test]
async fn a_worker_whose_connection_is_cut_keeps_its_results_and_what_it_runs() {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    #[task(name = "test.counted")]
    fn counted(x: u64) -> u64 {
        RUNS.fetch_add(1, Ordering::SeqCst);
        if x == 2 {
            open("the second runs");
            pass("the second may end");
        }
        10 * x
    }
    let (_scheduler, url) = scheduler(any_port());
    let cable = Cable::to(&url);
    let _worker = worker(&cable.url);
    let client = Client::connect(&url).await.unwrap();
    let first = client.submit(&counted::delayed(1));
    first.done().await.unwrap();
    let second = client.submit(&counted::delayed(2));
    pass("the second runs");
    let third = client.submit(&counted::delayed(3));
    cable.cut();
    open("the second may end");
    assert_eq!(client.gather(&[first, second, third]).await, Ok(vec![10, 20, 30]));
    assert_eq!(RUNS.load(Ordering::SeqCst), 3, "nothing ran twice");
}

#[tokio::test]
async fn a_client_whose_connection_is_cut_gets_its_answers_and_loses_no_word() {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    #[task(name = "test.counted_too")]
    fn counted_too(x: u64) -> u64 {
        RUNS.fetch_add(1, Ordering::SeqCst);
        x
    }
    let (_scheduler, url) = scheduler(any_port());
    let cable = Cable::to(&url);
    let client = Client::connect(&cable.url).await.unwrap();
    let (said, notices) = std::sync::mpsc::channel();
    client.on_notice(move |notice| drop(said.send(notice.clone())));
    // No worker is there, so all of it is open while the connection breaks again and again.
    let mut sums = Vec::new();
    for round in 0..5_u64 {
        let parts = client.map(round * 100..(round + 1) * 100, counted_too::delayed);
        sums.extend(parts);
        cable.cut();
        while !matches!(notices.recv_timeout(LONG).unwrap(), Notice::SchedulerBack { remembers: true, .. }) {}
    }
    let _worker = worker(&url);
    assert_eq!(client.gather(&sums).await, Ok((0..500).collect()));
    assert_eq!(RUNS.load(Ordering::SeqCst), 500, "nothing was submitted twice");
}

/// A folder of this test's own, empty.
fn folder(name: &str) -> std::path::PathBuf {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

#[tokio::test]
async fn a_scheduler_with_a_journal_goes_on_where_it_was() {
    let folder = folder("goes-on");
    let options = SchedulerOptions { journal: Some(folder.clone()), ..any_port() };
    let (mut first, url) = scheduler(options.clone());
    let options = SchedulerOptions { listen: url.clone(), ..options };
    let client = Client::connect(&url).await.unwrap();
    let held = client.submit(&leaf::delayed(7));
    let dropped = client.submit(&leaf::delayed(8));
    for round in 0..3_u64 {
        let sum = client.submit(&add::delayed(&held, round));
        drop(first);
        let (again, _) = scheduler(options.clone());
        first = again;
        let worker = worker(&url);
        assert_eq!(sum.await, Ok(7 + round));
        // The next life begins without the worker, so what it held is made again.
        drop(worker);
    }
    drop(dropped);
    // The end of what was written last may be cut short, by a few bytes or by all.
    drop(first);
    let file = folder.join("journal");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 3]).unwrap();
    let (_again, _) = scheduler(options);
    let _worker = worker(&url);
    assert_eq!(client.compute(&add::delayed(1_u64, 2_u64)).await, Ok(3));
}

#[tokio::test]
async fn what_is_no_journal_is_left_alone() {
    let folder = folder("garbage");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("journal");
    let options = SchedulerOptions { journal: Some(folder.clone()), ..any_port() };
    let refused = async |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        let error = Scheduler::bind(&options).await.err();
        assert_eq!(std::fs::read(&file).unwrap(), bytes, "nothing is overwritten");
        let Some(Error::Journal { path, reason }) = error else { panic!("{error:?}") };
        assert_eq!(path, file.display().to_string());
        reason
    };
    assert_eq!(refused(b"").await, "it is no journal of a scheduler");
    assert_eq!(refused(b"my thesis, the only copy").await, "it is no journal of a scheduler");
    assert_eq!(refused(b"PHALANX JOURNAL\x07").await, "it is of format 7, this program reads 1");
    std::fs::remove_file(&file).unwrap();
    let scheduler = Scheduler::bind(&options).await.unwrap();
    let error = Scheduler::bind(&options).await.err();
    let reason = "another scheduler uses this folder".into();
    assert_eq!(error, Some(Error::Journal { path: file.display().to_string(), reason }));
    drop(scheduler);
    let mut damaged = std::fs::read(&file).unwrap();
    damaged[40] ^= 1;
    // What follows shows that it is not the end that was cut short.
    damaged.extend_from_slice(&[7; 100]);
    assert_eq!(refused(&damaged).await, "it is damaged at byte 16; move it away to begin without what it says");
}
