//! Tasks that not every worker may run: those that need resources, name their workers, or do not wait for ever.
//!
//! Every kind of need has a queue of its own, from which a worker takes when it has a thread free and what is needed.
//! So such tasks never stand before others in a queue, and are never stolen by who may not have them. A resource is a
//! name and an amount that mean nothing here: it is taken when a task is sent, and given back when its attempt ends. A
//! function cannot be interrupted, so a cancelled attempt keeps what it has until its worker says that nothing of it
//! runs any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    Command, Scheduler,
    peers::{Lonely, Worker},
    tasks::{NONE, Slot, State},
};
use crate::{
    graph::{Graph, TaskOptions},
    id::{Attempt, ClientId, TaskId, WorkerId},
    message::{Priority, ToClient, ToWorker, WaitReason},
    task::TaskError,
    time::Time,
};

/// Kinds of need that are remembered though no task has them now.
const REMEMBERED: usize = 64;
/// Workers with room that are compared before a task is given to one.
const LOOKS: usize = 8;

/// What tasks of one kind need of a worker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Need {
    resources: BTreeMap<String, u64>,
    workers: BTreeSet<String>,
    allow_other_workers: bool,
    wait_timeout: Option<Duration>,
}

/// A need, and the function that its workers must know.
type Key = (Arc<Need>, u32);

/// All kinds of need, their queues, and what is taken.
#[derive(Debug, Default)]
pub(super) struct Demands {
    all: BTreeMap<Key, Demand>,
    n_queued: usize,
    /// Kinds that got a task or a worker during one event.
    fresh: BTreeSet<Key>,
    /// Assigned tasks that hold resources of their worker.
    held: BTreeMap<Slot, (WorkerId, Arc<Need>)>,
    /// Cancelled attempts that hold resources until their worker says that they have ended.
    lingering: BTreeMap<(WorkerId, TaskId, Attempt), Arc<Need>>,
}

/// Ready tasks of one kind.
#[derive(Debug, Default)]
struct Demand {
    /// The workers that could ever run them.
    eligible: BTreeSet<WorkerId>,
    /// Those of them that may have room. Who has room is in here; who is in here may have lost it.
    open: BTreeSet<WorkerId>,
    /// With the time at which each fails, while there is no eligible worker and it does not wait for ever.
    queue: BTreeMap<(Priority, Slot), Option<Time>>,
    /// The same times, the next first.
    expiring: BTreeSet<(Time, Priority, Slot)>,
    /// There are tasks and no eligible worker.
    starved: Option<Lonely>,
}

impl Need {
    /// What options ask of a worker, if anything.
    fn of(options: &TaskOptions) -> Option<Arc<Self>> {
        let need = Self {
            resources: options.resources.clone(),
            workers: options.workers.clone(),
            allow_other_workers: options.allow_other_workers && !options.workers.is_empty(),
            wait_timeout: options.wait_timeout,
        };
        let asks = !need.resources.is_empty() || !need.workers.is_empty() || need.wait_timeout.is_some();
        asks.then(|| Arc::new(need))
    }

    /// The needs of a graph's classes of options.
    pub(super) fn of_classes(graph: &Graph) -> Vec<Option<Arc<Self>>> {
        let needs: Vec<_> = graph.classes.iter().map(Self::of).collect();
        if needs.iter().all(Option::is_none) { Vec::new() } else { needs }
    }

    fn names(&self, worker: &Worker) -> bool {
        self.workers.contains(&worker.name) || self.workers.contains(&*worker.address.0)
    }

    /// Whether a worker has as much as is needed, when nobody takes any of it.
    fn fits(&self, worker: &Worker) -> bool {
        self.resources.iter().all(|(name, amount)| worker.resources.get(name).is_some_and(|has| has >= amount))
    }

    /// Whether a worker can be given such a task now. One that keeps places free for a gang keeps its resources too.
    fn can_take(&self, worker: &Worker) -> bool {
        worker.is_open() && self.fits_now(worker) && (worker.reserved == 0 || self.resources.is_empty())
    }

    /// How often a worker has as much as is needed, now or at all.
    fn times_it_fits(&self, worker: &Worker, now: bool) -> usize {
        let times = |(name, amount): (&String, &u64)| {
            let taken = if now { worker.taken.get(name).copied().unwrap_or(0) } else { 0 };
            let free = worker.resources.get(name).copied().unwrap_or(0).saturating_sub(taken);
            free.checked_div(*amount).map_or(usize::MAX, |times| times as usize)
        };
        self.resources.iter().map(times).min().unwrap_or(usize::MAX)
    }

    /// Whether a worker has as much as is needed now.
    fn fits_now(&self, worker: &Worker) -> bool {
        self.resources.iter().all(|(name, amount)| {
            let taken = worker.taken.get(name).copied().unwrap_or(0);
            worker.resources.get(name).is_some_and(|has| has.saturating_sub(taken) >= *amount)
        })
    }

    /// What is needed, in words: `a worker named left or right with gpu = 1`.
    fn words(&self) -> String {
        let mut words = String::from("a worker");
        if !self.workers.is_empty() && !self.allow_other_workers {
            let names: Vec<&str> = self.workers.iter().map(String::as_str).collect();
            words += &format!(" named {}", names.join(" or "));
        }
        if !self.resources.is_empty() {
            let amounts: Vec<String> = self.resources.iter().map(|(name, n)| format!("{name} = {n}")).collect();
            words += &format!(" with {}", amounts.join(", "));
        }
        words
    }
}

impl Demands {
    /// Whether no task of any such kind was there lately.
    pub(super) fn is_unused(&self) -> bool {
        self.all.is_empty()
    }

    /// The first task of a kind.
    fn first(&self, key: &Key) -> Option<((Priority, Slot), Key)> {
        let (entry, _) = self.all.get(key)?.queue.first_key_value()?;
        Some((*entry, key.clone()))
    }

    /// A worker is gone, with all that ran there.
    pub(super) fn worker_left(&mut self, worker: WorkerId) {
        self.lingering.retain(|(place, ..), _| *place != worker);
    }

    /// When to look again at tasks that nobody can run.
    pub(super) fn deadline(&self) -> Option<Time> {
        let next = |demand: &Demand| {
            let expiry = demand.expiring.first().map(|(time, ..)| *time);
            demand.starved.as_ref().map(|starved| starved.next).into_iter().chain(expiry).min()
        };
        self.all.values().filter_map(next).min()
    }
}

impl Scheduler {
    /// The kind of a task that not every worker may run.
    fn demand_of(&self, slot: Slot) -> Option<Key> {
        let (submission, node) = self.recipe(slot)?;
        if submission.needs.is_empty() {
            return None;
        }
        let class = submission.graph.class_of(node)?;
        let need = submission.needs.get(class as usize)?.as_ref()?;
        Some((Arc::clone(need), self.function(slot)))
    }

    /// Takes a ready task that not every worker may run into its queue; says whether it is one.
    pub(super) fn demand(&mut self, slot: Slot) -> bool {
        let Some(key) = self.demand_of(slot) else { return false };
        if !self.demands.all.contains_key(&key) {
            if self.demands.all.len() >= REMEMBERED {
                self.demands.all.retain(|_, demand| !demand.queue.is_empty());
            }
            let eligible = self.eligible(&key);
            let demand = Demand { open: eligible.clone(), eligible, ..Demand::default() };
            self.demands.all.insert(key.clone(), demand);
        }
        let entry = (self.priority(slot), slot);
        let Some(demand) = self.demands.all.get_mut(&key) else { return false };
        demand.queue.insert(entry, None);
        if demand.starved.is_some() {
            demand.expire(&key.0, entry, self.now);
        }
        self.demands.n_queued += 1;
        self.demands.fresh.insert(key);
        self.tasks.worker[slot] = NONE;
        self.tasks.estimate[slot] = 0;
        true
    }

    /// Takes a ready task out of the queue of its kind, where it is in one.
    pub(super) fn undemand(&mut self, slot: Slot) {
        if self.demands.n_queued > 0
            && let Some(key) = self.demand_of(slot)
        {
            self.dequeue(&key, (self.priority(slot), slot));
        }
    }

    /// The task that a worker with room should take next of those that not every worker may run, if it comes before
    /// `other`. It is out of its queue.
    pub(super) fn take_demanded(&mut self, worker: WorkerId, other: Option<(Priority, Slot)>) -> Option<Slot> {
        if self.demands.n_queued == 0 {
            return None;
        }
        let state = self.workers.get(worker)?;
        let mut best: Option<((Priority, Slot), Key)> = None;
        for (key, demand) in &self.demands.all {
            if let Some(entry) = demand.first_for(worker, |slot| self.came_from(slot, worker))
                && other.is_none_or(|other| *entry < other)
                && best.as_ref().is_none_or(|(best, _)| entry < best)
                && demand.eligible.contains(&worker)
                && key.0.can_take(state)
            {
                best = Some((*entry, key.clone()));
            }
        }
        let (entry, key) = best?;
        self.dequeue(&key, entry);
        Some(entry.1)
    }

    /// A worker's room or what it has free changed: it may take again.
    pub(super) fn reopen(&mut self, worker: WorkerId) {
        for demand in self.demands.all.values_mut() {
            if demand.eligible.contains(&worker) {
                demand.open.insert(worker);
            }
        }
    }

    /// Gives tasks of kinds that changed to workers that have room and what they need.
    pub(super) fn place_demanded(&mut self, out: &mut Vec<Command>) {
        let mut fresh = std::mem::take(&mut self.demands.fresh);
        // The first in order of all kinds comes first: it may want what others want too.
        while let Some((_, key)) = fresh.iter().filter_map(|key| self.demands.first(key)).min() {
            // Where the first asked to be run elsewhere, one behind it may run there.
            let n_looks = if self.tasks.moved.is_empty() { 1 } else { LOOKS };
            let queue = self.demands.all.get(&key).map(|demand| &demand.queue);
            let entries: Vec<(Priority, Slot)> =
                queue.into_iter().flat_map(|q| q.keys().take(n_looks).copied()).collect();
            match entries.into_iter().find_map(|entry| Some((entry, self.host_for(&key, entry.1)?))) {
                Some((entry, worker)) => {
                    self.dequeue(&key, entry);
                    self.assign(entry.1, worker, out);
                }
                None => {
                    fresh.remove(&key);
                }
            }
        }
    }

    /// Whether a worker has what a task needs free now, and is one that it names.
    pub(super) fn may_run(&self, slot: Slot, worker: WorkerId) -> bool {
        let Some(key) = self.demand_of(slot) else { return true };
        let fits_now = self.workers.get(worker).is_some_and(|worker| key.0.fits_now(worker));
        fits_now && self.eligible(&key).contains(&worker)
    }

    /// Whether a worker could run a task if it had nothing else to do.
    pub(super) fn could_run(&self, slot: Slot, worker: WorkerId) -> bool {
        self.demand_of(slot).is_none_or(|key| self.eligible(&key).contains(&worker))
    }

    /// How often a worker has what a task needs, now or at all.
    pub(super) fn times_it_fits(&self, slot: Slot, worker: &Worker, now: bool) -> usize {
        self.demand_of(slot).map_or(usize::MAX, |(need, _)| need.times_it_fits(worker, now))
    }

    /// What a task needs of a worker, in words.
    pub(super) fn need_words(&self, slot: Slot) -> String {
        self.demand_of(slot).map_or_else(|| "a worker".into(), |(need, _)| need.words())
    }

    /// A task that is being sent takes what it needs of its worker.
    pub(super) fn take_resources(&mut self, slot: Slot, worker: WorkerId) {
        if let Some((need, _)) = self.demand_of(slot)
            && !need.resources.is_empty()
            // A call runs where its actor is, whatever else is there.
            && !self.actors.is_call(slot)
            && let Some(state) = self.workers.get_mut(worker)
        {
            for (name, amount) in &need.resources {
                *state.taken.entry(name.clone()).or_default() += amount;
            }
            self.demands.held.insert(slot, (worker, need));
        }
    }

    /// What an attempt that ends had taken is free again.
    pub(super) fn free_resources(&mut self, slot: Slot) {
        if self.demands.held.is_empty() {
            return;
        }
        if let Some((worker, need)) = self.demands.held.remove(&slot) {
            self.free_of(worker, &need);
        }
    }

    /// An attempt is cancelled, and may run on for as long as its function likes: what it took stays taken meanwhile.
    pub(super) fn linger(&mut self, slot: Slot, attempt: Attempt, out: &mut Vec<Command>) {
        if self.demands.held.is_empty() {
            return;
        }
        // With a worker that is gone everything ends that ran there.
        if let Some((worker, need)) = self.demands.held.remove(&slot)
            && self.workers.get(worker).is_some()
        {
            let task = self.tasks.id(slot);
            self.demands.lingering.insert((worker, task, attempt), need);
            self.tell_worker(worker, ToWorker::AwaitEnd { task, attempt }, out);
        }
    }

    /// A worker says that nothing of an attempt runs any more.
    pub(super) fn attempt_ended(&mut self, worker: WorkerId, task: TaskId, attempt: Attempt) {
        if let Some(need) = self.demands.lingering.remove(&(worker, task, attempt)) {
            self.free_of(worker, &need);
            self.touched.insert(worker);
        }
    }

    fn free_of(&mut self, worker: WorkerId, need: &Need) {
        let Some(state) = self.workers.get_mut(worker) else { return };
        for (name, amount) in &need.resources {
            if let Some(taken) = state.taken.get_mut(name) {
                *taken = taken.saturating_sub(*amount);
                if *taken == 0 {
                    state.taken.remove(name);
                }
            }
        }
    }

    /// A worker came or went: who could ever run what is known anew.
    pub(super) fn reconsider_demands(&mut self) {
        let keys: Vec<Key> = self.demands.all.keys().cloned().collect();
        for key in keys {
            let eligible = self.eligible(&key);
            let Some(demand) = self.demands.all.get_mut(&key) else { continue };
            demand.open = eligible.clone();
            demand.eligible = eligible;
            self.demands.fresh.insert(key);
        }
    }

    /// A worker came and may not know it all: what no connected worker knows fails by its name.
    pub(super) fn fail_unknown_demands(&mut self, out: &mut Vec<Command>) {
        let is_unknown = |key: &Key| self.functions.n_workers(key.1) == 0;
        let unknown = self.demands.all.iter().filter(|(key, _)| is_unknown(key));
        let unknown: Vec<Slot> = unknown.flat_map(|(_, demand)| demand.queue.keys().map(|(_, slot)| *slot)).collect();
        for slot in unknown {
            // One that failed may have taken others with it.
            if self.tasks.state[slot] == State::Ready {
                let function = self.functions.name(self.function(slot));
                self.fail(slot, TaskError::UnknownFunction { function }.into(), out);
            }
        }
    }

    /// Notes which kinds of task nobody can run, and since when.
    pub(super) fn watch_for_starvation(&mut self) {
        for ((need, _), demand) in &mut self.demands.all {
            let is_starved = demand.eligible.is_empty() && !demand.queue.is_empty();
            if !is_starved {
                if demand.starved.take().is_some() {
                    demand.expiring.clear();
                    demand.queue.values_mut().for_each(|expiry| *expiry = None);
                }
            } else if demand.starved.is_none() {
                demand.starved = Some(Lonely { since: self.now, next: self.now + self.config.no_workers_after });
                let entries: Vec<(Priority, Slot)> = demand.queue.keys().copied().collect();
                for entry in entries {
                    demand.expire(need, entry, self.now);
                }
            }
        }
    }

    /// Fails what waited in vain for as long as it would, and tells clients what the rest waits for.
    pub(super) fn tick_demands(&mut self, out: &mut Vec<Command>) {
        let keys: Vec<Key> = self.demands.all.keys().cloned().collect();
        for key in keys {
            while let Some(demand) = self.demands.all.get(&key)
                && let Some((time, _, slot)) = demand.expiring.first().copied()
                && time <= self.now
            {
                let error = TaskError::NoSuitableWorker {
                    function: self.functions.name(key.1),
                    missing: key.0.words(),
                    waited: key.0.wait_timeout.unwrap_or_default(),
                };
                self.fail(slot, error.into(), out);
            }
            let is_alone = self.workers.is_empty();
            let Some(demand) = self.demands.all.get_mut(&key) else { continue };
            let Some(starved) = demand.starved.as_mut().filter(|starved| starved.next <= self.now) else { continue };
            let waited = starved.told(self.now);
            // Where there is no worker at all, that is what clients are told.
            if is_alone {
                continue;
            }
            let mut n_tasks: BTreeMap<ClientId, u64> = BTreeMap::new();
            let slots: Vec<Slot> = demand.queue.keys().map(|(_, slot)| *slot).collect();
            for slot in slots {
                for client in self.concerned(slot) {
                    *n_tasks.entry(client).or_default() += 1;
                }
            }
            for (client, n_tasks) in n_tasks {
                let reason = WaitReason::NoSuitableWorker { missing: key.0.words() };
                let message = ToClient::Waiting { reason, n_tasks, for_ms: waited.as_millis() as u64 };
                out.push(Command::ToClient { client, message });
            }
        }
    }

    /// The workers that could ever run tasks of a kind.
    fn eligible(&self, (need, function): &Key) -> BTreeSet<WorkerId> {
        let suits = |id: &WorkerId| {
            self.workers.knows(*id, *function) && self.workers.get(*id).is_some_and(|worker| need.fits(worker))
        };
        let suited: BTreeSet<WorkerId> = self.workers.ids().filter(suits).collect();
        if need.workers.is_empty() {
            return suited;
        }
        let is_named = |id: &&WorkerId| self.workers.get(**id).is_some_and(|worker| need.names(worker));
        let named: BTreeSet<WorkerId> = suited.iter().filter(is_named).copied().collect();
        if named.is_empty() && need.allow_other_workers { suited } else { named }
    }

    /// Where a task of a kind should run now: with its inputs if it can, on an idle worker before a busy one.
    fn host_for(&mut self, key: &Key, slot: Slot) -> Option<WorkerId> {
        let demand = self.demands.all.get_mut(key)?;
        let workers = &self.workers;
        let can_take = |id: &WorkerId| workers.get(*id).is_some_and(|worker| key.0.can_take(worker));
        // The one that it asked to leave counts where there is no other.
        let left = self.tasks.moved.get(&slot).map(|(from, _)| *from).filter(|_| demand.eligible.len() > 1);
        let mut candidates: Vec<WorkerId> = Vec::new();
        for input in self.tasks.dependencies(slot).take(LOOKS) {
            let holders = self.tasks.holders(input).filter(|id| demand.eligible.contains(id) && can_take(id));
            candidates.extend(holders);
        }
        let (mut idle, mut busy, mut full) = (Vec::new(), Vec::new(), Vec::new());
        for id in &demand.open {
            if !can_take(id) {
                full.push(*id);
            } else if left == Some(*id) {
                // One that is busy and has room comes before it.
            } else if workers.get(*id).is_some_and(Worker::is_idle) {
                idle.push(*id);
                if idle.len() == LOOKS {
                    break;
                }
            } else if busy.len() < LOOKS {
                busy.push(*id);
            }
        }
        for id in full {
            demand.open.remove(&id);
        }
        candidates.extend(if idle.is_empty() { busy } else { idle });
        candidates.sort_unstable();
        candidates.dedup();
        candidates.retain(|id| left != Some(*id));
        self.best_of(slot, candidates)
    }

    fn dequeue(&mut self, key: &Key, entry: (Priority, Slot)) {
        let Some(demand) = self.demands.all.get_mut(key) else { return };
        if let Some(expiry) = demand.queue.remove(&entry) {
            self.demands.n_queued -= 1;
            if let Some(time) = expiry {
                demand.expiring.remove(&(time, entry.0, entry.1));
            }
        }
    }

    /// Checks what must be true of needs between events.
    pub(super) fn check_demands(&self) {
        let mut n_queued = 0;
        for (key, demand) in &self.demands.all {
            let words = key.0.words();
            assert_eq!(demand.eligible, self.eligible(key), "who could run what needs {words}");
            n_queued += demand.queue.len();
            for (priority, slot) in demand.queue.keys() {
                let id = self.tasks.id(*slot);
                assert_eq!(self.tasks.state[*slot], State::Ready, "{id} waits for {words}");
                assert_eq!((self.priority(*slot), self.tasks.worker[*slot]), (*priority, NONE), "{id} is queued");
                assert_eq!(self.demand_of(*slot).as_ref(), Some(key), "{id} is in the queue of its kind");
            }
            let expiring = demand.queue.iter().filter_map(|((p, s), time)| Some(((*time)?, *p, *s)));
            assert_eq!(expiring.collect::<BTreeSet<_>>(), demand.expiring, "what expires waiting for {words}");
            let is_starved = demand.eligible.is_empty() && !demand.queue.is_empty();
            assert_eq!(demand.starved.is_some(), is_starved, "nobody can give {words}");
            for id in &demand.eligible {
                let worker = self.workers.get(*id).expect("an eligible worker is there");
                let can_take = key.0.can_take(worker);
                assert!(!can_take || demand.open.contains(id), "{id} could take what needs {words}");
                let next = demand.first_for(*id, |slot| self.came_from(slot, *id));
                assert!(!can_take || next.is_none(), "{id} has room while a task waits for {words}");
            }
        }
        assert_eq!(self.demands.n_queued, n_queued, "queued tasks with needs are counted");
        assert!(self.demands.fresh.is_empty(), "an event leaves no need unseen");
        let mut taken: BTreeMap<WorkerId, BTreeMap<String, u64>> = BTreeMap::new();
        for (slot, (worker, _)) in &self.demands.held {
            let is_there = self.tasks.state[*slot] == State::Assigned && self.tasks.worker[*slot] == worker.0;
            assert!(is_there, "{} holds resources of {worker} and is not there", self.tasks.id(*slot));
        }
        let lingering = self.demands.lingering.iter().map(|((worker, ..), need)| (worker, need));
        for (worker, need) in self.demands.held.values().map(|(worker, need)| (worker, need)).chain(lingering) {
            for (name, amount) in &need.resources {
                *taken.entry(*worker).or_default().entry(name.clone()).or_default() += amount;
            }
        }
        for id in self.workers.ids() {
            let worker = self.workers.get(id).expect("an alive worker is there");
            assert_eq!(worker.taken, taken.remove(&id).unwrap_or_default(), "{id} adds up what is taken of it");
            let is_within = worker.taken.iter().all(|(name, n)| worker.resources.get(name).is_some_and(|has| has >= n));
            assert!(is_within, "{id} has {:?} and gives {:?}", worker.resources, worker.taken);
        }
        assert!(taken.is_empty(), "nothing is taken of workers that are gone");
    }
}

impl Demand {
    /// The first task for a worker; `came_from` says which asked to be run on another, if there is one.
    fn first_for(&self, worker: WorkerId, came_from: impl Fn(Slot) -> bool) -> Option<&(Priority, Slot)> {
        let is_alone = self.eligible.len() == 1 && self.eligible.contains(&worker);
        self.queue.keys().take(LOOKS).find(|(_, slot)| is_alone || !came_from(*slot))
    }

    /// Notes when a task that nobody can run fails, if it does not wait for ever.
    fn expire(&mut self, need: &Need, entry: (Priority, Slot), now: Time) {
        if let Some(timeout) = need.wait_timeout {
            let time = now + timeout;
            self.queue.insert(entry, Some(time));
            self.expiring.insert((time, entry.0, entry.1));
        }
    }
}
