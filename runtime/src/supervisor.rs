//! Keeps one worker process running, and sees how it dies.
//!
//! The supervisor is in another process than the worker, so whatever a task does to its process, somebody is left who
//! knows the exit code or signal, the memory it had and the last lines it said. He tells the scheduler, which tells
//! whoever waits for the task, and starts the worker again, unless it crashes too often.

mod evidence;
#[cfg_attr(not(target_os = "linux"), path = "supervisor/note_elsewhere.rs")]
mod note;
mod restarts;

use std::{
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    process::{Child, ExitStatus},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use phalanx_engine::{
    death::{End, Evidence},
    message::{FromWorker, Report, Role, ToWorker},
};
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
};

use crate::{
    error::{Error, Result},
    handshake::introduce,
    io::{Clock, PATIENCE, Spawned, lock},
    process::{self, Orders},
    transport::{Destination, Line},
    worker::WorkerOptions,
};
use evidence::Tail;
pub(crate) use note::Note;
pub use restarts::RestartOptions;
use restarts::{Next, Restarts};

/// How often the memory of a process is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How often it is asked whether a process has ended that says nothing more, and how many times.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
const LOOKS_AGAIN: u32 = 100;

/// What a supervisor says of its worker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SupervisorNotice {
    /// The worker died and is started again.
    Restarted {
        /// The worker's name.
        name: String,
        /// How it died.
        evidence: Evidence,
        /// After which pause it is started.
        pause: Duration,
    },
}

impl fmt::Display for SupervisorNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restarted { name, evidence, pause } => {
                // Its last lines were shown when it said them.
                let evidence = Evidence { last_lines: String::new(), ..evidence.clone() };
                write!(f, "worker {name} died and is started again")?;
                if !pause.is_zero() {
                    write!(f, " in {pause:?}")?;
                }
                write!(f, ": {evidence}")
            }
        }
    }
}

/// Runs a worker for the scheduler at `url` in a process of its own, which is this program again, and starts it anew
/// where it crashes, until `shutdown` is there, the scheduler says that it is time or is gone, or the worker crashes
/// too often. `tell` hears of every restart.
///
/// # Errors
/// When [`init()`](crate::init()) was not called or this process is a worker itself; when the worker cannot join, as
/// [`run_worker`](crate::run_worker); when it crashes too often.
pub async fn run_supervised_worker(
    url: &str,
    options: &WorkerOptions,
    restarts: &RestartOptions,
    tell: impl Fn(&SupervisorNotice) + Send + Sync + 'static,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    process::can_start()?;
    let scheduler = Destination::Tcp(url.into(), options.security.load()?);
    let supervisor = Supervisor::start(&Handle::current(), scheduler, url, options, restarts, tell)?;
    tokio::select! {
        () = shutdown => Ok(()),
        ended = supervisor.ended() => ended,
    }
}

/// A worker process that is started again where it crashes, and ends with this value.
#[derive(Debug)]
pub(crate) struct Supervisor {
    shared: Arc<Shared>,
    ended: watch::Receiver<Option<Result<()>>>,
    _watching: Spawned,
}

impl Supervisor {
    /// Starts the worker, and watches it on `handle`.
    pub(crate) fn start(
        handle: &Handle,
        scheduler: Destination,
        url: &str,
        options: &WorkerOptions,
        restarts: &RestartOptions,
        tell: impl Fn(&SupervisorNotice) + Send + Sync + 'static,
    ) -> Result<Self> {
        let shared = Arc::new(Shared {
            scheduler,
            url: url.into(),
            options: options.clone(),
            current: Mutex::new(Current { process: None, is_ending: false, n_starts: 0 }),
            silent: Arc::default(),
        });
        shared.start()?;
        let (end, ended) = watch::channel(None);
        let watching = {
            let (shared, handle) = (Arc::clone(&shared), handle.clone());
            let restarts = Restarts::new(restarts.clone());
            async move {
                let ended = shared.watch(&handle, restarts, tell).await;
                end.send_replace(Some(ended));
            }
        };
        Ok(Self { shared, ended, _watching: Spawned::on(handle, watching) })
    }

    /// The number of the process that runs now, if one does.
    pub(crate) fn id(&self) -> Option<u32> {
        lock(&self.shared.current).process.as_ref().map(|process| process.child.id())
    }

    /// The worker's name.
    pub(crate) fn name(&self) -> &str {
        &self.shared.options.name
    }

    /// Waits until it runs no more and will not again, and says why.
    pub(crate) async fn ended(&self) -> Result<()> {
        let mut ended = self.ended.clone();
        let ended = ended.wait_for(Option::is_some).await;
        ended.ok().and_then(|ended| ended.clone()).unwrap_or(Ok(()))
    }

    /// Tells the worker to end, and does not wait for it.
    pub(crate) fn begin_to_end(&self) {
        let mut current = lock(&self.shared.current);
        current.is_ending = true;
        if let Some(process) = &mut current.process {
            drop(process.child.stdin.take());
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.begin_to_end();
        let process = lock(&self.shared.current).process.take();
        if let Some(mut process) = process {
            process::end(&mut process.child);
            process.end_reading(process::GRACE);
        }
    }
}

#[derive(Debug)]
struct Shared {
    /// Who is told of deaths.
    scheduler: Destination,
    /// Where the worker finds the scheduler.
    url: String,
    options: WorkerOptions,
    current: Mutex<Current>,
    /// Told when a process says nothing more, which mostly is its end.
    silent: Arc<Notify>,
}

#[derive(Debug)]
struct Current {
    process: Option<Process>,
    /// No other is started, and its end is no death.
    is_ending: bool,
    /// How many processes were started.
    n_starts: u64,
}

/// One life of the worker.
#[derive(Debug)]
struct Process {
    child: Child,
    life: u64,
    note: Option<Note>,
    tail: Arc<Tail>,
    reader: Option<JoinHandle<()>>,
    peak_memory: Option<u64>,
    n_out_of_memory: Option<u64>,
}

/// A life that is over.
struct Gone {
    life: u64,
    evidence: Evidence,
    /// What the worker said of its end, where it had one.
    said: Option<Result<(), String>>,
}

impl Shared {
    /// Starts a process, unless it is over.
    fn start(&self) -> Result<()> {
        let mut current = lock(&self.current);
        if current.is_ending {
            return Ok(());
        }
        let life = RandomState::new().build_hasher().finish();
        let (note, path) = match Note::create(life) {
            Ok((note, path)) => (Some(note), Some(path)),
            Err(error) => {
                tracing::debug!(%error, "what the worker runs is not written down");
                (None, None)
            }
        };
        let n_out_of_memory = evidence::n_out_of_memory();
        let orders = Orders::new(&self.url, &self.options, life, path, current.n_starts);
        let (mut child, said) = orders.start()?;
        current.n_starts += 1;
        let tail = Arc::new(Tail::default());
        let read = {
            let (tail, silent) = (Arc::clone(&tail), Arc::clone(&self.silent));
            move || {
                tail.pass_on(said, std::io::stderr());
                silent.notify_one();
            }
        };
        match std::thread::Builder::new().name("phalanx-worker-log".into()).spawn(read) {
            Ok(reader) => {
                let reader = Some(reader);
                current.process = Some(Process { child, life, note, tail, reader, peak_memory: None, n_out_of_memory });
                Ok(())
            }
            Err(error) => {
                process::end(&mut child);
                Err(Error::Start { what: "a thread".into(), reason: error.to_string() })
            }
        }
    }

    /// Starts processes until one ends in good order, or too many do not.
    async fn watch(
        &self,
        handle: &Handle,
        mut restarts: Restarts,
        tell: impl Fn(&SupervisorNotice) + Send + Sync,
    ) -> Result<()> {
        let clock = Clock::start();
        let mut reports = Vec::new();
        let name = self.options.name.clone();
        loop {
            let Some(Gone { life, evidence, said }) = self.gone().await else { return Ok(()) };
            if let Some(said) = said {
                return said.map_err(|reason| Error::WorkerEnded { reason });
            }
            let report = Report { life, evidence: evidence.clone() };
            let report = report_death(self.scheduler.clone(), self.options.instruction_set.clone(), report);
            reports.retain(|report: &Spawned| !report.is_finished());
            reports.push(Spawned::on(handle, report));
            let mut next = restarts.crashed(clock.now());
            loop {
                let Next::Again(pause) = next else {
                    return Err(Error::CrashLoop { name, often: restarts.too_often(), last: evidence.to_string() });
                };
                tell(&SupervisorNotice::Restarted { name: name.clone(), evidence: evidence.clone(), pause });
                tokio::time::sleep(pause).await;
                match self.start() {
                    Ok(()) => break,
                    Err(error) => {
                        tracing::warn!(%error, "a worker cannot be started again");
                        next = restarts.crashed(clock.now());
                    }
                }
            }
        }
    }

    /// Waits for the end of the process that runs. None where it was told to end.
    async fn gone(&self) -> Option<Gone> {
        let mut n_looks_again = 0_u32;
        loop {
            let pause = if n_looks_again > 0 { LOOK_AGAIN } else { LOOK };
            n_looks_again = n_looks_again.saturating_sub(1);
            tokio::select! {
                () = self.silent.notified() => n_looks_again = LOOKS_AGAIN,
                () = tokio::time::sleep(pause) => {}
            }
            let (process, status) = {
                let mut current = lock(&self.current);
                if current.is_ending {
                    return None;
                }
                let process = current.process.as_mut()?;
                match process.child.try_wait() {
                    Ok(None) => {
                        process.look();
                        continue;
                    }
                    Ok(Some(status)) => (current.process.take()?, Some(status)),
                    Err(_) => (current.process.take()?, None),
                }
            };
            // What it had said is read by now, unless something that it started still speaks.
            for _ in 0..LOOKS_AGAIN {
                if process.reader.as_ref().is_none_or(JoinHandle::is_finished) {
                    break;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            return Some(process.gone(status));
        }
    }
}

impl Process {
    /// While it lives.
    fn look(&mut self) {
        self.peak_memory = evidence::peak_memory(self.child.id()).max(self.peak_memory);
    }

    fn gone(mut self, status: Option<ExitStatus>) -> Gone {
        self.end_reading(Duration::ZERO);
        let is_code_0 = status.is_some_and(|status| status.success());
        let said = match &self.note {
            Some(note) => note.end(),
            // Without a note an exit without an error is taken for the worker's own.
            None => is_code_0.then_some(Ok(())),
        };
        let more = evidence::n_out_of_memory().zip(self.n_out_of_memory).map(|(now, before)| now > before);
        let evidence = Evidence {
            end: status.map_or(End::Unknown, evidence::end),
            peak_memory: self.peak_memory,
            out_of_memory: more,
            last_lines: self.tail.lines(),
            running: self.note.as_ref().and_then(Note::read),
        };
        Gone { life: self.life, evidence, said }
    }

    /// Ends the thread that reads what the process says, unless something that it started still speaks after `grace`.
    fn end_reading(&mut self, grace: Duration) {
        let Some(reader) = self.reader.take() else { return };
        let end = Instant::now() + grace;
        while !reader.is_finished() && Instant::now() < end {
            std::thread::sleep(LOOK_AGAIN);
        }
        if reader.is_finished() {
            let _ = reader.join();
        }
    }
}

/// Tells the scheduler how a worker died.
async fn report_death(scheduler: Destination, instruction_set: String, report: Report) {
    let hello = introduce(Role::Report(report), &instruction_set);
    let said = scheduler.join::<FromWorker, ToWorker>(hello, PATIENCE, |_, _| Line::Report).await;
    if let Err(error) = said {
        tracing::debug!(%error, "nobody heard how a worker died");
    }
}
