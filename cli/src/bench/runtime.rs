//! `phalanx bench runtime`: what a task costs, what a round trip costs, and whole graphs, peers beside them.

mod measure;
mod sockets;

use std::{path::PathBuf, thread, time::Duration};

use serde_json::json;

use super::{
    memory,
    peers::{self, Outcome, Peer, Work},
    report::{Report, Row, Unit},
    shapes::{self, Shape},
};
use crate::{Error, Result, args::BenchArguments, output::Screen, signals};

/// The median of so many measurements counts.
const REPEAT: usize = 3;
/// Simulated workers, where a row does not say otherwise.
const ZERO_WORKERS: usize = 10;
/// Worker processes, of one thread each.
const N_PROCESSES: usize = 2;
/// Round trips, one after the other.
const N_TRIPS: usize = 1_000;

/// One row to measure.
#[derive(Debug, Clone, PartialEq)]
enum Plan {
    /// Tasks that nobody runs, through one scheduler process.
    Zero {
        n_tasks: usize,
        n_workers: usize,
    },
    /// What a task that waits takes of the scheduler's memory.
    Waiting {
        n_tasks: usize,
    },
    /// Describing and submitting, until the first task is done.
    Submit {
        n_tasks: usize,
    },
    LocalTasks {
        n_tasks: usize,
    },
    /// Two threads that wake each other: what a local round trip is held against.
    HandOff,
    LocalTrip,
    /// A bare socket: what a round trip over TCP is held against.
    Echo,
    TcpTrip,
    ProcessTasks {
        n_tasks: usize,
    },
    /// An array from one worker process to another.
    Payload {
        n_bytes: usize,
    },
    /// A graph on worker processes, as an overhead or as a whole.
    Graph {
        shape: Shape,
        unit: Unit,
    },
}

impl Plan {
    /// All rows, in their order.
    fn all(quick: bool) -> Vec<Self> {
        let overhead = |shape: Shape, divisor: u32| Self::Graph {
            shape: shape.smaller(divisor),
            unit: Unit::OverheadMicroseconds,
        };
        let whole = |shape: Shape, divisor: u32| Self::Graph { shape: shape.smaller(divisor), unit: Unit::Seconds };
        // Bodies that would take minutes for every peer are made shorter: what is beside them stays.
        let divisor = if quick { 20 } else { 1 };
        let mut all = vec![
            Self::Zero { n_tasks: 10_000, n_workers: ZERO_WORKERS },
            Self::Zero { n_tasks: 100_000, n_workers: ZERO_WORKERS },
            Self::Zero { n_tasks: 1_000_000, n_workers: ZERO_WORKERS },
        ];
        if !quick {
            all.push(Self::Zero { n_tasks: 10_000_000, n_workers: ZERO_WORKERS });
        }
        let n_tasks = if quick { 100_000 } else { 1_000_000 };
        all.extend([1, 100, 1_000].map(|n_workers| Self::Zero { n_tasks, n_workers }));
        all.extend([
            Self::Waiting { n_tasks: 1_000_000 },
            Self::Submit { n_tasks: 1_000_000 },
            Self::LocalTasks { n_tasks: 1_000_000 },
            Self::HandOff,
            Self::LocalTrip,
            Self::Echo,
            Self::TcpTrip,
            Self::ProcessTasks { n_tasks: 100_000 },
            Self::Payload { n_bytes: if quick { 256 << 20 } else { 1 << 30 } },
            overhead(shapes::merge(100_000), 1),
            overhead(shapes::tree(15), 1),
            overhead(shapes::bag(100), 100),
            whole(shapes::numpy(10), divisor),
            whole(shapes::numpy(50), divisor),
            whole(shapes::numpy(100), divisor),
            whole(shapes::numpy(200), divisor),
            whole(shapes::xarray(5), 1),
            whole(shapes::xarray(25), 1),
        ]);
        all
    }

    fn name(&self) -> String {
        match self {
            Self::Zero { n_tasks, n_workers: ZERO_WORKERS } => format!("zero workers {n_tasks} tasks"),
            Self::Zero { n_tasks, n_workers } => format!("zero workers {n_tasks} tasks, {n_workers} workers"),
            Self::Waiting { n_tasks } => format!("memory of {n_tasks} waiting tasks"),
            Self::Submit { n_tasks } => format!("submit {n_tasks} tasks"),
            Self::LocalTasks { n_tasks } => format!("local {n_tasks} tasks"),
            Self::HandOff => "hand-off".into(),
            Self::LocalTrip => "local round trip".into(),
            Self::Echo => "tcp echo".into(),
            Self::TcpTrip => "tcp round trip".into(),
            Self::ProcessTasks { n_tasks } => format!("processes:{N_PROCESSES} {n_tasks} tasks"),
            Self::Payload { .. } => "payload".into(),
            Self::Graph { shape, .. } => shape.name.clone(),
        }
    }

    const fn unit(&self) -> Unit {
        match self {
            Self::Zero { .. } | Self::LocalTasks { .. } | Self::ProcessTasks { .. } => Unit::TasksPerSecond,
            Self::Waiting { .. } => Unit::BytesPerTask,
            Self::Submit { .. } => Unit::Seconds,
            Self::HandOff | Self::LocalTrip | Self::Echo | Self::TcpTrip => Unit::Microseconds,
            Self::Payload { .. } => Unit::GigabytesPerSecond,
            Self::Graph { unit, .. } => *unit,
        }
    }

    /// How many things a measurement has, which its unit divides by.
    fn n(&self) -> usize {
        match self {
            Self::Zero { n_tasks, .. }
            | Self::Waiting { n_tasks }
            | Self::Submit { n_tasks }
            | Self::LocalTasks { n_tasks }
            | Self::ProcessTasks { n_tasks } => *n_tasks,
            Self::HandOff | Self::LocalTrip | Self::Echo | Self::TcpTrip => N_TRIPS,
            Self::Payload { n_bytes } => *n_bytes,
            Self::Graph { shape, .. } => shape.n_tasks(),
        }
    }

    /// What a peer is told to do; none where it has nothing of the kind.
    fn peer_row(&self, peer: Peer) -> Result<&'static str, &'static str> {
        let name = match self {
            Self::LocalTasks { .. } => "local-tasks",
            Self::LocalTrip => "local-trip",
            Self::TcpTrip => "tcp-trip",
            Self::ProcessTasks { .. } => "processes-tasks",
            Self::Payload { .. } => "processes-payload",
            Self::Graph { .. } => "processes-graph",
            Self::Zero { .. } | Self::Waiting { .. } => return Err("it has no workers that only answer"),
            Self::Submit { .. } | Self::HandOff | Self::Echo => return Err("nothing of its own to measure"),
        };
        match peer {
            Peer::Ray if name.starts_with("local") => Err("its workers are always processes"),
            Peer::Ray if name.ends_with("payload") => Err("its processes on one machine share one store"),
            _ => Ok(name),
        }
    }
}

/// Measures all rows and prints them.
pub(crate) fn runtime(arguments: &BenchArguments, screen: &Screen) -> Result<()> {
    if cfg!(debug_assertions) && !arguments.json {
        screen.say("this is a debug build; its figures say nothing about a release build");
    }
    let plans = chosen(arguments)?;
    let none = || Err("no Python was given; name one that has it with --peers PYTHON".to_owned());
    let versions = Peer::ALL
        .map(|peer| (peer, arguments.peers.as_deref().map_or_else(none, |python| peers::version(python, peer))));
    let bench = Bench {
        n_threads: thread::available_parallelism().map_or(1, usize::from),
        python: arguments.peers.clone(),
        peers: versions.iter().filter(|(_, version)| version.is_ok()).map(|(peer, _)| *peer).collect(),
        limit: Duration::from_secs(if arguments.quick { 20 } else { 60 }),
        repeat: if arguments.quick { 1 } else { REPEAT },
    };
    let mut report = Report { peers: versions.map(|(peer, version)| (peer.name(), version)).into(), rows: Vec::new() };
    let runtime = signals::single_threaded()?;
    let progress = screen.progress("bench runtime", plans.len() as u64);
    let signal = runtime.block_on(async { signals::listen() })?;
    let measured = async {
        for plan in &plans {
            let row = bench.row(plan, &report).await?;
            report.rows.push(row);
            progress.set(report.rows.len() as u64, plans.len() as u64);
        }
        Ok(())
    };
    runtime.block_on(async {
        tokio::select! {
            measured = measured => measured,
            signal = signal => Err(Error::Interrupted { message: format!("{signal}: the bench is ended") }),
        }
    })?;
    drop(progress);
    if arguments.json { screen.print_json(&report.to_json()) } else { screen.print(report.to_text()) }
}

/// The rows that are asked for.
fn chosen(arguments: &BenchArguments) -> Result<Vec<Plan>> {
    let all = Plan::all(arguments.quick);
    if arguments.only.is_empty() {
        return Ok(all);
    }
    let names = |plans: &[Plan]| plans.iter().map(Plan::name).collect::<Vec<_>>().join(", ");
    for text in &arguments.only {
        if !all.iter().any(|plan| plan.name().contains(text.as_str())) {
            return Err(Error::usage(format!("no row's name contains {text:?}; the rows are {}", names(&all))));
        }
    }
    Ok(all.into_iter().filter(|plan| arguments.only.iter().any(|text| plan.name().contains(text.as_str()))).collect())
}

/// How to measure.
struct Bench {
    n_threads: usize,
    python: Option<PathBuf>,
    /// Those that are there.
    peers: Vec<Peer>,
    /// When a peer is stopped.
    limit: Duration,
    repeat: usize,
}

impl Bench {
    async fn row(&self, plan: &Plan, before: &Report) -> Result<Row> {
        memory::reset();
        let measured = measure::row(plan, self.n_threads, self.repeat).await?;
        let peak_rss_mb = memory::peak_mb();
        let mut row = Row {
            name: plan.name(),
            unit: plan.unit(),
            n: plan.n(),
            seconds: measured.seconds,
            ideal: if let Plan::Graph { shape, .. } = plan { shape.ideal(N_PROCESSES) } else { 0. },
            peers: Vec::new(),
            peak_rss_mb,
            limit: measured.limit,
        };
        let value_of = |name: &str| before.rows.iter().find(|row| row.name == name).map(Row::value);
        let beside = match plan {
            Plan::TcpTrip => value_of("tcp echo").map(|echo| (row.value() / echo, "bare echoes")),
            Plan::LocalTrip => value_of("hand-off").map(|hand| (row.value() / hand, "bare hand-offs there and back")),
            _ => None,
        };
        if let Some((times, what)) = beside {
            row.limit = format!("{times:.1} {what}: {}", row.limit);
        }
        for peer in &self.peers {
            let outcome = match (plan.peer_row(*peer), &self.python) {
                (Ok(name), Some(python)) => {
                    let n_threads = if matches!(plan, Plan::LocalTasks { .. } | Plan::LocalTrip) {
                        self.n_threads
                    } else {
                        N_PROCESSES
                    };
                    let graph = if let Plan::Graph { shape, .. } = plan {
                        Some(json!({
                            "spin": shape.spin.as_secs_f64(), "n_bytes": shape.n_bytes, "inputs": shape.inputs,
                        }))
                    } else {
                        None
                    };
                    peers::run(python, *peer, &Work { row: name, n: plan.n(), n_threads, graph }, self.limit)?
                }
                (Err(why), _) => Outcome::Missing(why.into()),
                (_, None) => continue,
            };
            row.peers.push((peer.name(), outcome));
        }
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_name_of_its_own() {
        for quick in [true, false] {
            let names: Vec<String> = Plan::all(quick).iter().map(Plan::name).collect();
            let mut unique = names.clone();
            unique.sort();
            unique.dedup();
            assert_eq!(unique.len(), names.len(), "{names:?}");
        }
    }

    #[test]
    fn a_row_that_is_not_there_is_named_with_those_that_are() {
        let arguments = BenchArguments { quick: true, peers: None, only: vec!["zero wrkers".into()], json: false };
        let error = chosen(&arguments).expect_err("no such row").to_string();
        assert!(error.contains("zero wrkers") && error.contains("tcp echo"), "{error}");
        let arguments = BenchArguments { only: vec!["tcp".into()], ..arguments };
        assert_eq!(chosen(&arguments).expect("rows"), [Plan::Echo, Plan::TcpTrip]);
    }
}
