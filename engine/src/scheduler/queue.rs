//! Ready tasks in the order in which they should run.
//!
//! A submission's tasks mostly become ready in their own order, so each submission keeps them in a line and sorts
//! only those that come out of turn: handing out the next task of a million costs a few instructions.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque},
};

use super::tasks::Slot;
use crate::message::Priority;

/// Tasks by priority. It does not know whether a task is still ready: who pops it checks.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// By negated user priority and submission.
    lines: BTreeMap<(i32, u32), Line>,
    /// Those that tasks submitted: few at a time, since somebody waits for each.
    inside: BTreeSet<(Priority, Slot)>,
    len: usize,
}

#[derive(Debug, Default)]
struct Line {
    /// By rising node.
    in_turn: VecDeque<Run>,
    out_of_turn: BinaryHeap<Reverse<(u32, Slot)>>,
}

/// Nodes that follow each other, in slots that do: a million independent tasks are one run.
#[derive(Debug, Clone, Copy)]
struct Run {
    node: u32,
    slot: Slot,
    n: u32,
}

impl Run {
    const fn first(self) -> (u32, Slot) {
        (self.node, self.slot)
    }

    fn entries(self) -> impl Iterator<Item = (u32, Slot)> {
        (0..self.n).map(move |i| (self.node + i, self.slot.after(i)))
    }
}

impl Queue {
    /// How many entries there are, stale ones too.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, priority: Priority, slot: Slot) {
        if priority.depth != Reverse(0) {
            self.len += usize::from(self.inside.insert((priority, slot)));
            return;
        }
        let line = self.lines.entry((priority.user, priority.submission)).or_default();
        match line.in_turn.back_mut() {
            Some(run) if run.node + run.n > priority.node => line.out_of_turn.push(Reverse((priority.node, slot))),
            Some(run) if run.node + run.n == priority.node && run.slot.after(run.n) == slot => run.n += 1,
            _ => line.in_turn.push_back(Run { node: priority.node, slot, n: 1 }),
        }
        self.len += 1;
    }

    /// The entry that should run first.
    pub(super) fn peek(&self) -> Option<(Priority, Slot)> {
        let outer = self.peek_lines();
        match self.inside.first() {
            Some(inner) if outer.is_none_or(|outer| *inner < outer) => Some(*inner),
            _ => outer,
        }
    }

    pub(super) fn pop(&mut self) -> Option<(Priority, Slot)> {
        if let Some(inner) = self.inside.first()
            && self.peek_lines().is_none_or(|outer| *inner < outer)
        {
            self.len -= 1;
            return self.inside.pop_first();
        }
        let mut first = self.lines.first_entry()?;
        let (user, submission) = *first.key();
        let line = first.get_mut();
        let (node, slot) = line.pop()?;
        if line.is_empty() {
            first.remove();
        }
        self.len -= 1;
        Some((Priority { user, submission, node, depth: Reverse(0) }, slot))
    }

    /// All entries, in no order that matters.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Priority, Slot)> + '_ {
        let outer =
            self.lines.iter().flat_map(|((user, submission), line)| {
                let out_of_turn = line.out_of_turn.iter().map(|entry| entry.0);
                line.in_turn.iter().flat_map(|run| run.entries()).chain(out_of_turn).map(|(node, slot)| {
                    (Priority { user: *user, submission: *submission, node, depth: Reverse(0) }, slot)
                })
            });
        outer.chain(self.inside.iter().copied())
    }

    /// Takes everything out, in order.
    pub(super) fn drain(&mut self) -> Vec<(Priority, Slot)> {
        std::iter::from_fn(|| self.pop()).collect()
    }

    /// The first entry of those that users submitted.
    fn peek_lines(&self) -> Option<(Priority, Slot)> {
        let ((user, submission), line) = self.lines.first_key_value()?;
        let (node, slot) = line.first()?;
        Some((Priority { user: *user, submission: *submission, node, depth: Reverse(0) }, slot))
    }
}

impl Line {
    fn first(&self) -> Option<(u32, Slot)> {
        match (self.in_turn.front(), self.out_of_turn.peek()) {
            (Some(run), Some(Reverse(b))) => Some(run.first().min(*b)),
            (run, b) => run.map(|run| run.first()).or(b.map(|b| b.0)),
        }
    }

    fn pop(&mut self) -> Option<(u32, Slot)> {
        match (self.in_turn.front_mut(), self.out_of_turn.peek()) {
            (Some(run), Some(Reverse(b))) if *b < run.first() => self.out_of_turn.pop().map(|b| b.0),
            (Some(run), _) => {
                let first = run.first();
                if run.n == 1 {
                    self.in_turn.pop_front();
                } else {
                    *run = Run { node: run.node + 1, slot: run.slot.after(1), n: run.n - 1 };
                }
                Some(first)
            }
            (None, _) => self.out_of_turn.pop().map(|b| b.0),
        }
    }

    fn is_empty(&self) -> bool {
        self.in_turn.is_empty() && self.out_of_turn.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::{ClientId, TaskId},
        scheduler::tasks::Tasks,
    };

    fn priority(node: u32) -> Priority {
        Priority { node, ..Priority::default() }
    }

    #[test]
    fn what_comes_in_turn_out_of_turn_and_twice_goes_in_order() {
        let mut tasks = Tasks::default();
        let slots: Vec<Slot> = (0..1_000).map(|i| tasks.insert(TaskId::new(ClientId(0), i), 0)).collect();
        let (mut queue, mut all) = (Queue::default(), Vec::<(Priority, Slot)>::new());
        let mut state = 7_u32;
        let mut random = |n: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % n
        };
        for _ in 0..2_000 {
            let (from, n) = (random(1_000), random(20));
            if random(3) == 0 {
                for _ in 0..n {
                    all.sort_unstable_by(|a, b| b.cmp(a));
                    let next = all.pop();
                    assert_eq!((queue.peek(), queue.pop()), (next, next));
                }
            } else {
                for node in from..(from + n).min(1_000) {
                    // Slots mostly follow each other as nodes do.
                    let slot = slots[if random(10) == 0 { random(1_000) } else { node } as usize];
                    queue.push(priority(node), slot);
                    all.push((priority(node), slot));
                }
            }
            assert_eq!(queue.len(), all.len());
        }
        let mut entries: Vec<_> = queue.entries().collect();
        entries.sort_unstable();
        all.sort_unstable();
        assert_eq!(entries, all);
        assert_eq!(queue.drain(), all);
    }

    #[test]
    fn tasks_that_follow_each_other_are_one_entry() {
        let mut tasks = Tasks::default();
        let mut queue = Queue::default();
        for node in 0..1_000 {
            let slot = tasks.insert(TaskId::new(ClientId(0), node.into()), 0);
            queue.push(priority(node), slot);
        }
        assert_eq!(queue.lines[&(0, 0)].in_turn.len(), 1);
        assert_eq!(queue.len(), 1_000);
    }
}
