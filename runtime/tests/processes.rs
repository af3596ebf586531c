//! Worker processes, killed at real moments. The harness is our own, since `main` must begin with `init()`.
#![allow(clippy::unwrap_used)]

mod common;

use std::process::{Command, ExitCode};

use common::{LONG, Numbers, dot, fibonacci, leaf, numbers, tree};
use libtest_mimic::{Arguments, Failed, Trial};
use phalanx_engine::{
    actor::ActorState,
    adaptive::AdaptiveOptions,
    death::{Death, End},
    graph::Delayed,
    id::WorkerId,
    task,
    task::TaskError,
};
use phalanx_runtime::{Client, Error, LocalCluster, LocalOptions, RestartOptions, worker_client};

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
        test(
            "a_function_that_ends_its_process_fails_after_three_with_what_was_seen_of_them",
            a_function_that_ends_its_process_fails_after_three_with_what_was_seen_of_them,
        ),
        test("the_peak_of_a_dead_workers_memory_is_known", the_peak_of_a_dead_workers_memory_is_known),
        test(
            "in_a_stream_of_small_tasks_only_the_one_that_ran_is_blamed",
            in_a_stream_of_small_tasks_only_the_one_that_ran_is_blamed,
        ),
        test("a_worker_that_crashes_too_often_stays_away", a_worker_that_crashes_too_often_stays_away),
        test(
            "a_cluster_scales_and_keeps_what_leaving_workers_held",
            a_cluster_scales_and_keeps_what_leaving_workers_held,
        ),
        test(
            "an_adaptive_cluster_grows_for_its_work_and_shrinks_after_it",
            an_adaptive_cluster_grows_for_its_work_and_shrinks_after_it,
        ),
        test("a_worker_starts_no_workers", a_worker_starts_no_workers),
        test("what_a_task_starts_is_no_worker", what_a_task_starts_is_no_worker),
        test("workers_end_with_their_cluster", workers_end_with_their_cluster),
        test("tasks_of_processes_submit_tasks", tasks_of_processes_submit_tasks),
        test("a_killed_worker_takes_what_its_tasks_submitted", a_killed_worker_takes_what_its_tasks_submitted),
        test("a_task_that_kills_through_another_fails_too", a_task_that_kills_through_another_fails_too),
        test("a_killed_holder_lets_go", a_killed_holder_lets_go),
        test("an_actor_lives_in_one_process_and_dies_with_it", an_actor_lives_in_one_process_and_dies_with_it),
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
        let killed = cluster.process_ids()[0];
        kill(killed);
        assert_eq!(sum.await, Ok(299 * 300 / 2));
        assert_eq!(client.gather(&leaves).await, Ok((0..300).collect()));
        // It was started again.
        client.wait_for_workers(2, LONG).await.unwrap();
        assert!(cluster.process_ids().len() == 2 && !cluster.process_ids().contains(&killed));
    });
}

/// Ends its process, with some last words.
#[task(name = "test.exit")]
fn exit(code: i32) -> u64 {
    println!("ends with {code}");
    match code {
        134 => std::process::abort(),
        code => std::process::exit(code),
    }
}

/// The function and the deaths of a task that killed its workers.
fn killed_workers<T: std::fmt::Debug>(outcome: Result<T, Error>) -> (String, Vec<Death>) {
    match outcome {
        Err(Error::Task { source: TaskError::KilledWorkers { function, deaths } }) => (function, deaths),
        other => panic!("it kills its workers: {other:?}"),
    }
}

fn a_function_that_ends_its_process_fails_after_three_with_what_was_seen_of_them() {
    block_on(async {
        // One worker, which is started again after each death.
        let cluster = LocalCluster::processes(1).unwrap();
        let client = cluster.client().await.unwrap();
        let abort = End::Signal { number: 6, name: "SIGABRT".into() };
        for (code, end) in [(3, End::Code(3)), (0, End::Code(0)), (134, abort)] {
            let (function, deaths) = killed_workers(client.compute(&exit::delayed(code)).await);
            assert_eq!((&*function, deaths.len()), ("test.exit", 3));
            for death in &deaths {
                let evidence = death.evidence.as_ref().expect("it is supervised");
                assert_eq!((&*death.name, &evidence.end), ("local-0", &end));
                assert_eq!(evidence.last_lines, format!("ends with {code}"));
            }
        }
        assert_eq!(client.compute(&leaf::delayed(1)).await, Ok(1), "it lives again");
    });
}

#[task]
fn grow(mib: usize) -> u64 {
    let held = vec![1_u8; mib << 20];
    // Longer than the supervisor takes to look.
    std::thread::sleep(std::time::Duration::from_millis(400));
    let sum = held.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    std::process::exit(sum as i32 & 1)
}

fn the_peak_of_a_dead_workers_memory_is_known() {
    block_on(async {
        let cluster = LocalCluster::processes(1).unwrap();
        let client = cluster.client().await.unwrap();
        let (_, deaths) = killed_workers(client.compute(&grow::delayed(64)).await);
        for death in deaths {
            let peak = death.evidence.and_then(|evidence| evidence.peak_memory).expect("it was seen");
            assert!((64 << 20..512 << 20).contains(&peak), "{peak}");
        }
    });
}

fn in_a_stream_of_small_tasks_only_the_one_that_ran_is_blamed() {
    block_on(async {
        let options = LocalOptions { n_threads: Some(1), processes: true, ..LocalOptions::default() };
        let cluster = LocalCluster::start(options).unwrap();
        let client = cluster.client().await.unwrap();
        // So that it is known how short they are, and many are sent at once.
        client.compute(&(0..2_000).map(leaf::delayed).collect::<Vec<_>>()).await.unwrap();
        let before = client.submit_all(&(0..300).map(leaf::delayed).collect::<Vec<_>>());
        let exits = client.submit(&exit::delayed(7));
        let after = client.submit_all(&(300..600).map(leaf::delayed).collect::<Vec<_>>());
        let (_, deaths) = killed_workers(exits.await);
        assert_eq!(deaths.len(), 3);
        assert_eq!(client.gather(&before).await, Ok((0..300).collect()));
        assert_eq!(client.gather(&after).await, Ok((300..600).collect()));
        client.wait_for_workers(1, LONG).await.unwrap();
        // Workers count up, so three have died: none of the deaths went without blame.
        assert_eq!(client.workers()[0].worker, WorkerId(3));
    });
}

fn a_worker_that_crashes_too_often_stays_away() {
    block_on(async {
        let restarts = RestartOptions { limit: 1, ..RestartOptions::default() };
        let options = LocalOptions { n_workers: 2, processes: true, restarts, ..LocalOptions::default() };
        let cluster = LocalCluster::start(options).unwrap();
        let client = cluster.client().await.unwrap();
        let [first, second] = cluster.process_ids()[..] else { panic!("two") };
        kill(first);
        let again = loop {
            if let [again, other] = cluster.process_ids()[..]
                && again != first
            {
                assert_eq!(other, second);
                break again;
            }
            std::thread::yield_now();
        };
        kill(again);
        while cluster.process_ids() != [second] {
            std::thread::yield_now();
        }
        assert_eq!(client.compute(&leaf::delayed(1)).await, Ok(1), "the other goes on");
    });
}

fn a_cluster_scales_and_keeps_what_leaving_workers_held() {
    block_on(async {
        let options = LocalOptions { n_threads: Some(1), processes: true, ..LocalOptions::default() };
        let cluster = LocalCluster::start(options).unwrap();
        let client = cluster.client().await.unwrap();
        cluster.scale(3).await.unwrap();
        client.wait_for_workers(3, LONG).await.unwrap();
        let held = client.submit_all(&(0..60).map(leaf::delayed).collect::<Vec<_>>());
        client.gather(&held).await.unwrap();
        let oldest = cluster.process_ids()[0];
        cluster.scale(1).await.unwrap();
        assert_eq!(cluster.process_ids(), [oldest]);
        assert_eq!(client.gather(&held).await, Ok((0..60).collect()));
        assert!(matches!(cluster.scale(0).await, Err(Error::WorkerStays { .. })), "it holds what nobody can take");
        drop(held);
        assert_eq!(client.compute(&leaf::delayed(1)).await, Ok(1));
    });
}

fn an_adaptive_cluster_grows_for_its_work_and_shrinks_after_it() {
    block_on(async {
        let options = LocalOptions { n_workers: 0, n_threads: Some(1), processes: true, ..LocalOptions::default() };
        let cluster = LocalCluster::start(options).unwrap();
        let client = cluster.client().await.unwrap();
        let every = std::time::Duration::from_millis(20);
        let target = std::time::Duration::from_millis(20);
        let adapt = cluster.adapt(AdaptiveOptions { max: 2, every, target, ..AdaptiveOptions::default() });
        let work = async {
            client.compute(&(0..50).map(slow_leaf::delayed).collect::<Vec<_>>()).await.unwrap();
            let most = cluster.process_ids().len();
            while !cluster.process_ids().is_empty() {
                tokio::task::yield_now().await;
            }
            most
        };
        tokio::select! {
            most = work => assert!((1..=2).contains(&most), "{most}"),
            failed = adapt => panic!("{failed:?}"),
        }
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

/// What it counts, and in which process.
#[task]
fn counter(start: u64) -> ActorState<u64> {
    ActorState::new(start)
}

#[task]
fn count(counter: &mut u64, by: u64) -> (u64, u32) {
    *counter += by;
    (*counter, std::process::id())
}

fn an_actor_lives_in_one_process_and_dies_with_it() {
    block_on(async {
        let cluster = LocalCluster::processes(2).unwrap();
        let client = cluster.client().await.unwrap();
        let actors =
            [client.actor(&counter::delayed(0)).await.unwrap(), client.actor(&counter::delayed(1_000)).await.unwrap()];
        // Calls of both, each with results that the other process made.
        let made: Vec<_> = client.map(0..40, leaf::delayed);
        let calls: Vec<_> =
            made.iter().map(|by| [0, 1].map(|one| client.submit(&count::delayed(&actors[one], by)))).collect();
        let (mut sum, mut homes) = (0, [0; 2]);
        for (by, calls) in (0..).zip(calls) {
            sum += by;
            for (one, call) in calls.into_iter().enumerate() {
                let (counted, process) = call.await.unwrap();
                assert_eq!(counted, sum + 1_000 * one as u64);
                assert!(homes[one] == 0 || homes[one] == process, "an actor has one home");
                homes[one] = process;
            }
        }
        assert_ne!(homes[0], homes[1], "they are spread");
        // What an actor holds is not to be had.
        let asked = client.submit(&counter::delayed(5)).get().await.map(|_| ());
        assert!(matches!(asked, Err(Error::Task { source: TaskError::Malformed { .. } })), "{asked:?}");
        kill(homes[0]);
        let is_lost = |outcome: Result<(u64, u32), Error>| {
            let is_it = matches!(&outcome, Err(Error::Task { source: TaskError::ActorLost { .. } }));
            assert!(is_it, "{outcome:?}");
        };
        let open: Vec<_> = client.map(0..5, |by| count::delayed(&actors[0], by));
        for call in open {
            is_lost(call.await);
        }
        is_lost(client.compute(&count::delayed(&actors[0], 1)).await);
        assert_eq!(client.compute(&count::delayed(&actors[1], 1)).await, Ok((sum + 1_001, homes[1])));
    });
}
