//! Worker processes, killed at real moments. The harness is our own, since `main` must begin with `init()`.
#![allow(clippy::unwrap_used)]

mod common;

use std::process::{Command, ExitCode};

use common::{LONG, Numbers, dot, fibonacci, leaf, numbers, tree};
use libtest_mimic::{Arguments, Failed, Trial};
use phalanx_engine::{graph::Delayed, task, task::TaskError};
use phalanx_runtime::{Client, Error, LocalCluster, LocalOptions, worker_client};

fn main() -> ExitCode {
    phalanx_runtime::init().unwrap();
    let test = |name: &str, run: fn()| {
        Trial::test(name, move || {
            run();
            Ok::<(), Failed>(())
        })
    };
    let tests = vec![
        test("processes_compute_as_threads_do", processes_compute_as_threads_do),
        test("a_killed_worker_costs_its_work_and_nothing_else", a_killed_worker_costs_its_work_and_nothing_else),
        test("a_function_that_ends_its_process_fails_after_three", a_function_that_ends_its_process_fails_after_three),
        test("a_worker_starts_no_workers", a_worker_starts_no_workers),
        test("what_a_task_starts_is_no_worker", what_a_task_starts_is_no_worker),
        test("workers_end_with_their_cluster", workers_end_with_their_cluster),
        test("tasks_of_processes_submit_tasks", tasks_of_processes_submit_tasks),
        test("a_killed_worker_takes_what_its_tasks_submitted", a_killed_worker_takes_what_its_tasks_submitted),
        test("a_task_that_kills_through_another_fails_too", a_task_that_kills_through_another_fails_too),
        test("a_killed_holder_lets_go", a_killed_holder_lets_go),
    ];
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn kill(process: u32) {
    assert!(Command::new("kill").args(["-9", &process.to_string()]).status().unwrap().success());
}

fn is_alive(process: u32) -> bool {
    std::path::Path::new(&format!("/proc/{process}")).exists()
}

#[task]
fn process_id() -> u32 {
    std::process::id()
}

/// Fails where two workers have it in one process.
#[task]
fn own_thread(x: u64) -> (u64, u32) {
    (x, std::process::id())
}

fn processes_compute_as_threads_do() {
    block_on(async {
        let cluster = LocalCluster::processes(2).unwrap();
        let client = cluster.client().await.unwrap();
        assert_eq!(client.workers().len(), 2);
        assert_eq!(client.compute(&tree(500)).await, Ok(124_750));
        let large: Vec<_> = (0..4).map(|i| numbers::delayed(200_000, f64::from(i))).collect();
        let pairs: Vec<Delayed<f64>> =
            large.iter().flat_map(|a| large.iter().map(move |b| dot::delayed(a, b))).collect();
        let here: Vec<Numbers> = (0..4).map(|i| numbers(200_000, f64::from(i))).collect();
        let expected: Vec<f64> = here.iter().flat_map(|a| here.iter().map(move |b| dot(a, b))).collect();
        assert_eq!(client.compute(&pairs).await, Ok(expected));
        let process = client.compute(&process_id::delayed()).await.unwrap();
        assert!(cluster.process_ids().contains(&process));
    });
}

/// A leaf that takes a moment, so that a worker dies in the middle of many.
#[task]
fn slow_leaf(n: u64) -> u64 {
    let mut x = n;
    for _ in 0..2_000_000 {
        x = std::hint::black_box(x);
    }
    x
}

fn a_killed_worker_costs_its_work_and_nothing_else() {
    block_on(async {
        let options = LocalOptions { n_workers: 2, n_threads: Some(1), processes: true, ..LocalOptions::default() };
        let cluster = LocalCluster::start(options).unwrap();
        let client = cluster.client().await.unwrap();
        let leaves = client.submit_all(&(0..300).map(slow_leaf::delayed).collect::<Vec<_>>());
        let mut row: Vec<Delayed<u64>> = leaves.iter().map(|leaf| leaf.delayed()).collect();
        while row.len() > 1 {
            row = row
                .chunks(2)
                .map(|pair| common::add::delayed(&pair[0], pair.get(1).unwrap_or(&leaf::delayed(0))))
                .collect();
        }
        let sum = client.submit(&row[0]);
        // A third of the leaves exist, on both workers; then one is gone.
        let mut completed = client.as_completed(leaves.clone());
        for _ in 0..100 {
            completed.next().await.unwrap().done().await.unwrap();
        }
        kill(cluster.process_ids()[0]);
        assert_eq!(sum.await, Ok(299 * 300 / 2));
        assert_eq!(client.gather(&leaves).await, Ok((0..300).collect()));
        assert_eq!(client.workers().len(), 1);
    });
}

#[task(name = "test.exit")]
fn exit(code: i32) -> u64 {
    std::process::exit(code)
}

fn a_function_that_ends_its_process_fails_after_three() {
    block_on(async {
        let cluster = LocalCluster::processes(4).unwrap();
        let client = cluster.client().await.unwrap();
        let Err(Error::Task { source: TaskError::KilledWorkers { function, workers } }) =
            client.compute(&exit::delayed(3)).await
        else {
            panic!("it kills its workers");
        };
        assert_eq!((&*function, workers.len()), ("test.exit", 3));
        assert_eq!(client.compute(&leaf::delayed(1)).await, Ok(1), "the fourth worker lives");
    });
}

#[task]
fn start_workers() -> String {
    match LocalCluster::processes(1) {
        Ok(_) => "started".into(),
        Err(error) => error.to_string(),
    }
}

fn a_worker_starts_no_workers() {
    block_on(async {
        let cluster = LocalCluster::processes(1).unwrap();
        let client = cluster.client().await.unwrap();
        let said = client.compute(&start_workers::delayed()).await;
        assert_eq!(said, Ok(Error::InsideWorker.to_string()));
    });
}

/// Starts this program from inside a worker, as anything that a task runs might.
#[task]
fn start_program() -> String {
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program).args(["--list", "--format", "terse"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn what_a_task_starts_is_no_worker() {
    block_on(async {
        let cluster = LocalCluster::processes(1).unwrap();
        let client = cluster.client().await.unwrap();
        let listed = client.compute(&start_program::delayed()).await.unwrap();
        assert!(listed.contains("what_a_task_starts_is_no_worker: test"), "{listed}");
    });
}

fn workers_end_with_their_cluster() {
    block_on(async {
        let cluster = LocalCluster::processes(2).unwrap();
        let processes = cluster.process_ids();
        let client = cluster.client().await.unwrap();
        client.wait_for_workers(2, LONG).await.unwrap();
        assert!(processes.iter().all(|process| is_alive(*process)));
        cluster.shutdown().await;
        assert!(!processes.iter().any(|process| is_alive(*process)));
        // A client with a cluster of its own ends it too.
        let options = LocalOptions { n_workers: 1, processes: true, ..LocalOptions::default() };
        let client = Client::local_with(options).await.unwrap();
        let process = client.compute(&process_id::delayed()).await.unwrap();
        assert!(is_alive(process));
        drop(client);
        assert!(!is_alive(process));
    });
}

fn tasks_of_processes_submit_tasks() {
    block_on(async {
        let cluster = LocalCluster::start(LocalOptions {
            n_workers: 2,
            n_threads: Some(1),
            processes: true,
            ..LocalOptions::default()
        });
        let cluster = cluster.unwrap();
        let client = cluster.client().await.unwrap();
        assert_eq!(client.compute(&fibonacci::delayed(12)).await, Ok(144));
    });
}

/// Submits leaves, says by a file where it runs, and waits for them.
#[task]
fn sum_of_leaves(said: String, n: u64) -> Result<u64, Error> {
    let client = worker_client()?;
    let leaves = client.map(0..n, slow_leaf::delayed);
    client.wait(leaves[0].done())?;
    // Appended in one write: two lives of the task may overlap.
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(&said).unwrap();
    std::io::Write::write_all(&mut file, format!("{}\n", std::process::id()).as_bytes()).unwrap();
    Ok(client.wait(client.gather(&leaves))?.iter().sum())
}

fn a_killed_worker_takes_what_its_tasks_submitted() {
    block_on(async {
        let cluster = LocalCluster::processes(2).unwrap();
        let client = cluster.client().await.unwrap();
        let said = std::env::temp_dir().join(format!("phalanx-inside-{}", std::process::id()));
        let _ = std::fs::remove_file(&said);
        let sum = client.submit(&sum_of_leaves::delayed(said.to_str().unwrap(), 400_u64));
        let end = std::time::Instant::now() + LONG;
        let process = loop {
            let text = std::fs::read_to_string(&said).unwrap_or_default();
            if let Some((process, _)) = text.split_once('\n') {
                break process.parse().unwrap();
            }
            assert!(std::time::Instant::now() < end, "the task never began to wait");
            tokio::task::yield_now().await;
        };
        kill(process);
        assert_eq!(sum.await, Ok(399 * 400 / 2));
        std::fs::remove_file(&said).unwrap();
    });
}

#[task]
fn exits_inside(code: i32) -> Result<u64, Error> {
    let client = worker_client()?;
    client.wait(client.compute(&exit::delayed(code)))
}

fn a_task_that_kills_through_another_fails_too() {
    block_on(async {
        let cluster = LocalCluster::processes(4).unwrap();
        let client = cluster.client().await.unwrap();
        let failed = client.compute(&exits_inside::delayed(3)).await;
        // Where the two run apart, the inner one is tried three times; else the outer one.
        let said = failed.unwrap_err().to_string();
        assert!(said.contains("when they died"), "{said}");
        assert_eq!(client.compute(&leaf::delayed(1)).await, Ok(1), "a worker lives");
    });
}

/// Holds a lock until it is told that it may go, and says which process holds it.
#[task]
fn holds_a_lock() -> Result<(), Error> {
    let client = worker_client()?;
    let _lease = client.wait(client.lock("the only one"))?;
    client.wait(client.queue::<u32>("holders", 0).put(std::process::id()))?;
    client.wait(client.event("may go").wait())
}

fn a_killed_holder_lets_go() {
    block_on(async {
        let cluster = LocalCluster::processes(2).unwrap();
        let client = cluster.client().await.unwrap();
        let task = client.submit(&holds_a_lock::delayed());
        let process = client.queue::<u32>("holders", 0).get().await.unwrap();
        kill(process);
        let lease = client.lock("the only one").acquire_within(LONG).await.unwrap();
        // The task runs again elsewhere, and waits for the lock like anybody.
        drop(lease);
        assert_ne!(client.queue::<u32>("holders", 0).get_within(LONG).await.unwrap(), process);
        client.event("may go").set().await.unwrap();
        assert_eq!(task.await, Ok(()));
    });
}
