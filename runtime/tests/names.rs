//! Locks, semaphores, events, queues and variables by name, from clients and inside of tasks.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use common::{LONG, any_port, scheduler, worker};
use phalanx_engine::{coordination::CoordinationError, task};
use phalanx_runtime::{Client, Error, LocalCluster, LocalOptions, worker_client};

/// Long enough for a wait to begin, and short enough for a test.
const SHORT: Duration = Duration::from_millis(20);

async fn one_thread() -> Client {
    Client::local_with(LocalOptions { n_threads: Some(1), ..LocalOptions::default() }).await.unwrap()
}

/// How many are inside, at most.
fn enter(inside: &AtomicUsize, limit: usize) {
    let n_inside = inside.fetch_add(1, Ordering::SeqCst) + 1;
    assert!(n_inside <= limit, "{n_inside} of {limit} are inside");
    std::thread::yield_now();
    inside.fetch_sub(1, Ordering::SeqCst);
}

#[tokio::test]
async fn tasks_of_a_whole_cluster_take_turns() {
    static ALONE: AtomicUsize = AtomicUsize::new(0);
    static FEW: AtomicUsize = AtomicUsize::new(0);
    #[task]
    fn takes_turns(n: u64) -> Result<u64, Error> {
        let client = worker_client()?;
        let lease = client.wait(client.lock("one"))?;
        enter(&ALONE, 1);
        drop(lease);
        let _lease = client.wait(client.semaphore("two", 2).acquire())?;
        enter(&FEW, 2);
        Ok(n)
    }
    for (n_workers, n_threads) in [(1, 1), (2, 3)] {
        let cluster = LocalCluster::threads(n_workers, n_threads).unwrap();
        let client = cluster.client().await.unwrap();
        let turns = client.map(0..60, takes_turns::delayed);
        assert_eq!(client.gather(&turns).await, Ok((0..60).collect()));
    }
}

#[tokio::test]
async fn a_lease_ends_when_it_is_dropped_and_a_wait_when_its_time_is_over() {
    let client = one_thread().await;
    let lock = client.lock("door");
    let lease = lock.acquire().await.unwrap();
    assert!(lease.is_held());
    assert!(lock.try_acquire().await.unwrap().is_none());
    let late = lock.acquire_within(SHORT).await.unwrap_err();
    assert_eq!(late.to_string(), "waited 20ms for the lock \"door\" in vain");
    // A wait that is dropped is not in the way of the next.
    tokio::select! {
        biased;
        lease = lock.acquire() => panic!("{lease:?} while another is held"),
        () = std::future::ready(()) => {}
    }
    let (lock_again, waits) = (client.lock("door"), tokio::sync::oneshot::channel());
    let waiting = tokio::spawn(async move {
        let _ = waits.0.send(());
        lock_again.await.map(drop)
    });
    waits.1.await.unwrap();
    drop(lease);
    waiting.await.unwrap().unwrap();
    assert!(lock.try_acquire().await.unwrap().is_some());
}

#[tokio::test]
async fn a_lease_that_finds_nobody_goes_to_the_next() {
    let client = one_thread().await;
    for _ in 0..200 {
        let lease = client.lock("contended").await.unwrap();
        let (first, second) = (client.lock("contended"), client.lock("contended"));
        // Dropped while the answer may be on its way, at every stage of it.
        let waits = tokio::spawn(async move { drop(first.acquire().await) });
        tokio::task::yield_now().await;
        drop(lease);
        waits.abort();
        drop(tokio::time::timeout(LONG, second.acquire()).await.unwrap().unwrap());
    }
    let queue = client.queue::<u64>("contended", 0);
    for n in 0..200 {
        let other = queue.clone();
        let gets = tokio::spawn(async move { drop(other.get().await) });
        tokio::task::yield_now().await;
        gets.abort();
        let was_got = gets.await.is_ok();
        assert!(!was_got, "nothing was put yet");
        queue.put(n).await.unwrap();
        assert_eq!(tokio::time::timeout(LONG, queue.get()).await.unwrap(), Ok(n));
    }
}

#[tokio::test]
async fn events_wake_everybody_in_whatever_order_things_happen() {
    #[task]
    fn waits_for(event: String) -> Result<(), Error> {
        let client = worker_client()?;
        client.wait(client.event(event).wait())
    }
    #[task]
    fn sets_and_clears(event: String) -> Result<(), Error> {
        let client = worker_client()?;
        let event = client.event(event);
        client.wait(async {
            event.set().await?;
            event.clear().await?;
            event.set().await
        })
    }
    let cluster = LocalCluster::threads(2, 1).unwrap();
    let client = cluster.client().await.unwrap();
    let go = client.event("go");
    assert_eq!(go.is_set().await, Ok(false));
    assert!(matches!(go.wait_within(SHORT).await, Err(Error::TimedOut { .. })));
    let mut work = client.map(0..20, |_| waits_for::delayed("go"));
    work.push(client.submit(&sets_and_clears::delayed("go")));
    client.gather(&work).await.unwrap();
    assert_eq!(go.is_set().await, Ok(true));
    go.clear().await.unwrap();
    assert_eq!(go.is_set().await, Ok(false));
}

#[tokio::test]
async fn queues_carry_values_in_order_and_hold_no_more_than_was_said() {
    #[task]
    fn produces(first: u64, n: u64) -> Result<u64, Error> {
        let client = worker_client()?;
        let queue = client.queue::<u64>("products", 3);
        for value in first..first + n {
            client.wait(queue.put(value))?;
        }
        Ok(n)
    }
    let client = one_thread().await;
    let queue = client.queue::<u64>("products", 3);
    assert_eq!(queue.try_get().await, Ok(None));
    assert!(matches!(queue.get_within(SHORT).await, Err(Error::TimedOut { .. })));
    let producers = client.map([0, 1_000], |first| produces::delayed(first, 50_u64));
    let mut got = Vec::new();
    for _ in 0..100 {
        assert!(queue.len().await.unwrap() <= 3);
        got.push(queue.get().await.unwrap());
    }
    assert_eq!(client.gather(&producers).await, Ok(vec![50, 50]));
    let (low, high): (Vec<u64>, Vec<u64>) = got.into_iter().partition(|value| *value < 1_000);
    assert_eq!((low, high), ((0..50).collect(), (1_000..1_050).collect()));
    for value in 0..3 {
        queue.put(value).await.unwrap();
    }
    assert!(matches!(queue.put_within(3, SHORT).await, Err(Error::TimedOut { .. })));
    let other = client.queue::<u64>("products", 4).put(1).await;
    let limit = CoordinationError::Limit { name: "products".into(), limit: 3, asked: 4 };
    assert_eq!(other, Err(limit.into()));
    queue.delete().await.unwrap();
    assert_eq!(queue.is_empty().await, Ok(true));
}

#[tokio::test]
async fn variables_have_the_last_value_that_was_set() {
    #[task]
    fn follows(n: u64) -> Result<u64, Error> {
        let client = worker_client()?;
        let baton = client.variable::<u64>(format!("baton {n}"));
        let value = client.wait(baton.get())?;
        client.wait(client.variable::<u64>(format!("baton {}", n + 1)).set(value + 1))?;
        Ok(value)
    }
    let client = one_thread().await;
    let followers = client.map((0..10).rev(), follows::delayed);
    client.variable::<u64>("baton 0").set(100).await.unwrap();
    assert_eq!(client.gather(&followers).await, Ok((100..110).rev().collect()));
    let last = client.variable::<u64>("baton 10");
    assert_eq!(last.get().await, Ok(110));
    last.set(5).await.unwrap();
    assert_eq!(last.try_get().await, Ok(Some(5)));
    last.delete().await.unwrap();
    assert_eq!(last.try_get().await, Ok(None));
    assert!(matches!(last.get_within(SHORT).await, Err(Error::TimedOut { .. })));
    let error = client.variable("large").set(vec![0_u8; 2 << 20]).await.unwrap_err().to_string();
    assert!(error.contains("1048576 bytes") && error.contains("scatter"), "{error}");
}

#[tokio::test]
async fn who_goes_lets_go_through_tcp_too() {
    let (_scheduler, url) = scheduler(any_port());
    let _worker = worker(&url);
    let (first, second) = (Client::connect(&url).await.unwrap(), Client::connect(&url).await.unwrap());
    let lease = first.semaphore("only", 1).acquire().await.unwrap();
    let queue = second.queue::<Vec<f64>>("travels", 1);
    first.queue("travels", 1).put(vec![0.5, -1.]).await.unwrap();
    assert_eq!(queue.get().await, Ok(vec![0.5, -1.]));
    let waits = tokio::spawn(async move { second.semaphore("only", 1).acquire_within(LONG).await.map(drop) });
    // The connection ends with the last handle of its client; what it held is free by that.
    let held = lease.is_held();
    drop((first, lease));
    assert!(held);
    waits.await.unwrap().unwrap();
}
