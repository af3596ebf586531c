//! Designs whose rows are cut into chunks, wherever those lie, and the shell that drives a solver over them.
//!
//! The same kernels, panels and tree as in memory, so the same bits.

use std::sync::Arc;

use phalanx_array::{Block, Chunks, Column, Kind, Table, TableBlock, panel::Subtrees};
use phalanx_engine::graph::Delayed;
use phalanx_learn::{Error, Json, Result, preprocess::FittedTableEncoder, validate};

use super::{
    Design, DesignColumns,
    local::{self, check_shape, moments, refused},
    tasks,
};
use crate::{
    ChunkedResponse, Glm, GlmModel, GlmPath, PathModel,
    cluster::{self, About, Compute, Extras, FoldAbout, FoldPoints, Points, tree},
    fit::{self, NO_ROWS},
    kernel::{Layout, MixedMoments, Stride},
    solver::{Answer, Ask, Loss, Path, PathSolution, Spec},
};

/// A [`Design`] whose rows are cut into chunks on [`PANEL`](phalanx_array::PANEL) borders; lazy, as a chunked array is.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use phalanx_array::ChunkedArray;
/// use phalanx_glm::{ChunkedDesign, Design, LogisticRegression};
/// use phalanx_learn::FitOn;
/// use phalanx_runtime::blocking::Client;
///
/// let client = Client::local()?;
/// let codes: Vec<u32> = (0..10_000).map(|row| row % 700).collect();
/// let x = ChunkedDesign::from_design(&Design::new().categorical(&codes, 700, Some(0))?, 1024)?;
/// let y: ndarray::Array1<f64> = (0..10_000).map(|row| f64::from(row % 7 == 0 || row % 11 < 4)).collect();
/// let y = ChunkedArray::from_array(&y, 1024)?;
/// let model = client.wait(LogisticRegression::new().alpha(1e-4).fit_on(&client, &x, &y))?;
/// assert_eq!(model.coef().len(), 699);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ChunkedDesign {
    rows: Chunks,
    columns: DesignColumns,
    blocks: Vec<Delayed<Design>>,
}

impl ChunkedDesign {
    /// Cuts a design that is here into chunks of `chunk_rows` rows.
    ///
    /// # Errors
    /// When `chunk_rows` is no positive multiple of [`PANEL`](phalanx_array::PANEL) (unless one chunk holds all rows).
    pub fn from_design(design: &Design, chunk_rows: usize) -> Result<Self> {
        let rows = Chunks::uniform(design.n_rows(), chunk_rows)?;
        let blocks = rows.ranges().map(|rows| Delayed::value(design.rows(rows))).collect();
        Ok(Self { rows, columns: design.columns(), blocks })
    }

    /// A design of chunks that tasks make: one for each of `rows`, all of the same columns. What only the chunks show,
    /// as other columns, fails when they are computed.
    ///
    /// # Errors
    /// When there are not as many chunks as `rows` says.
    pub fn from_blocks(rows: Chunks, columns: DesignColumns, blocks: Vec<Delayed<Design>>) -> Result<Self> {
        if blocks.len() != rows.n_chunks() {
            let expected = format!("{}, as many as the rows have chunks", rows.n_chunks());
            return Err(Error::parameter("number of blocks", blocks.len(), expected));
        }
        Ok(Self { rows, columns, blocks })
    }

    /// The columns that an encoder makes of a lazy table's, in its order, categories as codes. What only the rows show,
    /// as an unseen level, fails when they are computed.
    ///
    /// # Errors
    /// When the table has not the encoder's columns.
    pub fn from_table(encoder: &FittedTableEncoder, table: &Table) -> Result<Self> {
        let nothing = table.schema().fields().iter().map(|field| match field.kind {
            Kind::Categorical { .. } => Column::categorical(Vec::new()),
            _ => Column::number(Vec::new()),
        });
        let nothing = TableBlock::new(nothing.collect())?;
        let columns = Design::from_table(encoder, (table.schema(), &nothing), 0)?.columns();
        let (encoder, schema) = (Delayed::value(Json(encoder.clone())), Delayed::value(table.schema().clone()));
        let blocks = table.blocks().iter().zip(table.chunks().ranges());
        let blocks = blocks.map(|(block, rows)| tasks::encode::delayed(&encoder, &schema, block, rows.start));
        Self::from_blocks(table.chunks().clone(), columns, blocks.collect())
    }

    /// How many rows.
    pub fn n_rows(&self) -> usize {
        self.rows.len()
    }

    /// Which columns there are.
    pub const fn columns(&self) -> &DesignColumns {
        &self.columns
    }

    pub(super) const fn rows(&self) -> &Chunks {
        &self.rows
    }

    pub(super) fn blocks(&self) -> &[Delayed<Design>] {
        &self.blocks
    }
}

/// Fits over chunks, wherever they are.
pub(super) async fn fit_glm(
    cluster: &impl Compute,
    glm: &Glm,
    x: &ChunkedDesign,
    response: &ChunkedResponse,
) -> Result<GlmModel> {
    let (mut machine, chosen) = local::machine(glm, &x.columns, response.has_trials())?;
    glm.check_groups(response.has_groups())?;
    let data = Rows::begin(cluster, machine.spec(), x, response).await?;
    loop {
        match machine.ask() {
            Ask::Done(solution) => {
                let solution = *solution;
                let Some(wanted) = glm.wanted(x.columns.n_features()) else {
                    return Ok(glm.model(fit::Fitted { solution, inference: None }, chosen));
                };
                let subject = fit::subject(&solution, machine.spec(), wanted);
                let at = Delayed::value(subject.clone());
                let work = data.pass(
                    |x, columns, panel, extras| tasks::summary::delayed(x, columns, panel, extras, &at),
                    tasks::merge_summary::delayed,
                )?;
                let found = cluster.compute(&work).await?.finish().finish(data.layout(), &subject.coordinates);
                return Ok(glm.model(fit::fitted(solution, machine.spec(), wanted, &found), chosen));
            }
            ask => {
                let answer = data.answer(cluster, machine.spec(), ask).await?;
                machine.tell(answer)?;
            }
        }
    }
}

/// Goes a path over chunks, wherever they are.
pub(super) async fn go_path(
    cluster: &impl Compute,
    path: &GlmPath,
    x: &ChunkedDesign,
    response: &ChunkedResponse,
) -> Result<PathModel> {
    let (trials, folds) = (response.has_trials(), response.has_folds());
    let machine = local::path(path, x.n_rows(), &x.columns, trials, folds)?;
    Ok(path.model(go(cluster, machine, x, response).await?))
}

async fn go(
    cluster: &impl Compute,
    mut path: Path,
    x: &ChunkedDesign,
    response: &ChunkedResponse,
) -> Result<PathSolution> {
    let data = Rows::begin(cluster, &path.spec().spec, x, response).await?;
    while let Some(ask) = path.ask() {
        let answer = data.answer(cluster, &path.spec().spec, ask).await?;
        path.tell(answer)?;
    }
    path.solution().cloned().ok_or(NO_ROWS)
}

/// Rows on workers: the design, y, and what belongs to each row.
struct Rows {
    rows: Chunks,
    columns: DesignColumns,
    x: Vec<Delayed<Design>>,
    /// y, then what there is of weights, offset, trials, groups and folds, for each chunk.
    beside: Vec<Vec<Delayed<Block>>>,
    extras: Extras,
}

impl Rows {
    /// Brings the rows to the workers, each with the weight of its class.
    async fn begin(cluster: &impl Compute, spec: &Spec, x: &ChunkedDesign, response: &ChunkedResponse) -> Result<Self> {
        check_shape(x.n_rows(), &x.columns)?;
        let [n_targets] = <[usize; 1]>::try_from(response.y.shape()).map_err(|shape| {
            Error::parameter("y", format!("an array of {} axes", shape.len()), "one: a number a row")
        })?;
        validate::same_length("X", x.n_rows(), "y", n_targets)?;
        let (y, extra) = response.columns()?;
        let [weights, offset, trials, groups, folds] = extra.each_ref().map(Option::is_some);
        let extras = Extras { weights, offset, trials, groups, folds, held: Stride::ALL };
        // Numbers that are here would travel with every pass; tasks that hand them on leave them on a worker.
        let columns = Delayed::value(x.columns.clone());
        let blocks = x.blocks.iter().zip(x.rows.ranges());
        let blocks: Vec<_> = blocks.map(|(block, rows)| tasks::keep::delayed(block, &columns, rows.len())).collect();
        let mut by_column = Vec::new();
        for column in std::iter::once(y).chain(extra.into_iter().flatten()) {
            let column = column.rechunk_as(std::slice::from_ref(&x.rows)).map_err(Error::other)?;
            by_column.push(column.blocks().into_iter().map(cluster::kept).collect::<Vec<_>>());
        }
        let (blocks, by_column) = cluster.persist(&(blocks, by_column)).await?;
        let beside = (0..blocks.len()).map(|chunk| by_column.iter().map(|column| column[chunk].clone()).collect());
        let beside = beside.collect();
        let mut data = Self { rows: x.rows.clone(), columns: x.columns.clone(), x: blocks, beside, extras };
        if let Some(class_weight) = spec.class_weight {
            let found = cluster.compute(&data.moments(spec.loss, spec.shares)?).await?.finish();
            let mean = moments(found, data.layout(), spec)?.y.mean;
            data.reweigh(cluster, class_weight.of_mean(mean)).await?;
        }
        Ok(data)
    }

    /// Multiplies weights with those of the classes 0 and 1.
    async fn reweigh(&mut self, cluster: &impl Compute, by_class: [f64; 2]) -> Result<()> {
        let (extras, by_class) = (Delayed::value(self.extras), Delayed::value(by_class));
        let weights = self.beside.iter().map(|beside| cluster::reweigh::delayed(beside.clone(), &extras, &by_class));
        let weights = cluster.persist(&weights.collect::<Vec<_>>()).await?;
        for (beside, weights) in self.beside.iter_mut().zip(weights) {
            if self.extras.weights {
                beside[1] = weights;
            } else {
                beside.insert(1, weights);
            }
        }
        self.extras.weights = true;
        Ok(())
    }

    fn layout(&self) -> &Layout {
        self.columns.layout()
    }

    /// One task a chunk, given the design, the columns beside it, the first panel and what those columns are.
    fn pass<T>(
        &self,
        task: impl Fn(&Delayed<Design>, Vec<Delayed<Block>>, usize, &Delayed<Extras>) -> Delayed<T>,
        merge: impl Fn(Vec<Delayed<T>>) -> Delayed<T>,
    ) -> Result<Delayed<T>> {
        let extras = Delayed::value(self.extras);
        let parts = self.x.iter().zip(&self.beside).enumerate();
        let parts = parts.map(|(i, (x, beside))| task(x, beside.clone(), self.rows.first_panel(i), &extras));
        tree(parts.collect(), merge).ok_or(NO_ROWS)
    }

    fn moments(&self, loss: Loss, shares: bool) -> Result<Delayed<Subtrees<MixedMoments>>> {
        let how = Delayed::value((loss, shares));
        self.pass(
            |x, columns, panel, extras| tasks::moments::delayed(x, columns, panel, extras, &how),
            tasks::merge_moments::delayed,
        )
    }

    /// The answer to a question.
    async fn answer(&self, cluster: &impl Compute, spec: &Spec, ask: Ask) -> Result<Answer> {
        let (loss, layout) = (spec.loss, self.layout());
        Ok(match ask {
            Ask::Moments => {
                let found = cluster.compute(&self.moments(loss, spec.shares)?).await?.finish();
                Answer::Moments(moments(found, layout, spec)?)
            }
            Ask::Null { intercepts } => {
                let how = Delayed::value((loss, intercepts));
                // X is no input, so a chunk of it that was spilled is not read.
                let work = self.pass(
                    |_, columns, panel, extras| cluster::null::delayed(columns, panel, extras, &how),
                    cluster::merge_null::delayed,
                )?;
                Answer::Null(cluster.compute(&work).await?.finish().0)
            }
            Ask::Evaluate { coordinates, points, stride } => {
                let at = Delayed::value(Points { loss, coordinates: Arc::clone(&coordinates), points, stride });
                let work = self.pass(
                    |x, columns, panel, extras| tasks::evaluate::delayed(x, columns, panel, extras, &at),
                    tasks::merge_evaluations::delayed,
                )?;
                Answer::Evaluations(cluster.compute(&work).await?.finish().finish_whole(layout, &coordinates))
            }
            Ask::Quadratic { coordinates, point, curvature, stride } => {
                let about = About { loss, coordinates: Arc::clone(&coordinates), point, curvature, stride };
                let about = Delayed::value(about);
                let work = self.pass(
                    |x, columns, panel, extras| tasks::quadratic::delayed(x, columns, panel, extras, &about),
                    tasks::merge_quadratic::delayed,
                )?;
                Answer::Quadratic(cluster.compute(&work).await?.finish().finish(layout, &coordinates).trained)
            }
            Ask::MomentsByFold { rule } => {
                let how = Delayed::value((loss, spec.shares, rule));
                let work = self.pass(
                    |x, columns, panel, extras| tasks::moments_by_fold::delayed(x, columns, panel, extras, &how),
                    tasks::merge_moments_by_fold::delayed,
                )?;
                let found = cluster.compute(&work).await?.finish().0.into_iter();
                Answer::MomentsByFold(found.map(|fold| moments(fold, layout, spec)).collect::<Result<_>>()?)
            }
            Ask::Folds { rule, coordinates, points, quadratics } => {
                let mut work = (Vec::new(), Vec::new());
                if !points.is_empty() {
                    let at = FoldPoints { loss, coordinates: Arc::clone(&coordinates), points, rule };
                    let at = Delayed::value(at);
                    work.0.push(self.pass(
                        |x, columns, panel, extras| tasks::evaluate_by_fold::delayed(x, columns, panel, extras, &at),
                        tasks::merge_evaluations::delayed,
                    )?);
                }
                for (at, curvature) in quadratics {
                    let about = FoldAbout { loss, coordinates: Arc::clone(&coordinates), at, curvature, rule };
                    let about = Delayed::value(about);
                    let task = |x: &_, columns, panel, extras: &_| {
                        tasks::quadratic_by_fold::delayed(x, columns, panel, extras, &about)
                    };
                    work.1.push(self.pass(task, tasks::merge_quadratic::delayed)?);
                }
                let (evaluations, quadratics) = cluster.compute(&work).await?;
                let evaluations = evaluations.into_iter().map(Subtrees::finish);
                let quadratics = quadratics.into_iter().map(Subtrees::finish);
                Answer::Folds {
                    evaluations: evaluations.flat_map(|all| all.finish(layout, &coordinates)).collect(),
                    quadratics: quadratics.map(|found| found.finish(layout, &coordinates)).collect(),
                }
            }
            ask => return Err(refused(&ask)),
        })
    }
}
