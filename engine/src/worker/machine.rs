//! The worker machine: attempts, what they wait for, and what the store holds.
//!
//! Every try at a task is an object of its own. "Cancelled" is a property of a running attempt, so a second attempt
//! of the same task lives beside it, and whichever was not cancelled counts.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Command, Config, Event, Reason, Run, StopReason,
    attempts::Attempts,
    memory::{Loan, Memory},
    record::{Counters, Recorder},
};
use crate::{
    event::Outcome,
    fetch::{Fetches, hash},
    graph::ArgumentCode,
    id::{Attempt, FunctionId, TaskId},
    message::{Address, Arguments, Compute, Constants, Failure, FromWorker, GangCall, Priority, Remote, ToWorker},
    time::Time,
    value::Value,
};

mod rejoin;

/// One worker's decisions.
///
/// ```
/// use phalanx_engine::{
///     id::{Attempt, ClientId, FunctionId, TaskId},
///     message::{Address, Arguments, Compute, Constants, FromWorker, Priority, ToWorker},
///     time::Time,
///     worker::{Command, Config, Event, Run, Worker},
/// };
///
/// let mut worker = Worker::new(Config::default(), Address("inproc://1".into()), Time::ZERO);
/// let (task, attempt, function) = (TaskId::new(ClientId(0), 0), Attempt(0), FunctionId(3));
/// let compute = Compute {
///     task,
///     attempt,
///     function,
///     priority: Priority::default(),
///     wanted: true,
///     arguments: Arguments::new(),
///     fetch: vec![],
///     constants: Constants::new(),
///     n_constants: 0,
///     gang: None,
///     expected_bytes: 0,
/// };
/// let mut commands = Vec::new();
/// worker.handle(Time::ZERO, Event::Scheduler(ToWorker::Compute(compute)), &mut commands);
/// let (arguments, constants) = (Arguments::new(), Constants::new());
/// let run = Run { task, attempt, function, arguments, constants, gang: None };
/// assert_eq!(commands, [Command::ToScheduler(FromWorker::Started { task, attempt }), Command::Run(run)]);
/// ```
#[derive(Debug)]
pub struct Worker {
    pub(super) config: Config,
    address: Address,
    pub(super) attempts: Attempts,
    /// What is held, in memory and on disk, with its sizes in bytes.
    pub(super) memory: Memory,
    /// Who has to have an input before it can run: every attempt that does not run yet, by each of its inputs.
    needed_by: BTreeMap<TaskId, BTreeSet<Key>>,
    /// Results that the scheduler wants a copy of here, and that did not come yet.
    acquiring: BTreeSet<TaskId>,
    /// Attempts that have everything but a thread, the next one first.
    pub(super) ready: BTreeSet<(Priority, u64, Key)>,
    /// Functions that are being run, without those that wait.
    pub(super) n_running: u32,
    n_seceded: u32,
    /// Ready attempts whose inputs are lent to them, under a budget.
    pub(super) n_staged: u32,
    n_arrived: u64,
    fetches: Fetches,
    heartbeat_at: Time,
    heard_at: Time,
    stopped: bool,
    /// Whether there is no scheduler to speak to.
    is_alone: bool,
    recorder: Recorder,
    counters: Counters,
    /// Running attempts whose end the scheduler wants to know, whatever comes of them.
    awaited_ends: BTreeSet<Key>,
    /// How long functions ran lately, in nanoseconds: a mean in which the last eight or so count.
    recent_ns: u64,
}

/// An attempt's name.
pub(super) type Key = (TaskId, Attempt);

/// One try at a task that has not ended.
#[derive(Debug)]
pub(super) struct Work {
    function: FunctionId,
    priority: Priority,
    /// Its place among everything that ever arrived.
    arrival: u64,
    wanted: bool,
    pub(super) arguments: Arguments,
    constants: Constants,
    gang: Option<Box<GangCall>>,
    pub(super) state: State,
    /// The expected size of its result.
    pub(super) expected_bytes: u64,
    /// Inputs that stay in memory for it, from when it is staged until it has run.
    pub(super) loans: Vec<Loan>,
    pub(super) is_staged: bool,
    /// The actor that it calls, once it runs.
    pub(super) actor: Option<TaskId>,
}

#[derive(Debug, PartialEq)]
pub(super) enum State {
    /// These inputs are not in the store.
    Fetching(BTreeSet<TaskId>),
    /// All inputs are in the store, no thread was free.
    Ready,
    /// A thread runs it. Once it is cancelled, what it returns is nobody's.
    Running { cancelled: bool, turn: Turn },
}

/// How a running function counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It took a free thread and keeps it.
    Thread,
    /// It waits, and counts as none.
    Seceded,
    /// It waited and goes on, be a thread free or not.
    Rejoined,
}

impl Work {
    /// Its place among those that are ready.
    pub(super) const fn place(&self, key: Key) -> (Priority, u64, Key) {
        (self.priority, self.arrival, key)
    }

    /// The results it takes, each once.
    pub(super) fn inputs(&self) -> BTreeSet<TaskId> {
        let input = |code: &ArgumentCode| match code {
            ArgumentCode::Task(task) => Some(*task),
            ArgumentCode::Node(_) | ArgumentCode::Constant(_) | ArgumentCode::List(_) => None,
        };
        self.arguments.iter().filter_map(input).collect()
    }
}

impl Worker {
    /// A worker that holds nothing yet, whose results peers find at `address`.
    pub fn new(config: Config, address: Address, now: Time) -> Self {
        let salt = hash(address.0.as_bytes());
        // What is on its way takes memory here already, beside the budget.
        let max_incoming = config.memory_limit.map_or(u64::MAX, |limit| limit / 32).min(config.max_incoming);
        let fetches = Fetches::new(Some(address.clone()), salt, config.max_fetches, max_incoming, config.peer_silence);
        Self {
            heartbeat_at: now + config.heartbeat,
            heard_at: now,
            memory: Memory::new(config.memory_limit, config.spill_from),
            config,
            address,
            attempts: Attempts::default(),
            needed_by: BTreeMap::new(),
            acquiring: BTreeSet::new(),
            ready: BTreeSet::new(),
            n_running: 0,
            n_seceded: 0,
            n_staged: 0,
            n_arrived: 0,
            fetches,
            stopped: false,
            is_alone: false,
            recorder: Recorder::default(),
            counters: Counters::default(),
            awaited_ends: BTreeSet::new(),
            recent_ns: 0,
        }
    }

    /// Takes in what happened at `now` and adds to `out` what must be done, in that order.
    pub fn handle(&mut self, now: Time, event: Event, out: &mut Vec<Command>) {
        if self.stopped {
            return;
        }
        let n_before = out.len();
        match event {
            // What was on its way when the connection was given up belongs to it.
            Event::Scheduler(_) if self.is_alone => {}
            Event::Scheduler(message) => {
                self.heard_at = now;
                self.told(now, message, out);
            }
            Event::Ran { task, attempt, run_ns, outcome } => {
                self.counters.n_ran += 1;
                self.counters.n_failed += u64::from(outcome.is_err());
                self.counters.run_time += Duration::from_nanos(run_ns);
                if self.recorder.is_on() {
                    self.record_run((task, attempt), now, run_ns, outcome.as_ref().ok(), out);
                }
                self.ran((task, attempt), run_ns, outcome, out);
            }
            Event::Fetched { peer, task, value } => {
                self.fetches.fetched(now, &peer, task);
                self.recorder.fetched(&peer, task, value.n_bytes(), now, out);
                self.counters.n_fetched += 1;
                self.counters.fetched_bytes += value.n_bytes();
                if self.fetches.is_wanted(task) {
                    self.store(task, value, out);
                    out.push(Command::ToScheduler(FromWorker::Holds { tasks: vec![task] }));
                }
            }
            Event::NotThere { peer, task } => {
                self.fetches.not_there(now, &peer, task);
                self.recorder.not_fetched(&peer, Some(task));
            }
            Event::PeerBusy { peer, task } => {
                self.fetches.busy(now, &peer, task);
                self.recorder.not_fetched(&peer, Some(task));
            }
            Event::PeerSending { peer } => self.fetches.sending(now, &peer),
            Event::PeerLost { peer } => {
                self.fetches.lost(&peer);
                self.recorder.not_fetched(&peer, None);
            }
            Event::Timed { task, attempt, thread, start } => self.recorder.timed(task, attempt, thread, start),
            Event::Spilled { .. }
            | Event::SpillFailed { .. }
            | Event::Unspilled { .. }
            | Event::UnspillFailed { .. } => self.disk_said(now, event, out),
            Event::Tick => self.tick(now, out),
            Event::Seceded { task, attempt } => self.secede((task, attempt), out),
            Event::Rejoined { task, attempt } => self.rejoin((task, attempt), out),
            Event::SchedulerLost { keeps_running } => {
                self.recorder = Recorder::default();
                self.lose_scheduler(keeps_running, out);
            }
            Event::SchedulerBack => self.announce(now, out),
        }
        if !self.stopped {
            self.settle(now, out);
        }
        if self.is_alone {
            // Whoever comes back is told all of it then; a failure is no news worth keeping, it is tried again.
            let said = out.split_off(n_before);
            out.extend(said.into_iter().filter(|command| !matches!(command, Command::ToScheduler(_))));
        }
    }

    /// The earliest time at which a [`Event::Tick`] does something, and what it waits for. Nothing once it has stopped.
    pub fn deadline(&self) -> Option<(Time, Reason)> {
        if self.stopped {
            return None;
        }
        let peer = self.fetches.deadline().map(|(at, peer)| (at, Reason::PeerSilent(peer)));
        let own = [(self.heartbeat_at, Reason::Heartbeat), (self.silent_at(), Reason::SchedulerSilent)];
        let own = if self.is_alone { None } else { Some(own) };
        let rested = self.fetches.rested().map(|(at, peer)| (at, Reason::PeerBusy(peer)));
        own.into_iter().flatten().chain(peer).chain(rested).min_by_key(|(at, _)| *at)
    }

    /// Functions that are being run, those of cancelled tasks among them, without those that wait.
    pub const fn n_running(&self) -> u32 {
        self.n_running
    }

    /// Functions that wait and have given their thread's place to another task.
    pub const fn n_seceded(&self) -> u32 {
        self.n_seceded
    }

    /// Attempts that wait for inputs or for a thread.
    pub fn n_waiting(&self) -> usize {
        self.attempts.len() - (self.n_running + self.n_seceded) as usize
    }

    /// Copies that it was told to fetch, and that did not come yet.
    pub fn n_acquiring(&self) -> usize {
        self.acquiring.len()
    }

    /// Results that are held, in memory or on disk.
    pub fn n_held(&self) -> usize {
        self.memory.len()
    }

    /// How long what is ready here keeps the threads busy, in nanoseconds, if it takes as long as what ran lately. None
    /// where memory is not plenty: the sooner the scheduler hears of what is done the sooner it has inputs dropped,
    /// on all workers.
    pub fn in_hand_ns(&self) -> u64 {
        if !self.memory.is_plenty() {
            return 0;
        }
        self.recent_ns.saturating_mul(self.ready.len() as u64) / u64::from(self.config.n_threads.max(1))
    }

    /// What has been counted until now.
    pub fn counters(&self) -> Counters {
        Counters {
            n_running: u64::from(self.n_running),
            n_waiting: self.n_waiting() as u64,
            n_held: self.memory.len() as u64,
            held_bytes: self.memory.resident(),
            spilled_bytes: self.memory.spilled(),
            memory_limit: self.memory.limit(),
            is_paused: self.memory.is_paused(),
            ..self.counters
        }
    }

    /// Whether somebody wants to know when each function was called: [`Event::Timed`].
    pub const fn is_recording(&self) -> bool {
        self.recorder.is_on()
    }

    /// Tells of a function that has returned, whatever its result is worth now.
    fn record_run(&mut self, key: Key, now: Time, run_ns: u64, value: Option<&Value>, out: &mut Vec<Command>) {
        let Some(Work { state: State::Running { cancelled, .. }, .. }) = self.attempts.get(&key) else { return };
        let outcome = match value {
            _ if *cancelled => Outcome::Cancelled,
            Some(value) => Outcome::Finished { n_bytes: value.n_bytes() },
            None => Outcome::Failed,
        };
        self.recorder.ran(key, now, run_ns, outcome, out);
    }

    fn silent_at(&self) -> Time {
        self.heard_at + self.config.silence
    }

    fn told(&mut self, now: Time, message: ToWorker, out: &mut Vec<Command>) {
        match message {
            ToWorker::Compute(compute) => self.compute(compute, out),
            ToWorker::Located { task, holders } => self.fetches.located(task, holders),
            ToWorker::Drop { tasks } => self.drop_results(tasks, out),
            ToWorker::Cancel { task, attempt } => self.cancel((task, attempt)),
            ToWorker::Shutdown => self.stop(StopReason::Told, out),
            ToWorker::Heartbeat => {}
            ToWorker::Acquire { results } => self.acquire(results, out),
            ToWorker::Record { on } => self.recorder.turn(on, now, out),
            ToWorker::AwaitEnd { task, attempt } => self.await_end((task, attempt), out),
        }
    }

    fn tick(&mut self, now: Time, out: &mut Vec<Command>) {
        if !self.is_alone && now >= self.silent_at() {
            self.lose_scheduler(true, out);
            out.push(Command::Stop { reason: StopReason::SchedulerSilent(now - self.heard_at) });
        }
        if !self.is_alone && now >= self.heartbeat_at {
            self.heartbeat_at = now + self.config.heartbeat;
            out.push(Command::ToScheduler(FromWorker::Heartbeat));
            self.report_memory(true, out);
        }
        out.extend(self.fetches.tick(now).into_iter().map(|peer| Command::Close { peer }));
    }

    fn stop(&mut self, reason: StopReason, out: &mut Vec<Command>) {
        self.stopped = true;
        out.push(Command::Stop { reason });
    }

    fn compute(&mut self, compute: Compute, out: &mut Vec<Command>) {
        let Compute {
            task,
            attempt,
            function,
            priority,
            wanted,
            arguments,
            fetch,
            constants,
            expected_bytes,
            gang,
            ..
        } = compute;
        let key = (task, attempt);
        if let Some(work) = self.attempts.get_mut(&key) {
            if let State::Running { cancelled: cancelled @ true, turn } = &mut work.state {
                // Begun for a scheduler that died since; its successor counts tries anew, and wants this one.
                (*cancelled, work.wanted) = (false, wanted);
                out.push(Command::ToScheduler(FromWorker::Started { task, attempt }));
                if *turn == Turn::Seceded {
                    out.push(Command::ToScheduler(FromWorker::Seceded { task, attempt }));
                }
            }
            return;
        }
        if let Some(n_bytes) = self.memory.get(task) {
            // It came as an input while the scheduler believed it lost. Running again could give another value under
            // the same name.
            out.push(Command::ToScheduler(FromWorker::finished(task, attempt, n_bytes, 0, None)));
            return;
        }
        let state = State::Fetching(BTreeSet::new());
        let arrival = self.n_arrived;
        self.n_arrived += 1;
        let loans = Vec::new();
        let work = Work {
            function,
            priority,
            arrival,
            wanted,
            arguments,
            constants,
            gang,
            state,
            expected_bytes,
            loans,
            is_staged: false,
            actor: None,
        };
        let inputs = work.inputs();
        let missing: BTreeSet<TaskId> = inputs.iter().filter(|input| !self.memory.contains(**input)).copied().collect();
        let mut named: BTreeMap<TaskId, Remote> = fetch.into_iter().map(|remote| (remote.task, remote)).collect();
        for input in &missing {
            // An input that was not named is one that this worker should have: it is its own first, failed holder.
            let (n_bytes, holders) = match named.remove(input) {
                Some(remote) => (remote.n_bytes, remote.holders),
                None => (0, vec![self.address.clone()]),
            };
            self.fetches.want(*input, priority, n_bytes, holders);
        }
        for input in inputs {
            self.needed_by.entry(input).or_default().insert(key);
            self.memory.set_needed(input, true);
        }
        self.attempts.insert(key, work);
        self.wait_for(key, missing);
    }

    /// Lets an attempt wait for inputs, or for a thread where there are none to wait for.
    fn wait_for(&mut self, key: Key, missing: BTreeSet<TaskId>) {
        let Some(work) = self.attempts.get_mut(&key) else { return };
        let place = work.place(key);
        if missing.is_empty() {
            work.state = State::Ready;
            self.ready.insert(place);
        } else {
            work.state = State::Fetching(missing);
            self.ready.remove(&place);
            self.unstage(key);
        }
    }

    fn cancel(&mut self, key: Key) {
        let Some(work) = self.attempts.get_mut(&key) else { return };
        if let State::Running { cancelled, .. } = &mut work.state {
            *cancelled = true;
            return;
        }
        self.ready.remove(&work.place(key));
        self.unstage(key);
        self.leave_inputs(key);
        self.attempts.remove(&key);
    }

    /// Says when nothing of an attempt runs any more.
    fn await_end(&mut self, key: Key, out: &mut Vec<Command>) {
        let (task, attempt) = key;
        match self.attempts.get(&key) {
            Some(Work { state: State::Running { .. }, .. }) => drop(self.awaited_ends.insert(key)),
            _ => out.push(Command::ToScheduler(FromWorker::Ended { task, attempt })),
        }
    }

    /// An attempt no longer waits for anything; what nobody else waits for is not fetched any more.
    fn leave_inputs(&mut self, key: Key) {
        let Some(work) = self.attempts.get(&key) else { return };
        for input in work.inputs() {
            let Some(attempts) = self.needed_by.get_mut(&input) else { continue };
            attempts.remove(&key);
            if attempts.is_empty() {
                self.needed_by.remove(&input);
                self.memory.set_needed(input, false);
                if !self.acquiring.contains(&input) {
                    self.fetches.forget(input);
                }
            }
        }
    }

    fn ran(&mut self, key: Key, run_ns: u64, outcome: Result<Value, Failure>, out: &mut Vec<Command>) {
        let (task, attempt) = key;
        let Some(Work { state: State::Running { cancelled, turn }, wanted, .. }) = self.attempts.get(&key) else {
            return;
        };
        let (cancelled, turn, wanted) = (*cancelled, *turn, *wanted);
        self.recent_ns = self.recent_ns - self.recent_ns / 8 + run_ns / 8;
        if let Some(work) = self.attempts.remove(&key) {
            self.end_loans(work.expected_bytes, work.loans);
        }
        if self.awaited_ends.remove(&key) {
            out.push(Command::ToScheduler(FromWorker::Ended { task, attempt }));
        }
        match turn {
            Turn::Seceded => self.n_seceded -= 1,
            Turn::Thread | Turn::Rejoined => self.n_running -= 1,
        }
        if cancelled {
            return;
        }
        let message = match (outcome, self.memory.get(task)) {
            // A copy came meanwhile, as an input of another attempt: the first value is the task's, whatever this is.
            (_, Some(n_bytes)) => FromWorker::finished(task, attempt, n_bytes, run_ns, None),
            (Err(failure), None) => FromWorker::Failed { task, attempt, failure },
            (Ok(value), None) => {
                let n_bytes = value.n_bytes();
                let inline = (wanted && n_bytes <= self.config.inline_bytes && !value.stays()).then(|| value.clone());
                self.store(task, value, out);
                FromWorker::finished(task, attempt, n_bytes, run_ns, inline)
            }
        };
        out.push(Command::ToScheduler(message));
    }

    fn secede(&mut self, key: Key, out: &mut Vec<Command>) {
        let Some(Work { state: State::Running { cancelled, turn }, .. }) = self.attempts.get_mut(&key) else { return };
        if *turn != Turn::Seceded {
            *turn = Turn::Seceded;
            self.n_running -= 1;
            self.n_seceded += 1;
            if !*cancelled {
                let (task, attempt) = key;
                out.push(Command::ToScheduler(FromWorker::Seceded { task, attempt }));
            }
        }
    }

    fn rejoin(&mut self, key: Key, out: &mut Vec<Command>) {
        let Some(Work { state: State::Running { cancelled, turn }, .. }) = self.attempts.get_mut(&key) else { return };
        if *turn == Turn::Seceded {
            *turn = Turn::Rejoined;
            self.n_running += 1;
            self.n_seceded -= 1;
            if !*cancelled {
                let (task, attempt) = key;
                out.push(Command::ToScheduler(FromWorker::Rejoined { task, attempt }));
            }
        }
    }

    /// Puts a result into the store and wakes who waited for it.
    fn store(&mut self, task: TaskId, value: Value, out: &mut Vec<Command>) {
        self.memory.insert(task, value.n_bytes(), self.needed_by.contains_key(&task), value.stays());
        self.acquiring.remove(&task);
        self.fetches.forget(task);
        out.push(Command::Store { task, value });
        for key in self.needed_by.get(&task).cloned().unwrap_or_default() {
            if let Some(Work { state: State::Fetching(missing), .. }) = self.attempts.get_mut(&key) {
                missing.remove(&task);
                let missing = std::mem::take(missing);
                self.wait_for(key, missing);
            }
        }
    }

    /// Fetches copies that no task here asked for, after everything that one did.
    fn acquire(&mut self, results: Vec<Remote>, out: &mut Vec<Command>) {
        let (here, elsewhere): (Vec<Remote>, Vec<Remote>) =
            results.into_iter().partition(|remote| self.memory.contains(remote.task));
        for Remote { task, n_bytes, holders } in elsewhere {
            self.acquiring.insert(task);
            self.fetches.want(task, Priority::LAST, n_bytes, holders);
        }
        if !here.is_empty() {
            let tasks = here.into_iter().map(|remote| remote.task).collect();
            out.push(Command::ToScheduler(FromWorker::Holds { tasks }));
        }
    }

    pub(super) fn drop_results(&mut self, tasks: Vec<TaskId>, out: &mut Vec<Command>) {
        for task in &tasks {
            if self.acquiring.remove(task) && !self.needed_by.contains_key(task) {
                self.fetches.forget(*task);
            }
        }
        let tasks: Vec<TaskId> = tasks.into_iter().filter(|task| self.memory.remove(*task)).collect();
        for task in &tasks {
            for key in self.needed_by.get(task).cloned().unwrap_or_default() {
                let Some(work) = self.attempts.get_mut(&key) else { continue };
                self.fetches.want(*task, work.priority, 0, [self.address.clone()]);
                let mut missing = match &mut work.state {
                    State::Fetching(missing) => std::mem::take(missing),
                    State::Ready | State::Running { .. } => BTreeSet::new(),
                };
                missing.insert(*task);
                self.wait_for(key, missing);
            }
        }
        if !tasks.is_empty() {
            out.push(Command::Drop { tasks });
        }
    }

    /// Fills threads and asks peers, once everything that the event changed is in its place.
    fn settle(&mut self, now: Time, out: &mut Vec<Command>) {
        self.memory.set_incoming(self.fetches.n_bytes());
        if self.memory.limit().is_some() {
            self.start_within_budget(now, out);
        } else {
            while self.n_running < self.config.n_threads.max(1)
                && let Some((_, _, key)) = self.ready.pop_first()
            {
                self.start(key, out);
            }
        }
        self.fetches.set_held_back(!self.may_fetch());
        let settled = self.fetches.settle(now);
        self.memory.set_incoming(self.fetches.n_bytes());
        for (peer, tasks) in &settled.requests {
            self.recorder.asked(peer, tasks, now);
        }
        out.extend(settled.requests.into_iter().map(|(peer, tasks)| Command::Fetch { peer, tasks }));
        let missing = |(task, tried)| Command::ToScheduler(FromWorker::Missing { task, tried });
        out.extend(settled.missing.into_iter().map(missing));
        if !settled.sought.is_empty() {
            out.push(Command::ToScheduler(FromWorker::Seeks { tasks: settled.sought }));
        }
    }

    /// Hands an attempt, already out of `ready`, to a free thread.
    pub(super) fn start(&mut self, key: Key, out: &mut Vec<Command>) {
        self.leave_inputs(key);
        let Some(work) = self.attempts.get_mut(&key) else { return };
        if self.memory.any_stays() {
            work.actor = work.inputs().into_iter().find(|input| self.memory.stays(*input));
        }
        work.state = State::Running { cancelled: false, turn: Turn::Thread };
        self.n_running += 1;
        let (task, attempt) = key;
        let (arguments, constants) = (std::mem::take(&mut work.arguments), std::mem::take(&mut work.constants));
        // Told before it is done: should the function kill this process, the scheduler knows what ran.
        out.push(Command::ToScheduler(FromWorker::Started { task, attempt }));
        out.push(Command::Run(Run {
            task,
            attempt,
            function: work.function,
            arguments,
            constants,
            gang: work.gang.take(),
        }));
    }

    /// Panics with what is wrong, where something is. For tests, simulations and shells in debug builds: it looks at
    /// everything, so its time grows with what the worker holds.
    pub fn check_invariants(&self) {
        if self.stopped {
            return;
        }
        self.fetches.check_invariants();
        let (mut needed_by, mut ready, mut turns) = (BTreeMap::new(), BTreeSet::new(), [0; 3]);
        let mut missing_somewhere = BTreeSet::new();
        for (key, work) in self.attempts.iter() {
            let missing: BTreeSet<TaskId> = match &work.state {
                State::Fetching(missing) => {
                    assert!(!missing.is_empty(), "{key:?} fetches nothing");
                    missing.clone()
                }
                State::Ready => {
                    ready.insert(work.place(*key));
                    BTreeSet::new()
                }
                State::Running { turn, .. } => {
                    turns[*turn as usize] += 1;
                    assert!(work.arguments.is_empty(), "{key:?} runs and still has arguments");
                    continue;
                }
            };
            for input in work.inputs() {
                needed_by.entry(input).or_insert_with(BTreeSet::new).insert(*key);
                let held = self.memory.contains(input);
                assert_ne!(held, missing.contains(&input), "{key:?} and its input {input}, held: {held}");
            }
            assert!(missing.is_subset(&work.inputs()), "{key:?} fetches what it does not take");
            missing_somewhere.extend(missing);
        }
        assert_eq!(self.needed_by, needed_by, "who needs what");
        assert_eq!(self.ready, ready, "ready attempts");
        let [on_threads, seceded, rejoined] = turns;
        assert_eq!((self.n_running, self.n_seceded), (on_threads + rejoined, seceded), "running and waiting functions");
        let threads = self.config.n_threads.max(1);
        assert!(on_threads <= threads, "{on_threads} run on {threads} threads");
        let needed = |task| self.needed_by.contains_key(&task);
        let waits_for_memory = self.check_memory(needed);
        assert!(ready.is_empty() || self.n_running >= threads || waits_for_memory, "a thread is idle beside {ready:?}");
        assert!(self.acquiring.iter().all(|task| !self.memory.contains(*task)), "what is here is still acquired");
        missing_somewhere.extend(&self.acquiring);
        assert_eq!(self.fetches.len(), missing_somewhere.len(), "what is fetched");
        let runs = |key: &Key| self.attempts.get(key).is_some_and(|w| matches!(w.state, State::Running { .. }));
        assert!(self.awaited_ends.iter().all(runs), "the end of what does not run is awaited");
        for input in &missing_somewhere {
            assert!(self.fetches.is_wanted(*input), "{input} is missing and not fetched");
        }
    }
}
