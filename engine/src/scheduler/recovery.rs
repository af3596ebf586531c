//! A scheduler that died and is there again: it reads its journal, and waits for those who were there.
//!
//! Nothing is sent to workers before all that were connected are back and have said what they hold, or have had time
//! to: what lives on them is not made again.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use super::{
    Command, Config, Scheduler,
    returns::Returning,
    tasks::{NONE, Slot, State},
};
use crate::{
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
        let Self { mut scheduler, record, cluster, workers, .. } = self;
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
            scheduler.is_away_since(client, now);
        }
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
                let given = scheduler.new_client(scheduler.now, &functions, Some(key))?;
                if let Some(state) = scheduler.clients.get_mut(&given) {
                    state.next = next;
                    state.session = Some(Returning::new(key, n_received));
                }
            }
            Entry::Said { client, message } => {
                let message = message.into_owned();
                match &message {
                    // Which tasks it ended is said of each. What is held by name, and what was asked and not answered,
                    // ends with the scheduler.
                    FromClient::Cancel { .. } | FromClient::Coordinate { .. } | FromClient::Ask { .. } => {
                        scheduler.clients.get_mut(&client).into_iter().for_each(|state| state.count(&message));
                    }
                    _ => scheduler.client_said(scheduler.now, client, message, unsaid),
                }
            }
            Entry::Left { client } => scheduler.client_left(client, unsaid),
            Entry::Failed { task, error } => scheduler.fail_alone(task, error.into_owned(), unsaid),
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
            Entry::GangDone { task } => scheduler.gang_was_done(task),
        }
        scheduler.settle_calls(unsaid);
        scheduler.keep_copies_right(scheduler.now, unsaid);
        scheduler.mind_the_absent(0.., unsaid);
        unsaid.clear();
        scheduler.drops.clear();
        scheduler.touched.clear();
        scheduler.dispatch_calls(unsaid);
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
        for (client, state) in &self.clients {
            if let Some(session) = &state.session {
                let functions: Vec<FunctionEntry> =
                    state.functions.iter().filter_map(|f| self.functions.entry(*f)).collect();
                let (client, next, n_received) = (*client, state.next, session.n_received);
                let (key, functions) = (session.key, Cow::Owned(functions));
                log.push(&Entry::Client { client, key, functions, next, n_received });
            }
        }
        log.push(&Entry::Numbers { n_clients: self.n_clients_ever.0, n_workers });
        let awaited = self.recovering.iter().flat_map(|recovering| recovering.workers.iter().copied());
        for worker in self.workers.ids().chain(awaited) {
            log.push(&Entry::WorkerJoined { worker });
        }
        let mut nodes: std::collections::BTreeMap<u32, Vec<(u32, u16)>> = std::collections::BTreeMap::new();
        for slot in self.tasks.slots() {
            if let Some((_, node)) = self.recipe(slot) {
                nodes.entry(self.tasks.submission[slot]).or_default().push((node, self.tasks.wanted[slot]));
            }
        }
        let mut submissions: Vec<_> = self.submissions.iter().collect();
        submissions.sort_unstable_by_key(|(_, submission)| submission.number);
        for (place, submission) in submissions {
            let client = submission.client;
            if self.clients.get(&client).is_none_or(|state| state.session.is_none()) {
                continue;
            }
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
        log
    }

    /// Writes something down, where that is asked for.
    pub(super) fn write_down(&mut self, entry: impl FnOnce() -> Entry<'static>) {
        if self.config.journal {
            self.log.push(&entry());
        }
    }

    /// Writes down who joined, and of those who do not come back that their number is taken.
    pub(super) fn write_down_client(&mut self, client: ClientId, key: Option<u128>, table: &[FunctionEntry]) {
        if !self.config.journal {
            return;
        }
        let entry = match key {
            Some(key) => Entry::Client { client, key, functions: Cow::Borrowed(table), next: 0, n_received: 0 },
            None => Entry::Numbers { n_clients: client.0 + 1, n_workers: 0 },
        };
        self.log.push(&entry);
    }

    /// Writes down what a client that may come back said, if it counts.
    pub(super) fn write_down_said(&mut self, client: ClientId, message: &FromClient) {
        if self.config.journal
            && !matches!(message, FromClient::Heartbeat | FromClient::Goodbye)
            && self.clients.get(&client).is_some_and(|state| state.session.is_some())
        {
            self.log.push(&Entry::Said { client, message: Cow::Borrowed(message) });
        }
    }

    /// Writes down that a task of a client that may come back failed.
    pub(super) fn write_down_failure(&mut self, task: TaskId, error: &TaskError) {
        if self.config.journal && self.clients.get(&task.client()).is_some_and(|state| state.session.is_some()) {
            self.log.push(&Entry::Failed { task, error: Cow::Borrowed(error) });
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

    /// While workers are waited for, what is ready waits where any of them may find it.
    pub(super) fn put_aside(&mut self, slot: Slot) {
        self.tasks.state[slot] = State::Ready;
        self.tasks.worker[slot] = NONE;
        self.tasks.estimate[slot] = 0;
        let priority = self.priority(slot);
        self.shared.push(priority, slot);
    }
}
