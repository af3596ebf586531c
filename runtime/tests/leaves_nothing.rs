//! Clusters that end leave no thread and no socket behind. Alone in its process, since it counts them.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs::read_dir;

use common::{LONG, any_port, scheduler, tree, worker};
use phalanx_runtime::{Client, LocalCluster, LocalOptions};

fn counts() -> (usize, usize) {
    (read_dir("/proc/self/task").unwrap().count(), read_dir("/proc/self/fd").unwrap().count())
}

#[test]
fn clusters_that_end_leave_no_thread_and_no_socket_behind() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let before = counts();
    runtime.block_on(async {
        for listen in [None, Some("tcp://127.0.0.1:0".into())] {
            let options = LocalOptions { n_workers: 3, n_threads: Some(2), listen, ..LocalOptions::default() };
            let cluster = LocalCluster::start(options).unwrap();
            let client = cluster.client().await.unwrap();
            assert_eq!(client.compute(&tree(200)).await, Ok(19_900));
            drop(client);
            cluster.shutdown().await;
        }
    });
    assert_eq!(counts(), before, "threads and file descriptors after local clusters");

    runtime.block_on(async {
        let (_scheduler, url) = scheduler(any_port());
        let client = {
            let _workers = [worker(&url), worker(&url)];
            let client = Client::connect(&url).await.unwrap();
            client.wait_for_workers(2, LONG).await.unwrap();
            assert_eq!(client.compute(&tree(200)).await, Ok(19_900));
            client
        };
        drop(client);
    });
    // The workers' threads are told to end and not waited for.
    let end = std::time::Instant::now() + LONG;
    while counts() != before && std::time::Instant::now() < end {
        std::thread::yield_now();
    }
    assert_eq!(counts(), before, "threads and file descriptors after TCP");
}
