//! Disks: slow ones, full ones, and ones that lose what was written.

use super::*;

/// What one worker's disk is like while faults last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Disk {
    /// How long a write or a read takes at most, in microseconds.
    pub(super) slowness: u64,
    /// How often a write fails, in percent.
    pub(super) full: usize,
    /// How often a read fails, in percent.
    pub(super) broken: usize,
}

/// What a disk says when it is done.
#[derive(Debug)]
pub(super) enum Done {
    Wrote { task: TaskId, failed: bool },
    Read { task: TaskId, value: Option<Value> },
}

impl World {
    /// A budget and a disk, for some of the workers of some of the worlds.
    pub(super) fn draw_memory(&mut self) -> (Option<u64>, Disk) {
        let limit = if self.has_budgets && !self.is_healed && self.dice.chance(80) {
            Some(self.dice.pick(&[700, 2_500, 6_000, 20_000]))
        } else {
            None
        };
        let disk = Disk {
            slowness: self.dice.pick(&[10, 2_000, 400_000]),
            full: self.dice.pick(&[0, 0, 20, 100]),
            broken: self.dice.pick(&[0, 0, 10]),
        };
        (limit, disk)
    }

    pub(super) fn spill(&mut self, place: usize, task: TaskId) {
        self.n_spills += 1;
        let shell = &mut self.workers[place];
        assert!(shell.store.contains_key(&task), "{task} is written to disk by worker {place}, which does not have it");
        assert!(!shell.store[&task].stays(), "{task} is an actor and written to disk");
        assert!(!shell.disk.contains_key(&task), "{task} is written to disk twice by worker {place}");
        let before = shell.writing.insert(task, false);
        assert!(before.is_none(), "{task} is being written to disk by worker {place} already");
        let Disk { slowness, full, .. } = shell.drive;
        let failed = !self.is_healed && self.dice.chance(full);
        let after = self.dice.micros(slowness / 10, slowness);
        self.plan(after, Happening::Disk { worker: place, done: Done::Wrote { task, failed } });
    }

    pub(super) fn evict(&mut self, place: usize, task: TaskId) {
        let shell = &mut self.workers[place];
        assert!(shell.disk.contains_key(&task), "{task} is taken out of memory and is not on disk");
        assert!(shell.store.remove(&task).is_some(), "{task} is taken out of memory and is not there");
    }

    pub(super) fn unspill(&mut self, place: usize, task: TaskId) {
        self.n_unspills += 1;
        let shell = &self.workers[place];
        assert!(!shell.store.contains_key(&task), "{task} is read from disk, and is in memory");
        let value = shell.disk.get(&task).cloned();
        assert!(value.is_some(), "{task} is read from disk, and is not there");
        let Disk { slowness, broken, .. } = shell.drive;
        let failed = !self.is_healed && self.dice.chance(broken);
        let after = self.dice.micros(slowness / 10, slowness);
        let done = Done::Read { task, value: value.filter(|_| !failed) };
        self.plan(after, Happening::Disk { worker: place, done });
    }

    pub(super) fn disk_is_done(&mut self, place: usize, done: Done) {
        let shell = &mut self.workers[place];
        if shell.machine.is_none() {
            return;
        }
        let event = match done {
            Done::Wrote { task, failed } => {
                let is_stale = shell.writing.remove(&task).unwrap_or(true);
                if failed {
                    self.oracle.not_written.insert(task);
                    worker::Event::SpillFailed { task, reason: "no space left".into() }
                } else {
                    if !is_stale {
                        let value = shell.store[&task].clone();
                        shell.disk.insert(task, value);
                    }
                    worker::Event::Spilled { task }
                }
            }
            Done::Read { task, value: Some(value) } => worker::Event::Unspilled { task, value },
            Done::Read { task, value: None } => worker::Event::UnspillFailed { task, reason: "unreadable".into() },
        };
        self.tell_worker(place, event);
    }

    pub(super) fn drop_result(&mut self, place: usize, task: TaskId) {
        let shell = &mut self.workers[place];
        let (in_memory, on_disk) = (shell.store.remove(&task), shell.disk.remove(&task));
        assert!(in_memory.or(on_disk).is_some(), "{task} is dropped from worker {place}, which does not have it");
        if let Some(is_stale) = shell.writing.get_mut(&task) {
            *is_stale = true;
        }
    }

    /// Compares what a worker's machine says of its memory with what is there.
    pub(super) fn check_memory(&self, place: usize) {
        let shell = &self.workers[place];
        let Some(machine) = &shell.machine else { return };
        let on_disk = shell.disk.keys().filter(|task| !shell.store.contains_key(task));
        assert_eq!(machine.n_held(), shell.store.len() + on_disk.clone().count(), "what worker {place} holds");
        let bytes = |value: &Value| value.n_bytes();
        let spilled: u64 = on_disk.map(|task| bytes(&shell.disk[task])).sum();
        let stored: u64 = shell.store.values().map(bytes).sum();
        let memory = machine.memory_use();
        assert_eq!(memory.spilled, spilled, "bytes on the disk of worker {place}");
        // Dropped results that are still being written, or that running tasks take, count as well.
        let may_be_more = !shell.running.is_empty() || !shell.writing.is_empty();
        assert!(memory.stored == stored || (may_be_more && memory.stored > stored), "bytes in worker {place}");
    }
}
