//! Partial pooling: one model of all rows and one of each group, drawn to it. The estimator, its model, its shells.
//!
//! `solver::pooled` decides and solves; here rows are sorted into groups, in memory or where the chunks are. How a
//! group came to be a number is not known.

mod tasks;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2};
use phalanx_array::ChunkedArray;
use phalanx_engine::graph::Delayed;
use phalanx_learn::{Error, Fit, FitOn, Result, validate};
use phalanx_runtime::Client;
use serde::{Deserialize, Serialize};

use self::tasks::Bundle;
pub(crate) use self::tasks::Grouped;
use crate::{
    cluster::{Chunked, Compute, Driven},
    fit::{self, Fitted, NO_ROWS},
    kernel::predict,
    model::GlmModel,
    params::Glm,
    report::Report,
    response::{ChunkedResponse, Response},
    solver::{GroupSolution, PoolAsk, Pooled, PooledSolution},
};

/// Tasks that a round of block solutions is cut into at most; the answer does not depend on it.
const MAX_BUNDLES: usize = 64;

/// A model of all rows and one of each group, which is drawn to the first: partial pooling by one number.
///
/// With the rows in groups g, the coefficients b and the intercept c of all and those of each group minimise
///
/// ```text
/// 1/(2 Σw) Σ_i w_i unit deviance(y_i, mean(c_g(i) + x_i · b_g(i) + offset_i))
///     + pooling/(2 Σw) Σ_g [ (m_g - m)² + Σ_j s_j² (b_gj - b_j)² ]  +  the penalty of the Glm on b
/// ```
///
/// where s_j is column j's standard deviation over all rows, and m = c + Σ_j b_j (mean of column j) the linear predictor
/// at the columns' means, m_g the group's: so units and origins of columns do not matter. `pooling` is in rows: a group
/// with as many rows as `pooling`, times the curvature of a row's loss, is about halfway between its own fit and the
/// model of all, so that small groups borrow more. Near 0 every group is fitted by itself, and the model of all is the
/// mean of theirs; as it grows all become the one model of a [`Glm`] of all rows, penalty included. Gaussian models with random effects draw so,
/// `pooling` being the ratio of the residual variance to that of the effects (of standardised columns).
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `glm` | [`Glm`]'s | family, link, penalty and bounds of the model of all, `tol`, `max_iter` | no class weights |
/// | `pooling` | 10 | how strongly groups are drawn to the model of all, in rows | above 0 |
///
/// The solver is Newton's method on the model of all, each step with one round of exact block solutions, a block being
/// the rows of a group: `solver` and `n_blocks` of the `glm` say nothing here. On a cluster the rows of a group are
/// brought to one task once; only coefficients and matrices of the columns travel then, with the same bits as here.
/// There are no standard errors.
///
/// ```
/// use ndarray::array;
/// use phalanx_glm::{LinearRegression, PooledGlm, Response};
/// use phalanx_learn::Fit;
///
/// # fn main() -> phalanx_learn::Result<()> {
/// let x = array![[0.], [1.], [2.], [0.], [1.], [2.]];
/// let y = array![0., 1., 2., 1., 4., 7.]; // slopes of 1 and of 3
/// let region = array![10., 10., 10., 20., 20., 20.];
/// let fit = |pooling| PooledGlm::new(LinearRegression::new()).pooling(pooling).fit(&x, Response::new(&y).groups(&region));
/// let slope = |pooling| Ok::<_, phalanx_learn::Error>(fit(pooling)?.group(10.).map_or(0., |group| group.coef[0]));
/// assert!((slope(1e-6)? - 1.).abs() < 1e-5 && (slope(1e9)? - 2.).abs() < 1e-5);
/// assert!((slope(3.)? - 1.5).abs() < 1e-9); // three rows against a pooling of three
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PooledGlm {
    /// Family, link, penalty and bounds of the model of all.
    pub glm: Glm,
    /// How strongly groups are drawn to the model of all, in rows.
    pub pooling: f64,
}

/// What a [`PooledGlm`] has learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PooledModel {
    global: GlmModel,
    groups: Vec<GroupCoefficients>,
}

/// The coefficients of one group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupCoefficients {
    /// Its number.
    pub group: f64,
    /// The linear predictor where every column is 0.
    pub intercept: f64,
    /// One a column, in the columns' own units.
    pub coef: Vec<f64>,
}

impl Default for PooledGlm {
    fn default() -> Self {
        Self { glm: Glm::default(), pooling: 10. }
    }
}

impl PooledGlm {
    /// Pools a model with the parameters of any estimator here.
    pub fn new(glm: impl Into<Glm>) -> Self {
        Self { glm: glm.into(), ..Self::default() }
    }

    /// Sets how strongly groups are drawn to the model of all, in rows.
    #[must_use]
    pub const fn pooling(mut self, pooling: f64) -> Self {
        self.pooling = pooling;
        self
    }

    fn machine(&self, n_features: usize, shares: bool, has_groups: bool) -> Result<Pooled> {
        if !(self.pooling > 0. && self.pooling.is_finite()) {
            return Err(Error::parameter("pooling", self.pooling, "a number above 0"));
        }
        if !has_groups {
            return Err(Error::parameter("groups", "missing", "a number a row, in the response"));
        }
        if self.glm.class_weight.is_some() {
            return Err(Error::parameter("class_weight", "given", "none for a pooled model; give sample weights"));
        }
        let (machine, _) = self.glm.machine(n_features, shares)?;
        Ok(Pooled::new(machine.spec().clone(), self.pooling))
    }

    fn model(&self, solution: PooledSolution, groups: Vec<f64>) -> PooledModel {
        let chosen = format!("newton, with {} groups as blocks", groups.len());
        let global = self.glm.model(Fitted { solution: solution.global, inference: None }, chosen);
        let each = groups.into_iter().zip(solution.groups);
        let groups = each.map(|(group, (intercept, coef))| GroupCoefficients { group, intercept, coef }).collect();
        PooledModel { global, groups }
    }
}

impl Fit<ArrayView2<'_, f64>, Response<'_>> for PooledGlm {
    type Model = PooledModel;

    fn fit(&self, x: ArrayView2<'_, f64>, response: Response<'_>) -> Result<PooledModel> {
        let mut machine = self.machine(x.ncols(), response.has_trials(), response.has_groups())?;
        let rows = response.rows(&x)?;
        let rows = rows.rows();
        let mut by_group = None;
        loop {
            match machine.ask() {
                PoolAsk::Rows(ask) => {
                    if let Some(answer) = fit::answer(rows, machine.spec(), &ask)? {
                        machine.tell(answer)?;
                    }
                }
                PoolAsk::Groups(problem, starts) => {
                    let grouped = by_group.get_or_insert_with(|| Grouped::all(rows));
                    let solve = |group: usize| grouped.solve(group, &problem, starts.as_deref().map(Vec::as_slice));
                    machine.tell_groups(&fit::several(grouped.n_groups(), rows.x.len(), solve))?;
                }
                PoolAsk::Done => {
                    let solution = machine.into_done().ok_or(NO_ROWS)?;
                    return Ok(
                        self.model(solution, by_group.map_or_else(Vec::new, |grouped| grouped.groups().to_vec()))
                    );
                }
            }
        }
    }
}

impl Fit<&Array2<f64>, Response<'_>> for PooledGlm {
    type Model = PooledModel;

    fn fit(&self, x: &Array2<f64>, response: Response<'_>) -> Result<PooledModel> {
        self.fit(x.view(), response)
    }
}

impl FitOn<ChunkedArray, ChunkedResponse> for PooledGlm {
    type Model = PooledModel;

    /// X of two axes and the response's arrays of one, in any chunks; a group may lie in several.
    async fn fit_on(&self, client: &Client, x: &ChunkedArray, response: &ChunkedResponse) -> Result<PooledModel> {
        self.fit_by(client, x, response).await
    }
}

impl PooledGlm {
    async fn fit_by(
        &self,
        cluster: &impl Compute,
        x: &ChunkedArray,
        response: &ChunkedResponse,
    ) -> Result<PooledModel> {
        let n_features = x.shape().get(1).copied().unwrap_or_default();
        let mut machine = self.machine(n_features, response.has_trials(), response.has_groups())?;
        let mut data = Driven::begin(cluster, machine.spec(), x, response).await?;
        let mut bundles: Vec<(Vec<f64>, Delayed<Grouped>)> = Vec::new();
        loop {
            match machine.ask() {
                PoolAsk::Rows(ask) => {
                    if let Some(answer) = data.answer(cluster, machine.spec(), ask).await? {
                        machine.tell(answer)?;
                    }
                }
                PoolAsk::Groups(problem, starts) => {
                    if bundles.is_empty() {
                        bundles = brought_together(cluster, data.chunks()).await?;
                    }
                    let (problem, mut first) = (Delayed::value(problem), 0);
                    let tasks: Vec<Delayed<Vec<GroupSolution>>> = bundles
                        .iter()
                        .map(|(groups, rows)| {
                            let own = first..first + groups.len();
                            first = own.end;
                            let starts = starts.as_ref().map(|starts| starts[own].to_vec());
                            tasks::solve_groups::delayed(rows, &problem, Bundle { groups: Vec::new(), starts })
                        })
                        .collect();
                    let solutions: Vec<GroupSolution> = cluster.compute(&tasks).await?.into_iter().flatten().collect();
                    machine.tell_groups(&solutions)?;
                }
                PoolAsk::Done => {
                    let groups = bundles.into_iter().flat_map(|(groups, _)| groups).collect();
                    return Ok(self.model(machine.into_done().ok_or(NO_ROWS)?, groups));
                }
            }
        }
    }
}

/// The rows of neighbouring groups in one place each, in the order of the rows.
async fn brought_together(cluster: &impl Compute, data: &Chunked) -> Result<Vec<(Vec<f64>, Delayed<Grouped>)>> {
    let counts = data.each(|_, columns, panel, extras| tasks::count_groups::delayed(columns, panel, extras));
    let mut counts: Vec<(f64, usize)> = cluster.compute(&counts).await?.into_iter().flatten().collect();
    counts.sort_by(|a, b| a.0.total_cmp(&b.0));
    let enough = counts.iter().map(|(_, n)| n).sum::<usize>().div_ceil(MAX_BUNDLES);
    counts.dedup_by(|next, first| {
        let same = next.0 == first.0;
        first.1 += if same { next.1 } else { 0 };
        same
    });
    let mut bundles: Vec<(Vec<f64>, usize)> = Vec::new();
    for (group, n) in counts {
        match bundles.last_mut() {
            Some((groups, so_far)) if *so_far < enough => {
                groups.push(group);
                *so_far += n;
            }
            _ => bundles.push((vec![group], n)),
        }
    }
    let mut rows = Vec::new();
    for (groups, _) in &bundles {
        let bundle = Delayed::value(Bundle { groups: groups.clone(), starts: None });
        let parts = data.each(|x, columns, _, extras| tasks::rows_of_groups::delayed(x, columns, extras, &bundle));
        rows.push(tasks::join_groups::delayed(parts));
    }
    let rows = cluster.persist(&rows).await?;
    Ok(bundles.into_iter().map(|(groups, _)| groups).zip(rows).collect())
}

impl PooledModel {
    /// The model of all, for rows of no group that was seen.
    pub const fn global(&self) -> &GlmModel {
        &self.global
    }

    /// The groups with their coefficients, by their numbers in ascending order.
    pub fn groups(&self) -> &[GroupCoefficients] {
        &self.groups
    }

    /// A group's coefficients; none where it was not seen.
    pub fn group(&self, group: f64) -> Option<&GroupCoefficients> {
        let place = self.groups.binary_search_by(|seen| seen.group.total_cmp(&(group + 0.)));
        place.ok().map(|place| &self.groups[place])
    }

    /// How the fit went: the certificate is that of all models together.
    pub const fn report(&self) -> &Report {
        self.global.report()
    }

    /// The mean of y for each row by the model of its group, or of all where the group was not seen.
    ///
    /// # Errors
    /// When X has not the columns there were at fit, is not finite, or has not as many rows as there are groups.
    pub fn predict(&self, x: ArrayView2<'_, f64>, groups: ArrayView1<'_, f64>) -> Result<Array1<f64>> {
        validate::predict_data(x, self.global.coef().len())?;
        validate::same_length("X", x.nrows(), "groups", groups.len())?;
        let all = self.global.coef().to_vec();
        let (x, mut eta) = (x.as_standard_layout(), vec![0.; groups.len()]);
        for ((row, group), eta) in x.rows().into_iter().zip(groups).zip(&mut eta) {
            let row = row.to_slice().unwrap_or_default();
            match self.group(*group) {
                Some(own) => predict(row, &own.coef, own.intercept, std::slice::from_mut(eta)),
                None => predict(row, &all, self.global.intercept(), std::slice::from_mut(eta)),
            }
        }
        let link = self.global.link();
        Ok(Array1::from(eta).mapv(|eta| link.mean(eta)))
    }
}
