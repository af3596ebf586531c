//! Hard shapes, most of them dask's (`test_order.py`): how many results are alive at a time, and how long that takes.

use std::collections::BTreeSet;

use super::*;

#[derive(Default)]
struct Shape {
    inputs: Vec<Vec<u32>>,
    outputs: Vec<u32>,
}

impl Shape {
    fn node(&mut self, inputs: &[u32]) -> u32 {
        self.inputs.push(inputs.to_vec());
        self.inputs.len() as u32 - 1
    }

    fn nodes(&mut self, n: usize) -> Vec<u32> {
        (0..n).map(|_| self.node(&[])).collect()
    }

    /// Each taken by a node of its own.
    fn map(&mut self, over: &[u32]) -> Vec<u32> {
        over.iter().map(|input| self.node(&[*input])).collect()
    }

    fn tree(&mut self, mut leaves: Vec<u32>, fan_in: usize) -> u32 {
        while leaves.len() > 1 {
            leaves = leaves.chunks(fan_in).map(|part| self.node(part)).collect();
        }
        leaves[0]
    }

    fn edges(&self) -> Edges {
        let mut edges = Edges { ends: vec![], inputs: vec![] };
        for inputs in &self.inputs {
            edges.inputs.extend(inputs);
            edges.ends.push(edges.inputs.len() as u32);
        }
        edges
    }

    fn order(&self) -> Vec<u32> {
        let order = order(self.edges(), &self.outputs);
        let n_edges: usize = self.inputs.iter().map(Vec::len).sum();
        let size = (self.inputs.len() + n_edges) as u64;
        assert!(order.n_steps <= 12 * size, "{} steps for {size} nodes and edges", order.n_steps);
        let mut done = BTreeSet::new();
        for node in &order.nodes {
            assert!(
                self.inputs[*node as usize].iter().all(|input| done.contains(input)),
                "{node} runs before its inputs"
            );
            assert!(done.insert(*node), "{node} runs twice");
        }
        assert_eq!(done.len(), self.inputs.len(), "all run");
        order.nodes
    }

    /// Depth first, inputs as written: what there is to be better than.
    fn depth_first(&self) -> Vec<u32> {
        let (mut nodes, mut done) = (Vec::new(), BTreeSet::new());
        for output in &self.outputs {
            let mut stack = vec![(*output, false)];
            while let Some((node, is_ready)) = stack.pop() {
                if done.contains(&node) {
                } else if is_ready {
                    done.insert(node);
                    nodes.push(node);
                } else {
                    stack.push((node, true));
                    stack.extend(self.inputs[node as usize].iter().rev().map(|input| (*input, false)));
                }
            }
        }
        nodes
    }

    /// How many results are alive at most where `n_threads` take the first that can run, each for one unit of time.
    fn peak(&self, order: &[u32], n_threads: usize) -> usize {
        let n_nodes = self.inputs.len();
        let mut place = vec![0; n_nodes];
        order.iter().enumerate().for_each(|(at, node)| place[*node as usize] = at);
        let (mut missing, mut uses) = (vec![0; n_nodes], vec![0; n_nodes]);
        let mut dependents = vec![vec![]; n_nodes];
        for (node, inputs) in self.inputs.iter().enumerate() {
            missing[node] = inputs.len();
            for input in inputs {
                uses[*input as usize] += 1;
                dependents[*input as usize].push(node);
            }
        }
        self.outputs.iter().for_each(|output| uses[*output as usize] += 1);
        let mut ready: BTreeSet<(usize, usize)> =
            (0..n_nodes).filter(|n| missing[*n] == 0).map(|n| (place[n], n)).collect();
        let (mut alive, mut peak) = (0, 0);
        while !ready.is_empty() {
            let running: Vec<usize> = (0..n_threads).map_while(|_| ready.pop_first()).map(|(_, node)| node).collect();
            alive += running.len();
            peak = peak.max(alive);
            for node in running {
                for input in &self.inputs[node] {
                    uses[*input as usize] -= 1;
                    alive -= usize::from(uses[*input as usize] == 0);
                }
                for dependent in &dependents[node] {
                    missing[*dependent] -= 1;
                    if missing[*dependent] == 0 {
                        ready.insert((place[*dependent], *dependent));
                    }
                }
            }
        }
        peak
    }

    /// Peaks with one and with four threads, and with one in plain depth-first order.
    fn peaks(&self) -> (usize, usize, usize) {
        let order = self.order();
        (self.peak(&order, 1), self.peak(&order, 4), self.peak(&self.depth_first(), 1))
    }
}

/// Holds peaks against what they may be; threads run some leaves ahead.
fn within(shape: &Shape, one: usize, four: usize) {
    let (found_one, found_four, plain) = shape.peaks();
    assert!(found_one <= one, "{found_one} alive with one thread, expected at most {one} (depth first: {plain})");
    assert!(found_four <= four, "{found_four} alive with four threads, expected at most {four}");
    assert!(found_one <= plain + plain / 2, "{found_one} alive, depth first as written has {plain}");
}

#[test]
fn a_tree_holds_one_result_a_level() {
    for (n, fan_in, one) in [(1024, 2, 11), (256, 4, 13), (1000, 10, 29)] {
        let mut shape = Shape::default();
        let leaves = shape.nodes(n);
        let root = shape.tree(leaves, fan_in);
        shape.outputs = vec![root];
        within(&shape, one + 1, 2 * one + 8);
    }
}

#[test]
fn of_two_inputs_the_harder_one_comes_first() {
    // Each level: a leaf as first input, everything else as second. As written, every leaf waits for the whole rest.
    let mut shape = Shape::default();
    let mut rest = shape.node(&[]);
    for _ in 0..100 {
        let leaf = shape.node(&[]);
        rest = shape.node(&[leaf, rest]);
    }
    shape.outputs = vec![rest];
    within(&shape, 3, 102); // idle threads make leaves, which nothing forbids
    assert_eq!(shape.peaks().2, 102);
}

#[test]
fn several_reductions_of_one_array_share_each_chunk_while_it_is_there() {
    // sum(x), sum(x * x) and max(x), and a number made of the first two.
    let mut shape = Shape::default();
    let chunks = shape.nodes(256);
    let sums = shape.map(&chunks);
    let squares = shape.map(&chunks);
    let of_squares = shape.map(&squares);
    let maxima = shape.map(&chunks);
    let trees = [sums, of_squares, maxima].map(|leaves| shape.tree(leaves, 4));
    let variance = shape.node(&trees[..2]);
    shape.outputs = vec![trees[2], variance];
    within(&shape, 3 * 13 + 3, 3 * 13 + 20);
    assert!(shape.peaks().2 > 256);
}

#[test]
fn anomalies_hold_the_array_and_little_else() {
    // x - mean(x), by chunk, summed up.
    let mut shape = Shape::default();
    let chunks = shape.nodes(64);
    let means = shape.map(&chunks);
    let mean = shape.tree(means, 4);
    let anomalies: Vec<u32> = chunks.iter().map(|chunk| shape.node(&[*chunk, mean])).collect();
    let total = shape.tree(anomalies, 4);
    shape.outputs = vec![total];
    within(&shape, 64 + 12, 64 + 16);
}

#[test]
fn groups_that_are_alone_do_not_wait_for_each_other() {
    // x minus the mean of its group, each group summed up: no more than one group is alive.
    let mut shape = Shape::default();
    let mut totals = Vec::new();
    for _ in 0..50 {
        let chunks = shape.nodes(10);
        let mean = shape.node(&chunks);
        let anomalies: Vec<u32> = chunks.iter().map(|chunk| shape.node(&[*chunk, mean])).collect();
        totals.push(shape.node(&anomalies));
    }
    let total = shape.tree(totals, 4);
    shape.outputs = vec![total];
    within(&shape, 10 + 2 + 10, 4 * 12);
}

#[test]
fn a_group_over_the_whole_array_gives_back_its_chunks_when_its_mean_is_there() {
    // Chunks of one group lie far from each other, and the reduction after it goes through time.
    let mut shape = Shape::default();
    let chunks = shape.nodes(120);
    let means: Vec<u32> =
        (0..12).map(|g| shape.node(&(0..10).map(|i| chunks[12 * i + g]).collect::<Vec<_>>())).collect();
    let anomalies: Vec<u32> = (0..120).map(|i| shape.node(&[chunks[i], means[i % 12]])).collect();
    let parts = shape.map(&anomalies);
    let total = shape.tree(parts, 4);
    shape.outputs = vec![total];
    within(&shape, 132, 136);
}

#[test]
fn overlaps_hold_a_window() {
    let mut shape = Shape::default();
    let chunks = shape.nodes(200);
    let windows: Vec<u32> = chunks.windows(3).map(|window| shape.node(window)).collect();
    let total = shape.tree(windows, 4);
    shape.outputs = vec![total];
    within(&shape, 18, 30);
    // In two dimensions, with the slices that are cut from the neighbours: a few rows.
    let n = 16;
    let mut shape = Shape::default();
    let chunks = shape.nodes(n * n);
    let mut sums = Vec::new();
    for (row, column) in (0..n).flat_map(|row| (0..n).map(move |column| (row, column))) {
        let mut inputs = vec![chunks[row * n + column]];
        for (r, c) in
            [(row.wrapping_sub(1), column), (row + 1, column), (row, column.wrapping_sub(1)), (row, column + 1)]
        {
            if r < n && c < n {
                inputs.push(shape.node(&[chunks[r * n + c]]));
            }
        }
        sums.push(shape.node(&inputs));
    }
    let total = shape.tree(sums, 4);
    shape.outputs = vec![total];
    within(&shape, 4 * n, 5 * n);
}

#[test]
fn chains_run_down_to_their_reducer() {
    let mut shape = Shape::default();
    let mut ends = shape.nodes(100);
    for _ in 0..5 {
        ends = shape.map(&ends);
    }
    let total = shape.node(&ends);
    shape.outputs = vec![total];
    within(&shape, 101, 105);
}

#[test]
fn diamonds_in_a_row_hold_three_results() {
    let mut shape = Shape::default();
    let mut last = shape.node(&[]);
    for _ in 0..1000 {
        let sides = [shape.node(&[last]), shape.node(&[last])];
        last = shape.node(&sides);
    }
    shape.outputs = vec![last];
    within(&shape, 3, 3);
}

#[test]
fn all_to_all_holds_the_array_once() {
    let n = 16;
    let mut shape = Shape::default();
    let chunks = shape.nodes(n);
    let pieces: Vec<Vec<u32>> = chunks.iter().map(|chunk| (0..n).map(|_| shape.node(&[*chunk])).collect()).collect();
    let merged: Vec<u32> = (0..n).map(|j| shape.node(&pieces.iter().map(|row| row[j]).collect::<Vec<_>>())).collect();
    let sums = shape.map(&merged);
    let total = shape.tree(sums, 4);
    shape.outputs = vec![total];
    within(&shape, 2 * n + 6, 2 * n + 12);
}

#[test]
fn differences_of_two_arrays_hold_two_rows() {
    // a[1:, 1:] - b[:-1, :-1], each block of it from up to four neighbours.
    let n = 12;
    let mut shape = Shape::default();
    let (a, b) = (shape.nodes(n * n), shape.nodes(n * n));
    let mut parts = Vec::new();
    for (row, column) in (0..n - 1).flat_map(|row| (0..n - 1).map(move |column| (row, column))) {
        let around = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(i, j)| (row + i) * n + column + j);
        let pair = [&a, &b].map(|array| {
            let cut: Vec<u32> = around.iter().map(|place| shape.node(&[array[*place]])).collect();
            shape.node(&cut)
        });
        parts.push(shape.node(&pair));
    }
    let total = shape.tree(parts, 4);
    shape.outputs = vec![total];
    within(&shape, 6 * n, 7 * n);
}

#[test]
fn outputs_run_in_the_order_they_are_asked_for() {
    let mut shape = Shape::default();
    let chunks = shape.nodes(20);
    let chains = shape.map(&chunks);
    shape.outputs = chains.iter().rev().copied().collect();
    let order = shape.order();
    assert_eq!(order[..4], [19, 39, 18, 38]);
    within(&shape, 21, 24);
}

#[test]
fn steps_grow_with_the_graph_and_not_faster() {
    // `Shape::order` counts them. Flat reducers, one root for all, and everything from everything.
    for n in [1_000, 100_000] {
        let mut shape = Shape::default();
        let root = shape.node(&[]);
        let leaves: Vec<u32> = (0..n).map(|_| shape.node(&[root])).collect();
        let total = shape.node(&leaves);
        shape.outputs = vec![total];
        within(&shape, n + 2, n + 2);
    }
    let mut shape = Shape::default();
    let mut layer = shape.nodes(300);
    for _ in 0..3 {
        layer = (0..300).map(|_| shape.node(&layer)).collect();
    }
    shape.outputs = layer;
    within(&shape, 601, 604);
}

#[test]
fn any_graph_is_put_in_an_order_in_which_it_can_run() {
    let mut chance = 7_u64;
    let mut below = |n: u64| {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) % n
    };
    let (mut ours, mut plain) = (0, 0);
    for _ in 0..300 {
        let mut shape = Shape::default();
        let n_nodes = 1 + below(60);
        let near = 1 + below(20);
        for node in 0..n_nodes {
            let from = node.saturating_sub(near);
            let inputs: BTreeSet<u32> = (0..below(4))
                .filter(|_| node > 0)
                .map(|_| (from + below(node - from + 1).min(node - 1 - from)) as u32)
                .collect();
            shape.node(&inputs.into_iter().collect::<Vec<_>>());
        }
        let taken: BTreeSet<u32> = shape.inputs.iter().flatten().copied().collect();
        shape.outputs = (0..n_nodes as u32).filter(|node| !taken.contains(node)).collect();
        let (one, _, depth_first) = shape.peaks();
        ours += one;
        plain += depth_first;
    }
    assert!(ours < plain, "{ours} alive in all, {plain} in plain depth-first order");
}
