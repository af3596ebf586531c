//! A scheduler, workers and clients that speak TCP with each other.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{Barrier, mpsc},
    time::Duration,
};

use common::{LONG, Numbers, add, any_port, dot, leaf, numbers, scheduler, tree, worker};
use phalanx_engine::{message::WaitReason, task, task::TaskError};
use phalanx_runtime::{
    Client, ClientOptions, Error, LocalCluster, LocalOptions, Notice, Scheduler, SchedulerOptions, WorkerOptions,
};
use serde::{Deserialize, Serialize};

#[tokio::test]
async fn work_runs_and_values_of_all_sizes_travel() {
    let (_scheduler, url) = scheduler(any_port());
    let _workers = [worker(&url), worker(&url)];
    let client = Client::connect(&url).await.unwrap();
    client.wait_for_workers(2, LONG).await.unwrap();
    assert_eq!(client.compute(&tree(1_000)).await, Ok(499_500));

    let large = Numbers((0..1_000_000).map(f64::from).collect());
    let there = client.scatter(large.clone());
    assert!(there.clone().await.unwrap() == large, "a large value goes there and back");
    let ones = Numbers(vec![1.; 1_000_000]);
    assert_eq!(client.compute(&dot::delayed(&there, ones)).await, Ok(499_999_500_000.));
    let many: Vec<_> = (0..200).map(|n| numbers::delayed(n, 0.5)).collect();
    let expected: Vec<_> = (0..200).map(|n| numbers(n, 0.5)).collect();
    assert_eq!(client.compute(&many).await, Ok(expected));
    let text = "x".repeat(5_000_000);
    assert!(client.scatter(text.clone()).await.unwrap() == text);
}

#[tokio::test]
async fn workers_fetch_from_each_other() {
    static BOTH: Barrier = Barrier::new(2);
    /// Returns only while its twin is running too, so the two results lie on two workers.
    #[task]
    fn apart(n: u64, start: f64) -> Numbers {
        BOTH.wait();
        numbers(n, start)
    }
    let (_scheduler, url) = scheduler(any_port());
    let _workers = [worker(&url), worker(&url)];
    let client = Client::connect(&url).await.unwrap();
    client.wait_for_workers(2, LONG).await.unwrap();
    let n = 300_000;
    let product = dot::delayed(apart::delayed(n, 0.), apart::delayed(n, 1.));
    let expected = dot(&numbers(n, 0.), &numbers(n, 1.));
    assert_eq!(client.compute(&product).await, Ok(expected));
}

#[tokio::test]
async fn garbage_closes_its_own_connection_and_nothing_else() {
    let (_scheduler, url) = scheduler(any_port());
    let _worker = worker(&url);
    let client = Client::connect(&url).await.unwrap();
    client.wait_for_workers(1, LONG).await.unwrap();
    let address = url.strip_prefix("tcp://").unwrap();
    let mut seed = 7_u64;
    for round in 0..200 {
        let mut stream = TcpStream::connect(address).unwrap();
        let mut garbage = if round % 2 == 0 { b"PHALANX\n".to_vec() } else { Vec::new() };
        for _ in 0..64 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            garbage.extend_from_slice(&seed.to_be_bytes());
        }
        // The other end may hang up while this is written.
        let _ = stream.write_all(&garbage);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        stream.set_read_timeout(Some(LONG)).unwrap();
        // Ends, by a close or a reset: the scheduler hung up.
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert_eq!(client.compute(&tree(100)).await, Ok(4_950));
}

#[tokio::test]
async fn a_scheduler_that_is_not_there_is_said_with_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("tcp://{taken}");
    let options = ClientOptions { connect_for: Duration::ZERO, ..ClientOptions::default() };
    let error = Client::connect_with(&url, &options).await.unwrap_err().to_string();
    let expected = "(connection refused); start one with `phalanx scheduler`";
    assert_eq!(error, format!("no scheduler answers at {url} {expected}"));
    let options = WorkerOptions { connect_for: Duration::ZERO, ..WorkerOptions::default() };
    let ended = phalanx_runtime::run_worker(&url, &options, std::future::pending()).await;
    assert_eq!(ended, Err(Error::Unreachable { url, reason: "connection refused".into() }));
}

#[tokio::test]
async fn only_loopback_is_listened_on() {
    let options = SchedulerOptions { listen: "tcp://0.0.0.0:0".into(), ..SchedulerOptions::default() };
    let error = Scheduler::bind(&options).await.err();
    assert_eq!(error, Some(Error::NotLoopback { url: "tcp://0.0.0.0:0".into() }));
}

#[tokio::test]
async fn without_workers_the_client_is_told_and_work_goes_on_when_one_comes() {
    let options = SchedulerOptions { no_workers_after: Duration::from_millis(10), ..any_port() };
    let (_scheduler, url) = scheduler(options);
    let client = Client::connect(&url).await.unwrap();
    let (said, notices) = mpsc::channel();
    client.on_notice(move |notice| drop(said.send(notice.clone())));
    let sum = client.submit(&add::delayed(leaf::delayed(1), 2_u64));
    let Notice::Waiting { reason, n_tasks, waited } = notices.recv_timeout(LONG).unwrap() else {
        panic!("it waits");
    };
    assert_eq!((reason, n_tasks), (WaitReason::NoWorkers, 2));
    assert!(waited >= Duration::from_millis(10));
    let first = worker(&url);
    assert_eq!(sum.clone().await, Ok(3));
    // The only worker goes, with what it held: once more the client is told, and the next worker makes it anew.
    drop(first);
    let again = client.submit(&add::delayed(&sum, 10_u64));
    while notices.recv_timeout(LONG).is_err() {}
    let _second = worker(&url);
    assert_eq!(again.await, Ok(13));
}

#[tokio::test]
async fn what_was_scattered_survives_the_worker_it_lies_on() {
    let (_scheduler, url) = scheduler(any_port());
    let first = worker(&url);
    let client = Client::connect(&url).await.unwrap();
    let value = Numbers(vec![3.; 50_000]);
    let there = client.scatter(value.clone());
    there.done().await.unwrap();
    drop(first);
    let _second = worker(&url);
    assert!(there.await.unwrap() == value);
}

#[tokio::test]
async fn a_worker_that_loses_its_scheduler_joins_the_next_one_there() {
    let (first, url) = scheduler(any_port());
    let _worker = worker(&url);
    let client = Client::connect(&url).await.unwrap();
    assert_eq!(client.compute(&leaf::delayed(1)).await, Ok(1));
    let held = client.submit(&leaf::delayed(1));
    held.done().await.unwrap();
    drop(first);
    let open = client.submit(&leaf::delayed(2));
    let (_second, _) = scheduler(SchedulerOptions { listen: url.clone(), ..SchedulerOptions::default() });
    assert_eq!(open.await, Err(Error::SchedulerRestarted), "it has no journal");
    let on_old = client.submit(&add::delayed(&held, 1_u64));
    assert_eq!(on_old.await, Err(Error::SchedulerRestarted), "nor can new work stand on old results");
    assert_eq!(client.compute(&leaf::delayed(3)).await, Ok(3), "the same client goes on");
    let gone = ClientOptions { reconnect_for: Duration::ZERO, ..ClientOptions::default() };
    let other = Client::connect_with(&url, &gone).await.unwrap();
    drop(_second);
    assert_eq!(other.compute(&leaf::delayed(4)).await, Err(Error::SchedulerLost), "this one does not wait");
}

#[tokio::test]
async fn a_worker_gives_up_on_a_scheduler_that_stays_away() {
    let (gone, url) = scheduler(any_port());
    let to = url.clone();
    let lost = common::Running::start(move |_stopped| async move {
        let reconnect_for = Duration::from_millis(50);
        let options = WorkerOptions { n_threads: 1, reconnect_for, ..WorkerOptions::default() };
        phalanx_runtime::run_worker(&to, &options, std::future::pending()).await
    });
    let client = Client::connect(&url).await.unwrap();
    client.wait_for_workers(1, LONG).await.unwrap();
    drop(gone);
    let Err(Error::SchedulerGone { url: named, .. }) = lost.ended() else { panic!("it gives up") };
    assert_eq!(named, url);
}

#[tokio::test]
async fn a_client_that_leaves_disturbs_nobody() {
    let (_scheduler, url) = scheduler(any_port());
    let _worker = worker(&url);
    let (stays, leaves) = (Client::connect(&url).await.unwrap(), Client::connect(&url).await.unwrap());
    let held = leaves.submit_all(&(0..100).map(leaf::delayed).collect::<Vec<_>>());
    let sum = stays.submit(&tree(100));
    drop((held, leaves));
    assert_eq!(sum.await, Ok(4_950));
    assert_eq!(stays.workers().len(), 1);
}

#[tokio::test]
async fn others_can_join_a_local_cluster_that_listens() {
    /// Returns only while its twin is running too, so one of them runs on the worker that joined.
    #[task]
    fn met(n: u64, start: f64) -> Numbers {
        static BOTH: Barrier = Barrier::new(2);
        BOTH.wait();
        numbers(n, start)
    }
    let listen = Some("tcp://127.0.0.1:0".into());
    let options = LocalOptions { n_workers: 1, n_threads: Some(1), listen, ..LocalOptions::default() };
    let cluster = LocalCluster::start(options).unwrap();
    let _worker = worker(cluster.url().unwrap());
    let expected = dot(&numbers(100_000, 0.), &numbers(100_000, 1.));
    for client in [cluster.client().await.unwrap(), Client::connect(cluster.url().unwrap()).await.unwrap()] {
        client.wait_for_workers(2, LONG).await.unwrap();
        let product = dot::delayed(met::delayed(100_000, 0.), met::delayed(100_000, 1.));
        assert_eq!(client.compute(&product).await, Ok(expected));
        let both = client.map([2., 3.], |start| met::delayed(50_000, start));
        assert_eq!(client.gather(&both).await, Ok(vec![numbers(50_000, 2.), numbers(50_000, 3.)]));
    }
}

/// postcard has no maps of unknown length, which is what `flatten` makes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Unwritable {
    #[serde(flatten)]
    rest: std::collections::BTreeMap<String, u64>,
}

#[tokio::test]
async fn what_cannot_be_written_is_an_error_where_it_is_made() {
    #[task(name = "test.unwritable")]
    fn unwritable(x: u64) -> Unwritable {
        Unwritable { rest: [(String::from("x"), x)].into() }
    }
    let (_scheduler, url) = scheduler(any_port());
    let _worker = worker(&url);
    let client = Client::connect(&url).await.unwrap();
    let Err(Error::Task { source: TaskError::Failed { message, .. } }) = client.compute(&unwritable::delayed(1)).await
    else {
        panic!("it cannot travel");
    };
    assert!(message.starts_with("its result cannot be sent: cannot code a value of type"), "{message}");
    assert!(matches!(client.scatter(unwritable(1)).await, Err(Error::Data { .. })));
    assert_eq!(client.compute(&leaf::delayed(1)).await, Ok(1));
}
