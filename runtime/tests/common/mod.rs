//! What the tests of clusters share: functions to run, gates to hold them, and clusters to run them on.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::{
    collections::HashMap,
    sync::{Condvar, LazyLock, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use phalanx_engine::{
    data::{Buffer, Data, DataError},
    graph::Delayed,
    task,
    value::Portable,
};
use phalanx_runtime::{Error, Scheduler, SchedulerOptions, WorkerOptions, worker_client};
use tokio::sync::oneshot;

/// Where a wait that should be short gives up, so that a failure is a failure and not a hang.
pub const LONG: Duration = Duration::from_secs(60);

#[task]
pub fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[task]
pub fn leaf(n: u64) -> u64 {
    n
}

/// By tasks that submit tasks.
#[task]
pub fn fibonacci(n: u64) -> Result<u64, Error> {
    if n < 2 {
        return Ok(n);
    }
    let client = worker_client()?;
    let parts = client.map([n - 1, n - 2], fibonacci::delayed);
    Ok(client.wait(client.gather(&parts))?.iter().sum())
}

/// The sum of 0, 1, ..., n - 1 as a tree of tasks.
pub fn tree(n: u64) -> Delayed<u64> {
    let mut row: Vec<Delayed<u64>> = (0..n).map(leaf::delayed).collect();
    while row.len() > 1 {
        row = row
            .chunks(2)
            .map(|pair| match pair {
                [a, b] => add::delayed(a, b),
                rest => rest[0].clone(),
            })
            .collect();
    }
    row.remove(0)
}

/// Numbers that travel as an array does: a shape in the header, the bulk in a buffer.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbers(pub Vec<f64>);

impl Portable for Numbers {
    fn encode(&self) -> Result<Data, DataError> {
        let header = (self.0.len() as u64).to_le_bytes().to_vec();
        Ok(Data { header, buffers: vec![Buffer::from_vec(self.0.clone())] })
    }

    fn decode(mut data: Data) -> Result<Self, DataError> {
        data.buffers.remove(0).into_vec().map(Self)
    }

    fn n_bytes(&self) -> u64 {
        8 * self.0.len() as u64
    }
}

#[task]
pub fn numbers(n: u64, start: f64) -> Numbers {
    Numbers((0..n).map(|i| start + i as f64).collect())
}

#[task]
pub fn dot(a: &Numbers, b: &Numbers) -> f64 {
    a.0.iter().zip(&b.0).map(|(a, b)| a * b).sum()
}

/// Gates by name: `pass` waits until `open` was called.
static GATES: LazyLock<(Mutex<HashMap<String, bool>>, Condvar)> = LazyLock::new(Default::default);

pub fn open(gate: &str) {
    GATES.0.lock().unwrap().insert(gate.into(), true);
    GATES.1.notify_all();
}

pub fn pass(gate: &str) {
    let gates = GATES.0.lock().unwrap();
    let (_gates, waited) = GATES.1.wait_timeout_while(gates, LONG, |gates| !gates.contains_key(gate)).unwrap();
    assert!(!waited.timed_out(), "the gate {gate} was never opened");
}

/// Returns `value` once the gate is open.
#[task]
pub fn gated(gate: String, value: u64) -> u64 {
    open(&format!("{gate} is reached"));
    pass(&gate);
    value
}

/// Something on a thread and runtime of its own, ended in order when dropped.
pub struct Running {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

impl Running {
    pub fn start<F: Future<Output = Result<(), Error>>>(
        run: impl FnOnce(oneshot::Receiver<()>) -> F + Send + 'static,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run(stopped))
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }

    /// Waits until it ends by itself.
    pub fn ended(mut self) -> Result<(), Error> {
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }
}

/// A scheduler on a port of its own, and where it is.
pub fn scheduler(options: SchedulerOptions) -> (Running, String) {
    let (said, url) = std::sync::mpsc::channel();
    let running = Running::start(move |stopped| async move {
        let scheduler = Scheduler::bind(&options).await?;
        said.send(scheduler.url().to_owned()).unwrap();
        scheduler.run(async { drop(stopped.await) }).await;
        Ok(())
    });
    (running, url.recv().unwrap())
}

pub fn any_port() -> SchedulerOptions {
    SchedulerOptions { listen: "tcp://127.0.0.1:0".into(), ..SchedulerOptions::default() }
}

/// A worker of one thread that speaks TCP, though it is in this process.
pub fn worker(url: &str) -> Running {
    let url = url.to_owned();
    Running::start(move |stopped| async move {
        let options = WorkerOptions { n_threads: 1, ..WorkerOptions::default() };
        phalanx_runtime::run_worker(&url, &options, async { drop(stopped.await) }).await
    })
}

/// A way to a scheduler that can be cut.
pub struct Cable {
    pub url: String,
    cut: tokio::sync::watch::Sender<u32>,
    _running: Running,
}

impl Cable {
    pub fn to(url: &str) -> Self {
        let target = url.strip_prefix("tcp://").unwrap().to_owned();
        let (said, url) = std::sync::mpsc::channel();
        let cut = tokio::sync::watch::Sender::new(0);
        let cuts = cut.subscribe();
        let running = Running::start(move |stopped| async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            said.send(format!("tcp://{}", listener.local_addr().unwrap())).unwrap();
            let carry = async {
                loop {
                    let (mut near, _) = listener.accept().await.unwrap();
                    let (target, mut cuts) = (target.clone(), cuts.clone());
                    cuts.mark_unchanged();
                    tokio::spawn(async move {
                        let Ok(mut far) = tokio::net::TcpStream::connect(&target).await else { return };
                        let _ = (near.set_nodelay(true), far.set_nodelay(true));
                        tokio::select! {
                            _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                            _ = cuts.changed() => {}
                        }
                    });
                }
            };
            tokio::select! {
                () = carry => {}
                _ = stopped => {}
            }
            Ok(())
        });
        Self { url: url.recv().unwrap(), cut, _running: running }
    }

    /// Ends every connection that goes through it; new ones can be made at once.
    pub fn cut(&self) {
        self.cut.send_modify(|n| *n += 1);
    }
}
