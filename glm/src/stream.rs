//! Fits to rows that come a chunk at a time: what is kept between them, and which have been seen.
//!
//! The state is plain serde, so a nightly job saves it and goes on. Who solves is `solver::renewal`; what the rows mean
//! is the response's; files are nobody's here.

use ndarray::ArrayView2;
use phalanx_array::{
    ChunkedArray,
    panel::{Combine, PANEL, Subtrees, n_panels},
};
use phalanx_learn::{Error, Result};
use phalanx_runtime::Client;
use serde::{Deserialize, Serialize};

use crate::{
    cluster::{Compute, Driven, scatter_chunked},
    family::Family,
    fit::{self, Fitted, NO_ROWS, checked, subtrees_on_threads},
    inference::{Covariance, Inference, WeightsKind},
    kernel::Rows,
    link::Link,
    model::GlmModel,
    params::Glm,
    response::{ChunkedResponse, Response},
    solver::{Ask, Machine, Past, Renewal, Scatter, Solution, Spec, of_scatter},
};

/// A fit that takes rows a chunk at a time, keeps none of them, and has a model at any time.
///
/// **Gaussian family, identity link.** Of each chunk the means and the centred cross products are kept, some
/// (n_features + 1)² / 2 numbers for each doubling of its rows, and [`model`](Self::model) adds up those of the chunks
/// that are present, in the order they came: nothing is ever subtracted. The coefficients are those of a fit to all
/// the rows at once: bit for bit where every chunk but the last is a whole number of
/// [panels](phalanx_array::PANEL), else to rounding (relative differences about 1e-12 where the columns are not nearly
/// collinear). [`retract`](Self::retract) takes a chunk away: to the bit as if its rows had weight 0. Where the columns
/// explain y to five digits or more, a fit to rows looks at them again for more digits, and a stream cannot.
///
/// **Other losses.** Nothing short of the rows has all they say, so [`partial_fit`](Self::partial_fit) is an
/// approximation: renewable estimation (L. Luo, P. X.-K. Song, 2020). The rows gone by count by the quadratic that
/// touches their loss where the fit stood when they came; the sum of it, the new rows' own loss and the penalty is
/// minimised to the tolerance. It gets better with the rows of a chunk: after twenty chunks of 1,000 rows, Poisson and
/// logistic estimates of five terms are within 0.02 standard errors of the fit to all 20,000. The first chunk should
/// hold many rows a coefficient, and every column must vary in it. A single chunk is exact. Deviances sum up the
/// quadratics, and the null deviance each chunk's own. For the exact optimum, and to take rows away, hand over again
/// the rows that should count: [`refit`](Self::refit) starts warm, from where the stream stands.
///
/// The parameters are those of a [`Glm`] with iteratively reweighted least squares (`solver` `auto` up to 2,000 columns,
/// or `irls`), `covariance` `nonrobust`, `weights_kind` `frequency` and no class weights; models of other losses than
/// least squares have no [`inference`](GlmModel::inference). Every model's [report](crate::Report::chunks) says which
/// chunks it has seen.
///
/// ```
/// use ndarray::{array, s};
/// use phalanx_glm::{GlmStream, LinearRegression, Response};
/// use phalanx_learn::Fit;
///
/// # fn main() -> phalanx_learn::Result<()> {
/// let x = array![[1.], [2.], [3.], [4.], [5.], [6.]];
/// let y = array![2., 4.1, 5.9, 8.2, 9.9, 90.];
/// let mut stream = GlmStream::new(LinearRegression::new());
/// stream.partial_fit(x.slice(s![..3, ..]), Response::new(y.slice(s![..3])))?;
/// stream.add("tuesday", x.slice(s![3..5, ..]), Response::new(y.slice(s![3..5])))?;
/// stream.add("wednesday", x.slice(s![5.., ..]), Response::new(y.slice(s![5..])))?;
/// stream.retract("wednesday")?;
///
/// let saved = serde_json::to_string(&stream).unwrap();
/// let stream: GlmStream = serde_json::from_str(&saved).unwrap();
/// let model = stream.model()?;
/// let whole = LinearRegression::new().fit(x.slice(s![..5, ..]), y.slice(s![..5]))?;
/// assert!((model.coef()[0] - whole.coef()[0]).abs() < 1e-12);
/// assert!(model.report().chunks.iter().map(|chunk| chunk.is_present).eq([true, true, false]));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GlmStream {
    glm: Glm,
    n_features: Option<usize>,
    chunks: Vec<SeenChunk>,
    /// Where the next chunk's panels begin.
    next_panel: usize,
    kept: Kept,
}

/// A chunk of rows that a stream has seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeenChunk {
    /// What it was called, or its number from 0 where it was not.
    pub id: String,
    /// How many rows.
    pub n_rows: usize,
    /// How many of them have a weight above 0.
    pub n_used: usize,
    /// Sum of the weights.
    pub sum_weights: f64,
    /// Whether it counts, or was retracted.
    pub is_present: bool,
}

/// What is kept of the rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Kept {
    Nothing,
    /// One a chunk.
    Scatters(Vec<Subtrees<Held>>),
    Quadratics(Box<Past>, Box<GlmModel>),
}

/// The scatter of some panels; none of a retracted chunk, whose panels keep their places.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Held(Option<Scatter>);

impl Combine for Held {
    fn combine(self, right: Self) -> Self {
        Self(match (self.0, right.0) {
            (Some(left), Some(right)) => Some(left.combine(right)),
            (left, right) => left.or(right),
        })
    }
}

impl Glm {
    /// A fit to rows that come a chunk at a time.
    pub fn stream(&self) -> GlmStream {
        GlmStream::new(self.clone())
    }
}

impl GlmStream {
    /// A stream that has seen nothing, with the parameters of any estimator here.
    pub fn new(estimator: impl Into<Glm>) -> Self {
        Self { glm: estimator.into(), n_features: None, chunks: Vec::new(), next_panel: 0, kept: Kept::Nothing }
    }

    /// Learns from more rows, which are named by how many chunks came before.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn partial_fit(&mut self, x: ArrayView2<'_, f64>, response: Response<'_>) -> Result<()> {
        self.add(&self.next_id(), x, response)
    }

    /// Learns from a chunk of rows by the name `id`.
    ///
    /// # Errors
    /// When a chunk of that name is present, a parameter is out of its range or not for a stream, the data are empty,
    /// do not fit together, are not finite or have not the columns of the chunks before, and for other losses than
    /// least squares when a column varies that did not in the first chunk. What was learned before stays.
    pub fn add(&mut self, id: &str, x: ArrayView2<'_, f64>, response: Response<'_>) -> Result<()> {
        self.check_id(id)?;
        let (spec, chosen) = self.spec(x.ncols(), response.has_trials())?;
        let rows = response.rows(&x)?;
        let rows = rows.rows();
        if is_least_squares(&spec) {
            let rows = Rows { first_panel: self.next_panel, ..rows };
            return self.take(id, &spec, x.ncols(), subtrees_on_threads(rows, |rows| rows.scatter(spec.loss))?);
        }
        let found = renew(Renewal::after(self.past(), spec), rows)?;
        self.renewed(id, x.ncols(), found, chosen);
        Ok(())
    }

    /// [`add`](Self::add) for rows on a cluster: what is kept is computed where the chunks are, with the same bits.
    ///
    /// # Errors
    /// As [`add`](Self::add), and what the cluster says.
    pub async fn add_on(
        &mut self,
        client: &Client,
        id: &str,
        x: &ChunkedArray,
        response: &ChunkedResponse,
    ) -> Result<()> {
        self.add_by(client, id, x, response).await
    }

    async fn add_by(
        &mut self,
        cluster: &impl Compute,
        id: &str,
        x: &ChunkedArray,
        response: &ChunkedResponse,
    ) -> Result<()> {
        self.check_id(id)?;
        let n_features = x.shape().get(1).copied().unwrap_or_default();
        let (spec, chosen) = self.spec(n_features, response.has_trials())?;
        if is_least_squares(&spec) {
            let found = scatter_chunked(cluster, spec.loss, x, response, self.next_panel).await?;
            return self.take(id, &spec, n_features, found);
        }
        let found = renew_on(cluster, Renewal::after(self.past(), spec), x, response).await?;
        self.renewed(id, n_features, found, chosen);
        Ok(())
    }

    /// Takes a chunk away, of least squares; for other losses [`refit`](Self::refit) the rows that stay.
    ///
    /// # Errors
    /// When no chunk of that name is present, or the loss is another.
    pub fn retract(&mut self, id: &str) -> Result<()> {
        let Some(place) = self.chunks.iter().position(|chunk| chunk.is_present && chunk.id == id) else {
            let present: Vec<_> = self.chunks.iter().filter(|c| c.is_present).map(|c| c.id.as_str()).collect();
            return Err(Error::parameter("id", format!("{id:?}"), format!("one of {}", present.join(", "))));
        };
        let Kept::Scatters(kept) = &mut self.kept else {
            let expected = "gaussian with the identity link to retract; refit the rows that stay";
            return Err(Error::parameter("family", self.glm.family, expected));
        };
        if let Some(trees) = kept.get_mut(place) {
            *trees = trees.clone().map(|_| Held(None));
        }
        self.chunks[place].is_present = false;
        Ok(())
    }

    /// Forgets all chunks and learns from these rows, called `id`, starting where the stream stands: the exact
    /// optimum, in fewer passes than a fit that knows nothing. The rows may hold those of many chunks.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn refit(&mut self, id: &str, x: ArrayView2<'_, f64>, response: Response<'_>) -> Result<()> {
        let mut fresh = Self::new(self.glm.clone());
        let (spec, chosen) = fresh.spec(x.ncols(), response.has_trials())?;
        if is_least_squares(&spec) {
            fresh.add(id, x, response)?;
        } else {
            let rows = response.rows(&x)?;
            let found = renew(Renewal::from_start(self.start(x.ncols()), spec), rows.rows())?;
            fresh.renewed(id, x.ncols(), found, chosen);
        }
        *self = fresh;
        Ok(())
    }

    /// [`refit`](Self::refit) for rows on a cluster.
    ///
    /// # Errors
    /// As [`add_on`](Self::add_on).
    pub async fn refit_on(
        &mut self,
        client: &Client,
        id: &str,
        x: &ChunkedArray,
        response: &ChunkedResponse,
    ) -> Result<()> {
        let mut fresh = Self::new(self.glm.clone());
        let n_features = x.shape().get(1).copied().unwrap_or_default();
        let (spec, chosen) = fresh.spec(n_features, response.has_trials())?;
        if is_least_squares(&spec) {
            fresh.add_by(client, id, x, response).await?;
        } else {
            let renewal = Renewal::from_start(self.start(n_features), spec);
            let found = renew_on(client, renewal, x, response).await?;
            fresh.renewed(id, n_features, found, chosen);
        }
        *self = fresh;
        Ok(())
    }

    /// The model of all chunks that are present.
    ///
    /// # Errors
    /// When there are none, or their weights are all 0.
    pub fn model(&self) -> Result<GlmModel> {
        match &self.kept {
            Kept::Nothing => Err(NO_ROWS),
            Kept::Quadratics(_, model) => Ok(GlmModel::clone(model)),
            Kept::Scatters(kept) => {
                let scatter = Subtrees::merge_all(kept.iter().cloned()).and_then(|all| all.finish().0);
                let scatter = scatter.ok_or(NO_ROWS)?;
                let n_features = self.n_features.unwrap_or_default();
                let (spec, chosen) = self.spec(n_features, false)?;
                let loss = spec.loss;
                let (mut solution, summary) = of_scatter(spec, &scatter)?;
                solution.report.chunks.clone_from(&self.chunks);
                let deviances = [solution.report.deviance, solution.report.null_deviance];
                let inference = self.glm.wanted(n_features);
                let inference = inference
                    .and_then(|wanted| Inference::new(&summary, loss, &solution.coordinates, wanted, deviances));
                Ok(self.glm.model(Fitted { solution, inference }, chosen))
            }
        }
    }

    /// The chunks it has seen, in the order they came.
    pub fn chunks(&self) -> &[SeenChunk] {
        &self.chunks
    }

    /// The parameters.
    pub const fn glm(&self) -> &Glm {
        &self.glm
    }

    fn next_id(&self) -> String {
        self.chunks.len().to_string()
    }

    fn check_id(&self, id: &str) -> Result<()> {
        if self.chunks.iter().any(|chunk| chunk.is_present && chunk.id == id) {
            return Err(Error::parameter("id", format!("{id:?}"), "a name that no chunk present has"));
        }
        Ok(())
    }

    /// What to solve, and what the report says of how, after a check of the parameters.
    fn spec(&self, n_features: usize, shares: bool) -> Result<(Spec, String)> {
        if let Some(expected) = self.n_features.filter(|expected| *expected != n_features) {
            return Err(Error::NFeatures { expected, found: n_features });
        }
        let (machine, chosen) = self.glm.machine(n_features, shares)?;
        if !matches!(machine, Machine::Irls(_)) {
            let found = chosen.split([',', ':']).next().unwrap_or_default().to_owned();
            return Err(Error::parameter("solver", found, "irls for a stream, or auto of up to 2,000 columns"));
        }
        if self.glm.class_weight.is_some() {
            return Err(Error::parameter("class_weight", "given", "none for a stream; give sample weights"));
        }
        if self.glm.covariance != Covariance::Nonrobust {
            return Err(Error::parameter("covariance", "not nonrobust", "nonrobust for a stream: it keeps no rows"));
        }
        if self.glm.weights_kind != WeightsKind::Frequency {
            return Err(Error::parameter("weights_kind", "precision", "frequency for a stream"));
        }
        Ok((machine.spec().clone(), format!("irls: {}", self.what_is_kept(machine.spec()))))
    }

    fn what_is_kept(&self, spec: &Spec) -> &'static str {
        match (is_least_squares(spec), &self.kept) {
            (true, _) => "from means and cross products of chunks",
            (false, Kept::Quadratics(..)) => "new rows, and those before by their quadratics (renewable estimation)",
            (false, _) => "the rows of one chunk",
        }
    }

    fn past(&self) -> Option<Past> {
        match &self.kept {
            Kept::Quadratics(past, _) => Some(Past::clone(past)),
            _ => None,
        }
    }

    fn start(&self, n_features: usize) -> Option<(f64, Vec<f64>)> {
        match &self.kept {
            Kept::Quadratics(_, model) if model.coef().len() == n_features => {
                Some((model.intercept(), model.coef().to_vec()))
            }
            _ => None,
        }
    }

    /// Takes a chunk's scatter, if all of its numbers are good.
    fn take(&mut self, id: &str, spec: &Spec, n_features: usize, found: Subtrees<Scatter>) -> Result<()> {
        let whole = found.clone().finish();
        let bad = whole.bad.map(|bad| crate::BadValue { row: bad.row - self.next_panel * PANEL, ..bad });
        checked(bad, spec)?;
        let chunk = SeenChunk {
            id: id.to_owned(),
            n_rows: whole.n_rows,
            n_used: whole.n_used,
            sum_weights: whole.sum_weights,
            is_present: true,
        };
        self.next_panel += n_panels(whole.n_rows);
        self.n_features = Some(n_features);
        self.chunks.push(chunk);
        let found = found.map(|scatter| Held(Some(scatter)));
        match &mut self.kept {
            Kept::Scatters(kept) => kept.push(found),
            kept => *kept = Kept::Scatters(vec![found]),
        }
        Ok(())
    }

    fn renewed(&mut self, id: &str, n_features: usize, (mut solution, past): (Solution, Past), chosen: String) {
        let before = match &self.kept {
            Kept::Quadratics(past, _) => (past.moments.n_rows, past.moments.n_used, past.moments.sum_weights),
            _ => (0, 0, 0.),
        };
        self.chunks.push(SeenChunk {
            id: id.to_owned(),
            n_rows: past.moments.n_rows - before.0,
            n_used: past.moments.n_used - before.1,
            sum_weights: past.moments.sum_weights - before.2,
            is_present: true,
        });
        self.n_features = Some(n_features);
        solution.report.chunks.clone_from(&self.chunks);
        let model = self.glm.model(Fitted { solution, inference: None }, chosen);
        self.kept = Kept::Quadratics(Box::new(past), Box::new(model));
    }
}

fn is_least_squares(spec: &Spec) -> bool {
    spec.loss.family == Family::Gaussian && spec.loss.link == Link::Identity
}

fn renew(mut renewal: Renewal, rows: Rows<'_>) -> Result<(Solution, Past)> {
    while let Some(answer) = fit::answer(rows, renewal.spec(), &renewal.ask())? {
        renewal.tell(answer)?;
    }
    renewal.into_done().ok_or(NO_ROWS)
}

async fn renew_on(
    cluster: &impl Compute,
    mut renewal: Renewal,
    x: &ChunkedArray,
    response: &ChunkedResponse,
) -> Result<(Solution, Past)> {
    let mut data = Driven::begin(cluster, renewal.spec(), x, response).await?;
    loop {
        let ask = renewal.ask();
        if matches!(ask, Ask::Done(_)) {
            return renewal.into_done().ok_or(NO_ROWS);
        }
        if let Some(answer) = data.answer(cluster, renewal.spec(), ask).await? {
            renewal.tell(answer)?;
        }
    }
}
