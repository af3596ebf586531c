//! Makes regression problems whose truth is known: normal features, a sparse linear predictor, and a response.
//!
//! Numbers come from one ChaCha8 stream a panel of rows, so the same seed gives the same numbers in memory and for
//! every chunking, and more rows never change those before them.

use std::fmt;

use ndarray::{Array1, Array2, ArrayView2};
use phalanx_array::{Block, ChunkedArray, Chunks, PANEL};
use phalanx_engine::{graph::Delayed, task};
use rand::{RngExt, SeedableRng, seq::index};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal, Poisson, StandardNormal};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A problem to make; begun with [`make_regression`], [`make_classification`] or [`make_counts`].
///
/// Features are independent standard normals. With eta = `bias` + x . coef, the response is
/// - [`make_regression`]: eta plus normal noise, as scikit-learn's function of that name makes it;
/// - [`make_classification`]: 1 with probability 1 / (1 + exp(-eta)), otherwise 0, as dask-ml's;
/// - [`make_counts`]: a Poisson count of mean exp(eta), as dask-ml's.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `n_rows` | given | rows to make | any |
/// | `n_features` | given | columns of x | 1 or more |
/// | `n_informative` | 10, at most `n_features` | features whose coefficient is not 0; which they are follows from the seed | 0 to `n_features` |
/// | `scale` | 100 for regression, otherwise 1 | spread of the coefficients: those of regression are uniform in (0, scale), the others in (-scale, scale) / sqrt(`n_informative`) | 0 or more |
/// | `bias` | 0 | the intercept | finite |
/// | `noise` | 0 | standard deviation of the noise; regression alone has it | 0 or more |
/// | `flip_y` | 0 | share of labels that are drawn anew, half of them wrong; classification alone has it | 0 to 1 |
/// | `seed` | 0 | which of the problems of this shape it is | any |
///
/// ```
/// # fn main() -> phalanx_datasets::Result<()> {
/// use phalanx_datasets::make_regression;
/// let made = make_regression(100, 8).n_informative(5).noise(0.1).seed(7).in_memory()?;
/// assert_eq!((made.x.dim(), made.y.len(), made.coef.len()), ((100, 8), 100, 8));
/// assert_eq!(made.coef.iter().filter(|&&b| b != 0.).count(), 5);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Make {
    kind: Kind,
    n_rows: usize,
    n_features: usize,
    n_informative: Option<usize>,
    scale: f64,
    bias: f64,
    noise: f64,
    flip_y: f64,
    seed: u64,
}

/// A problem and its truth.
///
/// `x` has one row a case and one column a feature; `y` one value a case; `coef` one value a feature.
#[derive(Clone, PartialEq)]
pub struct Made<X, Y> {
    /// The features, (n_rows, n_features).
    pub x: X,
    /// The response, (n_rows): numbers, labels 0 and 1, or counts.
    pub y: Y,
    /// The coefficients that made the response, (n_features); 0 for features that are not informative.
    pub coef: Array1<f64>,
    /// The intercept that made the response.
    pub bias: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    Regression,
    Classification,
    Counts,
}

/// A linear regression with normal noise: y = bias + x . coef + noise. See [`Make`] for the parameters.
pub fn make_regression(n_rows: usize, n_features: usize) -> Make {
    Make::new(Kind::Regression, n_rows, n_features, 100.)
}

/// Two classes, 0 and 1, whose log odds are linear in the features. See [`Make`] for the parameters.
///
/// ```
/// # fn main() -> phalanx_datasets::Result<()> {
/// let made = phalanx_datasets::make_classification(1000, 5).scale(3.).seed(1).in_memory()?;
/// assert!(made.y.iter().all(|&y| y == 0. || y == 1.));
/// # Ok(())
/// # }
/// ```
pub fn make_classification(n_rows: usize, n_features: usize) -> Make {
    Make::new(Kind::Classification, n_rows, n_features, 1.)
}

/// Counts whose log mean is linear in the features. See [`Make`] for the parameters.
///
/// ```
/// # fn main() -> phalanx_datasets::Result<()> {
/// let made = phalanx_datasets::make_counts(1000, 5).bias(1.).seed(1).in_memory()?;
/// assert!(made.y.iter().all(|&y| y >= 0. && y.fract() == 0.));
/// # Ok(())
/// # }
/// ```
pub fn make_counts(n_rows: usize, n_features: usize) -> Make {
    Make::new(Kind::Counts, n_rows, n_features, 1.)
}

impl Make {
    const fn new(kind: Kind, n_rows: usize, n_features: usize, scale: f64) -> Self {
        let n_informative = None;
        Self { kind, n_rows, n_features, n_informative, scale, bias: 0., noise: 0., flip_y: 0., seed: 0 }
    }

    /// Features whose coefficient is not 0. Default 10, or all when there are fewer.
    pub const fn n_informative(mut self, n_informative: usize) -> Self {
        self.n_informative = Some(n_informative);
        self
    }

    /// Spread of the coefficients. Default 100 for regression, otherwise 1.
    pub const fn scale(mut self, scale: f64) -> Self {
        self.scale = scale;
        self
    }

    /// The intercept. Default 0.
    pub const fn bias(mut self, bias: f64) -> Self {
        self.bias = bias;
        self
    }

    /// Standard deviation of a regression's noise. Default 0.
    pub const fn noise(mut self, noise: f64) -> Self {
        self.noise = noise;
        self
    }

    /// Share of a classification's labels that are drawn anew. Default 0.
    pub const fn flip_y(mut self, flip_y: f64) -> Self {
        self.flip_y = flip_y;
        self
    }

    /// Which of the problems of this shape it is. Default 0.
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Makes the problem here, at once.
    ///
    /// # Errors
    /// When a parameter is out of its range.
    pub fn in_memory(&self) -> Result<Made<Array2<f64>, Array1<f64>>> {
        let coef = self.coef()?;
        let x = self.features(0, self.n_rows);
        let y = self.response(0, x.view(), &coef);
        Ok(Made { x, y, coef, bias: self.bias })
    }

    /// Describes the problem in chunks of `chunk_rows` rows, made where they are computed. The numbers are those of
    /// [`in_memory`](Self::in_memory).
    ///
    /// # Errors
    /// When a parameter is out of its range, or `chunk_rows` is no positive multiple of [`PANEL`] (unless one chunk
    /// holds all rows).
    ///
    /// ```
    /// # fn main() -> phalanx_datasets::Result<()> {
    /// let made = phalanx_datasets::make_counts(1_000_000, 20).seed(7).chunks(65_536)?;
    /// assert_eq!((made.x.shape(), made.y.shape(), made.x.n_chunks()), (vec![1_000_000, 20], vec![1_000_000], 16));
    /// # Ok(())
    /// # }
    /// ```
    pub fn chunks(&self, chunk_rows: usize) -> Result<Made<ChunkedArray, ChunkedArray>> {
        let coef = self.coef()?;
        if chunk_rows < self.n_rows || chunk_rows == 0 {
            crate::check_chunk_rows(chunk_rows)?;
        }
        let rows = Chunks::uniform(self.n_rows, chunk_rows)?;
        let make = Delayed::value(self.clone());
        let x: Vec<Delayed<Block>> = rows
            .ranges()
            .map(|range| {
                let n_bytes = 8 * range.len() as u64 * self.n_features as u64;
                make_features::delayed(&make, range.start / PANEL, range.len()).expected_bytes(n_bytes)
            })
            .collect();
        let y = rows.ranges().zip(&x).map(|(range, x)| {
            make_response::delayed(&make, range.start / PANEL, x).expected_bytes(8 * range.len() as u64)
        });
        let y = ChunkedArray::from_blocks(vec![rows.clone()], y.collect())?;
        let x = ChunkedArray::from_blocks(vec![rows, Chunks::single(self.n_features)], x)?;
        Ok(Made { x, y, coef, bias: self.bias })
    }

    fn check(&self) -> Result<()> {
        let refuse =
            |name, value: String, expected: &str| Err(Error::Parameter { name, value, expected: expected.to_owned() });
        if self.n_features == 0 {
            return refuse("n_features", "0".into(), "1 or more");
        }
        if let Some(n) = self.n_informative
            && n > self.n_features
        {
            return refuse(
                "n_informative",
                n.to_string(),
                &format!("0 to {}, the number of features", self.n_features),
            );
        }
        if !self.bias.is_finite() {
            return refuse("bias", self.bias.to_string(), "a finite number");
        }
        for (name, value, of) in [
            ("scale", self.scale, None),
            ("noise", self.noise, Some(Kind::Regression)),
            ("flip_y", self.flip_y, Some(Kind::Classification)),
        ] {
            if !(value.is_finite() && value >= 0.) || (name == "flip_y" && value > 1.) {
                return refuse(name, value.to_string(), if name == "flip_y" { "0 to 1" } else { "0 or more" });
            }
            if value != 0. && of.is_some_and(|kind| kind != self.kind) {
                return refuse(name, value.to_string(), &format!("0, as {} has no {name}", self.kind));
            }
        }
        Ok(())
    }

    /// The true coefficients, the same wherever they are drawn.
    fn coef(&self) -> Result<Array1<f64>> {
        self.check()?;
        let n_informative = self.n_informative.unwrap_or_else(|| self.n_features.min(10));
        let mut rng = self.stream(0);
        let mut coef = Array1::zeros(self.n_features);
        for feature in index::sample(&mut rng, self.n_features, n_informative) {
            let share: f64 = rng.random();
            coef[feature] = match self.kind {
                Kind::Regression => self.scale * share,
                Kind::Classification | Kind::Counts => self.scale * (2. * share - 1.) / (n_informative as f64).sqrt(),
            };
        }
        Ok(coef)
    }

    /// The features of `n_rows` rows from the first of panel `first_panel` on.
    fn features(&self, first_panel: usize, n_rows: usize) -> Array2<f64> {
        let mut values = Vec::with_capacity(n_rows * self.n_features);
        for (panel, rows) in panels(first_panel, n_rows) {
            let rng = self.stream(1 + 2 * panel as u64);
            values.extend(StandardNormal.sample_iter(rng).take(rows * self.n_features).map(|value: f64| value));
        }
        // The length is right by construction; an empty array stands for what cannot be.
        Array2::from_shape_vec((n_rows, self.n_features), values).unwrap_or_default()
    }

    /// The response to rows of features whose first row is the first of panel `first_panel`.
    fn response(&self, first_panel: usize, x: ArrayView2<'_, f64>, coef: &Array1<f64>) -> Array1<f64> {
        // A generator must not depend on how a library sums: one product after the other, informative ones only.
        let used: Vec<(usize, f64)> = coef.iter().copied().enumerate().filter(|&(_, b)| b != 0.).collect();
        let mut y = Vec::with_capacity(x.nrows());
        for (panel, rows) in panels(first_panel, x.nrows()) {
            let mut rng = self.stream(2 + 2 * panel as u64);
            for _ in 0..rows {
                let row = x.row(y.len());
                let eta = used.iter().fold(self.bias, |eta, &(feature, b)| eta + b * row[feature]);
                y.push(self.draw(eta, &mut rng));
            }
        }
        y.into()
    }

    fn draw(&self, eta: f64, rng: &mut ChaCha8Rng) -> f64 {
        match self.kind {
            Kind::Regression => Normal::new(eta, self.noise).map_or(eta, |normal| normal.sample(rng)),
            Kind::Classification => {
                let (label, flip, coin): (f64, f64, bool) = (rng.random(), rng.random(), rng.random());
                let label = label < 1. / (1. + (-eta).exp());
                f64::from(if flip < self.flip_y { coin } else { label })
            }
            // A mean that no count could have any more, or none at all, is itself the answer.
            Kind::Counts => Poisson::new(eta.exp()).map_or(eta.exp(), |poisson| poisson.sample(rng)),
        }
    }

    fn stream(&self, stream: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(stream);
        rng
    }
}

#[task(name = "datasets.make_features")]
pub(crate) fn make_features(make: &Make, first_panel: usize, n_rows: usize) -> Block {
    make.features(first_panel, n_rows).into()
}

#[task(name = "datasets.make_response")]
pub(crate) fn make_response(make: &Make, first_panel: usize, x: &Block) -> Result<Block> {
    Ok(make.response(first_panel, x.view2(), &make.coef()?).into())
}

/// The panels of `n_rows` rows, and how many of the rows each has.
fn panels(first: usize, n_rows: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n_rows.div_ceil(PANEL)).map(move |at| (first + at, PANEL.min(n_rows - at * PANEL)))
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Regression => "make_regression",
            Self::Classification => "make_classification",
            Self::Counts => "make_counts",
        })
    }
}

impl<X, Y> fmt::Debug for Made<X, Y> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Made").field("coef", &self.coef).field("bias", &self.bias).finish_non_exhaustive()
    }
}
