//! The graphs that schedulers are compared by, as shapes: which task needs which, how long a body takes, what it emits.
//!
//! From J. Beranek's thesis and RSDS's `scripts/usecases.py`: numbers of tasks (#T) and edges (#I), mean duration (AD)
//! and mean output (S) of dask's own graphs of these computations. Bodies spin for AD and emit S bytes, so a run
//! measures the runtime and not the numerics. Knows nothing of how a shape is run.

use std::time::Duration;

/// A graph of tasks with one kind of body. Task `i` needs the results of `inputs[i]`, all of them before `i`; the last
/// task is the result.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shape {
    pub(super) name: String,
    pub(super) inputs: Vec<Vec<u32>>,
    /// How long a body spins.
    pub(super) spin: Duration,
    /// What a body emits.
    pub(super) n_bytes: u64,
}

impl Shape {
    fn new(name: String, spin: Duration, n_kib: f64) -> Self {
        Self { name, inputs: Vec::new(), spin, n_bytes: (n_kib * 1024.) as u64 }
    }

    pub(super) fn n_tasks(&self) -> usize {
        self.inputs.len()
    }

    pub(super) fn n_edges(&self) -> usize {
        self.inputs.iter().map(Vec::len).sum()
    }

    /// Seconds that the bodies take on `n_threads` at best.
    pub(super) fn ideal(&self, n_threads: usize) -> f64 {
        self.spin.as_secs_f64() * self.n_tasks() as f64 / n_threads as f64
    }

    /// The same graph with bodies and outputs `divisor` times smaller, which its name says.
    pub(super) fn smaller(mut self, divisor: u32) -> Self {
        if divisor > 1 {
            self.spin /= divisor;
            self.n_bytes /= u64::from(divisor);
            self.name = format!("{} bodies/{divisor}", self.name);
        }
        self
    }

    fn push(&mut self, inputs: Vec<u32>) -> u32 {
        self.inputs.push(inputs);
        (self.inputs.len() - 1) as u32
    }

    /// Combines `parts` by groups of `arity` until one is left. dask fuses the combination of a single part into the
    /// task before it where `fuse` says so.
    fn reduce(&mut self, mut parts: Vec<u32>, arity: usize, fuse: bool) -> u32 {
        while parts.len() > 1 {
            parts = parts
                .chunks(arity)
                .map(|group| match group {
                    [single] if fuse => *single,
                    group => self.push(group.to_vec()),
                })
                .collect();
        }
        parts[0]
    }
}

/// `merge-n`: n tasks, and one that takes them all.
pub(super) fn merge(n: usize) -> Shape {
    let mut shape = Shape::new(format!("merge-{}K", n / 1000), Duration::from_micros(6), 0.027);
    let leaves = (0..n).map(|_| shape.push(Vec::new())).collect();
    shape.push(leaves);
    shape
}

/// `tree-e`: pairwise additions over 2^e literals, 2^e - 1 tasks.
pub(super) fn tree(e: u32) -> Shape {
    let mut shape = Shape::new(format!("tree-{e}"), Duration::from_micros(7), 0.027);
    let mut level: Vec<u32> = (0..1_usize << (e - 1)).map(|_| shape.push(Vec::new())).collect();
    while level.len() > 1 {
        level = level.chunks(2).map(|pair| shape.push(pair.to_vec())).collect();
    }
    shape
}

/// `bag-25K-p`: p partitions filtered, their product with themselves (p^2), and a sum by groups of 8.
pub(super) fn bag(p: usize) -> Shape {
    let (spin_ms, n_kib) = match p {
        10 => (1233., 292.),
        50 => (54.9, 12.6),
        100 => (13.9, 3.2),
        _ => (3.6, 0.8),
    };
    let mut shape = Shape::new(format!("bag-25K-{p}"), milliseconds(spin_ms), n_kib);
    let filtered: Vec<u32> = (0..p)
        .map(|_| {
            let source = shape.push(Vec::new());
            shape.push(vec![source])
        })
        .collect();
    let mut sums = Vec::new();
    for (i, a) in filtered.iter().enumerate() {
        for (j, b) in filtered.iter().enumerate() {
            let product = shape.push(if i == j { vec![*a] } else { vec![*a, *b] });
            sums.push(shape.push(vec![product]));
        }
    }
    shape.reduce(sums, 8, true);
    shape
}

/// `numpy-50K-p`: `x = random((n, n))` in p by p blocks, `y = x + x.T`, `y[::2, n/2:].mean(axis=1).sum()`.
pub(super) fn numpy(p: usize) -> Shape {
    let (spin_ms, n_kib) = match p {
        10 => (169., 70_108.),
        50 => (8.3, 2_999.),
        100 => (2.6, 760.),
        _ => (0.9, 191.),
    };
    let mut shape = Shape::new(format!("numpy-50K-{p}"), milliseconds(spin_ms), n_kib);
    let half = p / 2;
    // Blocks above the half in both directions are asked for by nobody.
    let mut x = vec![None; p * p];
    let mut means = Vec::new();
    for i in 0..p {
        let mut row = Vec::new();
        for j in half..p {
            let mut block = |place: usize| *x[place].get_or_insert_with(|| shape.push(Vec::new()));
            let mut inputs = vec![block(i * p + j)];
            if i != j {
                inputs.push(block(j * p + i));
            }
            let sum = shape.push(inputs);
            row.push(shape.push(vec![sum]));
        }
        means.push(shape.reduce(row, 4, false));
    }
    shape.reduce(means, 4, true);
    shape
}

/// `xarray-c`: a year of air temperature in blocks of c by c places: the anomaly of the weekly mean, summed. Its 53
/// weeks are sliced out of each block, averaged, and subtracted.
pub(super) fn xarray(c: usize) -> Shape {
    const N_WEEKS: usize = 53;
    let (n_blocks, spin_ms, n_kib) = if c == 25 { (3, 3.1, 55.7) } else { (55, 0.4, 3.3) };
    let mut shape = Shape::new(format!("xarray-{c}"), milliseconds(spin_ms), n_kib);
    let mut sums = Vec::new();
    for _ in 0..n_blocks {
        let block = shape.push(Vec::new());
        let mut anomalies = Vec::new();
        for _ in 0..N_WEEKS {
            let week = shape.push(vec![block]);
            let mean = shape.push(vec![week]);
            anomalies.push(shape.push(vec![week, mean]));
        }
        let joined = shape.push(anomalies);
        sums.push(shape.push(vec![joined]));
    }
    shape.reduce(sums, 4, true);
    shape
}

fn milliseconds(ms: f64) -> Duration {
    Duration::from_nanos((ms * 1e6) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shapes_have_the_tasks_and_edges_of_the_published_graphs() {
        let published = [
            (merge(100_000), 100_001, 100_000),
            (tree(15), 32_767, 32_766),
            (bag(10), 236, 415),
            (bag(50), 5_458, 10_357),
            (bag(100), 21_631, 41_430),
            (bag(200), 86_116, 165_715),
            (numpy(10), 209, 228),
            (numpy(50), 4_892, 5_491),
            (numpy(100), 19_334, 21_783),
            (numpy(200), 77_067, 86_966),
        ];
        for (shape, n_tasks, n_edges) in published {
            assert_eq!((shape.n_tasks(), shape.n_edges()), (n_tasks, n_edges), "{}", shape.name);
        }
        // Published: 552 tasks and 862 edges, 9,258 and 14,976; xarray's own version decides the rest.
        assert_eq!((xarray(25).n_tasks(), xarray(5).n_tasks()), (487, 8_929));
    }

    #[test]
    fn inputs_come_before_who_needs_them_and_all_lead_to_the_last() {
        for shape in [merge(10), tree(4), bag(10), numpy(10), xarray(25)] {
            let mut needed = vec![false; shape.n_tasks()];
            for (task, inputs) in shape.inputs.iter().enumerate() {
                assert!(inputs.iter().all(|input| (*input as usize) < task), "{} task {task}", shape.name);
                inputs.iter().for_each(|input| needed[*input as usize] = true);
            }
            assert_eq!(needed.iter().filter(|needed| !**needed).count(), 1, "{}", shape.name);
            assert!(!needed[shape.n_tasks() - 1]);
        }
    }

    #[test]
    fn a_smaller_shape_says_so() {
        let shape = bag(100).smaller(100);
        assert_eq!((shape.name.as_str(), shape.spin), ("bag-25K-100 bodies/100", Duration::from_micros(139)));
        assert!((shape.ideal(2) - 1.5033545).abs() < 1e-6);
    }
}
