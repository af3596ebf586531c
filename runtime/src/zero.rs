//! Workers that answer at once and run nothing, and a client that counts the answers: what measures a scheduler alone.
//!
//! They speak to a real scheduler through real sockets, so everything that a scheduler does for a task is done; only
//! the task is missing. Knows no value: results of these workers cannot be fetched.

use std::time::{Duration, Instant};

use phalanx_engine::{
    graph::Graph,
    id::{ClientId, FunctionId, TaskId},
    message::{Address, FromClient, FromWorker, Greeting, Role, ToClient, ToWorker, WorkerHello},
};
use tokio::{runtime::Handle, time::timeout};

use crate::{
    error::{Error, Result},
    handshake::{hello, instruction_set},
    io::{PATIENCE, Spawned},
    security::Security,
    transport::{Destination, Line, Receiver, Sender},
};

/// Submissions hold so many tasks at most, as a program's loops over its data do.
const SUBMISSION: usize = 1_000_000;

/// A client and workers of a scheduler for measuring it. Everything leaves when this is dropped.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use phalanx_engine::task;
/// use phalanx_runtime::{Scheduler, SchedulerOptions, ZeroWorkers};
///
/// #[task]
/// fn never_run() {}
///
/// let options = SchedulerOptions { listen: "tcp://127.0.0.1:0".into(), ..SchedulerOptions::default() };
/// let scheduler = Scheduler::bind(&options).await?;
/// let url = scheduler.url().to_owned();
/// let scheduler = tokio::spawn(scheduler.run(std::future::pending()));
/// let mut zero = ZeroWorkers::join(&url, 3).await?;
/// let taken = zero.run(1_000).await?;
/// assert!(!taken.is_zero());
/// # scheduler.abort();
/// # Ok::<(), phalanx_runtime::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct ZeroWorkers {
    client: ClientId,
    url: String,
    next: u64,
    sender: Sender<FromClient>,
    receiver: Receiver<ToClient>,
    heartbeat: Duration,
    _workers: Vec<Spawned>,
}

impl ZeroWorkers {
    /// Joins the scheduler at `url` as one client and `n_workers` workers of one thread each. Must be called on a
    /// tokio runtime, where they live; a single-threaded one takes the least from what is measured.
    ///
    /// # Errors
    /// When the scheduler is not there or refuses, or this program has no task function that could be named.
    pub async fn join(url: &str, n_workers: usize) -> Result<Self> {
        let destination = Destination::Tcp(url.into(), Security::default().load()?);
        let stranger = || Error::NotAScheduler { url: url.into(), reason: "its greeting is not for us".into() };
        let mut workers = Vec::new();
        for place in 0..n_workers {
            let address = Address(format!("zero://{place}").into());
            let role = Role::Worker(WorkerHello::new(1, address, format!("zero-{place}")));
            let hello = hello(role, &instruction_set())?;
            let joined = destination.join::<FromWorker, ToWorker>(hello, PATIENCE, Line::Worker).await?;
            let (Greeting::Worker { heartbeat_ms, .. }, sender, receiver) = joined else { return Err(stranger()) };
            let work = answer(sender, receiver, Duration::from_millis(heartbeat_ms.max(1)));
            workers.push(Spawned::on(&Handle::current(), work));
        }
        let hello = hello(Role::Client, &instruction_set())?;
        let joined = destination.join::<FromClient, ToClient>(hello, PATIENCE, Line::Client).await?;
        let (Greeting::Client { client, heartbeat_ms, .. }, sender, receiver) = joined else { return Err(stranger()) };
        let heartbeat = Duration::from_millis(heartbeat_ms.max(1));
        Ok(Self { client, url: url.into(), next: 0, sender, receiver, heartbeat, _workers: workers })
    }

    /// How long the scheduler takes from the submission of `n_tasks` independent tasks until the client knows that
    /// all are done.
    ///
    /// # Errors
    /// When the scheduler is lost or a task fails.
    pub async fn run(&mut self, n_tasks: usize) -> Result<Duration> {
        let start = Instant::now();
        self.submit(n_tasks);
        let mut missing = n_tasks;
        let mut messages = Vec::new();
        while missing > 0 {
            self.hear(&mut messages).await?;
            for message in messages.drain(..) {
                match message {
                    ToClient::Finished { .. } => missing -= 1,
                    ToClient::Failed { task, error } => {
                        let reason = format!("{task} failed: {error}");
                        return Err(Error::NotAScheduler { url: self.url.clone(), reason });
                    }
                    _ => {}
                }
            }
        }
        let taken = start.elapsed();
        let last = self.next;
        let tasks = (last - n_tasks as u64..last).map(|sequence| TaskId::new(self.client, sequence)).collect();
        // A release carries no value that could fail to be written.
        let _ = self.sender.send(FromClient::Release { tasks });
        self.sender.flush();
        Ok(taken)
    }

    /// Submits `n_tasks` tasks without waiting for them, and returns when the scheduler has taken them in: without
    /// workers they wait there, and show what a waiting task takes.
    ///
    /// # Errors
    /// When the scheduler is lost.
    pub async fn submit_and_leave(&mut self, n_tasks: usize) -> Result<()> {
        self.submit(n_tasks);
        // What is said after the submission is answered after it: a task that is not there is a failure at once.
        let first = self.next + 1;
        let _ = self.sender.send(FromClient::submit(first, Graph::default(), vec![0]));
        self.sender.flush();
        let mut messages = Vec::new();
        loop {
            self.hear(&mut messages).await?;
            if messages.drain(..).any(|message| matches!(message, ToClient::Failed { .. })) {
                return Ok(());
            }
        }
    }

    fn submit(&mut self, n_tasks: usize) {
        let mut left = n_tasks;
        while left > 0 {
            let n = left.min(SUBMISSION);
            let graph = Graph { functions: vec![FunctionId(0); n], ends: vec![0; n], ..Graph::default() };
            let wanted = (0..n as u32).collect();
            let _ = self.sender.send(FromClient::submit(self.next, graph, wanted));
            self.next += n as u64;
            left -= n;
        }
        self.sender.flush();
    }

    async fn hear(&mut self, messages: &mut Vec<ToClient>) -> Result<()> {
        match timeout(self.heartbeat, self.receiver.recv(messages)).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false) | Err(_)) => Err(Error::SchedulerLost),
            Err(_) => {
                let _ = self.sender.send(FromClient::Heartbeat);
                self.sender.flush();
                Ok(())
            }
        }
    }
}

/// One worker: every attempt is done as soon as it is heard of.
async fn answer(sender: Sender<FromWorker>, mut receiver: Receiver<ToWorker>, heartbeat: Duration) {
    let mut messages = Vec::new();
    loop {
        match timeout(heartbeat, receiver.recv(&mut messages)).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false) | Err(_)) => return,
            Err(_) => drop(sender.send(FromWorker::Heartbeat)),
        }
        for message in messages.drain(..) {
            if let ToWorker::Compute(compute) = message {
                let _ = sender.send(FromWorker::finished(compute.task, compute.attempt, 8, 1_000, None));
            }
        }
        sender.flush();
    }
}
