//! The scheduler's shell: sockets in front of the machine that decides.
//!
//! One task owns the machine. Readers, a task each, push what they hear into its inbox; it takes everything that
//! waits there, carries out what the machine answers, and only then hands the answers to the system, so that many
//! small messages share one write. On a single-threaded runtime none of this wakes a thread.

use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use phalanx_engine::{
    dense::Dense,
    id::{ClientId, ClusterId, ConnectionId, WorkerId},
    inspect::Overview,
    message::{FromClient, FromWorker, Greeting, ToClient, ToWorker},
    scheduler::{Command, Config, Event, Scheduler as Machine},
    time::Time,
};
use tokio::{
    net::TcpListener,
    runtime::Handle,
    sync::{
        mpsc::{self, UnboundedReceiver, UnboundedSender},
        oneshot,
    },
};

use crate::{
    door,
    error::{Error, Result},
    io::{Alarm, Checks, Clock, Running, Spawned, random},
    journal::Journal,
    mailbox::{Giver, Taker, mailbox},
    metrics::{self, MetricsPage, ShellCounters},
    patience::Patience,
    security::{Guard, Security},
    transport::{Answer, Arrival, Destination, Line, Receiver, Sender, listen},
    wire::Wire,
};

/// At most so many events are taken before answers are written.
const BATCH: usize = 1_024;

/// How a scheduler runs.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `listen` | `tcp://127.0.0.1:8786` | where clients and workers find it; port 0 takes one that is free | loopback, or any with `security` |
/// | `heartbeat` | 1 s | how often everyone speaks | above 0 |
/// | `no_workers_after` | 2 s | when clients first learn that their work waits for a worker | above 0 |
/// | `allowed_failures` | 3 | workers that may die while running a task before it fails | 1 or more |
/// | `security` | none | what clients and workers must know or have | [`Security`] |
/// | `journal` | none | the folder in which it writes down what it must know to go on after its death | one that it alone uses |
/// | `client_grace` | 10 s | how long a client's work goes on after its connection broke without a goodbye | any |
/// | `straggler_factor` | 3 | a task that runs for so many times what three of four of its kind take is begun a second time on an idle worker, and the first answer counts | 1 or more; 0: never |
/// | `straggler_floor` | 1 s | no task is begun a second time before it is seen running for so long | above 0 |
/// | `metrics` | none | where Prometheus finds counters at `/metrics`: `HOST:PORT`, or a port of loopback; 0 takes one that is free. The page has no password: on an address that others can reach it tells them the names of workers and tasks | an address of this machine |
///
/// ```
/// use phalanx_runtime::SchedulerOptions;
/// let options = SchedulerOptions { listen: "tcp://127.0.0.1:0".into(), ..SchedulerOptions::default() };
/// assert_eq!(options.allowed_failures, 3);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct SchedulerOptions {
    /// Where clients and workers find it.
    pub listen: String,
    /// How often everyone speaks.
    pub heartbeat: Duration,
    /// When clients first learn that their work waits for a worker.
    pub no_workers_after: Duration,
    /// Workers that may die while running a task before it fails.
    pub allowed_failures: u32,
    /// What clients and workers must know or have.
    pub security: Security,
    /// How long a client's work goes on after its connection broke.
    pub client_grace: Duration,
    /// Where it writes down what it must know to go on after its death.
    pub journal: Option<PathBuf>,
    /// How far beyond what its kind takes a task must run to be begun a second time; 0 for never.
    pub straggler_factor: f64,
    /// For how long a task must be seen running before it is begun a second time.
    pub straggler_floor: Duration,
    /// Where Prometheus finds counters.
    pub metrics: Option<String>,
}

impl Default for SchedulerOptions {
    fn default() -> Self {
        let config = Config::default();
        Self {
            listen: "tcp://127.0.0.1:8786".into(),
            heartbeat: config.heartbeat,
            no_workers_after: config.no_workers_after,
            allowed_failures: config.allowed_failures,
            security: Security::default(),
            client_grace: config.client_grace,
            journal: None,
            straggler_factor: config.straggler_factor,
            straggler_floor: config.straggler_floor,
            metrics: None,
        }
    }
}

impl SchedulerOptions {
    fn check(&self) -> Result<()> {
        let positive = [
            ("heartbeat", self.heartbeat),
            ("no_workers_after", self.no_workers_after),
            ("straggler_floor", self.straggler_floor),
        ];
        for (name, value) in positive {
            if value.is_zero() {
                return Err(Error::Option { name, value: "0".into(), expected: "more than 0" });
            }
        }
        if self.allowed_failures == 0 {
            return Err(Error::Option { name: "allowed_failures", value: "0".into(), expected: "1 or more" });
        }
        let factor = self.straggler_factor;
        if factor != 0. && !(1. ..f64::INFINITY).contains(&factor) {
            let expected = "1 or more, or 0 for never";
            return Err(Error::Option { name: "straggler_factor", value: factor.to_string(), expected });
        }
        Ok(())
    }

    fn config(&self) -> Config {
        Config {
            heartbeat: self.heartbeat,
            no_workers_after: self.no_workers_after,
            allowed_failures: self.allowed_failures,
            client_grace: self.client_grace,
            straggler_factor: self.straggler_factor,
            straggler_floor: self.straggler_floor,
            version: env!("CARGO_PKG_VERSION").into(),
            ..Config::default()
        }
    }
}

/// A scheduler that has its port and waits to be run.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use phalanx_runtime::{Scheduler, SchedulerOptions};
/// let options = SchedulerOptions { listen: "tcp://127.0.0.1:0".into(), ..SchedulerOptions::default() };
/// let scheduler = Scheduler::bind(&options).await?;
/// assert!(scheduler.url().starts_with("tcp://127.0.0.1:"));
/// scheduler.run(async { /* returns when it is time to end */ }).await;
/// # Ok::<(), phalanx_runtime::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct Scheduler {
    config: Config,
    listener: Option<TcpListener>,
    guard: Arc<Guard>,
    url: String,
    door: UnboundedSender<Arrival>,
    arrivals: UnboundedReceiver<Arrival>,
    /// Where there is a journal: the machine as it was.
    before: Option<(Journal, Machine)>,
    metrics: Option<MetricsPage>,
}

impl Scheduler {
    /// Takes the port.
    ///
    /// # Errors
    /// When an option is out of its range, a token or certificate cannot be used, the address is neither loopback nor
    /// kept by one of them, a port is taken, or the journal cannot be used.
    pub async fn bind(options: &SchedulerOptions) -> Result<Self> {
        options.check()?;
        let guard = options.security.load()?;
        let (listener, url) = listen(&options.listen, &guard).await?;
        let scheduler = Self::unbound(options)?;
        let config = Config { journal: true, ..scheduler.config.clone() };
        let metrics = match &options.metrics {
            Some(address) => Some(MetricsPage::bind(address).await?),
            None => None,
        };
        let before = options.journal.as_ref().map(|folder| Journal::open(folder, config)).transpose()?;
        Ok(Self { listener: Some(listener), guard, url, before, metrics, ..scheduler })
    }

    /// A scheduler that only this process can join.
    pub(crate) fn unbound(options: &SchedulerOptions) -> Result<Self> {
        options.check()?;
        let (door, arrivals) = mpsc::unbounded_channel();
        let config = Config { cluster: ClusterId(random()?), ..options.config() };
        let (listener, guard) = (None, Arc::default());
        let (url, before, metrics) = ("inproc://".into(), None, None);
        Ok(Self { config, listener, guard, url, door, arrivals, before, metrics })
    }

    /// Where it listens, `tcp://127.0.0.1:8786`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where its counters are, `http://127.0.0.1:8787/metrics`, where it was told to show them.
    pub fn metrics_url(&self) -> Option<&str> {
        self.metrics.as_ref().map(MetricsPage::url)
    }

    /// How to join from inside this process.
    pub(crate) fn inside(&self) -> Destination {
        Destination::InProcess(self.door.clone(), Arc::clone(&self.guard))
    }

    /// Runs until `shutdown` is there; then every connection is closed. Fastest on a single-threaded runtime.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let clock = Clock::start();
        let (inbox, events) = mailbox();
        let handle = Handle::current();
        let _door = self.listener.map(|listener| Spawned::on(&handle, accept(listener, self.guard, self.door.clone())));
        let (journal, machine) = match self.before {
            Some((journal, machine)) => (Some(journal), machine),
            None => (None, Machine::new(self.config, clock.now())),
        };
        let shell = Shell {
            machine,
            journal,
            now: clock.now(),
            clock,
            handle,
            inbox,
            commands: Vec::new(),
            n_connections: 0,
            greeted: HashMap::new(),
            clients: Dense::default(),
            workers: Dense::default(),
            unsent: Vec::new(),
            checks: Checks::default(),
            counters: ShellCounters::default(),
            has_handled: false,
        };
        let (asks, samples) = mpsc::channel(1);
        let sample = move || {
            let asks: mpsc::Sender<oneshot::Sender<Sample>> = asks.clone();
            async move {
                let (done, sampled) = oneshot::channel();
                asks.send(done).await.ok()?;
                let (overview, counters) = sampled.await.ok()?;
                Some(metrics::of_scheduler(&overview, &counters))
            }
        };
        // Kept to the end, as without anybody who could ask there would always be news of that.
        let _asks = sample.clone();
        let _metrics = self.metrics.map(|page| Spawned::on(&Handle::current(), page.serve(sample)));
        let mut running = Running::start(shell.run(self.arrivals, events, samples));
        tokio::select! {
            () = shutdown => running.end().await,
            () = running.ended() => {}
        }
    }
}

/// Binds and runs a scheduler until `shutdown` is there.
///
/// # Errors
/// As [`Scheduler::bind`].
pub async fn run_scheduler(options: &SchedulerOptions, shutdown: impl Future<Output = ()>) -> Result<()> {
    Scheduler::bind(options).await?.run(shutdown).await;
    Ok(())
}

/// Lets people in who introduce themselves; each has a task, so that nobody holds up the others.
async fn accept(listener: TcpListener, guard: Arc<Guard>, door: UnboundedSender<Arrival>) {
    door::keep(listener, |stream, stranger| {
        let (guard, door) = (Arc::clone(&guard), door.clone());
        async move {
            match Arrival::of(stream, &guard).await {
                Ok(arrival) => drop(door.send(arrival)),
                Err(error) => tracing::debug!(%error, "closed a connection that did not say hello"),
            }
            stranger.enter();
        }
    })
    .await;
}

/// What is shown to Prometheus.
type Sample = (Overview, ShellCounters);

struct Shell {
    machine: Machine,
    journal: Option<Journal>,
    clock: Clock,
    /// The time of what is being handled.
    now: Time,
    handle: Handle,
    inbox: Giver<Heard>,
    commands: Vec<Command>,
    n_connections: u64,
    /// Who said hello and waits for the greeting; empty between events.
    greeted: HashMap<ConnectionId, (Answer, Line)>,
    /// By number.
    clients: Dense<Peer<ToClient>>,
    /// By number.
    workers: Dense<Peer<ToWorker>>,
    /// To whom something was said that is not flushed.
    unsent: Vec<Who>,
    checks: Checks,
    counters: ShellCounters,
    /// Whether something was handled since the last look at the sockets.
    has_handled: bool,
}

/// What happened on a connection. What is left of one that its client has given up for another must not be taken for
/// the other's.
struct Heard {
    on: ConnectionId,
    event: Event,
}

struct Peer<M> {
    on: ConnectionId,
    sender: Sender<M>,
    _reader: Spawned,
    unsent: bool,
}

/// What the scheduler has waited for.
enum Next {
    Arrival(Option<Box<Arrival>>),
    Events,
    Alarm,
    /// Somebody wants to know how it goes.
    Sample(oneshot::Sender<Sample>),
}

#[derive(Clone, Copy)]
enum Who {
    Client(ClientId),
    Worker(WorkerId),
}

impl Shell {
    async fn run(
        mut self,
        mut arrivals: UnboundedReceiver<Arrival>,
        mut events: Taker<Heard>,
        mut samples: mpsc::Receiver<oneshot::Sender<Sample>>,
    ) {
        let alarm = Alarm::new(self.clock);
        let mut batch = Vec::new();
        // What was taken and not handled yet: answers are written, and time is looked at, between its parts.
        let mut pending = VecDeque::new();
        let mut patience = Patience::default();
        loop {
            let mut deadline = self.machine.deadline();
            // Looked at before events are, of which there may always be some.
            if deadline.is_some_and(|(time, _)| time <= self.clock.now()) {
                self.now = self.clock.now();
                self.handle(Event::Tick);
                deadline = self.machine.deadline();
            }
            alarm.set(deadline.map(|(time, _)| time));
            if !pending.is_empty() {
                let n = pending.len().min(BATCH);
                self.now = self.clock.now();
                pending.drain(..n).for_each(|heard| self.hear(heard));
                self.flush();
                // Sockets are heard in between.
                tokio::task::yield_now().await;
                continue;
            }
            let next = async {
                tokio::select! {
                    biased;
                    arrival = arrivals.recv() => Next::Arrival(arrival.map(Box::new)),
                    _ = events.take(&mut batch) => Next::Events,
                    () = alarm.wait() => Next::Alarm,
                    Some(ask) = samples.recv() => Next::Sample(ask),
                }
            };
            match patience.wait(next).await {
                Next::Arrival(arrival) => {
                    if let Some(arrival) = arrival {
                        let Arrival { hello, answer, line } = *arrival;
                        self.now = self.clock.now();
                        self.n_connections += 1;
                        let connection = ConnectionId(self.n_connections);
                        self.greeted.insert(connection, (answer, line));
                        self.handle(Event::Hello { connection, hello: Box::new(hello) });
                        self.greeted.clear();
                    }
                }
                Next::Events => pending.extend(batch.drain(..)),
                Next::Alarm => {}
                Next::Sample(ask) => {
                    let counters = std::mem::take(&mut self.counters.longest_turn);
                    let counters = ShellCounters { longest_turn: counters, ..self.counters };
                    let _ = ask.send((self.machine.overview(), counters));
                }
            }
            self.flush();
        }
    }

    fn flush(&mut self) {
        let mut unsent = std::mem::take(&mut self.unsent);
        for who in unsent.drain(..) {
            match who {
                Who::Client(client) => self.clients.get_mut(client.0.into()).into_iter().for_each(Peer::flush),
                Who::Worker(worker) => self.workers.get_mut(worker.0.into()).into_iter().for_each(Peer::flush),
            }
        }
        self.unsent = unsent;
        if std::mem::take(&mut self.has_handled) {
            self.counters.longest_turn = self.counters.longest_turn.max(self.clock.now() - self.now);
        }
    }

    fn hear(&mut self, Heard { on, event }: Heard) {
        let is_current = match &event {
            Event::Client { client, .. } | Event::ClientLeft { client } => {
                self.clients.get(client.0.into()).is_some_and(|peer| peer.on == on)
            }
            _ => true,
        };
        if is_current {
            self.handle(event);
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::ClientLeft { client } => drop(self.clients.remove(client.0.into())),
            Event::WorkerLeft { worker } => drop(self.workers.remove(worker.0.into())),
            _ => {}
        }
        let mut commands = std::mem::take(&mut self.commands);
        self.machine.handle(self.now, event, &mut commands);
        self.has_handled = true;
        self.counters.n_in += 1;
        self.counters.n_out += commands.len() as u64;
        if let Some(journal) = &mut self.journal {
            journal.write(&mut self.machine);
        }
        commands.drain(..).for_each(|command| self.carry_out(command));
        self.commands = commands;
        self.checks.run(|| self.machine.check_invariants());
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Greet { connection, greeting } => self.greet(connection, greeting),
            Command::ToClient { client, message } => {
                if let Some(peer) = self.clients.get_mut(client.0.into()) {
                    if !peer.unsent {
                        self.unsent.push(Who::Client(client));
                    }
                    peer.send(message);
                }
            }
            Command::ToWorker { worker, message } => {
                if let Some(peer) = self.workers.get_mut(worker.0.into()) {
                    if !peer.unsent {
                        self.unsent.push(Who::Worker(worker));
                    }
                    peer.send(message);
                }
            }
            Command::CloseClient { client } => {
                tracing::warn!(%client, "a client was silent too long, or is back on another connection");
                drop(self.clients.remove(client.0.into()));
            }
            Command::CloseWorker { worker } => {
                tracing::warn!(%worker, "a worker was silent too long, or is back on another connection");
                drop(self.workers.remove(worker.0.into()));
            }
        }
    }

    fn greet(&mut self, connection: ConnectionId, greeting: Greeting) {
        let Some((answer, line)) = self.greeted.remove(&connection) else { return };
        let inbox = self.inbox.clone();
        match (&greeting, line) {
            (Greeting::Client { client, .. } | Greeting::Session { client, .. }, Line::Client(sender, receiver)) => {
                let client = *client;
                let say = move |message| Event::Client { client, message };
                let read = read(receiver, connection, inbox, say, FromClient::Heartbeat, Event::ClientLeft { client });
                let reader = Spawned::on(&self.handle, read);
                self.clients.insert(client.0.into(), Peer { on: connection, sender, _reader: reader, unsent: false });
            }
            (Greeting::Worker { worker, .. }, Line::Worker(sender, receiver)) => {
                let worker = *worker;
                let say = move |message| Event::Worker { worker, message };
                let read = read(receiver, connection, inbox, say, FromWorker::Heartbeat, Event::WorkerLeft { worker });
                let reader = Spawned::on(&self.handle, read);
                self.workers.insert(worker.0.into(), Peer { on: connection, sender, _reader: reader, unsent: false });
            }
            (Greeting::Refused { reason }, _) => tracing::warn!(reason, "refused a connection"),
            (_, _) => {}
        }
        // Dropping the answer of a refused connection closes it once the refusal is written.
        answer.give(greeting);
    }
}

impl<M: Wire> Peer<M> {
    fn send(&mut self, message: M) {
        self.unsent = true;
        if let Err(error) = self.sender.send(message) {
            // Only a client of this process can hand in a value that cannot be written, and it tries that before.
            tracing::error!(%error, "a message cannot be written");
        }
    }

    fn flush(&mut self) {
        self.unsent = false;
        self.sender.flush();
    }
}

/// Hears one connection out.
#[tracing::instrument(name = "connection", level = "debug", skip_all, fields(on = %on, who = ?left))]
async fn read<M: Wire + Clone>(
    mut receiver: Receiver<M>,
    on: ConnectionId,
    inbox: Giver<Heard>,
    say: impl Fn(M) -> Event,
    alive: M,
    left: Event,
) {
    let mut messages = Vec::new();
    loop {
        match receiver.recv(&mut messages).await {
            Ok(true) if messages.is_empty() => inbox.push(Heard { on, event: say(alive.clone()) }),
            Ok(true) => inbox.extend(messages.drain(..).map(|message| Heard { on, event: say(message) })),
            Ok(false) => break,
            Err(error) => {
                tracing::debug!(%error, ?left, "a connection broke");
                break;
            }
        }
        inbox.flush();
    }
    inbox.push(Heard { on, event: left });
    inbox.flush();
}
