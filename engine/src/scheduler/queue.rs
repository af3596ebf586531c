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
    in_turn: VecDeque<(u32, Slot)>,
    out_of_turn: BinaryHeap<Reverse<(u32, Slot)>>,
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
        match line.in_turn.back() {
            Some((last, _)) if *last > priority.node => line.out_of_turn.push(Reverse((priority.node, slot))),
            _ => line.in_turn.push_back((priority.node, slot)),
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
                line.in_turn.iter().copied().chain(out_of_turn).map(|(node, slot)| {
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
            (Some(a), Some(Reverse(b))) => Some(*a.min(b)),
            (a, b) => a.copied().or(b.map(|b| b.0)),
        }
    }

    fn pop(&mut self) -> Option<(u32, Slot)> {
        match (self.in_turn.front(), self.out_of_turn.peek()) {
            (Some(a), Some(Reverse(b))) if b < a => self.out_of_turn.pop().map(|b| b.0),
            (Some(_), _) => self.in_turn.pop_front(),
            (None, _) => self.out_of_turn.pop().map(|b| b.0),
        }
    }

    fn is_empty(&self) -> bool {
        self.in_turn.is_empty() && self.out_of_turn.is_empty()
    }
}
