//! The coefficients of a model of several classes by name: a column of the table for each class.

use phalanx_glm::MultinomialModel;
use phalanx_learn::{Model, model_file::class_name, pipeline::PipelineModel, preprocess::FittedStandardScaler};

use crate::{
    coef::csv_cell,
    output::{Table, column},
};

/// Classes beside each other in a table for people.
const N_BESIDE: usize = 5;

/// What a model of several classes has learned, in the units of the data.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ClassCoefficients {
    /// The columns' names.
    pub(crate) names: Vec<String>,
    /// The classes.
    pub(crate) classes: Vec<OfClass>,
}

/// What is learned of one class.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OfClass {
    /// What it is called.
    pub(crate) name: String,
    /// Its linear predictor where every column is 0.
    pub(crate) intercept: f64,
    /// One a column.
    pub(crate) coef: Vec<f64>,
}

impl ClassCoefficients {
    /// The coefficients of a softmax model, or of one after a scaler; none of others. `levels` are those of a target
    /// that was text.
    pub(crate) fn of(model: &dyn Model, names: &[String], levels: &[String]) -> Option<Self> {
        let softmax = |model: &dyn Model| model.as_any().downcast_ref::<MultinomialModel>().cloned();
        let (model, scaler) = match model.as_any().downcast_ref::<PipelineModel>() {
            None => (softmax(model)?, None),
            Some(pipeline) => {
                let mut steps = pipeline.steps();
                let (Some((_, step)), None) = (steps.next(), steps.next()) else { return None };
                (softmax(pipeline.model())?, Some(step.as_any().downcast_ref::<FittedStandardScaler>()?.clone()))
            }
        };
        let all = model.coef();
        let classes =
            model.classes().iter().zip(model.intercepts()).zip(all.rows()).map(|((&class, &of_all), coef)| {
                let name = class_name(levels, class);
                let Some(scaler) = &scaler else { return OfClass { name, intercept: of_all, coef: coef.to_vec() } };
                let coef: Vec<f64> = coef.iter().zip(scaler.scale()).map(|(coef, scale)| coef / scale).collect();
                let shift: f64 = coef.iter().zip(scaler.mean()).map(|(coef, mean)| coef * mean).sum();
                OfClass { name, intercept: of_all - shift, coef }
            });
        Some(Self { names: names.to_vec(), classes: classes.collect() })
    }

    /// The class that the others are held against, where there is one: nothing of it was fitted.
    pub(crate) fn reference(&self) -> Option<&OfClass> {
        self.classes.first().filter(|class| class.intercept == 0. && class.coef.iter().all(|coef| *coef == 0.))
    }

    /// Whether a column counts for nothing in every class.
    pub(crate) fn is_zero(&self, column: usize) -> bool {
        self.classes.iter().all(|class| class.coef[column] == 0.)
    }

    /// The intercepts first, then a line a column; floats read back exactly.
    pub(crate) fn to_csv(&self) -> String {
        let line = |first: &str, cells: &mut dyn Iterator<Item = String>| {
            let mut line = csv_cell(first);
            cells.for_each(|cell| line += &format!(",{cell}"));
            line + "\n"
        };
        let mut text = line("name", &mut self.classes.iter().map(|class| csv_cell(&class.name)));
        text += &line("intercept", &mut self.classes.iter().map(|class| format!("{:?}", class.intercept)));
        for (place, name) in self.names.iter().enumerate() {
            text += &line(name, &mut self.classes.iter().map(|class| format!("{:?}", class.coef[place])));
        }
        text
    }

    /// The same for people: as many tables as it takes for the classes.
    pub(crate) fn to_tables(&self) -> String {
        let tables = self.classes.chunks(N_BESIDE).map(|classes| {
            let heading = classes.iter().map(|class| format!(">{}", class.name));
            let heading: Vec<String> = std::iter::once("column".to_owned()).chain(heading).collect();
            let mut table = Table::new(heading.iter().map(String::as_str));
            let numbers: Vec<Vec<String>> =
                classes.iter().map(|class| column(&[&[class.intercept][..], &class.coef].concat(), 6)).collect();
            let names = std::iter::once("intercept").chain(self.names.iter().map(String::as_str));
            for (row, name) in names.enumerate() {
                table.row(std::iter::once(name).chain(numbers.iter().map(|numbers| numbers[row].as_str())));
            }
            table.to_string()
        });
        tables.collect::<Vec<_>>().join("\n\n")
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use phalanx_glm::MultinomialRegression;
    use phalanx_learn::{DummyRegressor, Estimator, Pipeline, preprocess::StandardScaler};

    use super::*;

    #[test]
    fn a_scaler_before_the_model_is_taken_out_of_its_coefficients() {
        let x = array![[1., 20.], [2., 10.], [4., 35.], [9., 15.], [5., 5.], [7., 11.]];
        let y = array![0., 1., 2., 0., 1., 2.];
        let pipeline = Pipeline::builder()
            .step("scale", StandardScaler::new())
            .estimator("model", MultinomialRegression::new().alpha(0.1));
        let model = pipeline.fit_dyn(x.view(), y.view()).expect("a model");
        let (names, levels) = (["age", "b, c"].map(str::to_owned), ["x", "y", "z"].map(str::to_owned));
        let found = ClassCoefficients::of(&*model, &names, &levels).expect("coefficients");
        assert_eq!(found.reference(), None);
        let shares = model.predict_proba_dyn(x.view()).expect("probabilities");
        for (row, shares) in x.rows().into_iter().zip(shares.rows()) {
            let eta = |class: &OfClass| class.intercept + class.coef[0] * row[0] + class.coef[1] * row[1];
            let all: Vec<f64> = found.classes.iter().map(|class| eta(class).exp()).collect();
            for (share, one) in shares.iter().zip(&all) {
                assert!((share - one / all.iter().sum::<f64>()).abs() < 1e-12);
            }
        }
        let csv = found.to_csv();
        assert!(csv.starts_with("name,x,y,z\nintercept,") && csv.contains("\n\"b, c\","), "{csv}");
        assert!(found.to_tables().lines().next().is_some_and(|line| line.contains("column")));
    }

    #[test]
    fn other_models_have_none() {
        let model = DummyRegressor::new().fit_dyn(array![[0.], [1.]].view(), array![1., 3.].view()).expect("a model");
        assert_eq!(ClassCoefficients::of(&*model, &["a".to_owned()], &[]), None);
    }
}
