//! In which order the nodes of a graph run so that few results are alive at a time.
//!
//! Depth first, and of a node's inputs the one first whose making needs most results alive: what comes later then
//! waits beside few (Sethi and Ullman's rule for expressions). Graphs are no trees, so beside that a result that only
//! one node still takes is given to it as soon as it can run, and one that few take to all of them when the last of
//! them can, which frees it: a chunk that several reductions take is gone before the next one is made. Every node and
//! edge is looked at a fixed number of times, without recursion.
//!
//! Knows nothing of what nodes are.

/// Nodes that are run at most to free one result when they can: theirs, mostly smaller, take its place.
const LAST_USES: u32 = 4;
/// Up to so many inputs are sorted by comparing them.
const FEW: usize = 32;

/// The nodes of a graph in the order to run them.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) nodes: Vec<u32>,
    /// How often a node or an edge was looked at.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests hold it against the size of the graph"))]
    pub(super) n_steps: u64,
}

/// Who needs whom: node `i` needs `inputs[ends[i-1]..ends[i]]`, each once.
#[derive(Debug)]
pub(super) struct Edges {
    pub(super) ends: Vec<u32>,
    pub(super) inputs: Vec<u32>,
}

impl Edges {
    fn of(&self, node: u32) -> std::ops::Range<usize> {
        let node = node as usize;
        let start = if node == 0 { 0 } else { self.ends[node - 1] };
        start as usize..self.ends[node] as usize
    }

    /// The same edges from the other side.
    fn turned(&self) -> Self {
        let n_nodes = self.ends.len();
        let mut ends = vec![0_u32; n_nodes];
        for input in &self.inputs {
            ends[*input as usize] += 1;
        }
        let mut sum = 0;
        for end in &mut ends {
            // For now where each begins; writing moves it to where it ends.
            sum += std::mem::replace(end, sum);
        }
        let mut dependents = vec![0; self.inputs.len()];
        for node in 0..n_nodes as u32 {
            for input in &self.inputs[self.of(node)] {
                let place = &mut ends[*input as usize];
                dependents[*place as usize] = node;
                *place += 1;
            }
        }
        Self { ends, inputs: dependents }
    }
}

/// Orders all nodes, which `outputs` need directly or not. Inputs are changed to the order in which they are visited.
pub(super) fn order(mut edges: Edges, outputs: &[u32]) -> Order {
    let mut n_steps = sort_inputs(&mut edges, outputs);
    let n_nodes = edges.ends.len();
    let dependents = edges.turned();
    n_steps += 2 * edges.inputs.len() as u64 + n_nodes as u64;
    let mut run = Run {
        n_missing: (0..n_nodes as u32).map(|node| edges.of(node).len() as u32).collect(),
        n_uses: (0..n_nodes as u32).map(|node| dependents.of(node).len() as u32).collect(),
        n_blocked: Vec::new(),
        is_done: vec![false; n_nodes],
        is_kept: vec![false; n_nodes],
        edges,
        dependents,
        eager: Vec::new(),
        nodes: Vec::with_capacity(n_nodes),
        n_steps,
    };
    run.n_blocked.clone_from(&run.n_uses);
    for output in outputs {
        run.is_kept[*output as usize] = true;
    }
    let mut stack: Vec<(u32, u32)> = Vec::new();
    for output in outputs {
        stack.push((*output, 0));
        while let Some((node, next)) = stack.pop() {
            run.n_steps += 1;
            if run.is_done[node as usize] {
                continue;
            }
            match run.edges.inputs[run.edges.of(node)].get(next as usize) {
                Some(input) => {
                    let input = *input;
                    stack.push((node, next + 1));
                    if !run.is_done[input as usize] {
                        stack.push((input, 0));
                    }
                }
                None => run.emit_with_eager(node),
            }
        }
    }
    Order { nodes: run.nodes, n_steps: run.n_steps }
}

/// Sorts every node's inputs by how many results their making needs alive, the most first. Returns the steps it took.
fn sort_inputs(edges: &mut Edges, outputs: &[u32]) -> u64 {
    let n_nodes = edges.ends.len();
    // 0 while a node is not done. An input that another node visits first is there already when its turn comes.
    let mut needs = vec![0_u32; n_nodes];
    let mut is_seen = vec![false; n_nodes];
    let mut owned: Vec<bool> = vec![false; edges.inputs.len()];
    let mut keyed: Vec<(u32, u32)> = Vec::new();
    let mut stack: Vec<(u32, u32)> = Vec::new();
    let mut n_steps = 0;
    for output in outputs {
        if std::mem::replace(&mut is_seen[*output as usize], true) {
            continue;
        }
        stack.push((*output, 0));
        while let Some((node, next)) = stack.pop() {
            n_steps += 1;
            let range = edges.of(node);
            if let Some(input) = edges.inputs[range.clone()].get(next as usize) {
                stack.push((node, next + 1));
                if !std::mem::replace(&mut is_seen[*input as usize], true) {
                    owned[range.start + next as usize] = true;
                    stack.push((*input, 0));
                }
                continue;
            }
            n_steps += range.len() as u64;
            needs[node as usize] = match range.len() {
                0 => 1,
                // Nothing to sort; the only input's place becomes the result's.
                1 => if owned[range.start] { needs[edges.inputs[range.start] as usize] } else { 1 }.max(1),
                n_inputs => {
                    keyed.clear();
                    keyed.extend(range.clone().map(|place| {
                        let input = edges.inputs[place];
                        (if owned[place] { needs[input as usize] } else { 1 }, input)
                    }));
                    if n_inputs <= FEW {
                        keyed.sort_by_key(|(need, _)| std::cmp::Reverse(class(*need)));
                    } else {
                        sort_many(&mut keyed);
                        n_steps += range.len() as u64;
                    }
                    for ((_, input), place) in keyed.iter().zip(range) {
                        edges.inputs[place] = *input;
                    }
                    // The `i`th is made beside the results of those before it.
                    keyed.iter().zip(0..).map(|((need, _), i)| need + i).max().unwrap_or(1)
                }
            };
        }
    }
    n_steps
}

/// Needs that are told apart: neighbours stay together, which often share something, unless one needs twice as much.
const fn class(need: u32) -> u32 {
    need.ilog2()
}

/// Sorts by falling class of need, in one pass; equals stay in their order.
fn sort_many(keyed: &mut [(u32, u32)]) {
    let mut buckets: Vec<Vec<(u32, u32)>> = vec![Vec::new(); class(u32::MAX) as usize + 1];
    for entry in keyed.iter() {
        buckets[class(entry.0) as usize].push(*entry);
    }
    for (place, entry) in keyed.iter_mut().zip(buckets.iter().rev().flatten()) {
        *place = *entry;
    }
}

/// An order in the making.
struct Run {
    edges: Edges,
    dependents: Edges,
    /// Inputs that are not done.
    n_missing: Vec<u32>,
    /// Dependents that are not done.
    n_uses: Vec<u32>,
    /// Dependents that cannot run yet.
    n_blocked: Vec<u32>,
    is_done: Vec<bool>,
    /// Somebody wants the result: its last use does not free it.
    is_kept: Vec<bool>,
    /// Nodes that can run and help to free something.
    eager: Vec<u32>,
    nodes: Vec<u32>,
    n_steps: u64,
}

impl Run {
    /// A node runs, and then all that can run and helps to free something.
    fn emit_with_eager(&mut self, node: u32) {
        self.emit(node);
        while let Some(node) = self.eager.pop() {
            if !self.is_done[node as usize] {
                self.emit(node);
            }
        }
    }

    fn emit(&mut self, node: u32) {
        self.nodes.push(node);
        self.is_done[node as usize] = true;
        for place in self.edges.of(node) {
            self.n_steps += 1;
            let input = self.edges.inputs[place];
            self.n_uses[input as usize] -= 1;
            if self.n_uses[input as usize] == 1 {
                self.look_at_last_uses(input);
            }
        }
        for place in self.dependents.of(node) {
            self.n_steps += 1;
            let dependent = self.dependents.inputs[place];
            self.n_missing[dependent as usize] -= 1;
            if self.n_missing[dependent as usize] == 0 {
                self.unblock(dependent);
            }
        }
    }

    /// A node can run now.
    fn unblock(&mut self, node: u32) {
        for place in self.edges.of(node) {
            self.n_steps += 1;
            let input = self.edges.inputs[place];
            self.n_blocked[input as usize] -= 1;
            if self.n_uses[input as usize] <= LAST_USES {
                self.look_at_last_uses(input);
            }
        }
    }

    /// Where all that still take a result can run, they do, and it is freed.
    fn look_at_last_uses(&mut self, input: u32) {
        if self.n_blocked[input as usize] > 0 || self.is_kept[input as usize] {
            return;
        }
        // The first goes on last and runs first: it is what the result was made for, or its neighbour.
        for place in self.dependents.of(input).rev() {
            self.n_steps += 1;
            let dependent = self.dependents.inputs[place];
            if !self.is_done[dependent as usize] {
                self.eager.push(dependent);
            }
        }
    }
}

#[cfg(test)]
mod tests;
