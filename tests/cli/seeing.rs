//! What people and programs can see of a cluster: timelines, tables, dumps and metrics of real programs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
};

use serde_json::Value;

use crate::support::{Cluster, Program, folder, listing, run, signal, succeed, text};

const SWEEP: &str = "examples/bikeshare.yaml";

#[test]
fn a_sweep_writes_its_timeline() {
    let place = folder();
    let out = text(&place.path().join("out"));
    let trace = place.path().join("trace.json");
    for cluster in ["local:2", "processes:2"] {
        succeed(["sweep", SWEEP, "--output", &out, "--cluster", cluster, "--trace", &text(&trace)]);
        let slices = check_trace(&trace);
        let functions: BTreeSet<&str> = slices.iter().filter_map(|slice| slice["name"].as_str()).collect();
        assert!(functions.contains("search.fit_and_score"), "{functions:?}");
        let workers: BTreeSet<u64> = slices.iter().filter_map(|slice| slice["pid"].as_u64()).collect();
        assert_eq!(workers.len(), if cluster == "local:2" { 1 } else { 2 });
    }
    assert_eq!(listing(place.path()), ["out", "trace.json"]);
}

#[test]
fn a_timeline_shows_the_worker_that_was_lost() {
    let place = folder();
    let (out, trace) = (text(&place.path().join("out")), place.path().join("trace.json"));
    let mut cluster = Cluster::start(2);
    let args = ["sweep", SWEEP, "--output", &out, "--cluster", &cluster.url, "--trace", &text(&trace)];
    let sweep = Program::start(args);
    cluster.workers[0].wait_until_busy();
    cluster.workers[0].signal("KILL");
    let (code, _, stderr) = sweep.end();
    assert_eq!((code, stderr.as_str()), (0, ""));
    check_trace(&trace);
    let gone = events(&trace).into_iter().filter(|event| event["ph"] == "i" && event["s"] == "g").count();
    assert_eq!(gone, 1);
}

#[test]
fn a_timeline_that_cannot_be_written_is_said_before_any_work() {
    let place = folder();
    let (code, stdout, stderr) = run(["sweep", SWEEP, "--trace", &text(&place.path().join("no/trace.json"))]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.starts_with("error: there is no folder "), "{stderr}");
}

#[test]
fn a_cluster_shows_who_is_there_and_everything_it_knows() {
    let place = folder();
    let cluster = Cluster::start(1);
    let out = text(&place.path().join("out"));
    succeed(["sweep", SWEEP, "--output", &out, "--cluster", &cluster.url]);
    let table = succeed(["cluster", "info", &cluster.url]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("worker ") && lines[0].contains(" threads  running "), "{table}");
    assert!(lines[2].starts_with("worker-") && lines[2].contains("tcp://127.0.0.1:"), "{table}");
    assert!(lines[4].starts_with("1 worker, 0 clients beside this one; "), "{table}");
    let info: Value = serde_json::from_str(&succeed(["cluster", "info", &cluster.url, "--json"])).expect("JSON");
    assert_eq!(info["workers"][0]["threads"], 1);
    assert!(info["counters"]["finished"].as_u64().is_some_and(|n| n > 32), "{info}");

    let file = place.path().join("dump.json");
    let said = succeed(["cluster", "dump", &cluster.url, "--output", &text(&file)]);
    assert!(said.contains(" written to "), "{said}");
    let dump: Value = serde_json::from_str(&fs::read_to_string(&file).expect("a file")).expect("JSON");
    assert_eq!(dump["workers"][0]["id"], "worker-0");
    assert_eq!(dump["config"]["history"], "100000");
    let steps = dump["last_steps"].as_array().expect("steps");
    let finished = steps.iter().filter(|step| step["step"] == "Finished").count();
    assert_eq!(Some(finished as u64), info["counters"]["finished"].as_u64());
    assert_eq!(dump["left_out"], Value::Array(Vec::new()));

    let task = steps[0]["task"].as_str().expect("a task");
    let story = succeed(["cluster", "story", &cluster.url, task]);
    assert!(story.starts_with(&format!("{task} ")) && story.contains(" s ago  attempt 0 sent to worker-"), "{story}");
    let (code, stdout, stderr) = run(["cluster", "story", &cluster.url, "17"]);
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.contains("like task-0.17"), "{stderr}");

    // A dump that cannot be made leaves what was there.
    let before = fs::read(&file).expect("a file");
    cluster.scheduler.signal("KILL");
    let (code, ..) = cluster.scheduler.end();
    assert_eq!(code, -1);
    let (code, stdout, stderr) = run(["cluster", "dump", &cluster.url, "--output", &text(&file)]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("no scheduler answers at"), "{stderr}");
    assert!(fs::read(&file).expect("a file") == before);
    assert_eq!(listing(place.path()), ["dump.json", "out"]);
}

#[test]
fn metrics_are_what_prometheus_reads() {
    let place = folder();
    let mut scheduler = Program::start(["scheduler", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]);
    let url = scheduler.line().strip_prefix("scheduler at ").expect("an address").to_owned();
    let page = scheduler.line().strip_prefix("metrics at ").expect("an address").to_owned();
    let mut worker = Program::start(["worker", &url, "--threads", "1", "--metrics", "127.0.0.1:0"]);
    assert!(worker.line().starts_with("worker at "));
    let worker_page = worker.line().strip_prefix("metrics at ").expect("an address").to_owned();
    succeed(["sweep", SWEEP, "--output", &text(&place.path().join("out")), "--cluster", &url]);

    let samples = scrape(&page);
    let total =
        |name: &str| samples.iter().filter(|(key, _)| key.starts_with(name)).map(|(_, value)| value).sum::<f64>();
    assert_eq!(samples["phalanx_scheduler_workers"], 1.);
    assert!(samples["phalanx_scheduler_tasks_finished_total"] > 32.);
    assert_eq!(total("phalanx_scheduler_function_runs_total{"), samples["phalanx_scheduler_tasks_finished_total"]);
    assert!(total("phalanx_scheduler_function_seconds_total{") > 0.);
    assert_eq!(samples["phalanx_scheduler_attempts_failed_total"], 0.);
    assert!(total("phalanx_scheduler_messages_total{") > 64.);
    assert!(samples["phalanx_scheduler_longest_turn_seconds"] > 0.);
    let on_worker = scrape(&worker_page);
    assert_eq!(on_worker["phalanx_worker_runs_total"], samples["phalanx_scheduler_tasks_finished_total"]);

    let answer = get(&page.replace("/metrics", "/"));
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    let (code, _, stderr) = run(["scheduler", "--listen", "127.0.0.1:0", "--metrics", "nowhere.invalid:1"]);
    assert_eq!(code, 1);
    assert!(stderr.starts_with("error: cannot listen on http://nowhere.invalid:1: "), "{stderr}");
    // A port alone is on loopback.
    let mut other = Program::start(["scheduler", "--listen", "127.0.0.1:0", "--metrics", "0"]);
    assert!(other.line().starts_with("scheduler at "));
    assert!(other.line().starts_with("metrics at http://127.0.0.1:"));
}

#[test]
fn a_worker_that_is_started_again_shows_that() {
    let mut scheduler = Program::start(["scheduler", "--listen", "127.0.0.1:0", "--metrics", "0"]);
    let url = scheduler.line().strip_prefix("scheduler at ").expect("an address").to_owned();
    let page = scheduler.line().strip_prefix("metrics at ").expect("an address").to_owned();
    let mut worker = Program::start(["worker", &url, "--threads", "1", "--name", "left", "--metrics", "0"]);
    assert!(worker.line().starts_with("worker at "));
    let worker_page = worker.line().strip_prefix("metrics at ").expect("an address").to_owned();
    assert_eq!(scrape(&worker_page)["phalanx_worker_restarts_total"], 0.);
    signal(worker.worker_process(), "KILL");
    // The page is at its place again as soon as the worker is.
    loop {
        let is_again =
            try_get(&worker_page).is_some_and(|answer| answer.contains("\nphalanx_worker_restarts_total 1\n"));
        let samples = scrape(&page);
        if is_again && samples["phalanx_scheduler_workers_died_total"] == 1. {
            assert_eq!(samples["phalanx_scheduler_workers_joined_total"], 2.);
            assert_eq!(samples["phalanx_scheduler_workers_left_total"], 1.);
            assert_eq!(samples["phalanx_scheduler_workers"], 1.);
            break;
        }
        std::thread::yield_now();
    }
}

/// The events of a trace.
fn events(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("a trace");
    serde_json::from_str::<Vec<Value>>(&text).expect("a JSON array")
}

/// Checks what must be true of every trace, and gives the slices of tasks.
fn check_trace(path: &Path) -> Vec<Value> {
    let events = events(path);
    let mut lanes: BTreeMap<(u64, u64), Vec<(f64, f64)>> = BTreeMap::new();
    let mut finished = BTreeSet::new();
    let mut slices = Vec::new();
    let mut named = BTreeSet::new();
    for event in events {
        let lane = (event["pid"].as_u64().expect("a process"), event["tid"].as_u64().expect("a thread"));
        match event["ph"].as_str() {
            Some("M") => {
                named.insert((event["name"].to_string(), lane));
            }
            Some("X") => {
                let (start, duration) = (event["ts"].as_f64().expect("a time"), event["dur"].as_f64().expect("one"));
                assert!(start >= 0. && duration >= 0., "{event}");
                lanes.entry(lane).or_default().push((start, start + duration));
                if event["cat"] == "task" {
                    let args = &event["args"];
                    if args["outcome"].is_null() {
                        let run = (args["task"].to_string(), args["attempt"].to_string());
                        assert!(finished.insert(run), "{event} is there twice");
                        assert!(args["bytes"].is_u64(), "{event}");
                    }
                    slices.push(event);
                }
            }
            Some("i") => {}
            other => panic!("{other:?} in {event}"),
        }
    }
    for (lane, slices) in &mut lanes {
        slices.sort_by(|a, b| a.0.total_cmp(&b.0));
        // Times are written in microseconds, so that a nanosecond is their last digit.
        assert!(slices.windows(2).all(|pair| pair[0].1 <= pair[1].0 + 0.001), "slices overlap in {lane:?}: {slices:?}");
        assert!(named.contains(&("\"thread_name\"".to_owned(), *lane)), "{lane:?} has no name");
    }
    assert!(finished.len() > 32, "{} finished", finished.len());
    slices
}

fn get(url: &str) -> String {
    try_get(url).expect("it listens and answers")
}

fn try_get(url: &str) -> Option<String> {
    let (host, path) = url.strip_prefix("http://").and_then(|url| url.split_once('/')).expect("a URL");
    let mut stream = TcpStream::connect(host).ok()?;
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// All samples of a page, each line read by the rules of the exposition format.
fn scrape(url: &str) -> BTreeMap<String, f64> {
    let answer = get(url);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    assert!(head.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert!(body.ends_with('\n'));
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let mut samples = BTreeMap::new();
    let mut family = String::new();
    for line in body.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            assert!(help.split_once(' ').is_some_and(|(name, text)| is_name(name) && !text.is_empty()), "{line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a type");
            assert!(is_name(name) && ["counter", "gauge"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            family = name.to_owned();
        } else {
            let (key, value) = line.rsplit_once(' ').expect("a value");
            let name = key.split_once('{').map_or(key, |(name, labels)| {
                let labels = labels.strip_suffix('}').expect("closed labels");
                for label in labels.split("\",").map(|label| label.trim_end_matches('"')) {
                    let (label, _) = label.split_once("=\"").expect("a label");
                    assert!(is_name(label), "{line}");
                }
                name
            });
            assert_eq!(name, family, "{line} belongs to its family");
            let value: f64 = value.parse().expect("a number");
            assert!(samples.insert(key.to_owned(), value).is_none(), "{line} is there twice");
        }
    }
    samples
}
