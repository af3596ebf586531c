//! Steps and an estimator as one estimator: what was learned about the data travels with the model.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, CowArray};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Estimator, Fit, Model, Predict, Result,
    transformer::{FittedTransformer, Transformer},
};

/// Transformers, each fitted on what the one before it gives, and an estimator at the end.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `<step>` | | a step, replaced whole | JSON of a transformer; of an estimator for the last |
/// | `<step>__<param>` | as the step's | a parameter of a step | as the step's |
///
/// Names of steps are unique and have no `__` in them.
///
/// ```
/// use ndarray::array;
/// use phalanx_learn::{DummyRegressor, Estimator, Pipeline, params, preprocess::StandardScaler};
///
/// # fn main() -> phalanx_learn::Result<()> {
/// let pipeline =
///     Pipeline::builder().step("scale", StandardScaler::new()).estimator("model", DummyRegressor::new());
/// let pipeline = params::set(&pipeline, [("model__strategy", "median")])?;
/// let x = array![[1.], [2.], [3.]];
/// let model = pipeline.fit_dyn(x.view(), array![0., 1., 8.].view())?;
/// assert_eq!(model.predict_dyn(x.view())?, array![1., 1., 1.]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    steps: Vec<Step<Box<dyn Transformer>>>,
    last: Step<Box<dyn Estimator>>,
}

/// A pipeline that has no estimator yet.
#[derive(Debug, Clone, Default)]
pub struct PipelineBuilder {
    steps: Vec<Step<Box<dyn Transformer>>>,
}

/// What a [`Pipeline`] has learned: its fitted steps and its model.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PipelineModel {
    n_features: usize,
    steps: Vec<Step<Box<dyn FittedTransformer>>>,
    last: Step<Box<dyn Model>>,
}

/// `params` finds steps by these two fields.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step<T> {
    name: String,
    step: T,
}

impl Pipeline {
    /// Begins a pipeline; steps are added in the order in which data pass them.
    pub fn builder() -> PipelineBuilder {
        PipelineBuilder::default()
    }

    /// The names of all steps, the estimator's last.
    pub fn step_names(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().map(|step| step.name.as_str()).chain([self.last.name.as_str()])
    }

    fn check_names(&self) -> Result<()> {
        let names: Vec<&str> = self.step_names().collect();
        for (at, name) in names.iter().enumerate() {
            if name.is_empty() || name.contains("__") {
                return Err(Error::parameter("step name", format!("{name:?}"), "a name without \"__\""));
            }
            if names[..at].contains(name) || ["steps", "last", "estimator"].contains(name) {
                return Err(Error::parameter("step name", format!("{name:?}"), "one that is not taken"));
            }
        }
        Ok(())
    }
}

impl PipelineBuilder {
    /// Adds a transformer.
    #[must_use]
    pub fn step(mut self, name: impl Into<String>, step: impl Transformer + 'static) -> Self {
        self.steps.push(Step { name: name.into(), step: Box::new(step) });
        self
    }

    /// Ends with an estimator.
    pub fn estimator(self, name: impl Into<String>, estimator: impl Estimator + 'static) -> Pipeline {
        self.boxed_estimator(name, Box::new(estimator))
    }

    /// Ends with an estimator in a box.
    pub fn boxed_estimator(self, name: impl Into<String>, estimator: Box<dyn Estimator>) -> Pipeline {
        Pipeline { steps: self.steps, last: Step { name: name.into(), step: estimator } }
    }
}

impl PipelineModel {
    /// The fitted transformers with their names, in order.
    pub fn steps(&self) -> impl Iterator<Item = (&str, &dyn FittedTransformer)> {
        self.steps.iter().map(|step| (step.name.as_str(), &*step.step))
    }

    /// The model at the end, which sees transformed data.
    pub fn model(&self) -> &dyn Model {
        &*self.last.step
    }

    fn transform<'a>(&self, x: ArrayView2<'a, f64>) -> Result<CowArray<'a, f64, ndarray::Ix2>> {
        crate::validate::predict_data(x, self.n_features)?;
        let mut changed = CowArray::from(x);
        for step in &self.steps {
            changed = step.step.transform_dyn(changed.view())?.into();
        }
        Ok(changed)
    }
}

impl Fit<ArrayView2<'_, f64>, ArrayView1<'_, f64>> for Pipeline {
    type Model = PipelineModel;

    fn fit(&self, x: ArrayView2<'_, f64>, y: ArrayView1<'_, f64>) -> Result<PipelineModel> {
        self.fit_steps(x, y, None)
    }
}

impl Pipeline {
    /// Transformers see rows and no weights, as scikit-learn's; the estimator at the end sees both.
    fn fit_steps(
        &self,
        x: ArrayView2<'_, f64>,
        y: ArrayView1<'_, f64>,
        sample_weight: Option<ArrayView1<'_, f64>>,
    ) -> Result<PipelineModel> {
        self.check_names()?;
        crate::validate::fit_data(x, y)?;
        let n_features = x.ncols();
        let mut changed = CowArray::from(x);
        let mut steps = Vec::with_capacity(self.steps.len());
        for Step { name, step } in &self.steps {
            let fitted = step.fit_transformer(changed.view(), y)?;
            changed = fitted.transform_dyn(changed.view())?.into();
            steps.push(Step { name: name.clone(), step: fitted });
        }
        let model = match sample_weight {
            Some(weights) => self.last.step.fit_weighted_dyn(changed.view(), y, weights)?,
            None => self.last.step.fit_dyn(changed.view(), y)?,
        };
        Ok(PipelineModel { n_features, steps, last: Step { name: self.last.name.clone(), step: model } })
    }
}

impl Fit<&Array2<f64>, &Array1<f64>> for Pipeline {
    type Model = PipelineModel;

    fn fit(&self, x: &Array2<f64>, y: &Array1<f64>) -> Result<PipelineModel> {
        self.fit(x.view(), y.view())
    }
}

impl Predict<ArrayView2<'_, f64>> for PipelineModel {
    type Output = Array1<f64>;

    fn predict(&self, x: ArrayView2<'_, f64>) -> Result<Array1<f64>> {
        self.last.step.predict_dyn(self.transform(x)?.view())
    }
}

impl Predict<&Array2<f64>> for PipelineModel {
    type Output = Array1<f64>;

    fn predict(&self, x: &Array2<f64>) -> Result<Array1<f64>> {
        self.predict(x.view())
    }
}

#[typetag::serde]
impl Estimator for Pipeline {
    fn fit_dyn(&self, x: ArrayView2<'_, f64>, y: ArrayView1<'_, f64>) -> Result<Box<dyn Model>> {
        Ok(Box::new(self.fit(x, y)?))
    }

    fn fit_weighted_dyn(
        &self,
        x: ArrayView2<'_, f64>,
        y: ArrayView1<'_, f64>,
        sample_weight: ArrayView1<'_, f64>,
    ) -> Result<Box<dyn Model>> {
        Ok(Box::new(self.fit_steps(x, y, Some(sample_weight))?))
    }
}

#[typetag::serde]
impl Model for PipelineModel {
    fn n_features(&self) -> usize {
        self.n_features
    }

    fn predict_dyn(&self, x: ArrayView2<'_, f64>) -> Result<Array1<f64>> {
        self.predict(x)
    }

    fn predict_proba_dyn(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        self.last.step.predict_proba_dyn(self.transform(x)?.view())
    }

    fn classes(&self) -> Vec<f64> {
        self.last.step.classes()
    }

    fn report(&self) -> serde_json::Value {
        self.last.step.report()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use serde_json::json;

    use super::*;
    use crate::{DummyRegressor, params, preprocess::StandardScaler};

    fn pipeline() -> Pipeline {
        Pipeline::builder().step("scale", StandardScaler::new()).estimator("model", DummyRegressor::new())
    }

    #[test]
    fn parameters_are_those_of_the_steps() {
        let all = params::get(&pipeline()).expect("parameters");
        let names: Vec<_> = all.keys().map(String::as_str).collect();
        assert_eq!(names, ["model", "model__strategy", "scale", "scale__with_mean", "scale__with_std"]);
        let changed =
            params::set(&pipeline(), [("scale__with_mean", json!(false)), ("model__strategy", "median".into())]);
        let all = params::get(&*changed.expect("both exist")).expect("parameters");
        assert_eq!((&all["scale__with_mean"], &all["model__strategy"]), (&json!(false), &json!("median")));
        let error = params::set(&pipeline(), [("scale__with_mean", 3)]).expect_err("refused").to_string();
        assert_eq!(error, "scale__with_mean is 3, expected true or false");
    }

    #[test]
    fn weights_reach_the_estimator_at_the_end() {
        let (x, y, weights) = (array![[1.], [2.], [3.]], array![0., 1., 8.], array![1., 3., 0.]);
        let model = pipeline().fit_weighted_dyn(x.view(), y.view(), weights.view()).expect("a model");
        assert_eq!(model.predict_dyn(x.view()).expect("predictions"), array![0.75, 0.75, 0.75]);
        let median = params::set(&pipeline(), [("model__strategy", "median")]).expect("a pipeline");
        let error = median.fit_weighted_dyn(x.view(), y.view(), weights.view()).expect_err("refused").to_string();
        assert_eq!(error, "strategy is median, expected mean where rows have weights");
    }

    #[test]
    fn names_are_checked_at_fit() {
        let (x, y) = (array![[1.], [2.]], array![1., 2.]);
        let twice = Pipeline::builder().step("a", StandardScaler::new()).estimator("a", DummyRegressor::new());
        assert_eq!(
            twice.fit(&x, &y).expect_err("refused").to_string(),
            r#"step name is "a", expected one that is not taken"#
        );
        let nested = Pipeline::builder().estimator("a__b", DummyRegressor::new());
        assert!(nested.fit(&x, &y).is_err());
    }

    #[test]
    fn the_model_sees_transformed_data_and_refuses_other_columns() {
        let (x, y) = (array![[1., 5.], [3., 5.]], array![1., 2.]);
        let model = pipeline().fit(&x, &y).expect("a model");
        let changed = model.transform(x.view()).expect("two columns");
        assert_eq!(changed, array![[-1., 0.], [1., 0.]]);
        let error = model.predict(&array![[1.]]).expect_err("refused").to_string();
        assert_eq!(error, "X has 1 columns, but the model was fitted on 2");
    }
}
