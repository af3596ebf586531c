//! `phalanx bench runtime`: what a task costs, and what a round trip costs.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use phalanx_engine::{graph::Delayed, task};
use phalanx_runtime::{Client, LocalCluster, LocalOptions};

use super::{
    memory,
    peers::{self, Outcome},
    report::{Report, Row, Unit},
};
use crate::{Error, Result, args::BenchArguments, error::io_reason, output::Screen, signals};

/// Independent tasks of the first rows.
const N_TASKS: usize = 100_000;
/// Leaves of the tree, a task each; one less task adds them up.
const N_LEAVES: usize = 1 << 15;
/// Round trips, one after the other.
const N_TRIPS: usize = 1_000;
/// The median of so many measurements counts.
const REPEAT: usize = 3;
/// Bytes of an echo: about those of a small submission.
const ECHO: usize = 64;

/// A task that does nothing, so that only its cost is left.
#[task(name = "bench.nothing")]
fn nothing(i: u64) -> u64 {
    i
}

/// A leaf of the tree.
#[task(name = "bench.leaf")]
fn leaf(i: u64) -> f64 {
    i as f64
}

/// A node of the tree.
#[task(name = "bench.add")]
fn add(a: f64, b: f64) -> f64 {
    a + b
}

/// Measures all rows and prints them.
pub(crate) fn runtime(arguments: &BenchArguments, screen: &Screen) -> Result<()> {
    if cfg!(debug_assertions) && !arguments.json {
        screen.say("this is a debug build; its figures say nothing about a release build");
    }
    let version = match &arguments.peers {
        None => Err("no Python was given; name one that has it with --peers PYTHON".to_owned()),
        Some(python) => peers::dask_version(python),
    };
    let bench = Bench {
        n_threads: thread::available_parallelism().map_or(1, usize::from),
        python: arguments.peers.clone().filter(|_| version.is_ok()),
        why_missing: version.clone().err().unwrap_or_default(),
        limit: Duration::from_secs(if arguments.quick { 20 } else { 60 }),
        repeat: if arguments.quick { 1 } else { REPEAT },
    };
    let mut report = Report { peers: vec![("dask", version)], rows: Vec::new() };
    let runtime = signals::single_threaded()?;
    let progress = screen.progress("bench runtime", 7);
    let signal = runtime.block_on(async { signals::listen() })?;
    let measured = async {
        bench.local(&mut report, &progress).await?;
        bench.processes(&mut report, &progress).await?;
        bench.tcp(&mut report, &progress).await
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

/// How to measure.
struct Bench {
    n_threads: usize,
    python: Option<std::path::PathBuf>,
    why_missing: String,
    /// When a peer is stopped.
    limit: Duration,
    repeat: usize,
}

impl Bench {
    async fn local(&self, report: &mut Report, progress: &crate::output::Progress) -> Result<()> {
        let options = LocalOptions { n_threads: Some(self.n_threads), ..LocalOptions::default() };
        let client = Client::local_with(options).await.map_err(Error::failed)?;
        memory::reset();
        let seconds = self.median(async || tasks(&client).await).await?;
        let limit =
            format!("{}: describing, deciding and answering share the cores with the tasks", each(seconds, N_TASKS));
        self.push(
            report,
            format!("local {N_TASKS} tasks"),
            Unit::TasksPerSecond,
            N_TASKS,
            seconds,
            "local-tasks",
            limit,
        )?;
        progress.set(1, 7);
        memory::reset();
        let seconds = self.median(async || tree(&client).await).await?;
        let limit = format!("{}: each addition waits for two others", each(seconds, 2 * N_LEAVES - 1));
        self.push(
            report,
            "local tree-15".to_owned(),
            Unit::TasksPerSecond,
            2 * N_LEAVES - 1,
            seconds,
            "local-tree",
            limit,
        )?;
        progress.set(2, 7);
        memory::reset();
        let seconds = self.median(async || trips(&client).await).await?;
        let limit = "two threads wake each other for every task".to_owned();
        self.push(report, "local round trip".to_owned(), Unit::Microseconds, N_TRIPS, seconds, "local-trip", limit)?;
        progress.set(3, 7);
        Ok(())
    }

    async fn processes(&self, report: &mut Report, progress: &crate::output::Progress) -> Result<()> {
        let cluster = LocalCluster::processes(2).map_err(Error::failed)?;
        let client = cluster.client().await.map_err(Error::failed)?;
        memory::reset();
        let seconds = self.median(async || tasks(&client).await).await?;
        let limit =
            format!("{}: messages are written and read on the cores that run the tasks", each(seconds, N_TASKS));
        let name = format!("processes:2 {N_TASKS} tasks");
        self.push(report, name, Unit::TasksPerSecond, N_TASKS, seconds, "processes-tasks", limit)?;
        progress.set(4, 7);
        memory::reset();
        let seconds = self.median(async || tree(&client).await).await?;
        let limit =
            format!("{}: results that meet in an addition may lie in two processes", each(seconds, 2 * N_LEAVES - 1));
        let name = "processes:2 tree-15".to_owned();
        self.push(report, name, Unit::TasksPerSecond, 2 * N_LEAVES - 1, seconds, "processes-tree", limit)?;
        progress.set(5, 7);
        Ok(())
    }

    /// Round trips through a scheduler and a worker that are programs of their own, beside the bare socket.
    async fn tcp(&self, report: &mut Report, progress: &crate::output::Progress) -> Result<()> {
        let cannot = |error: std::io::Error| Error::failed(format!("cannot measure TCP: {}", io_reason(&error)));
        let echo = self.median(async || echo().map_err(cannot)).await?;
        let limit = format!("the system: {ECHO} bytes there and back between two threads");
        let (name, unit) = ("tcp echo".to_owned(), Unit::Microseconds);
        report.rows.push(Row { name, unit, n: N_TRIPS, seconds: echo, peers: Vec::new(), peak_rss_mb: None, limit });
        progress.set(6, 7);
        let scheduler = Program::start(&["scheduler", "--listen", "127.0.0.1:0"])?;
        let _worker = Program::start(&["worker", &scheduler.address, "--threads", "1"])?;
        let client = Client::connect(&scheduler.address).await.map_err(Error::failed)?;
        client.wait_for_workers(1, Duration::from_secs(10)).await.map_err(Error::failed)?;
        memory::reset();
        let seconds = self.median(async || trips(&client).await).await?;
        let limit = format!("{:.1} bare echoes: client, scheduler and worker each wake for every task", seconds / echo);
        self.push(report, "tcp round trip".to_owned(), Unit::Microseconds, N_TRIPS, seconds, "tcp-trip", limit)?;
        progress.set(7, 7);
        Ok(())
    }

    /// Adds a row of ours and measures the peer's beside it.
    #[expect(clippy::too_many_arguments, reason = "a row has so many parts, and this is where they meet")]
    fn push(
        &self,
        report: &mut Report,
        name: String,
        unit: Unit,
        n: usize,
        seconds: f64,
        peer_row: &str,
        limit: String,
    ) -> Result<()> {
        let peak_rss_mb = memory::peak_mb();
        let n_threads = if peer_row.starts_with("local") { self.n_threads } else { 2 };
        // A tree is described by its leaves.
        let size = if peer_row.ends_with("tree") { N_LEAVES } else { n };
        let outcome = match &self.python {
            Some(python) => peers::run_dask(python, peer_row, size, n_threads, self.limit)?,
            None => Outcome::Missing(self.why_missing.clone()),
        };
        report.rows.push(Row { name, unit, n, seconds, peers: vec![("dask", outcome)], peak_rss_mb, limit });
        Ok(())
    }

    /// The median time of some measurements, after one that does not count.
    async fn median(&self, measure: impl AsyncFn() -> Result<f64>) -> Result<f64> {
        measure().await?;
        let mut times = Vec::new();
        for _ in 0..self.repeat {
            times.push(measure().await?);
        }
        times.sort_by(f64::total_cmp);
        Ok(times[times.len() / 2])
    }
}

/// Seconds for independent tasks: described, run, and their results brought home.
async fn tasks(client: &Client) -> Result<f64> {
    let start = Instant::now();
    let calls: Vec<Delayed<u64>> = (0..N_TASKS as u64).map(nothing::delayed).collect();
    let sum: u64 = client.compute(&calls).await.map_err(Error::failed)?.into_iter().sum();
    let seconds = start.elapsed().as_secs_f64();
    expect(sum == (N_TASKS as u64 - 1) * N_TASKS as u64 / 2)?;
    Ok(seconds)
}

/// Seconds for a binary tree.
async fn tree(client: &Client) -> Result<f64> {
    let start = Instant::now();
    let mut level: Vec<Delayed<f64>> = (0..N_LEAVES as u64).map(leaf::delayed).collect();
    while level.len() > 1 {
        level = level.chunks(2).map(|pair| add::delayed(&pair[0], &pair[1])).collect();
    }
    let sum = client.compute(&level[0]).await.map_err(Error::failed)?;
    let seconds = start.elapsed().as_secs_f64();
    expect(sum == (N_LEAVES as f64 - 1.) * N_LEAVES as f64 / 2.)?;
    Ok(seconds)
}

/// Seconds for round trips: submitted, awaited, one after the other.
async fn trips(client: &Client) -> Result<f64> {
    let start = Instant::now();
    for i in 0..N_TRIPS as u64 {
        let answer = client.submit(&nothing::delayed(i)).await.map_err(Error::failed)?;
        expect(answer == i)?;
    }
    Ok(start.elapsed().as_secs_f64())
}

/// Seconds for round trips over a bare loopback socket.
fn echo() -> std::io::Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let mut bytes = [0; ECHO];
        while stream.read_exact(&mut bytes).is_ok() {
            stream.write_all(&bytes)?;
        }
        Ok(())
    });
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut bytes = [7; ECHO];
    let start = Instant::now();
    for _ in 0..N_TRIPS {
        stream.write_all(&bytes)?;
        stream.read_exact(&mut bytes)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    drop(stream);
    server.join().map_err(|_| std::io::Error::other("the echo server panicked"))??;
    Ok(seconds)
}

fn each(seconds: f64, n: usize) -> String {
    format!("{:.2} us a task", seconds / n as f64 * 1e6)
}

fn expect(right: bool) -> Result<()> {
    if right { Ok(()) } else { Err(Error::failed("a task gave a wrong result; this is a bug in phalanx, report it")) }
}

/// A command of this same program that runs beside it; dropping it ends it.
struct Program {
    child: Child,
    /// What it printed when it was ready.
    address: String,
}

impl Program {
    fn start(args: &[&str]) -> Result<Self> {
        let failed = |reason: String| Error::failed(format!("cannot start `phalanx {}`: {reason}", args.join(" ")));
        let program = std::env::current_exe().map_err(|error| failed(io_reason(&error)))?;
        let child = Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut this = Self { child: child.map_err(|error| failed(io_reason(&error)))?, address: String::new() };
        let mut line = String::new();
        if let Some(stdout) = this.child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(|error| failed(io_reason(&error)))?;
        }
        let address = line.split_whitespace().find(|word| word.starts_with("tcp://"));
        this.address = address.ok_or_else(|| failed(format!("it says {:?}", line.trim())))?.to_owned();
        Ok(this)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
