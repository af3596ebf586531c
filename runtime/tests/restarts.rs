//! A scheduler process that is killed, with workers in processes of their own. The harness is our own, since the
//! processes run this same program.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode},
    time::Duration,
};

use common::{LONG, add};
use libtest_mimic::{Arguments, Failed, Trial};
use phalanx_engine::{actor::ActorState, graph::Delayed, task, task::TaskError};
use phalanx_runtime::{Client, Error, Notice, SchedulerOptions, WorkerOptions, run_scheduler, run_worker};

const ROLE: &str = "PHALANX_TEST_ROLE";
const PLACE: &str = "PHALANX_TEST_PLACE";
const FOLDER: &str = "PHALANX_TEST_FOLDER";

fn main() -> ExitCode {
    match std::env::var(ROLE).as_deref() {
        Ok("scheduler") => be_scheduler(),
        Ok("worker") => be_worker(),
        _ => {}
    }
    let test = |name: &str, run: fn()| {
        Trial::test(name, move || {
            run();
            Ok::<(), Failed>(())
        })
    };
    let tests = vec![
        test("a_killed_scheduler_with_a_journal_costs_nothing", a_killed_scheduler_with_a_journal_costs_nothing),
        test("an_actor_outlives_a_killed_scheduler", an_actor_outlives_a_killed_scheduler),
        test("keys_and_names_outlive_a_killed_scheduler", keys_and_names_outlive_a_killed_scheduler),
        test("a_killed_scheduler_without_one_is_said", a_killed_scheduler_without_one_is_said),
    ];
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn be_scheduler() -> ! {
    let listen = std::env::var(PLACE).unwrap();
    let journal = std::env::var(FOLDER).ok().map(PathBuf::from);
    // Workers have five heartbeats to come back, which must be long enough on a machine that does much else.
    let heartbeat = Duration::from_secs(6);
    let options = SchedulerOptions { listen, journal, heartbeat, ..SchedulerOptions::default() };
    block_on(run_scheduler(&options, std::future::pending())).unwrap();
    unreachable!("it never ends")
}

fn be_worker() -> ! {
    let options = WorkerOptions { n_threads: 1, connect_for: LONG, ..WorkerOptions::default() };
    let ended = block_on(run_worker(&std::env::var(PLACE).unwrap(), &options, std::future::pending()));
    std::process::exit(i32::from(ended.is_err()))
}

/// A process that is killed when this is dropped.
struct Process(Child);

impl Process {
    fn start(role: &str, url: &str, folder: Option<&Path>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env(ROLE, role).env(PLACE, url);
        if let Some(folder) = folder {
            command.env(FOLDER, folder);
        }
        Self(command.spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // On Unix this is signal 9.
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Writes down that it ran.
#[task(name = "test.noted")]
fn noted(file: String, x: u64) -> u64 {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
    file.write_all(b"ran\n").unwrap();
    x
}

/// Calls the test, and returns when the test says so.
#[task(name = "test.gated")]
fn gated(port: u16, x: u64) -> u64 {
    let mut test = TcpStream::connect(("127.0.0.1", port)).unwrap();
    test.set_read_timeout(Some(LONG)).unwrap();
    test.read_exact(&mut [0]).unwrap();
    x
}

fn free_url() -> String {
    format!("tcp://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn a_killed_scheduler_with_a_journal_costs_nothing() {
    block_on(async {
        let (url, folder) = (free_url(), folder("restarts"));
        let runs = folder.join("runs");
        let scheduler = Process::start("scheduler", &url, Some(&folder));
        let workers = [(); 2].map(|()| Process::start("worker", &url, None));
        let client = Client::connect(&url).await.unwrap();
        client.wait_for_workers(2, LONG).await.unwrap();
        let (said, notices) = std::sync::mpsc::channel();
        client.on_notice(move |notice| drop(said.send(notice.clone())));

        let leaves = client.map(0..40, |x| noted::delayed(runs.display().to_string(), x));
        assert_eq!(client.gather(&leaves).await.unwrap().len(), 40);
        let door = TcpListener::bind("127.0.0.1:0").unwrap();
        let gate = client.submit(&gated::delayed(door.local_addr().unwrap().port(), 1_000_u64));
        let mut row: Vec<Delayed<u64>> = leaves.iter().map(|leaf| add::delayed(leaf, &gate)).collect();
        while row.len() > 1 {
            row = row.chunks(2).map(|pair| add::delayed(&pair[0], pair.get(1).unwrap_or(&Delayed::value(0)))).collect();
        }
        let sum = client.submit(&row[0]);
        // The middle of the graph: the leaves exist, the gate runs, the sums wait.
        let (mut inside, _) = door.accept().unwrap();
        drop(scheduler);
        let late = client.submit(&add::delayed(&sum, 1_u64));
        let _again = Process::start("scheduler", &url, Some(&folder));
        inside.write_all(&[0]).unwrap();

        assert_eq!(sum.await, Ok(39 * 40 / 2 + 40 * 1_000));
        assert_eq!(late.await, Ok(39 * 40 / 2 + 40 * 1_000 + 1), "what was said meanwhile was said again");
        assert_eq!(std::fs::read_to_string(&runs).unwrap().lines().count(), 40, "no leaf ran twice");
        door.set_nonblocking(true).unwrap();
        assert!(door.accept().is_err(), "nor did the gate");
        assert_eq!(client.workers().len(), 2);
        let said: Vec<Notice> = notices.try_iter().collect();
        assert!(said.iter().any(|notice| matches!(notice, Notice::SchedulerGone { .. })), "{said:?}");
        assert!(said.contains(&Notice::SchedulerBack { url, remembers: true }), "{said:?}");
        drop(workers);
        std::fs::remove_dir_all(folder).unwrap();
    });
}

#[task(name = "test.counter")]
fn counter() -> ActorState<u64> {
    ActorState::new(0)
}

/// Counts once the test says so.
#[task(name = "test.count")]
fn count(counter: &mut u64, port: u16) -> u64 {
    gated(port, 0);
    *counter += 1;
    *counter
}

fn an_actor_outlives_a_killed_scheduler() {
    block_on(async {
        let (url, folder) = (free_url(), folder("actors"));
        let scheduler = Process::start("scheduler", &url, Some(&folder));
        let worker = Process::start("worker", &url, None);
        let client = Client::connect(&url).await.unwrap();
        client.wait_for_workers(1, LONG).await.unwrap();
        let actor = client.actor(&counter::delayed()).await.unwrap();
        let door = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = door.local_addr().unwrap().port();
        let mut calls: Vec<_> = (0..2).map(|_| client.submit(&count::delayed(&actor, port))).collect();
        let let_in = || door.accept().unwrap().0;
        let_in().write_all(&[0]).unwrap();
        let mut inside = let_in();
        // One call is done, one runs.
        drop(scheduler);
        calls.push(client.submit(&count::delayed(&actor, port)));
        let _again = Process::start("scheduler", &url, Some(&folder));
        inside.write_all(&[0]).unwrap();
        let_in().write_all(&[0]).unwrap();
        for (call, n) in calls.iter().zip(1..) {
            assert_eq!(call.await, Ok(n), "every call once, on the one state");
        }
        drop(worker);
        let failed = client.compute(&count::delayed(&actor, port)).await;
        assert!(matches!(failed, Err(Error::Task { source: TaskError::ActorLost { .. } })), "{failed:?}");
        std::fs::remove_dir_all(folder).unwrap();
    });
}

fn keys_and_names_outlive_a_killed_scheduler() {
    block_on(async {
        let (url, folder) = (free_url(), folder("shared"));
        let runs = folder.join("runs");
        let scheduler = Process::start("scheduler", &url, Some(&folder));
        let _workers = [(); 2].map(|()| Process::start("worker", &url, None));
        let one = Client::connect(&url).await.unwrap();
        one.wait_for_workers(2, LONG).await.unwrap();
        let runs_of = |x| noted::delayed(runs.display().to_string(), x);
        let mine = one.submit_keyed("seven", &runs_of(7)).await.unwrap();
        one.publish("pair", &vec![runs_of(1), runs_of(2)]).await.unwrap();
        let door = TcpListener::bind("127.0.0.1:0").unwrap();
        let gated = gated::delayed(door.local_addr().unwrap().port(), 30_u64);
        let waits = one.submit_keyed("gate", &gated).await.unwrap();
        let (mut inside, _) = door.accept().unwrap();
        mine.done().await.unwrap();
        let other = Client::connect(&url).await.unwrap();
        let shared = other.submit_keyed("gate", &gated).await.unwrap();
        // Who made all of it goes before the scheduler does; what others want stays.
        drop((mine, waits, one));
        let pair = other.get_published::<Vec<Delayed<u64>>>("pair").await.unwrap();
        assert_eq!(other.compute(&pair).await.unwrap(), [1, 2]);
        drop(scheduler);
        let _again = Process::start("scheduler", &url, Some(&folder));
        assert_eq!(other.published().await.unwrap(), ["pair"]);
        inside.write_all(&[0]).unwrap();

        assert_eq!(shared.await, Ok(30), "the gate is not called again, which nobody would answer");
        assert_eq!(other.compute(&pair).await.unwrap(), [1, 2]);
        let third = Client::connect(&url).await.unwrap();
        let again = third.get_published::<Vec<Delayed<u64>>>("pair").await.unwrap();
        assert_eq!(third.compute(&again).await.unwrap(), [1, 2]);
        assert_eq!(std::fs::read_to_string(&runs).unwrap().lines().count(), 3, "nothing ran twice");
        std::fs::remove_dir_all(folder).unwrap();
    });
}

fn a_killed_scheduler_without_one_is_said() {
    block_on(async {
        let url = free_url();
        let scheduler = Process::start("scheduler", &url, None);
        let _workers = [(); 2].map(|()| Process::start("worker", &url, None));
        let client = Client::connect(&url).await.unwrap();
        client.wait_for_workers(2, LONG).await.unwrap();
        let door = TcpListener::bind("127.0.0.1:0").unwrap();
        let gate = client.submit(&gated::delayed(door.local_addr().unwrap().port(), 1_u64));
        let (_inside, _) = door.accept().unwrap();
        drop(scheduler);
        let _again = Process::start("scheduler", &url, None);
        assert_eq!(gate.await, Err(Error::SchedulerRestarted));
        assert_eq!(client.compute(&add::delayed(1_u64, 2_u64)).await, Ok(3), "new work runs");
    });
}
