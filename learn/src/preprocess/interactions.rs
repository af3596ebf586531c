//! Products of columns, so that what one column does can hang on another.

use ndarray::{Array2, ArrayView1, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Fit, Result, Transform,
    transformer::{FittedTransformer, Transformer},
    validate,
};

/// More columns than anybody means.
const MAX_PAIRS: usize = 1_000_000;

/// Adds the products of pairs of columns after the columns themselves.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `pairs` | empty, all pairs of different columns | which columns are multiplied, by their places | pairs of places of columns, each pair once |
///
/// The product of the columns `a` and `b` is called `a:b`. A column with itself gives its square.
///
/// ```
/// use ndarray::array;
/// use phalanx_learn::{Fit, FittedTransformer, Transform, preprocess::Interactions};
///
/// # fn main() -> phalanx_learn::Result<()> {
/// let x = array![[1., 2., 3.], [4., 5., 6.]];
/// let fitted = Interactions::new().fit(&x, ())?;
/// assert_eq!(fitted.transform(&x)?, array![[1., 2., 3., 2., 3., 6.], [4., 5., 6., 20., 24., 30.]]);
/// let names = fitted.feature_names(&["a", "b", "c"].map(String::from));
/// assert_eq!(names, ["a", "b", "c", "a:b", "a:c", "b:c"]);
/// let fitted = Interactions::new().pairs([[2, 0]]).fit(&x, ())?;
/// assert_eq!(fitted.transform(&x)?, array![[1., 2., 3., 3.], [4., 5., 6., 24.]]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Interactions {
    /// Which columns are multiplied; empty for all pairs of different ones.
    pub pairs: Vec<[usize; 2]>,
}

/// What an [`Interactions`] has learned: how many columns there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedInteractions {
    n_features: usize,
    pairs: Vec<[usize; 2]>,
}

impl Interactions {
    /// All pairs of different columns.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets which columns are multiplied, by their places.
    #[must_use]
    pub fn pairs(mut self, pairs: impl Into<Vec<[usize; 2]>>) -> Self {
        self.pairs = pairs.into();
        self
    }
}

impl FittedInteractions {
    /// The pairs that are multiplied, by their places.
    pub fn pairs(&self) -> &[[usize; 2]] {
        &self.pairs
    }
}

impl Fit<ArrayView2<'_, f64>, ()> for Interactions {
    type Model = FittedInteractions;

    fn fit(&self, x: ArrayView2<'_, f64>, (): ()) -> Result<FittedInteractions> {
        validate::finite_matrix("X", x)?;
        if x.is_empty() {
            return Err(Error::Empty { what: "X" });
        }
        let n = x.ncols();
        for (place, pair) in self.pairs.iter().enumerate() {
            if let Some(beyond) = pair.iter().find(|column| **column >= n) {
                return Err(Error::parameter("pairs", format!("{pair:?}"), format!("0 to {}, not {beyond}", n - 1)));
            }
            let turned = [pair[1], pair[0]];
            if self.pairs[..place].iter().any(|other| other == pair || *other == turned) {
                return Err(Error::parameter("pairs", format!("{pair:?} twice"), "each pair once"));
            }
        }
        let pairs = if self.pairs.is_empty() {
            if n.saturating_mul(n - 1) / 2 > MAX_PAIRS {
                return Err(Error::parameter("pairs", "all", format!("those that are meant: there are {n} columns")));
            }
            (0..n).flat_map(|a| (a + 1..n).map(move |b| [a, b])).collect()
        } else {
            self.pairs.clone()
        };
        Ok(FittedInteractions { n_features: n, pairs })
    }
}

impl Fit<&Array2<f64>, ()> for Interactions {
    type Model = FittedInteractions;

    fn fit(&self, x: &Array2<f64>, (): ()) -> Result<FittedInteractions> {
        self.fit(x.view(), ())
    }
}

impl Transform<ArrayView2<'_, f64>> for FittedInteractions {
    type Output = Array2<f64>;

    fn transform(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        validate::predict_data(x, self.n_features)?;
        let n = self.n_features;
        let mut found = Array2::zeros((x.nrows(), n + self.pairs.len()));
        found.slice_mut(ndarray::s![.., ..n]).assign(&x);
        for (at, [a, b]) in self.pairs.iter().enumerate() {
            found.column_mut(n + at).assign(&(&x.column(*a) * &x.column(*b)));
        }
        // Factors that are finite may have a product that is not.
        validate::finite_matrix("X with its interactions", found.view())?;
        Ok(found)
    }
}

impl Transform<&Array2<f64>> for FittedInteractions {
    type Output = Array2<f64>;

    fn transform(&self, x: &Array2<f64>) -> Result<Array2<f64>> {
        self.transform(x.view())
    }
}

#[typetag::serde]
impl Transformer for Interactions {
    fn fit_transformer(&self, x: ArrayView2<'_, f64>, _: ArrayView1<'_, f64>) -> Result<Box<dyn FittedTransformer>> {
        Ok(Box::new(self.fit(x, ())?))
    }
}

#[typetag::serde]
impl FittedTransformer for FittedInteractions {
    fn n_features(&self) -> usize {
        self.n_features
    }

    fn transform_dyn(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        self.transform(x)
    }

    fn feature_names(&self, names: &[String]) -> Vec<String> {
        let name = |column: usize| names.get(column).map_or("", String::as_str);
        let products = self.pairs.iter().map(|[a, b]| format!("{}:{}", name(*a), name(*b)));
        names.iter().cloned().chain(products).collect()
    }
}
