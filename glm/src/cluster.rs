//! The shell that drives a solver over chunked arrays, and the tasks it sends to where the chunks are.
//!
//! One task a chunk evaluates all panels of the chunk and hands on their subtrees; tasks that merge neighbours bring
//! them together; the last step happens here. The same kernels, panels and tree as in memory, so the same bits.
//! Who runs the tasks is behind [`Compute`].

#![expect(clippy::ptr_arg, reason = "a task's parameter is written as the type that travels")]

use std::{future::Future, sync::Arc};

use phalanx_array::{
    Block, ChunkedArray, Chunks,
    panel::{Combine, Subtrees},
};
use phalanx_engine::{
    graph::{Collection, Delayed},
    task,
};
use phalanx_learn::{Error, Result};
use phalanx_runtime::Client;

use crate::{
    error::Error as GlmError,
    family::Family,
    fit::{NO_ROWS, checked},
    kernel::{Evaluations, Moments, Rows},
    solver::{Answer, Ask, BlockProblem, BlockSolution, Coefficients, Machine, Solution},
};

/// Neighbours that one task merges: enough to keep the tree flat, few enough to run beside the evaluations.
const FAN_IN: usize = 16;

/// Someone who runs tasks.
pub(crate) trait Compute: Sync {
    /// Runs what is described and brings the values home.
    fn compute<C: Collection<Output: Send> + Sync>(&self, work: &C) -> impl Future<Output = Result<C::Output>> + Send;

    /// Runs what is described and leaves the values where they are made.
    fn persist<C: Collection + Sync + Send>(&self, work: &C) -> impl Future<Output = Result<C>> + Send;
}

impl Compute for Client {
    async fn compute<C: Collection<Output: Send> + Sync>(&self, work: &C) -> Result<C::Output> {
        Ok(Self::compute(self, work).await?)
    }

    async fn persist<C: Collection + Sync + Send>(&self, work: &C) -> Result<C> {
        Ok(Self::persist(self, work).await?)
    }
}

/// Fits over chunks, wherever they are.
pub(crate) async fn fit_chunked(
    cluster: &impl Compute,
    mut machine: Machine,
    family: Family,
    x: &ChunkedArray,
    y: &ChunkedArray,
) -> Result<Solution> {
    let data = Chunked::of(cluster, x, y).await?;
    let mut by_block: Option<Chunked> = None;
    loop {
        let answer = match machine.ask() {
            Ask::Done(solution) => return Ok(solution),
            Ask::Moments => {
                let found: Moments = cluster.compute(&data.moments(family).ok_or(NO_ROWS)?).await?.finish();
                Answer::Moments(checked(found, family)?)
            }
            Ask::Evaluate { points } => {
                let found = cluster.compute(&data.evaluate(family, points).ok_or(NO_ROWS)?).await?;
                Answer::Evaluations(found.finish().0)
            }
            Ask::BlockSolve { blocks } => {
                // The blocks are the same in every step: their rows are brought together once.
                let rows = match by_block.take() {
                    Some(rows) => rows,
                    None => data.recut(cluster, &blocks).await?,
                };
                let solutions = cluster.compute(&rows.solve(blocks)).await?;
                by_block = Some(rows);
                Answer::Blocks(solutions)
            }
        };
        machine.tell(answer)?;
    }
}

/// X and y, cut at the same rows and computed.
struct Chunked {
    rows: Chunks,
    x: Vec<Delayed<Block>>,
    y: Vec<Delayed<Block>>,
}

impl Chunked {
    async fn of(cluster: &impl Compute, x: &ChunkedArray, y: &ChunkedArray) -> Result<Self> {
        let [rows, columns] = <[Chunks; 2]>::try_from(x.axes()).map_err(|axes| {
            Error::parameter("X", format!("an array of {} axes", axes.len()), "two: rows and columns")
        })?;
        let [n_targets] = <[usize; 1]>::try_from(y.shape()).map_err(|shape| {
            Error::parameter("y", format!("an array of {} axes", shape.len()), "one: a number a row")
        })?;
        crate::params::check_shapes((rows.len(), columns.len()), n_targets)?;
        Self::cut(cluster, x, y, rows).await
    }

    async fn cut(cluster: &impl Compute, x: &ChunkedArray, y: &ChunkedArray, rows: Chunks) -> Result<Self> {
        let columns = Chunks::single(x.shape().last().copied().unwrap_or_default());
        let x = x.rechunk_as(&[rows.clone(), columns]).map_err(Error::other)?;
        let y = y.rechunk_as(std::slice::from_ref(&rows)).map_err(Error::other)?;
        // Numbers that are here would travel with every pass; a task that hands them on leaves them on a worker.
        let there = |block: Delayed<Block>| if block.any().as_value().is_some() { keep::delayed(block) } else { block };
        let [x, y] = [x, y].map(|array| array.blocks().into_iter().map(there).collect::<Vec<_>>());
        let (x, y) = cluster.persist(&(x, y)).await?;
        Ok(Self { rows, x, y })
    }

    /// The same rows with one chunk for each of ADMM's blocks.
    async fn recut(&self, cluster: &impl Compute, blocks: &[BlockProblem]) -> Result<Self> {
        let sizes: Vec<usize> = blocks.iter().map(|block| block.rows.len()).collect();
        let rows = Chunks::from_sizes(&sizes).map_err(Error::other)?;
        let n_features = blocks.first().map_or(0, |block| block.start.len() - 1);
        let axes = vec![self.rows.clone(), Chunks::single(n_features)];
        let x = ChunkedArray::from_blocks(axes, self.x.clone()).map_err(Error::other)?;
        let y = ChunkedArray::from_blocks(vec![self.rows.clone()], self.y.clone()).map_err(Error::other)?;
        Self::cut(cluster, &x, &y, rows).await
    }

    fn chunks(&self) -> impl Iterator<Item = (&Delayed<Block>, &Delayed<Block>, usize)> {
        let panels = (0..self.rows.n_chunks()).map(|chunk| self.rows.first_panel(chunk));
        self.x.iter().zip(&self.y).zip(panels).map(|((x, y), panel)| (x, y, panel))
    }

    fn moments(&self, family: Family) -> Option<Delayed<Subtrees<Moments>>> {
        let family = Delayed::value(family);
        let parts = self.chunks().map(|(x, y, panel)| moments::delayed(x, y, panel, &family));
        tree(parts.collect(), merge_moments::delayed)
    }

    fn evaluate(&self, family: Family, points: Vec<Coefficients>) -> Option<Delayed<Subtrees<Evaluations>>> {
        let (family, points) = (Delayed::value(family), Delayed::value(points));
        let parts = self.chunks().map(|(x, y, panel)| evaluate::delayed(x, y, panel, &family, &points));
        tree(parts.collect(), merge_evaluations::delayed)
    }

    fn solve(&self, blocks: Vec<BlockProblem>) -> Vec<Delayed<BlockSolution>> {
        self.x.iter().zip(&self.y).zip(blocks).map(|((x, y), block)| solve_block::delayed(x, y, block)).collect()
    }
}

fn tree<T>(mut parts: Vec<Delayed<T>>, merge: impl Fn(Vec<Delayed<T>>) -> Delayed<T>) -> Option<Delayed<T>> {
    while parts.len() > 1 {
        parts = parts.chunks(FAN_IN).map(|neighbours| merge(neighbours.to_vec())).collect();
    }
    parts.pop()
}

fn rows<'a>(x: &'a Block, y: &'a Block, first_panel: usize) -> Rows<'a> {
    Rows { x: x.as_slice(), y: y.as_slice(), n_features: x.dims().1, first_panel }
}

fn merged<T: Combine + Clone>(parts: &[Arc<Subtrees<T>>]) -> Result<Subtrees<T>> {
    Subtrees::merge_all(parts.iter().map(|part| Subtrees::clone(part))).ok_or(NO_ROWS)
}

#[task(name = "glm.keep")]
pub(crate) fn keep(block: &Block) -> Block {
    block.clone()
}

#[task(name = "glm.moments")]
pub(crate) fn moments(x: &Block, y: &Block, first_panel: usize, family: Family) -> Result<Subtrees<Moments>> {
    rows(x, y, first_panel).moments(family).ok_or(NO_ROWS)
}

#[task(name = "glm.merge_moments")]
pub(crate) fn merge_moments(parts: &[Arc<Subtrees<Moments>>]) -> Result<Subtrees<Moments>> {
    merged(parts)
}

#[task(name = "glm.evaluate")]
pub(crate) fn evaluate(
    x: &Block,
    y: &Block,
    first_panel: usize,
    family: Family,
    points: &Vec<Coefficients>,
) -> Result<Subtrees<Evaluations>> {
    rows(x, y, first_panel).evaluate(family, points).ok_or(NO_ROWS)
}

#[task(name = "glm.merge_evaluations")]
pub(crate) fn merge_evaluations(parts: &[Arc<Subtrees<Evaluations>>]) -> Result<Subtrees<Evaluations>> {
    merged(parts)
}

#[task(name = "glm.solve_block")]
pub(crate) fn solve_block(x: &Block, y: &Block, problem: &BlockProblem) -> Result<BlockSolution, GlmError> {
    problem.solve(rows(x, y, 0))
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use ndarray::{Array1, Array2, s};
    use phalanx_array::PANEL;
    use phalanx_engine::{
        graph::{AnyDelayed, ArgumentCode, Graph, Output},
        task::{Input, Registry},
        value::Value,
    };
    use phalanx_learn::Fit;

    use super::*;
    use crate::{Glm, Solver};

    /// Runs a graph on this thread, every value having travelled as bytes.
    struct Here;

    impl Here {
        fn run(outputs: &[AnyDelayed]) -> Result<Vec<Value>> {
            let registry = Registry::linked().map_err(Error::other)?;
            let (graph, outputs) = Graph::of(outputs, registry).map_err(Error::other)?;
            let mut values: Vec<Value> = Vec::new();
            for (node, function) in (0..).zip(&graph.functions) {
                let get = |code: &ArgumentCode| match *code {
                    ArgumentCode::Node(node) => values[node as usize].clone(),
                    ArgumentCode::Constant(place) => graph.constants[place as usize].clone(),
                    ArgumentCode::Task(_) | ArgumentCode::List(_) => unreachable!("not here"),
                };
                let (mut inputs, mut codes) = (Vec::new(), graph.arguments_of(node).iter());
                while let Some(code) = codes.next() {
                    inputs.push(match code {
                        ArgumentCode::List(n) => Input::Many(codes.by_ref().take(*n as usize).map(get).collect()),
                        code => Input::One(get(code)),
                    });
                }
                let def = registry.get(*function).expect("it was found by the layout");
                let value = (def.run)(&inputs).map_err(|message| Error::parameter("task", def.name, message))?;
                values.push(Value::from_data(value.to_data().map_err(Error::other)?));
            }
            let value = |output| match output {
                Output::Node(node) => values[node as usize].clone(),
                Output::Value(value) => value,
                Output::Task(_) => unreachable!("nothing was submitted"),
            };
            Ok(outputs.into_iter().map(value).collect())
        }
    }

    impl Compute for Here {
        async fn compute<C: Collection<Output: Send> + Sync>(&self, work: &C) -> Result<C::Output> {
            work.assemble(Self::run(&work.outputs())?).map_err(Error::other)
        }

        async fn persist<C: Collection + Sync + Send>(&self, work: &C) -> Result<C> {
            let values = Self::run(&work.outputs())?;
            Ok(work.rebuild(values.into_iter().map(AnyDelayed::value).collect()))
        }
    }

    fn wait<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => unreachable!("nothing here waits"),
        }
    }

    fn fit_here(glm: &Glm, x: &ChunkedArray, y: &ChunkedArray) -> Result<Solution> {
        wait(fit_chunked(&Here, glm.machine()?, glm.family, x, y))
    }

    fn data(n: usize, family: Family) -> (Array2<f64>, Array1<f64>) {
        let noise = |i: usize| ((i * 7919 + 13) % 10_007) as f64 / 5003. - 1.;
        let x = Array2::from_shape_fn((n, 4), |(i, j)| (1. + 9. * j as f64) * (noise(4 * i + j) + j as f64));
        let y = (0..n).map(|i| {
            let eta = 0.5 * x[[i, 0]] - 0.03 * x[[i, 1]] + 0.4 * noise(31 * i + 7);
            match family {
                Family::Gaussian => eta,
                Family::Binomial => f64::from(eta > -0.2),
                Family::Poisson => eta.exp().round(),
            }
        });
        (x.clone(), y.collect())
    }

    #[test]
    fn any_chunks_give_the_bits_of_memory() {
        let n = 41 * PANEL + 77;
        for family in [Family::Gaussian, Family::Binomial, Family::Poisson] {
            let (x, y) = data(n, family);
            for solver in [Solver::GradientDescent, Solver::Admm] {
                let glm = Glm::new(family).alpha(0.01).l1_ratio(0.5).solver(solver).n_blocks(5);
                let expected = glm.fit(&x, &y).expect("fitted");
                assert!(expected.report().converged, "{family} {solver:?}: {:?}", expected.report());
                for (chunk, y_chunk) in [(PANEL, 3 * PANEL), (3 * PANEL, 3 * PANEL), (16 * PANEL, PANEL), (n, n)] {
                    let x = ChunkedArray::from_array(&x, chunk).expect("an array");
                    let y = ChunkedArray::from_array(&y, y_chunk).expect("an array");
                    let found = glm.model(fit_here(&glm, &x, &y).expect("fitted"));
                    assert_eq!(found, expected, "{family} {solver:?} in chunks of {chunk}");
                }
            }
        }
    }

    #[test]
    fn columns_cut_apart_and_lazy_arrays_are_put_together() {
        let (x, y) = data(9 * PANEL, Family::Gaussian);
        let wide = Array2::from_shape_fn((9 * PANEL, 2 * PANEL), |(i, j)| if j < 4 { x[[i, j]] } else { 0. });
        let glm = Glm::default().alpha(0.1);
        let expected = glm.fit(&(2. * &wide), &y).expect("fitted");
        let lazy = ChunkedArray::from_array(&wide, PANEL).and_then(|x| x.rechunk(&[2 * PANEL, PANEL])).expect("cut");
        let y = ChunkedArray::from_array(&y, PANEL).expect("an array");
        assert_eq!(glm.model(fit_here(&glm, &(&lazy * 2.), &y).expect("fitted")), expected);
    }

    #[test]
    fn bad_data_are_named_by_their_row_in_the_whole() {
        let (mut x, mut y) = data(5 * PANEL, Family::Poisson);
        y[3 * PANEL + 1] = -2.;
        let message = |x: &Array2<f64>, y: &Array1<f64>| {
            let [x, y] =
                [Block::from(x), Block::from(y)].map(|a| ChunkedArray::from_array(a, PANEL).expect("an array"));
            fit_here(&Glm::new(Family::Poisson), &x, &y).expect_err("refused").to_string()
        };
        assert_eq!(message(&x, &y), "poisson: y is -2 in row 769, expected 0 or more");
        x[[3 * PANEL, 2]] = f64::INFINITY;
        assert_eq!(message(&x, &y), "X has inf in row 768, column 2; drop or fill such rows first");
        let short = y.slice(s![..7]).to_owned();
        assert_eq!(message(&x, &short), "X has 1280 rows and y has 7; they must agree");
    }
}
