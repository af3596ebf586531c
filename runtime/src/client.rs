//! The client: what a program asks of its cluster.
//!
//! Sockets and heartbeats live on a thread of their own, so the program may compute for minutes between two requests,
//! and its futures run on any executor. Whoever asks something turns the client's machine and hands the request to
//! the system himself.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, Weak},
    time::{Duration, Instant},
};

use phalanx_engine::{
    client::{Client as Machine, Command, Config, Event, Trouble},
    graph::{AnyDelayed, ArgumentCode, Collection, Delayed, Graph, Output},
    id::TaskId,
    message::{FromClient, Greeting, Role, ToClient, WaitReason, WorkerInfo},
    task::Registry,
    value::{Portable, Value},
};
use tokio::{
    runtime::Handle,
    sync::{Notify, mpsc, oneshot, watch},
};

use crate::{
    error::{Error, Result},
    handshake::{hello, instruction_set},
    io::{Alarm, Checks, Clock, IoThread, Spawned, lock},
    local::{LocalCluster, LocalOptions},
    peers::{Peers, Report, Told},
    remote::{AsCompleted, Held, Hold, Remote, identity},
    transport::{Destination, Line, Receiver, Sender},
};

/// What a handle on work that could not be submitted looks like in other work.
pub(crate) const BROKEN: TaskId = TaskId(u64::MAX);

/// A program's side of a cluster. Clones are the same client; the last one to go ends the connection, and with
/// [`Client::local`] the cluster.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use phalanx_engine::task;
/// use phalanx_runtime::Client;
///
/// #[task]
/// fn add(a: f64, b: f64) -> f64 { a + b }
///
/// let client = Client::local().await?;                      // or Client::connect("tcp://127.0.0.1:8786")
/// let three = add::delayed(1., 2.);                         // describes, runs nothing
/// assert_eq!(client.compute(&three).await?, 3.);            // brings the value home
/// let six = client.submit(&add::delayed(&three, &three));   // starts at once
/// assert_eq!(six.await?, 6.);
/// # Ok::<(), phalanx_runtime::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Client(Arc<Connection>);

/// How a client connects.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `connect_for` | 5 s | how long the scheduler is looked for | any |
/// | `instruction_set` | [`instruction_set()`] | compared with the other programs of the cluster | text |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientOptions {
    /// How long the scheduler is looked for.
    pub connect_for: Duration,
    /// Compared with the other programs of the cluster.
    pub instruction_set: String,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self { connect_for: Duration::from_secs(5), instruction_set: instruction_set() }
    }
}

/// Something the user should know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// Work waits for what only people can bring.
    Waiting {
        /// For what.
        reason: WaitReason,
        /// How many of this client's tasks.
        n_tasks: u64,
        /// For how long already.
        waited: Duration,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting { reason: WaitReason::NoWorkers, n_tasks, waited } => {
                let tasks = if *n_tasks == 1 { "1 task waits" } else { &format!("{n_tasks} tasks wait") };
                let seconds = waited.as_secs_f64();
                write!(
                    f,
                    "{tasks} for a worker, for {seconds:.0} s already: none is connected; start one with `phalanx worker`"
                )
            }
        }
    }
}

impl Client {
    /// A client of a cluster of its own: one worker in this process, with as many threads as the machine runs at once.
    ///
    /// # Errors
    /// When a thread cannot be started, or two task functions of this program have one name.
    pub async fn local() -> Result<Self> {
        Self::local_with(LocalOptions::default()).await
    }

    /// A client of a cluster of its own.
    ///
    /// # Errors
    /// As [`LocalCluster::start`].
    pub async fn local_with(options: LocalOptions) -> Result<Self> {
        let cluster = LocalCluster::start(options)?;
        let client = cluster.client().await?;
        let connection = Arc::into_inner(client.0).ok_or(Error::SchedulerLost)?;
        Ok(Self(Arc::new(Connection { _cluster: Some(cluster), ..connection })))
    }

    /// A client of the scheduler at `url`, `tcp://127.0.0.1:8786`.
    ///
    /// # Errors
    /// When nobody answers there, or the scheduler refuses this program.
    pub async fn connect(url: &str) -> Result<Self> {
        Self::connect_with(url, &ClientOptions::default()).await
    }

    /// A client of the scheduler at `url`.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_with(url: &str, options: &ClientOptions) -> Result<Self> {
        let io = IoThread::start("phalanx-client")?;
        let handle = io.handle().clone();
        let client = Self::join(Destination::Tcp(url.into()), options, handle, true, Some(io)).await?;
        Ok(client)
    }

    /// A client whose sockets live on `handle`. `travels` where values become bytes on their way to some worker.
    pub(crate) async fn join(
        scheduler: Destination,
        options: &ClientOptions,
        handle: Handle,
        travels: bool,
        io: Option<IoThread>,
    ) -> Result<Self> {
        let hello = hello(Role::Client, &options.instruction_set)?;
        let patience = options.connect_for;
        let (done, joined) = oneshot::channel();
        let on = handle.clone();
        let join = async move {
            let joined = scheduler.join::<FromClient, ToClient>(hello, patience, Line::Client).await;
            let _ = done.send(joined.and_then(|(greeting, sender, receiver)| {
                let Greeting::Client { client, heartbeat_ms } = greeting else {
                    let reason = "it greets a client as something else".into();
                    return Err(Error::NotAScheduler { url: scheduler.url().into(), reason });
                };
                let config = Config { heartbeat: Duration::from_millis(heartbeat_ms.max(1)), ..Config::default() };
                let clock = Clock::start();
                let shell = Arc::new_cyclic(|me| Shell {
                    me: Weak::clone(me),
                    core: Mutex::new(Core {
                        machine: Machine::new(client, config, clock.now()),
                        client,
                        commands: Vec::new(),
                        next_ticket: 0,
                        waiting: HashMap::new(),
                        checks: Checks::default(),
                    }),
                    scheduler: sender,
                    travels,
                    peers: Peers::new(on.clone()),
                    clock,
                    alarm: Alarm::new(clock),
                    workers: watch::Sender::new(Vec::new()),
                    listeners: Mutex::default(),
                    released: Mutex::default(),
                    some_released: Notify::new(),
                });
                let hear = Spawned::on(&on, hear(Lost(Arc::clone(&shell)), receiver));
                let tick = Spawned::on(&on, tick(Arc::clone(&shell)));
                Ok(Connection { shell, handle: on, _tasks: [hear, tick], _io: None, _cluster: None })
            }));
        };
        let _joining = Spawned::on(&handle, join);
        let connection = joined.await.map_err(|_| Error::SchedulerLost)??;
        Ok(Self(Arc::new(Connection { _io: io, ..connection })))
    }

    /// Runs what `collection` describes and brings its value home. Parts that are values already never leave.
    ///
    /// Dropping the future takes the work back.
    ///
    /// # Errors
    /// When a task has no result, its value is not of the expected type, or the scheduler is lost.
    pub async fn compute<C: Collection>(&self, collection: &C) -> Result<C::Output> {
        let values = self.values(&collection.outputs()).await?;
        Ok(collection.assemble(values)?)
    }

    /// Runs what `collection` describes and leaves the results on the workers: the same thing comes back, standing on
    /// those results. They are released when it and everything made of it is gone.
    ///
    /// Ready when all results are there. Dropping the future takes the work back.
    ///
    /// # Errors
    /// When a task has no result, or the scheduler is lost.
    pub async fn persist<C: Collection>(&self, collection: &C) -> Result<C> {
        let outputs = collection.outputs();
        let submitted = self.start(&outputs)?;
        let holds = submitted.holds.clone();
        let outputs: Vec<AnyDelayed> = submitted
            .places
            .into_iter()
            .zip(outputs)
            .map(|(place, output)| match place {
                Output::Node(node) => holds[&node].delayed(),
                Output::Task(_) | Output::Value(_) => output,
            })
            .collect();
        let tasks: Vec<TaskId> = outputs.iter().filter_map(AnyDelayed::as_remote).collect();
        self.all_done(tasks).await?;
        Ok(collection.rebuild(outputs))
    }

    /// Starts a call at once and returns a handle on its result, which stays on a worker until the last clone of the
    /// handle is gone. What is wrong with the call shows when the handle is awaited.
    pub fn submit<T: Portable>(&self, call: &Delayed<T>) -> Remote<T> {
        // One call, one handle.
        self.submit_all([call]).pop().unwrap_or_else(|| Remote::new(Held::Broken(Error::SchedulerLost)))
    }

    /// As [`submit`](Self::submit) for many calls in one message; what they share runs once.
    pub fn submit_all<'a, T: Portable>(&self, calls: impl IntoIterator<Item = &'a Delayed<T>>) -> Vec<Remote<T>> {
        let outputs: Vec<AnyDelayed> = calls.into_iter().map(|call| call.any().clone()).collect();
        match self.start(&outputs) {
            Ok(submitted) => {
                let handle = |(place, output)| match place {
                    Output::Node(node) => Held::Task(Arc::clone(&submitted.holds[&node])),
                    Output::Task(task) => Held::Task(Hold::borrowed(self.clone(), task, output)),
                    Output::Value(value) => Held::Value(value),
                };
                submitted.places.into_iter().zip(outputs).map(handle).map(Remote::new).collect()
            }
            Err(error) => outputs.iter().map(|_| Remote::new(Held::Broken(error.clone()))).collect(),
        }
    }

    /// Describes a call for each item and submits them all in one message.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// # use phalanx_engine::task;
    /// # use phalanx_runtime::Client;
    /// #[task]
    /// fn square(x: u64) -> u64 { x * x }
    ///
    /// let client = Client::local().await?;
    /// let squares = client.map(1..=4, square::delayed);
    /// assert_eq!(client.gather(&squares).await?, [1, 4, 9, 16]);
    /// # Ok::<(), phalanx_runtime::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn map<I, T: Portable>(
        &self,
        items: impl IntoIterator<Item = I>,
        call: impl Fn(I) -> Delayed<T>,
    ) -> Vec<Remote<T>> {
        let calls: Vec<Delayed<T>> = items.into_iter().map(call).collect();
        self.submit_all(&calls)
    }

    /// Puts a value on a worker, from where any number of tasks can take it. Should that worker be lost, the scheduler
    /// still has the value and puts it on another.
    pub fn scatter<T: Portable>(&self, value: T) -> Remote<T> {
        self.submit(&identity(value))
    }

    /// Brings the values of several results home, in the order of the handles.
    ///
    /// # Errors
    /// The first failure among them, or that the scheduler is lost.
    pub async fn gather<T: Portable + Clone>(&self, remotes: &[Remote<T>]) -> Result<Vec<T>> {
        let outputs = remotes.iter().map(Remote::any).collect::<Result<Vec<_>>>()?;
        let values = self.values(&outputs).await?;
        values.into_iter().map(|value| Ok(Arc::unwrap_or_clone(value.take::<T>()?))).collect()
    }

    /// The results in the order in which they are done.
    pub fn as_completed<T: Portable>(&self, remotes: impl IntoIterator<Item = Remote<T>>) -> AsCompleted<T> {
        AsCompleted::new(self, remotes.into_iter().collect())
    }

    /// Stops the tasks behind these handles and what only they need. Whoever waits for one learns that it was
    /// cancelled; what is done stays.
    pub fn cancel<T>(&self, remotes: &[Remote<T>]) {
        let tasks: Vec<TaskId> = remotes.iter().filter_map(Remote::task).collect();
        if !tasks.is_empty() {
            self.shell().apply(|_, events| events.push(Event::Cancel { tasks }));
        }
    }

    /// The workers that are connected now, by rising number.
    pub fn workers(&self) -> Vec<WorkerInfo> {
        self.shell().workers.borrow().clone()
    }

    /// Waits until at least `n` workers are connected, for `timeout` at most.
    ///
    /// # Errors
    /// When there are fewer after that time, or the scheduler is lost.
    pub async fn wait_for_workers(&self, n: usize, timeout: Duration) -> Result<()> {
        let mut workers = self.shell().workers.subscribe();
        let (done, waited) = oneshot::channel();
        // The timer needs a tokio runtime, which the caller may not have.
        let _waiting = Spawned::on(&self.0.handle, async move {
            let enough = tokio::time::timeout(timeout, workers.wait_for(|workers| workers.len() >= n)).await;
            let _ = done.send(matches!(enough, Ok(Ok(_))));
        });
        let start = Instant::now();
        if waited.await.map_err(|_| Error::SchedulerLost)? {
            return Ok(());
        }
        if self.shell().is_lost() {
            return Err(Error::SchedulerLost);
        }
        let found = self.workers().len();
        Err(Error::TooFewWorkers { expected: n, found, waited: start.elapsed().max(timeout) })
    }

    /// Calls `listener` whenever there is something the user should know, on the client's own thread: it must return
    /// soon. Listeners stay as long as the client.
    pub fn on_notice(&self, listener: impl Fn(&Notice) + Send + Sync + 'static) {
        lock(&self.shell().listeners).push(Arc::new(listener));
    }

    pub(crate) fn shell(&self) -> &Arc<Shell> {
        &self.0.shell
    }

    /// Submits what `outputs` need.
    fn start(&self, outputs: &[AnyDelayed]) -> Result<Submitted> {
        let (mut graph, places) = Graph::of(outputs, Registry::linked()?)?;
        let is_broken = graph.arguments.contains(&ArgumentCode::Task(BROKEN)) || places.contains(&Output::Task(BROKEN));
        if is_broken {
            return Err(Error::NotSubmitted);
        }
        let mut holds = BTreeMap::new();
        if graph.is_empty() {
            return Ok(Submitted { places, holds });
        }
        if self.shell().travels {
            // Made bytes here, where a value that cannot be written is an error of the caller, and nobody waits.
            for constant in &mut graph.constants {
                *constant = Value::from_data(constant.to_data()?);
            }
        }
        let mut wanted: Vec<u32> = places
            .iter()
            .filter_map(|place| match place {
                Output::Node(node) => Some(*node),
                Output::Task(_) | Output::Value(_) => None,
            })
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        let nodes = wanted.clone();
        let (client, first) = self.shell().apply(|core, events| {
            events.push(Event::Submit { graph, wanted });
            (core.client, core.machine.first_of_next())
        });
        for node in nodes {
            let task = TaskId::new(client, first + u64::from(node));
            holds.insert(node, Hold::owned(self.clone(), task));
        }
        Ok(Submitted { places, holds })
    }

    /// Submits what `outputs` need and brings their values home.
    async fn values(&self, outputs: &[AnyDelayed]) -> Result<Vec<Value>> {
        let submitted = self.start(outputs)?;
        let mut tasks = Vec::new();
        let mut seats = HashMap::new();
        let task_of = |place: &Output| match place {
            Output::Node(node) => Some(submitted.holds[node].task()),
            Output::Task(task) => Some(*task),
            Output::Value(_) => None,
        };
        for task in submitted.places.iter().filter_map(task_of) {
            seats.entry(task).or_insert_with(|| {
                tasks.push(task);
                tasks.len() - 1
            });
        }
        let mut found = self.gather_tasks(tasks).await?;
        let places: Vec<(Output, Option<TaskId>)> =
            submitted.places.iter().map(|place| (place.clone(), task_of(place))).collect();
        drop(submitted);
        let mut uses: HashMap<TaskId, usize> = HashMap::new();
        for task in places.iter().filter_map(|(_, task)| *task) {
            *uses.entry(task).or_default() += 1;
        }
        let value = |(place, task): (Output, Option<TaskId>)| match (place, task) {
            (Output::Value(value), _) => Some(value),
            (_, Some(task)) => {
                let left = uses.entry(task).or_default();
                *left = left.saturating_sub(1);
                let seat = &mut found[seats[&task]];
                if *left == 0 { seat.take() } else { seat.clone() }
            }
            (_, None) => None,
        };
        places.into_iter().map(value).collect::<Option<Vec<_>>>().ok_or(Error::SchedulerLost)
    }

    async fn gather_tasks(&self, tasks: Vec<TaskId>) -> Result<Vec<Option<Value>>> {
        if tasks.is_empty() {
            return Ok(Vec::new());
        }
        let (done, gathered) = oneshot::channel();
        let n = tasks.len();
        let part = Arc::new(Mutex::new(Gathering { values: vec![None; n], n_missing: n, done: Some(done) }));
        let _open = self.shell().ask(&tasks, true, |place| Waiter::Part(Arc::clone(&part), place));
        gathered.await.map_err(|_| Error::SchedulerLost)?
    }

    pub(crate) async fn all_done(&self, tasks: Vec<TaskId>) -> Result<()> {
        if tasks.is_empty() {
            return Ok(());
        }
        let (done, gathered) = oneshot::channel();
        let n = tasks.len();
        let part = Arc::new(Mutex::new(Gathering { values: vec![None; n], n_missing: n, done: Some(done) }));
        let _open = self.shell().ask(&tasks, false, |place| Waiter::Part(Arc::clone(&part), place));
        gathered.await.map_err(|_| Error::SchedulerLost)?.map(drop)
    }

    /// The value behind a handle.
    pub(crate) async fn value_of(&self, task: TaskId) -> Result<Value> {
        let found = self.gather_tasks(vec![task]).await?.pop().flatten();
        found.ok_or(Error::SchedulerLost)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("n_workers", &self.shell().workers.borrow().len()).finish_non_exhaustive()
    }
}

struct Submitted {
    places: Vec<Output>,
    holds: BTreeMap<u32, Arc<Hold>>,
}

/// All that ends with a client, in this order.
struct Connection {
    shell: Arc<Shell>,
    handle: Handle,
    _tasks: [Spawned; 2],
    _io: Option<IoThread>,
    _cluster: Option<LocalCluster>,
}

type Listener = Arc<dyn Fn(&Notice) + Send + Sync>;

/// The living part of a client: shared by its handles and its sockets.
pub(crate) struct Shell {
    me: Weak<Self>,
    core: Mutex<Core>,
    scheduler: Sender<FromClient>,
    travels: bool,
    peers: Peers,
    clock: Clock,
    alarm: Alarm,
    workers: watch::Sender<Vec<WorkerInfo>>,
    listeners: Mutex<Vec<Listener>>,
    /// Handles that are gone, for the machine's next turn.
    released: Mutex<Vec<TaskId>>,
    some_released: Notify,
}

pub(crate) struct Core {
    machine: Machine,
    client: phalanx_engine::id::ClientId,
    commands: Vec<Command>,
    next_ticket: u64,
    waiting: HashMap<u64, Waiter>,
    checks: Checks,
}

/// Who is told an answer.
pub(crate) enum Waiter {
    /// One of several that are waited for together.
    Part(Arc<Mutex<Gathering>>, usize),
    /// One of several whose order of arrival counts.
    Next(mpsc::UnboundedSender<usize>, usize),
}

/// Values that are waited for together; the first failure ends it.
pub(crate) struct Gathering {
    values: Vec<Option<Value>>,
    n_missing: usize,
    done: Option<oneshot::Sender<Result<Vec<Option<Value>>>>>,
}

impl Waiter {
    fn tell(self, answer: Result<Option<Value>, Trouble>) {
        match self {
            Self::Part(gathering, place) => {
                let mut gathering = lock(&gathering);
                match answer {
                    Ok(value) => {
                        gathering.values[place] = value;
                        gathering.n_missing -= 1;
                        if gathering.n_missing == 0 {
                            let values = std::mem::take(&mut gathering.values);
                            if let Some(done) = gathering.done.take() {
                                let _ = done.send(Ok(values));
                            }
                        }
                    }
                    Err(trouble) => {
                        if let Some(done) = gathering.done.take() {
                            let _ = done.send(Err(trouble.into()));
                        }
                    }
                }
            }
            // Whether it is done or failed shows when it is awaited.
            Self::Next(channel, place) => drop(channel.send(place)),
        }
    }
}

/// Answers that somebody waits for, until he does not any more.
pub(crate) struct Open {
    shell: Arc<Shell>,
    tickets: std::ops::Range<u64>,
}

impl Drop for Open {
    fn drop(&mut self) {
        let tickets = self.tickets.clone();
        let mut gone = Vec::new();
        self.shell.apply(|core, events| {
            for ticket in tickets {
                if let Some(waiter) = core.waiting.remove(&ticket) {
                    gone.push(waiter);
                    events.push(Event::Forget { ticket });
                }
            }
        });
    }
}

impl Shell {
    /// Asks for the values of tasks, or whether they are done.
    pub(crate) fn ask(self: &Arc<Self>, tasks: &[TaskId], gather: bool, waiter: impl Fn(usize) -> Waiter) -> Open {
        let tickets = self.apply(|core, events| {
            let first = core.next_ticket;
            for (place, task) in tasks.iter().enumerate() {
                let (task, ticket) = (*task, core.next_ticket);
                core.next_ticket += 1;
                core.waiting.insert(ticket, waiter(place));
                events.push(if gather { Event::Gather { task, ticket } } else { Event::Await { task, ticket } });
            }
            first..core.next_ticket
        });
        Open { shell: Arc::clone(self), tickets }
    }

    /// The user no longer holds a result. Only noted here: a list of handles that goes is one message.
    pub(crate) fn release(&self, task: TaskId) {
        let mut released = lock(&self.released);
        released.push(task);
        if released.len() == 1 {
            drop(released);
            self.some_released.notify_one();
        }
    }

    fn is_lost(&self) -> bool {
        lock(&self.core).machine.deadline().is_none()
    }

    /// Tells the machine what `tell` says, and carries out what it answers.
    pub(crate) fn apply<R>(&self, tell: impl FnOnce(&mut Core, &mut Vec<Event>) -> R) -> R {
        let mut answers = Vec::new();
        let mut notices = Vec::new();
        let mut core = lock(&self.core);
        let released = std::mem::take(&mut *lock(&self.released));
        let mut events: Vec<Event> = released.into_iter().map(|task| Event::Release { task }).collect();
        let told = tell(&mut core, &mut events);
        let core_ref = &mut *core;
        while !events.is_empty() {
            for event in std::mem::take(&mut events) {
                core_ref.machine.handle(self.clock.now(), event, &mut core_ref.commands);
            }
            let mut released: Vec<TaskId> = Vec::new();
            for command in core_ref.commands.drain(..) {
                if let Command::ToScheduler(FromClient::Release { tasks }) = command {
                    // Many handles that go at once are one message.
                    released.extend(tasks);
                    continue;
                }
                if !released.is_empty() {
                    self.say(FromClient::Release { tasks: std::mem::take(&mut released) });
                }
                let mut answer = |ticket, answer| {
                    answers.extend(core_ref.waiting.remove(&ticket).map(|waiter| (waiter, answer)));
                };
                match command {
                    Command::ToScheduler(message) => self.say(message),
                    Command::Fetch { peer, tasks } => {
                        events.extend(self.peers.fetch(peer, tasks, &self.me).into_iter().map(event_of));
                    }
                    Command::Close { peer } => self.peers.close(&peer),
                    Command::CloseScheduler => self.peers.close_all(),
                    Command::Deliver { ticket, value } => answer(ticket, Ok(Some(value))),
                    Command::Done { ticket } => answer(ticket, Ok(None)),
                    Command::Fail { ticket, trouble } => answer(ticket, Err(trouble)),
                    Command::Workers(workers) => drop(self.workers.send_replace(workers)),
                    Command::Waiting { reason, n_tasks, waited } => {
                        notices.push(Notice::Waiting { reason, n_tasks, waited });
                    }
                }
            }
            if !released.is_empty() {
                self.say(FromClient::Release { tasks: released });
            }
        }
        core_ref.checks.run(|| core_ref.machine.check_invariants());
        self.alarm.set(core_ref.machine.deadline().map(|(time, _)| time));
        drop(core);
        self.scheduler.flush();
        // Told without the lock: who is told may ask again at once.
        answers.into_iter().for_each(|(waiter, answer)| waiter.tell(answer));
        self.notify(&notices);
        told
    }

    fn say(&self, message: FromClient) {
        if let Err(error) = self.scheduler.send(message) {
            // Constants were made bytes before.
            tracing::error!(%error, "a message cannot be written");
        }
    }

    fn notify(&self, notices: &[Notice]) {
        for notice in notices {
            tracing::warn!("{notice}");
            let listeners = lock(&self.listeners).clone();
            listeners.iter().for_each(|listener| listener(notice));
        }
    }
}

impl Told for Shell {
    fn told(self: Arc<Self>, reports: Vec<Report>) {
        self.apply(|_, events| events.extend(reports.into_iter().map(event_of)));
    }
}

fn event_of(report: Report) -> Event {
    match report {
        Report::Fetched { peer, task, value } => Event::Fetched { peer, task, value },
        Report::NotThere { peer, task } => Event::NotThere { peer, task },
        Report::Lost { peer } => Event::PeerLost { peer },
    }
}

/// Tells the machine that the scheduler is lost, whatever way the hearing ends.
struct Lost(Arc<Shell>);

impl Drop for Lost {
    fn drop(&mut self) {
        self.0.apply(|_, events| events.push(Event::SchedulerLost));
    }
}

async fn hear(lost: Lost, mut receiver: Receiver<ToClient>) {
    let mut messages = Vec::new();
    loop {
        match receiver.recv(&mut messages).await {
            Ok(true) if messages.is_empty() => messages.push(ToClient::Heartbeat),
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::debug!(%error, "the connection to the scheduler broke");
                return;
            }
        }
        lost.0.apply(|_, events| events.extend(messages.drain(..).map(Event::Scheduler)));
    }
}

/// Does what nobody else is there for: heartbeats, and releases once a burst of them is over.
async fn tick(shell: Arc<Shell>) {
    shell.apply(|_, _| ());
    loop {
        tokio::select! {
            () = shell.alarm.wait() => shell.apply(|_, events| events.push(Event::Tick)),
            () = shell.some_released.notified() => shell.apply(|_, _| ()),
        }
    }
}
