//! A worker's shell: its machine between the scheduler, the peers, the store and the threads that run tasks.
//!
//! Whoever brings an event turns the machine: a thread that has run a task tells it so itself and takes its next
//! task from the answer, so between two small tasks no thread is woken. Nobody waits for the machine: who finds it
//! being turned leaves his events to whoever is at it, who looks again before he goes.

mod context;
mod options;
mod page;

use std::{
    collections::VecDeque,
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError, RwLock, TryLockError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::Sender as Jobs;
use phalanx_engine::{
    graph::ArgumentCode,
    id::{Attempt, TaskId},
    message::{Address, Failure, FromWorker, GangCall, Greeting, Rejoin, Role, ToWorker, WorkerHello},
    task::{Input, Registry, TaskDef},
    value::Value,
    worker::{Command, Config, Event, Run, StopReason, Worker as Machine},
};
use smallvec::SmallVec;
use tokio::{net::TcpListener, runtime::Handle, sync::watch};

use crate::{
    error::{Error, Result},
    handshake::hello,
    io::{Alarm, Checks, Clock, Running, Spawned, lock},
    patience::Patience,
    peers::{Peers, Report, Told, serve},
    pool::{self, Pool},
    security::Guard,
    spill::{self, Disk, Done, Tell},
    store::{Found, Published, Removed, Store},
    supervisor::Note,
    transport::{Destination, Line, Receiver, Sender, listen, local_address},
};

pub(crate) use context::{Away, current_gang, current_task};
pub use context::{secede, worker_client};
pub use options::WorkerOptions;
pub(crate) use options::n_cores;
use page::Page;

/// Results up to this size are tried before they count as results: whether they can be written at all.
const TRIED: u64 = 64 << 10;
/// How often a thread with a job tells the machine what others left, before another takes its job.
const ROUNDS: u32 = 8;
/// A worker process whose threads have at least so much more to do may be slow to say what they have done: the scheduler
/// sends more (it lets them have 4 ms) long before they run dry.
const IN_HAND_NS: u64 = 1_500_000;

/// How others get at a worker's results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// By pointer, from inside this process only.
    Pointer,
    /// Through a port.
    Port,
    /// Through a port, and by pointer from inside this process.
    Both,
}

/// What a worker process knows of its supervisor.
#[derive(Debug)]
pub(crate) struct Supervision {
    /// The number of this process's life.
    pub(crate) life: u64,
    /// Where is written what it runs.
    pub(crate) note: Option<Arc<Note>>,
    /// How often the worker was started again before.
    pub(crate) n_restarts: u64,
}

/// Runs a worker for the scheduler at `url`, `tcp://127.0.0.1:8786`, until `shutdown` is there or the scheduler says
/// that it is time. Fastest on a single-threaded runtime; tasks run on threads of their own.
///
/// A worker that loses its scheduler keeps its results, finishes what it runs, and looks for the scheduler for as long as
/// [`WorkerOptions::reconnect_for`] says. One that still knows its work takes both over; for any other it forgets
/// everything and joins as a new worker.
///
/// Returns without waiting for tasks that are still running; their threads end with them, or with the process.
///
/// # Errors
/// When the scheduler is not there, refuses, or is lost and does not come back.
pub async fn run_worker(url: &str, options: &WorkerOptions, shutdown: impl Future<Output = ()>) -> Result<()> {
    let scheduler = Destination::Tcp(url.into(), options.security.load()?);
    let options = options.clone();
    let mut life = Running::start(async move { live(&scheduler, &options, Access::Port, None, |_| {}).await });
    tokio::select! {
        () = shutdown => {
            life.end().await;
            Ok(())
        }
        ended = life.ended() => ended,
    }
}

/// One life after the other, until the scheduler says that it is over; `born` is told of each.
pub(crate) async fn live(
    scheduler: &Destination,
    options: &WorkerOptions,
    access: Access,
    supervision: Option<&Supervision>,
    born: impl Fn(&Arc<Session>),
) -> Result<()> {
    let n_threads = u32::try_from(options.n_threads).ok().filter(|n| *n > 0).ok_or_else(|| Error::Option {
        name: "n_threads",
        value: options.n_threads.to_string(),
        expected: "1 or more",
    })?;
    let page = Page::open(options, supervision.map_or(0, |supervision| supervision.n_restarts)).await?;
    let spill_dir = options.spill_dir();
    drop(tokio::task::spawn_blocking(move || spill::clean_once(spill_dir)));
    let gone = |error| match error {
        Error::Unreachable { url, reason } => Error::SchedulerGone { url, waited: options.reconnect_for, reason },
        error => error,
    };
    let mut life = Life::begin(scheduler, options, n_threads, access, supervision, options.connect_for).await?;
    loop {
        page.shows(&life.session);
        born(&life.session);
        loop {
            match life.run().await {
                End::Told => return Ok(()),
                End::Lost => tracing::warn!(url = scheduler.url(), "the scheduler was lost; looking for it"),
            }
            if !life.rejoin(scheduler, options, n_threads).await.map_err(gone)? {
                break;
            }
            tracing::info!(url = scheduler.url(), "the scheduler is back");
        }
        tracing::warn!(url = scheduler.url(), "the scheduler knows nothing of this worker, which joins as a new one");
        // Ended first: its port and its threads are nobody's any more.
        drop(life);
        life = Life::begin(scheduler, options, n_threads, access, supervision, options.reconnect_for)
            .await
            .map_err(gone)?;
    }
}

/// Why a life is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Told,
    Lost,
}

/// One membership of a scheduler, with all that belongs to it and ends with it.
struct Life {
    session: Arc<Session>,
    receiver: Receiver<ToWorker>,
    address: Address,
    /// Where it is member, and under which number.
    member: Rejoin,
    /// The number of this process's life, where it is supervised.
    number: Option<u64>,
    ended: watch::Receiver<Option<End>>,
    _over: Over,
    _port: Option<Spawned>,
    _published: Option<Published>,
}

impl Life {
    async fn begin(
        scheduler: &Destination,
        options: &WorkerOptions,
        n_threads: u32,
        access: Access,
        supervision: Option<&Supervision>,
        patience: Duration,
    ) -> Result<Self> {
        let guard = Arc::clone(scheduler.guard());
        let store = Arc::new(Store::default());
        let (port, published, address) = match access {
            Access::Pointer => {
                let published = Published::new(Arc::clone(&store));
                let address = published.address().clone();
                (None, Some(published), address)
            }
            Access::Port | Access::Both => {
                let (port, url) = data_port(scheduler, options, &guard).await?;
                let address = Address(url.into());
                let here = (access == Access::Both).then(|| Published::at(address.clone(), Arc::clone(&store)));
                (Some((port, Arc::clone(&guard))), here, address)
            }
        };
        let mut about = WorkerHello::new(n_threads, address.clone(), &options.name);
        let number = supervision.map(|supervision| supervision.life);
        about.life = number;
        about.resources = options.resources.clone();
        let memory_limit = options.memory_limit.bytes(options.n_threads);
        about.memory_limit = memory_limit;
        let hello = hello(Role::Worker(about), &options.instruction_set)?;
        let joined = scheduler.join::<FromWorker, ToWorker>(hello, patience, Line::Worker).await?;
        let (Greeting::Worker { heartbeat_ms, worker, cluster }, sender, receiver) = joined else {
            let reason = "it greets a worker as something else".into();
            return Err(Error::NotAScheduler { url: scheduler.url().into(), reason });
        };
        let config = Config {
            n_threads,
            heartbeat: Duration::from_millis(heartbeat_ms.max(1)),
            // By pointer nothing is too large to come along with the answer.
            inline_bytes: if access == Access::Pointer { u64::MAX } else { Config::default().inline_bytes },
            memory_limit,
            ..Config::default()
        };
        let clock = Clock::start();
        let (end, ended) = watch::channel(None);
        let spill_dir = options.spill_dir();
        let session = Arc::new_cyclic(|me: &Weak<Session>| Session {
            me: Weak::clone(me),
            disk: Disk::new(spill_dir),
            tell: told_by_disk(Weak::clone(me)),
            core: Mutex::new(Core {
                machine: Machine::new(config, address.clone(), clock.now()),
                commands: Vec::new(),
                events: VecDeque::new(),
                checks: Checks::default(),
            }),
            inbox: Mutex::default(),
            over: AtomicBool::new(false),
            scheduler: RwLock::new(sender),
            store,
            peers: Peers::new(Handle::current(), guard),
            registry: Registry::linked(),
            jobs: Mutex::new(None),
            pool: Mutex::new(None),
            clock,
            alarm: Alarm::new(clock),
            end,
            inside: context::Inside::new(scheduler.clone(), options.instruction_set.clone(), access != Access::Pointer),
            note: supervision.and_then(|supervision| supervision.note.clone()),
            recording: AtomicBool::new(false),
        });
        let work = |job: Job| job.session.upgrade().and_then(|session| session.work(job));
        let pool = Pool::start(&options.name, n_threads, work)?;
        *lock(&session.jobs) = Some(pool.jobs().clone());
        *lock(&session.pool) = Some(pool);
        let serve = |(port, guard)| Spawned::on(&Handle::current(), serve(port, guard, Arc::clone(&session.store)));
        let port = port.map(serve);
        let (over, member) = (Over(Arc::clone(&session)), Rejoin { cluster, worker });
        Ok(Self { session, receiver, address, member, number, ended, _over: over, _port: port, _published: published })
    }

    /// Joins again with all that is here. False where the scheduler that is there knows nothing of it.
    async fn rejoin(&mut self, scheduler: &Destination, options: &WorkerOptions, n_threads: u32) -> Result<bool> {
        // A client that tasks use is lost with the connection, and they with it: they are run again.
        let keeps_running = !self.session.inside.forget();
        self.session.apply_all([Event::SchedulerLost { keeps_running }]);
        // Nothing that is said from here on is meant for the scheduler that was lost.
        self.session.settle();
        let hello_again = WorkerHello::new(n_threads, self.address.clone(), &options.name);
        let memory_limit = options.memory_limit.bytes(options.n_threads);
        let (resources, rejoins) = (options.resources.clone(), Some(self.member));
        let role = Role::Worker(WorkerHello { resources, rejoins, memory_limit, life: self.number, ..hello_again });
        let hello = hello(role, &options.instruction_set)?;
        let (greeting, sender, receiver) =
            scheduler.join::<FromWorker, ToWorker>(hello, options.reconnect_for, Line::Worker).await?;
        match greeting {
            Greeting::Worker { worker, cluster, .. } => self.member = Rejoin { cluster, worker },
            Greeting::Stranger { .. } => return Ok(false),
            _ => {
                let reason = "it greets a worker as something else".into();
                return Err(Error::NotAScheduler { url: scheduler.url().into(), reason });
            }
        }
        self.receiver = receiver;
        self.session.end.send_replace(None);
        // The machine is told after: it says at once what is here.
        *self.session.scheduler.write().unwrap_or_else(PoisonError::into_inner) = sender;
        self.session.apply_all([Event::SchedulerBack]);
        Ok(true)
    }

    /// Lives until the connection to the scheduler ends.
    async fn run(&mut self) -> End {
        let Self { session, receiver, ended, .. } = self;
        let mut told = ended.clone();
        let hear = async {
            let (mut messages, mut patience) = (Vec::new(), Patience::default());
            loop {
                match receiver.recv_with(&mut patience, &mut messages).await {
                    Ok(true) if messages.is_empty() => session.apply_all([Event::Scheduler(ToWorker::Heartbeat)]),
                    Ok(true) => session.apply_all(messages.drain(..).map(Event::Scheduler)),
                    Ok(false) => break,
                    Err(error) => {
                        tracing::debug!(%error, "the connection to the scheduler broke");
                        break;
                    }
                }
            }
        };
        let tick = async {
            // Sets the alarm.
            session.settle();
            loop {
                session.alarm.wait().await;
                session.apply_all([Event::Tick]);
            }
        };
        tokio::select! {
            end = told.wait_for(Option::is_some) => end.ok().and_then(|end| *end).unwrap_or(End::Lost),
            // It may have been told to end just before.
            () = hear => ended.borrow().unwrap_or(End::Lost),
            () = tick => End::Lost,
        }
    }
}

/// Where others get at results, and what they are told that it is.
async fn data_port(scheduler: &Destination, options: &WorkerOptions, guard: &Guard) -> Result<(TcpListener, String)> {
    let here = local_address(scheduler.url()).await;
    let at = options.listen.clone().unwrap_or_else(|| format!("tcp://{}", SocketAddr::new(here, 0)));
    let (port, url) = listen(&at, guard).await?;
    match port.local_addr() {
        Ok(bound) if bound.ip().is_unspecified() => {
            Ok((port, format!("tcp://{}", SocketAddr::new(here, bound.port()))))
        }
        _ => Ok((port, url)),
    }
}

/// Whatever way a life ends, also when it is dropped in the middle: nothing is told or run any more.
struct Over(Arc<Session>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::SeqCst);
        // Whoever is at an event finishes that one.
        drop(lock(&self.0.core));
        drop(std::mem::take(&mut *lock(&self.0.inbox)));
        // The threads of the pool end when nobody can give them work any more.
        *lock(&self.0.jobs) = None;
        self.0.peers.close_all();
        self.0.inside.close();
        self.0.disk.close();
    }
}

/// The living part of a membership: shared by its sockets and its threads.
pub(crate) struct Session {
    me: Weak<Self>,
    core: Mutex<Core>,
    /// What the machine has not heard yet. Locked for moments only.
    inbox: Mutex<Vec<Event>>,
    /// Nothing is told or run any more.
    over: AtomicBool,
    /// Another one after each rejoining.
    scheduler: RwLock<Sender<FromWorker>>,
    store: Arc<Store>,
    disk: Disk,
    tell: Tell,
    peers: Peers,
    registry: Result<&'static Registry, phalanx_engine::task::RegistryError>,
    jobs: Mutex<Option<Jobs<Job>>>,
    pool: Mutex<Option<Pool<Job>>>,
    clock: Clock,
    alarm: Alarm,
    end: watch::Sender<Option<End>>,
    inside: context::Inside,
    /// Where a supervisor can read what runs.
    note: Option<Arc<Note>>,
    /// Whether somebody wants to know when each function was called.
    recording: AtomicBool,
}

struct Core {
    machine: Machine,
    commands: Vec<Command>,
    /// What is being told.
    events: VecDeque<Event>,
    checks: Checks,
}

/// What a function is called with; mostly little.
type Inputs = SmallVec<[Input; 2]>;

/// A function call on its way to a thread.
struct Job {
    session: Weak<Session>,
    task: TaskId,
    attempt: Attempt,
    gang: Option<Box<GangCall>>,
    call: Result<(&'static TaskDef, Inputs), Failure>,
}

impl Session {
    /// Takes the threads that run tasks, to wait for them.
    pub(crate) fn take_pool(&self) -> Option<impl FnOnce() + Send + use<>> {
        let pool = lock(&self.pool).take();
        pool.map(|pool| move || pool.join())
    }

    /// Whether it has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// What its machine has counted.
    pub(crate) fn counters(&self) -> phalanx_engine::worker::Counters {
        let counters = lock(&self.core).machine.counters();
        self.apply_all([]);
        counters
    }

    /// Tells the machine, or leaves it to who is telling it something, and hands new jobs to the threads.
    fn apply_all(&self, events: impl IntoIterator<Item = Event>) {
        self.apply(events, false);
    }

    fn hand_out(&self, jobs: &mut Vec<Job>) {
        if !jobs.is_empty()
            && let Some(queue) = &*lock(&self.jobs)
        {
            // The threads end only after the last sender is gone.
            jobs.drain(..).for_each(|job| drop(queue.send(job)));
        }
        jobs.clear();
    }

    /// On a thread of the pool: runs a job, and returns the one to run next.
    fn work(&self, job: Job) -> Option<Job> {
        if self.is_over() {
            return None;
        }
        if let Some(note) = &self.note {
            note.running(pool::place(), job.task, job.attempt);
        }
        let function = job.call.as_ref().map_or("", |(def, _)| def.name);
        let span = tracing::debug_span!("task", function, task = %job.task, attempt = job.attempt.0).entered();
        let start = Instant::now();
        let (outcome, waited) = context::run(&job.session, job.task, job.attempt, job.gang, || {
            job.call.and_then(|(def, inputs)| pool::call(def, &inputs)).and_then(|value| self.tried(value))
        });
        drop(span);
        // What it waited for says nothing of the function.
        let run_ns = u64::try_from(start.elapsed().saturating_sub(waited).as_nanos()).unwrap_or(u64::MAX);
        let ran = Event::Ran { task: job.task, attempt: job.attempt, run_ns, outcome };
        let timed = self.recording.load(Ordering::Relaxed).then(|| {
            let (task, attempt, start) = (job.task, job.attempt, self.clock.at(start));
            Event::Timed { task, attempt, thread: pool::place(), start }
        });
        self.apply(timed.into_iter().chain([ran]), true)
    }

    /// A result that cannot be written would be a result that nobody can fetch. Types that fail to be written also
    /// fail to be counted, so they look small.
    fn tried(&self, value: Value) -> Result<Value, Failure> {
        if self.scheduler().travels()
            && !value.stays()
            && value.n_bytes() <= TRIED
            && let Err(error) = value.to_data()
        {
            return Err(Failure::Error(format!("its result cannot be sent: {error}")));
        }
        Ok(value)
    }

    /// Tells the machine, or leaves it to who is telling it something, and hands new jobs to the threads; one comes back
    /// where the thread is free for it.
    fn apply(&self, events: impl IntoIterator<Item = Event>, is_free: bool) -> Option<Job> {
        if self.is_over() {
            return None;
        }
        lock(&self.inbox).extend(events);
        let (mut jobs, mut next) = (Vec::new(), None);
        for round in 0.. {
            if round == ROUNDS {
                // Who goes on serving others must not keep his own job waiting.
                jobs.extend(next.take());
                self.hand_out(&mut jobs);
            }
            let (dropped, in_hand_ns) = match self.core.try_lock() {
                Ok(mut core) => self.turn(&mut core, &mut jobs),
                Err(TryLockError::Poisoned(core)) => self.turn(&mut core.into_inner(), &mut jobs),
                Err(TryLockError::WouldBlock) => return next,
            };
            drop(dropped);
            if is_free && round < ROUNDS && next.is_none() && !jobs.is_empty() {
                next = Some(jobs.remove(0));
            }
            // First the scheduler: a function that ends its process at once must be known to have been started. In a stream
            // of small tasks one write carries many answers, but for what is under suspicion: a task that was lost with
            // a worker before.
            let scheduler = self.scheduler();
            if !is_free || !jobs.is_empty() || next.as_ref().is_none_or(|job| job.attempt != Attempt(0)) {
                scheduler.flush();
            } else if in_hand_ns >= IN_HAND_NS && self.note.is_some() {
                // The supervisor can read what runs.
                scheduler.flush_later();
            } else {
                scheduler.flush_soon();
            }
            drop(scheduler);
            self.hand_out(&mut jobs);
            // Who left something meanwhile found the machine busy, and left it to this.
            if lock(&self.inbox).is_empty() || self.is_over() {
                break;
            }
        }
        next
    }

    /// Tells the machine what it has not heard, and carries out what it says. Returns what is dropped when nobody waits
    /// for it, and how long the threads have work without hearing more.
    fn turn(&self, core: &mut Core, jobs: &mut Vec<Job>) -> (Removed, u64) {
        let mut dropped = Removed::default();
        let now = self.clock.now();
        core.events.extend(lock(&self.inbox).drain(..));
        while !self.is_over()
            && let Some(event) = core.events.pop_front()
        {
            core.machine.handle(now, event, &mut core.commands);
            for command in core.commands.drain(..) {
                match command {
                    Command::ToScheduler(message) => {
                        if let Err(error) = self.scheduler().send(message) {
                            tracing::error!(%error, "a message cannot be written");
                        }
                    }
                    Command::Store { task, value } => self.store.insert(task, value),
                    Command::Drop { tasks } => self.store.remove(&tasks, &mut dropped),
                    Command::Run(run) => jobs.push(self.job(run)),
                    Command::Fetch { peer, tasks } => {
                        core.events.extend(self.peers.fetch(peer, tasks, &self.me).into_iter().map(event_of));
                    }
                    Command::Close { peer } => self.peers.close(&peer),
                    Command::Spill { task } => core.events.extend(self.spill(task)),
                    Command::Evict { tasks } => self.store.evict(&tasks, &mut dropped),
                    Command::Unspill { task } => core.events.extend(self.unspill(task)),
                    Command::Stop { reason } => {
                        tracing::info!(?reason, "the connection to the scheduler ends");
                        self.over.fetch_or(reason == StopReason::Told, Ordering::SeqCst);
                        let end = match reason {
                            StopReason::Told => End::Told,
                            StopReason::SchedulerSilent(_) => End::Lost,
                        };
                        self.end.send_replace(Some(end));
                    }
                }
            }
        }
        self.recording.store(core.machine.is_recording(), Ordering::Relaxed);
        core.checks.run(|| core.machine.check_invariants());
        self.alarm.set(core.machine.deadline().map(|(time, _)| time));
        (dropped, core.machine.in_hand_ns())
    }

    fn scheduler(&self) -> impl std::ops::Deref<Target = Sender<FromWorker>> + '_ {
        self.scheduler.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a result written to disk. What is known at once is returned.
    fn spill(&self, task: TaskId) -> Option<Event> {
        let failed = |reason: String| Event::SpillFailed { task, reason };
        let Some(result) = self.store.numbered(task) else { return Some(failed("it is not here".into())) };
        self.disk.write(task, result, &self.store, &self.tell).err().map(|error| failed(error.to_string()))
    }

    /// Has a result read from disk. What is known at once is returned.
    fn unspill(&self, task: TaskId) -> Option<Event> {
        let failed = |reason: String| Event::UnspillFailed { task, reason };
        match self.store.find(task) {
            Some(Found::Disk(file)) => {
                self.disk.read(task, file, &self.store, &self.tell).err().map(|error| failed(error.to_string()))
            }
            Some(Found::Memory(value)) => Some(Event::Unspilled { task, value }),
            None => Some(failed("it is not here".into())),
        }
    }

    /// Returns when everything that it was to be told before is told.
    fn settle(&self) {
        let mut jobs = Vec::new();
        let dropped = self.turn(&mut lock(&self.core), &mut jobs);
        drop(dropped);
        self.scheduler().flush();
        self.hand_out(&mut jobs);
        self.apply_all([]);
    }

    /// Puts a call's inputs together, while they are in the store.
    fn job(&self, run: Run) -> Job {
        let def = self.registry.as_ref().ok().and_then(|registry| registry.get(run.function));
        let call = match def {
            Some(def) => self.inputs(&run).map(|inputs| (def, inputs)),
            None => Err(format!("this worker has no {}", run.function)),
        };
        let (session, call) = (Weak::clone(&self.me), call.map_err(Failure::Error));
        Job { session, task: run.task, attempt: run.attempt, gang: run.gang, call }
    }

    fn inputs(&self, run: &Run) -> Result<Inputs, String> {
        let mut inputs = Inputs::new();
        let mut codes = run.arguments.iter();
        while let Some(code) = codes.next() {
            inputs.push(match code {
                ArgumentCode::List(n) => {
                    let elements = codes.by_ref().take(*n as usize).map(|code| self.input(run, code));
                    Input::Many(elements.collect::<Result<_, _>>()?)
                }
                code => Input::One(self.input(run, code)?),
            });
        }
        Ok(inputs)
    }

    fn input(&self, run: &Run, code: &ArgumentCode) -> Result<Value, String> {
        match code {
            ArgumentCode::Task(task) => self.store.get(*task).ok_or_else(|| format!("the input {task} is not here")),
            ArgumentCode::Constant(place) => {
                let constant = run.constants.get(*place as usize).cloned();
                constant.ok_or_else(|| format!("argument constant {place} of {}", run.constants.len()))
            }
            ArgumentCode::Node(_) | ArgumentCode::List(_) => Err("an argument that only a submission can have".into()),
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Told for Session {
    fn told(self: Arc<Self>, reports: Vec<Report>) {
        self.apply_all(reports.into_iter().map(event_of));
    }
}

/// Tells a session's machine what its disk has done, as long as there is one.
fn told_by_disk(session: Weak<Session>) -> Tell {
    Arc::new(move |done| {
        let event = match done {
            Done::Written { task } => Event::Spilled { task },
            Done::NotWritten { task, reason } => {
                tracing::warn!(%task, reason, "a result cannot be written to disk");
                Event::SpillFailed { task, reason }
            }
            Done::Read { task, value } => Event::Unspilled { task, value },
            Done::NotRead { task, reason } => {
                tracing::warn!(%task, reason, "a result cannot be read from disk");
                Event::UnspillFailed { task, reason }
            }
        };
        if let Some(session) = session.upgrade() {
            session.apply_all([event]);
        }
    })
}

fn event_of(report: Report) -> Event {
    match report {
        Report::Fetched { peer, task, value } => Event::Fetched { peer, task, value },
        Report::NotThere { peer, task } => Event::NotThere { peer, task },
        Report::Busy { peer, task } => Event::PeerBusy { peer, task },
        Report::Sending { peer } => Event::PeerSending { peer },
        Report::Lost { peer } => Event::PeerLost { peer },
    }
}
