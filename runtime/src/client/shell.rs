//! What a client does: its machine, who waits for answers, and the two tasks that never sleep long.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError, RwLock, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use phalanx_engine::{
    client::{Client as Machine, Command, Config, Event, Outbox, Trouble},
    coordination,
    dense::Dense,
    event::Record,
    id::{ClientId, TaskId},
    message::{FromClient, ToClient, WorkerInfo},
    value::Value,
};
use tokio::{
    runtime::Handle,
    sync::{Notify, mpsc, oneshot, watch},
};

use super::{
    Notice,
    again::{Again, say},
    sharing::Answer,
};
use crate::{
    coordination::{Granted, Returns},
    error::Result,
    events::{Batch, Events},
    io::{Alarm, Checks, Clock, lock},
    patience::Patience,
    peers::{Peers, Report, Told},
    security::Guard,
    transport::{Receiver, Sender},
    worker::current_task,
};

/// How long a released handle may wait for something to go along with.
const SWEEP: Duration = Duration::from_millis(5);

pub(super) type Listener = Arc<dyn Fn(&Notice) + Send + Sync>;

/// The living part of a client: shared by its handles and its sockets.
pub(crate) struct Shell {
    me: Weak<Self>,
    core: Mutex<Core>,
    /// Another one after each reconnecting.
    scheduler: RwLock<Sender<FromClient>>,
    /// Ends the hearing of a connection that was given up.
    pub(super) given_up: Notify,
    /// Whether values become bytes on their way to some worker.
    pub(super) travels: bool,
    peers: Peers,
    clock: Clock,
    alarm: Alarm,
    pub(super) workers: watch::Sender<Vec<WorkerInfo>>,
    pub(super) listeners: Mutex<Vec<Listener>>,
    /// Handles that are gone, for the machine's next turn.
    released: Mutex<Released>,
    some_released: Notify,
    /// Whether somebody was told of them.
    sweeping: AtomicBool,
    /// Whether it is a worker's, for its tasks.
    inside: AtomicBool,
    /// How often what is held by name was lost.
    life: AtomicU64,
}

/// Handles that are gone.
#[derive(Debug, Default)]
struct Released {
    tasks: Vec<TaskId>,
    /// How often a scheduler forgot this client: handles from before are on nothing any more.
    generation: u64,
}

pub(crate) struct Core {
    pub(super) machine: Machine,
    pub(super) client: ClientId,
    commands: Vec<Command>,
    next_ticket: u64,
    waiting: Dense<Waiter>,
    checks: Checks,
    /// What the scheduler may not have heard, where the client would come back.
    pub(super) outbox: Option<Outbox>,
    /// Who reads what happens: the first does, and those behind him once he has got his last.
    readers: VecDeque<Reader>,
    n_readers: u64,
}

/// Who reads what happens.
struct Reader {
    number: u64,
    sender: mpsc::UnboundedSender<Batch>,
}

/// Who is told an answer.
pub(crate) enum Waiter {
    /// One of several that are waited for together.
    Part(Arc<Mutex<Gathering>>, usize),
    /// One of several whose order of arrival counts.
    Next(mpsc::UnboundedSender<usize>, usize),
    /// Somebody who asked something about the cluster.
    Reply(oneshot::Sender<Result<Answer>>),
    /// Who asked for something by name.
    Named(oneshot::Sender<Result<Granted, Trouble>>, Returns),
}

/// Values that are waited for together; the first failure ends it.
pub(crate) struct Gathering {
    values: Vec<Option<Value>>,
    n_missing: usize,
    done: Option<oneshot::Sender<Gathered>>,
}

/// One place for each task; a place is empty where only its end was waited for.
pub(super) type Gathered = Result<Vec<Option<Value>>>;

impl Gathering {
    pub(super) fn of(n_tasks: usize) -> (Arc<Mutex<Self>>, oneshot::Receiver<Gathered>) {
        let (done, gathered) = oneshot::channel();
        (Arc::new(Mutex::new(Self { values: vec![None; n_tasks], n_missing: n_tasks, done: Some(done) })), gathered)
    }
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
            Self::Reply(done) => {
                let trouble = answer.err().unwrap_or(Trouble::SchedulerLost);
                let _ = done.send(Err(trouble.into()));
            }
            Self::Named(sender, _) => {
                if let Err(trouble) = answer {
                    let _ = sender.send(Err(trouble));
                }
            }
        }
    }

    /// The scheduler answered a question.
    fn reply(self, answer: Answer) {
        if let Self::Reply(done) = self {
            // Where nobody listens any more, what was granted is released with it.
            let _ = done.send(Ok(answer));
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
                // Mostly everything was answered, be it a million.
                if core.waiting.is_empty() {
                    break;
                }
                if let Some(waiter) = core.waiting.remove(ticket) {
                    gone.push(waiter);
                    events.push(Event::Forget { ticket });
                }
            }
        });
    }
}

impl Shell {
    /// The shell of the client with that number, whose sockets live on `handle`.
    pub(super) fn new(
        client: ClientId,
        heartbeat: Duration,
        scheduler: Sender<FromClient>,
        travels: bool,
        reconnects: bool,
        handle: Handle,
        guard: Arc<Guard>,
    ) -> Arc<Self> {
        let clock = Clock::start();
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            core: Mutex::new(Core {
                machine: Machine::new(client, Config { heartbeat, reconnects, ..Config::default() }, clock.now()),
                client,
                commands: Vec::new(),
                next_ticket: 0,
                waiting: Dense::default(),
                checks: Checks::default(),
                outbox: reconnects.then(Outbox::default),
                readers: VecDeque::new(),
                n_readers: 0,
            }),
            scheduler: RwLock::new(scheduler),
            given_up: Notify::new(),
            travels,
            peers: Peers::new(handle, guard),
            clock,
            alarm: Alarm::new(clock),
            workers: watch::Sender::new(Vec::new()),
            listeners: Mutex::default(),
            released: Mutex::default(),
            some_released: Notify::new(),
            sweeping: AtomicBool::new(false),
            life: AtomicU64::new(0),
            inside: AtomicBool::new(false),
        })
    }

    /// Somebody reads what happens from now on; who did before gets his last.
    pub(crate) fn listen(&self, record: Record) -> (u64, mpsc::UnboundedReceiver<Batch>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let number = self.apply(|core, events| {
            core.n_readers += 1;
            core.readers.push_back(Reader { number: core.n_readers, sender });
            events.push(Event::Subscribe { record });
            core.n_readers
        });
        (number, receiver)
    }

    /// A reader wants no more.
    pub(crate) fn stop_listening(&self, number: u64) {
        self.apply(|core, events| {
            if core.readers.back().is_some_and(|reader| reader.number == number) {
                events.push(Event::Subscribe { record: Record::Nothing });
            }
        });
    }

    /// Asks for the values of tasks, or whether they are done.
    pub(crate) fn ask(self: &Arc<Self>, tasks: Vec<TaskId>, gather: bool, waiter: impl Fn(usize) -> Waiter) -> Open {
        let tickets = self.apply(|core, events| {
            let ticket = core.next_ticket;
            core.next_ticket += tasks.len() as u64;
            (ticket..).zip(0..tasks.len()).for_each(|(ticket, place)| drop(core.waiting.insert(ticket, waiter(place))));
            events.push(if gather { Event::Gather { tasks, ticket } } else { Event::Await { tasks, ticket } });
            ticket..core.next_ticket
        });
        Open { shell: Arc::clone(self), tickets }
    }

    /// Asks the scheduler something about the cluster.
    pub(super) fn inquire(
        self: &Arc<Self>,
        done: oneshot::Sender<Result<Answer>>,
        ask: impl FnOnce(u64) -> Event,
    ) -> Open {
        let ticket = self.apply(|core, events| {
            let ticket = core.next_ticket;
            core.next_ticket += 1;
            core.waiting.insert(ticket, Waiter::Reply(done));
            events.push(ask(ticket));
            ticket
        });
        Open { shell: Arc::clone(self), tickets: ticket..ticket + 1 }
    }

    /// Asks for something by name. What was granted to nobody goes back.
    pub(crate) fn ask_for(
        self: &Arc<Self>,
        request: coordination::Request,
        value: Option<Value>,
        returns: Returns,
    ) -> (Open, oneshot::Receiver<Result<Granted, Trouble>>) {
        let (sender, answer) = oneshot::channel();
        let tickets = self.apply(|core, events| {
            let ticket = core.next_ticket;
            core.next_ticket += 1;
            core.waiting.insert(ticket, Waiter::Named(sender, returns));
            events.push(Event::Coordinate { ticket, request, value });
            ticket..core.next_ticket
        });
        (Open { shell: Arc::clone(self), tickets }, answer)
    }

    /// Says something by name that is not answered.
    pub(crate) fn tell(&self, request: coordination::Request, value: Option<Value>) {
        self.apply(|core, events| {
            let ticket = core.next_ticket;
            core.next_ticket += 1;
            events.push(Event::Coordinate { ticket, request, value });
        });
    }

    /// The user no longer holds results. Only noted here: it goes along with what is said next, or soon after.
    pub(crate) fn release(&self, tasks: impl IntoIterator<Item = TaskId>, generation: u64) {
        let mut released = lock(&self.released);
        if released.generation != generation {
            return;
        }
        released.tasks.extend(tasks);
        drop(released);
        if !self.sweeping.swap(true, Ordering::SeqCst) {
            self.some_released.notify_one();
        }
    }

    /// Which handles are on something: those of this generation.
    pub(crate) fn generation(&self) -> u64 {
        lock(&self.released).generation
    }

    /// The scheduler has forgotten this client. Numbers of other clients' tasks may be given again, and must not be
    /// released by handles from before.
    pub(super) fn begins_anew(&self) {
        let mut released = lock(&self.released);
        released.generation += 1;
        released.tasks.clear();
    }

    /// From now on, what a task submits through this client runs in that task's turn.
    pub(crate) fn be_inside(&self) {
        self.inside.store(true, Ordering::Relaxed);
    }

    /// The task on whose behalf this thread submits.
    pub(super) fn parent(&self) -> Option<TaskId> {
        if self.inside.load(Ordering::Relaxed) { current_task() } else { None }
    }

    /// Whether values become bytes on their way.
    pub(crate) const fn travels(&self) -> bool {
        self.travels
    }

    /// Which life of the scheduler this is, as far as leases are concerned.
    pub(crate) fn life(&self) -> u64 {
        self.life.load(Ordering::Relaxed)
    }

    pub(crate) fn is_lost(&self) -> bool {
        lock(&self.core).machine.is_lost()
    }

    /// Tells the machine what `tell` says, and carries out what it answers.
    pub(crate) fn apply<R>(&self, tell: impl FnOnce(&mut Core, &mut Vec<Event>) -> R) -> R {
        let mut answers = Vec::new();
        let mut replies = Vec::new();
        let mut granted = Vec::new();
        let mut notices = Vec::new();
        let mut core = lock(&self.core);
        let released = std::mem::take(&mut lock(&self.released).tasks);
        let mut events = Vec::new();
        if !released.is_empty() {
            events.push(Event::Release { tasks: released });
        }
        let told = tell(&mut core, &mut events);
        let core_ref = &mut *core;
        let now = self.clock.now();
        while !events.is_empty() {
            for event in std::mem::take(&mut events) {
                core_ref.machine.handle(now, event, &mut core_ref.commands);
            }
            let mut released: Vec<TaskId> = Vec::new();
            for command in core_ref.commands.drain(..) {
                if let Command::ToScheduler(FromClient::Release { tasks }) = command {
                    // Many handles that go at once are one message.
                    released.extend(tasks);
                    continue;
                }
                if !released.is_empty() {
                    self.say(&mut core_ref.outbox, FromClient::Release { tasks: std::mem::take(&mut released) });
                }
                let mut answer = |ticket, answer| {
                    answers.extend(core_ref.waiting.remove(ticket).map(|waiter| (waiter, answer)));
                };
                match command {
                    Command::ToScheduler(message) => self.say(&mut core_ref.outbox, message),
                    Command::NamesLost => drop(self.life.fetch_add(1, Ordering::Relaxed)),
                    Command::Heard { n_messages } => {
                        core_ref.outbox.iter_mut().for_each(|outbox| outbox.heard(n_messages));
                    }
                    Command::Fetch { peer, tasks } => {
                        events.extend(self.peers.fetch(peer, tasks, &self.me).into_iter().map(event_of));
                    }
                    Command::Close { peer } => self.peers.close(&peer),
                    Command::CloseScheduler => {
                        if core_ref.machine.is_lost() {
                            self.peers.close_all();
                        }
                        self.given_up.notify_one();
                    }
                    Command::Deliver { ticket, value } => answer(ticket, Ok(Some(value))),
                    Command::Done { ticket } => answer(ticket, Ok(None)),
                    Command::Fail { ticket, trouble } => answer(ticket, Err(trouble)),
                    Command::Reply { ticket, reply } => {
                        replies.extend(core_ref.waiting.remove(ticket).map(|waiter| (waiter, reply)));
                    }
                    Command::Coordinated { ticket, answer, value } => {
                        if let (Some(Waiter::Named(sender, returns)), Some(shell)) =
                            (core_ref.waiting.remove(ticket), self.me.upgrade())
                        {
                            granted.push((sender, Granted::new(shell, ticket, answer, value, returns)));
                        }
                    }
                    Command::Workers(workers) => drop(self.workers.send_replace(workers)),
                    Command::Waiting { reason, n_tasks, waited } => {
                        notices.push(Notice::Waiting { reason, n_tasks, waited });
                    }
                    Command::Events { number, next, events, n_dropped, last } => {
                        if let Some(reader) = core_ref.readers.front() {
                            let events = Events { events, n_dropped };
                            let _ = reader.sender.send(Batch { events, last, number, next });
                        }
                        if last {
                            core_ref.readers.pop_front();
                        }
                    }
                }
            }
            if !released.is_empty() {
                self.say(&mut core_ref.outbox, FromClient::Release { tasks: released });
            }
        }
        core_ref.checks.run(|| core_ref.machine.check_invariants());
        self.alarm.set(core_ref.machine.deadline().map(|(time, _)| time));
        let generation = if replies.is_empty() { 0 } else { self.generation() };
        drop(core);
        self.scheduler.read().unwrap_or_else(PoisonError::into_inner).flush();
        // Told without the lock: who is told may ask again at once.
        answers.into_iter().for_each(|(waiter, answer)| waiter.tell(answer));
        for (waiter, reply) in replies {
            waiter.reply(Answer::new(reply, &self.me, generation));
        }
        granted.into_iter().for_each(|(sender, granted)| drop(sender.send(Ok(granted))));
        self.notify(&notices);
        told
    }

    /// Says something now, or when the scheduler is back.
    fn say(&self, outbox: &mut Option<Outbox>, message: FromClient) {
        let message = match outbox {
            Some(outbox) => outbox.say(message),
            None => Some(message),
        };
        if let Some(message) = message {
            say(&self.scheduler.read().unwrap_or_else(PoisonError::into_inner), message);
        }
    }

    /// What is said from now on goes this way.
    pub(super) fn speak_through(&self, sender: Sender<FromClient>) {
        *self.scheduler.write().unwrap_or_else(PoisonError::into_inner) = sender;
    }

    pub(super) fn notify(&self, notices: &[Notice]) {
        for notice in notices {
            tracing::warn!("{notice}");
            let listeners = lock(&self.listeners).clone();
            listeners.iter().for_each(|listener| listener(notice));
        }
    }
}

impl std::fmt::Debug for Shell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shell").field("travels", &self.travels).finish_non_exhaustive()
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
        Report::Busy { peer, task } => Event::PeerBusy { peer, task },
        Report::Sending { peer } => Event::PeerSending { peer },
        Report::Lost { peer } => Event::PeerLost { peer },
    }
}

/// Tells the machine that the scheduler is lost, whatever way the hearing ends.
pub(super) struct Lost(pub(super) Arc<Shell>);

impl Drop for Lost {
    fn drop(&mut self) {
        self.0.apply(|_, events| events.push(Event::SchedulerLost));
    }
}

/// Says that this client does not come back, when its last handle is gone.
pub(super) struct Goodbye(pub(super) Arc<Shell>);

impl Drop for Goodbye {
    fn drop(&mut self) {
        self.0.apply(|core, _| {
            if core.outbox.is_some() {
                self.0.say(&mut core.outbox, FromClient::Goodbye);
            }
        });
    }
}

/// Hears the scheduler, and the one that takes its place, until none comes back.
pub(super) async fn hear(lost: Lost, mut receiver: Receiver<ToClient>, mut again: Option<Again>) {
    loop {
        tokio::select! {
            () = hear_out(&lost, receiver) => {}
            () = lost.0.given_up.notified() => {}
        }
        let Some(again) = &mut again else { return };
        match again.join(&lost.0).await {
            Some(next) => receiver = next,
            None => return,
        }
    }
}

#[tracing::instrument(name = "connection", level = "debug", skip_all)]
async fn hear_out(lost: &Lost, mut receiver: Receiver<ToClient>) {
    let (mut messages, mut patience) = (Vec::new(), Patience::default());
    loop {
        match receiver.recv_with(&mut patience, &mut messages).await {
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
pub(super) async fn tick(shell: Arc<Shell>) {
    shell.apply(|_, _| ());
    loop {
        tokio::select! {
            () = shell.alarm.wait() => shell.apply(|_, events| events.push(Event::Tick)),
            () = shell.some_released.notified() => {
                // A list of handles that goes is one message, and so is a handle that goes with the next request.
                tokio::time::sleep(SWEEP).await;
                // Cleared first: what is released from here on is noticed again.
                shell.sweeping.store(false, Ordering::SeqCst);
                shell.apply(|_, _| ());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::pair;

    #[test]
    fn handles_from_before_a_restart_are_on_nothing() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let (sender, _receiver) = pair();
        let (handle, guard) = (runtime.handle().clone(), Arc::default());
        let shell = Shell::new(ClientId(0), Duration::from_secs(1), sender, false, true, handle, guard);
        let (task, before) = (TaskId::new(ClientId(0), 3), shell.generation());
        let released = || lock(&shell.released).tasks.clone();
        shell.release([task], before);
        assert_eq!(released(), [task]);
        shell.begins_anew();
        assert_eq!(released(), [], "the scheduler that knew it is gone");
        shell.release([task], before);
        assert_eq!(released(), [], "that number may be another's by now");
        shell.release([task], shell.generation());
        assert_eq!(released(), [task]);
    }
}
