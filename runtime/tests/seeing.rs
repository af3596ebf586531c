//! What a program learns of its cluster while worker processes fail, die and come back: stories, events, errors that say
//! what to do. The harness is our own, since `main` must begin with `init()`.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use common::{LONG, numbers};
use libtest_mimic::{Arguments, Failed, Trial};
use phalanx_engine::{
    event::{Event, Kind, Outcome, Record, Step},
    graph::Delayed,
    inspect::Standing,
    task,
    task::TaskError,
};
use phalanx_runtime::{Client, Error, EventStream, LocalCluster, LocalOptions, MemoryLimit};

fn main() -> ExitCode {
    phalanx_runtime::init().unwrap();
    let test = |name: &str, run: fn()| {
        Trial::test(name, move || {
            run();
            Ok::<(), Failed>(())
        })
    };
    let tests = vec![
        test("a_task_that_was_tried_again_tells_so", a_task_that_was_tried_again_tells_so),
        test("a_task_whose_worker_died_tells_so", a_task_whose_worker_died_tells_so),
        test("a_timeline_has_every_run_of_every_process_once", a_timeline_has_every_run_of_every_process_once),
        test("a_reader_that_does_not_read_loses_events_and_no_memory", who_does_not_read_loses_events),
        test("a_resource_that_nobody_has_fails_after_the_timeout", a_resource_that_nobody_has_fails_after_the_timeout),
        test("inputs_beyond_every_budget_fail_at_once", inputs_beyond_every_budget_fail_at_once),
    ];
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Whether it is the first to ask for a mark in a folder; whoever asks later finds it.
fn is_first(mark: &Path) -> bool {
    std::fs::File::create_new(mark).is_ok()
}

#[task]
fn fails_once(mark: PathBuf) -> Result<u64, String> {
    if is_first(&mark) { Err("the disk was busy".into()) } else { Ok(7) }
}

#[task]
fn dies_once(mark: PathBuf, input: u64) -> u64 {
    if is_first(&mark) {
        std::process::exit(3);
    }
    input + 1
}

#[task]
fn half(x: u64) -> u64 {
    x / 2
}

fn a_task_that_was_tried_again_tells_so() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let cluster = LocalCluster::processes(1).unwrap();
        let client = cluster.client().await.unwrap();
        let seven = client.submit(&fails_once::delayed(folder.path().join("mark")).retries(1));
        assert_eq!(seven.clone().await, Ok(7));
        let story = client.story(&seven).await.unwrap();
        let text = story.to_string();
        let expected = ["attempt 0 runs on ", "attempt 0 failed on ", ": the disk was busy", "attempt 1 finished on "];
        let mut rest = text.as_str();
        for part in expected {
            rest = rest.split_once(part).unwrap_or_else(|| panic!("{part:?} in its place in {text}")).1;
        }
        assert!(matches!(story.standing, Standing::Memory { .. }), "{text}");

        let failed = client.submit(&fails_once::delayed(folder.path().join("other")));
        assert!(failed.clone().await.is_err());
        let text = client.story(&failed).await.unwrap().to_string();
        assert!(text.lines().next().unwrap().contains(" failed: task seeing::fails_once failed on "), "{text}");
        assert!(text.ends_with("failed for good"), "{text}");
    });
}

fn a_task_whose_worker_died_tells_so() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let cluster = LocalCluster::processes(1).unwrap();
        let client = cluster.client().await.unwrap();
        let mut events = client.events(Record::Tasks);
        let input = client.submit(&half::delayed(8));
        assert_eq!(input.clone().await, Ok(4));
        let output = client.submit(&dies_once::delayed(folder.path().join("mark"), &input));
        assert_eq!(output.clone().await, Ok(5));

        let lost = client.story(&input).await.unwrap();
        let finished = |steps: &[(_, Step)]| steps.iter().filter(|s| matches!(s.1, Step::Finished { .. })).count();
        assert!(lost.steps.iter().any(|(_, step)| *step == Step::Lost), "{lost}");
        assert_eq!(finished(&lost.steps), 2, "{lost}");
        let killer = client.story(&output).await.unwrap();
        let was_running = |(_, step): &(_, Step)| matches!(step, Step::WorkerLost { running: true, .. });
        assert!(killer.steps.iter().any(was_running), "{killer}");
        assert!(killer.to_string().contains(" was running on "), "{killer}");

        let died = |event: &Event| match &event.kind {
            Kind::WorkerDied { evidence, .. } => Some(evidence.clone()),
            _ => None,
        };
        let evidence = loop {
            let batch = events.next().await.unwrap();
            if let Some(evidence) = batch.events.iter().find_map(died) {
                break evidence;
            }
        };
        assert!(evidence.starts_with("it exited with code 3"), "{evidence}");
        let counters = client.overview().await.unwrap().counters;
        assert_eq!((counters.n_workers_died, counters.n_workers_joined, counters.n_lost), (1, 2, 1));
    });
}

/// All that is told until the end.
async fn rest(mut events: EventStream) -> (Vec<Event>, u64) {
    events.stop();
    let (mut all, mut n_dropped) = (Vec::new(), 0);
    while let Some(batch) = events.next().await {
        all.extend(batch.events);
        n_dropped += batch.n_dropped;
    }
    (all, n_dropped)
}

fn a_timeline_has_every_run_of_every_process_once() {
    block_on(async {
        let cluster = LocalCluster::processes(2).unwrap();
        let client = cluster.client().await.unwrap();
        let events = client.events(Record::Timeline);
        // Answered in order: whatever the workers were told before, they know.
        client.overview().await.unwrap();
        let calls: Vec<_> = (0..300).map(half::delayed).collect();
        client.compute(&calls).await.unwrap();
        let (all, n_dropped) = rest(events).await;
        assert_eq!(n_dropped, 0);
        let mut tasks = BTreeSet::new();
        let mut workers = BTreeSet::new();
        for event in &all {
            if let Kind::Ran { worker, run, function } = &event.kind {
                assert!(matches!(run.outcome, Outcome::Finished { .. }), "{event:?}");
                assert_eq!(&**function, "seeing::half");
                assert!(tasks.insert(run.task), "{event:?} is there twice");
                workers.insert(*worker);
            }
        }
        assert_eq!((tasks.len(), workers.len()), (300, 2));
    });
}

fn who_does_not_read_loses_events() {
    block_on(async {
        let client = Client::local().await.unwrap();
        let events = client.events(Record::Tasks);
        let n_tasks = 60_000_u64;
        let calls: Vec<_> = (0..n_tasks).map(half::delayed).collect();
        client.compute(&calls).await.unwrap();
        let (all, n_dropped) = rest(events).await;
        // Sixteen messages of at most 1,024 events were on their way, and 65,536 events are kept.
        assert!((65_536..=16 * 1_024 + 65_536).contains(&all.len()), "{}", all.len());
        assert!(all.len() as u64 + n_dropped >= 4 * n_tasks, "{n_dropped} dropped");
    });
}

fn a_resource_that_nobody_has_fails_after_the_timeout() {
    block_on(async {
        let cluster = LocalCluster::processes(1).unwrap();
        let client = cluster.client().await.unwrap();
        let waited = Duration::from_millis(300);
        let call: Delayed<u64> = half::delayed(2).resources([("gpu", 1)]).wait_timeout(waited);
        let waits = client.submit(&call);
        let error = TaskError::NoSuitableWorker {
            function: "seeing::half".into(),
            missing: "a worker with gpu = 1".into(),
            waited,
        };
        assert_eq!(waits.await, Err(Error::Task { source: error }));
    });
}

fn inputs_beyond_every_budget_fail_at_once() {
    block_on(async {
        let memory_limit = MemoryLimit::Bytes(32 << 20);
        let options = LocalOptions { n_workers: 2, processes: true, memory_limit, ..LocalOptions::default() };
        let cluster = LocalCluster::start(options).unwrap();
        let client = cluster.client().await.unwrap();
        client.wait_for_workers(2, LONG).await.unwrap();
        let large = |start| numbers::delayed(3_000_000, start);
        let failed = client.compute(&common::dot::delayed(large(0.), large(1.))).await;
        let Err(Error::Task { source: TaskError::TooLarge { function, n_bytes, limit, excess } }) = failed else {
            panic!("{failed:?} is another error")
        };
        assert_eq!((limit, excess), (32 << 20, n_bytes - limit));
        assert!(n_bytes >= 48_000_000 && function.ends_with("dot"), "{function}: {n_bytes}");
    });
}
