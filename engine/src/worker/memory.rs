//! What of a worker's results is in memory and what is on disk: exact bytes against a budget.
//!
//! | share of the budget | what happens |
//! |---|---|
//! | 60 % | the coldest results go to disk, until 50 % are left |
//! | 80 % | no further task starts, until 70 % are left |
//!
//! What counts is what is in memory (results, and inputs of running tasks that were dropped meanwhile), what is being
//! read back, and what running tasks are expected to make. Cold is what no attempt here needs, a copy on disk first,
//! then the least recently used; inputs of running tasks are never taken. A result larger than 60 % of the budget goes
//! before all others.
//!
//! It knows no attempt and no value, and gives no command: the machine asks it what to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{dense::TaskMap, id::TaskId, time::Time};

/// Percent of the budget above which results go to disk, and how far down.
const SPILL: [u64; 2] = [60, 50];
/// Percent of the budget above which no task starts, and how far it must come down.
const PAUSE: [u64; 2] = [80, 70];
/// Results that are written at a time: enough to keep a disk busy, few enough to think again after each.
const MAX_WRITES: usize = 8;
/// How long a disk that failed is left alone while memory lasts.
const RETRY: Duration = Duration::from_secs(10);
/// A result of at most so many bytes is a small one.
const SMALL: u64 = 64 << 10;

/// The budget, and every result with its place.
#[derive(Debug)]
pub(super) struct Memory {
    limit: Option<u64>,
    shares: Shares,
    /// Smaller results always stay in memory.
    smallest: u64,
    held: TaskMap<Held>,
    /// Results that could go, the first one first.
    cold: BTreeSet<(Rank, u64, TaskId)>,
    n_uses: u64,
    /// Bytes in memory.
    resident: u64,
    /// Bytes that are on disk only.
    spilled: u64,
    /// Bytes that will be in memory: expected results, and inputs that come back from disk.
    reserved: u64,
    /// Bytes of inputs on their way here, which take memory before they have come.
    incoming: u64,
    /// Dropped while they were lent: their bytes, and to how many.
    orphans: BTreeMap<Loan, (u64, u32)>,
    writing: BTreeMap<TaskId, Write>,
    /// Reads under way, for which copy.
    reading: BTreeMap<TaskId, u64>,
    /// Lent, and on disk only.
    awaited: BTreeSet<TaskId>,
    is_spilling: bool,
    is_paused: bool,
    disk_failed_until: Option<Time>,
    /// Results that cannot be written anywhere.
    n_staying: usize,
    /// What was last told to the scheduler.
    told: (u64, bool),
}

/// [`SPILL`] and [`PAUSE`] in bytes.
#[derive(Debug)]
struct Shares {
    spill: [u64; 2],
    pause: [u64; 2],
}

impl Shares {
    fn of(limit: Option<u64>) -> Self {
        let share = |percent| limit.map_or(u64::MAX, |limit| limit / 100 * percent + limit % 100 * percent / 100);
        Self { spill: SPILL.map(share), pause: PAUSE.map(share) }
    }
}

/// One result.
#[derive(Debug)]
struct Held {
    n_bytes: u64,
    /// Tells it from other copies of the same result, before and after.
    copy: u64,
    /// When it was last used, as a number that grows.
    used: u64,
    /// How many running or starting attempts, and writes to disk, use it.
    n_loans: u32,
    is_needed: bool,
    in_memory: bool,
    on_disk: bool,
    /// It cannot be written anywhere.
    stays: bool,
}

/// A write under way.
#[derive(Debug)]
struct Write {
    loan: Loan,
    /// Whether the result is lost where this fails, too.
    is_last_chance: bool,
}

/// That somebody uses a result, so that it stays in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Loan {
    task: TaskId,
    copy: u64,
}

/// How soon a result goes: smaller first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    TooLarge,
    Copied,
    Cold,
    Needed,
}

/// Results that go.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Going {
    /// To be written to disk.
    pub(super) write: Vec<TaskId>,
    /// On disk already, to be taken out of memory.
    pub(super) evict: Vec<TaskId>,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// The result is as safe as before.
    Kept,
    /// There is no room for the result, neither here nor there.
    Lost,
}

impl Memory {
    pub(super) fn new(limit: Option<u64>, smallest: u64) -> Self {
        Self {
            limit,
            shares: Shares::of(limit),
            smallest,
            held: TaskMap::default(),
            cold: BTreeSet::new(),
            n_uses: 0,
            resident: 0,
            spilled: 0,
            reserved: 0,
            incoming: 0,
            orphans: BTreeMap::new(),
            writing: BTreeMap::new(),
            reading: BTreeMap::new(),
            awaited: BTreeSet::new(),
            is_spilling: false,
            is_paused: false,
            disk_failed_until: None,
            n_staying: 0,
            told: (0, false),
        }
    }

    pub(super) const fn limit(&self) -> Option<u64> {
        self.limit
    }

    /// Bytes of results in memory.
    pub(super) const fn resident(&self) -> u64 {
        self.resident
    }

    /// Bytes of results that are on disk only.
    pub(super) const fn spilled(&self) -> u64 {
        self.spilled
    }

    pub(super) const fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// How many results there are.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// The size of a result that is here, in memory or on disk.
    pub(super) fn get(&self, task: TaskId) -> Option<u64> {
        self.held.get(task).map(|held| held.n_bytes)
    }

    /// All results with their sizes, by task.
    pub(super) fn iter(&self) -> impl Iterator<Item = (TaskId, u64)> + '_ {
        self.held.iter().map(|(task, held)| (task, held.n_bytes))
    }

    /// The scheduler knows nothing of this any more.
    pub(super) const fn forget_told(&mut self) {
        self.told = (0, false);
    }

    /// Whether any result here cannot be written anywhere.
    pub(super) const fn any_stays(&self) -> bool {
        self.n_staying > 0
    }

    /// Whether a result is here and cannot be written anywhere.
    pub(super) fn stays(&self, task: TaskId) -> bool {
        self.held.get(task).is_some_and(|held| held.stays)
    }

    /// Whether a result is here, in memory or on disk.
    pub(super) fn contains(&self, task: TaskId) -> bool {
        self.held.contains(task)
    }

    /// A result is in memory now, and was not here at all.
    pub(super) fn insert(&mut self, task: TaskId, n_bytes: u64, is_needed: bool, stays: bool) {
        self.n_uses += 1;
        let (copy, used) = (self.n_uses, self.n_uses);
        let held = Held { n_bytes, copy, used, n_loans: 0, is_needed, in_memory: true, on_disk: false, stays };
        self.n_staying += usize::from(stays);
        self.count(task, &held, true);
        self.held.insert(task, held);
    }

    /// A result is dropped. Says whether it was here.
    pub(super) fn remove(&mut self, task: TaskId) -> bool {
        let Some(held) = self.held.remove(task) else { return false };
        self.n_staying -= usize::from(held.stays);
        self.count(task, &held, false);
        if held.n_loans > 0 && held.in_memory {
            self.resident += held.n_bytes;
            self.orphans.insert(Loan { task, copy: held.copy }, (held.n_bytes, held.n_loans));
        }
        true
    }

    /// Whether an attempt here waits that takes this result.
    pub(super) fn set_needed(&mut self, task: TaskId, is_needed: bool) {
        if self.limit.is_none() {
            return;
        }
        match self.held.get_mut(task) {
            Some(held) if held.n_bytes < self.smallest => held.is_needed = is_needed,
            Some(_) => self.change(task, |held| held.is_needed = is_needed),
            None => {}
        }
    }

    /// Somebody is going to use a result; nothing to do for one that always stays in memory.
    pub(super) fn lend(&mut self, task: TaskId) -> Option<Loan> {
        let held = self.held.get(task)?;
        if !self.may_leave(held) {
            return None;
        }
        let copy = held.copy;
        self.n_uses += 1;
        let used = self.n_uses;
        self.change(task, |held| (held.n_loans, held.used) = (held.n_loans + 1, used));
        Some(Loan { task, copy })
    }

    /// Somebody no longer uses a result.
    pub(super) fn give_back(&mut self, loan: Loan) {
        let Loan { task, copy } = loan;
        if self.held.get(task).is_some_and(|held| held.copy == copy) {
            self.change(task, |held| held.n_loans -= 1);
        } else if let Some((n_bytes, n_loans)) = self.orphans.get_mut(&loan) {
            *n_loans -= 1;
            if *n_loans == 0 {
                self.resident -= *n_bytes;
                self.orphans.remove(&loan);
            }
        }
    }

    /// Whether what is lent is in memory.
    pub(super) fn is_loaded(&self, loans: &[Loan]) -> bool {
        loans.iter().all(|loan| !self.awaited.contains(&loan.task))
    }

    /// Bytes that have to come from disk before somebody can use a result.
    pub(super) fn to_load(&self, task: TaskId) -> u64 {
        self.held.get(task).map_or(0, |held| if held.in_memory || held.n_loans > 0 { 0 } else { held.n_bytes })
    }

    /// So many bytes are expected to be made.
    pub(super) const fn reserve(&mut self, n_bytes: u64) {
        self.reserved = self.reserved.saturating_add(n_bytes);
    }

    /// So many bytes are on their way here.
    pub(super) const fn set_incoming(&mut self, n_bytes: u64) {
        self.incoming = n_bytes;
    }

    /// They are made, or will not be.
    pub(super) const fn release(&mut self, n_bytes: u64) {
        self.reserved -= n_bytes;
    }

    /// Whether something of this size can be begun now.
    pub(super) fn has_room(&self, n_bytes: u64) -> bool {
        !self.is_paused && self.usage().saturating_add(n_bytes) <= self.shares.pause[0]
    }

    /// Whether nobody has to think of memory, here or where else results lie that are used here: at most a quarter of
    /// the limit is in use, and by results that are small.
    pub(super) fn is_plenty(&self) -> bool {
        let is_small = self.resident() <= SMALL.saturating_mul(self.len() as u64);
        is_small && self.limit().is_none_or(|limit| self.usage() <= limit / 4)
    }

    /// Whether after so many bytes more there is still nothing to do about memory.
    pub(super) fn is_at_ease(&self, n_bytes: u64) -> bool {
        let is_still = !self.is_spilling && !self.is_paused && self.writing.is_empty() && self.awaited.is_empty();
        is_still && self.spilled == 0 && self.usage().saturating_add(n_bytes) <= self.shares.spill[1]
    }

    /// Whether memory will become free when a write ends.
    pub(super) fn is_writing(&self) -> bool {
        !self.writing.is_empty()
    }

    /// Whether inputs may have to be read back before a task can run.
    pub(super) const fn has_spilled(&self) -> bool {
        self.spilled > 0
    }

    /// Chooses what goes, so that `extra` bytes can be begun.
    pub(super) fn make_room(&mut self, now: Time, extra: u64) -> Going {
        let mut going = Going::default();
        let Some(limit) = self.limit else { return going };
        let [high, low] = self.shares.spill;
        if self.usage() > high {
            self.is_spilling = true;
        } else if self.usage() <= low {
            self.is_spilling = false;
        }
        let may_write = self.disk_failed_until.is_none_or(|until| now >= until);
        let goal = if self.is_spilling { low } else { high };
        let goal = goal.min(self.shares.pause[0].saturating_sub(extra));
        while self.usage().saturating_sub(self.n_leaving()) > goal {
            let free =
                self.cold.range((Rank::Copied, 0, TaskId(0))..).next().filter(|(rank, ..)| *rank == Rank::Copied);
            let victim = if may_write { self.cold.first() } else { free };
            let Some((_, _, task)) = victim.copied() else { break };
            if self.held.get(task).is_some_and(|held| held.on_disk) {
                self.change(task, |held| held.in_memory = false);
                going.evict.push(task);
            } else if self.writing.len() < MAX_WRITES && self.write(task, false) {
                going.write.push(task);
            } else {
                break;
            }
        }
        // A disk that failed is asked again for the newest result where the budget itself does not hold it.
        if !may_write
            && self.resident > limit
            && self.writing.is_empty()
            && let Some((_, _, task)) = self.cold.iter().max_by_key(|(_, used, _)| *used).copied()
        {
            if self.held.get(task).is_some_and(|held| held.on_disk) {
                // It was read back for an attempt that is gone.
                self.change(task, |held| held.in_memory = false);
                going.evict.push(task);
            } else if self.write(task, true) {
                going.write.push(task);
            }
        }
        going
    }

    /// Results that have to be read back now; each is asked for once.
    pub(super) fn take_reads(&mut self) -> Vec<TaskId> {
        let new = self.awaited.iter().filter(|task| !self.reading.contains_key(task)).copied();
        let new: Vec<TaskId> = new.collect();
        for task in &new {
            let copy = self.held.get(*task).map_or(0, |held| held.copy);
            self.reading.insert(*task, copy);
        }
        new
    }

    /// A write has ended.
    pub(super) fn written(&mut self, now: Time, task: TaskId, is_written: bool) -> Written {
        let Some(Write { loan, is_last_chance }) = self.writing.remove(&task) else { return Written::Kept };
        let is_here = self.held.get(task).is_some_and(|held| held.copy == loan.copy);
        if is_here && is_written {
            self.change(task, |held| held.on_disk = true);
        }
        self.give_back(loan);
        if is_written {
            self.disk_failed_until = None;
            return Written::Kept;
        }
        self.disk_failed_until = Some(now + RETRY);
        let is_lost = is_last_chance && is_here && self.limit.is_some_and(|limit| self.resident > limit);
        if is_lost { Written::Lost } else { Written::Kept }
    }

    /// A result was read. Says whether it is to be kept in memory.
    pub(super) fn read(&mut self, task: TaskId) -> bool {
        let is_wanted = self.end_reading(task) && self.awaited.contains(&task);
        if is_wanted {
            self.change(task, |held| held.in_memory = true);
        }
        is_wanted
    }

    /// A read has ended. Says whether it was of the copy that is here.
    pub(super) fn end_reading(&mut self, task: TaskId) -> bool {
        let copy = self.reading.remove(&task);
        copy.is_some() && self.held.get(task).map(|held| held.copy) == copy
    }

    /// Finds out whether tasks may start.
    pub(super) fn look(&mut self) {
        let [high, low] = self.shares.pause;
        self.is_paused = self.usage() > if self.is_paused { low } else { high };
    }

    /// Returns what the scheduler should know now: when that changed, when
    /// what is on disk changed by much, or, where `is_due`, by anything.
    pub(super) fn report(&mut self, is_due: bool) -> Option<(u64, u64, bool)> {
        let limit = self.limit?;
        self.look();
        let (spilled, was_paused) = self.told;
        let much = if is_due { 0 } else { limit / 64 };
        if was_paused == self.is_paused && self.spilled.abs_diff(spilled) <= much {
            return None;
        }
        self.told = (self.spilled, self.is_paused);
        Some((self.resident, self.spilled, self.is_paused))
    }

    fn usage(&self) -> u64 {
        self.resident.saturating_add(self.reserved).saturating_add(self.incoming)
    }

    /// Whether a result may ever leave memory while it is here.
    fn may_leave(&self, held: &Held) -> bool {
        self.limit.is_some() && held.n_bytes >= self.smallest && !held.stays
    }

    /// Bytes that become free when the writes under way end.
    fn n_leaving(&self) -> u64 {
        let bytes = |write: &Write| match self.held.get(write.loan.task) {
            Some(held) if held.copy == write.loan.copy => {
                if held.n_loans == 1 {
                    held.n_bytes
                } else {
                    0
                }
            }
            _ => self.orphans.get(&write.loan).map_or(0, |(n_bytes, n_loans)| if *n_loans == 1 { *n_bytes } else { 0 }),
        };
        self.writing.values().map(bytes).sum()
    }

    /// Begins to write a result, unless a copy of it from before is still being written.
    fn write(&mut self, task: TaskId, is_last_chance: bool) -> bool {
        if self.writing.contains_key(&task) {
            return false;
        }
        let used = self.held.get(task).map(|held| held.used);
        let Some(loan) = self.lend(task) else { return false };
        // Being written is no use of it.
        self.change(task, |held| held.used = used.unwrap_or(held.used));
        self.writing.insert(task, Write { loan, is_last_chance });
        true
    }

    /// Changes a result, and every count and set that it is part of.
    fn change(&mut self, task: TaskId, change: impl FnOnce(&mut Held)) {
        let Some(mut held) = self.held.remove(task) else { return };
        self.count(task, &held, false);
        change(&mut held);
        self.count(task, &held, true);
        self.held.insert(task, held);
    }

    /// Adds a result to all counts and sets, or takes it out of them.
    fn count(&mut self, task: TaskId, held: &Held, is_there: bool) {
        let n_bytes = held.n_bytes;
        let is_awaited = !held.in_memory && held.n_loans > 0;
        let counts = [
            (held.in_memory, &mut self.resident),
            (!held.in_memory, &mut self.spilled),
            (is_awaited, &mut self.reserved),
        ];
        for (_, count) in counts.into_iter().filter(|(counts, _)| *counts) {
            *count = if is_there { *count + n_bytes } else { *count - n_bytes };
        }
        if is_awaited {
            if is_there {
                self.awaited.insert(task)
            } else {
                self.awaited.remove(&task)
            };
        }
        if held.in_memory && held.n_loans == 0 && self.may_leave(held) {
            let rank = if n_bytes > self.shares.spill[0] && !held.on_disk {
                Rank::TooLarge
            } else if held.is_needed {
                Rank::Needed
            } else if held.on_disk {
                Rank::Copied
            } else {
                Rank::Cold
            };
            let place = (rank, held.used, task);
            if is_there {
                self.cold.insert(place)
            } else {
                self.cold.remove(&place)
            };
        }
    }

    /// Panics with what is wrong. `expected` is what running and starting attempts are expected to make, `needed`
    /// says whether an attempt waits that takes a result, `loans` is all that is lent to attempts.
    pub(super) fn check(&self, expected: u64, needed: impl Fn(TaskId) -> bool, loans: &BTreeMap<Loan, u32>) {
        let [mut resident, mut spilled, mut reserved] = [0, 0, expected];
        let (mut n_cold, mut n_awaited) = (0, 0);
        for (task, held) in self.held.iter() {
            assert!(held.in_memory || held.on_disk, "{task} is nowhere");
            let loan = Loan { task, copy: held.copy };
            let is_written = self.writing.get(&task).is_some_and(|write| write.loan == loan);
            let n_loans = loans.get(&loan).copied().unwrap_or(0) + u32::from(is_written);
            assert_eq!(held.n_loans, n_loans, "loans of {task}");
            assert!(self.limit.is_none() || held.is_needed == needed(task), "whether {task} is needed");
            *(if held.in_memory { &mut resident } else { &mut spilled }) += held.n_bytes;
            let is_awaited = !held.in_memory && n_loans > 0;
            if is_awaited {
                reserved += held.n_bytes;
                n_awaited += 1;
                assert!(self.awaited.contains(&task), "{task} is awaited from disk");
                assert!(self.reading.contains_key(&task), "{task} is not being read");
            }
            if held.in_memory && n_loans == 0 && self.may_leave(held) {
                n_cold += 1;
            }
        }
        for (loan, (n_bytes, n_loans)) in &self.orphans {
            let is_written = self.writing.get(&loan.task).is_some_and(|write| write.loan == *loan);
            assert_eq!(*n_loans, loans.get(loan).copied().unwrap_or(0) + u32::from(is_written), "loans of {loan:?}");
            resident += n_bytes;
        }
        assert_eq!((self.resident, self.spilled), (resident, spilled), "bytes in memory and on disk");
        assert_eq!(self.reserved, reserved, "bytes that are expected");
        assert_eq!((self.cold.len(), self.awaited.len()), (n_cold, n_awaited), "what could go, and is awaited");
        assert!(self.limit.is_some() || spilled == 0, "an unlimited worker spilled");
        assert!(self.writing.len() <= MAX_WRITES + 1, "{} are written at a time", self.writing.len());
    }
}
