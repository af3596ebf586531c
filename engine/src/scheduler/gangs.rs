//! Tasks that run together or not at all, as the members of a hosted service do.
//!
//! A gang starts when the inputs of all its members are there and every member has a place at the same time. Until then
//! the first gang in order that fits the cluster has places kept free: what runs there ends, and nothing else begins, so
//! a stream of small tasks cannot hold it back. It gets all its places or none, and only one gang has any, so two never
//! wait for each other. A gang that finds its places free meanwhile goes first.
//!
//! One run of all members is one attempt. Results count when all have ended; where one fails, is cancelled or loses its
//! worker before, all are stopped, and begin anew together if they may. What ended whole is not run again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Command, Scheduler,
    peers::{Lonely, Worker, Workers},
    tasks::{NONE, Slot, State},
};
use crate::{
    graph::GangSeat,
    id::{TaskId, WorkerId},
    journal::Entry,
    message::{GangCall, Priority, ToClient, WaitReason},
    task::TaskError,
    time::Time,
    value::Value,
};

/// Gangs that are looked at after one event.
const LOOKS: usize = 16;

/// All gangs of which a member is in the table, by submission.
#[derive(Debug, Default)]
pub(super) struct Gangs {
    all: BTreeMap<u32, Gang>,
    /// Those of which all members are ready, the first one first.
    waiting: BTreeSet<(Priority, u32)>,
    /// For which gang places are kept free, and how many by worker.
    reserved: Option<(u32, BTreeMap<WorkerId, u32>)>,
}

#[derive(Debug)]
struct Gang {
    n_members: u32,
    share_workers: bool,
    /// By rank, as far as they are in the table.
    members: BTreeMap<u32, Slot>,
    /// Members of the running attempt that have ended, with what came of them.
    ended: BTreeMap<Slot, (u64, Option<Value>)>,
    /// Attempts begun.
    n_runs: u32,
    /// All members have ended together.
    is_done: bool,
    /// All members are ready and the cluster is too small for them.
    starved: Option<Lonely>,
    /// When it fails, if the cluster is too small until then.
    expires: Option<Time>,
}

impl Gangs {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// When to look again at gangs that the cluster is too small for.
    pub(super) fn deadline(&self) -> Option<Time> {
        let next = |(_, place): &(Priority, u32)| {
            let gang = self.all.get(place)?;
            gang.starved.as_ref().map(|starved| starved.next).into_iter().chain(gang.expires).min()
        };
        self.waiting.iter().filter_map(next).min()
    }

    fn kept(&self, worker: WorkerId) -> u32 {
        self.reserved.as_ref().and_then(|(_, by)| by.get(&worker)).copied().unwrap_or(0)
    }
}

impl Workers {
    /// Keeps threads of a worker free for a gang.
    fn keep_free(&mut self, worker: WorkerId, n_threads: u32) {
        self.change(worker, |state| state.reserved = n_threads);
    }
}

impl Scheduler {
    /// Notes which tasks of a submission are a gang.
    pub(super) fn note_gang(&mut self, place: u32) {
        let Some(submission) = self.submissions.get(place) else { return };
        let graph = &submission.graph;
        if graph.classes.iter().all(|options| options.gang.is_none()) {
            return;
        }
        let Ok(Some(nodes)) = graph.gang() else { return };
        let seat = nodes.first().and_then(|node| graph.options_of(*node).gang);
        let Some(GangSeat { n_members, share_workers, .. }) = seat else { return };
        let find = |(node, rank): (&u32, u32)| Some((rank, self.tasks.find(submission.task(*node))?));
        let members: BTreeMap<u32, Slot> = nodes.iter().zip(0..).filter_map(find).collect();
        if members.is_empty() {
            return;
        }
        let (ended, starved, expires) = (BTreeMap::new(), None, None);
        let gang = Gang { n_members, share_workers, members, ended, n_runs: 0, is_done: false, starved, expires };
        self.gangs.all.insert(place, gang);
    }

    /// The rank of a member of a gang; nothing for other tasks.
    pub(super) fn rank_of(&self, slot: Slot) -> Option<u32> {
        if self.gangs.is_empty() {
            return None;
        }
        self.gangs.all.get(&self.tasks.submission[slot])?;
        let (submission, node) = self.recipe(slot)?;
        Some(submission.graph.options_of(node).gang?.rank)
    }

    fn gang_of(&self, slot: Slot) -> Option<(u32, &Gang)> {
        self.rank_of(slot)?;
        let place = self.tasks.submission[slot];
        Some((place, self.gangs.all.get(&place)?))
    }

    /// All other members of a task's gang that did not end with it.
    pub(super) fn mates(&self, slot: Slot) -> Vec<Slot> {
        match self.gang_of(slot) {
            Some((_, gang)) if !gang.is_done => gang.members.values().copied().filter(|mate| *mate != slot).collect(),
            _ => Vec::new(),
        }
    }

    /// A member of a task's gang that failed.
    pub(super) fn failed_mate(&self, slot: Slot) -> Option<Slot> {
        self.mates(slot).into_iter().find(|mate| self.tasks.state[*mate] == State::Failed)
    }

    /// Whether a member is needed because another one is: of some the result is wanted, and they run together.
    pub(super) fn gang_needs(&self, slot: Slot) -> bool {
        let Some((_, gang)) = self.gang_of(slot) else { return false };
        let is_wanted = |mate: &Slot| self.tasks.wanted[*mate] > 0 || self.tasks.n_pending[*mate] > 0;
        !gang.is_done
            && self.tasks.state[slot] != State::Failed
            && gang.members.len() == gang.n_members as usize
            && gang.members.values().any(is_wanted)
    }

    /// Whether a task is a member of a gang that has ended, whose results are made once.
    pub(super) fn has_ended_whole(&self, slot: Slot) -> bool {
        self.gang_of(slot).is_some_and(|(_, gang)| gang.is_done)
    }

    /// A member is taken out of the table; its gang is forgotten with the last of them.
    pub(super) fn forget_member(&mut self, slot: Slot) {
        let Some(rank) = self.rank_of(slot) else { return };
        let place = self.tasks.submission[slot];
        if let Some(gang) = self.gangs.all.get_mut(&place) {
            gang.members.remove(&rank);
            if gang.members.is_empty() {
                self.gangs.all.remove(&place);
            }
        }
    }

    /// A member has all its inputs: where that is true of all, the gang waits for its places. False for other tasks.
    pub(super) fn member_ready(&mut self, slot: Slot) -> bool {
        let Some((place, gang)) = self.gang_of(slot) else { return false };
        let is_ready =
            |mate: &Slot| self.tasks.state[*mate] == State::Ready && !self.tasks.condemned.contains_key(mate);
        let all_ready = gang.members.values().all(is_ready);
        let first = gang.members.values().map(|mate| self.priority(*mate)).min();
        self.tasks.worker[slot] = NONE;
        self.tasks.estimate[slot] = 0;
        if all_ready && let Some(first) = first {
            self.gangs.waiting.insert((first, place));
        }
        true
    }

    /// A member leaves its place: the gang waits no longer, or what the member left on its worker is dropped.
    pub(super) fn leave_gang(&mut self, slot: Slot) {
        let Some((place, gang)) = self.gang_of(slot) else { return };
        let (is_done, worker, task) = (gang.is_done, self.tasks.worker[slot], self.tasks.id(slot));
        match self.tasks.state[slot] {
            State::Ready => {
                self.gangs.waiting.retain(|(_, waiting)| *waiting != place);
                self.set_starved(place, false);
                if self.gangs.reserved.as_ref().is_some_and(|(reserved, _)| *reserved == place) {
                    self.unreserve();
                }
            }
            State::Assigned if worker != NONE && !is_done => {
                if let Some(gang) = self.gangs.all.get_mut(&place) {
                    gang.ended.remove(&slot);
                }
                // What it says that it made meanwhile must not be taken for a part of the next attempt.
                self.drops.entry(WorkerId(worker)).or_default().push(task);
            }
            _ => {}
        }
    }

    /// A member ended. Its result counts with those of all others; until then its thread stays the gang's.
    pub(super) fn member_ended(&mut self, slot: Slot, n_bytes: u64, value: Option<Value>, out: &mut Vec<Command>) {
        let place = self.tasks.submission[slot];
        let Some(gang) = self.gangs.all.get_mut(&place) else { return };
        gang.ended.insert(slot, (n_bytes, value));
        if gang.ended.len() < gang.n_members as usize {
            return;
        }
        gang.is_done = true;
        let ended = std::mem::take(&mut gang.ended);
        let task = self.tasks.id(slot);
        self.write_down(|| Entry::GangDone { task });
        let mut done = Vec::new();
        for (member, (n_bytes, value)) in ended {
            done.push((member, WorkerId(self.tasks.worker[member]), n_bytes, value));
            self.leave_place(member);
        }
        for (member, worker, n_bytes, value) in done {
            self.complete(member, worker, n_bytes, value, out);
        }
    }

    /// As the journal says.
    pub(super) fn gang_was_done(&mut self, task: TaskId) {
        if let Some(slot) = self.tasks.find(task)
            && self.rank_of(slot).is_some()
            && let Some(gang) = self.gangs.all.get_mut(&self.tasks.submission[slot])
        {
            gang.is_done = true;
        }
    }

    /// What a snapshot says of gangs.
    pub(super) fn gangs_done(&self) -> impl Iterator<Item = Entry<'static>> + '_ {
        let done = self.gangs.all.values().filter(|gang| gang.is_done);
        done.filter_map(|gang| Some(Entry::GangDone { task: self.tasks.id(*gang.members.values().next()?) }))
    }

    /// Workers had their time to come back: what ended whole and nobody has any more is lost, and a gang of which a
    /// member failed fails.
    pub(super) fn lose_missing_members(&mut self, out: &mut Vec<Command>) {
        let members = self.gangs.all.values().flat_map(|gang| gang.members.values().copied());
        for slot in members.collect::<Vec<_>>() {
            if !self.tasks.state[slot].is_active() {
                continue;
            }
            if self.has_ended_whole(slot) {
                let error = self.member_lost(slot);
                self.fail(slot, error, out);
            } else if let Some(error) = self.mates(slot).iter().find_map(|mate| self.tasks.errors.get(mate)).cloned() {
                self.fail(slot, error, out);
            }
        }
    }

    /// How often members of a task's gang failed, or the task itself.
    pub(super) fn failures_of(&self, slot: Slot) -> u32 {
        let mates = self.mates(slot).into_iter().map(|mate| self.tasks.failures[mate]);
        mates.sum::<u32>() + self.tasks.failures[slot]
    }

    /// Why a task failed, with the member that it is.
    pub(super) fn named(&self, slot: Slot, error: TaskError) -> TaskError {
        match self.gang_of(slot).zip(self.rank_of(slot)) {
            Some(((_, gang), rank)) => {
                TaskError::GangMember { rank, n_members: gang.n_members, error: Box::new(error) }
            }
            None => error,
        }
    }

    pub(super) fn member_lost(&self, slot: Slot) -> Arc<TaskError> {
        let function = self.functions.name(self.function(slot));
        Arc::new(TaskError::MemberLost { function, rank: self.rank_of(slot).unwrap_or_default() })
    }

    /// Starts gangs that have their places, and keeps places free for the first that has not.
    pub(super) fn place_gangs(&mut self, out: &mut Vec<Command>) {
        let accepts = |id: &WorkerId| self.workers.get(*id).is_some_and(Worker::accepts);
        if self.gangs.reserved.as_ref().is_some_and(|(_, by)| !by.keys().all(accepts)) {
            self.unreserve();
        }
        let first: Vec<u32> = self.gangs.waiting.iter().take(LOOKS).map(|(_, place)| *place).collect();
        for place in first {
            let holder = self.gangs.reserved.as_ref().map(|(holder, _)| *holder);
            if let Some(seats) = self.seats(place, true) {
                if holder == Some(place) {
                    self.unreserve();
                }
                self.start_gang(place, &seats, out);
                continue;
            }
            let seats = self.seats(place, false);
            self.set_starved(place, seats.is_none());
            match seats {
                Some(seats) if holder.is_none() => self.reserve(place, &seats),
                None if holder == Some(place) => self.unreserve(),
                _ => {}
            }
        }
    }

    /// A worker for each member: those that have a place free now, or that would if nothing else ran.
    fn seats(&self, place: u32, now: bool) -> Option<Vec<WorkerId>> {
        let gang = self.gangs.all.get(&place)?;
        let is_own = self.gangs.reserved.as_ref().is_some_and(|(holder, _)| *holder == place);
        let mut able: Vec<(usize, u64, WorkerId, usize)> = Vec::new();
        for id in self.workers.ids() {
            let Some(worker) = self.workers.get(id).filter(|worker| worker.accepts()) else { continue };
            let kept = if is_own { 0 } else { self.gangs.kept(id) as usize };
            let taken = if now { worker.in_flight.len() + kept } else { 0 };
            let free = (worker.n_threads as usize).saturating_sub(taken);
            let free = if gang.share_workers { free } else { free.min(1) };
            let fits = |slot: &Slot| self.times_it_fits(*slot, worker, now);
            // As if all members there needed what the neediest does.
            let free = free.min(gang.members.values().map(fits).filter(|times| *times > 0).min().unwrap_or(0));
            if free > 0 {
                able.push((worker.in_flight.len() / worker.n_threads.max(1) as usize, worker.occupancy, id, free));
            }
        }
        if able.iter().map(|(.., free)| free).sum::<usize>() < gang.n_members as usize {
            return None;
        }
        able.sort_unstable();
        let members: Vec<Slot> = gang.members.values().copied().collect();
        let may = |rank: usize, id: WorkerId| {
            let slot = members[rank];
            self.workers.knows(id, self.function(slot))
                && self.could_run(slot, id)
                && self.workers.get(id).is_some_and(|worker| self.times_it_fits(slot, worker, now) > 0)
        };
        // Each member takes a place, or one of a member that finds another: the maximum matching.
        let mut taken: BTreeMap<WorkerId, Vec<usize>> = BTreeMap::new();
        for rank in 0..members.len() {
            if !find_seat(rank, &able, &may, &mut taken, &mut BTreeSet::new()) {
                return None;
            }
        }
        let mut seats = vec![WorkerId(NONE); members.len()];
        for (worker, ranks) in taken {
            ranks.into_iter().for_each(|rank| seats[rank] = worker);
        }
        Some(seats)
    }

    fn reserve(&mut self, place: u32, seats: &[WorkerId]) {
        let mut by: BTreeMap<WorkerId, u32> = BTreeMap::new();
        seats.iter().for_each(|worker| *by.entry(*worker).or_default() += 1);
        for (worker, n_threads) in &by {
            self.workers.keep_free(*worker, *n_threads);
        }
        self.gangs.reserved = Some((place, by));
    }

    /// Nothing is kept free any more.
    pub(super) fn unreserve(&mut self) {
        if let Some((_, by)) = self.gangs.reserved.take() {
            for worker in by.into_keys() {
                self.workers.keep_free(worker, 0);
                self.touched.insert(worker);
            }
        }
    }

    fn start_gang(&mut self, place: u32, seats: &[WorkerId], out: &mut Vec<Command>) {
        self.set_starved(place, false);
        self.gangs.waiting.retain(|(_, waiting)| *waiting != place);
        let Some(gang) = self.gangs.all.get_mut(&place) else { return };
        gang.n_runs += 1;
        gang.ended.clear();
        let members: Vec<Slot> = gang.members.values().copied().collect();
        // All have their places before any is told who the others are.
        let mut told = Vec::new();
        for (slot, worker) in members.iter().zip(seats) {
            let attempt = self.take_place(*slot, *worker);
            self.take_resources(*slot, *worker);
            told.push((*slot, *worker, attempt));
        }
        for (slot, worker, attempt) in told {
            self.send(slot, worker, attempt, out);
        }
    }

    /// What a member is told of its gang.
    pub(super) fn gang_call(&self, slot: Slot) -> Option<Box<GangCall>> {
        let rank = self.rank_of(slot)?;
        let (_, gang) = self.gang_of(slot)?;
        let address = |member: &Slot| Some(self.workers.get(WorkerId(self.tasks.worker[*member]))?.address.clone());
        let members = gang.members.values().filter_map(address).collect();
        let gang_of = self.tasks.id(*gang.members.values().next()?);
        Some(Box::new(GangCall { gang: gang_of, rank, run: gang.n_runs.saturating_sub(1), members }))
    }

    /// Tasks that wait for places.
    pub(super) fn n_gang_waiting(&self) -> u64 {
        let n_members = |(_, place): &(Priority, u32)| self.gangs.all.get(place).map_or(0, |gang| gang.n_members);
        self.gangs.waiting.iter().map(n_members).map(u64::from).sum()
    }

    /// Notes since when the cluster is too small for a gang.
    fn set_starved(&mut self, place: u32, is_starved: bool) {
        let next = self.now + self.config.no_workers_after;
        let timeout = |slot: &Slot| {
            let (submission, node) = self.recipe(*slot)?;
            submission.graph.options_of(node).wait_timeout
        };
        let timeout = self.gangs.all.get(&place).and_then(|gang| gang.members.values().filter_map(timeout).min());
        let Some(gang) = self.gangs.all.get_mut(&place) else { return };
        if !is_starved {
            (gang.starved, gang.expires) = (None, None);
        } else if gang.starved.is_none() {
            gang.starved = Some(Lonely { since: self.now, next });
            gang.expires = timeout.map(|timeout| self.now + timeout);
        }
    }

    /// Fails gangs that waited in vain for as long as they would, and tells clients what the others wait for.
    pub(super) fn tick_gangs(&mut self, out: &mut Vec<Command>) {
        for (_, place) in self.gangs.waiting.clone() {
            let Some(first) = self.gangs.all.get(&place).and_then(|gang| gang.members.values().next().copied()) else {
                continue;
            };
            let need = self.need_words(first);
            let Some(gang) = self.gangs.all.get_mut(&place) else { continue };
            let n_members = gang.n_members;
            let what = if gang.share_workers { "threads" } else { "workers" };
            let missing = format!("{n_members} {what} at once for a gang, each of {need}");
            if let (Some(starved), Some(expires)) = (&gang.starved, gang.expires)
                && expires <= self.now
            {
                let waited = expires - starved.since;
                let function = self.functions.name(self.function(first));
                self.fail(first, TaskError::NoSuitableWorker { function, missing, waited }.into(), out);
            } else if let Some(starved) = gang.starved.as_mut().filter(|starved| starved.next <= self.now) {
                let waited = starved.told(self.now);
                // Where there is no worker at all, that is what clients are told.
                if !self.workers.is_empty() {
                    let (client, for_ms) = (self.tasks.id(first).client(), waited.as_millis() as u64);
                    let (reason, n_tasks) = (WaitReason::NoSuitableWorker { missing }, u64::from(n_members));
                    out.push(Command::ToClient { client, message: ToClient::Waiting { reason, n_tasks, for_ms } });
                }
            }
        }
    }

    /// What must be true of this file's state between two events.
    pub(super) fn check_gangs(&self) {
        for (place, gang) in &self.gangs.all {
            let members: Vec<Slot> = gang.members.values().copied().collect();
            let states: Vec<State> = members.iter().map(|member| self.tasks.state[*member]).collect();
            assert!(!members.is_empty(), "a gang without members is remembered");
            assert!(members.iter().all(|member| self.tasks.submission[*member] == *place), "a gang has its own");
            let n_assigned = states.iter().filter(|state| **state == State::Assigned).count();
            assert!(n_assigned == 0 || n_assigned == gang.n_members as usize, "a gang runs whole or not: {states:?}");
            let n_active = states.iter().filter(|state| state.is_active()).count();
            let is_whole = n_active == 0 || n_active == gang.n_members as usize || self.recovering.is_some();
            assert!(is_whole, "a gang is needed whole or not: {states:?}");
            let is_ready =
                |slot: &Slot| self.tasks.state[*slot] == State::Ready && !self.tasks.condemned.contains_key(slot);
            let waits = self.gangs.waiting.iter().any(|(_, waiting)| waiting == place);
            let all_ready = members.iter().all(is_ready) && self.recovering.is_none();
            assert_eq!(waits, all_ready, "a gang waits: {states:?}");
            assert!(gang.ended.is_empty() || n_assigned > 0, "a gang has ended members and does not run");
            let places: BTreeSet<u32> = members.iter().map(|member| self.tasks.worker[*member]).collect();
            let is_spread = gang.share_workers || places.len() == members.len();
            assert!(n_assigned == 0 || is_spread, "a gang is spread");
            assert!(gang.starved.is_none() || waits, "a gang is starved and does not wait");
        }
        for (_, place) in self.gangs.waiting.iter().take(LOOKS) {
            assert!(self.seats(*place, true).is_none(), "a gang could start");
        }
        for id in self.workers.ids() {
            let reserved = self.workers.get(id).map(|worker| worker.reserved);
            assert_eq!(reserved, Some(self.gangs.kept(id)), "{id} keeps places free");
        }
        if let Some((holder, _)) = &self.gangs.reserved {
            assert!(self.gangs.waiting.iter().any(|(_, waiting)| waiting == holder), "places are kept for nobody");
        }
    }
}

/// Finds a place for a member, moving others where that helps.
fn find_seat(
    rank: usize,
    able: &[(usize, u64, WorkerId, usize)],
    may: &impl Fn(usize, WorkerId) -> bool,
    taken: &mut BTreeMap<WorkerId, Vec<usize>>,
    tried: &mut BTreeSet<WorkerId>,
) -> bool {
    for (_, _, worker, free) in able {
        let there = taken.entry(*worker).or_default();
        if there.len() < *free && may(rank, *worker) {
            there.push(rank);
            return true;
        }
    }
    for (_, _, worker, _) in able {
        if !may(rank, *worker) || !tried.insert(*worker) {
            continue;
        }
        let there = &taken[worker];
        for place in 0..there.len() {
            let other = taken[worker][place];
            if find_seat(other, able, may, taken, tried) {
                if let Some(seat) = taken.get_mut(worker).and_then(|there| there.get_mut(place)) {
                    *seat = rank;
                }
                return true;
            }
        }
    }
    false
}
