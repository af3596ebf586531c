//! A scheduler that died and is there again: it reads its journal, and waits for those who were there.
//!
//! Nothing is sent to workers before all that were connected are back and have said what they hold, or have had time
//! to: what lives on them is not made again.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Command, Config, Scheduler,
    returns::Returning,
    tasks::{NONE, Slot, State},
};
use crate::{
    death::Death,
    event::Record,
    graph::Graph,
    id::{ClientId, ClusterId, TaskId, WorkerId},
    journal::{Entry, JournalError, Log, read_entry},
    message::{FromClient, PROTOCOL, Priority},
    task::{FunctionEntry, TaskError},
    time::Time,
};

/// Workers have so many heartbeats to come back.
const BEATS_TO_RETURN: u32 = 5;
/// Numbers of clients that are left out after a restart: those of who came just before and were not written down.
const SKIPPED: u32 = 1_024;

/// Who is waited for.
#[derive(Debug)]
pub(super) struct Recovering {
    pub(super) until: Time,
    workers: BTreeSet<WorkerId>,
}

/// A scheduler that is being made from a journal.
///
/// ```
/// use phalanx_engine::{scheduler::{Config, Recovery, Scheduler}, time::Time};
/// let config = Config { journal: true, ..Config::default() };
/// let mut first = Scheduler::new(config.clone(), Time::ZERO);
/// let log: Vec<u8> = first.take_log().parts().flatten().copied().collect();
/// let mut recovery = Recovery::new(config, Time::ZERO);
/// recovery.read(&log)?;
/// let second = recovery.finish()?;
/// assert_eq!(second.n_tasks(), 0);
/// # Ok::<(), phalanx_engine::journal::JournalError>(())
/// ```
#[derive(Debug)]
pub struct Recovery {
    scheduler: Scheduler,
    record: Record,
    cluster: Option<ClusterId>,
    workers: BTreeSet<WorkerId>,
    n_entries: u64,
    /// What a machine with peers would say to them.
    unsaid: Vec<Command>,
}

impl Recovery {
    /// Before the first byte. The cluster is the journal's, whatever `config` says.
    pub fn new(config: Config, now: Time) -> Self {
        let record = config.record;
        let mut scheduler = Scheduler::new(Config { journal: false, record: Record::Nothing, ..config }, now);
        scheduler.recovering = Some(Recovering { until: now, workers: BTreeSet::new() });
        let (workers, unsaid) = (BTreeSet::new(), Vec::new());
        Self { scheduler, record, cluster: None, workers, n_entries: 0, unsaid }
    }

    /// Reads whole entries.
    ///
    /// # Errors
    /// When the bytes are none, or are another version's. What was read is of no use then.
    pub fn read(&mut self, mut bytes: &[u8]) -> Result<(), JournalError> {
        while !bytes.is_empty() {
            let number = self.n_entries;
            let malformed = |reason| JournalError::Malformed { entry: number, reason };
            let entry = read_entry(&mut bytes).map_err(malformed)?;
            match entry {
                Entry::Cluster { protocol, .. } if protocol != PROTOCOL => {
                    return Err(JournalError::Version { found: protocol });
                }
                Entry::Cluster { cluster, .. } => self.cluster = Some(cluster),
                _ if self.cluster.is_none() => return Err(JournalError::NoCluster),
                entry => self.live_through(entry).map_err(malformed)?,
            }
            self.n_entries += 1;
        }
        Ok(())
    }

    /// The scheduler, as it was but for its workers and connections.
    ///
    /// # Errors
    /// When not even the first entry was there.
    pub fn finish(self) -> Result<Scheduler, JournalError> {
        let Self { mut scheduler, record, cluster, workers, mut unsaid, .. } = self;
        let cluster = cluster.ok_or(JournalError::NoCluster)?;
        let now = scheduler.now;
        let n_clients = scheduler.n_clients_ever.0.saturating_add(SKIPPED).min(TaskId::MAX_CLIENT);
        scheduler.n_clients_ever = ClientId(n_clients.max(scheduler.n_clients_ever.0));
        scheduler.config.cluster = cluster;
        scheduler.config.record = record;
        scheduler.config.journal = true;
        // Numbers are skipped at every restart, so no two lives have this one.
        scheduler.life = scheduler.n_clients_ever.0;
        let (n_clients, n_workers) = (scheduler.n_clients_ever.0, 0);
        scheduler.write_down(|| Entry::Numbers { n_clients, n_workers });
        let clients: Vec<ClientId> = scheduler.clients.keys().copied().collect();
        for client in clients {
            if !scheduler.is_away_since(client, now) {
                scheduler.client_left(client, &mut unsaid);
            }
        }
        scheduler.forget_what_was_unsaid(&mut unsaid);
        scheduler.begin_anew();
        let until = now + scheduler.config.heartbeat * BEATS_TO_RETURN;
        scheduler.recovering = Some(Recovering { until, workers });
        Ok(scheduler)
    }

    fn live_through(&mut self, entry: Entry<'_>) -> Result<(), String> {
        let Self { scheduler, unsaid, .. } = self;
        match entry {
            Entry::Cluster { .. } => {}
            Entry::Numbers { n_clients, n_workers } => {
                scheduler.n_clients_ever = scheduler.n_clients_ever.max(ClientId(n_clients));
                scheduler.workers.skip_to(WorkerId(n_workers));
            }
            Entry::Client { client, key, functions, next, n_received } => {
                scheduler.n_clients_ever = client;
                let given = scheduler.new_client(scheduler.now, &functions, key)?;
                if let Some(state) = scheduler.clients.get_mut(&given) {
                    state.next = next;
                    state.session = key.map(|key| Returning::new(key, n_received));
                }
            }
            Entry::Said { client, message } => {
                let message = message.into_owned();
                match &message {
                    // Which tasks it ended is said of each. What is held by name, what was asked and not answered, and who
                    // subscribes, ends with the scheduler.
                    FromClient::Ask { request, .. } if request.is_lasting() => {
                        scheduler.client_said(scheduler.now, client, message, unsaid);
                    }
                    FromClient::Cancel { .. }
                    | FromClient::Coordinate { .. }
                    | FromClient::Ask { .. }
                    | FromClient::Subscribe { .. } => {
                        scheduler.clients.get_mut(&client).into_iter().for_each(|state| state.count(&message));
                    }
                    _ => scheduler.client_said(scheduler.now, client, message, unsaid),
                }
            }
            Entry::Left { client } => scheduler.client_left(client, unsaid),
            Entry::Failed { task, error } => scheduler.fail_alone(task, error.into_owned(), unsaid),
            Entry::Suspected { task, n_failures, deaths } => {
                scheduler.suspect_again(task, n_failures, deaths.into_owned());
            }
            Entry::WorkerJoined { worker } => {
                self.workers.insert(worker);
                scheduler.workers.skip_to(WorkerId(worker.0.saturating_add(1)));
            }
            Entry::WorkerLeft { worker } => {
                self.workers.remove(&worker);
            }
            Entry::Submission { client, first, graph, nodes, parent } => {
                scheduler.restore(client, first, graph.into_owned(), &nodes, parent, unsaid)?;
            }
            Entry::Made { task, worker } => scheduler.actor_was_made(task, worker),
            Entry::Withdrew { client, task } => {
                if let Some(slot) = scheduler.tasks.find(task) {
                    scheduler.withdraw(client, slot, unsaid);
                }
            }
            Entry::Told { client, message } => {
                let session = scheduler.clients.get_mut(&client).and_then(|state| state.session.as_mut());
                session.into_iter().for_each(|session| session.keep(message.clone().into_owned()));
            }
            entry @ (Entry::Shared { .. } | Entry::Published { .. } | Entry::Key { .. } | Entry::Withdrawn { .. }) => {
                scheduler.restore_sharing(entry)?;
            }
            Entry::GangDone { task } => scheduler.gang_was_done(task),
        }
        scheduler.forget_what_was_unsaid(unsaid);
        Ok(())
    }
}

impl Scheduler {
    /// What was to be written down since this was last called, with [`Config::journal`]: it must be, before the commands
    /// of the same events are carried out.
    pub fn take_log(&mut self) -> Log {
        std::mem::take(&mut self.log)
    }

    /// A log that leads to the present state, in place of all that was ever written down.
    pub fn snapshot(&self) -> Log {
        let mut log = Log::default();
        log.push(&Entry::Cluster { cluster: self.config.cluster, protocol: PROTOCOL });
        let n_workers = self.workers.next_id().0;
        log.push(&Entry::Numbers { n_clients: self.n_clients_ever.0, n_workers });
        let table = |functions: &[u32]| functions.iter().filter_map(|f| self.functions.entry(*f)).collect();
        for (client, state) in &self.clients {
            let functions = Cow::Owned(table(&state.functions));
            let session = state.session.as_ref();
            let (key, n_received) = (session.map(|s| s.key), session.map_or(0, |s| s.n_received));
            log.push(&Entry::Client { client: *client, key, functions, next: state.next, n_received });
        }
        // Who has gone, and left what others want.
        let mut gone: BTreeMap<ClientId, &[u32]> = BTreeMap::new();
        for (_, submission) in self.submissions.iter() {
            if !self.clients.contains_key(&submission.client) {
                gone.insert(submission.client, submission.functions());
            }
        }
        for (client, functions) in &gone {
            let functions = Cow::Owned(table(functions));
            log.push(&Entry::Client { client: *client, key: None, functions, next: 0, n_received: 0 });
        }
        log.push(&Entry::Numbers { n_clients: self.n_clients_ever.0, n_workers });
        let awaited = self.recovering.iter().flat_map(|recovering| recovering.workers.iter().copied());
        for worker in self.workers.ids().chain(awaited) {
            log.push(&Entry::WorkerJoined { worker });
        }
        let mut nodes: BTreeMap<u32, Vec<(u32, u16)>> = BTreeMap::new();
        for slot in self.tasks.slots() {
            if let Some((_, node)) = self.recipe(slot) {
                nodes.entry(self.tasks.submission[slot]).or_default().push((node, self.tasks.wanted[slot]));
            }
        }
        let mut submissions: Vec<_> = self.submissions.iter().collect();
        submissions.sort_unstable_by_key(|(_, submission)| submission.number);
        for (place, submission) in submissions {
            let client = submission.client;
            let mut nodes = nodes.remove(&place).unwrap_or_default();
            nodes.sort_unstable();
            let (first, graph, parent) = (submission.first, Cow::Borrowed(&submission.graph), submission.parent);
            log.push(&Entry::Submission { client, first, graph, nodes, parent });
        }
        self.actors_made().chain(self.gangs_done()).for_each(|entry| log.push(&entry));
        let mut errors: Vec<_> = self.tasks.errors.iter().map(|(slot, error)| (self.tasks.id(*slot), error)).collect();
        errors.sort_unstable_by_key(|(task, _)| *task);
        for (task, error) in errors {
            log.push(&Entry::Failed { task, error: Cow::Borrowed(error) });
        }
        let suspected = |slot: &Slot| self.tasks.failures[*slot] > 0 || self.tasks.killers.contains_key(slot);
        let mut suspected: Vec<Slot> = self.tasks.slots().filter(suspected).collect();
        suspected.sort_unstable_by_key(|slot| self.tasks.id(*slot));
        for slot in suspected {
            log.push(&self.suspicion(slot));
        }
        self.write_down_sharing(&mut log);
        for (client, state) in &self.clients {
            for message in Self::lasting_replies(state) {
                log.push(&Entry::Told { client: *client, message: Cow::Borrowed(message) });
            }
        }
        for client in gone.into_keys() {
            log.push(&Entry::Left { client });
        }
        log
    }

    /// Writes something down, where that is asked for.
    pub(super) fn write_down(&mut self, entry: impl FnOnce() -> Entry<'static>) {
        if self.config.journal {
            self.log.push(&entry());
        }
    }

    /// Writes down who joined.
    pub(super) fn write_down_client(&mut self, client: ClientId, key: Option<u128>, table: &[FunctionEntry]) {
        if !self.config.journal {
            return;
        }
        self.log.push(&Entry::Client { client, key, functions: Cow::Borrowed(table), next: 0, n_received: 0 });
    }

    /// Writes down what a client said, if it counts.
    pub(super) fn write_down_said(&mut self, client: ClientId, message: &FromClient) {
        if self.config.journal && message.is_counted() {
            self.log.push(&Entry::Said { client, message: Cow::Borrowed(message) });
        }
    }

    /// Writes down that a task failed.
    pub(super) fn write_down_failure(&mut self, task: TaskId, error: &TaskError) {
        if self.config.journal {
            self.log.push(&Entry::Failed { task, error: Cow::Borrowed(error) });
        }
    }

    /// Writes down what is held against a task that may run again: it must not count anew after a restart, or a task
    /// that kills workers would go on killing them.
    pub(super) fn write_down_suspicion(&mut self, slot: Slot) {
        if self.config.journal {
            let Entry::Suspected { task, n_failures, deaths } = self.suspicion(slot) else { return };
            let deaths = Cow::Owned(deaths.into_owned());
            self.log.push(&Entry::Suspected { task, n_failures, deaths });
        }
    }

    fn suspicion(&self, slot: Slot) -> Entry<'_> {
        let (task, n_failures) = (self.tasks.id(slot), self.tasks.failures[slot]);
        let deaths = Cow::Borrowed(self.tasks.killers.get(&slot).map_or(&[][..], Vec::as_slice));
        Entry::Suspected { task, n_failures, deaths }
    }

    /// What was held against a task before a restart still is.
    fn suspect_again(&mut self, task: TaskId, n_failures: u32, deaths: Vec<Death>) {
        let Some(slot) = self.tasks.find(task) else { return };
        self.tasks.failures[slot] = n_failures;
        if deaths.is_empty() {
            self.tasks.killers.remove(&slot);
        } else {
            self.tasks.killers.insert(slot, deaths);
        }
    }

    /// A worker is back under a new number; what it holds it has yet to say.
    pub(super) fn is_back(&mut self, before: WorkerId, now: WorkerId) {
        if let Some(recovering) = &mut self.recovering
            && recovering.workers.remove(&before)
        {
            recovering.workers.insert(now);
            self.write_down(|| Entry::WorkerLeft { worker: before });
            for slot in self.actors.moved(before, now) {
                let task = self.tasks.id(slot);
                self.write_down(|| Entry::Made { task, worker: now });
            }
        }
    }

    /// A worker is not waited for any longer.
    pub(super) fn wait_no_longer_for(&mut self, worker: WorkerId) {
        if let Some(recovering) = &mut self.recovering {
            recovering.workers.remove(&worker);
        }
    }

    /// Ends the waiting when it is time: what is to be run now is placed.
    pub(super) fn end_recovery_in_time(&mut self, out: &mut Vec<Command>) {
        let Some(recovering) = &self.recovering else { return };
        if !recovering.workers.is_empty() && self.now < recovering.until {
            return;
        }
        for worker in self.recovering.take().into_iter().flat_map(|recovering| recovering.workers) {
            // Who is there and has not said yet what it holds is no more waited for than who is not.
            if self.workers.get(worker).is_none() {
                self.write_down(|| Entry::WorkerLeft { worker });
            }
        }
        self.lose_missing_actors(out);
        self.lose_missing_members(out);
        let lost: Vec<(Slot, Arc<TaskError>)> = self
            .tasks
            .slots()
            .filter(|slot| self.tasks.state[*slot].is_active())
            .filter_map(|slot| {
                let mut inputs = self.tasks.dependencies(slot);
                let failed = inputs.find(|input| self.tasks.state[*input] == State::Failed)?;
                Some((slot, Arc::clone(self.tasks.errors.get(&failed)?)))
            })
            .collect();
        // Their result was there once, and nobody came back with it; it cannot be made again.
        for (slot, error) in lost {
            if self.tasks.state[slot].is_active() {
                self.fail(slot, error, out);
            }
        }
        // Those that were to be judged when the scheduler died, but for deaths that were none.
        let is_guilty = |deaths: &Vec<Death>| deaths.len() as u32 >= self.config.allowed_failures;
        let killers = self.tasks.killers.iter().filter(|(_, deaths)| is_guilty(deaths));
        let guilty: Vec<Slot> = killers.map(|(slot, _)| *slot).collect();
        for slot in guilty {
            if self.tasks.state[slot].is_active() {
                self.fail_killer(slot, out);
            }
        }
        self.replace_shared(out);
        let workers: Vec<WorkerId> = self.workers.ids().collect();
        self.touched.extend(workers);
    }

    /// A task fails, and no other with it: those that failed with it are named as well.
    fn fail_alone(&mut self, task: TaskId, error: TaskError, out: &mut Vec<Command>) {
        let Some(slot) = self.tasks.find(task) else { return };
        let state = self.tasks.state[slot];
        if !state.is_active() && state != State::Released {
            return;
        }
        self.leave_place(slot);
        self.tasks.state[slot] = State::Failed;
        self.tasks.errors.insert(slot, Arc::new(error));
        if state.is_active() {
            self.count_active(slot, -1);
            self.release_inputs(slot, out);
        }
        self.forget_if_done(slot);
    }

    /// Puts what is left of a submission into the table.
    fn restore(
        &mut self,
        client: ClientId,
        first: u64,
        graph: Graph,
        nodes: &[(u32, u16)],
        parent: Option<(TaskId, Priority)>,
        out: &mut Vec<Command>,
    ) -> Result<(), String> {
        graph.check()?;
        let state = self.clients.get(&client).ok_or_else(|| format!("{client} is not known"))?;
        let functions = Arc::clone(&state.functions);
        let in_order = nodes.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if !in_order || nodes.last().is_none_or(|(last, _)| *last as usize >= graph.len()) {
            return Err("its nodes are not nodes of its graph".into());
        }
        if graph.functions.iter().any(|function| function.0 as usize >= functions.len()) {
            return Err("it calls a function that its client does not know".into());
        }
        if nodes.iter().any(|(node, _)| self.tasks.find(TaskId::new(client, first + u64::from(*node))).is_some()) {
            return Err("a task is there twice".into());
        }
        self.note_crossing(client, &graph);
        let place = self.submissions.insert(client, first, graph, functions, parent);
        let slots: Vec<Slot> = nodes.iter().map(|(node, _)| self.write_task(place, *node)).collect();
        self.note_actors(place);
        self.note_gang(place);
        for (slot, (_, wanted)) in slots.iter().zip(nodes) {
            self.tasks.wanted[*slot] = *wanted;
        }
        for slot in slots {
            self.activate(slot, out);
        }
        Ok(())
    }

    /// Leaves out what a machine with peers would have said to them, but for what clients may ask again.
    fn forget_what_was_unsaid(&mut self, unsaid: &mut Vec<Command>) {
        self.settle_calls(unsaid);
        self.keep_copies_right(self.now, unsaid);
        self.mind_the_absent(0.., unsaid);
        unsaid.clear();
        self.drops.clear();
        self.touched.clear();
        self.dispatch_calls(unsaid);
    }

    /// While workers are waited for, what is ready waits where any of them may find it.
    pub(super) fn put_aside(&mut self, slot: Slot) {
        self.tasks.state[slot] = State::Ready;
        self.tasks.worker[slot] = NONE;
        self.tasks.estimate[slot] = 0;
        let priority = self.priority(slot);
        self.shared.push(priority, slot);
    }
}
