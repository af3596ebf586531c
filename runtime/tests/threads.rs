//! A client and its cluster in one process: results pass by pointer.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use common::{LONG, add, gated, leaf, open, pass, tree};
use phalanx_engine::{graph::Delayed, task, task::TaskError};
use phalanx_runtime::{Client, Error, LocalCluster, LocalOptions, blocking};
use serde::{Deserialize, Serialize};

async fn one_thread() -> Client {
    Client::local_with(LocalOptions { n_threads: Some(1), ..LocalOptions::default() }).await.unwrap()
}

#[tokio::test]
async fn a_tree_has_one_sum_on_any_cluster() {
    for (n_workers, n_threads) in [(1, 1), (1, 3), (2, 1), (3, 2)] {
        let cluster = LocalCluster::threads(n_workers, n_threads).unwrap();
        let client = cluster.client().await.unwrap();
        assert_eq!(client.compute(&tree(1_000)).await, Ok(499_500), "{n_workers} workers, {n_threads} threads");
        drop(client);
        cluster.shutdown().await;
    }
}

#[tokio::test]
async fn what_is_a_value_already_needs_no_worker() {
    let options = LocalOptions { n_workers: 0, ..LocalOptions::default() };
    let client = Client::local_with(options).await.unwrap();
    let both = (Delayed::value(3_u64), vec![Delayed::value(String::from("four"))]);
    assert_eq!(client.compute(&both).await, Ok((3, vec![String::from("four")])));
    let remote = client.submit(&Delayed::value(5_u64));
    assert_eq!((remote.task(), remote.done().await, remote.await), (None, Ok(()), Ok(5)));
}

#[tokio::test]
async fn parts_that_are_shared_or_named_twice_come_home_in_every_place() {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    #[task]
    fn counted(x: u64) -> u64 {
        RUNS.fetch_add(1, Ordering::SeqCst);
        x
    }
    let client = one_thread().await;
    let one = counted::delayed(1);
    let parts = vec![one.clone(), add::delayed(&one, &one), Delayed::value(7), one];
    assert_eq!(client.compute(&parts).await, Ok(vec![1, 2, 7, 1]));
    assert_eq!(RUNS.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn submitted_work_starts_before_anybody_waits_for_it() {
    let client = one_thread().await;
    let remote = client.submit(&gated::delayed("starts at once", 4_u64));
    pass("starts at once is reached");
    open("starts at once");
    assert_eq!(remote.clone().await, Ok(4));
    assert_eq!((&remote).await, Ok(4));
    let (a, b) = (remote.get().await.unwrap(), remote.get().await.unwrap());
    assert!(Arc::ptr_eq(&a, &b), "inside a process a result is one object");
}

#[tokio::test]
async fn handles_are_arguments() {
    let client = one_thread().await;
    let (two, three) = (client.submit(&leaf::delayed(2)), client.scatter(3_u64));
    let five = client.submit(&add::delayed(&two, &three));
    let ten = add::delayed(five.clone(), five);
    drop((two, three));
    assert_eq!(client.compute(&ten).await, Ok(10));
}

#[tokio::test]
async fn results_come_home_together_or_as_they_are_done() {
    let client = Client::local_with(LocalOptions { n_threads: Some(2), ..LocalOptions::default() }).await.unwrap();
    let late = client.submit(&gated::delayed("completes last", 1_u64));
    let soon = client.submit(&leaf::delayed(2));
    let mut completed = client.as_completed([late.clone(), soon.clone()]);
    let first = completed.next().await.unwrap();
    assert_eq!((first.task(), first.await), (soon.task(), Ok(2)));
    open("completes last");
    assert_eq!(completed.next().await.unwrap().await, Ok(1));
    assert!(completed.next().await.is_none());
    assert_eq!(client.gather(&[soon.clone(), late, soon]).await, Ok(vec![2, 1, 2]));
    assert_eq!(client.gather(&client.map(0..100, leaf::delayed)).await, Ok((0..100).collect()));
}

#[tokio::test]
async fn every_handle_is_completed_once_whatever_became_of_its_task() {
    #[task]
    fn odd(x: u64) -> Result<u64, String> {
        if x % 2 == 1 { Ok(x) } else { Err(format!("{x} is even")) }
    }
    let client = one_thread().await;
    let first = client.submit(&gated::delayed("completes first", 1_u64));
    let (good, bad, taken_back) =
        (client.submit(&odd::delayed(3)), client.submit(&odd::delayed(4)), client.submit(&odd::delayed(5)));
    let value = client.submit(&Delayed::value(6_u64));
    let handles = [&first, &good, &bad, &good, &taken_back, &value].map(Clone::clone);
    let mut completed = client.as_completed(handles);
    assert_eq!(completed.n_left(), 6);
    assert_eq!(completed.next().await.unwrap().await, Ok(6), "what is a value already is there");
    pass("completes first is reached");
    client.cancel(std::slice::from_ref(&taken_back));
    assert_eq!(completed.next().await.unwrap().task(), taken_back.task());
    open("completes first");
    let mut ends = Vec::new();
    while let Some(next) = completed.next().await {
        ends.push((next.task(), next.await.map_err(|error| error.to_string().contains("4 is even"))));
    }
    let expected = [(first.task(), Ok(1)), (good.task(), Ok(3)), (bad.task(), Err(true)), (good.task(), Ok(3))];
    assert_eq!((ends.len(), completed.n_left()), (4, 0));
    assert!(expected.iter().all(|end| ends.contains(end)), "{ends:?}");
    // Who looks no further takes nothing back.
    let later = client.map([7, 9], odd::delayed);
    let mut some = client.as_completed(later.clone());
    assert!(some.next().await.is_some());
    drop(some);
    assert_eq!(client.gather(&later).await, Ok(vec![7, 9]));
}

#[tokio::test]
async fn persisted_results_stay_on_the_workers_until_they_are_let_go() {
    static DROPS: Mutex<Option<mpsc::Sender<u64>>> = Mutex::new(None);
    #[derive(Clone, Serialize, Deserialize)]
    struct Watched(u64);
    impl Drop for Watched {
        fn drop(&mut self) {
            DROPS.lock().unwrap().as_ref().unwrap().send(self.0).unwrap();
        }
    }
    #[task]
    fn watched(x: u64) -> Watched {
        Watched(x)
    }
    #[task]
    fn seen(watched: &Watched) -> u64 {
        watched.0
    }
    let (sender, drops) = mpsc::channel();
    *DROPS.lock().unwrap() = Some(sender);

    let client = one_thread().await;
    let here = client.persist(&vec![watched::delayed(1), watched::delayed(2)]).await.unwrap();
    let seen: Vec<_> = here.iter().map(seen::delayed).collect();
    assert_eq!(client.compute(&seen).await, Ok(vec![1, 2]));
    assert!(drops.try_recv().is_err(), "nothing is forgotten while it is held");
    drop((here, seen));
    let mut gone = [drops.recv_timeout(LONG).unwrap(), drops.recv_timeout(LONG).unwrap()];
    gone.sort_unstable();
    assert_eq!(gone, [1, 2]);

    let remote = client.submit(&watched::delayed(3));
    remote.done().await.unwrap();
    drop(remote);
    assert_eq!(drops.recv_timeout(LONG), Ok(3));
}

#[tokio::test]
async fn errors_and_panics_say_what_the_function_said() {
    #[task(name = "test.fails")]
    fn fails(x: u64) -> Result<u64, String> {
        Err(format!("no luck with {x}"))
    }
    #[task(name = "test.panics")]
    fn panics(rows: Vec<u64>) -> u64 {
        rows[7]
    }
    let client = one_thread().await;
    let after = add::delayed(fails::delayed(3), 1_u64);
    let Err(Error::Task { source: TaskError::Failed { function, tries, message, .. } }) = client.compute(&after).await
    else {
        panic!("it fails");
    };
    assert_eq!((&*function, tries, &*message), ("test.fails", 1, "no luck with 3"));
    let Err(Error::Task { source: TaskError::Panicked { function, message, .. } }) =
        client.compute(&panics::delayed(vec![1, 2, 3])).await
    else {
        panic!("it panics");
    };
    assert_eq!(function, "test.panics");
    let expected = "index out of bounds: the len is 3 but the index is 7 (at runtime/tests/threads.rs:";
    assert!(message.starts_with(expected), "{message}");
    assert_eq!(client.compute(&leaf::delayed(5)).await, Ok(5), "the thread that panicked runs on");
}

#[tokio::test]
async fn a_task_is_tried_again_as_often_as_it_was_said() {
    static TRIES: AtomicU64 = AtomicU64::new(0);
    #[task]
    fn third_time(x: u64) -> Result<u64, String> {
        match TRIES.fetch_add(1, Ordering::SeqCst) {
            0 => Err("not yet".into()),
            1 => panic!("still not"),
            _ => Ok(x),
        }
    }
    let client = one_thread().await;
    assert_eq!(client.compute(&third_time::delayed(9).retries(2)).await, Ok(9));
    TRIES.store(0, Ordering::SeqCst);
    let failed = client.submit(&third_time::delayed(9).retries(1));
    assert!(matches!(failed.await, Err(Error::Task { source: TaskError::Panicked { tries: 2, .. } })));
}

#[tokio::test]
async fn cancelled_work_is_said_to_be_and_nothing_else_is() {
    let client = one_thread().await;
    let running = client.submit(&gated::delayed("cancelled", 1_u64));
    let behind = client.submit(&leaf::delayed(2));
    pass("cancelled is reached");
    client.cancel(std::slice::from_ref(&running));
    assert_eq!(running.await, Err(Error::Task { source: TaskError::Cancelled }));
    open("cancelled");
    assert_eq!(behind.await, Ok(2));
}

#[tokio::test]
async fn dropping_a_future_takes_its_work_back() {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    #[task]
    fn unwanted(x: u64) -> u64 {
        RUNS.fetch_add(1, Ordering::SeqCst);
        x
    }
    let cluster = LocalCluster::threads(1, 1).unwrap();
    let client = cluster.client().await.unwrap();
    cluster.scale(0).await.unwrap();
    let calls: Vec<_> = (0..10).map(unwanted::delayed).collect();
    {
        let mut compute = std::pin::pin!(client.compute(&calls));
        let polled = std::future::poll_fn(|context| std::task::Poll::Ready(compute.as_mut().poll(context))).await;
        assert!(polled.is_pending());
    }
    // What one client says keeps its order: once this is answered the scheduler has heard of the release, and only then is
    // there a worker.
    client.overview().await.unwrap();
    let last = client.submit(&leaf::delayed(2));
    cluster.scale(1).await.unwrap();
    assert_eq!(last.await, Ok(2));
    assert_eq!(RUNS.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_value_of_another_type_is_an_error_with_both_types() {
    let client = one_thread().await;
    let wrong = Delayed::<String>::from_any(leaf::delayed(1).any().clone());
    let error = client.compute(&wrong).await.unwrap_err().to_string();
    assert_eq!(error, "the value is a u64, expected a alloc::string::String");
}

#[test]
fn the_blocking_client_waits_outside_and_inside_of_a_runtime() {
    let client = blocking::Client::local().unwrap();
    assert_eq!(client.wait(client.compute(&leaf::delayed(1))), Ok(1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // More often than tokio lets one piece of async code go on at a time.
        for i in 0..1_000 {
            assert_eq!(client.wait(client.compute(&leaf::delayed(i))), Ok(i));
        }
        // Futures that need tokio find one that runs while this one stands still.
        let slept = async { tokio::time::timeout(Duration::from_millis(1), std::future::pending::<()>()).await };
        assert!(client.wait(slept).is_err());
        drop(client);
    });
}

#[test]
fn processes_are_refused_where_init_was_not_called() {
    assert_eq!(LocalCluster::processes(2).err(), Some(Error::InitMissing));
}

#[tokio::test]
async fn a_cluster_that_ends_fails_what_is_open() {
    let cluster = LocalCluster::threads(1, 1).unwrap();
    let client = cluster.client().await.unwrap();
    let open_work = client.submit(&gated::delayed("cluster ends", 1_u64));
    pass("cluster ends is reached");
    let ending = tokio::spawn(cluster.shutdown());
    assert_eq!(open_work.await, Err(Error::SchedulerLost));
    open("cluster ends");
    ending.await.unwrap();
    assert_eq!(client.compute(&leaf::delayed(1)).await, Err(Error::SchedulerLost));
    assert_eq!(client.wait_for_workers(1, LONG).await, Err(Error::SchedulerLost));
}

#[tokio::test]
async fn too_few_workers_is_said_with_numbers() {
    let client = one_thread().await;
    let Err(Error::TooFewWorkers { expected: 2, found: 1, .. }) = client.wait_for_workers(2, Duration::ZERO).await
    else {
        panic!("there is one");
    };
}

#[test]
fn what_a_program_holds_can_move_between_threads() {
    fn moves<T: Send + Sync + 'static>() {}
    fn moves_while_waiting<T: Send>(_: T) {}
    moves::<(Client, blocking::Client, LocalCluster, phalanx_runtime::Remote<String>, Error)>();
    async fn futures(client: Client) {
        moves_while_waiting(client.compute(&leaf::delayed(1)));
        moves_while_waiting(client.persist(&leaf::delayed(1)));
        moves_while_waiting(client.wait_for_workers(1, LONG));
        moves_while_waiting(client.submit(&leaf::delayed(1)).into_future());
        moves_while_waiting(client.as_completed(client.map(0..2, leaf::delayed)).next());
    }
    let _ = futures;
}
