//! The shell that drives a solver over chunked arrays.
//!
//! The tasks it sends to where the chunks are hand on subtrees of panels; the last step happens here. The same kernels,
//! panels and tree as in memory, so the same bits. Who runs the tasks is behind [`Compute`].

mod room;
mod sample;
mod tasks;

use std::{future::Future, sync::Arc};

use phalanx_array::{Block, ChunkedArray, Chunks, panel::Subtrees};
use phalanx_engine::graph::{Collection, Delayed};
use phalanx_learn::{Error, Result, validate};
use phalanx_runtime::Client;

pub(crate) use self::tasks::{About, Extras, FoldAbout, FoldPoints, Points, merge_null, merged, null, reweigh, rows};
use self::{room::Room, sample::Sample};
use crate::{
    fit::{self, Fitted, NO_ROWS, checked},
    inference::Wanted,
    kernel::{ByFold, Evaluations, FoldEvaluations, NullPoints, Stride, Subject, Summary},
    model::GlmModel,
    response::ChunkedResponse,
    solver::{
        Answer, Ask, BlockProblem, BlockSolution, FoldQuadratic, FoldRule, Loss, Machine, Moments, Path, PathSolution,
        Pinball, PinballAt, Quadratic, Scatter, Shape, ShapeAt, Spec,
    },
};

/// Neighbours that one task merges: enough to keep the tree flat, few enough to run beside the evaluations.
const FAN_IN: usize = 16;

/// Someone who runs tasks.
pub(crate) trait Compute: Sync {
    /// Runs what is described and brings the values home.
    fn compute<C: Collection<Output: Send> + Sync>(&self, work: &C) -> impl Future<Output = Result<C::Output>> + Send;

    /// Runs what is described and leaves the values where they are made.
    fn persist<C: Collection + Sync + Send>(&self, work: &C) -> impl Future<Output = Result<C>> + Send;

    /// The bytes that may be kept in memory in all, and those that are; none where nobody set a budget.
    fn room(&self) -> impl Future<Output = Result<Option<Room>>> + Send {
        async { Ok(None) }
    }
}

impl Compute for Client {
    async fn compute<C: Collection<Output: Send> + Sync>(&self, work: &C) -> Result<C::Output> {
        Ok(Self::compute(self, work).await?)
    }

    async fn persist<C: Collection + Sync + Send>(&self, work: &C) -> Result<C> {
        Ok(Self::persist(self, work).await?)
    }

    async fn room(&self) -> Result<Option<Room>> {
        Ok(Room::of(&self.load().await?))
    }
}

/// Fits over chunks, wherever they are.
pub(crate) async fn fit_chunked(
    cluster: &impl Compute,
    mut machine: Machine,
    wanted: Option<Wanted>,
    x: &ChunkedArray,
    response: &ChunkedResponse,
) -> Result<Fitted> {
    let mut data = Driven::begin(cluster, machine.spec(), x, response).await?.foreseeing(&machine);
    loop {
        match machine.ask() {
            Ask::Done(solution) => {
                let Some(wanted) = wanted else { return Ok(Fitted { solution: *solution, inference: None }) };
                let subject = fit::subject(&solution, machine.spec(), wanted);
                let summary = cluster.compute(&data.data.summary(subject)?).await?.finish();
                return Ok(fit::fitted(*solution, machine.spec(), wanted, &summary));
            }
            ask => {
                if let Some(answer) = data.answer(cluster, machine.spec(), ask).await? {
                    machine.tell(answer)?;
                }
            }
        }
    }
}

/// Goes a path over chunks, wherever they are.
pub(crate) async fn path_chunked(
    cluster: &impl Compute,
    mut path: Path,
    x: &ChunkedArray,
    response: &ChunkedResponse,
) -> Result<PathSolution> {
    let mut data = Driven::begin(cluster, &path.spec().spec, x, response).await?;
    while let Some(ask) = path.ask() {
        if let Some(answer) = data.answer(cluster, &path.spec().spec, ask).await? {
            path.tell(answer)?;
        }
    }
    path.solution().cloned().ok_or(NO_ROWS)
}

/// Means and cross products of rows on workers, the first of them at the panel `first`.
pub(crate) async fn scatter_chunked(
    cluster: &impl Compute,
    loss: Loss,
    x: &ChunkedArray,
    response: &ChunkedResponse,
    first: usize,
) -> Result<Subtrees<Scatter>> {
    let data = Chunked::of(cluster, x, response).await?;
    let loss = Delayed::value(loss);
    let pass = data.pass(
        |x, columns, panel, extras| tasks::scatter::delayed(x, columns, first + panel, extras, &loss),
        tasks::merge_scatter::delayed,
    )?;
    cluster.compute(&pass).await
}

/// Rows on workers, and the same cut as ADMM's blocks once that was asked for.
pub(crate) struct Driven {
    data: Chunked,
    by_block: Option<Chunked>,
    /// The panels that will be looked at again and again, once the moments are known.
    foreseen: Stride,
}

impl Driven {
    /// Brings the rows to the workers, each with the weight of its class.
    pub(crate) async fn begin(
        cluster: &impl Compute,
        spec: &Spec,
        x: &ChunkedArray,
        response: &ChunkedResponse,
    ) -> Result<Self> {
        let mut data = Chunked::of(cluster, x, response).await?;
        if let Some(class_weight) = spec.class_weight {
            let mut moments = cluster.compute(&data.moments_of_y(spec.loss, spec.shares)?).await?.finish();
            if moments.bad.is_some() {
                // An earlier row may have something in X to refuse.
                moments = cluster.compute(&data.moments(spec.loss, spec.shares)?).await?.finish();
            }
            checked(moments.bad, spec)?;
            data = data.reweighed(cluster, class_weight.of_mean(moments.y.mean)).await?;
        }
        Ok(Self { data, by_block: None, foreseen: Stride::ALL })
    }

    /// The same, told who will ask.
    fn foreseeing(self, machine: &Machine) -> Self {
        let foreseen = machine.sample(self.data.rows.len(), self.data.n_features);
        Self { foreseen, ..self }
    }

    /// The rows.
    pub(crate) const fn chunks(&self) -> &Chunked {
        &self.data
    }

    /// The answer to a question; none where nothing was asked.
    pub(crate) async fn answer(&mut self, cluster: &impl Compute, spec: &Spec, ask: Ask) -> Result<Option<Answer>> {
        if let Ask::Evaluate { stride, .. } | Ask::Quadratic { stride, .. } = &ask {
            self.data.hold(cluster, *stride).await?;
        }
        let (data, loss) = (&mut self.data, spec.loss);
        Ok(Some(match ask {
            Ask::Done(_) => return Ok(None),
            Ask::Moments => {
                let moments = data.moments(loss, spec.shares)?;
                let found = data.compute_and_hold(cluster, &moments, self.foreseen).await?.finish();
                checked(found.bad, spec)?;
                Answer::Moments(found)
            }
            Ask::Scatter => {
                let found = cluster.compute(&data.scatter(loss)?).await?.finish();
                checked(found.bad, spec)?;
                Answer::Scatter(found)
            }
            Ask::Null { intercepts } => Answer::Null(cluster.compute(&data.null(loss, intercepts)?).await?.finish().0),
            Ask::Evaluate { coordinates, points, stride } => {
                let points = Points { loss, coordinates, points, stride };
                Answer::Evaluations(cluster.compute(&data.evaluate(points)?).await?.finish().0)
            }
            Ask::Quadratic { coordinates, point, curvature, stride } => {
                let about = About { loss, coordinates, point, curvature, stride };
                Answer::Quadratic(cluster.compute(&data.quadratic(about)?).await?.finish())
            }
            Ask::Shape(at) => Answer::Shape(cluster.compute(&data.shape(at)?).await?.finish()),
            Ask::Pinball(at) => Answer::Pinball(cluster.compute(&data.pinball(at)?).await?.finish()),
            Ask::MomentsByFold { rule } => {
                let found = cluster.compute(&data.moments_by_fold(loss, spec.shares, rule)?).await?.finish().0;
                checked(found.iter().find_map(|fold| fold.bad), spec)?;
                Answer::MomentsByFold(found)
            }
            Ask::ScatterByFold { rule } => {
                let found = cluster.compute(&data.scatter_by_fold(loss, rule)?).await?.finish().0;
                checked(found.iter().find_map(|fold| fold.bad), spec)?;
                Answer::ScatterByFold(found)
            }
            Ask::Folds { rule, coordinates, points, quadratics } => {
                let quadratics: Vec<_> = quadratics
                    .into_iter()
                    .map(|(at, curvature)| {
                        let coordinates = Arc::clone(&coordinates);
                        data.quadratic_by_fold(FoldAbout { loss, coordinates, at, curvature, rule })
                    })
                    .collect::<Result<_>>()?;
                let evaluations: Vec<_> = if points.is_empty() {
                    Vec::new()
                } else {
                    vec![data.evaluate_by_fold(FoldPoints { loss, coordinates, points, rule })?]
                };
                let (evaluations, quadratics) = cluster.compute(&(evaluations, quadratics)).await?;
                Answer::Folds {
                    evaluations: evaluations.into_iter().flat_map(|all| all.finish().0).collect(),
                    quadratics: quadratics.into_iter().map(Subtrees::finish).collect(),
                }
            }
            Ask::BlockSolve { blocks } => {
                // The blocks are the same in every step: their rows are brought together once.
                let rows = match self.by_block.take() {
                    Some(rows) => rows,
                    None => data.recut(cluster, &blocks).await?,
                };
                let solutions = cluster.compute(&rows.solve(blocks)).await?;
                self.by_block = Some(rows);
                Answer::Blocks(solutions)
            }
        }))
    }
}

/// Predicts a lazy X with a lazy offset for each of its rows: one task a chunk of rows.
pub(crate) fn predict_on_chunks(model: &GlmModel, x: &ChunkedArray, offset: &ChunkedArray) -> Result<ChunkedArray> {
    let [rows, columns] = <[Chunks; 2]>::try_from(x.axes())
        .map_err(|axes| Error::parameter("X", format!("an array of {} axes", axes.len()), "two: rows and columns"))?;
    let [n_offsets] = <[usize; 1]>::try_from(offset.shape()).map_err(|shape| {
        Error::parameter("offset", format!("an array of {} axes", shape.len()), "one: a number a row")
    })?;
    validate::same_length("X", rows.len(), "offset", n_offsets)?;
    if columns.len() != model.coef().len() {
        return Err(Error::NFeatures { expected: model.coef().len(), found: columns.len() });
    }
    let offset = offset.rechunk_as(std::slice::from_ref(&rows)).map_err(Error::other)?;
    let model = Delayed::value(model.clone());
    let blocks = x.row_blocks().into_iter().zip(offset.blocks()).zip(rows.ranges());
    let blocks =
        blocks.map(|((x, offset), rows)| tasks::predict_with_offset::delayed(&model, x, offset, rows.start)).collect();
    Ok(ChunkedArray::from_blocks(vec![rows], blocks)?)
}

/// X, y and what belongs to each row, cut at the same rows and computed.
pub(crate) struct Chunked {
    rows: Chunks,
    n_features: usize,
    x: Vec<Delayed<Block>>,
    /// y, then what there is of weights, offset, trials, groups and folds, for each chunk.
    columns: Vec<Vec<Delayed<Block>>>,
    extras: Extras,
    /// How many chunks of X, the first ones, stay on the workers; the others are read in every pass.
    n_kept: usize,
    /// Panels of the others that stay too.
    sample: Option<Sample>,
}

impl Chunked {
    pub(crate) async fn of(cluster: &impl Compute, x: &ChunkedArray, response: &ChunkedResponse) -> Result<Self> {
        let [rows, columns] = <[Chunks; 2]>::try_from(x.axes()).map_err(|axes| {
            Error::parameter("X", format!("an array of {} axes", axes.len()), "two: rows and columns")
        })?;
        let [n_targets] = <[usize; 1]>::try_from(response.y.shape()).map_err(|shape| {
            Error::parameter("y", format!("an array of {} axes", shape.len()), "one: a number a row")
        })?;
        crate::params::check_shapes((rows.len(), columns.len()), n_targets)?;
        let (y, extra) = response.columns()?;
        let [weights, offset, trials, groups, folds] = extra.each_ref().map(Option::is_some);
        let extras = Extras { weights, offset, trials, groups, folds, held: Stride::ALL };
        let columns: Vec<ChunkedArray> = std::iter::once(y).chain(extra.into_iter().flatten()).collect();
        Self::cut(cluster, x, &columns, extras, rows).await
    }

    /// The same rows with weights times those of the classes 0 and 1.
    async fn reweighed(self, cluster: &impl Compute, by_class: [f64; 2]) -> Result<Self> {
        let by_class = Delayed::value(by_class);
        self.with_weights(cluster, |columns, extras| tasks::reweigh::delayed(columns, extras, &by_class)).await
    }

    /// The same rows with the weights that a task makes of a chunk's columns.
    pub(crate) async fn with_weights(
        mut self,
        cluster: &impl Compute,
        task: impl Fn(Vec<Delayed<Block>>, &Delayed<Extras>) -> Delayed<Block>,
    ) -> Result<Self> {
        let extras = Delayed::value(self.extras);
        let weights = self.columns.iter().map(|columns| task(columns.clone(), &extras));
        let weights = cluster.persist(&weights.collect::<Vec<_>>()).await?;
        for (columns, weights) in self.columns.iter_mut().zip(weights) {
            if self.extras.weights {
                columns[1] = weights;
            } else {
                columns.insert(1, weights);
            }
        }
        self.extras.weights = true;
        Ok(self)
    }

    async fn cut(
        cluster: &impl Compute,
        x: &ChunkedArray,
        columns: &[ChunkedArray],
        extras: Extras,
        rows: Chunks,
    ) -> Result<Self> {
        let n_features = x.shape().last().copied().unwrap_or_default();
        let x = x.rechunk_as(&[rows.clone(), Chunks::single(n_features)]).map_err(Error::other)?;
        // What is read from files and does not fit into memory is read again in every pass.
        let n_kept = if x.can_reread() {
            room::n_kept(cluster.room().await?, &rows, n_features, columns.len())
        } else {
            rows.n_chunks()
        };
        let mut x: Vec<_> = x.blocks().into_iter().map(kept).collect();
        let read_again = x.split_off(n_kept);
        let mut by_column = Vec::new();
        for column in columns {
            let column = column.rechunk_as(std::slice::from_ref(&rows)).map_err(Error::other)?;
            by_column.push(column.blocks().into_iter().map(kept).collect::<Vec<_>>());
        }
        let (mut x, by_column) = cluster.persist(&(x, by_column)).await?;
        x.extend(read_again);
        let columns = (0..x.len()).map(|chunk| by_column.iter().map(|column| column[chunk].clone()).collect());
        Ok(Self { rows, n_features, columns: columns.collect(), x, extras, n_kept, sample: None })
    }

    /// The same rows with one chunk for each of ADMM's blocks.
    async fn recut(&self, cluster: &impl Compute, blocks: &[BlockProblem]) -> Result<Self> {
        let sizes: Vec<usize> = blocks.iter().map(|block| block.rows.len()).collect();
        let rows = Chunks::from_sizes(&sizes).map_err(Error::other)?;
        let axes = vec![self.rows.clone(), Chunks::single(self.n_features)];
        let x = ChunkedArray::from_blocks(axes, self.x.clone()).map_err(Error::other)?;
        let n_columns = self.columns.first().map_or(0, Vec::len);
        let column = |column: usize| {
            let blocks = self.columns.iter().map(|columns| columns[column].clone()).collect();
            ChunkedArray::from_blocks(vec![self.rows.clone()], blocks).map_err(Error::other)
        };
        let columns = (0..n_columns).map(column).collect::<Result<Vec<_>>>()?;
        Self::cut(cluster, &x, &columns, self.extras, rows).await
    }

    /// One task a chunk, given X, the columns, the first panel and what the columns are.
    pub(crate) fn each<T>(
        &self,
        task: impl Fn(&Delayed<Block>, Vec<Delayed<Block>>, usize, &Delayed<Extras>) -> Delayed<T>,
    ) -> Vec<Delayed<T>> {
        self.each_at(Stride::ALL, task)
    }

    /// The same, merged.
    pub(crate) fn pass<T>(
        &self,
        task: impl Fn(&Delayed<Block>, Vec<Delayed<Block>>, usize, &Delayed<Extras>) -> Delayed<T>,
        merge: impl Fn(Vec<Delayed<T>>) -> Delayed<T>,
    ) -> Result<Delayed<T>> {
        self.pass_at(Stride::ALL, task, merge)
    }

    pub(crate) fn moments(&self, loss: Loss, shares: bool) -> Result<Delayed<Subtrees<Moments>>> {
        let how = Delayed::value((loss, shares));
        self.pass(
            |x, columns, panel, extras| tasks::moments::delayed(x, columns, panel, extras, &how),
            tasks::merge_moments::delayed,
        )
    }

    /// The same without X, which is not looked at.
    fn moments_of_y(&self, loss: Loss, shares: bool) -> Result<Delayed<Subtrees<Moments>>> {
        let how = Delayed::value((loss, shares));
        self.pass(
            |_, columns, panel, extras| tasks::moments_of_y::delayed(columns, panel, extras, &how),
            tasks::merge_moments::delayed,
        )
    }

    fn scatter(&self, loss: Loss) -> Result<Delayed<Subtrees<Scatter>>> {
        let loss = Delayed::value(loss);
        self.pass(
            |x, columns, panel, extras| tasks::scatter::delayed(x, columns, panel, extras, &loss),
            tasks::merge_scatter::delayed,
        )
    }

    fn null(&self, loss: Loss, intercepts: Vec<f64>) -> Result<Delayed<Subtrees<NullPoints>>> {
        let how = Delayed::value((loss, intercepts));
        // X is no input, so a chunk of it that was spilled is not read.
        self.pass(
            |_, columns, panel, extras| tasks::null::delayed(columns, panel, extras, &how),
            tasks::merge_null::delayed,
        )
    }

    fn evaluate(&self, points: Points) -> Result<Delayed<Subtrees<Evaluations>>> {
        let (stride, points) = (points.stride, Delayed::value(points));
        self.pass_at(
            stride,
            |x, columns, panel, extras| tasks::evaluate::delayed(x, columns, panel, extras, &points),
            tasks::merge_evaluations::delayed,
        )
    }

    fn quadratic(&self, about: About) -> Result<Delayed<Subtrees<Quadratic>>> {
        let (stride, about) = (about.stride, Delayed::value(about));
        self.pass_at(
            stride,
            |x, columns, panel, extras| tasks::quadratic::delayed(x, columns, panel, extras, &about),
            tasks::merge_quadratic::delayed,
        )
    }

    fn shape(&self, at: ShapeAt) -> Result<Delayed<Subtrees<Shape>>> {
        let at = Delayed::value(at);
        self.pass(
            |x, columns, panel, extras| tasks::shape::delayed(x, columns, panel, extras, &at),
            tasks::merge_shape::delayed,
        )
    }

    fn pinball(&self, at: PinballAt) -> Result<Delayed<Subtrees<Pinball>>> {
        let at = Delayed::value(at);
        self.pass(
            |x, columns, panel, extras| tasks::pinball::delayed(x, columns, panel, extras, &at),
            tasks::merge_pinball::delayed,
        )
    }

    fn moments_by_fold(&self, loss: Loss, shares: bool, rule: FoldRule) -> Result<Delayed<Subtrees<ByFold<Moments>>>> {
        let how = Delayed::value((loss, shares, rule));
        self.pass(
            |x, columns, panel, extras| tasks::moments_by_fold::delayed(x, columns, panel, extras, &how),
            tasks::merge_moments_by_fold::delayed,
        )
    }

    fn scatter_by_fold(&self, loss: Loss, rule: FoldRule) -> Result<Delayed<Subtrees<ByFold<Scatter>>>> {
        let how = Delayed::value((loss, rule));
        self.pass(
            |x, columns, panel, extras| tasks::scatter_by_fold::delayed(x, columns, panel, extras, &how),
            tasks::merge_scatter_by_fold::delayed,
        )
    }

    fn evaluate_by_fold(&self, points: FoldPoints) -> Result<Delayed<Subtrees<FoldEvaluations>>> {
        let points = Delayed::value(points);
        self.pass(
            |x, columns, panel, extras| tasks::evaluate_by_fold::delayed(x, columns, panel, extras, &points),
            tasks::merge_fold_evaluations::delayed,
        )
    }

    fn quadratic_by_fold(&self, about: FoldAbout) -> Result<Delayed<Subtrees<FoldQuadratic>>> {
        let about = Delayed::value(about);
        self.pass(
            |x, columns, panel, extras| tasks::quadratic_by_fold::delayed(x, columns, panel, extras, &about),
            tasks::merge_fold_quadratic::delayed,
        )
    }

    fn summary(&self, subject: Subject) -> Result<Delayed<Subtrees<Summary>>> {
        let subject = Delayed::value(subject);
        self.pass(
            |x, columns, panel, extras| tasks::summary::delayed(x, columns, panel, extras, &subject),
            tasks::merge_summary::delayed,
        )
    }

    fn solve(&self, blocks: Vec<BlockProblem>) -> Vec<Delayed<BlockSolution>> {
        let extras = Delayed::value(self.extras);
        let chunks = self.x.iter().zip(&self.columns).zip(blocks);
        chunks.map(|((x, columns), block)| tasks::solve_block::delayed(x, columns.clone(), &extras, block)).collect()
    }
}

/// Numbers that are here would travel with every pass; a task that hands them on leaves them on a worker.
pub(crate) fn kept(block: Delayed<Block>) -> Delayed<Block> {
    if block.any().as_value().is_some() { tasks::keep::delayed(block) } else { block }
}

/// One task that merges all parts, by way of others that merge neighbours; none without parts.
pub(crate) fn tree<T>(mut parts: Vec<Delayed<T>>, merge: impl Fn(Vec<Delayed<T>>) -> Delayed<T>) -> Option<Delayed<T>> {
    while parts.len() > 1 {
        parts = parts.chunks(FAN_IN).map(|neighbours| merge(neighbours.to_vec())).collect();
    }
    parts.pop()
}

#[cfg(test)]
pub(crate) mod tests {
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
    use crate::{Family, Glm, Solver};

    /// Runs a graph on this thread, every value having travelled as bytes.
    pub(crate) struct Here;

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

    pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => unreachable!("nothing here waits"),
        }
    }

    fn fit_here(glm: &Glm, x: &ChunkedArray, y: &ChunkedArray) -> Result<Fitted> {
        wait(fit_chunked(&Here, glm.machine(4, false)?.0, glm.wanted(4), x, &ChunkedResponse::new(y)))
    }

    fn data(n: usize, family: Family) -> (Array2<f64>, Array1<f64>) {
        let noise = |i: usize| ((i * 7919 + 13) % 10_007) as f64 / 5003. - 1.;
        let x = Array2::from_shape_fn((n, 4), |(i, j)| (1. + 9. * j as f64) * (noise(4 * i + j) + j as f64));
        let y = (0..n).map(|i| {
            let eta = 0.5 * x[[i, 0]] - 0.03 * x[[i, 1]] + 0.4 * noise(31 * i + 7);
            match family {
                Family::Gaussian => eta,
                Family::Binomial => f64::from(eta > -0.2),
                _ => eta.exp().round(),
            }
        });
        (x.clone(), y.collect())
    }

    #[test]
    fn any_chunks_give_the_bits_of_memory() {
        let n = 41 * PANEL + 77;
        for family in [Family::Gaussian, Family::Binomial, Family::Poisson] {
            let (x, y) = data(n, family);
            for solver in [Solver::Irls, Solver::GradientDescent, Solver::Admm] {
                let glm = Glm::new(family).alpha(0.01).l1_ratio(0.5).solver(solver).n_blocks(5);
                let expected = glm.fit(&x, &y).expect("fitted");
                assert!(expected.report().converged, "{family} {solver:?}: {:?}", expected.report());
                for (chunk, y_chunk) in [(PANEL, 3 * PANEL), (3 * PANEL, 3 * PANEL), (16 * PANEL, PANEL), (n, n)] {
                    let x = ChunkedArray::from_array(&x, chunk).expect("an array");
                    let y = ChunkedArray::from_array(&y, y_chunk).expect("an array");
                    let found = glm.model(fit_here(&glm, &x, &y).expect("fitted"), expected.report().solver.clone());
                    assert_eq!(found, expected, "{family} {solver:?} in chunks of {chunk}");
                }
            }
        }
    }

    /// Columns of weights, with zeros, an offset and groups.
    fn extras(n: usize) -> [Array1<f64>; 3] {
        let column = |of: fn(usize) -> f64| (0..n).map(of).collect();
        [column(|i| ((i * 7) % 4) as f64), column(|i| ((i * 13) % 17) as f64 / 40.), column(|i| ((i * 5) % 23) as f64)]
    }

    #[test]
    fn weights_offsets_and_groups_in_chunks_give_the_bits_of_memory() {
        let n = 23 * PANEL + 31;
        let (x, y) = data(n, Family::Poisson);
        let [weights, offset, groups] = extras(n);
        let glm = Glm::new(Family::NegativeBinomial { theta: 1.5 }).covariance(crate::Covariance::Clustered);
        let response = crate::Response::new(&y).sample_weight(&weights).offset(&offset).groups(&groups);
        let expected = glm.fit(&x, response).expect("fitted");
        assert!(expected.inference().is_some());
        for chunk in [PANEL, 5 * PANEL, n] {
            let [x, y, weights, offset, groups] =
                [Block::from(&x), Block::from(&y), Block::from(&weights), Block::from(&offset), Block::from(&groups)]
                    .map(|column| ChunkedArray::from_array(column, chunk).expect("an array"));
            let response = ChunkedResponse::new(&y).sample_weight(&weights).offset(&offset).groups(&groups);
            let (machine, why) = glm.machine(4, false).expect("a machine");
            let found = wait(fit_chunked(&Here, machine, glm.wanted(4), &x, &response)).expect("fitted");
            assert_eq!(glm.model(found, why), expected, "in chunks of {chunk}");
        }
    }

    #[test]
    fn paths_in_chunks_give_the_bits_of_memory() {
        let n = 23 * PANEL + 31;
        for family in [Family::Gaussian, Family::Binomial] {
            let (x, y) = data(n, family);
            let [weights, offset, _] = extras(n);
            let balanced = (family == Family::Binomial).then_some(crate::ClassWeight::Balanced);
            let glm = Glm { class_weight: balanced, ..Glm::new(family).l1_ratio(0.8) };
            let path = crate::GlmPath::new(glm).n_lambdas(12).cv(4);
            let response = crate::Response::new(&y).sample_weight(&weights).offset(&offset);
            let expected = path.fit(&x, response).expect("fitted");
            for chunk in [PANEL, 6 * PANEL] {
                let [x, y, weights, offset] =
                    [Block::from(&x), Block::from(&y), Block::from(&weights), Block::from(&offset)]
                        .map(|column| ChunkedArray::from_array(column, chunk).expect("an array"));
                let response = ChunkedResponse::new(&y).sample_weight(&weights).offset(&offset);
                let machine = path.machine(n, 4, false, false).expect("a machine");
                let found = wait(path_chunked(&Here, machine, &x, &response)).expect("a path");
                assert_eq!(path.model(found), expected, "{family} in chunks of {chunk}");
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
        let found = fit_here(&glm, &(&lazy * 2.), &y).expect("fitted");
        assert_eq!(glm.model(found, expected.report().solver.clone()), expected);
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
