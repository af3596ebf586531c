//! Sweeps on threads, on processes and over TCP, while workers die and strangers knock.

use std::{
    io::{BufRead, Write},
    net::TcpStream,
};

use crate::support::{Cluster, Program, children, cpu_ticks, folder, listing, results, run, signal, succeed, text};

/// README's main job.
const SWEEP: &str = "examples/bikeshare.yaml";

#[test]
fn a_sweep_gives_the_same_results_on_threads_on_processes_and_over_tcp() {
    let place = folder();
    let out = |name: &str| place.path().join(name);
    let printed = succeed(["sweep", SWEEP, "--output", &text(&out("local"))]);
    assert!(printed.contains("Best: alpha = "), "{printed}");
    let expected = results(&out("local"));
    assert_eq!(expected["rank_test_score"].len(), 32);
    assert!(expected["error"].iter().all(String::is_empty));

    succeed(["sweep", SWEEP, "--output", &text(&out("processes")), "--cluster", "processes:2"]);
    assert_eq!(results(&out("processes")), expected);

    // Two workers started by hand; one of them is killed in the middle of the sweep.
    let mut cluster = Cluster::start(2);
    let sweep = Program::start(["sweep", SWEEP, "--output", &text(&out("tcp")), "--cluster", &cluster.url]);
    cluster.workers[0].wait_until_busy();
    cluster.workers[0].signal("KILL");
    // Meanwhile strangers send what is no message at all, some of it shaped like the beginning of a frame.
    knock(&cluster.url);
    let (code, _, stderr) = sweep.end();
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(results(&out("tcp")), expected);

    // The same cluster goes on: with the worker that is left, and a new one.
    cluster.add_worker();
    succeed(["sweep", SWEEP, "--output", &text(&out("again")), "--cluster", &cluster.url]);
    assert_eq!(results(&out("again")), expected);
}

#[test]
fn a_sweep_without_workers_says_what_it_waits_for_and_goes_on_when_one_comes() {
    let place = folder();
    let out = place.path().join("out");
    let mut cluster = Cluster::start(0);
    let mut sweep = Program::start(["sweep", SWEEP, "--output", &text(&out), "--cluster", &cluster.url]);
    let mut line = String::new();
    sweep.stderr().read_line(&mut line).expect("a line");
    assert!(line.contains("for a worker, for ") && line.contains("start one with `phalanx worker`"), "{line}");
    cluster.add_worker();
    let (code, stdout, _) = sweep.end();
    assert_eq!(code, 0);
    assert!(stdout.contains("Best: alpha = "), "{stdout}");
    assert_eq!(listing(&out), ["best_coefficients.csv", "best_model.json", "results.csv"]);
}

#[test]
fn a_signal_ends_a_sweep_and_all_that_it_started() {
    for signal in ["INT", "TERM"] {
        let place = folder();
        let out = place.path().join("out");
        let sweep = Program::start(["sweep", SWEEP, "--output", &text(&out), "--cluster", "processes:2"]);
        let workers = loop {
            let workers = children(sweep.id());
            if workers.len() == 2 && workers.iter().all(|worker| cpu_ticks(*worker).is_some_and(|ticks| ticks > 10)) {
                break workers;
            }
        };
        sweep.signal(signal);
        let (code, stdout, stderr) = sweep.end();
        let name = if signal == "INT" { "Ctrl-C" } else { "SIGTERM" };
        let expected =
            format!("error: {name}: the job and its 2 worker processes are ended, and nothing was written\n");
        assert_eq!((code, stdout.as_str(), stderr), (1, "", expected));
        assert!(workers.iter().all(|worker| cpu_ticks(*worker).is_none()), "a worker is left");
        assert_eq!(listing(place.path()), Vec::<String>::new());
    }
}

#[test]
fn a_worker_whose_process_dies_is_started_again_and_none_is_left_when_its_supervisor_dies() {
    let mut cluster = Cluster::start(1);
    let mut worker = cluster.workers.remove(0);
    let mut stderr = worker.stderr();
    let first = worker.worker_process();
    signal(first, "KILL");
    let mut line = String::new();
    stderr.read_line(&mut line).expect("a line");
    let died = "died and is started again: it was ended by signal 9 (SIGKILL)";
    assert!(line.starts_with("worker worker-") && line.contains(died), "{line}");
    let second = worker.worker_process();
    assert_ne!(second, first);
    worker.signal("KILL");
    while cpu_ticks(second).is_some() {
        std::thread::yield_now();
    }
}

#[test]
fn a_worker_that_is_retired_ends_in_good_order_and_is_not_found_again() {
    let cluster = Cluster::start(0);
    let join = |name: &str| {
        let mut worker = Program::start(["worker", &cluster.url, "--threads", "1", "--name", name]);
        assert!(worker.line().starts_with("worker at "));
        worker
    };
    let workers = ["left", "right"].map(join);
    let retire = |name: &str| run(["cluster", "retire", &cluster.url, name, "--grace", "30"]);
    assert_eq!(succeed(["cluster", "published", &cluster.url]), "");
    let (code, stdout, stderr) = retire("left");
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.starts_with("worker-") && stdout.ends_with(" (left) is gone; only it held nothing\n"), "{stdout}");
    let [left, _right] = workers;
    assert_eq!(left.end(), (0, String::new(), String::new()));
    let (code, stdout, stderr) = retire("left");
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.starts_with("error: ") && stderr.contains("\"left\"") && stderr.contains("right"), "{stderr}");
    let (_, stdout, _) = run(["cluster", "retire", "--help"]);
    assert!(stdout.contains("phalanx cluster retire tcp://head:8786 left right --grace 600"), "{stdout}");
    cluster.scheduler.signal("TERM");
    cluster.scheduler.end();
}

#[test]
fn a_scheduler_and_a_worker_end_in_good_order_when_they_are_asked_to() {
    let mut cluster = Cluster::start(1);
    let worker = cluster.workers.remove(0);
    worker.signal("INT");
    let (code, stdout, stderr) = worker.end();
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, "", "Ctrl-C: the worker ends\n"));
    cluster.scheduler.signal("TERM");
    let (code, stdout, stderr) = cluster.scheduler.end();
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, "", "SIGTERM: the scheduler ends\n"));
}

/// Sends bytes that are no messages to a port, each time on a new connection.
fn knock(url: &str) {
    let address = url.strip_prefix("tcp://").expect("an address");
    // A simple generator: the same bytes in every run.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for knock in 0..200_usize {
        let mut bytes = Vec::new();
        for _ in 0..knock * 3 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.push((state >> 56) as u8);
        }
        // Every fourth claims to be longer than any memory.
        if knock % 4 == 0 {
            bytes.splice(0..0, [0xFF; 16]);
        }
        let mut stranger = TcpStream::connect(address).expect("the scheduler listens");
        // It may hang up on us at the first byte.
        let _ = stranger.write_all(&bytes);
    }
}
