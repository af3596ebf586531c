//! What every estimator keeps, whoever wrote it: one call in its tests.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ShapeBuilder, s};
use phalanx_array::panel::PANEL;

use crate::{Error, Estimator, Model, Result, json, params};

/// Checks an estimator on 600 rows of 3 columns whose y is 0 or 1 and not separable: data for any regressor of
/// real numbers or counts and for any classifier of two classes.
///
/// The rules: the same data give the same bits, whatever their layout in memory; estimator and model come back from
/// JSON as they were; predictions do not depend on the rows beside them (on panel borders); parameters that are read
/// by name can be set by name; probabilities are probabilities; clones fit alike and fitting changes nothing; wrong
/// columns, lengths, empty data and numbers that are not finite are errors that say where.
///
/// # Errors
/// [`Error::Rule`] for the first rule that is broken.
///
/// ```
/// use phalanx_learn::{DummyRegressor, check::check_estimator};
/// check_estimator(&DummyRegressor::new()).unwrap();
/// ```
pub fn check_estimator(estimator: &dyn Estimator) -> Result<()> {
    let n_rows = 2 * PANEL + 88;
    // A linear congruential generator: plain arithmetic, the same for ever.
    let mut state = 1_u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let x = Array2::from_shape_simple_fn((n_rows, 3), || 2. * draw() - 1.);
    let y: Array1<f64> =
        x.rows().into_iter().map(|row| f64::from(u8::from(row[0] - 0.5 * row[1] + 2. * draw() > 1.))).collect();
    check_estimator_on(estimator, x.view(), y.view())
}

/// [`check_estimator`] on other data: for an estimator that cannot learn from zeros and ones. X has three rows and
/// two columns or more, and must be such that the fit succeeds.
///
/// # Errors
/// [`Error::Rule`] for the first rule that is broken.
pub fn check_estimator_on(estimator: &dyn Estimator, x: ArrayView2<'_, f64>, y: ArrayView1<'_, f64>) -> Result<()> {
    let check = Check { estimator, x: x.reborrow(), y: y.reborrow() };
    let model = check.fit("good data are learned from", estimator)?;
    check.refitting(&*model)?;
    check.layouts(&*model)?;
    check.travelling(&*model)?;
    check.parameters(&*model)?;
    check.predictions(&*model)?;
    check.bad_data(&*model)
}

struct Check<'a> {
    estimator: &'a dyn Estimator,
    x: ArrayView2<'a, f64>,
    y: ArrayView1<'a, f64>,
}

impl Check<'_> {
    fn refitting(&self, model: &dyn Model) -> Result<()> {
        let rule = "the same data give the same bits";
        let before = json::to_text(self.estimator.name(), self.estimator)?;
        let clone = self.estimator.clone_box();
        self.same(rule, model, &*self.fit(rule, self.estimator)?)?;
        self.same("a clone fits alike", model, &*self.fit(rule, &*clone)?)?;
        self.same("a clone of the model predicts alike", model, &*model.clone_box())?;
        let after = json::to_text(self.estimator.name(), self.estimator)?;
        self.holds("fitting changes no parameter", before == after, || format!("{before} became {after}"))
    }

    fn layouts(&self, model: &dyn Model) -> Result<()> {
        let rule = "the layout in memory changes no bit";
        let (n_rows, n_columns) = self.x.dim();
        let mut by_column = Array2::zeros((n_rows, n_columns).f());
        by_column.assign(&self.x);
        let mut sparse = Array2::zeros((n_rows, 2 * n_columns));
        sparse.slice_mut(s![.., ..;2]).assign(&self.x);
        let mut strided_y = Array1::zeros(2 * n_rows);
        strided_y.slice_mut(s![..;2]).assign(&self.y);
        for x in [by_column.view(), sparse.slice(s![.., ..;2])] {
            let other =
                self.estimator.fit_dyn(x, strided_y.slice(s![..;2])).map_err(|error| self.broken(rule, error))?;
            self.same(rule, model, &*other)?;
            let predictions = model.predict_dyn(x).map_err(|error| self.broken(rule, error))?;
            self.equal(rule, &self.predict(rule, model, self.x)?, &predictions)?;
        }
        Ok(())
    }

    fn travelling(&self, model: &dyn Model) -> Result<()> {
        let rule = "the estimator comes back from JSON as it was";
        let text = json::to_text(self.estimator.name(), self.estimator)?;
        let estimator: Box<dyn Estimator> =
            json::from_text(self.estimator.name(), &text).map_err(|error| self.broken(rule, error))?;
        let back = json::to_text(estimator.name(), &*estimator)?;
        self.holds(rule, text == back, || format!("{text} came back as {back}"))?;
        self.same(rule, model, &*self.fit(rule, &*estimator)?)?;

        let rule = "the model comes back from JSON as it was";
        let text = json::to_text(model.name(), model)?;
        let other: Box<dyn Model> = json::from_text(model.name(), &text).map_err(|error| self.broken(rule, error))?;
        let back = json::to_text(other.name(), &*other)?;
        self.holds(rule, text == back, || format!("{text} came back as {back}"))?;
        self.same(rule, model, &*other)?;
        self.holds(rule, model.report() == other.report(), || format!("the report became {}", other.report()))?;
        self.holds("a report is an object", model.report().is_object(), || model.report().to_string())
    }

    fn parameters(&self, model: &dyn Model) -> Result<()> {
        let rule = "a parameter that is read by name is set by name";
        let all = params::get(self.estimator)?;
        let same = params::set(self.estimator, all.clone()).map_err(|error| self.broken(rule, error))?;
        self.holds(rule, params::get(&*same)? == all, || "other values came back".to_owned())?;
        self.same(rule, model, &*self.fit(rule, &*same)?)
    }

    fn predictions(&self, model: &dyn Model) -> Result<()> {
        let rule = "there is one finite prediction a row";
        let whole = self.predict(rule, model, self.x)?;
        let good = whole.len() == self.x.nrows() && whole.iter().all(|value| value.is_finite());
        self.holds(rule, good, || format!("{} rows gave {whole}", self.x.nrows()))?;
        let none = self.predict(rule, model, self.x.slice(s![..0, ..]))?;
        self.holds("no rows give no predictions", none.is_empty(), || format!("{none}"))?;

        let rule = "a prediction does not depend on the rows before its panel";
        let from = PANEL.min(self.x.nrows());
        let part = self.predict(rule, model, self.x.slice(s![from.., ..]))?;
        self.equal(rule, &whole.slice(s![from..]).to_owned(), &part)?;

        let rule = "probabilities are from 0 to 1 and sum to 1";
        let classes = model.classes();
        if classes.is_empty() {
            return Ok(());
        }
        let probabilities = model.predict_proba_dyn(self.x).map_err(|error| self.broken(rule, error))?;
        let good = probabilities.dim() == (self.x.nrows(), classes.len())
            && probabilities.iter().all(|p| (0. ..=1.).contains(p))
            && probabilities.rows().into_iter().all(|row| (row.sum() - 1.).abs() < 1e-12);
        self.holds(rule, good, || format!("{probabilities}"))?;
        self.holds("classes ascend", classes.is_sorted(), || format!("{classes:?}"))
    }

    fn bad_data(&self, model: &dyn Model) -> Result<()> {
        let rule = "other columns than at fit are an error";
        self.holds(rule, model.n_features() == self.x.ncols(), || format!("n_features is {}", model.n_features()))?;
        let wide = Array2::zeros((2, self.x.ncols() + 1));
        for x in [self.x.slice(s![.., 1..]), wide.view()] {
            let expected = Error::NFeatures { expected: self.x.ncols(), found: x.ncols() };
            self.refuses(rule, &expected, model.predict_dyn(x).err())?;
        }

        let rule = "X and y of different lengths are an error";
        let n_rows = self.x.nrows();
        let expected = Error::Length { left: "X", n_left: n_rows, right: "y", n_right: n_rows - 1 };
        let short = self.y.slice(s![1..]);
        self.refuses(rule, &expected, self.estimator.fit_dyn(self.x, short).err())?;

        let rule = "empty data are an error";
        let none = self.estimator.fit_dyn(self.x.slice(s![..0, ..]), self.y.slice(s![..0]));
        self.refuses(rule, &Error::Empty { what: "X" }, none.err())?;
        let none = self.estimator.fit_dyn(self.x.slice(s![.., ..0]), self.y);
        self.refuses(rule, &Error::Empty { what: "X" }, none.err())?;

        let rule = "a number that is not finite is an error with its place";
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let (mut x, mut y) = (self.x.to_owned(), self.y.to_owned());
            (x[(2, 1)], y[1]) = (value, value);
            let in_x = Error::NotFinite { what: "X", row: 2, column: Some(1), value };
            let in_y = Error::NotFinite { what: "y", row: 1, column: None, value };
            self.refuses(rule, &in_x, self.estimator.fit_dyn(x.view(), self.y).err())?;
            self.refuses(rule, &in_y, self.estimator.fit_dyn(self.x, y.view()).err())?;
            self.refuses(rule, &in_x, model.predict_dyn(x.view()).err())?;
        }
        Ok(())
    }

    fn fit(&self, rule: &'static str, estimator: &dyn Estimator) -> Result<Box<dyn Model>> {
        estimator.fit_dyn(self.x, self.y).map_err(|error| self.broken(rule, error))
    }

    fn predict(&self, rule: &'static str, model: &dyn Model, x: ArrayView2<'_, f64>) -> Result<Array1<f64>> {
        model.predict_dyn(x).map_err(|error| self.broken(rule, error))
    }

    fn same(&self, rule: &'static str, one: &dyn Model, other: &dyn Model) -> Result<()> {
        self.equal(rule, &self.predict(rule, one, self.x)?, &self.predict(rule, other, self.x)?)
    }

    fn equal(&self, rule: &'static str, one: &Array1<f64>, other: &Array1<f64>) -> Result<()> {
        self.holds(rule, one.len() == other.len(), || format!("{} predictions and {}", one.len(), other.len()))?;
        let differs = one.iter().zip(other).position(|(one, other)| one.to_bits() != other.to_bits());
        self.holds(rule, differs.is_none(), || {
            let row = differs.unwrap_or_default();
            format!("row {row} is {} and {}", one[row], other[row])
        })
    }

    fn refuses(&self, rule: &'static str, expected: &Error, found: Option<Error>) -> Result<()> {
        let found = found.map_or_else(|| "no error".to_owned(), |error| error.to_string());
        let expected = expected.to_string();
        self.holds(rule, found == expected, || format!("expected {expected:?}, got {found:?}"))
    }

    fn holds(&self, rule: &'static str, holds: bool, problem: impl FnOnce() -> String) -> Result<()> {
        if holds { Ok(()) } else { Err(self.broken(rule, problem())) }
    }

    fn broken(&self, rule: &'static str, problem: impl std::fmt::Display) -> Error {
        Error::Rule { estimator: self.estimator.name().to_owned(), rule, problem: problem.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::{DummyRegressor, Pipeline, Strategy, preprocess::StandardScaler};

    #[test]
    fn our_own_keep_the_rules() {
        check_estimator(&DummyRegressor::new()).expect("it keeps them");
        check_estimator(&DummyRegressor::new().strategy(Strategy::Median)).expect("it keeps them");
        let y = Array1::from_shape_fn(1000, |row| (row as f64).sin());
        let x = y.clone().insert_axis(ndarray::Axis(1));
        let x = ndarray::concatenate![ndarray::Axis(1), x, x];
        check_estimator_on(&DummyRegressor::new(), x.view(), y.view()).expect("it keeps them");
        let pipeline =
            Pipeline::builder().step("scale", StandardScaler::new()).estimator("model", DummyRegressor::new());
        check_estimator(&pipeline).expect("it keeps them");
    }

    /// Breaks a rule on purpose.
    #[derive(Debug, Clone, Serialize, Deserialize)]
    enum Sloppy {
        ChecksNothing,
        CountsItsFits,
    }

    #[derive(Debug, Clone, Serialize, Deserialize)]
    struct SloppyModel(f64, usize);

    static FITS: AtomicUsize = AtomicUsize::new(0);

    #[typetag::serde]
    impl Estimator for Sloppy {
        fn fit_dyn(&self, x: ArrayView2<'_, f64>, _: ArrayView1<'_, f64>) -> Result<Box<dyn Model>> {
            let constant = match self {
                Self::ChecksNothing => 1,
                Self::CountsItsFits => FITS.fetch_add(1, Ordering::Relaxed),
            };
            Ok(Box::new(SloppyModel(constant as f64, x.ncols())))
        }
    }

    #[typetag::serde]
    impl Model for SloppyModel {
        fn n_features(&self) -> usize {
            self.1
        }

        fn predict_dyn(&self, x: ArrayView2<'_, f64>) -> Result<Array1<f64>> {
            crate::validate::predict_data(x, self.1)?;
            Ok(Array1::from_elem(x.nrows(), self.0))
        }
    }

    #[test]
    fn a_broken_rule_is_named() {
        let error = |estimator: Sloppy| check_estimator(&estimator).expect_err("it breaks a rule").to_string();
        assert_eq!(
            error(Sloppy::CountsItsFits),
            r#"Sloppy breaks the rule "the same data give the same bits": row 0 is 0 and 1"#
        );
        assert_eq!(
            error(Sloppy::ChecksNothing),
            "Sloppy breaks the rule \"X and y of different lengths are an error\": \
             expected \"X has 600 rows and y has 599; they must agree\", got \"no error\""
        );
    }
}
