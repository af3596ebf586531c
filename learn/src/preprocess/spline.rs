//! Natural cubic splines: smooth curves of a column as a few columns that a linear model can weigh.

use ndarray::{Array2, ArrayView1, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Fit, Result, Transform,
    transformer::{FittedTransformer, Transformer},
    validate,
};

/// More columns than a spline can be meant to have.
const MAX_DF: usize = 1_000;

/// Replaces columns by natural cubic spline bases, as R's `splines::ns`: piecewise cubic between the knots, with two
/// continuous derivatives, and linear beyond the boundary.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `columns` | empty, all | the columns to replace, by their places | places of columns, each once |
/// | `df` | 4 | columns that each becomes: one more than inner knots, which are quantiles | 1 to 1,000 |
/// | `knots` | none | the inner knots, for every column; `df` does not count then | ascending, inside the boundary |
/// | `boundary` | none, least and greatest | where the curve becomes a straight line | two ascending numbers |
///
/// The basis has no constant column, since a model has its intercept. It is made as R makes it (B-splines, the first
/// left out, projected on those whose second derivative is 0 at the boundary by Householder's reflections), so numbers
/// and coefficients are R's. Other columns stay where they are, and each basis stands in its column's place.
///
/// ```
/// use ndarray::array;
/// use phalanx_learn::{Fit, Transform, preprocess::NaturalSpline};
///
/// # fn main() -> phalanx_learn::Result<()> {
/// let x = array![[0., 7.], [1., 7.5], [2., 8.], [3., 9.], [4., 9.]];
/// let spline = NaturalSpline::new().columns([0]).df(2).fit(&x, ())?;
/// assert_eq!(spline.knots(0), Some(&[2.][..]));
/// let x = spline.transform(&x)?;
/// assert_eq!((x.ncols(), x[[0, 0]], x[[3, 2]]), (3, 0., 9.));
/// # Ok(())
/// # }
/// ```
///
/// Source: C. de Boor, *A Practical Guide to Splines* (1978), chapters IX and X; T. Hastie, R. Tibshirani, J. Friedman,
/// *The Elements of Statistical Learning*, 2nd ed. (2009), section 5.2.1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NaturalSpline {
    /// The columns to replace; empty for all.
    pub columns: Vec<usize>,
    /// Columns that each becomes.
    pub df: usize,
    /// The inner knots.
    pub knots: Option<Vec<f64>>,
    /// Where the curve becomes a straight line.
    pub boundary: Option<[f64; 2]>,
}

/// What a [`NaturalSpline`] has learned: the knots of each column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedNaturalSpline {
    n_features: usize,
    /// In the order of the columns.
    splines: Vec<(usize, Basis)>,
}

/// The knots of one curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Basis {
    knots: Vec<f64>,
    boundary: [f64; 2],
}

impl Default for NaturalSpline {
    fn default() -> Self {
        Self { columns: Vec::new(), df: 4, knots: None, boundary: None }
    }
}

impl NaturalSpline {
    /// All columns, four degrees of freedom, knots at quantiles.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the columns to replace, by their places.
    #[must_use]
    pub fn columns(mut self, columns: impl Into<Vec<usize>>) -> Self {
        self.columns = columns.into();
        self
    }

    /// Sets how many columns each becomes.
    #[must_use]
    pub const fn df(mut self, df: usize) -> Self {
        self.df = df;
        self
    }

    /// Sets the inner knots.
    #[must_use]
    pub fn knots(mut self, knots: impl Into<Vec<f64>>) -> Self {
        self.knots = Some(knots.into());
        self
    }

    /// Sets where the curve becomes a straight line.
    #[must_use]
    pub const fn boundary(mut self, low: f64, high: f64) -> Self {
        self.boundary = Some([low, high]);
        self
    }

    /// The knots for some numbers, which are called `name` in errors.
    pub(crate) fn basis(&self, name: &str, numbers: impl IntoIterator<Item = f64>) -> Result<Basis> {
        let mut sorted: Vec<f64> = numbers.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (Some(&least), Some(&most)) = (sorted.first(), sorted.last()) else {
            return Err(Error::Empty { what: "the column of a spline" });
        };
        let boundary = self.boundary.unwrap_or([least, most]);
        if self.boundary.is_none() && least == most {
            let value = format!("{least} in every row");
            return Err(Error::parameter(name, value, "at least two different numbers for a spline"));
        }
        let [low, high] = boundary;
        if !(low < high && low.is_finite() && high.is_finite()) {
            return Err(Error::parameter("boundary", format!("{low} to {high}"), "two ascending numbers"));
        }
        let knots = match &self.knots {
            Some(knots) => {
                let ascend = knots.windows(2).all(|pair| pair[0] < pair[1]);
                if !(ascend && knots.len() < MAX_DF && knots.iter().all(|knot| low < *knot && *knot < high)) {
                    let expected = format!("ascending numbers above {low} and below {high}, the boundary of {name}");
                    return Err(Error::parameter("knots", format!("{knots:?}"), expected));
                }
                knots.clone()
            }
            None => {
                if !(1..=MAX_DF).contains(&self.df) {
                    return Err(Error::parameter("df", self.df, "1 to 1,000"));
                }
                let inside: Vec<f64> = sorted.into_iter().filter(|x| (low..=high).contains(x)).collect();
                if inside.is_empty() {
                    let value = format!("outside of the boundary {low} to {high} in every row");
                    return Err(Error::parameter(name, value, "numbers inside"));
                }
                let knots: Vec<f64> = (1..self.df).map(|k| quantile(&inside, k as f64 / self.df as f64)).collect();
                let all: Vec<f64> = [&[low][..], &knots, &[high]].concat();
                if all.windows(2).any(|pair| pair[0] >= pair[1]) {
                    let expected = format!("less: {name} has too few different numbers for so many knots at quantiles");
                    return Err(Error::parameter("df", self.df, expected));
                }
                knots
            }
        };
        Ok(Basis { knots, boundary })
    }
}

impl FittedNaturalSpline {
    /// The inner knots of a column; none where the column was not replaced.
    pub fn knots(&self, column: usize) -> Option<&[f64]> {
        self.splines.iter().find(|(place, _)| *place == column).map(|(_, basis)| &basis.knots[..])
    }

    fn basis_of(&self, column: usize) -> Option<&Basis> {
        self.splines.iter().find(|(place, _)| *place == column).map(|(_, basis)| basis)
    }
}

impl Basis {
    /// How many columns it has.
    pub(crate) fn df(&self) -> usize {
        self.knots.len() + 1
    }

    /// The curves at some places.
    pub(crate) fn at(&self, places: impl Iterator<Item = f64>) -> Vec<Vec<f64>> {
        let [low, high] = self.boundary;
        let all: Vec<f64> = [&[low; 4][..], &self.knots, &[high; 4]].concat();
        // The first is left out for the intercept.
        let splines = |x: f64, derivative: usize| b_splines(&all, 4, x, derivative)[1..].to_vec();
        let reflections = Reflections::of([splines(low, 2), splines(high, 2)]);
        let at_borders = [low, high].map(|border| (splines(border, 0), splines(border, 1)));
        let curve = |x: f64| {
            let straight = |border: f64, (value, slope): &(Vec<f64>, Vec<f64>)| -> Vec<f64> {
                value.iter().zip(slope).map(|(value, slope)| value + (x - border) * slope).collect()
            };
            let mut curve = match x {
                _ if x < low => straight(low, &at_borders[0]),
                _ if x > high => straight(high, &at_borders[1]),
                _ => splines(x, 0),
            };
            reflections.apply(&mut curve);
            curve.split_off(2)
        };
        places.map(curve).collect()
    }
}

/// The orthogonal matrix of a QR factorisation of two columns.
struct Reflections([Vec<f64>; 2]);

impl Reflections {
    fn of(columns: [Vec<f64>; 2]) -> Self {
        let [first, mut second] = columns;
        let one = reflection(first, 0);
        reflect(&one, 0, &mut second);
        Self([one, reflection(second, 1)])
    }

    fn apply(&self, vector: &mut [f64]) {
        self.0.iter().enumerate().for_each(|(at, reflection)| reflect(reflection, at, vector));
    }
}

/// What reflects a column's numbers from `at` on onto the axis `at`.
fn reflection(mut column: Vec<f64>, at: usize) -> Vec<f64> {
    column[..at].fill(0.);
    let norm = column.iter().map(|x| x * x).sum::<f64>().sqrt().copysign(column[at]);
    if norm != 0. {
        column.iter_mut().for_each(|x| *x /= norm);
        column[at] += 1.;
    }
    column
}

fn reflect(reflection: &[f64], at: usize, vector: &mut [f64]) {
    if reflection[at] == 0. {
        return;
    }
    let t = -reflection.iter().zip(&*vector).map(|(a, b)| a * b).sum::<f64>() / reflection[at];
    vector.iter_mut().zip(reflection).for_each(|(x, v)| *x += t * v);
}

/// A derivative of every B-spline of an order at x, from the left at the last knot.
fn b_splines(knots: &[f64], order: usize, x: f64, derivative: usize) -> Vec<f64> {
    let n = knots.len() - order;
    let share = |value: f64, width: f64| if width > 0. { value / width } else { 0. };
    if order == 1 {
        let last = (0..n).rev().find(|&i| knots[i] < knots[i + 1]).unwrap_or(0);
        let span = (0..n).rev().find(|&i| knots[i] <= x && knots[i] < knots[i + 1]).unwrap_or(0).min(last);
        return (0..n).map(|i| f64::from(u8::from(i == span && derivative == 0))).collect();
    }
    let width = |i: usize| knots[i + order - 1] - knots[i];
    if derivative > 0 {
        let lower = b_splines(knots, order - 1, x, derivative - 1);
        let degree = (order - 1) as f64;
        return (0..n).map(|i| degree * (share(lower[i], width(i)) - share(lower[i + 1], width(i + 1)))).collect();
    }
    let lower = b_splines(knots, order - 1, x, 0);
    let rising = |i: usize| share((x - knots[i]) * lower[i], width(i));
    let falling = |i: usize| share((knots[i + order] - x) * lower[i + 1], width(i + 1));
    (0..n).map(|i| rising(i) + falling(i)).collect()
}

/// R's default quantile (type 7) of sorted numbers.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (low, rest) = (place.floor() as usize, place.fract());
    let high = (low + 1).min(sorted.len() - 1);
    sorted[low] + rest * (sorted[high] - sorted[low])
}

impl Fit<ArrayView2<'_, f64>, ()> for NaturalSpline {
    type Model = FittedNaturalSpline;

    fn fit(&self, x: ArrayView2<'_, f64>, (): ()) -> Result<FittedNaturalSpline> {
        validate::finite_matrix("X", x)?;
        if x.is_empty() {
            return Err(Error::Empty { what: "X" });
        }
        let mut columns = if self.columns.is_empty() { (0..x.ncols()).collect() } else { self.columns.clone() };
        columns.sort_unstable();
        if let Some(pair) = columns.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::parameter("columns", format!("{} twice", pair[0]), "each column once"));
        }
        if let Some(beyond) = columns.iter().find(|column| **column >= x.ncols()) {
            return Err(Error::parameter("columns", beyond, format!("0 to {}, the places of columns", x.ncols() - 1)));
        }
        let splines = columns.into_iter().map(|column| {
            let basis = self.basis(&format!("column {column}"), x.column(column).iter().copied())?;
            Ok((column, basis))
        });
        Ok(FittedNaturalSpline { n_features: x.ncols(), splines: splines.collect::<Result<_>>()? })
    }
}

impl Fit<&Array2<f64>, ()> for NaturalSpline {
    type Model = FittedNaturalSpline;

    fn fit(&self, x: &Array2<f64>, (): ()) -> Result<FittedNaturalSpline> {
        self.fit(x.view(), ())
    }
}

impl Transform<ArrayView2<'_, f64>> for FittedNaturalSpline {
    type Output = Array2<f64>;

    fn transform(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        validate::predict_data(x, self.n_features)?;
        let width = |column: usize| self.basis_of(column).map_or(1, Basis::df);
        let mut found = Array2::zeros((x.nrows(), (0..self.n_features).map(width).sum()));
        let mut at = 0;
        for (column, numbers) in x.columns().into_iter().enumerate() {
            match self.basis_of(column) {
                None => found.column_mut(at).assign(&numbers),
                Some(basis) => {
                    for (row, curve) in basis.at(numbers.iter().copied()).into_iter().enumerate() {
                        curve.into_iter().enumerate().for_each(|(k, value)| found[(row, at + k)] = value);
                    }
                }
            }
            at += width(column);
        }
        Ok(found)
    }
}

impl Transform<&Array2<f64>> for FittedNaturalSpline {
    type Output = Array2<f64>;

    fn transform(&self, x: &Array2<f64>) -> Result<Array2<f64>> {
        self.transform(x.view())
    }
}

#[typetag::serde]
impl Transformer for NaturalSpline {
    fn fit_transformer(&self, x: ArrayView2<'_, f64>, _: ArrayView1<'_, f64>) -> Result<Box<dyn FittedTransformer>> {
        Ok(Box::new(self.fit(x, ())?))
    }
}

#[typetag::serde]
impl FittedTransformer for FittedNaturalSpline {
    fn n_features(&self) -> usize {
        self.n_features
    }

    fn transform_dyn(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        self.transform(x)
    }

    /// `ns(age, df=3)1`, `ns(age, df=3)2`, ... in the place of `age`.
    fn feature_names(&self, names: &[String]) -> Vec<String> {
        let of = |(column, name): (usize, &String)| match self.basis_of(column) {
            None => vec![name.clone()],
            Some(basis) => (1..=basis.df()).map(|k| format!("ns({name}, df={}){k}", basis.df())).collect(),
        };
        names.iter().enumerate().flat_map(of).collect()
    }
}
