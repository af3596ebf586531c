//! The client: what a program asks of its cluster.
//!
//! Sockets and heartbeats live on a thread of their own, so the program may compute for minutes between two requests,
//! and its futures run on any executor. Whoever asks something turns the client's machine and hands the request to
//! the system himself.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use phalanx_engine::{
    client::Event,
    dense::TaskMap,
    graph::{AnyDelayed, ArgumentCode, Collection, Delayed, Graph, Output},
    id::{ClientId, TaskId},
    message::{FromClient, Greeting, Resume, Role, Session, ToClient, WaitReason, WorkerInfo},
    task::Registry,
    value::{Portable, Value},
};
use tokio::{runtime::Handle, sync::oneshot};

use crate::{
    error::{Error, Result},
    handshake::{hello, instruction_set},
    io::{IoThread, PATIENCE, Spawned, lock, random},
    local::{LocalCluster, LocalOptions},
    remote::{AsCompleted, Held, Hold, Remote, identity},
    security::Security,
    transport::{Destination, Line},
};

mod again;
mod retire;
mod sharing;
mod shell;
mod spread;

use again::Again;
use shell::{Gathering, Goodbye, Lost, hear, tick};
pub(crate) use shell::{Open, Shell, Waiter};

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
/// | `connect_for` | 5 s | how long the scheduler is looked for at the start | any |
/// | `instruction_set` | [`instruction_set()`] | compared with the other programs of the cluster | text |
/// | `security` | none | what scheduler and workers must know or have, and this program too | [`Security`] |
/// | `reconnect_for` | 60 s | how long a scheduler that was lost is looked for, with all futures still open; inside of one process not at all | any |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientOptions {
    /// How long the scheduler is looked for at the start.
    pub connect_for: Duration,
    /// Compared with the other programs of the cluster.
    pub instruction_set: String,
    /// What scheduler and workers must know or have, and this program too.
    pub security: Security,
    /// How long a scheduler that was lost is looked for.
    pub reconnect_for: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        let (connect_for, reconnect_for) = (Duration::from_secs(5), Duration::from_secs(60));
        let security = Security::default();
        Self { connect_for, instruction_set: instruction_set(), security, reconnect_for }
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
    /// The scheduler is gone; what was submitted stays open while it is looked for.
    SchedulerGone {
        /// Where.
        url: String,
        /// For how long.
        patience: Duration,
    },
    /// The scheduler is there again.
    SchedulerBack {
        /// Where.
        url: String,
        /// Whether it still knows this client's work. Where not, open futures fail with
        /// [`Error::SchedulerRestarted`], and new work runs.
        remembers: bool,
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
            Self::Waiting { reason: WaitReason::NoSuitableWorker { missing }, n_tasks, waited } => {
                let tasks = if *n_tasks == 1 { "1 task waits" } else { &format!("{n_tasks} tasks wait") };
                let seconds = waited.as_secs_f64();
                write!(f, "{tasks} for {missing}, for {seconds:.0} s already: no connected worker is one")
            }
            Self::SchedulerGone { url, patience } => {
                write!(f, "the scheduler is gone; waiting for it at {url}, for {patience:?} at most")
            }
            Self::SchedulerBack { url, remembers: true } => write!(f, "the scheduler at {url} is back"),
            Self::SchedulerBack { url, remembers: false } => {
                write!(f, "the scheduler at {url} is back, and has forgotten what was submitted before")
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
    /// When nobody answers there, or the scheduler refuses this program. A scheduler with a token or TLS does; see
    /// [`connect_with`](Self::connect_with).
    pub async fn connect(url: &str) -> Result<Self> {
        Self::connect_with(url, &ClientOptions::default()).await
    }

    /// A client of the scheduler at `url`.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_with(url: &str, options: &ClientOptions) -> Result<Self> {
        let guard = options.security.load()?;
        let io = IoThread::start("phalanx-client")?;
        let handle = io.handle().clone();
        let client = Self::join(Destination::Tcp(url.into(), guard), options, handle, true, Some(io)).await?;
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
        let comes_back = scheduler.may_come_back() && !options.reconnect_for.is_zero();
        let session = if comes_back { Some(Session { key: random()?, resumes: None }) } else { None };
        let hello = hello(session.map_or(Role::Client, Role::Session), &options.instruction_set)?;
        let guard = Arc::clone(scheduler.guard());
        let (patience, reconnect_for) = (options.connect_for, options.reconnect_for);
        let (done, joined) = oneshot::channel();
        let on = handle.clone();
        let join = async move {
            let joined = scheduler.join::<FromClient, ToClient>(hello.clone(), patience, Line::Client).await;
            let connected = joined.and_then(|(greeting, sender, receiver)| {
                let (client, heartbeat_ms, again) = match (greeting, session) {
                    (Greeting::Client { client, heartbeat_ms }, None) => (client, heartbeat_ms, None),
                    (Greeting::Session { client, heartbeat_ms, cluster, life, .. }, Some(session)) => {
                        let session = Session { resumes: Some(Resume { cluster, client }), ..session };
                        (client, heartbeat_ms, Some(Again { scheduler, hello, session, reconnect_for, life }))
                    }
                    _ => {
                        let reason = "it greets a client as something else".into();
                        return Err(Error::NotAScheduler { url: scheduler.url().into(), reason });
                    }
                };
                let heartbeat = Duration::from_millis(heartbeat_ms.max(1));
                let shell = Shell::new(client, heartbeat, sender, travels, again.is_some(), on.clone(), guard);
                let known = shell.workers.subscribe();
                let hear = Spawned::on(&on, hear(Lost(Arc::clone(&shell)), receiver, again));
                let tick = Spawned::on(&on, tick(Arc::clone(&shell)));
                let goodbye = Goodbye(Arc::clone(&shell));
                let tasks = [hear, tick];
                let connection =
                    Connection { _goodbye: goodbye, shell, handle: on, _tasks: tasks, _io: None, _cluster: None };
                Ok((connection, known))
            });
            let connected = match connected {
                Ok((connection, mut known)) => {
                    // The scheduler says right after its greeting who is there: whoever asks for workers finds them. One
                    // that says nothing shows in what is asked of it.
                    let _ = tokio::time::timeout(PATIENCE, known.changed()).await;
                    Ok(connection)
                }
                Err(error) => Err(error),
            };
            let _ = done.send(connected);
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
    #[tracing::instrument(level = "debug", skip_all)]
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
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn persist<C: Collection>(&self, collection: &C) -> Result<C> {
        let outputs = collection.outputs();
        let (places, submitted) = self.start(&outputs)?;
        let holds = self.hold(&submitted);
        let kept = |(place, output)| match place {
            Output::Node(node) => holds[submitted.seat(node)].delayed(),
            Output::Task(_) | Output::Value(_) => output,
        };
        let outputs: Vec<AnyDelayed> = places.into_iter().zip(outputs).map(kept).collect();
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
    #[tracing::instrument(name = "submit", level = "debug", skip_all)]
    pub fn submit_all<'a, T: Portable>(&self, calls: impl IntoIterator<Item = &'a Delayed<T>>) -> Vec<Remote<T>> {
        let outputs: Vec<AnyDelayed> = calls.into_iter().map(|call| call.any().clone()).collect();
        match self.start(&outputs) {
            Ok((places, submitted)) => {
                let holds = self.hold(&submitted);
                let handle = |(place, output)| match place {
                    Output::Node(node) => Held::Task(Arc::clone(&holds[submitted.seat(node)])),
                    Output::Task(task) => Held::Task(Hold::borrowed(self.clone(), task, output)),
                    Output::Value(value) => Held::Value(value),
                };
                places.into_iter().zip(outputs).map(handle).map(Remote::new).collect()
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
    #[tracing::instrument(level = "debug", skip_all, fields(n = remotes.len()))]
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

    /// Where its sockets live.
    pub(crate) fn handle(&self) -> &Handle {
        &self.0.handle
    }

    /// Calls `listener` whenever there is something the user should know, on the client's own thread: it must return
    /// soon. Listeners stay as long as the client.
    pub fn on_notice(&self, listener: impl Fn(&Notice) + Send + Sync + 'static) {
        lock(&self.shell().listeners).push(Arc::new(listener));
    }

    /// Whoever waits for something learns that the cluster is gone.
    pub(crate) fn close(&self) {
        self.shell().apply(|_, events| events.push(Event::SchedulerLost));
    }

    pub(crate) fn shell(&self) -> &Arc<Shell> {
        &self.0.shell
    }

    /// Submits what `outputs` need. Says what each output is, and which tasks somebody has to release.
    fn start(&self, outputs: &[AnyDelayed]) -> Result<(Vec<Output>, Submitted)> {
        let (graph, places) = self.lay_out(outputs)?;
        if graph.is_empty() {
            return Ok((places, Submitted { client: ClientId(0), first: 0, nodes: Vec::new(), generation: 0 }));
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
        let parent = self.shell().parent();
        let submitted = self.shell().apply(|core, events| {
            events.push(Event::Submit { graph: Box::new(graph), wanted, parent });
            let (client, first) = (core.client, core.machine.first_of_next());
            // Asked for here: a moment later it may be another client's.
            Submitted { client, first, nodes, generation: self.shell().generation() }
        });
        Ok((places, submitted))
    }

    /// A handle on each result.
    fn hold(&self, submitted: &Submitted) -> Vec<Arc<Hold>> {
        submitted.tasks().map(|task| Hold::owned(self.clone(), task, submitted.generation)).collect()
    }

    /// Describes what `outputs` need, ready to be sent.
    fn lay_out(&self, outputs: &[AnyDelayed]) -> Result<(Graph, Vec<Output>)> {
        let (mut graph, places) = Graph::of(outputs, Registry::linked()?)?;
        let is_broken = graph.arguments.contains(&ArgumentCode::Task(BROKEN)) || places.contains(&Output::Task(BROKEN));
        if is_broken {
            return Err(Error::NotSubmitted);
        }
        if self.shell().travels {
            // Made bytes here, where a value that cannot be written is an error of the caller, and nobody waits.
            for constant in &mut graph.constants {
                *constant = Value::from_data(constant.to_data()?);
            }
        }
        Ok((graph, places))
    }

    /// All results as one.
    fn batch(&self, submitted: &Submitted) -> Batch<'_> {
        Batch { client: self, tasks: submitted.tasks().collect(), generation: submitted.generation }
    }

    /// Submits what `outputs` need and brings their values home.
    async fn values(&self, outputs: &[AnyDelayed]) -> Result<Vec<Value>> {
        let (places, submitted) = self.start(outputs)?;
        let batch = self.batch(&submitted);
        let mut tasks = batch.tasks.clone();
        // Where each output's value will be, and how many outputs have it.
        let mut seats = Vec::with_capacity(places.len());
        let mut n_uses = vec![0_u32; tasks.len()];
        let mut borrowed = TaskMap::default();
        for place in &places {
            let seat = match place {
                Output::Node(node) => submitted.seat(*node),
                Output::Task(task) => match borrowed.get(*task) {
                    Some(seat) => *seat,
                    None => {
                        borrowed.insert(*task, tasks.len());
                        tasks.push(*task);
                        n_uses.push(0);
                        tasks.len() - 1
                    }
                },
                Output::Value(_) => usize::MAX,
            };
            n_uses.get_mut(seat).into_iter().for_each(|n| *n += 1);
            seats.push(seat);
        }
        let mut found = self.gather_tasks(tasks).await?;
        drop(batch);
        let value = |(place, seat): (Output, usize)| match place {
            Output::Value(value) => Some(value),
            Output::Node(_) | Output::Task(_) => {
                n_uses[seat] -= 1;
                if n_uses[seat] == 0 { found[seat].take() } else { found[seat].clone() }
            }
        };
        places.into_iter().zip(seats).map(value).collect::<Option<Vec<_>>>().ok_or(Error::SchedulerLost)
    }

    async fn gather_tasks(&self, tasks: Vec<TaskId>) -> Result<Vec<Option<Value>>> {
        if tasks.is_empty() {
            return Ok(Vec::new());
        }
        let (part, gathered) = Gathering::of(tasks.len());
        let _open = self.shell().ask(tasks, true, |place| Waiter::Part(Arc::clone(&part), place));
        gathered.await.map_err(|_| Error::SchedulerLost)?
    }

    pub(crate) async fn all_done(&self, tasks: Vec<TaskId>) -> Result<()> {
        if tasks.is_empty() {
            return Ok(());
        }
        let (part, gathered) = Gathering::of(tasks.len());
        let _open = self.shell().ask(tasks, false, |place| Waiter::Part(Arc::clone(&part), place));
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

/// What was submitted and is wanted.
struct Submitted {
    client: ClientId,
    /// The sequence number of node 0.
    first: u64,
    /// The wanted nodes, rising.
    nodes: Vec<u32>,
    /// Which handles these are; see [`Shell::generation`].
    generation: u64,
}

impl Submitted {
    fn tasks(&self) -> impl ExactSizeIterator<Item = TaskId> + '_ {
        self.nodes.iter().map(|node| self.task(*node))
    }

    const fn task(&self, node: u32) -> TaskId {
        TaskId::new(self.client, self.first + node as u64)
    }

    /// Which of the wanted nodes a node is. Where all are wanted, that is its own number.
    fn seat(&self, node: u32) -> usize {
        let own = node as usize;
        if self.nodes.get(own) == Some(&node) { own } else { self.nodes.partition_point(|other| *other < node) }
    }
}

/// Results that are released together.
struct Batch<'a> {
    client: &'a Client,
    tasks: Vec<TaskId>,
    generation: u64,
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.client.shell().release(std::mem::take(&mut self.tasks), self.generation);
    }
}

/// All that ends with a client, in this order.
struct Connection {
    _goodbye: Goodbye,
    shell: Arc<Shell>,
    handle: Handle,
    _tasks: [Spawned; 2],
    _io: Option<IoThread>,
    _cluster: Option<LocalCluster>,
}
