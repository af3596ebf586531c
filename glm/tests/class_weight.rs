//! Class weights are sample weights that hang on y.
#![allow(clippy::unwrap_used)]

use ndarray::{Array1, Array2};
use phalanx_glm::{
    ClassWeight, ClassWeights, Family, Glm, GlmPath, LogisticRegression, MultinomialRegression, PoissonRegression,
    Response,
};
use phalanx_learn::Fit;

fn noise(i: usize) -> f64 {
    ((i * 7919 + 13) % 10_007) as f64 / 5003. - 1.
}

fn data() -> (Array2<f64>, Array1<f64>) {
    let x = Array2::from_shape_fn((500, 3), |(i, k)| noise(i * i * (k + 2) + 31 * i + 17 * k));
    let y = (0..500).map(|i| f64::from(x[[i, 0]] - 0.5 * x[[i, 1]] + 1.5 * noise(29 * i + 3) > 0.8)).collect();
    (x, y)
}

#[test]
fn they_are_weights_of_the_rows() {
    let (x, y) = data();
    let weights: Array1<f64> = (0..500).map(|i| ((i * 7) % 4) as f64).collect();
    for alpha in [0., 0.05] {
        let plain = LogisticRegression::new().alpha(alpha);
        let given = plain.clone().class_weight(ClassWeight::Given([1., 4.]));
        let by_hand = y.mapv(|y| 1. + 3. * y);
        let (a, b) = (given.fit(&x, &y).unwrap(), plain.fit(&x, Response::new(&y).sample_weight(&by_hand)).unwrap());
        assert_eq!((a.coef(), a.inference()), (b.coef(), b.inference()));
        let both = &by_hand * &weights;
        let a = given.fit(&x, Response::new(&y).sample_weight(&weights)).unwrap();
        let b = plain.fit(&x, Response::new(&y).sample_weight(&both)).unwrap();
        assert_eq!(a.coef(), b.coef());
    }
}

#[test]
fn balanced_gives_both_classes_half_of_the_weight() {
    let (x, y) = data();
    let share = y.mean().unwrap();
    assert!(share < 0.4);
    let balanced = LogisticRegression::new().class_weight(ClassWeight::Balanced).fit(&x, &y).unwrap();
    // scikit-learn's n / (2 n_k).
    let by_hand = y.mapv(|y| if y > 0.5 { 0.5 / share } else { 0.5 / (1. - share) });
    let expected = LogisticRegression::new().fit(&x, Response::new(&y).sample_weight(&by_hand)).unwrap();
    assert!((&balanced.coef() - &expected.coef()).iter().all(|d| d.abs() < 1e-10));
    assert!((balanced.report().sum_weights - 500.).abs() < 1e-9);
    // The null model is a half.
    assert!((balanced.report().null_deviance - 1000. * 2_f64.ln()).abs() < 1e-6);
    let path =
        GlmPath::new(Glm { class_weight: Some(ClassWeight::Balanced), ..Glm::new(Family::Binomial) }).n_lambdas(4);
    let point = path.fit(&x, &y).unwrap();
    assert!((point.null_deviance() - 1000. * 2_f64.ln()).abs() < 1e-6);
}

#[test]
fn other_families_and_negative_weights_are_refused() {
    let (x, y) = data();
    let said = PoissonRegression::new().class_weight(ClassWeight::Balanced).fit(&x, &y).unwrap_err().to_string();
    assert_eq!(said, "class_weight is given, expected none for the poisson family");
    let negative = LogisticRegression::new().class_weight(ClassWeight::Given([1., -2.]));
    assert_eq!(negative.fit(&x, &y).unwrap_err().to_string(), "class_weight is -2, expected 0 or more for each class");
}

#[test]
fn classes_of_a_softmax_have_weights_too() {
    let (x, y) = data();
    let y = Array1::from_shape_fn(500, |i| if i % 5 == 0 { 7. } else { y[i] });
    let softmax = MultinomialRegression::new().alpha(0.01);
    let given = softmax.clone().class_weight(ClassWeights::Given(vec![(7., 4.), (0., 0.5)])).fit(&x, &y).unwrap();
    let by_hand = y.mapv(|y| if y == 7. { 4. } else { 0.5 + 0.5 * y });
    assert_eq!(given, softmax.fit(&x, Response::new(&y).sample_weight(&by_hand)).unwrap());
    let balanced = softmax.clone().class_weight(ClassWeights::Balanced).fit(&x, &y).unwrap();
    // scikit-learn's n / (3 n_k): every class weighs a third.
    assert!((balanced.report().null_deviance - 1000. * 3_f64.ln()).abs() < 1e-9);
    let said = |weights: ClassWeights| softmax.clone().class_weight(weights).fit(&x, &y).unwrap_err().to_string();
    assert_eq!(
        said(ClassWeights::Given(vec![(3., 1.)])),
        "class_weight is given for 3, expected classes that occur, as 0, 1, 7"
    );
    assert_eq!(said(ClassWeights::Given(vec![(1., -1.)])), "class_weight of 1 is -1, expected 0 or more");
}
