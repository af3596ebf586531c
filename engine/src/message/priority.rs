//! In which order tasks run. Knows nothing of queues.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use crate::graph::TaskOptions;

/// The order in which tasks run: smaller first. Negated user priority, then submission, then depth-first place, then
/// how deep below that the task was submitted by tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Priority {
    /// The negated priority the user gave.
    pub user: i32,
    /// The submission's number at the scheduler.
    pub submission: u32,
    /// The node's place in its graph.
    pub node: u32,
    /// How many tasks wait above it: 0 for what users submit. A task that tasks submitted runs in the turn of the
    /// uppermost of them, and before it: somebody waits.
    pub depth: Reverse<u32>,
}

impl Priority {
    /// After everything else.
    pub const LAST: Self = Self { user: i32::MAX, submission: u32::MAX, node: u32::MAX, depth: Reverse(0) };

    /// The priority of a node with the user's wish in `options`.
    pub const fn new(options: &TaskOptions, submission: u32, node: u32) -> Self {
        Self { user: options.priority.saturating_neg(), submission, node, depth: Reverse(0) }
    }

    /// The priority of a task that a task of this priority submitted.
    pub const fn inside(self, options: &TaskOptions) -> Self {
        let user = self.user.saturating_sub(options.priority);
        Self { user, depth: Reverse(self.depth.0.saturating_add(1)), ..self }
    }
}
