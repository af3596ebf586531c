//! Connections that break while everybody lives, and schedulers that go and come back.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::{AtomicU32, Ordering};

use common::{Cable, any_port, open, pass, scheduler, worker};
use phalanx_engine::task;
use phalanx_runtime::Client;

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
