//! Which ready attempts start while memory is short, and what goes to disk and comes back for them.
//!
//! Under a budget an attempt is staged before it runs: its inputs are lent to it, so that they stay in memory or come
//! back from disk, and the expected size of its result is set aside. One more than there are threads is staged while
//! anything is on disk, so that reading goes on beside running.
//!
//! What may be staged is what fits below the pause line, and while the worker is paused nothing starts beside others.
//! So that nobody waits for ever, whatever fits or not: where nothing runs, nothing is staged and no write is under
//! way that would free memory, the next attempt starts anyway, alone.

use std::collections::BTreeMap;

use super::{
    Command, Event, MemoryUse, Worker,
    machine::{Key, State, Work},
    memory::{Loan, Written},
};
use crate::{graph::ArgumentCode, id::TaskId, message::FromWorker, time::Time};

impl Worker {
    /// What of the budget is in use.
    pub fn memory_use(&self) -> MemoryUse {
        let memory = &self.memory;
        MemoryUse {
            limit: memory.limit(),
            stored: memory.resident(),
            spilled: memory.spilled(),
            is_paused: memory.is_paused(),
        }
    }

    /// The disk has answered.
    pub(super) fn disk_said(&mut self, now: Time, event: Event, out: &mut Vec<Command>) {
        match event {
            Event::Spilled { task } => {
                self.memory.written(now, task, true);
            }
            Event::SpillFailed { task, reason } => {
                let written = self.memory.written(now, task, false);
                if written == Written::Lost {
                    out.push(Command::ToScheduler(FromWorker::NotKept { task, reason }));
                    self.drop_results(vec![task], out);
                }
            }
            Event::Unspilled { task, value } => {
                let is_wanted = self.memory.read(task);
                out.extend(is_wanted.then_some(Command::Store { task, value }));
            }
            Event::UnspillFailed { task, .. } => {
                let is_gone = self.memory.end_reading(task);
                // Who needs it finds it missing here, and says so.
                let gone = if is_gone { vec![task] } else { Vec::new() };
                self.drop_results(gone, out);
            }
            _ => {}
        }
    }

    /// Fills threads as far as memory allows, and makes room for who comes next.
    pub(super) fn start_within_budget(&mut self, now: Time, out: &mut Vec<Command>) {
        if self.n_staged == 0 && self.start_at_ease(out) {
            return self.report_memory(false, out);
        }
        let may_stage = self.may_stage();
        let next = || self.ready.iter().map(|(_, _, key)| *key).find(|key| !self.is_staged(*key));
        let extra = if may_stage { next().map_or(0, |key| self.cost(key)) } else { 0 };
        self.make_room(now, extra, out);
        self.memory.look();
        self.start_staged(out);
        self.make_room(now, 0, out);
        out.extend(self.memory.take_reads().into_iter().map(|task| Command::Unspill { task }));
        self.report_memory(false, out);
    }

    /// Starts what there are threads for while memory is far from short, which takes no thought. False where it may be
    /// short for the next one.
    fn start_at_ease(&mut self, out: &mut Vec<Command>) -> bool {
        while self.n_running < self.config.n_threads.max(1)
            && let Some((_, _, key)) = self.ready.first().copied()
        {
            let expected = self.attempts.get(&key).map_or(0, |work| work.expected_bytes);
            if !self.memory.is_at_ease(expected) {
                return false;
            }
            self.stage(key);
            self.run_staged(key, out);
        }
        self.memory.is_at_ease(0)
    }

    /// Whether inputs may be asked for: a paused worker asks only where it has nothing else to do.
    pub(super) fn may_fetch(&self) -> bool {
        let is_busy = self.n_running > 0 || !self.ready.is_empty() || self.memory.is_writing();
        !(self.memory.is_paused() && is_busy)
    }

    /// Tells the scheduler what it should know about memory.
    pub(super) fn report_memory(&mut self, is_due: bool, out: &mut Vec<Command>) {
        if let Some((resident, spilled, is_paused)) = self.memory.report(is_due) {
            out.push(Command::ToScheduler(FromWorker::Memory { resident, spilled, is_paused }));
        }
    }

    /// An attempt that was to run soon is not: its inputs are free to go again.
    pub(super) fn unstage(&mut self, key: Key) {
        let Some(work) = self.attempts.get_mut(&key) else { return };
        if std::mem::replace(&mut work.is_staged, false) {
            self.n_staged -= 1;
            let (expected_bytes, loans) = (work.expected_bytes, std::mem::take(&mut work.loans));
            self.end_loans(expected_bytes, loans);
        }
    }

    /// An attempt uses nothing any more.
    pub(super) fn end_loans(&mut self, expected_bytes: u64, loans: Vec<Loan>) {
        if self.memory.limit().is_some() {
            self.memory.release(expected_bytes);
            loans.into_iter().for_each(|loan| self.memory.give_back(loan));
        }
    }

    /// Checks the budget, and says whether ready attempts may wait beside an idle thread.
    pub(super) fn check_memory(&self, needed: impl Fn(TaskId) -> bool) -> bool {
        let (mut expected, mut n_staged, mut loans) = (0, 0, BTreeMap::new());
        for (key, work) in self.attempts.iter() {
            let is_running = matches!(work.state, State::Running { .. });
            assert!(!work.is_staged || work.state == State::Ready, "{key:?} is staged and not ready");
            assert!(is_running || work.is_staged || work.loans.is_empty(), "{key:?} uses inputs too early");
            n_staged += u32::from(work.is_staged);
            if self.memory.limit().is_some() && (is_running || work.is_staged) {
                expected += work.expected_bytes;
                work.loans.iter().for_each(|loan| *loans.entry(*loan).or_default() += 1);
            }
        }
        assert_eq!(self.n_staged, n_staged, "staged attempts");
        self.memory.check(expected, needed, &loans);
        // The one rule that progress rests on.
        let is_stuck = self.n_running == 0 && self.n_staged == 0 && !self.memory.is_writing();
        assert!(!is_stuck || self.ready.is_empty(), "nothing runs beside {:?}", self.ready);
        let is_complete = |(key, work): (&Key, &Work)| work.is_staged && self.is_loaded(*key);
        assert!(self.n_running > 0 || !self.attempts.iter().any(is_complete), "nothing runs though something could");
        self.memory.limit().is_some()
    }

    fn make_room(&mut self, now: Time, extra: u64, out: &mut Vec<Command>) {
        let going = self.memory.make_room(now, extra);
        if !going.evict.is_empty() {
            out.push(Command::Evict { tasks: going.evict });
        }
        out.extend(going.write.into_iter().map(|task| Command::Spill { task }));
    }

    /// Stages attempts while there is room, and starts those that have everything while there are threads.
    fn start_staged(&mut self, out: &mut Vec<Command>) {
        let n_threads = self.config.n_threads.max(1);
        let mut n_left = self.n_staged;
        let mut last = None;
        let mut has_room = true;
        while n_left > 0 || (has_room && self.may_stage()) {
            let after = |place: &&_| last.is_none_or(|last| **place > last);
            let place = match last {
                None => self.ready.first().copied(),
                Some(last) => self.ready.range(last..).find(after).copied(),
            };
            let Some(place) = place else { break };
            last = Some(place);
            let (_, _, key) = place;
            if self.is_staged(key) {
                n_left = n_left.saturating_sub(1);
            } else {
                has_room = has_room && self.may_stage() && self.may_begin(key);
                if !has_room {
                    continue;
                }
                self.stage(key);
            }
            let may_run = self.n_running < n_threads && (self.n_running == 0 || !self.memory.is_paused());
            if may_run && self.is_loaded(key) {
                self.run_staged(key, out);
            }
        }
    }

    /// Starts a staged attempt that has everything.
    fn run_staged(&mut self, key: Key, out: &mut Vec<Command>) {
        if let Some(work) = self.attempts.get_mut(&key) {
            self.ready.remove(&work.place(key));
            work.is_staged = false;
            self.n_staged -= 1;
        }
        self.start(key, out);
    }

    /// Whether another attempt should be prepared at all.
    fn may_stage(&self) -> bool {
        self.n_running + self.n_staged < self.config.n_threads.max(1) + u32::from(self.memory.has_spilled())
    }

    /// Whether there is memory for an attempt, or nothing else that could make some.
    fn may_begin(&self, key: Key) -> bool {
        let is_alone = self.n_running == 0 && self.n_staged == 0 && !self.memory.is_writing();
        is_alone || self.memory.has_room(self.cost(key))
    }

    fn is_staged(&self, key: Key) -> bool {
        self.attempts.get(&key).is_some_and(|work| work.is_staged)
    }

    fn is_loaded(&self, key: Key) -> bool {
        self.attempts.get(&key).is_some_and(|work| self.memory.is_loaded(&work.loans))
    }

    /// Bytes that an attempt will add to what is in memory.
    fn cost(&self, key: Key) -> u64 {
        let Some(work) = self.attempts.get(&key) else { return 0 };
        let loads: u64 =
            if self.memory.has_spilled() { work.inputs().iter().map(|i| self.memory.to_load(*i)).sum() } else { 0 };
        work.expected_bytes.saturating_add(loads)
    }

    fn stage(&mut self, key: Key) {
        let Some(work) = self.attempts.get_mut(&key) else { return };
        // One that is named twice is lent twice, which costs less than finding out.
        let inputs = work.arguments.iter().filter_map(|code| match code {
            ArgumentCode::Task(task) => Some(*task),
            ArgumentCode::Node(_) | ArgumentCode::Constant(_) | ArgumentCode::List(_) => None,
        });
        work.loans = inputs.filter_map(|input| self.memory.lend(input)).collect();
        work.is_staged = true;
        self.memory.reserve(work.expected_bytes);
        self.n_staged += 1;
    }
}
