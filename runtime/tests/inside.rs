//! Tasks that submit tasks and wait for them, on workers with hardly a thread.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use common::{LONG, add, any_port, fibonacci, leaf, open, pass, scheduler, worker};
use phalanx_engine::{id::ClientId, task, task::TaskError};
use phalanx_runtime::{Client, Error, LocalCluster, LocalOptions, blocking, secede, worker_client};

async fn one_thread() -> Client {
    Client::local_with(LocalOptions { n_threads: Some(1), ..LocalOptions::default() }).await.unwrap()
}

/// How many of something there are, and the most there were.
struct Gauge {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Gauge {
    const fn new() -> Self {
        Self { now: AtomicUsize::new(0), most: AtomicUsize::new(0) }
    }

    fn during<R>(&self, run: impl FnOnce() -> R) -> R {
        self.most.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let result = run();
        self.now.fetch_sub(1, Ordering::SeqCst);
        result
    }
}

#[tokio::test]
async fn recursion_by_tasks_ends_on_one_thread_and_goes_deep_before_it_goes_wide() {
    static ALIVE: Gauge = Gauge::new();
    #[task]
    fn counted(n: u64) -> Result<u64, Error> {
        ALIVE.during(|| {
            if n < 2 {
                return Ok(n);
            }
            let client = worker_client()?;
            let parts = client.map([n - 1, n - 2], counted::delayed);
            Ok(client.wait(client.gather(&parts))?.iter().sum())
        })
    }
    let client = one_thread().await;
    assert_eq!(client.compute(&counted::delayed(12)).await, Ok(144));
    let most = ALIVE.most.load(Ordering::SeqCst);
    // A chain of twelve, and a neighbour here and there that began while the word of a wait was on its way.
    assert!(most <= 24, "{most} of 465 calls were under way at a time");
}

#[tokio::test]
async fn what_a_task_submits_runs_before_tasks_that_have_not_begun() {
    static WAITING: Gauge = Gauge::new();
    #[task]
    fn sum_inside(n: u64) -> Result<u64, Error> {
        let client = worker_client()?;
        WAITING.during(|| client.wait(client.compute(&add::delayed(leaf::delayed(n), leaf::delayed(1)))))
    }
    let client = one_thread().await;
    let sums = client.map(0..100, sum_inside::delayed);
    assert_eq!(client.gather(&sums).await, Ok((1..=100).collect()));
    let most = WAITING.most.load(Ordering::SeqCst);
    assert!(most <= 50, "{most} of 100 waited at a time");
}

#[tokio::test]
async fn all_tasks_of_a_worker_share_a_client_that_no_task_closes() {
    #[task]
    fn client_inside(n: u64) -> Result<(u32, u64), Error> {
        let client = worker_client()?;
        let again = worker_client()?;
        drop(again);
        let remote = client.submit(&leaf::delayed(n));
        let task = remote.task().unwrap();
        Ok((task.client().0, client.wait(remote)?))
    }
    let client = one_thread().await;
    let first = client.compute(&client_inside::delayed(1)).await.unwrap();
    let second = client.compute(&client_inside::delayed(2)).await.unwrap();
    assert_eq!((first.1, second.1), (1, 2));
    assert_eq!(first.0, second.0);
    assert_ne!(client.submit(&leaf::delayed(1)).task().unwrap().client(), ClientId(first.0));
}

#[tokio::test]
async fn failures_of_inner_tasks_are_errors_of_the_outer_one() {
    #[task(name = "inside.fails")]
    fn fails() -> Result<u64, String> {
        Err("no luck".into())
    }
    #[task(name = "inside.calls")]
    fn calls() -> Result<u64, Error> {
        let client = worker_client()?;
        client.wait(client.compute(&fails::delayed()))
    }
    let client = one_thread().await;
    let Err(Error::Task { source: TaskError::Failed { function, message, .. } }) =
        client.compute(&calls::delayed()).await
    else {
        panic!("it fails");
    };
    assert_eq!(function, "inside.calls");
    assert!(message.contains("inside.fails") && message.contains("no luck"), "{message}");
}

#[tokio::test]
async fn a_wait_that_nobody_sees_gives_its_place_back_when_it_says_so() {
    #[task]
    fn waits_for_the_other() -> u64 {
        secede(|| pass("the other one ran"));
        1
    }
    #[task]
    fn the_other() -> u64 {
        open("the other one ran");
        2
    }
    let client = one_thread().await;
    let first = client.submit(&waits_for_the_other::delayed());
    let second = client.submit(&the_other::delayed());
    assert_eq!((first.await, second.await), (Ok(1), Ok(2)));
    assert_eq!(secede(|| 3), 3, "outside of a task it only calls");
}

#[tokio::test]
async fn any_client_in_a_task_gives_the_place_back_while_it_waits() {
    static URL: Mutex<String> = Mutex::new(String::new());
    #[task]
    fn through_its_own_client() -> Result<u64, Error> {
        let client = blocking::Client::connect(&URL.lock().unwrap().clone())?;
        client.wait(client.compute(&leaf::delayed(5)))
    }
    let options =
        LocalOptions { n_threads: Some(1), listen: Some("tcp://127.0.0.1:0".into()), ..LocalOptions::default() };
    let cluster = LocalCluster::start(options).unwrap();
    *URL.lock().unwrap() = cluster.url().unwrap().to_owned();
    let client = cluster.client().await.unwrap();
    assert_eq!(client.compute(&through_its_own_client::delayed()).await, Ok(5));
}

#[test]
fn outside_of_a_task_there_is_no_workers_client() {
    assert_eq!(worker_client().unwrap_err(), Error::NotInTask);
}

#[tokio::test]
async fn a_task_that_waits_for_ever_ends_with_its_cluster() {
    #[task]
    fn waits_for_ever() -> Result<u64, Error> {
        let client = worker_client()?;
        open("it waits for ever");
        client.wait(std::future::pending::<()>());
        Ok(1)
    }
    #[task]
    fn waits_for_a_gate() -> Result<u64, Error> {
        let client = worker_client()?;
        let inner = client.submit(&common::gated::delayed("opens at the end", 1_u64));
        client.wait(inner)
    }
    let cluster = LocalCluster::threads(1, 1).unwrap();
    let client = cluster.client().await.unwrap();
    let outer = client.submit(&waits_for_a_gate::delayed());
    pass("opens at the end is reached");
    drop((outer, client));
    // What the function waited for will not come, so it ends with an error; then the one it waited for ends too.
    let ends = tokio::spawn(cluster.shutdown());
    open("opens at the end");
    tokio::time::timeout(LONG, ends).await.unwrap().unwrap();

    // One that waits for nothing of the cluster is not waited for when the cluster is only dropped.
    let cluster = LocalCluster::threads(1, 1).unwrap();
    let client = cluster.client().await.unwrap();
    let remote = client.submit(&waits_for_ever::delayed());
    pass("it waits for ever");
    drop((remote, client, cluster));
}

#[tokio::test]
async fn tasks_submit_tasks_through_tcp() {
    let (_scheduler, url) = scheduler(any_port());
    let _worker = worker(&url);
    let client = Client::connect(&url).await.unwrap();
    client.wait_for_workers(1, LONG).await.unwrap();
    assert_eq!(client.compute(&fibonacci::delayed(12)).await, Ok(144));
}
