//! Weights of classes: what a row's weight is multiplied by for its class.
//!
//! Where the rows are is not known here.

use phalanx_learn::{Error, Result};
use serde::{Deserialize, Serialize};

use super::pass::code;
use crate::kernel::Rows;

/// What the weight of a row is multiplied by for its class, of
/// [`MultinomialRegression`](crate::MultinomialRegression).
///
/// ```
/// use ndarray::array;
/// use phalanx_glm::{ClassWeights, MultinomialRegression, Response};
/// use phalanx_learn::Fit;
///
/// # fn main() -> phalanx_learn::Result<()> {
/// let (x, y) = (array![[0.], [1.], [2.], [3.], [1.]], array![0., 1., 0., 2., 2.]);
/// let softmax = MultinomialRegression::new().alpha(0.1);
/// let by_class = softmax.clone().class_weight(ClassWeights::Given(vec![(2., 3.)])).fit(&x, &y)?;
/// let by_row = softmax.fit(&x, Response::new(&y).sample_weight(&array![1., 1., 1., 3., 3.]))?;
/// assert_eq!(by_class, by_row);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeights {
    /// So that all classes weigh the same: all weight over the number of classes and the weight of the class, as
    /// scikit-learn's `balanced`.
    Balanced,
    /// Codes of classes with their weights, 0 or more; classes that are not named have 1.
    Given(Vec<(f64, f64)>),
}

impl ClassWeights {
    /// Refuses what no data could make good.
    pub(super) fn check(&self) -> Result<()> {
        let Self::Given(given) = self else { return Ok(()) };
        for (place, &(class, weight)) in given.iter().enumerate() {
            if !(weight >= 0. && weight.is_finite()) {
                return Err(Error::parameter(format!("class_weight of {class}"), weight, "0 or more"));
            }
            if given[..place].iter().any(|(other, _)| *other == class) {
                return Err(Error::parameter("class_weight", format!("given twice for {class}"), "one a class"));
            }
        }
        Ok(())
    }

    /// The weight of each class, given the classes with the sums of their rows' weights.
    pub(super) fn of(&self, classes: &[(f64, f64)]) -> Result<Vec<(f64, f64)>> {
        let given = match self {
            Self::Balanced => {
                let total: f64 = classes.iter().map(|(_, weight)| weight).sum();
                let even = |&(class, weight): &(f64, f64)| (class, total / (classes.len() as f64 * weight));
                return Ok(classes.iter().map(even).collect());
            }
            Self::Given(given) => given,
        };
        if let Some((class, _)) = given.iter().find(|(class, _)| !classes.iter().any(|(known, _)| known == class)) {
            let known: Vec<String> = classes.iter().take(20).map(|(class, _)| class.to_string()).collect();
            let expected = format!("classes that occur, as {}", known.join(", "));
            return Err(Error::parameter("class_weight", format!("given for {class}"), expected));
        }
        let weight = |class: f64| given.iter().find(|(other, _)| *other == class).map_or(1., |(_, weight)| *weight);
        Ok(classes.iter().map(|&(class, _)| (class, weight(class))).collect())
    }
}

/// The rows' weights times those of their classes, which are in ascending order.
pub(super) fn reweighed(rows: Rows<'_>, by_class: &[(f64, f64)]) -> Vec<f64> {
    let of = |(i, y): (usize, &f64)| {
        let weight = rows.weights.map_or(1., |weights| weights[i]);
        // A row of no class is without weight as it is.
        let place = by_class.binary_search_by(|(class, _)| class.total_cmp(&code(*y)));
        place.map_or(weight, |place| weight * by_class[place].1)
    };
    rows.y.iter().enumerate().map(of).collect()
}
