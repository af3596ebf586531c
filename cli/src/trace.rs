//! What happens on a cluster as a Chrome trace, which Perfetto and `chrome://tracing` open: a fold of its events.
//!
//! One process a worker, one lane a thread, and lanes of their own for results that travel. A lane's slices never
//! overlap. Pure: it is handed events and hands out lines of JSON, and sees no file.

use std::{collections::BTreeMap, time::Duration};

use phalanx_engine::{
    event::{Event, FetchSpan, Kind, Outcome, RunSpan, Step},
    id::{Attempt, TaskId, WorkerId},
    time::Time,
};
use serde_json::{Value, json};

/// The process of what concerns no worker.
const CLUSTER: u32 = 0;
/// Lanes from here on hold transfers.
const TRANSFERS: u32 = 1_000_000;

/// The trace so far, as much of it as later events need.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// The time of the first event, which the trace shows as 0.
    origin: Option<Time>,
    /// The time of the last event.
    last: Time,
    /// What to add to the times of a scheduler that was restarted, whose clock began anew.
    ahead: Duration,
    workers: BTreeMap<WorkerId, Process>,
}

/// One worker.
#[derive(Debug, Default)]
struct Process {
    /// When the last slice of each thread's lane ends.
    threads: BTreeMap<u32, Time>,
    /// The same of transfers.
    transfers: BTreeMap<u32, Time>,
    /// What runs there: since when.
    running: BTreeMap<(TaskId, Attempt), Time>,
}

impl Trace {
    /// Takes in an event and appends what it adds to the trace.
    pub(crate) fn fold(&mut self, event: &Event, out: &mut Vec<Value>) {
        if event.kind == Kind::SchedulerRestarted && self.origin.is_some() {
            self.begin_anew(event.time, out);
        }
        let now = event.time + self.ahead;
        if self.origin.is_none() {
            out.push(metadata("process_name", CLUSTER, 0, "cluster"));
        }
        let origin = *self.origin.get_or_insert(now);
        self.last = self.last.max(now);
        let at = micros(origin, now);
        match &event.kind {
            Kind::WorkerJoined { worker, name, n_threads } => {
                // Who was there already is told of again.
                if self.workers.contains_key(worker) {
                    return;
                }
                self.workers.insert(*worker, Process::default());
                out.push(metadata("process_name", pid(*worker), 0, &format!("{name} ({worker})")));
                out.push(instant(&format!("{name} joins with {n_threads} threads"), "p", pid(*worker), at));
            }
            Kind::WorkerLeft { worker, name, n_tasks, n_lost } => {
                let mut process = self.workers.remove(worker).unwrap_or_default();
                process.lose(*worker, origin, now, out);
                let mut lost = instant(&format!("{name} is gone"), "g", pid(*worker), at);
                lost["args"] = json!({ "tasks": n_tasks, "results": n_lost });
                out.push(lost);
            }
            Kind::Task { task, step: Step::Started { worker, attempt } } => {
                if let Some(process) = self.workers.get_mut(worker) {
                    process.running.insert((*task, *attempt), now);
                }
            }
            Kind::Ran { worker, run, function } => self.ran(origin, *worker, run, function, out),
            Kind::Fetched { worker, fetch, from } => self.fetched(origin, *worker, fetch, *from, out),
            Kind::AttemptFailed { task, worker, function, error, again, .. } => {
                let again = if *again { ", and is tried again" } else { "" };
                let mut failed = instant(&format!("{function} fails{again}"), "p", pid(*worker), at);
                failed["args"] = json!({ "task": task.to_string(), "error": error });
                out.push(failed);
            }
            Kind::Task { task, step: Step::Straggles } => {
                let mut slow = instant("a task runs so long that another try is begun", "p", CLUSTER, at);
                slow["args"] = json!({ "task": task.to_string() });
                out.push(slow);
            }
            Kind::WorkerDied { worker, name, evidence } => {
                let mut died = instant(&format!("the process of {name} died"), "g", pid(*worker), at);
                died["args"] = json!({ "evidence": evidence });
                out.push(died);
            }
            Kind::WorkerReturned { worker, before } => {
                out.push(instant(&format!("{before} is back as {worker}"), "p", pid(*worker), at));
            }
            Kind::WorkerPaused { worker } => out.push(instant("takes no task: memory", "p", pid(*worker), at)),
            Kind::WorkerResumed { worker } => out.push(instant("takes tasks again", "p", pid(*worker), at)),
            Kind::WorkerRetiring { worker } => out.push(instant("is retired", "p", pid(*worker), at)),
            Kind::Spilled { worker, n_bytes } => {
                let args = json!({ "bytes": n_bytes });
                out.push(
                    json!({ "ph": "C", "name": "on disk", "pid": pid(*worker), "tid": 0, "ts": at, "args": args }),
                );
            }
            Kind::SchedulerRestarted => out.push(instant("the scheduler was restarted", "g", CLUSTER, at)),
            Kind::TaskFailed { task, error } => {
                let mut failed = instant("a task fails for good", "p", CLUSTER, at);
                failed["args"] = json!({ "task": task.to_string(), "error": error });
                out.push(failed);
            }
            Kind::Refused { reason } => {
                let mut refused = instant("a program is refused", "p", CLUSTER, at);
                refused["args"] = json!({ "reason": reason });
                out.push(refused);
            }
            _ => {}
        }
    }

    /// Events are missing here.
    pub(crate) fn dropped(&self, n_events: u64, out: &mut Vec<Value>) {
        let at = self.origin.map_or(0., |origin| micros(origin, self.last));
        out.push(instant(&format!("{n_events} events are missing here"), "g", CLUSTER, at));
    }

    /// Another life of the scheduler begins, whose clock shows `its`: what ran before ends here for the trace.
    fn begin_anew(&mut self, its: Time, out: &mut Vec<Value>) {
        self.ahead = self.last - its;
        let (origin, now) = (self.origin.unwrap_or_default(), self.last);
        for (worker, mut process) in std::mem::take(&mut self.workers) {
            process.lose(worker, origin, now, out);
        }
    }

    fn ran(&mut self, origin: Time, worker: WorkerId, run: &RunSpan, function: &str, out: &mut Vec<Value>) {
        let process = self.workers.entry(worker).or_default();
        process.running.remove(&(run.task, run.attempt));
        let start = (run.start + self.ahead).max(origin);
        let end = (run.start + self.ahead + run.duration).max(start);
        let lane = lane(&mut process.threads, Some(run.thread), start, end, thread_name(worker, out));
        let mut args = json!({ "task": run.task.to_string(), "attempt": run.attempt.0 });
        match run.outcome {
            Outcome::Finished { n_bytes } => args["bytes"] = n_bytes.into(),
            Outcome::Failed => args["outcome"] = "failed".into(),
            Outcome::Cancelled => args["outcome"] = "cancelled".into(),
            _ => {}
        }
        out.push(slice(function, "task", (pid(worker), lane), (origin, start, end), args));
    }

    fn fetched(
        &mut self,
        origin: Time,
        worker: WorkerId,
        fetch: &FetchSpan,
        from: Option<WorkerId>,
        out: &mut Vec<Value>,
    ) {
        let process = self.workers.entry(worker).or_default();
        let start = (fetch.start + self.ahead).max(origin);
        let end = (fetch.start + self.ahead + fetch.duration).max(start);
        let named = |lane: u32| {
            let name = if lane == 0 { "transfers in".to_owned() } else { format!("transfers in {}", lane + 1) };
            out.push(metadata("thread_name", pid(worker), TRANSFERS + lane, &name));
        };
        let lane = TRANSFERS + lane(&mut process.transfers, None, start, end, named);
        let from = from.map_or_else(|| fetch.from.to_string(), |from| from.to_string());
        let name = format!("from {from}");
        let args = json!({ "task": fetch.task.to_string(), "bytes": fetch.n_bytes });
        out.push(slice(&name, "transfer", (pid(worker), lane), (origin, start, end), args));
    }
}

impl Process {
    /// What runs there is not heard of any more.
    fn lose(&mut self, worker: WorkerId, origin: Time, now: Time, out: &mut Vec<Value>) {
        for ((task, attempt), start) in std::mem::take(&mut self.running) {
            let lane = lane(&mut self.threads, None, start, now, thread_name(worker, out));
            let args = json!({ "task": task.to_string(), "attempt": attempt.0, "outcome": "lost with its worker" });
            out.push(slice("(lost)", "task", (pid(worker), lane), (origin, start, now), args));
        }
    }
}

/// Gives a thread's lane its name when it is first used.
fn thread_name(worker: WorkerId, out: &mut Vec<Value>) -> impl FnOnce(u32) {
    move |lane| out.push(metadata("thread_name", pid(worker), lane, &format!("thread {lane}")))
}

/// A lane that is free from `start` on: the wished one if it is, or the first that is. It is taken until `end`; a new
/// one is told to `opened`.
fn lane(lanes: &mut BTreeMap<u32, Time>, wish: Option<u32>, start: Time, end: Time, opened: impl FnOnce(u32)) -> u32 {
    let is_free = |lane: &u32| lanes.get(lane).is_none_or(|until| *until <= start);
    let lane = wish.into_iter().chain(0..TRANSFERS).find(is_free).unwrap_or(TRANSFERS);
    if lanes.insert(lane, end).is_none() {
        opened(lane);
    }
    lane
}

fn pid(worker: WorkerId) -> u32 {
    worker.0.saturating_add(1)
}

fn micros(origin: Time, time: Time) -> f64 {
    (time - origin).as_nanos() as f64 / 1_000.
}

fn metadata(what: &str, pid: u32, tid: u32, name: &str) -> Value {
    json!({ "ph": "M", "name": what, "pid": pid, "tid": tid, "args": { "name": name } })
}

/// Something that takes no time; `scope` is `g` for all, `p` for its process.
fn instant(name: &str, scope: &str, pid: u32, ts: f64) -> Value {
    json!({ "ph": "i", "name": name, "s": scope, "pid": pid, "tid": 0, "ts": ts })
}

fn slice(
    name: &str,
    category: &str,
    (pid, tid): (u32, u32),
    (origin, start, end): (Time, Time, Time),
    args: Value,
) -> Value {
    let (ts, dur) = (micros(origin, start), (end - start).as_nanos() as f64 / 1_000.);
    json!({ "ph": "X", "name": name, "cat": category, "pid": pid, "tid": tid, "ts": ts, "dur": dur, "args": args })
}

#[cfg(test)]
mod tests {
    use phalanx_engine::{id::ClientId, message::Address};

    use super::*;

    const A: WorkerId = WorkerId(0);
    const B: WorkerId = WorkerId(1);

    fn task(sequence: u64) -> TaskId {
        TaskId::new(ClientId(0), sequence)
    }

    fn at(micros: u64, kind: Kind) -> Event {
        Event { time: Time(micros * 1_000), kind }
    }

    fn joined(worker: WorkerId, name: &str) -> Event {
        at(100, Kind::WorkerJoined { worker, name: name.into(), n_threads: 2 })
    }

    fn ran(worker: WorkerId, sequence: u64, thread: u32, start: u64, end: u64) -> Event {
        let run = RunSpan {
            task: task(sequence),
            attempt: Attempt(0),
            thread,
            start: Time(start * 1_000),
            duration: Duration::from_micros(end - start),
            outcome: Outcome::Finished { n_bytes: 8 },
        };
        at(end, Kind::Ran { worker, run, function: "sum".into() })
    }

    fn lines(events: &[Event]) -> Vec<String> {
        let mut trace = Trace::default();
        let mut out = Vec::new();
        events.iter().for_each(|event| trace.fold(event, &mut out));
        out.iter().map(Value::to_string).collect()
    }

    #[test]
    fn a_small_stream_is_this_trace() {
        let fetch = FetchSpan {
            task: task(0),
            from: Address("tcp://a".into()),
            n_bytes: 64,
            start: Time(310_000),
            duration: Duration::from_micros(20),
        };
        let started = Kind::Task { task: task(2), step: Step::Started { worker: B, attempt: Attempt(1) } };
        let lines = lines(&[
            joined(A, "left"),
            joined(B, "right"),
            ran(A, 0, 1, 200, 300),
            at(330, Kind::Fetched { worker: B, fetch, from: Some(A) }),
            ran(B, 1, 0, 330, 350),
            at(360, started),
            at(400, Kind::WorkerLeft { worker: B, name: "right".into(), n_tasks: 1, n_lost: 2 }),
        ]);
        let expected = [
            r#"{"args":{"name":"cluster"},"name":"process_name","ph":"M","pid":0,"tid":0}"#,
            r#"{"args":{"name":"left (worker-0)"},"name":"process_name","ph":"M","pid":1,"tid":0}"#,
            r#"{"name":"left joins with 2 threads","ph":"i","pid":1,"s":"p","tid":0,"ts":0.0}"#,
            r#"{"args":{"name":"right (worker-1)"},"name":"process_name","ph":"M","pid":2,"tid":0}"#,
            r#"{"name":"right joins with 2 threads","ph":"i","pid":2,"s":"p","tid":0,"ts":0.0}"#,
            r#"{"args":{"name":"thread 1"},"name":"thread_name","ph":"M","pid":1,"tid":1}"#,
            r#"{"args":{"attempt":0,"bytes":8,"task":"task-0.0"},"cat":"task","dur":100.0,"name":"sum","ph":"X","pid":1,"tid":1,"ts":100.0}"#,
            r#"{"args":{"name":"transfers in"},"name":"thread_name","ph":"M","pid":2,"tid":1000000}"#,
            r#"{"args":{"bytes":64,"task":"task-0.0"},"cat":"transfer","dur":20.0,"name":"from worker-0","ph":"X","pid":2,"tid":1000000,"ts":210.0}"#,
            r#"{"args":{"name":"thread 0"},"name":"thread_name","ph":"M","pid":2,"tid":0}"#,
            r#"{"args":{"attempt":0,"bytes":8,"task":"task-0.1"},"cat":"task","dur":20.0,"name":"sum","ph":"X","pid":2,"tid":0,"ts":230.0}"#,
            r#"{"args":{"attempt":1,"outcome":"lost with its worker","task":"task-0.2"},"cat":"task","dur":40.0,"name":"(lost)","ph":"X","pid":2,"tid":0,"ts":260.0}"#,
            r#"{"args":{"results":2,"tasks":1},"name":"right is gone","ph":"i","pid":2,"s":"g","tid":0,"ts":300.0}"#,
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn slices_that_would_overlap_go_to_other_lanes() {
        // Clocks and spare threads are no reason to draw one slice across another.
        let lines = lines(&[joined(A, "a"), ran(A, 0, 0, 200, 300), ran(A, 1, 0, 290, 400), ran(A, 2, 0, 300, 310)]);
        let lanes: Vec<u64> = lines
            .iter()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|line| line["ph"] == "X")
            .filter_map(|line| line["tid"].as_u64())
            .collect();
        assert_eq!(lanes, [0, 1, 0]);
    }

    #[test]
    fn a_scheduler_that_goes_on_with_another_clock_goes_on_in_the_trace() {
        let started = Kind::Task { task: task(0), step: Step::Started { worker: A, attempt: Attempt(0) } };
        let again = Kind::WorkerJoined { worker: WorkerId(9), name: "a".into(), n_threads: 2 };
        let lines = lines(&[
            joined(A, "a"),
            at(200, started),
            at(300, Kind::WorkerPaused { worker: A }),
            at(5, Kind::SchedulerRestarted),
            at(6, again),
            ran(WorkerId(9), 1, 0, 10, 20),
        ]);
        // What ran is cut where the old clock ended; the new one goes on from there.
        assert!(lines.iter().any(|line| line.contains(r#""dur":100.0,"name":"(lost)""#)), "{lines:#?}");
        assert!(
            lines
                .iter()
                .any(|line| line.contains(r#""name":"the scheduler was restarted""#) && line.contains(r#""ts":200.0"#))
        );
        assert!(
            lines.last().is_some_and(|line| line.contains(r#""dur":10.0"#) && line.contains(r#""ts":205.0"#)),
            "{lines:#?}"
        );
    }

    #[test]
    fn what_began_before_the_trace_is_cut_at_its_beginning() {
        let lines = lines(&[joined(A, "a"), ran(A, 0, 0, 20, 150)]);
        assert!(lines[4].contains(r#""dur":50.0"#) && lines[4].contains(r#""ts":0.0"#), "{}", lines[4]);
    }
}
