//! A linear model's coefficients by name, as tables and files show them.
//!
//! Where the columns were standardised the model's own coefficients are those of standardised columns; what they
//! are per unit of the data's columns follows from the scaler.

use phalanx_glm::{GlmModel, PathModel};
use phalanx_learn::{Model, pipeline::PipelineModel, preprocess::FittedStandardScaler};

use crate::output::{Table, column};

/// What a linear model has learned, by name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Coefficients {
    /// The columns' names.
    pub(crate) names: Vec<String>,
    /// In the units of the data.
    pub(crate) raw: Linear,
    /// In standard deviations of each column, where the columns were standardised.
    pub(crate) standardized: Option<Linear>,
}

/// An intercept and a coefficient a column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Linear {
    pub(crate) intercept: f64,
    pub(crate) coef: Vec<f64>,
}

impl Coefficients {
    /// The coefficients of a model that has some: a GLM, a path of them at its chosen
    /// place, or one after a scaler.
    pub(crate) fn of(model: &dyn Model, names: &[String]) -> Option<Self> {
        let linear = |model: &dyn Model| {
            if let Some(path) = model.as_any().downcast_ref::<PathModel>() {
                let at = path.chosen();
                return Some(Linear { intercept: at.intercept, coef: at.coef.clone() });
            }
            let glm = model.as_any().downcast_ref::<GlmModel>()?;
            Some(Linear { intercept: glm.intercept(), coef: glm.coef().to_vec() })
        };
        let names = names.to_vec();
        let Some(pipeline) = model.as_any().downcast_ref::<PipelineModel>() else {
            return Some(Self { names, raw: linear(model)?, standardized: None });
        };
        let inner = linear(pipeline.model())?;
        let mut steps = pipeline.steps();
        let (Some((_, step)), None) = (steps.next(), steps.next()) else { return None };
        let scaler = step.as_any().downcast_ref::<FittedStandardScaler>()?;
        let coef: Vec<f64> = inner.coef.iter().zip(scaler.scale()).map(|(coef, scale)| coef / scale).collect();
        let shift: f64 = coef.iter().zip(scaler.mean()).map(|(coef, mean)| coef * mean).sum();
        let raw = Linear { intercept: inner.intercept - shift, coef };
        Some(Self { names, raw, standardized: Some(inner) })
    }

    /// The intercept first, then a line a column; floats read back exactly.
    pub(crate) fn to_csv(&self) -> String {
        let mut text = "name,coefficient".to_owned();
        if self.standardized.is_some() {
            text += ",standardized";
        }
        for (place, name) in self.rows() {
            text += &format!("\n{},{:?}", csv_cell(name), self.raw.at(place));
            if let Some(standardized) = &self.standardized {
                text += &format!(",{:?}", standardized.at(place));
            }
        }
        text + "\n"
    }

    /// The same for people, with decimals that line up.
    pub(crate) fn to_table(&self) -> Table {
        let places: Vec<_> = self.rows().collect();
        let numbers =
            |linear: &Linear| column(&places.iter().map(|(place, _)| linear.at(*place)).collect::<Vec<_>>(), 6);
        let raw = numbers(&self.raw);
        let names = places.iter().map(|(_, name)| (*name).to_owned());
        match &self.standardized {
            None => {
                let mut table = Table::new(["column", ">coefficient"]);
                for (name, raw) in names.zip(raw) {
                    table.row([name, raw]);
                }
                table
            }
            Some(standardized) => {
                let mut table = Table::new(["column", ">coefficient", ">standardized"]);
                for ((name, raw), standardized) in names.zip(raw).zip(numbers(standardized)) {
                    table.row([name, raw, standardized]);
                }
                table
            }
        }
    }

    /// How many columns count for nothing.
    pub(crate) fn n_zero(&self) -> usize {
        self.raw.coef.iter().filter(|coef| **coef == 0.).count()
    }

    fn rows(&self) -> impl Iterator<Item = (Option<usize>, &str)> {
        let columns = self.names.iter().enumerate().map(|(place, name)| (Some(place), name.as_str()));
        std::iter::once((None, "intercept")).chain(columns)
    }
}

impl Linear {
    /// The coefficient of a column, or the intercept.
    fn at(&self, place: Option<usize>) -> f64 {
        place.map_or(self.intercept, |place| self.coef[place])
    }
}

/// A cell as CSV has it: in quotes where it needs them.
pub(crate) fn csv_cell(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, array};
    use phalanx_glm::{LinearRegression, PoissonRegression};
    use phalanx_learn::{DummyRegressor, Estimator, Pipeline, preprocess::StandardScaler};

    use super::*;

    fn names() -> Vec<String> {
        vec!["age".to_owned(), "city=Basel, CH".to_owned()]
    }

    #[test]
    fn raw_coefficients_predict_what_the_pipeline_predicts() {
        let x = array![[1., 20.], [2., 10.], [4., 35.], [9., 15.], [5., 5.]];
        let y = array![1., 2., 5., 7., 3.];
        let pipeline = Pipeline::builder()
            .step("scale", StandardScaler::new())
            .estimator("model", PoissonRegression::new().alpha(0.1));
        let model = pipeline.fit_dyn(x.view(), y.view()).expect("a model");
        let found = Coefficients::of(&*model, &names()).expect("linear");
        let linear = x.dot(&Array1::from(found.raw.coef.clone())) + found.raw.intercept;
        let predicted = model.predict_dyn(x.view()).expect("predictions");
        assert!((linear.exp() - predicted).iter().all(|difference| difference.abs() < 1e-12));
        assert!(found.to_csv().starts_with("name,coefficient,standardized\nintercept,"));
    }

    #[test]
    fn a_plain_model_has_its_own_units_only() {
        let model = LinearRegression::new()
            .fit_dyn(array![[0., 0.], [1., 0.], [0., 1.], [2., 2.]].view(), array![1., 3., 0.5, 4.].view())
            .expect("a model");
        let mut found = Coefficients::of(&*model, &names()).expect("linear");
        found.raw = Linear { intercept: 1., coef: vec![2., 0.] };
        assert_eq!(found.to_csv(), "name,coefficient\nintercept,1.0\nage,2.0\n\"city=Basel, CH\",0.0\n");
        assert_eq!(found.n_zero(), 1);
        let table = found.to_table().to_string();
        assert_eq!(table.lines().nth(3), Some("age                 2.00000"), "{table}");
    }

    #[test]
    fn other_models_have_none() {
        let model = DummyRegressor::new().fit_dyn(array![[0.], [1.]].view(), array![1., 3.].view()).expect("a model");
        assert_eq!(Coefficients::of(&*model, &names()), None);
    }
}
