//! What happens is counted, kept for a while, and told to who subscribes.
//!
//! Every step of a task passes through [`Scheduler::record`]: it adds one to a counter and writes 24 bytes into a ring
//! that forgets the oldest; a whole event is made only where somebody asked for it. A subscriber that does not keep up
//! loses events, which are counted, and never makes the scheduler keep more.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::{Command, Scheduler, tasks::Slot};
use crate::{
    death::Evidence,
    event::{Event, FetchSpan, Kind, Record, RunSpan, Step, cut},
    id::{Attempt, ClientId, TaskId, WorkerId},
    message::{Failure, ToClient, ToWorker},
    time::Time,
};

/// Events that go to a subscriber in one message.
const BATCH: usize = 1_024;
/// Messages to a subscriber that he has not said to have seen.
const WINDOW: usize = 16;
/// Events that wait for a subscriber; more are dropped and counted.
const PENDING: usize = 1 << 16;
/// How long an event may wait for others to go along with.
const SOON: Duration = Duration::from_millis(100);
/// Errors of tries that are kept.
const ERRORS: usize = 1_000;
/// How many kinds of steps there are.
const N_STEPS: usize = 18;
/// Workers whose supervisor may still say that they died.
const DEAD: usize = 100;
/// Workers that are gone and whose names are kept.
const GONE: usize = 1_000;

/// Everything that is written down.
#[derive(Debug)]
pub(super) struct Recorder {
    /// The most that anybody asks for.
    level: Record,
    /// How often each kind of step was taken.
    counts: [u64; N_STEPS],
    /// Bytes of results that were copied from one worker to another.
    copied_bytes: u64,
    history: History,
    /// What the last tries that failed said.
    errors: VecDeque<(TaskId, Attempt, String)>,
    subscribers: BTreeMap<ClientId, Subscriber>,
    /// When what waits for subscribers goes out, where something waits.
    flush_at: Option<Time>,
    /// Of workers that were asked to tell of runs: how their clocks go.
    clocks: BTreeMap<WorkerId, Clock>,
    comings: Comings,
    /// Supervised workers that went while they had nothing to do: the number of their process's life, and who they were.
    left: VecDeque<(u64, WorkerId, String)>,
    /// Names of the workers that went last.
    gone: VecDeque<(WorkerId, String)>,
    /// Whether the scheduler went on from its journal.
    began_anew: bool,
}

/// How often workers came and went.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Comings {
    pub(super) n_joined: u64,
    pub(super) n_left: u64,
    pub(super) n_died: u64,
}

/// A client that wants to know what happens.
#[derive(Debug)]
struct Subscriber {
    /// Which of its subscriptions this is.
    number: u32,
    record: Record,
    /// What waits for it, each with how many events were before it, dropped ones among them.
    pending: VecDeque<(u64, Event)>,
    /// How many events there were for it.
    n_events: u64,
    /// Messages that it has not said to have seen: how many events were before the end of each.
    unseen: VecDeque<u64>,
    /// Whether its connection broke; nothing is sent before it is back.
    is_away: bool,
}

/// How a worker's clock goes.
#[derive(Debug)]
struct Clock {
    /// When it was asked, by our clock.
    asked: Time,
    /// What to add to its times, in nanoseconds, once it has answered.
    offset: Option<i64>,
}

/// One step of a task, in 24 bytes.
#[derive(Debug, Clone, Copy)]
struct Entry {
    time: Time,
    task: TaskId,
    worker: u32,
    attempt: u16,
    /// [`Step::Assigned`]: inputs to fetch. [`Step::WorkerLost`]: whether it was running.
    n: u8,
    step: u8,
}

/// The last steps of all tasks; the oldest is overwritten.
#[derive(Debug)]
struct History {
    entries: Vec<Entry>,
    /// Where the next entry goes once the ring is full.
    next: usize,
    capacity: usize,
}

impl Recorder {
    pub(super) fn new(record: Record, capacity: usize) -> Self {
        Self {
            level: record,
            counts: [0; N_STEPS],
            copied_bytes: 0,
            history: History { entries: Vec::new(), next: 0, capacity },
            errors: VecDeque::new(),
            subscribers: BTreeMap::new(),
            flush_at: None,
            clocks: BTreeMap::new(),
            comings: Comings::default(),
            left: VecDeque::new(),
            gone: VecDeque::new(),
            began_anew: false,
        }
    }

    /// How often workers came and went.
    pub(super) const fn comings(&self) -> Comings {
        self.comings
    }

    /// The name of a worker that went not long ago.
    pub(super) fn gone(&self, worker: WorkerId) -> Option<&str> {
        self.gone.iter().rfind(|(gone, _)| *gone == worker).map(|(_, name)| name.as_str())
    }

    /// A supervised worker went that had nothing to do.
    pub(super) fn may_be_reported(&mut self, life: u64, worker: WorkerId, name: &str) {
        if self.left.len() == DEAD {
            self.left.pop_front();
        }
        self.left.push_back((life, worker, name.into()));
    }

    /// How often a step of this kind was taken, by anyone.
    pub(super) fn count(&self, step: Step) -> u64 {
        self.counts[code(step) as usize]
    }

    /// What has happened to a task, as far as that is kept.
    pub(super) fn steps_of(&self, task: TaskId) -> Vec<(Time, Step)> {
        self.history.in_order().filter(|entry| entry.task == task).map(|entry| (entry.time, entry.unpack())).collect()
    }

    /// The last steps, the oldest first: at most `limit` after leaving out `skip` of what is kept.
    pub(super) fn steps(&self, skip: usize, limit: usize) -> Vec<(Time, TaskId, Step)> {
        let entries = self.history.in_order().skip(skip).take(limit);
        entries.map(|entry| (entry.time, entry.task, entry.unpack())).collect()
    }

    /// What tries at a task that failed have said, as far as that is kept.
    pub(super) fn errors_of(&self, task: TaskId) -> Vec<(Attempt, String)> {
        let of_it = self.errors.iter().filter(|(of, ..)| *of == task);
        of_it.map(|(_, attempt, error)| (*attempt, error.clone())).collect()
    }

    /// Bytes of results that were copied from one worker to another.
    pub(super) const fn copied_bytes(&self) -> u64 {
        self.copied_bytes
    }

    /// Whether steps were forgotten: what is kept is not all.
    pub(super) fn has_forgotten(&self) -> bool {
        self.history.entries.len() == self.history.capacity
    }

    /// When something has to go to subscribers.
    pub(super) const fn deadline(&self) -> Option<Time> {
        self.flush_at
    }

    fn set_level(&mut self, record: Record) {
        self.level = self.subscribers.values().map(|s| s.record).max().unwrap_or_default().max(record);
    }
}

impl Subscriber {
    fn new(number: u32, record: Record) -> Self {
        Self { number, record, pending: VecDeque::new(), n_events: 0, unseen: VecDeque::new(), is_away: false }
    }

    /// Takes in what happened, unless too much waits already.
    fn push(&mut self, event: Event) {
        if self.pending.len() < PENDING {
            self.pending.push_back((self.n_events, event));
        }
        self.n_events += 1;
    }

    fn can_send(&self) -> bool {
        !self.is_away && self.unseen.len() < WINDOW && !self.pending.is_empty()
    }

    /// The next message to it: events without a gap between them.
    fn batch(&mut self, ends: bool) -> ToClient {
        let first = self.pending.front().map_or(self.n_events, |(place, _)| *place);
        let run = (first..).zip(self.pending.iter().take(BATCH)).take_while(|(place, (next, _))| place == next).count();
        let events: Vec<Event> = self.pending.drain(..run).map(|(_, event)| event).collect();
        self.unseen.push_back(first + run as u64);
        // What was dropped behind the last of them is told with the end.
        let last = ends && self.pending.is_empty() && first + run as u64 == self.n_events;
        ToClient::Events { number: self.number, first, events, last }
    }
}

impl History {
    #[inline]
    fn push(&mut self, entry: Entry) {
        if self.entries.len() < self.capacity {
            self.entries.push(entry);
        } else if let Some(oldest) = self.entries.get_mut(self.next) {
            *oldest = entry;
            self.next += 1;
            if self.next == self.capacity {
                self.next = 0;
            }
        }
    }

    fn in_order(&self) -> impl Iterator<Item = &Entry> {
        let (newer, older) = self.entries.split_at(self.next);
        older.iter().chain(newer)
    }
}

/// The number of a kind of step, for [`Recorder::counts`] and [`Entry::step`].
const fn code(step: Step) -> u8 {
    match step {
        Step::Waiting => 0,
        Step::Ready { .. } => 1,
        Step::Assigned { .. } => 2,
        Step::Started { .. } => 3,
        Step::Finished { .. } => 4,
        Step::AttemptFailed { .. } => 5,
        Step::Stolen { .. } => 6,
        Step::Cancelled { .. } => 7,
        Step::WorkerLost { .. } => 8,
        Step::Rescheduled { .. } => 9,
        Step::Copied { .. } => 10,
        Step::CopyDropped { .. } => 11,
        Step::Missed { .. } => 12,
        Step::Lost => 13,
        Step::Failed => 14,
        Step::Released => 15,
        Step::Found { .. } => 16,
        Step::Straggles => 17,
    }
}

impl Entry {
    #[inline]
    fn pack(time: Time, task: TaskId, step: Step) -> Self {
        const NOBODY: WorkerId = WorkerId(u32::MAX);
        let (worker, attempt, n) = match step {
            Step::Waiting | Step::Lost | Step::Failed | Step::Released | Step::Straggles => (NOBODY, Attempt(0), 0),
            Step::Ready { worker } => (worker.unwrap_or(NOBODY), Attempt(0), 0),
            Step::Assigned { worker, attempt, n_fetched } => (worker, attempt, n_fetched.min(255)),
            Step::WorkerLost { worker, attempt, running } => (worker, attempt, running as u32),
            Step::Started { worker, attempt }
            | Step::Finished { worker, attempt }
            | Step::AttemptFailed { worker, attempt }
            | Step::Cancelled { worker, attempt }
            | Step::Rescheduled { worker, attempt } => (worker, attempt, 0),
            Step::Stolen { from } => (from, Attempt(0), 0),
            Step::Copied { worker }
            | Step::CopyDropped { worker }
            | Step::Missed { worker }
            | Step::Found { worker } => (worker, Attempt(0), 0),
        };
        Self { time, task, worker: worker.0, attempt: attempt.0.min(0xFFFF) as u16, n: n as u8, step: code(step) }
    }

    fn unpack(&self) -> Step {
        let (worker, attempt) = (WorkerId(self.worker), Attempt(u32::from(self.attempt)));
        match self.step {
            0 => Step::Waiting,
            1 => Step::Ready { worker: (self.worker != u32::MAX).then_some(worker) },
            2 => Step::Assigned { worker, attempt, n_fetched: u32::from(self.n) },
            3 => Step::Started { worker, attempt },
            4 => Step::Finished { worker, attempt },
            5 => Step::AttemptFailed { worker, attempt },
            6 => Step::Stolen { from: worker },
            7 => Step::Cancelled { worker, attempt },
            8 => Step::WorkerLost { worker, attempt, running: self.n > 0 },
            9 => Step::Rescheduled { worker, attempt },
            10 => Step::Copied { worker },
            11 => Step::CopyDropped { worker },
            12 => Step::Missed { worker },
            13 => Step::Lost,
            14 => Step::Failed,
            16 => Step::Found { worker },
            17 => Step::Straggles,
            _ => Step::Released,
        }
    }
}

impl Scheduler {
    /// A task goes a step.
    #[inline]
    pub(super) fn record(&mut self, slot: Slot, step: Step) {
        let recorder = &mut self.recorder;
        recorder.counts[code(step) as usize] += 1;
        if matches!(step, Step::Copied { .. }) {
            recorder.copied_bytes += self.tasks.n_bytes[slot];
        }
        let task = self.tasks.id(slot);
        if recorder.history.capacity > 0 {
            recorder.history.push(Entry::pack(self.now, task, step));
        }
        if recorder.level >= Record::Tasks
            && !matches!(step, Step::Finished { .. } | Step::AttemptFailed { .. } | Step::Failed)
        {
            self.note(Record::Tasks, |_| Kind::Task { task, step });
        }
    }

    /// A try at a task ended without a result.
    pub(super) fn record_failure(
        &mut self,
        slot: Slot,
        worker: WorkerId,
        attempt: Attempt,
        failure: &Failure,
        again: bool,
    ) {
        self.record(slot, Step::AttemptFailed { worker, attempt });
        let (Failure::Error(error) | Failure::Panic(error)) = failure else { return };
        let task = self.tasks.id(slot);
        if self.recorder.errors.len() == ERRORS {
            self.recorder.errors.pop_front();
        }
        self.recorder.errors.push_back((task, attempt, cut(error.clone())));
        self.note(Record::Tasks, |scheduler| {
            let function = scheduler.functions.label(scheduler.function(slot));
            Kind::AttemptFailed { task, attempt, worker, function, error: cut(error.clone()), again }
        });
    }

    /// A worker joined, or came back.
    pub(super) fn record_joined(&mut self, worker: WorkerId, before: Option<WorkerId>) {
        self.recorder.comings.n_joined += 1;
        self.note(Record::Cluster, |scheduler| scheduler.joined(worker));
        if let Some(before) = before {
            self.note(Record::Cluster, |_| Kind::WorkerReturned { worker, before });
        }
    }

    /// A worker is gone.
    pub(super) fn record_left(&mut self, worker: WorkerId, name: String, n_tasks: u64, n_lost: u64) {
        self.recorder.comings.n_left += 1;
        if self.recorder.gone.len() == GONE {
            self.recorder.gone.pop_front();
        }
        self.recorder.gone.push_back((worker, name.clone()));
        self.note(Record::Cluster, |_| Kind::WorkerLeft { worker, name, n_tasks, n_lost });
    }

    /// A supervisor said how its worker died.
    pub(super) fn record_death(&mut self, worker: WorkerId, name: &str, evidence: &Evidence) {
        self.recorder.comings.n_died += 1;
        let died = |_: &Self| Kind::WorkerDied { worker, name: name.into(), evidence: cut(evidence.to_string()) };
        self.note(Record::Cluster, died);
    }

    /// The same of a worker that had nothing to do, so that nobody waited for it.
    pub(super) fn record_late_death(&mut self, life: u64, evidence: &Evidence) {
        if let Some(place) = self.recorder.left.iter().position(|(of, ..)| *of == life)
            && let Some((_, worker, name)) = self.recorder.left.remove(place)
        {
            self.record_death(worker, &name, evidence);
        }
    }

    /// A worker is about to say how its memory is used; what changed is noted.
    pub(super) fn record_memory(&mut self, worker: WorkerId, spilled: u64, is_paused: bool) {
        let Some((before, was_paused)) = self.workers.get(worker).map(|state| (state.spilled, state.paused)) else {
            return;
        };
        if before != spilled {
            self.note(Record::Tasks, |_| Kind::Spilled { worker, n_bytes: spilled });
        }
        if was_paused != is_paused {
            let kind = if is_paused { Kind::WorkerPaused { worker } } else { Kind::WorkerResumed { worker } };
            self.note(Record::Cluster, |_| kind);
        }
    }

    /// The scheduler goes on from its journal.
    pub(super) fn begin_anew(&mut self) {
        self.recorder = Recorder::new(self.config.record, self.config.history);
        self.recorder.began_anew = true;
        self.note(Record::Cluster, |_| Kind::SchedulerRestarted);
    }

    /// Tells something to all who ask for so much.
    pub(super) fn note(&mut self, level: Record, kind: impl FnOnce(&Self) -> Kind) {
        if self.recorder.level < level {
            return;
        }
        let event = Event { time: self.now, kind: kind(self) };
        for subscriber in self.recorder.subscribers.values_mut().filter(|s| s.record >= level) {
            subscriber.push(event.clone());
            if subscriber.can_send() {
                self.recorder.flush_at.get_or_insert(self.now + SOON);
            }
        }
        if self.config.record >= level && self.events.len() < PENDING {
            self.events.push(event);
        }
    }

    /// A client wants to know so much of what happens from now on; nothing ends it.
    pub(super) fn subscribe(&mut self, client: ClientId, number: u32, record: Record, out: &mut Vec<Command>) {
        let before = self.recorder.subscribers.remove(&client);
        if record == Record::Nothing {
            let mut subscriber =
                before.filter(|s| s.number == number).unwrap_or_else(|| Subscriber::new(number, record));
            loop {
                let message = subscriber.batch(true);
                let is_last = matches!(message, ToClient::Events { last: true, .. });
                out.push(Command::ToClient { client, message });
                if is_last {
                    break;
                }
            }
        } else {
            let mut subscriber = Subscriber::new(number, record);
            subscriber.is_away = self.away.contains(&client);
            if self.recorder.began_anew {
                subscriber.push(Event { time: self.now, kind: Kind::SchedulerRestarted });
            }
            let there = self.workers.ids().map(|worker| Event { time: self.now, kind: self.joined(worker) });
            there.for_each(|event| subscriber.push(event));
            self.recorder.subscribers.insert(client, subscriber);
        }
        self.subscribers_changed(out);
    }

    /// A subscriber has read all before an event.
    pub(super) fn events_seen(&mut self, client: ClientId, number: u32, next: u64) {
        if let Some(subscriber) = self.recorder.subscribers.get_mut(&client).filter(|s| s.number == number) {
            while subscriber.unseen.front().is_some_and(|end| *end <= next) {
                subscriber.unseen.pop_front();
            }
            self.set_flush();
        }
    }

    /// A client that is gone subscribes to nothing.
    pub(super) fn unsubscribe(&mut self, client: ClientId, out: &mut Vec<Command>) {
        if self.recorder.subscribers.remove(&client).is_some() {
            self.subscribers_changed(out);
        }
    }

    /// A client whose connection broke is sent nothing before it is back.
    pub(super) fn subscriber_is_away(&mut self, client: ClientId) {
        if let Some(subscriber) = self.recorder.subscribers.get_mut(&client) {
            subscriber.is_away = true;
            self.set_flush();
        }
    }

    /// A client is back. What it had not said to have seen was read meanwhile, or lost on the way.
    pub(super) fn subscriber_is_back(&mut self, client: ClientId) {
        if let Some(subscriber) = self.recorder.subscribers.get_mut(&client) {
            subscriber.is_away = false;
            subscriber.unseen.clear();
            self.set_flush();
        }
    }

    /// Sends subscribers what is due.
    pub(super) fn flush_events(&mut self, out: &mut Vec<Command>) {
        if self.recorder.subscribers.is_empty() {
            return;
        }
        let is_due = self.recorder.flush_at.is_some_and(|at| at <= self.now);
        for (client, subscriber) in &mut self.recorder.subscribers {
            while subscriber.can_send() && (is_due || subscriber.pending.len() >= BATCH) {
                let message = subscriber.batch(false);
                out.push(Command::ToClient { client: *client, message });
            }
        }
        if is_due {
            self.recorder.flush_at = None;
        }
        self.set_flush();
    }

    /// Tells a worker that joined to tell of its runs, where somebody wants to know.
    pub(super) fn ask_worker(&mut self, worker: WorkerId, out: &mut Vec<Command>) {
        if self.recorder.level >= Record::Timeline {
            self.recorder.clocks.insert(worker, Clock { asked: self.now, offset: None });
            self.tell_worker(worker, ToWorker::Record { on: true }, out);
        }
    }

    /// A worker that is gone has no clock.
    pub(super) fn forget_clock(&mut self, worker: WorkerId) {
        self.recorder.clocks.remove(&worker);
    }

    /// A worker begins to tell of its runs, and says what time it is there: half of the way there and back before now.
    pub(super) fn worker_records(&mut self, worker: WorkerId, its: Time) {
        let now = self.now;
        if let Some(clock) = self.recorder.clocks.get_mut(&worker) {
            let middle = clock.asked.0.midpoint(now.0);
            clock.offset = Some(middle.wrapping_sub(its.0).cast_signed());
        }
    }

    /// A worker tells of runs and fetches.
    pub(super) fn worker_told(&mut self, worker: WorkerId, runs: Vec<RunSpan>, fetches: Vec<FetchSpan>) {
        let Some(offset) = self.recorder.clocks.get(&worker).and_then(|clock| clock.offset) else { return };
        let ours = |its: Time| Time(its.0.saturating_add_signed(offset));
        for mut fetch in fetches {
            fetch.start = ours(fetch.start);
            self.note(Record::Timeline, |scheduler| {
                let from = scheduler.workers.ids().find(|id| scheduler.workers.has_address(*id, &fetch.from));
                Kind::Fetched { worker, fetch, from }
            });
        }
        for mut run in runs {
            run.start = ours(run.start);
            self.note(Record::Timeline, |scheduler| {
                let function = scheduler.tasks.find(run.task).map(|slot| scheduler.function(slot));
                let function = function.map_or_else(|| "(released)".into(), |f| scheduler.functions.label(f));
                Kind::Ran { worker, run, function }
            });
        }
    }

    /// What must be true between events.
    pub(super) fn check_recorder(&self) {
        let Recorder { level, flush_at, subscribers, history, clocks, .. } = &self.recorder;
        let asked = subscribers.values().map(|s| s.record).max().unwrap_or_default().max(self.config.record);
        assert_eq!(*level, asked, "as much is written down as anybody asks for");
        let due = subscribers.values().any(Subscriber::can_send);
        assert_eq!(flush_at.is_some(), due, "what waits for subscribers has a time to go: {:?}", self.recorder);
        for (client, subscriber) in subscribers {
            assert!(self.clients.contains_key(client), "{client} subscribes and is gone");
            assert_eq!(subscriber.is_away, self.away.contains(client), "whether {client}, who subscribes, is away");
            assert!(subscriber.pending.len() <= PENDING, "{client} makes us keep too much");
            assert!(subscriber.unseen.len() <= WINDOW, "{client} is sent more than it can read");
            let places = || subscriber.pending.iter().map(|(place, _)| *place);
            assert!(
                places().is_sorted() && places().all(|place| place < subscriber.n_events),
                "{client}'s events count"
            );
        }
        for worker in clocks.keys() {
            assert!(self.workers.get(*worker).is_some(), "the clock of {worker}, which is gone");
        }
        assert!(history.entries.len() <= history.capacity, "the history is bounded");
    }

    fn joined(&self, worker: WorkerId) -> Kind {
        let (name, n_threads) = self.workers.get(worker).map(|w| (w.name.clone(), w.n_threads)).unwrap_or_default();
        Kind::WorkerJoined { worker, name, n_threads }
    }

    fn subscribers_changed(&mut self, out: &mut Vec<Command>) {
        self.recorder.set_level(self.config.record);
        self.set_flush();
        self.ask_workers(out);
    }

    /// Begins or ends what workers tell, as the subscribers ask for it.
    fn ask_workers(&mut self, out: &mut Vec<Command>) {
        if self.recorder.level >= Record::Timeline {
            let silent: Vec<WorkerId> =
                self.workers.ids().filter(|worker| !self.recorder.clocks.contains_key(worker)).collect();
            silent.into_iter().for_each(|worker| self.ask_worker(worker, out));
        } else {
            for worker in std::mem::take(&mut self.recorder.clocks).into_keys() {
                self.tell_worker(worker, ToWorker::Record { on: false }, out);
            }
        }
    }

    /// What can be sent has a time to go, and nothing else has.
    fn set_flush(&mut self) {
        if self.recorder.subscribers.values().any(Subscriber::can_send) {
            self.recorder.flush_at.get_or_insert(self.now + SOON);
        } else {
            self.recorder.flush_at = None;
        }
    }
}
