//! The estimators under linfa's own hands: datasets with weights, cross-validation, models composed of models.

#![cfg(feature = "linfa")]
#![allow(clippy::unwrap_used)]

use linfa::{
    Dataset, MultiTargetModel,
    prelude::SingleTargetRegression,
    traits::{Fit, Predict},
};
use ndarray::{Array1, Array2, ArrayView1, Axis, array, concatenate, s};
use phalanx_glm::{Family, Glm, GlmModel, LinearRegression, MultinomialRegression, Response};

fn data(n: usize, family: Family) -> (Array2<f64>, Array1<f64>) {
    let noise = |i: usize| ((i * 7919 + 13) % 10_007) as f64 / 5003. - 1.;
    let x = Array2::from_shape_fn((n, 3), |(i, j)| noise(3 * i + j) + j as f64);
    let y = (0..n).map(|i| {
        let eta = 0.8 * x[[i, 0]] - 0.5 * x[[i, 1]] + 0.3 * noise(31 * i + 7);
        match family {
            Family::Gaussian => eta,
            Family::Binomial => f64::from(eta > -0.5 + noise(17 * i)),
            _ => eta.exp().round(),
        }
    });
    let y = y.collect();
    (x, y)
}

#[test]
fn a_dataset_gives_the_bits_of_a_response() {
    for family in [Family::Gaussian, Family::Binomial, Family::Poisson] {
        let (x, y) = data(700, family);
        let glm = Glm::new(family).alpha(0.01).l1_ratio(0.5);
        let expected = phalanx_learn::Fit::fit(&glm, &x, &y).unwrap();
        let found = glm.fit(&Dataset::new(x.clone(), y.clone())).unwrap();
        assert_eq!(found, expected);
        let means: Array1<f64> = Predict::predict(&found, &x);
        assert_eq!(means, phalanx_learn::Predict::predict(&expected, &x).unwrap());

        let weights: Array1<f32> = (0..700_u16).map(|i| f32::from(i % 3)).collect();
        let found = glm.fit(&Dataset::new(x.clone(), y.clone()).with_weights(weights.clone())).unwrap();
        let weights = weights.mapv(f64::from);
        let expected = phalanx_learn::Fit::fit(&glm, &x, Response::new(&y).sample_weight(&weights)).unwrap();
        assert_eq!(found, expected);
    }
    let (x, y) = data(500, Family::Binomial);
    let glm = Glm::new(Family::Binomial);
    let truths = Dataset::new(x.clone(), y.mapv(|y| y == 1.));
    assert_eq!(glm.fit(&truths).unwrap(), phalanx_learn::Fit::fit(&glm, &x, &y).unwrap());
}

/// linfa's folds are blocks of neighbours; each model is that of the rows of the others.
#[test]
fn its_cross_validation_is_ours_by_hand() {
    let (x, y) = data(600, Family::Gaussian);
    let candidates = [0., 0.1, 1.].map(|alpha| LinearRegression::new().alpha(alpha));
    let mut set = Dataset::new(x.clone(), y.clone());
    let mse = |found: &Array1<f64>, y: &ArrayView1<'_, f64>| found.mean_squared_error(y);
    let found = set.cross_validate_single(4, &candidates, mse).unwrap();
    for (candidate, found) in candidates.iter().zip(found) {
        let mut total = 0.;
        for fold in 0..4 {
            let rows = 150 * fold..150 * (fold + 1);
            let without =
                |a: &Array2<f64>| concatenate![Axis(0), a.slice(s![..rows.start, ..]), a.slice(s![rows.end.., ..])];
            let y_without = concatenate![Axis(0), y.slice(s![..rows.start]), y.slice(s![rows.end..])];
            let model = phalanx_learn::Fit::fit(candidate, &without(&x), &y_without).unwrap();
            let means = phalanx_learn::Predict::predict(&model, x.slice(s![rows.clone(), ..])).unwrap();
            total += (means - y.slice(s![rows])).mapv(|d| d * d).mean().unwrap() / 4.;
        }
        assert!((found - total).abs() < 1e-12 * total, "{found} {total}");
    }
    let models: Vec<_> = set.iter_fold(5, |train| candidates[1].fit(train)).collect();
    assert!(models.iter().all(|(model, rows)| model.is_ok() && rows.targets().len() == 120));
}

#[test]
fn models_of_several_targets_are_composed() {
    let (x, y) = data(400, Family::Gaussian);
    let (_, counts) = data(400, Family::Poisson);
    let linear = LinearRegression::new().fit(&Dataset::new(x.clone(), y)).unwrap();
    let poisson = Glm::new(Family::Poisson).fit(&Dataset::new(x.clone(), counts)).unwrap();
    let each = [linear.clone(), poisson.clone()];
    let both: MultiTargetModel<Array2<f64>, f64> = each.into_iter().collect();
    let found: Array2<f64> = both.predict(&x);
    let means = |model: &GlmModel| phalanx_learn::Predict::predict(model, &x).unwrap();
    assert_eq!((found.column(0), found.column(1)), (means(&linear).view(), means(&poisson).view()));
}

#[test]
fn classes_by_softmax_are_predicted_as_numbers() {
    let x = array![[0.], [1.], [2.], [3.], [4.], [5.], [2.], [3.]];
    let data = Dataset::new(x, array![0_u8, 0, 1, 1, 2, 2, 0, 2]);
    let model = MultinomialRegression::new().alpha(0.01).fit(&data).unwrap();
    let classes: Array1<f64> = model.predict(&array![[-1.], [6.]]);
    assert_eq!(classes, array![0., 2.]);
}

#[test]
fn what_is_wrong_is_said_in_our_words() {
    let (x, y) = data(50, Family::Gaussian);
    let refused = LinearRegression::new().alpha(-1.).fit(&Dataset::new(x.clone(), y)).unwrap_err();
    assert_eq!(refused.to_string(), "alpha is -1, expected 0 or more");
    let refused = Glm::new(Family::Poisson).fit(&Dataset::new(x, Array1::from_elem(50, -1.))).unwrap_err();
    assert_eq!(refused.to_string(), "poisson: y is -1 in row 0, expected 0 or more");
}
