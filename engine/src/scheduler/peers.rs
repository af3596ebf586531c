//! Who is connected, what functions they know, and when silence is death.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{Command, Scheduler, returns::Returning, tasks::Slot};
use crate::{
    event::{Kind, Record},
    id::{ClientId, ConnectionId, FunctionId, TaskId, WorkerId},
    journal::Entry,
    message::{
        Address, Greeting, Hello, PROTOCOL, Priority, Rejoin, Role, ToClient, ToWorker, WaitReason, WorkerHello,
        WorkerInfo,
    },
    task::FunctionEntry,
    time::Time,
};

/// Clients are told at least this often that no worker is there.
const LONELY_AT_MOST: Duration = Duration::from_secs(30);

/// A program that submits work.
#[derive(Debug)]
pub(super) struct Client {
    /// From its function numbers to ours.
    pub(super) functions: Arc<[u32]>,
    /// The sequence number that its next submission must begin with.
    pub(super) next: u64,
    /// Its tasks that are neither done nor released.
    pub(super) n_active: u64,
    pub(super) last_heard: Time,
    /// What is known of it so that it may come back; most of all its key.
    pub(super) session: Option<Returning>,
}

/// A program that runs tasks.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) name: String,
    pub(super) address: Address,
    pub(super) n_threads: u32,
    instruction_set: String,
    /// From our function numbers to its own.
    local: BTreeMap<u32, FunctionId>,
    /// Tasks sent to it, and whether they run as far as we know.
    pub(super) in_flight: BTreeMap<Slot, bool>,
    /// Expected time of all that is in flight, in units.
    pub(super) occupancy: u64,
    /// Tasks that are to run there and were not sent yet.
    pub(super) queue: BTreeSet<(Priority, Slot)>,
    /// Expected time of the queue, in units.
    pub(super) queued: u64,
    /// Bytes of results it keeps.
    pub(super) n_stored: u64,
    pub(super) last_heard: Time,
    /// Tasks that run there and wait, holding no thread; and whether a task that one of them submitted was running
    /// there when its client was lost.
    pub(super) seceded: BTreeMap<Slot, bool>,
    /// Whether it is on its way out, and takes no new task.
    pub(super) retiring: bool,
    /// Whether it came back and has yet to say with what; it is sent nothing before.
    pub(super) is_announcing: bool,
    /// It is given no tasks until its memory is free, as it said last; those it has it keeps.
    pub(super) paused: bool,
    /// What it has for tasks that need resources.
    pub(super) resources: BTreeMap<String, u64>,
    /// What of that the tasks it was sent have taken; no zeros.
    pub(super) taken: BTreeMap<String, u64>,
    /// Bytes that it may use, where that is bounded.
    pub(super) memory_limit: Option<u64>,
    /// Bytes of `n_stored` that are on disk only, as it said last.
    pub(super) spilled: u64,
    /// Expected sizes of the results of what is in flight, where they matter.
    pub(super) promises: BTreeMap<Slot, u64>,
    /// Their sum.
    pub(super) promised: u64,
    /// Threads that are kept free for a gang.
    pub(super) reserved: u32,
}

/// All workers, and those among them that placement asks for.
#[derive(Debug, Default)]
pub(super) struct Workers {
    /// By id; ids are never used again.
    all: Vec<Option<Box<Worker>>>,
    alive: BTreeSet<WorkerId>,
    idle: BTreeSet<WorkerId>,
    open: BTreeSet<WorkerId>,
    /// By the length of their queue, where they have one.
    by_queue: BTreeSet<(usize, WorkerId)>,
    /// Those that have paused themselves and have nothing in hand.
    pub(super) pausing: BTreeSet<WorkerId>,
    /// Those that have memory again since this was last looked at.
    pub(super) eased: BTreeSet<WorkerId>,
    /// The largest budget, where every worker has one.
    largest_limit: Option<u64>,
    /// The smallest budget, where any worker has one.
    smallest_limit: Option<u64>,
    /// Whose turn it was last, so that idle workers are given work in turn.
    last: u32,
    /// Attempts that were sent and have not ended.
    n_sent: usize,
    n_retiring: usize,
}

/// There is work and no worker.
#[derive(Debug)]
pub(super) struct Lonely {
    pub(super) since: Time,
    /// When clients are told next.
    pub(super) next: Time,
}

impl Lonely {
    /// Clients are being told: says for how long it lasts already, and plans when to tell them again.
    pub(super) fn told(&mut self, now: Time) -> Duration {
        let waited = now - self.since;
        self.next = now + (waited * 2).min(LONELY_AT_MOST);
        waited
    }
}

impl Workers {
    pub(super) fn len(&self) -> usize {
        self.alive.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.alive.is_empty()
    }

    /// How many take new tasks.
    pub(super) fn n_taking(&self) -> usize {
        self.alive.len() - self.n_retiring
    }

    /// Whether a worker takes new tasks and copies.
    pub(super) fn takes(&self, worker: WorkerId) -> bool {
        self.get(worker).is_some_and(|state| !state.retiring)
    }

    /// A worker takes no new task from now on.
    pub(super) fn retire(&mut self, worker: WorkerId) {
        self.n_retiring += 1;
        self.change(worker, |state| state.retiring = true);
    }

    /// A worker that was to go stays.
    pub(super) fn unretire(&mut self, worker: WorkerId) {
        self.n_retiring -= 1;
        self.change(worker, |state| state.retiring = false);
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = WorkerId> + '_ {
        self.alive.iter().copied()
    }

    pub(super) fn get(&self, worker: WorkerId) -> Option<&Worker> {
        self.all.get(worker.0 as usize)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, worker: WorkerId) -> Option<&mut Worker> {
        self.all.get_mut(worker.0 as usize)?.as_deref_mut()
    }

    pub(super) fn knows(&self, worker: WorkerId, function: u32) -> bool {
        self.local_function(worker, function).is_some()
    }

    /// A function by a worker's own number.
    pub(super) fn local_function(&self, worker: WorkerId, function: u32) -> Option<FunctionId> {
        self.get(worker)?.local.get(&function).copied()
    }

    pub(super) fn has_address(&self, worker: WorkerId, address: &Address) -> bool {
        self.get(worker).is_some_and(|worker| worker.address == *address)
    }

    pub(super) fn has_room(&self, worker: WorkerId) -> bool {
        self.open.contains(&worker) || (self.is_short(worker) && self.get(worker).is_some_and(Worker::is_open))
    }

    /// Whether a worker that takes tasks is full, so that it may be given some only.
    pub(super) fn is_short(&self, worker: WorkerId) -> bool {
        self.get(worker).is_some_and(|worker| worker.memory_limit.is_some() && !worker.paused && worker.is_full())
    }

    pub(super) fn any_queued(&self) -> bool {
        !self.by_queue.is_empty()
    }

    pub(super) fn first_queued(&self, worker: WorkerId) -> Option<(Priority, Slot)> {
        self.get(worker)?.queue.first().copied()
    }

    /// The worker with the longest queue, other than `thief`.
    pub(super) fn longest_queue(&self, thief: WorkerId) -> Option<&Worker> {
        let (_, victim) = self.by_queue.iter().rev().find(|(_, worker)| *worker != thief)?;
        self.get(*victim)
    }

    /// Whether some worker has nothing to do while others run something.
    pub(super) fn some_rest(&self) -> bool {
        self.n_sent > 0 && !self.idle.is_empty()
    }

    /// The workers that have a thread with nothing to do.
    pub(super) fn idle(&self) -> impl Iterator<Item = WorkerId> + '_ {
        self.idle.iter().copied()
    }

    /// An idle worker, each in turn.
    pub(super) fn next_idle(&mut self) -> Option<WorkerId> {
        let next = next_after(&self.idle, self.last)?;
        self.last = next.0;
        Some(next)
    }

    /// The idle worker whose turn it is, without using up its turn.
    pub(super) fn peek_idle(&self) -> Option<WorkerId> {
        next_after(&self.idle, self.last)
    }

    /// A worker that should be sent more; the same one until it has enough, so that neighbours stay together.
    pub(super) fn next_open(&self) -> Option<WorkerId> {
        self.open.first().copied()
    }

    pub(super) fn enqueue(&mut self, worker: WorkerId, priority: Priority, slot: Slot, estimate: u32) {
        self.change(worker, |state| {
            state.queue.insert((priority, slot));
            state.queued += u64::from(estimate);
        });
    }

    pub(super) fn unqueue(&mut self, worker: WorkerId, priority: Priority, slot: Slot, estimate: u32) {
        self.change(worker, |state| {
            state.queue.remove(&(priority, slot));
            state.queued -= u64::from(estimate);
        });
    }

    pub(super) fn assign(&mut self, worker: WorkerId, slot: Slot, estimate: u32, expected_bytes: u64) {
        self.n_sent += 1;
        self.change(worker, |state| {
            state.in_flight.insert(slot, false);
            state.occupancy += u64::from(estimate);
            if expected_bytes > 0 {
                state.promises.insert(slot, expected_bytes);
                state.promised += expected_bytes;
            }
        });
    }

    pub(super) fn unassign(&mut self, worker: WorkerId, slot: Slot, estimate: u32) {
        self.n_sent -= 1;
        self.change(worker, |state| {
            if let Some(n_bytes) = state.promises.remove(&slot) {
                state.promised -= n_bytes;
            }
            if state.seceded.remove(&slot).is_some() {
                return;
            }
            state.in_flight.remove(&slot);
            state.occupancy -= u64::from(estimate);
        });
    }

    /// A worker that came back has said all it holds and runs.
    pub(super) fn has_announced(&mut self, worker: WorkerId) {
        self.change(worker, |state| state.is_announcing = false);
    }

    /// Stops giving tasks to a worker, or begins again.
    #[cfg(test)]
    pub(super) fn change_pause(&mut self, worker: WorkerId, paused: bool) {
        self.change(worker, |state| state.paused = paused);
    }

    /// Counts bytes that a worker keeps more, or less.
    pub(super) fn stored(&mut self, worker: WorkerId, n_bytes: i64) {
        let Some(state) = self.get_mut(worker) else { return };
        if state.memory_limit.is_none() {
            state.n_stored = state.n_stored.saturating_add_signed(n_bytes);
            return;
        }
        let was_full = state.is_full();
        self.change(worker, |state| state.n_stored = state.n_stored.saturating_add_signed(n_bytes));
        if was_full && self.get(worker).is_some_and(|state| !state.is_full()) {
            self.eased.insert(worker);
        }
    }

    /// The largest budget, where every worker has one.
    pub(super) const fn largest_limit(&self) -> Option<u64> {
        self.largest_limit
    }

    /// The smallest budget, where any worker has one.
    pub(super) const fn smallest_limit(&self) -> Option<u64> {
        self.smallest_limit
    }

    /// Whether each worker is in the sets it belongs to.
    pub(super) fn check(&self) {
        for id in &self.alive {
            let worker = self.get(*id).expect("an alive worker is there");
            assert_eq!(self.idle.contains(id), worker.is_idle() && worker.has_memory(), "{id} is idle");
            assert_eq!(self.open.contains(id), worker.is_open() && worker.has_memory(), "{id} is open");
            assert_eq!(self.pausing.contains(id), worker.needs_relief(), "{id} pauses");
            assert_eq!(worker.promised, worker.promises.values().sum(), "{id} adds up what it will make");
            let is_there = |slot: &Slot| worker.in_flight.contains_key(slot) || worker.seceded.contains_key(slot);
            assert!(worker.promises.keys().all(is_there), "{id} promises too much");
            assert_eq!(
                self.by_queue.contains(&(worker.queue.len(), *id)),
                !worker.queue.is_empty(),
                "{id} is listed by its queue"
            );
        }
        let n_queues = self.alive.iter().filter(|id| self.get(**id).is_some_and(|w| !w.queue.is_empty())).count();
        assert_eq!(self.by_queue.len(), n_queues, "no worker is listed twice by its queue");
        assert!(self.idle.iter().chain(&self.open).all(|id| self.alive.contains(id)), "the sets hold the living only");
        assert_eq!(self.all.iter().flatten().count(), self.alive.len(), "the dead are gone");
    }

    /// The number that the next worker gets.
    pub(super) fn next_id(&self) -> WorkerId {
        WorkerId(self.all.len() as u32)
    }

    /// Leaves out the numbers below.
    pub(super) fn skip_to(&mut self, worker: WorkerId) {
        let n = (worker.0 as usize).max(self.all.len());
        self.all.resize_with(n, || None);
    }

    fn insert(&mut self, worker: Worker) {
        let id = self.next_id();
        self.all.push(Some(Box::new(worker)));
        self.alive.insert(id);
        self.change(id, |_| {});
        self.compare_limits();
    }

    fn compare_limits(&mut self) {
        let limits = self.alive.iter().map(|id| self.get(*id).and_then(|worker| worker.memory_limit));
        let limits: Vec<Option<u64>> = limits.collect();
        self.smallest_limit = limits.iter().flatten().min().copied();
        self.largest_limit = if limits.contains(&None) { None } else { limits.into_iter().flatten().max() };
    }

    fn remove(&mut self, worker: WorkerId) -> Option<Box<Worker>> {
        let state = self.all.get_mut(worker.0 as usize)?.take()?;
        self.alive.remove(&worker);
        self.n_retiring -= usize::from(state.retiring);
        self.idle.remove(&worker);
        self.open.remove(&worker);
        self.by_queue.remove(&(state.queue.len(), worker));
        self.pausing.remove(&worker);
        self.eased.remove(&worker);
        self.compare_limits();
        Some(state)
    }

    /// Changes a worker and then the sets it belongs to.
    pub(super) fn change(&mut self, worker: WorkerId, change: impl FnOnce(&mut Worker)) {
        let Some(Some(state)) = self.all.get_mut(worker.0 as usize) else { return };
        let old_length = state.queue.len();
        change(state);
        let new_length = state.queue.len();
        let has_memory = state.has_memory();
        let (is_idle, is_open) = (state.is_idle() && has_memory, state.is_open() && has_memory);
        let needs_relief = state.needs_relief();
        if needs_relief {
            self.pausing.insert(worker);
        } else if !self.pausing.is_empty() {
            self.pausing.remove(&worker);
        }
        if new_length != old_length {
            self.by_queue.remove(&(old_length, worker));
            if new_length > 0 {
                self.by_queue.insert((new_length, worker));
            }
        }
        for (set, belongs) in [(&mut self.idle, is_idle), (&mut self.open, is_open)] {
            if belongs {
                set.insert(worker);
            } else {
                set.remove(&worker);
            }
        }
    }
}

/// The first of a set after `last`, going round.
fn next_after(set: &BTreeSet<WorkerId>, last: u32) -> Option<WorkerId> {
    set.range(WorkerId(last.saturating_add(1))..).next().or_else(|| set.first()).copied()
}

impl Scheduler {
    pub(super) fn greet(&mut self, now: Time, connection: ConnectionId, hello: Hello, out: &mut Vec<Command>) {
        let heartbeat_ms = self.config.heartbeat.as_millis() as u64;
        if self.clients.is_empty() && self.workers.is_empty() {
            self.next_beat = now + self.config.heartbeat;
        }
        self.close_what_returns(&hello, out);
        let report = if let Role::Report(report) = &hello.role { Some(report.clone()) } else { None };
        let before = match &hello.role {
            Role::Worker(WorkerHello { rejoins: Some(rejoin), .. }) => Some(rejoin.worker),
            _ => None,
        };
        let greeting = match self.admit(now, hello, heartbeat_ms) {
            Ok(greeting) => greeting,
            Err(reason) => Greeting::Refused { reason },
        };
        out.push(Command::Greet { connection, greeting: greeting.clone() });
        match greeting {
            Greeting::Client { client, .. } => {
                self.note(Record::Cluster, |_| Kind::ClientJoined { client });
                let message = ToClient::Workers { workers: self.worker_list() };
                out.push(Command::ToClient { client, message });
            }
            Greeting::Worker { worker, .. } => {
                self.record_joined(worker, before);
                self.touched.insert(worker);
                self.wishes.touch_all();
                self.ask_worker(worker, out);
                self.replace_shared(out);
                self.reconsider_demands();
                self.fail_unknown_demands(out);
                self.announce_workers(out);
            }
            Greeting::Stranger { .. } => {}
            Greeting::Session { client, resumed, .. } => self.welcome(client, resumed.is_some(), out),
            Greeting::Refused { reason } => self.note(Record::Cluster, |_| Kind::Refused { reason }),
            Greeting::Noted => report.into_iter().for_each(|report| self.death_reported(report, out)),
        }
    }

    pub(super) fn client_left(&mut self, client: ClientId, out: &mut Vec<Command>) {
        if let Some(state) = self.clients.remove(&client) {
            self.retiring.client_left(client);
            self.wishes.client_left(client);
            self.moves.client_left(client);
            self.note(Record::Cluster, |_| Kind::ClientLeft { client });
            self.blame_parents(client);
            self.uncoordinate(client, out);
            self.unsubscribe(client, out);
            self.forget_client(client, out);
            self.functions.leave(state.functions.iter().copied(), false);
            self.away.remove(&client);
            self.write_down(|| Entry::Left { client });
        }
    }

    pub(super) fn worker_left(&mut self, worker: WorkerId, out: &mut Vec<Command>) {
        self.worker_goes(worker, true, out);
    }

    /// A worker is no longer there. What it was running is suspected of it, unless it was sent away.
    pub(super) fn worker_goes(&mut self, worker: WorkerId, suspect: bool, out: &mut Vec<Command>) {
        let Some(state) = self.workers.remove(worker) else { return };
        self.write_down(|| Entry::WorkerLeft { worker });
        self.wait_no_longer_for(worker);
        self.functions.leave(state.local.keys().copied(), !state.retiring);
        self.drops.remove(&worker);
        self.replicas.worker_left(worker);
        self.seekers.worker_left(worker);
        self.demands.worker_left(worker);
        self.wishes.touch_all();
        self.retiring_left(worker);
        self.reconsider_demands();
        self.forget_clock(worker);
        self.unreserve();
        let queued = state.queue.iter().map(|(_, slot)| *slot).collect();
        let mut in_flight = self.suspects(&state);
        in_flight.iter_mut().for_each(|(_, is_suspect)| *is_suspect &= suspect);
        let (name, n_tasks) = (state.name, in_flight.len() as u64);
        self.worker_died(worker, &name, suspect.then_some(&state.in_flight), &mut in_flight);
        let n_lost = self.forget_worker(worker, in_flight, queued, out);
        self.record_left(worker, name, n_tasks, n_lost);
        self.announce_workers(out);
    }

    pub(super) fn tick(&mut self, now: Time, out: &mut Vec<Command>) {
        self.coordination_tick(now, out);
        if now >= self.next_beat {
            self.next_beat = now + self.config.heartbeat;
            self.beat(now, out);
        }
        self.retire_tick(now, out);
        if !self.demands.is_unused() {
            self.tick_demands(out);
        }
        self.tick_gangs(out);
        self.look_for_stragglers(out);
        self.trim_tick(now);
        self.judge_without_reports(now, out);
        if let Some(lonely) = &mut self.lonely
            && now >= lonely.next
        {
            let waited = lonely.told(now);
            for (client, state) in &self.clients {
                let n_tasks = state.n_active + self.n_shared_active(*client);
                if n_tasks > 0 {
                    let message =
                        ToClient::Waiting { reason: WaitReason::NoWorkers, n_tasks, for_ms: waited.as_millis() as u64 };
                    out.push(Command::ToClient { client: *client, message });
                }
            }
        }
    }

    /// Notes when work began to wait for a first worker, and when it stopped to.
    pub(super) fn watch_for_loneliness(&mut self, now: Time) {
        let is_lonely = self.workers.n_taking() == 0
            && self.clients.iter().any(|(client, state)| state.n_active > 0 || self.n_shared_active(*client) > 0);
        if !is_lonely {
            self.lonely = None;
        } else if self.lonely.is_none() {
            self.lonely = Some(Lonely { since: now, next: now + self.config.no_workers_after });
        }
    }

    fn beat(&mut self, now: Time, out: &mut Vec<Command>) {
        let silence = self.config.silence;
        let dead = |last_heard: Time| now - last_heard >= silence;
        let is_silent = |client: &ClientId, state: &Client| dead(state.last_heard) && !self.away.contains(client);
        let clients: Vec<ClientId> = self.clients.iter().filter(|c| is_silent(c.0, c.1)).map(|c| *c.0).collect();
        for client in clients {
            out.push(Command::CloseClient { client });
            self.client_cut(client, out);
        }
        self.forget_the_absent(now, out);
        let is_dead = |id: &WorkerId| self.workers.get(*id).is_some_and(|worker| dead(worker.last_heard));
        let workers: Vec<WorkerId> = self.workers.ids().filter(is_dead).collect();
        for worker in workers {
            out.push(Command::CloseWorker { worker });
            self.worker_left(worker, out);
        }
        self.say_what_was_received(out);
        out.extend(
            self.clients.keys().map(|client| Command::ToClient { client: *client, message: ToClient::Heartbeat }),
        );
        out.extend(self.workers.ids().map(|worker| Command::ToWorker { worker, message: ToWorker::Heartbeat }));
    }

    /// Lets a program in, or says why not.
    fn admit(&mut self, now: Time, hello: Hello, heartbeat_ms: u64) -> Result<Greeting, String> {
        if hello.protocol != PROTOCOL {
            return Err(format!(
                "it speaks protocol {} (phalanx {}), this cluster protocol {PROTOCOL} (phalanx {}); use one version",
                hello.protocol, hello.version, self.config.version
            ));
        }
        match hello.role {
            Role::Client => {
                let client = self.new_client(now, &hello.functions, None)?;
                Ok(Greeting::Client { client, heartbeat_ms })
            }
            Role::Session(session) => {
                let cluster = self.config.cluster;
                let (client, resumed) = match self.take_up(now, session) {
                    Some((client, n_received)) => (client, Some(n_received)),
                    None => (self.new_client(now, &hello.functions, Some(session.key))?, None),
                };
                Ok(Greeting::Session { client, heartbeat_ms, cluster, resumed, life: self.life })
            }
            Role::Report(_) => Ok(Greeting::Noted),
            Role::Worker(WorkerHello { rejoins: Some(Rejoin { cluster, .. }), .. })
                if cluster != self.config.cluster =>
            {
                Ok(Greeting::Stranger { cluster: self.config.cluster })
            }
            Role::Worker(WorkerHello { n_threads, address, name, resources, rejoins, memory_limit, life }) => {
                if n_threads == 0 {
                    return Err("it has 0 threads, expected 1 or more".into());
                }
                if let Some(other) = self.workers.ids().find_map(|id| self.workers.get(id))
                    && other.instruction_set != hello.instruction_set
                {
                    return Err(format!(
                        "its kernels use {}, those of worker {} use {}: results would differ in their last bits; \
                         use machines of one instruction set in one cluster",
                        hello.instruction_set, other.name, other.instruction_set
                    ));
                }
                let numbers = self.functions.join(&hello.functions, true)?;
                let worker = self.workers.next_id();
                self.write_down(|| Entry::WorkerJoined { worker });
                if let Some(rejoin) = rejoins {
                    self.is_back(rejoin.worker, worker);
                }
                self.deaths.joined(worker, life);
                self.workers.insert(Worker {
                    name,
                    address,
                    n_threads,
                    instruction_set: hello.instruction_set,
                    local: numbers.into_iter().zip((0..).map(FunctionId)).collect(),
                    in_flight: BTreeMap::new(),
                    occupancy: 0,
                    queue: BTreeSet::new(),
                    queued: 0,
                    n_stored: 0,
                    last_heard: now,
                    seceded: BTreeMap::new(),
                    retiring: false,
                    is_announcing: rejoins.is_some(),
                    paused: false,
                    resources,
                    taken: BTreeMap::new(),
                    memory_limit,
                    spilled: 0,
                    promises: BTreeMap::new(),
                    promised: 0,
                    reserved: 0,
                });
                Ok(Greeting::Worker { worker, heartbeat_ms, cluster: self.config.cluster })
            }
        }
    }

    /// Counts a worker among those that can be given its functions' tasks, or no longer.
    pub(super) fn set_functions_taken(&mut self, worker: WorkerId, takes: bool) {
        if let Some(state) = self.workers.get(worker) {
            self.functions.taken(state.local.keys().copied(), takes);
        }
    }

    pub(super) fn new_client(
        &mut self,
        now: Time,
        table: &[FunctionEntry],
        key: Option<u128>,
    ) -> Result<ClientId, String> {
        let client = self.n_clients_ever;
        if client.0 > TaskId::MAX_CLIENT {
            return Err("the scheduler has numbered 2^24 clients and must be restarted".into());
        }
        let functions = self.functions.join(table, false)?;
        self.n_clients_ever = ClientId(client.0 + 1);
        self.write_down_client(client, key, table);
        let session = key.map(|key| Returning::new(key, 0));
        let state = Client { functions: functions.into(), next: 0, n_active: 0, last_heard: now, session };
        self.clients.insert(client, state);
        Ok(client)
    }

    fn announce_workers(&self, out: &mut Vec<Command>) {
        for client in self.clients.keys() {
            let message = ToClient::Workers { workers: self.worker_list() };
            out.push(Command::ToClient { client: *client, message });
        }
    }

    pub(super) fn worker_list(&self) -> Vec<WorkerInfo> {
        let info = |id: WorkerId| {
            let worker = self.workers.get(id)?;
            let (name, address) = (worker.name.clone(), worker.address.clone());
            Some(WorkerInfo { worker: id, name, address, n_threads: worker.n_threads })
        };
        self.workers.ids().filter_map(info).collect()
    }
}
