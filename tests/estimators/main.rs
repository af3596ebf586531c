//! Estimators as users call them, held against what other programs answered.

mod search;

use ndarray::{Array1, Array2, Axis};
use phalanx::{
    array::{Schema, TableBlock},
    datasets::known,
    glm::GlmModel,
    learn::{Transform, pipeline::PipelineModel, preprocess::TableEncoder},
    prelude::*,
};
use serde_json::Value;

#[test]
fn a_grid_search_over_hitters_scores_as_scikit_learn_does() {
    let answer = &reference()["hitters_grid_enet_kfold5_contiguous"]["answer"];
    let (x, y) = hitters();
    let values = |name: &str, sorted: &mut Vec<f64>| {
        for value in answer["cv_results"][name].as_array().expect("values") {
            let value: f64 = value.as_str().expect("text").parse().expect("a number");
            if !sorted.contains(&value) {
                sorted.push(value);
            }
        }
    };
    let (mut alphas, mut ratios) = (Vec::new(), Vec::new());
    values("param_alpha", &mut alphas);
    values("param_l1_ratio", &mut ratios);
    let grid = ParamGrid::new().values("alpha", alphas).values("l1_ratio", ratios);
    let search = GridSearch::new(LinearRegression::new().tol(1e-12).max_iter(100_000), grid)
        .cv(KFold::new(5))
        .scoring("neg_mean_squared_error");
    let found = search.fit(x.view(), y.view()).expect("a winner");

    let expected = |name: &str| -> Vec<f64> {
        answer["cv_results"][name]
            .as_array()
            .expect("a column")
            .iter()
            .map(|cell| cell.as_f64().expect("a number"))
            .collect()
    };
    let candidates = found.cv_results.candidates();
    for fold in 0..5 {
        let scores: Vec<f64> =
            candidates.iter().map(|candidate| candidate.test_scores()[fold].expect("a score")).collect();
        close(&format!("fold {fold}"), &scores, &expected(&format!("split{fold}_test_score")));
    }
    let means: Vec<f64> = candidates.iter().map(|candidate| candidate.mean_test_score().expect("a mean")).collect();
    close("mean", &means, &expected("mean_test_score"));
    let stds: Vec<f64> = candidates.iter().map(|candidate| candidate.std_test_score().expect("a spread")).collect();
    close("std", &stds, &expected("std_test_score"));
    let ranks: Vec<f64> = found.cv_results.ranks().iter().map(|rank| *rank as f64).collect();
    assert_eq!(ranks, expected("rank_test_score"));
    assert_eq!(found.best_index as u64, answer["best_index"].as_u64().expect("a place"));
}

#[test]
fn a_pipeline_on_bikeshare_finds_the_certified_coefficients() {
    let answer = &reference()["bikeshare_poisson_enet"]["answer"];
    let (schema, block) = known::bikeshare();
    let columns = ["workingday", "temp", "hum", "windspeed", "weathersit", "hr", "mnth"];
    let (schema, block) = with_categorical_hours(&schema, &block);
    let encoder = TableEncoder::new().columns(columns).fit((&schema, &block), ()).expect("an encoder");
    let x = encoder.transform((&schema, &block)).expect("a matrix");
    let y = numbers(&schema, &block, "bikers");
    let pipeline = Pipeline::builder()
        .step("standardize", StandardScaler::new())
        .estimator("model", PoissonRegression::new().alpha(0.5).l1_ratio(0.5));
    let fitted: PipelineModel = pipeline.fit(&x, &y).expect("a model");
    let model = fitted.model().as_any().downcast_ref::<GlmModel>().expect("a linear model");
    assert!(model.report().converged);
    assert!((model.intercept() - answer["intercept"].as_f64().expect("a number")).abs() < 1e-6);
    for (name, coef) in encoder.feature_names().iter().zip(model.coef()) {
        let expected = answer["coef"][name.replace('=', "_")].as_f64().unwrap_or_else(|| panic!("no {name}"));
        assert!((coef - expected).abs() < 1e-6, "{name}: {coef}, expected {expected}");
    }
}

/// The complete rows: 19 columns, standardised on all rows, and the salary.
fn hitters() -> (Array2<f64>, Array1<f64>) {
    let (schema, block) = known::hitters();
    let salary = numbers(&schema, &block, "Salary");
    let complete: Vec<usize> = (0..salary.len()).filter(|row| salary[*row].is_finite()).collect();
    let columns: Vec<Array1<f64>> =
        schema.names().filter(|name| *name != "Salary").map(|name| numbers(&schema, &block, name)).collect();
    let views: Vec<_> = columns.iter().map(|column| column.view()).collect();
    let x = ndarray::stack(Axis(1), &views).expect("columns of one length").select(Axis(0), &complete);
    let scaler = StandardScaler::new().fit(&x, ()).expect("a scaler");
    (scaler.transform(&x).expect("numbers"), salary.select(Axis(0), &complete))
}

/// A column as numbers: of categories, whether it is the last of its two levels in sorted order.
fn numbers(schema: &Schema, block: &TableBlock, name: &str) -> Array1<f64> {
    let place = schema.position(name).expect("a column");
    let column = block.column(place);
    if let Some(numbers) = column.numbers() {
        return numbers.to_vec().into();
    }
    let phalanx::array::Kind::Categorical { levels } = &schema.fields()[place].kind else {
        panic!("{name} has no levels")
    };
    let last = levels.iter().max().expect("a level");
    let codes = column.codes().expect("codes");
    codes.iter().map(|code| f64::from(u8::from(&levels[*code as usize] == last))).collect()
}

/// Hours are read as numbers; here they are categories.
fn with_categorical_hours(schema: &Schema, block: &TableBlock) -> (Schema, TableBlock) {
    let hr = schema.position("hr").expect("a column");
    let levels: Vec<String> = (0..24).map(|hour| hour.to_string()).collect();
    let codes = block.column(hr).numbers().expect("numbers").iter().map(|hour| *hour as u32).collect();
    let mut fields = schema.fields().to_vec();
    fields[hr] = phalanx::array::Field::categorical("hr", levels);
    let mut columns: Vec<_> = (0..block.n_columns()).map(|place| block.column(place).clone()).collect();
    columns[hr] = phalanx::array::Column::categorical(codes);
    (Schema::new(fields).expect("a schema"), TableBlock::new(columns).expect("a block"))
}

/// Equal to 1e-6, relative.
fn close(what: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= 1e-6 * expected.abs(), "{what}, {place}: {found}, expected {expected}");
    }
}

fn reference() -> Value {
    serde_json::from_str(include_str!("../data/reference.json")).expect("JSON")
}
