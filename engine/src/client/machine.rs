//! The client machine: which results are held, who waits for an answer about one, and where it is.

use std::collections::{BTreeMap, BTreeSet};

use super::{Command, Config, Event, Reason, Trouble, listening::Listening, named::Named, tickets::Tickets};
use crate::{
    dense::{Dense, TaskMap},
    fetch::Fetches,
    graph::{ArgumentCode, Graph},
    id::{ClientId, TaskId},
    message::{Address, FromClient, Priority, ToClient},
    request::{Reply, Request},
    task::TaskError,
    time::Time,
    value::Value,
};

/// One client's decisions.
///
/// ```
/// use phalanx_engine::{
///     client::{Client, Command, Config, Event},
///     graph::Graph,
///     id::{ClientId, FunctionId, TaskId},
///     message::{FromClient, ToClient},
///     time::Time,
///     value::Value,
/// };
///
/// let mut client = Client::new(ClientId(0), Config::default(), Time::ZERO);
/// let task = TaskId::new(ClientId(0), client.first_of_next());
/// let graph = Graph { functions: vec![FunctionId(0)], ends: vec![0], ..Graph::default() };
/// let mut commands = Vec::new();
/// client.handle(Time::ZERO, Event::Submit { graph: Box::new(graph.clone()), wanted: vec![0], parent: None }, &mut commands);
/// client.handle(Time::ZERO, Event::Gather { tasks: vec![task], ticket: 1 }, &mut commands);
/// let value = Value::new(42);
/// let finished = ToClient::finished(task, value.n_bytes(), vec![], Some(value.clone()));
/// client.handle(Time::ZERO, Event::Scheduler(finished), &mut commands);
/// let submit = Command::ToScheduler(FromClient::submit(0, graph, vec![0]));
/// assert_eq!(commands, [submit, Command::Deliver { ticket: 1, value }]);
/// ```
#[derive(Debug)]
pub struct Client {
    client: ClientId,
    config: Config,
    next: u64,
    held: TaskMap<Held>,
    /// What each open answer is about.
    tickets: Dense<TaskId>,
    /// Questions that the scheduler has not answered, and that somebody still waits for.
    /// Those whose answer outlives a scheduler with a journal are marked.
    asked: BTreeMap<u64, bool>,
    /// Questions that nobody waits for any more, whose answers give something that has to be given back.
    unclaimed: BTreeSet<u64>,
    named: Named,
    fetches: Fetches,
    heartbeat_at: Time,
    heard_at: Time,
    lost: bool,
    /// Whether there is no scheduler for now.
    is_cut: bool,
    /// Tasks below this number were submitted to a scheduler that has forgotten them.
    forgotten_before: u64,
    listening: Listening,
}

/// A result that the user keeps, or still waits for.
#[derive(Debug)]
struct Held {
    /// Handles that the user has. Without one, the last answer ends it.
    n_handles: u32,
    /// How often the scheduler counts this client among those that want it.
    n_grants: u32,
    state: State,
    gathers: Tickets,
    awaits: Tickets,
}

#[derive(Debug)]
enum State {
    Pending,
    /// It exists; small ones came along and are kept as long as the result is held.
    Done {
        n_bytes: u64,
        holders: Vec<Address>,
        value: Option<Value>,
    },
    Failed(TaskError),
    /// It stands on results that no scheduler knows any more, and was never sent.
    Gone,
}

impl Client {
    /// A client that has submitted nothing, with the number that the scheduler's greeting gave it.
    pub fn new(client: ClientId, config: Config, now: Time) -> Self {
        let fetches =
            Fetches::new(None, u64::from(client.0), config.max_fetches, config.max_incoming, config.peer_silence);
        Self {
            client,
            next: 0,
            held: TaskMap::default(),
            tickets: Dense::default(),
            asked: BTreeMap::new(),
            unclaimed: BTreeSet::new(),
            named: Named::default(),
            fetches,
            heartbeat_at: now + config.heartbeat,
            heard_at: now,
            config,
            lost: false,
            is_cut: false,
            forgotten_before: 0,
            listening: Listening::default(),
        }
    }

    /// The sequence number that the first node of the next submission gets.
    pub const fn first_of_next(&self) -> u64 {
        self.next
    }

    /// Whether the scheduler is gone for good.
    pub const fn is_lost(&self) -> bool {
        self.lost
    }

    /// Results that are held, or released with an answer still open.
    pub fn n_held(&self) -> usize {
        self.held.len()
    }

    /// Answers that are open.
    pub fn n_open(&self) -> usize {
        self.tickets.len() + self.asked.len() + self.unclaimed.len() + self.named.n_open()
    }

    /// Takes in what happened at `now` and adds to `out` what must be done, in that order.
    pub fn handle(&mut self, now: Time, event: Event, out: &mut Vec<Command>) {
        match event {
            Event::Submit { graph, wanted, parent } => self.submit(graph, wanted, parent, out),
            Event::Share { key, recipe, graph, node, parent, ticket } => {
                let first = self.next;
                self.next += graph.len() as u64;
                if self.forgotten_before > 0 && self.stands_on_forgotten(&graph) {
                    out.push(Command::Fail { ticket, trouble: Trouble::SchedulerRestarted });
                } else {
                    self.inquire(Request::Share { key, recipe, first, graph, node, parent }, ticket, out);
                }
            }
            Event::Ask { request, ticket } => self.inquire(request, ticket, out),
            Event::Gather { tasks, ticket } => {
                (ticket..).zip(tasks).for_each(|(ticket, task)| self.ask(task, ticket, true, out));
            }
            Event::Await { tasks, ticket } => {
                (ticket..).zip(tasks).for_each(|(ticket, task)| self.ask(task, ticket, false, out));
            }
            Event::Release { tasks } => self.release(tasks, out),
            Event::Forget { ticket } => self.forget(ticket, out),
            Event::Coordinate { ticket, request, value } => {
                self.named.ask(ticket, request, value, self.lost, out);
            }
            Event::Subscribe { record } => self.listening.subscribe(record, self.lost, out),
            _ if self.lost => {}
            Event::Cancel { tasks } => self.cancel(tasks, out),
            Event::Scheduler(message) => {
                self.heard_at = now;
                self.told(message, out);
            }
            Event::Fetched { peer, task, value } => {
                self.fetches.fetched(now, &peer, task);
                if self.fetches.is_wanted(task) {
                    self.deliver(task, &value, out);
                    self.end_if_over(task, out);
                }
            }
            Event::NotThere { peer, task } => self.fetches.not_there(now, &peer, task),
            Event::PeerBusy { peer, task } => self.fetches.busy(now, &peer, task),
            Event::PeerSending { peer } => self.fetches.sending(now, &peer),
            Event::PeerLost { peer } => self.fetches.lost(&peer),
            Event::SchedulerLost => self.lose_scheduler(out),
            Event::Tick => self.tick(now, out),
            Event::Cut => self.is_cut = true,
            Event::Resumed => {
                self.speak_again(now);
                self.listening.resume(out);
            }
            Event::NamesLost => self.lose_names(out),
            Event::Restarted { client } => self.restart(now, client, out),
            Event::EventsSeen { number, next } => self.listening.seen(number, next, out),
        }
        if self.lost {
            return;
        }
        let settled = self.fetches.settle(now);
        out.extend(settled.requests.into_iter().map(|(peer, tasks)| Command::Fetch { peer, tasks }));
        let locate = |(task, tried)| Command::ToScheduler(FromClient::Locate { task, tried });
        out.extend(settled.missing.into_iter().map(locate));
    }

    /// The earliest time at which a [`Event::Tick`] does something, and what it waits for. Nothing once the scheduler
    /// is lost.
    pub fn deadline(&self) -> Option<(Time, Reason)> {
        if self.lost {
            return None;
        }
        let peer = self.fetches.deadline().map(|(at, peer)| (at, Reason::PeerSilent(peer)));
        let own = [(self.heartbeat_at, Reason::Heartbeat), (self.silent_at(), Reason::SchedulerSilent)];
        let rested = self.fetches.rested().map(|(at, peer)| (at, Reason::PeerBusy(peer)));
        let own = if self.is_cut { None } else { Some(own) };
        own.into_iter().flatten().chain(peer).chain(rested).min_by_key(|(at, _)| *at)
    }

    fn silent_at(&self) -> Time {
        self.heard_at + self.config.silence
    }

    fn tick(&mut self, now: Time, out: &mut Vec<Command>) {
        if !self.is_cut && now >= self.silent_at() {
            self.is_cut = self.config.reconnects;
            if !self.is_cut {
                self.lose_scheduler(out);
            }
            out.push(Command::CloseScheduler);
            if self.lost {
                return;
            }
        }
        if !self.is_cut && now >= self.heartbeat_at {
            self.heartbeat_at = now + self.config.heartbeat;
            out.push(Command::ToScheduler(FromClient::Heartbeat));
        }
        out.extend(self.fetches.tick(now).into_iter().map(|peer| Command::Close { peer }));
    }

    fn lose_scheduler(&mut self, out: &mut Vec<Command>) {
        self.lost = true;
        self.held = TaskMap::default();
        self.unclaimed.clear();
        self.listening.lose(out);
        let tickets = std::mem::take(&mut self.tickets);
        let tickets = tickets.keys().chain(std::mem::take(&mut self.asked).into_keys()).chain(self.named.lose());
        out.extend(tickets.map(|ticket| Command::Fail { ticket, trouble: Trouble::SchedulerLost }));
    }

    fn speak_again(&mut self, now: Time) {
        self.is_cut = false;
        self.heard_at = now;
        self.heartbeat_at = now + self.config.heartbeat;
    }

    /// All that was held is nothing any more; numbers count on, so that no old handle becomes one on new work.
    fn restart(&mut self, now: Time, client: ClientId, out: &mut Vec<Command>) {
        self.speak_again(now);
        self.client = client;
        self.forgotten_before = self.next;
        for task in std::mem::take(&mut self.held).keys() {
            self.fetches.forget(task);
        }
        self.unclaimed.clear();
        let tickets = std::mem::take(&mut self.tickets);
        let tickets = tickets.keys().chain(std::mem::take(&mut self.asked).into_keys());
        out.extend(tickets.map(|ticket| Command::Fail { ticket, trouble: Trouble::SchedulerRestarted }));
        self.lose_names(out);
    }

    /// What is held by name is held no more, and nobody answers what was asked for by name or about the cluster, but
    /// for what the journal knows.
    fn lose_names(&mut self, out: &mut Vec<Command>) {
        let (lasting, lost): (BTreeMap<u64, bool>, _) =
            std::mem::take(&mut self.asked).into_iter().partition(|(_, is_lasting)| *is_lasting);
        self.asked = lasting;
        let tickets = lost.into_keys().chain(self.named.lose());
        out.extend(tickets.map(|ticket| Command::Fail { ticket, trouble: Trouble::SchedulerRestarted }));
        out.push(Command::NamesLost);
        self.listening.begin_anew(out);
    }

    fn stands_on_forgotten(&self, graph: &Graph) -> bool {
        graph.arguments.iter().any(|code| match code {
            ArgumentCode::Task(task) => {
                self.is_forgotten(*task) || self.held.get(*task).is_some_and(|held| matches!(held.state, State::Gone))
            }
            _ => false,
        })
    }

    /// Whether a task is one that the scheduler before this one knew: of this client by its number, of another because
    /// it would be held.
    fn is_forgotten(&self, task: TaskId) -> bool {
        if task.client() == self.client {
            task.sequence() < self.forgotten_before
        } else {
            self.forgotten_before > 0 && !self.held.contains(task)
        }
    }

    fn submit(&mut self, graph: Box<Graph>, wanted: Vec<u32>, parent: Option<TaskId>, out: &mut Vec<Command>) {
        let first = self.next;
        self.next += graph.len() as u64;
        if self.lost {
            return;
        }
        let is_gone = self.forgotten_before > 0 && self.stands_on_forgotten(&graph);
        for node in &wanted {
            let task = TaskId::new(self.client, first + u64::from(*node));
            let (gathers, awaits) = (Tickets::None, Tickets::None);
            let state = if is_gone { State::Gone } else { State::Pending };
            self.held.insert(task, Held { n_handles: 1, n_grants: 1, state, gathers, awaits });
        }
        if is_gone {
            return;
        }
        out.push(Command::ToScheduler(FromClient::Submit { first, graph, wanted, parent }));
    }

    fn ask(&mut self, task: TaskId, ticket: u64, gather: bool, out: &mut Vec<Command>) {
        if self.lost {
            out.push(Command::Fail { ticket, trouble: Trouble::SchedulerLost });
            return;
        }
        let Some(held) = self.held.get_mut(task).filter(|held| held.n_handles > 0) else {
            let trouble = if self.is_forgotten(task) { Trouble::SchedulerRestarted } else { Trouble::NotHeld { task } };
            out.push(Command::Fail { ticket, trouble });
            return;
        };
        match &held.state {
            State::Failed(error) => out.push(Command::Fail { ticket, trouble: Trouble::Task(error.clone()) }),
            State::Gone => out.push(Command::Fail { ticket, trouble: Trouble::SchedulerRestarted }),
            State::Done { .. } if !gather => out.push(Command::Done { ticket }),
            State::Done { value: Some(value), .. } => out.push(Command::Deliver { ticket, value: value.clone() }),
            State::Pending | State::Done { .. } => {
                if let State::Done { n_bytes, holders, .. } = &held.state
                    && held.gathers.is_empty()
                {
                    // Tickets count up, so what was asked for first is fetched first.
                    let submission = u32::try_from(ticket).unwrap_or(u32::MAX);
                    let priority = Priority { submission, ..Priority::default() };
                    self.fetches.want(task, priority, *n_bytes, holders.iter().cloned());
                }
                let open = if gather { &mut held.gathers } else { &mut held.awaits };
                open.insert(ticket);
                self.tickets.insert(ticket, task);
            }
        }
    }

    fn inquire(&mut self, request: Request, ticket: u64, out: &mut Vec<Command>) {
        if self.lost {
            out.push(Command::Fail { ticket, trouble: Trouble::SchedulerLost });
            return;
        }
        self.asked.insert(ticket, request.is_lasting());
        out.push(Command::ToScheduler(FromClient::Ask { ticket, request }));
    }

    fn release(&mut self, tasks: Vec<TaskId>, out: &mut Vec<Command>) {
        let mut over = Vec::with_capacity(tasks.len());
        for task in tasks {
            if let Some(held) = self.held.get_mut(task) {
                held.n_handles = held.n_handles.saturating_sub(1);
                self.forget_if_over(task, &mut over);
            }
        }
        if !over.is_empty() {
            out.push(Command::ToScheduler(FromClient::Release { tasks: over }));
        }
    }

    fn forget(&mut self, ticket: u64, out: &mut Vec<Command>) {
        if self.asked.remove(&ticket) == Some(true) {
            self.unclaimed.insert(ticket);
        }
        let Some(task) = self.tickets.remove(ticket) else { return self.named.forget(ticket, out) };
        if let Some(held) = self.held.get_mut(task) {
            held.awaits.remove(ticket);
            if held.gathers.remove(ticket) && held.gathers.is_empty() {
                self.fetches.forget(task);
            }
            self.end_if_over(task, out);
        }
    }

    fn cancel(&mut self, mut tasks: Vec<TaskId>, out: &mut Vec<Command>) {
        tasks.retain(|task| {
            self.held.get(*task).is_some_and(|held| held.n_handles > 0 && !matches!(held.state, State::Failed(_)))
        });
        if !tasks.is_empty() {
            out.push(Command::ToScheduler(FromClient::Cancel { tasks }));
        }
    }

    fn told(&mut self, message: ToClient, out: &mut Vec<Command>) {
        match message {
            ToClient::Finished { task, n_bytes, holders, value, .. } => {
                self.finished(task, n_bytes, holders, value, out);
            }
            ToClient::Failed { task, error } => self.failed(task, error, out),
            ToClient::Workers { workers } => out.push(Command::Workers(workers)),
            ToClient::Waiting { reason, n_tasks, for_ms } => {
                let waited = std::time::Duration::from_millis(for_ms);
                out.push(Command::Waiting { reason, n_tasks, waited });
            }
            ToClient::Heartbeat => {}
            ToClient::Received { n_messages } => out.push(Command::Heard { n_messages }),
            ToClient::Events { number, first, events, last } => self.listening.told(number, first, events, last, out),
            ToClient::Reply { ticket, reply } => self.replied(ticket, reply, out),
            ToClient::Coordinated { ticket, answer, value, has_value: _ } => {
                self.named.told(ticket, answer, value, out);
            }
        }
    }

    fn replied(&mut self, ticket: u64, reply: Reply, out: &mut Vec<Command>) {
        // A reply may come twice; only the first counts.
        if self.unclaimed.remove(&ticket) {
            if let Reply::Granted { tasks, .. } = reply {
                out.push(Command::ToScheduler(FromClient::Release { tasks }));
            }
        } else if self.asked.remove(&ticket).is_some() {
            if let Reply::Granted { tasks, .. } = &reply {
                tasks.iter().for_each(|task| self.adopt(*task));
            }
            out.push(Command::Reply { ticket, reply });
        }
    }

    /// The user has one handle more on a result that he may have had none on.
    fn adopt(&mut self, task: TaskId) {
        let (gathers, awaits) = (Tickets::None, Tickets::None);
        let new = Held { n_handles: 0, n_grants: 0, state: State::Pending, gathers, awaits };
        let held = self.held.get_or_insert(task, new);
        held.n_handles += 1;
        held.n_grants += 1;
        // Taken back by this user before, perhaps, and not by the others: how it stands is said next.
        if matches!(held.state, State::Failed(_)) {
            held.state = State::Pending;
        }
    }

    /// A result exists, for the first time or again after it was lost.
    fn finished(
        &mut self,
        task: TaskId,
        n_bytes: u64,
        holders: Vec<Address>,
        value: Option<Value>,
        out: &mut Vec<Command>,
    ) {
        let Some(held) = self.held.get_mut(task) else { return };
        let value = match &held.state {
            State::Failed(_) | State::Gone => return,
            State::Done { value: Some(value), .. } => Some(value.clone()),
            State::Done { value: None, .. } | State::Pending => value,
        };
        for ticket in held.awaits.take() {
            self.tickets.remove(ticket);
            out.push(Command::Done { ticket });
        }
        if let Some(value) = value {
            held.state = State::Done { n_bytes, holders, value: Some(value.clone()) };
            self.deliver(task, &value, out);
            return self.end_if_over(task, out);
        }
        held.state = State::Done { n_bytes, holders: holders.clone(), value: None };
        if self.fetches.is_wanted(task) {
            self.fetches.located(task, holders);
        } else if let Some(ticket) = held.gathers.first() {
            let submission = u32::try_from(ticket).unwrap_or(u32::MAX);
            self.fetches.want(task, Priority { submission, ..Priority::default() }, n_bytes, holders);
        }
        self.end_if_over(task, out);
    }

    /// Gives a value to everybody who gathers it.
    fn deliver(&mut self, task: TaskId, value: &Value, out: &mut Vec<Command>) {
        self.fetches.forget(task);
        let Some(held) = self.held.get_mut(task) else { return };
        for ticket in held.gathers.take() {
            self.tickets.remove(ticket);
            out.push(Command::Deliver { ticket, value: value.clone() });
        }
    }

    fn failed(&mut self, task: TaskId, error: TaskError, out: &mut Vec<Command>) {
        let Some(held) = self.held.get_mut(task) else { return };
        self.fetches.forget(task);
        let mut open: Vec<u64> = held.gathers.take().chain(held.awaits.take()).collect();
        open.sort_unstable();
        for ticket in open {
            self.tickets.remove(ticket);
            out.push(Command::Fail { ticket, trouble: Trouble::Task(error.clone()) });
        }
        held.state = State::Failed(error);
        self.end_if_over(task, out);
    }

    /// Tells the scheduler that a result is no longer held, once neither handle nor open answer is left.
    fn end_if_over(&mut self, task: TaskId, out: &mut Vec<Command>) {
        let mut over = Vec::new();
        self.forget_if_over(task, &mut over);
        if !over.is_empty() {
            out.push(Command::ToScheduler(FromClient::Release { tasks: over }));
        }
    }

    /// Forgets a result that neither handle nor open answer keeps, and notes it as often as the scheduler has to know.
    fn forget_if_over(&mut self, task: TaskId, over: &mut Vec<TaskId>) {
        let is_held = |held: &Held| held.n_handles > 0 || !held.gathers.is_empty() || !held.awaits.is_empty();
        if self.held.get(task).is_some_and(|held| !is_held(held))
            && let Some(held) = self.held.remove(task)
            && !matches!(held.state, State::Gone)
        {
            over.extend((0..held.n_grants).map(|_| task));
        }
    }

    /// Panics with what is wrong, where something is. For tests, simulations and shells in debug builds: it looks at
    /// everything, so its time grows with what the client holds.
    pub fn check_invariants(&self) {
        if self.lost {
            assert!(self.held.is_empty() && self.n_open() == 0, "answers are open without a scheduler");
            return;
        }
        self.fetches.check_invariants();
        let (mut tickets, mut n_fetched) = (BTreeMap::new(), 0);
        for (task, held) in self.held.iter() {
            let is_own = task.client() == self.client;
            assert!(!is_own || task.sequence() < self.next, "{task} was never submitted");
            assert!(held.n_handles <= held.n_grants, "{task} is held more often than the scheduler knows");
            assert!(
                held.n_handles > 0 || !held.gathers.is_empty() || !held.awaits.is_empty(),
                "{task} is held for nothing"
            );
            tickets.extend(held.gathers.iter().chain(held.awaits.iter()).map(|ticket| (ticket, task)));
            let fetched = match &held.state {
                State::Pending => false,
                State::Done { value, .. } => {
                    assert!(held.awaits.is_empty(), "{task} is done and somebody waits for that");
                    assert!(value.is_none() || held.gathers.is_empty(), "{task} is here and not delivered");
                    !held.gathers.is_empty()
                }
                State::Failed(_) | State::Gone => {
                    assert!(held.gathers.is_empty() && held.awaits.is_empty(), "{task} failed and somebody waits");
                    false
                }
            };
            assert_eq!(self.fetches.is_wanted(task), fetched, "whether {task} is fetched");
            n_fetched += usize::from(fetched);
        }
        assert_eq!(self.fetches.len(), n_fetched, "what is fetched");
        assert!(self.tickets.iter().map(|(ticket, task)| (ticket, *task)).eq(tickets), "open answers");
    }
}
