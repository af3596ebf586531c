//! Our own side of the rows.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use phalanx_array::Block;
use phalanx_engine::{graph::Delayed, task};
use phalanx_runtime::{Client, LocalCluster, LocalOptions, ZeroWorkers, blocking};

use super::{N_PROCESSES, N_TRIPS, Plan, memory, sockets};
use crate::{Error, Result, bench::shapes::Shape, error::io_reason};

/// What a row took, and what holds it back.
pub(super) struct Measured {
    pub(super) seconds: f64,
    pub(super) limit: String,
}

/// A task that does nothing, so that only its cost is left.
#[task(name = "bench.nothing")]
fn nothing(i: u64) -> u64 {
    i
}

/// A body of a graph: spins for `spin_ns` and emits `n_bytes`.
#[task(name = "bench.body")]
fn body(spin_ns: u64, n_bytes: u64, inputs: &[Arc<Block>]) -> Block {
    let end = Instant::now() + Duration::from_nanos(spin_ns);
    let _ = inputs;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
    array(n_bytes)
}

/// An array of so many bytes.
#[task(name = "bench.array")]
fn array(n_bytes: u64) -> Block {
    let n = n_bytes.div_ceil(8) as usize;
    Block::new(&[n], vec![0.; n])
}

/// The size of an array that came here.
#[task(name = "bench.size")]
fn size(array: &Block) -> u64 {
    array.len() as u64
}

/// Measures a row: the median of some measurements, after one that does not count.
pub(super) async fn row(plan: &Plan, n_threads: usize, repeat: usize) -> Result<Measured> {
    match plan {
        Plan::Zero { n_tasks, n_workers } => zero(*n_tasks, *n_workers, repeat).await,
        Plan::Waiting { n_tasks } => waiting(*n_tasks).await,
        Plan::Submit { n_tasks } => {
            let client = local(1).await?;
            let seconds = median(repeat, async || submit(&client, *n_tasks).await).await?;
            Ok(Measured { seconds, limit: "one thread lays the graph out, another takes it in".into() })
        }
        Plan::LocalTasks { n_tasks } => {
            let client = local(n_threads).await?;
            let seconds = median(repeat, async || tasks(&client, *n_tasks).await).await?;
            let limit = format!(
                "{}: describing, deciding and answering share the cores with the tasks",
                each(seconds, *n_tasks)
            );
            Ok(Measured { seconds, limit })
        }
        Plan::HandOff => {
            let seconds = median(repeat, async || Ok(typical(sockets::hand_off(N_TRIPS)))).await?;
            Ok(Measured { seconds, limit: "the system: two threads wake each other".into() })
        }
        Plan::LocalTrip => {
            let client = blocking(local(n_threads).await?)?;
            let seconds = median(repeat, async || trips(&client)).await?;
            Ok(Measured { seconds, limit: "client, scheduler and worker wake each other for every task".into() })
        }
        Plan::Echo => {
            let cannot = |error: std::io::Error| Error::failed(format!("cannot measure TCP: {}", io_reason(&error)));
            let seconds = median(repeat, async || sockets::echo(N_TRIPS).map(typical).map_err(cannot)).await?;
            Ok(Measured { seconds, limit: "the system: 64 bytes there and back between two threads".into() })
        }
        Plan::TcpTrip => {
            let scheduler = Program::start(&["scheduler", "--listen", "127.0.0.1:0"])?;
            let _worker = Program::start(&["worker", &scheduler.address, "--threads", "1"])?;
            let client = Client::connect(&scheduler.address).await.map_err(Error::failed)?;
            client.wait_for_workers(1, Duration::from_secs(10)).await.map_err(Error::failed)?;
            let client = blocking(client)?;
            let seconds = median(repeat, async || trips(&client)).await?;
            Ok(Measured { seconds, limit: "client, scheduler and worker each wake for every task".into() })
        }
        Plan::ProcessTasks { n_tasks } => {
            let (_cluster, client) = processes().await?;
            let seconds = median(repeat, async || tasks(&client, *n_tasks).await).await?;
            let limit =
                format!("{}: messages are written and read on the cores that run the tasks", each(seconds, *n_tasks));
            Ok(Measured { seconds, limit })
        }
        Plan::Payload { n_bytes } => {
            let (_cluster, client) = processes().await?;
            let seconds = median(repeat, async || payload(&client, *n_bytes).await).await?;
            Ok(Measured { seconds, limit: "the kernel copies every byte into the socket and out of it".into() })
        }
        Plan::Graph { shape, .. } => {
            let (_cluster, client) = processes().await?;
            let seconds = median(repeat, async || graph(&client, shape).await).await?;
            let limit = format!(
                "{} tasks, {} edges; {seconds:.3} s in all, of which bodies {:.3} s at best",
                shape.n_tasks(),
                shape.n_edges(),
                shape.ideal(N_PROCESSES)
            );
            Ok(Measured { seconds, limit })
        }
    }
}

async fn local(n_threads: usize) -> Result<Client> {
    let options = LocalOptions { n_threads: Some(n_threads), ..LocalOptions::default() };
    Client::local_with(options).await.map_err(Error::failed)
}

async fn processes() -> Result<(LocalCluster, Client)> {
    let options =
        LocalOptions { n_workers: N_PROCESSES, n_threads: Some(1), processes: true, ..LocalOptions::default() };
    let cluster = LocalCluster::start(options).map_err(Error::failed)?;
    let client = cluster.client().await.map_err(Error::failed)?;
    Ok((cluster, client))
}

async fn zero(n_tasks: usize, n_workers: usize, repeat: usize) -> Result<Measured> {
    let scheduler = Program::start(&["scheduler", "--listen", "127.0.0.1:0"])?;
    let mut zero = ZeroWorkers::join(&scheduler.address, n_workers).await.map_err(Error::failed)?;
    let mut times = vec![zero.run(n_tasks.min(100_000)).await.map_err(Error::failed)?];
    times.clear();
    for _ in 0..repeat {
        times.push(zero.run(n_tasks).await.map_err(Error::failed)?);
    }
    times.sort();
    let seconds = times[times.len() / 2].as_secs_f64();
    let limit = format!(
        "{}: the scheduler reads, decides and writes on one core, {n_workers} workers and a client answer on another",
        each(seconds, n_tasks)
    );
    Ok(Measured { seconds, limit })
}

async fn waiting(n_tasks: usize) -> Result<Measured> {
    let scheduler = Program::start(&["scheduler", "--listen", "127.0.0.1:0"])?;
    let mut client = ZeroWorkers::join(&scheduler.address, 0).await.map_err(Error::failed)?;
    let unknown = || Error::failed("this system does not say how much memory a process has (/proc is missing)");
    let before = memory::resident(scheduler.child.id()).ok_or_else(unknown)?;
    client.submit_and_leave(n_tasks).await.map_err(Error::failed)?;
    let after = memory::resident(scheduler.child.id()).ok_or_else(unknown)?;
    let limit = "resident memory of the scheduler process, with what its allocator keeps".into();
    Ok(Measured { seconds: after.saturating_sub(before) as f64, limit })
}

/// Seconds from the first description until the first of the tasks is done.
async fn submit(client: &Client, n_tasks: usize) -> Result<f64> {
    let start = Instant::now();
    let calls: Vec<Delayed<u64>> = (0..n_tasks as u64).map(nothing::delayed).collect();
    let handles = client.submit_all(&calls);
    let first = handles.first().ok_or_else(|| Error::failed("nothing was submitted"))?;
    first.done().await.map_err(Error::failed)?;
    let seconds = start.elapsed().as_secs_f64();
    client.cancel(&handles);
    Ok(seconds)
}

/// Seconds for independent tasks: described, run, and their results brought home.
async fn tasks(client: &Client, n_tasks: usize) -> Result<f64> {
    let start = Instant::now();
    let calls: Vec<Delayed<u64>> = (0..n_tasks as u64).map(nothing::delayed).collect();
    let sum: u64 = client.compute(&calls).await.map_err(Error::failed)?.into_iter().sum();
    let seconds = start.elapsed().as_secs_f64();
    expect(sum == (n_tasks as u64 - 1) * n_tasks as u64 / 2)?;
    Ok(seconds)
}

/// Seconds for a graph: described, run, and its result brought home.
async fn graph(client: &Client, shape: &Shape) -> Result<f64> {
    let start = Instant::now();
    let spin_ns = shape.spin.as_nanos() as u64;
    let mut calls: Vec<Delayed<Block>> = Vec::with_capacity(shape.n_tasks());
    for inputs in &shape.inputs {
        let inputs: Vec<Delayed<Block>> = inputs.iter().map(|input| calls[*input as usize].clone()).collect();
        calls.push(body::delayed(spin_ns, shape.n_bytes, inputs));
    }
    let last = calls.pop().ok_or_else(|| Error::failed("the graph is empty"))?;
    drop(calls);
    let result = client.compute(&last).await.map_err(Error::failed)?;
    let seconds = start.elapsed().as_secs_f64();
    expect(result.len() as u64 == shape.n_bytes.div_ceil(8))?;
    Ok(seconds)
}

/// Seconds until an array that lies in one worker process was seen in another.
async fn payload(client: &Client, n_bytes: usize) -> Result<f64> {
    let names: Vec<String> = client.workers().into_iter().map(|worker| worker.name).collect();
    let [from, to] = &names[..] else { return Err(Error::failed("the cluster has not two workers")) };
    let array = client.submit(&array::delayed(n_bytes as u64).workers([from.as_str()]));
    array.done().await.map_err(Error::failed)?;
    let start = Instant::now();
    let seen = client.submit(&size::delayed(&array).workers([to.as_str()])).await.map_err(Error::failed)?;
    let seconds = start.elapsed().as_secs_f64();
    expect(seen == (n_bytes / 8) as u64)?;
    Ok(seconds)
}

/// As what it is held against: a thread that waits.
fn blocking(client: Client) -> Result<blocking::Client> {
    blocking::Client::new(client).map_err(Error::failed)
}

/// Seconds for round trips: submitted, waited for, one after the other.
fn trips(client: &blocking::Client) -> Result<f64> {
    let mut seconds = Vec::with_capacity(N_TRIPS);
    for i in 0..N_TRIPS as u64 {
        let start = Instant::now();
        let answer = client.wait(client.submit(&nothing::delayed(i)).into_future()).map_err(Error::failed)?;
        expect(answer == i)?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    Ok(typical(seconds))
}

/// What all of them would have taken had each taken what the median took: a core that slept too deeply once is no cost
/// of a round trip.
fn typical(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).map_or(0., |median| median * seconds.len() as f64)
}

/// The median time of some measurements, after one that does not count.
async fn median(repeat: usize, measure: impl AsyncFn() -> Result<f64>) -> Result<f64> {
    measure().await?;
    let mut times = Vec::new();
    for _ in 0..repeat {
        times.push(measure().await?);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
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
        let child = Command::new(program)
            .args(args)
            .env_remove("PHALANX_TOKEN")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
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
