//! The table of all tasks: parallel columns, and the edges between tasks.
//!
//! A task's place (slot) is found from its id by pages of 256 consecutive ids, so the table is dense where clients
//! number densely, needs no object a task, and gives memory back a page at a time. Ids are never used again, so an
//! id that comes late finds nothing. The table knows no rule of scheduling.

use std::{
    collections::{BTreeMap, HashMap},
    hash::BuildHasherDefault,
    ops::{Index, IndexMut},
    sync::Arc,
};

use crate::{
    death::Death,
    dense::NumberHasher,
    id::{TaskId, WorkerId},
    task::TaskError,
};

/// Where a task is in the table. Given to another task when the whole page is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(u32);

impl Slot {
    /// The place so many further in the table.
    pub(super) const fn after(self, n: u32) -> Self {
        Self(self.0 + n)
    }
}

/// Where a task is in its life.
///
/// ```text
///              demand          inputs there        a worker has room
///  Released ──────────► Waiting ──────────► Ready ──────────► Assigned ──► Memory
///      ▲  ▲                ▲  └──────────────┘                   │            │
///      │  └── nobody ──────┴──── worker lost, retry ─────────────┘            │
///      └──────────────────────── dropped or lost ────────────────────────────┘
/// ```
///
/// `Failed` is reached from `Waiting`, `Ready` and `Assigned`, and left never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    /// No task is here.
    #[default]
    Absent,
    /// Nobody needs the result now; the recipe is kept for tasks that may have to run again.
    Released,
    /// Needed; some input is not in memory.
    Waiting,
    /// All inputs are in memory; in a queue.
    Ready,
    /// Sent to a worker.
    Assigned,
    /// Some worker has the result.
    Memory,
    /// There will be no result.
    Failed,
}

impl State {
    /// Whether the task keeps its inputs needed.
    pub(super) const fn is_active(self) -> bool {
        matches!(self, Self::Waiting | Self::Ready | Self::Assigned)
    }
}

/// One attribute of all tasks, in blocks that stay where they are: to grow never copies, and takes no more than is used.
#[derive(Debug, Default)]
pub(super) struct Column<T>(Vec<Box<[T; BLOCK]>>);

/// Slots that a column makes room for at once.
const BLOCK: usize = 4096;

impl<T: Copy + Default> Column<T> {
    /// Makes room for so many slots in all.
    fn grow(&mut self, n_slots: usize) {
        while self.0.len() * BLOCK < n_slots {
            self.0.push(Box::new([T::default(); BLOCK]));
        }
    }
}

impl<T> Index<Slot> for Column<T> {
    type Output = T;

    fn index(&self, slot: Slot) -> &T {
        &self.0[slot.0 as usize / BLOCK][slot.0 as usize % BLOCK]
    }
}

impl<T> IndexMut<Slot> for Column<T> {
    fn index_mut(&mut self, slot: Slot) -> &mut T {
        &mut self.0[slot.0 as usize / BLOCK][slot.0 as usize % BLOCK]
    }
}

/// No worker, no edge.
pub(super) const NONE: u32 = u32::MAX;

const PAGE: u32 = 256;

/// All tasks, by column.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    directory: HashMap<u64, u32, BuildHasherDefault<NumberHasher>>,
    /// By page: the upper bits of its ids, and how many of its slots are in use.
    pages: Vec<(u64, u32)>,
    free_pages: Vec<u32>,
    n_tasks: usize,

    pub(super) state: Column<State>,
    /// Handles that the client holds.
    pub(super) wanted: Column<u16>,
    /// The submission that holds the recipe.
    pub(super) submission: Column<u32>,
    /// Inputs not in memory; counted while the task is active, and 0 when it is `Ready` or `Assigned` first.
    pub(super) n_missing: Column<u32>,
    /// Active dependents: while there are any the result is needed.
    pub(super) n_pending: Column<u32>,
    /// Dependents in the table: while there are any the recipe is kept.
    pub(super) n_dependents: Column<u32>,
    /// Attempts begun; the running one, if any, is the last.
    pub(super) tries: Column<u32>,
    /// Attempts that ended with an error or a panic.
    pub(super) failures: Column<u32>,
    /// `Assigned`: to whom. `Ready`: in whose queue, or [`NONE`] for the shared one. `Memory`: the first holder.
    pub(super) worker: Column<u32>,
    /// `Ready` in a worker's queue or `Assigned`: the expected run time that was added to the worker, in units of 128 ns.
    pub(super) estimate: Column<u32>,
    /// `Memory`: the size of the result.
    pub(super) n_bytes: Column<u64>,
    first_dependent: Column<u32>,
    first_dependency: Column<u32>,

    edges: Vec<Edge>,
    free_edges: Vec<u32>,

    /// Holders after the first, by rising id; most tasks have none.
    pub(super) more_holders: BTreeMap<Slot, Vec<WorkerId>>,
    /// Why `Failed` tasks failed.
    pub(super) errors: BTreeMap<Slot, Arc<TaskError>>,
    /// Workers that died while they ran a task.
    pub(super) killers: BTreeMap<Slot, Vec<Death>>,
    /// How often a result was not where it should have been.
    pub(super) misses: BTreeMap<Slot, u32>,
    /// Who ran a task when it asked to be run elsewhere last, and how often it did.
    pub(super) moved: BTreeMap<Slot, (WorkerId, u32)>,
    /// Tasks that may have killed one worker too many, and the worker whose supervisor is waited for before they fail.
    pub(super) condemned: BTreeMap<Slot, WorkerId>,
}

/// That one task needs another's result. Linked into the lists of both.
#[derive(Debug, Clone, Copy)]
struct Edge {
    dependency: Slot,
    dependent: Slot,
    next_dependent: u32,
    prev_dependent: u32,
    next_dependency: u32,
}

impl Tasks {
    pub(super) fn len(&self) -> usize {
        self.n_tasks
    }

    /// Where a task is, if it is known.
    pub(super) fn find(&self, task: TaskId) -> Option<Slot> {
        let page = *self.directory.get(&(task.0 / u64::from(PAGE)))?;
        let slot = Slot(page * PAGE + (task.0 % u64::from(PAGE)) as u32);
        (self.state[slot] != State::Absent).then_some(slot)
    }

    /// The id of the task at a slot.
    pub(super) fn id(&self, slot: Slot) -> TaskId {
        let (key, _) = self.pages[(slot.0 / PAGE) as usize];
        TaskId(key * u64::from(PAGE) + u64::from(slot.0 % PAGE))
    }

    /// Makes room for a task, `Released`, with all counts 0. It must not be in the table.
    pub(super) fn insert(&mut self, task: TaskId, submission: u32) -> Slot {
        let key = task.0 / u64::from(PAGE);
        let page = match self.directory.get(&key) {
            Some(page) => *page,
            None => self.open_page(key),
        };
        let slot = Slot(page * PAGE + (task.0 % u64::from(PAGE)) as u32);
        debug_assert_eq!(self.state[slot], State::Absent, "{task} is in the table already");
        self.pages[page as usize].1 += 1;
        self.n_tasks += 1;
        self.state[slot] = State::Released;
        self.wanted[slot] = 0;
        self.submission[slot] = submission;
        self.n_missing[slot] = 0;
        self.n_pending[slot] = 0;
        self.n_dependents[slot] = 0;
        self.tries[slot] = 0;
        self.failures[slot] = 0;
        self.worker[slot] = NONE;
        self.estimate[slot] = 0;
        self.n_bytes[slot] = 0;
        self.first_dependent[slot] = NONE;
        self.first_dependency[slot] = NONE;
        slot
    }

    /// Takes a task without dependents out of the table, and its edges with it.
    pub(super) fn remove(&mut self, slot: Slot) {
        debug_assert_eq!(self.n_dependents[slot], 0, "{} still has dependents", self.id(slot));
        let mut edge = self.first_dependency[slot];
        while edge != NONE {
            let next = self.edges[edge as usize].next_dependency;
            self.unlink(edge);
            edge = next;
        }
        self.errors.remove(&slot);
        self.killers.remove(&slot);
        self.misses.remove(&slot);
        self.moved.remove(&slot);
        self.condemned.remove(&slot);
        self.more_holders.remove(&slot);
        self.state[slot] = State::Absent;
        self.n_tasks -= 1;
        let page = slot.0 / PAGE;
        let (key, n_used) = &mut self.pages[page as usize];
        *n_used -= 1;
        if *n_used == 0 {
            self.directory.remove(key);
            self.free_pages.push(page);
        }
    }

    /// Notes that `dependent` needs the result of `dependency`; once for each pair.
    pub(super) fn connect(&mut self, dependency: Slot, dependent: Slot) {
        let old_first = self.first_dependent[dependency];
        let edge = Edge {
            dependency,
            dependent,
            next_dependent: old_first,
            prev_dependent: NONE,
            next_dependency: self.first_dependency[dependent],
        };
        let place = match self.free_edges.pop() {
            Some(place) => {
                self.edges[place as usize] = edge;
                place
            }
            None => {
                self.edges.push(edge);
                (self.edges.len() - 1) as u32
            }
        };
        if old_first != NONE {
            self.edges[old_first as usize].prev_dependent = place;
        }
        self.first_dependent[dependency] = place;
        self.first_dependency[dependent] = place;
        self.n_dependents[dependency] += 1;
    }

    /// The tasks whose results a task needs, each once.
    pub(super) fn dependencies(&self, slot: Slot) -> impl Iterator<Item = Slot> + '_ {
        let mut edge = self.first_dependency[slot];
        std::iter::from_fn(move || {
            let Edge { dependency, next_dependency, .. } = *self.edges.get(edge as usize)?;
            edge = next_dependency;
            Some(dependency)
        })
    }

    /// The tasks that need a task's result, each once.
    pub(super) fn dependents(&self, slot: Slot) -> impl Iterator<Item = Slot> + '_ {
        let mut edge = self.first_dependent[slot];
        std::iter::from_fn(move || {
            let Edge { dependent, next_dependent, .. } = *self.edges.get(edge as usize)?;
            edge = next_dependent;
            Some(dependent)
        })
    }

    /// The workers that have a result; empty unless it is in `Memory`.
    pub(super) fn holders(&self, slot: Slot) -> impl Iterator<Item = WorkerId> + '_ {
        let first = (self.state[slot] == State::Memory).then(|| WorkerId(self.worker[slot]));
        let more = if self.more_holders.is_empty() { None } else { self.more_holders.get(&slot) };
        first.into_iter().chain(more.into_iter().flatten().copied())
    }

    /// Whether a worker has a result.
    pub(super) fn holds(&self, worker: WorkerId, slot: Slot) -> bool {
        self.holders(slot).any(|holder| holder == worker)
    }

    /// Adds a copy of a result in memory.
    pub(super) fn add_holder(&mut self, slot: Slot, worker: WorkerId) {
        if !self.holds(worker, slot) {
            let more = self.more_holders.entry(slot).or_default();
            more.push(worker);
            more.sort_unstable();
        }
    }

    /// Takes a copy away and says whether another is left. The last one stays written down until the state changes.
    pub(super) fn remove_holder(&mut self, slot: Slot, worker: WorkerId) -> bool {
        let first = self.worker[slot] == worker.0;
        let Some(more) = self.more_holders.get_mut(&slot) else { return !first };
        if first {
            self.worker[slot] = more.remove(0).0;
        } else {
            more.retain(|holder| *holder != worker);
        }
        if more.is_empty() {
            self.more_holders.remove(&slot);
        }
        true
    }

    /// The tasks from a place in the table on.
    pub(super) fn slots_from(&self, place: u32) -> impl Iterator<Item = Slot> + '_ {
        (place..self.n_slots()).map(Slot).filter(|slot| self.state[*slot] != State::Absent)
    }

    /// Where in the table a task is.
    pub(super) const fn place(&self, slot: Slot) -> u32 {
        slot.0
    }

    /// How many tasks are in each state but `Absent`, in the order of [`State`].
    pub(super) fn count_by_state(&self) -> [u64; 6] {
        let mut counts = [0; 7];
        self.slots().for_each(|slot| counts[self.state[slot] as usize] += 1);
        let [_absent, rest @ ..] = counts;
        rest
    }

    /// All tasks in the table, by page and place.
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        (0..self.n_slots()).map(Slot).filter(|slot| self.state[*slot] != State::Absent)
    }

    fn n_slots(&self) -> u32 {
        self.pages.len() as u32 * PAGE
    }

    fn open_page(&mut self, key: u64) -> u32 {
        let page = self.free_pages.pop().unwrap_or_else(|| {
            let page = self.pages.len() as u32;
            self.pages.push((0, 0));
            let n_slots = (page as usize + 1) * PAGE as usize;
            self.state.grow(n_slots);
            self.wanted.grow(n_slots);
            for column in [
                &mut self.submission,
                &mut self.n_missing,
                &mut self.n_pending,
                &mut self.n_dependents,
                &mut self.tries,
                &mut self.failures,
                &mut self.worker,
                &mut self.estimate,
                &mut self.first_dependent,
                &mut self.first_dependency,
            ] {
                column.grow(n_slots);
            }
            self.n_bytes.grow(n_slots);
            page
        });
        self.pages[page as usize] = (key, 0);
        self.directory.insert(key, page);
        page
    }

    /// Takes an edge out of its dependency's list; the dependent's list is being thrown away.
    fn unlink(&mut self, place: u32) {
        let Edge { dependency, next_dependent, prev_dependent, .. } = self.edges[place as usize];
        if prev_dependent == NONE {
            self.first_dependent[dependency] = next_dependent;
        } else {
            self.edges[prev_dependent as usize].next_dependent = next_dependent;
        }
        if next_dependent != NONE {
            self.edges[next_dependent as usize].prev_dependent = prev_dependent;
        }
        self.n_dependents[dependency] -= 1;
        self.free_edges.push(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ClientId;

    fn task(sequence: u64) -> TaskId {
        TaskId::new(ClientId(1), sequence)
    }

    #[test]
    fn a_slot_knows_its_task_and_an_id_its_slot() {
        let mut tasks = Tasks::default();
        let slots: Vec<_> = (0..1000).map(|i| tasks.insert(task(i * 7), 0)).collect();
        for (i, slot) in slots.iter().enumerate() {
            assert_eq!(tasks.id(*slot), task(i as u64 * 7));
            assert_eq!(tasks.find(task(i as u64 * 7)), Some(*slot));
        }
        assert_eq!(tasks.find(task(1)), None);
        assert_eq!(tasks.find(TaskId::new(ClientId(2), 0)), None);
    }

    #[test]
    fn memory_is_used_again_when_a_page_is_free() {
        let mut tasks = Tasks::default();
        for sequence in 0..100_000 {
            let slot = tasks.insert(task(sequence), 0);
            tasks.remove(slot);
        }
        assert_eq!((tasks.len(), tasks.pages.len()), (0, 1));
    }

    #[test]
    fn edges_come_and_go_in_any_order() {
        let mut tasks = Tasks::default();
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| tasks.insert(task(i), 0));
        for dependent in [b, c, d] {
            tasks.connect(a, dependent);
        }
        tasks.connect(b, d);
        assert_eq!(tasks.dependents(a).collect::<Vec<_>>(), [d, c, b]);
        assert_eq!(tasks.dependencies(d).collect::<Vec<_>>(), [b, a]);
        tasks.remove(c);
        assert_eq!(tasks.dependents(a).collect::<Vec<_>>(), [d, b]);
        tasks.remove(d);
        assert_eq!(tasks.dependents(a).collect::<Vec<_>>(), [b]);
        assert_eq!(tasks.n_dependents[b], 0);
        tasks.remove(b);
        assert_eq!((tasks.n_dependents[a], tasks.free_edges.len(), tasks.edges.len()), (0, 4, 4));
    }

    #[test]
    fn the_first_holder_may_go_before_the_others() {
        let mut tasks = Tasks::default();
        let a = tasks.insert(task(0), 0);
        tasks.state[a] = State::Memory;
        tasks.worker[a] = 3;
        tasks.add_holder(a, WorkerId(5));
        tasks.add_holder(a, WorkerId(4));
        tasks.add_holder(a, WorkerId(3));
        assert_eq!(tasks.holders(a).collect::<Vec<_>>(), [3, 4, 5].map(WorkerId));
        assert!(tasks.remove_holder(a, WorkerId(3)));
        assert!(tasks.remove_holder(a, WorkerId(5)));
        assert_eq!(tasks.holders(a).collect::<Vec<_>>(), [WorkerId(4)]);
        assert!(!tasks.remove_holder(a, WorkerId(4)));
    }
}
