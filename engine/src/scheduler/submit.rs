//! How a graph becomes tasks: checked first, then written into the table, then demanded.
//!
//! The graph itself is kept as it came for as long as any of its tasks is; it is the recipe of them all.

use std::sync::Arc;

use super::{Command, Scheduler, demand::Need, tasks::Slot};
use crate::{
    event::{Kind, Record},
    graph::{ArgumentCode, Graph},
    id::{ClientId, TaskId},
    message::{Priority, ToClient},
    task::TaskError,
};

/// All submissions that still have tasks in the table.
#[derive(Debug, Default)]
pub(super) struct Submissions {
    slab: Vec<Option<Submission>>,
    free: Vec<u32>,
    /// How many there ever were: later ones run later.
    n_ever: u32,
}

#[derive(Debug)]
pub(super) struct Submission {
    pub(super) graph: Graph,
    pub(super) client: ClientId,
    /// The sequence number of node 0.
    pub(super) first: u64,
    /// Its place among all submissions.
    pub(super) number: u32,
    /// From the client's function numbers to the scheduler's.
    functions: Arc<[u32]>,
    /// What its classes of options need of a worker; empty where none needs anything.
    pub(super) needs: Vec<Option<Arc<Need>>>,
    /// How many of its tasks are in the table.
    pub(super) n_tasks: u32,
    /// The task that submitted it, and that task's priority; none for what users submit.
    pub(super) parent: Option<(TaskId, Priority)>,
}

impl Submission {
    /// From the client's function numbers to the scheduler's.
    pub(super) fn functions(&self) -> &[u32] {
        &self.functions
    }

    /// The task that a node is.
    pub(super) const fn task(&self, node: u32) -> TaskId {
        TaskId::new(self.client, self.first + node as u64)
    }
}

impl Submissions {
    pub(super) fn insert(
        &mut self,
        client: ClientId,
        first: u64,
        graph: Graph,
        functions: Arc<[u32]>,
        parent: Option<(TaskId, Priority)>,
    ) -> u32 {
        let number = self.n_ever;
        self.n_ever = self.n_ever.wrapping_add(1);
        let needs = Need::of_classes(&graph);
        let submission = Some(Submission { graph, client, first, number, functions, needs, n_tasks: 0, parent });
        match self.free.pop() {
            Some(place) => {
                self.slab[place as usize] = submission;
                place
            }
            None => {
                self.slab.push(submission);
                (self.slab.len() - 1) as u32
            }
        }
    }

    pub(super) fn get(&self, place: u32) -> Option<&Submission> {
        self.slab.get(place as usize)?.as_ref()
    }

    pub(super) fn gained_task(&mut self, place: u32) {
        if let Some(Some(submission)) = self.slab.get_mut(place as usize) {
            submission.n_tasks += 1;
        }
    }

    /// Throws a submission away with its last task.
    pub(super) fn lost_task(&mut self, place: u32) {
        if let Some(entry) = self.slab.get_mut(place as usize)
            && let Some(submission) = entry
        {
            submission.n_tasks -= 1;
            if submission.n_tasks == 0 {
                *entry = None;
                self.free.push(place);
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Submission)> {
        (0..).zip(&self.slab).filter_map(|(place, entry)| Some((place, entry.as_ref()?)))
    }
}

impl Scheduler {
    pub(super) fn submit(
        &mut self,
        client: ClientId,
        first: u64,
        graph: Graph,
        wanted: &[u32],
        parent: Option<TaskId>,
        out: &mut Vec<Command>,
    ) {
        if let Err(message) = self.check_submission(client, first, &graph, wanted) {
            for node in wanted {
                let task = TaskId::new(client, first.saturating_add(u64::from(*node)));
                let error = TaskError::Malformed { message: message.clone() };
                out.push(Command::ToClient { client, message: ToClient::Failed { task, error } });
            }
            return;
        }
        let Some(state) = self.clients.get_mut(&client) else { return };
        let n_nodes = graph.len() as u32;
        state.next = first + u64::from(n_nodes);
        let functions = Arc::clone(&state.functions);
        self.note_crossing(client, &graph);
        if n_nodes == 0 {
            return;
        }
        let (first_task, n_tasks) = (TaskId::new(client, first), u64::from(n_nodes));
        self.note(Record::Tasks, |_| Kind::Submitted { first: first_task, n_tasks });
        // A parent that is forgotten needs nothing any more; its work runs as any.
        let parent = parent.and_then(|task| Some((task, self.priority(self.tasks.find(task)?))));
        let cancelled = self.what_stands_on_withdrawn(client, &graph);
        let place = self.submissions.insert(client, first, graph, functions, parent);
        let slots: Vec<Slot> = (0..n_nodes).map(|node| self.write_task(place, node)).collect();
        self.note_actors(place);
        self.note_gang(place);
        for node in wanted {
            self.tasks.wanted[slots[*node as usize]] += 1;
        }
        // From the last node back, every task that nothing leads to a wanted one from is known by its missing
        // dependents; clients do not send such, but who does must not leave them here for ever.
        for slot in slots.iter().rev() {
            self.forget_if_done(*slot);
        }
        for node in wanted {
            self.activate(slots[*node as usize], out);
        }
        for node in cancelled {
            self.fail(slots[node as usize], Arc::new(TaskError::Cancelled), out);
        }
    }

    /// The priority of a task.
    pub(super) fn priority(&self, slot: Slot) -> Priority {
        let Some((submission, node)) = self.recipe(slot) else { return Priority::default() };
        let options = submission.graph.options_of(node);
        match submission.parent {
            Some((_, parent)) => parent.inside(options),
            None => Priority::new(options, submission.number, node),
        }
    }

    /// The function that a task calls, by the scheduler's number.
    pub(super) fn function(&self, slot: Slot) -> u32 {
        let Some((submission, node)) = self.recipe(slot) else { return u32::MAX };
        submission.functions[submission.graph.functions[node as usize].0 as usize]
    }

    /// The submission of a task and its node there.
    pub(super) fn recipe(&self, slot: Slot) -> Option<(&Submission, u32)> {
        let submission = self.submissions.get(self.tasks.submission[slot])?;
        let node = (self.tasks.id(slot).sequence() - submission.first) as u32;
        Some((submission, node))
    }

    pub(super) fn check_submission(
        &self,
        client: ClientId,
        first: u64,
        graph: &Graph,
        wanted: &[u32],
    ) -> Result<(), String> {
        graph.check()?;
        let Some(state) = self.clients.get(&client) else { return Err("the client is not connected".into()) };
        let n_nodes = graph.len() as u64;
        if first < state.next {
            return Err(format!("its tasks count from {first}, but {} is the client's next", state.next));
        }
        if first + n_nodes > TaskId::MAX_SEQUENCE {
            return Err(format!("a client can submit {} tasks in all", TaskId::MAX_SEQUENCE));
        }
        if let Some(function) = graph.functions.iter().find(|f| f.0 as usize >= state.functions.len()) {
            return Err(format!("it calls {function} of a table of {}", state.functions.len()));
        }
        let mut seen = wanted.to_vec();
        seen.sort_unstable();
        if seen.windows(2).any(|pair| pair[0] == pair[1]) || seen.last().is_some_and(|last| u64::from(*last) >= n_nodes)
        {
            return Err("the wanted nodes are not nodes of the graph, each once".into());
        }
        if let Some(members) = graph.gang()?
            && let Some(node) = members.iter().find(|node| !wanted.contains(node))
        {
            return Err(format!("node {node} is a member of a gang, and nobody wants its result"));
        }
        for code in &graph.arguments {
            if let ArgumentCode::Task(task) = code
                && !self.may_take(client, *task)
            {
                return Err(format!("it needs {task}, which this client does not hold"));
            }
        }
        Ok(())
    }

    /// Whether a client may build on a task: its own, or one that it shares, or did before it took it back.
    fn may_take(&self, client: ClientId, task: TaskId) -> bool {
        let shares = |slot| task.client() == client || self.shares(client, slot);
        self.tasks.find(task).is_some_and(shares) || self.has_withdrawn(client, task)
    }

    /// Writes a node of a submission into the table, with its edges.
    pub(super) fn write_task(&mut self, place: u32, node: u32) -> Slot {
        self.submissions.gained_task(place);
        let submission = self.submissions.get(place).expect("the submission was just inserted");
        let mut inputs: Vec<Slot> = submission
            .graph
            .arguments_of(node)
            .iter()
            .filter_map(|code| match code {
                ArgumentCode::Node(earlier) => self.tasks.find(submission.task(*earlier)),
                ArgumentCode::Task(task) => self.tasks.find(*task),
                ArgumentCode::Constant(_) | ArgumentCode::List(_) => None,
            })
            .collect();
        inputs.sort_unstable();
        inputs.dedup();
        let slot = self.tasks.insert(submission.task(node), place);
        for input in inputs {
            self.tasks.connect(input, slot);
        }
        slot
    }
}
