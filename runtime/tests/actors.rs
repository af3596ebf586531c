//! Actors: state on one worker, and calls of it.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};

use common::{LONG, any_port, scheduler, worker};
use phalanx_engine::{actor::ActorState, task, task::TaskError};
use phalanx_runtime::{Actor, Client, Error, LocalCluster, LocalOptions, worker_client};

/// Nothing of it could travel.
struct Log {
    lines: Vec<u64>,
    thread: std::sync::mpsc::Sender<u64>,
    _other_end: std::sync::mpsc::Receiver<u64>,
}

#[task]
fn log() -> ActorState<Log> {
    let (thread, _other_end) = std::sync::mpsc::channel();
    ActorState::new(Log { lines: Vec::new(), thread, _other_end })
}

static AT_ONCE: AtomicUsize = AtomicUsize::new(0);

#[task]
fn write(log: &mut Log, line: u64) -> Result<u64, String> {
    assert_eq!(AT_ONCE.fetch_add(1, Ordering::SeqCst), 0, "one call at a time");
    log.lines.push(line);
    log.thread.send(line).map_err(|error| error.to_string())?;
    AT_ONCE.fetch_sub(1, Ordering::SeqCst);
    if line == 13 { Err("not this one".into()) } else { Ok(log.lines.len() as u64) }
}

#[task]
fn lines(log: &mut Log) -> Vec<u64> {
    log.lines.clone()
}

async fn calls_come_in_order(client: &Client) {
    let actor = client.actor(&log::delayed()).await.unwrap();
    let calls = client.map(0..50, |line| write::delayed(&actor, line));
    assert_eq!(client.compute(&lines::delayed(&actor)).await, Ok((0..50).collect()));
    for (line, call) in (0..50).zip(calls) {
        assert_eq!(call.await.is_ok(), line != 13, "call {line}");
    }
}

#[tokio::test]
async fn calls_run_one_at_a_time_in_the_order_of_submission() {
    let cluster = LocalCluster::threads(2, 3).unwrap();
    calls_come_in_order(&cluster.client().await.unwrap()).await;
    drop(cluster);
    let (_scheduler, url) = scheduler(any_port());
    let _workers = [worker(&url), worker(&url)];
    let client = Client::connect(&url).await.unwrap();
    client.wait_for_workers(2, LONG).await.unwrap();
    calls_come_in_order(&client).await;
}

#[tokio::test]
async fn a_call_may_call_another_actor_on_one_thread() {
    struct Outer {
        inner: Actor<u64>,
    }
    #[task]
    fn number() -> ActorState<u64> {
        ActorState::new(0)
    }
    #[task]
    fn add_to(number: &mut u64, by: u64) -> u64 {
        *number += by;
        *number
    }
    #[task]
    fn outer() -> Result<ActorState<Outer>, Error> {
        let client = worker_client()?;
        Ok(ActorState::new(Outer { inner: client.wait(client.actor(&number::delayed()))? }))
    }
    #[task]
    fn through(outer: &mut Outer, by: u64) -> Result<u64, Error> {
        let client = worker_client()?;
        client.wait(client.compute(&add_to::delayed(&outer.inner, by)))
    }
    let options = LocalOptions { n_threads: Some(1), ..LocalOptions::default() };
    let client = Client::local_with(options).await.unwrap();
    let actor = client.actor(&outer::delayed()).await.unwrap();
    let calls = client.map([1, 2, 3], |by| through::delayed(&actor, by));
    assert_eq!(client.gather(&calls).await, Ok(vec![1, 3, 6]));
}

#[tokio::test]
async fn a_lost_worker_takes_its_actors_along() {
    let (_scheduler, url) = scheduler(any_port());
    let client = Client::connect(&url).await.unwrap();
    let first = worker(&url);
    client.wait_for_workers(1, LONG).await.unwrap();
    let actor = client.actor(&log::delayed()).await.unwrap();
    assert_eq!(client.compute(&write::delayed(&actor, 1)).await, Ok(1));
    let _second = worker(&url);
    client.wait_for_workers(2, LONG).await.unwrap();
    drop(first);
    let failed = client.compute(&write::delayed(&actor, 2)).await;
    assert!(matches!(failed, Err(Error::Task { source: TaskError::ActorLost { .. } })), "{failed:?}");
    let another = client.actor(&log::delayed()).await.unwrap();
    assert_eq!(client.compute(&write::delayed(&another, 3)).await, Ok(1));
}
