//! Softmax regression against scikit-learn, against its own optimality conditions and against the binomial family.
#![allow(clippy::unwrap_used)]

use ndarray::{Array1, Array2, array};
use phalanx_glm::{ChunkedResponse, LogisticRegression, MultinomialModel, MultinomialRegression, Response, StopReason};
use phalanx_learn::{Estimator, Fit, FitOn, Predict};

/// Eighty made-up rows of three columns: their class is 1, 4 or 9.
fn data() -> (Array2<f64>, Array1<f64>, Array1<f64>) {
    let rows: Vec<Vec<f64>> = include_str!("multinomial.csv")
        .lines()
        .skip(1)
        .map(|line| line.split(',').map(|number| number.parse().unwrap()).collect())
        .collect();
    let column = |j: usize| rows.iter().map(|row| row[j]).collect::<Array1<f64>>();
    (Array2::from_shape_fn((rows.len(), 3), |(i, j)| rows[i][j]), column(3), column(4))
}

fn assert_is(model: &MultinomialModel, coef: &Array2<f64>, intercepts: &Array1<f64>, within: f64) {
    assert!(model.report().converged, "{:?}", model.report());
    let worst =
        (&model.coef() - coef).iter().chain(&(&model.intercepts() - intercepts)).fold(0_f64, |w, d| w.max(d.abs()));
    assert!(worst < within, "{worst}: {model:?}");
}

/// scikit-learn 1.9.1, `LogisticRegression(solver="newton-cg", tol=1e-12)`, and for the L1 penalties
/// `solver="saga", tol=1e-13`.
#[test]
fn it_gives_the_coefficients_of_scikit_learn() {
    let (x, y, weights) = data();
    let n = y.len() as f64;
    // C = 0.5
    let model = MultinomialRegression::new().alpha(2. / n).fit(&x, &y).unwrap();
    assert_eq!(model.classes(), [1., 4., 9.]);
    assert_is(
        &model,
        &array![
            [0.614_322_910_798_8, -0.158_279_342_094_2, 3.97318416e-05],
            [-0.457_647_689_714_6, -0.092_045_166_775_7, 0.450_818_333_003_2],
            [-0.156_675_221_084_1, 0.250_324_508_869_9, -0.450_858_064_844_8]
        ],
        &array![0.592_986_193_048_2, 0.899_220_484_307_3, -1.492_206_677_355_5],
        1e-9,
    );
    // C = 2 with weights
    let how = MultinomialRegression::new().alpha(0.5 / weights.sum());
    let model = how.fit(&x, Response::new(&y).sample_weight(&weights)).unwrap();
    assert_is(
        &model,
        &array![
            [1.456_219_912_881_2, -0.106_791_921_830_9, -0.728_391_789_248_4],
            [-0.983_713_159_901_1, -0.065_042_117_646, 0.871_523_534_486],
            [-0.472_506_752_980_1, 0.171_834_039_476_9, -0.143_131_745_237_7]
        ],
        &array![-0.325_421_363_458_1, 1.079_554_304_644_4, -0.754_132_941_186_3],
        1e-9,
    );
    // C = 0.5 without intercepts
    let model = MultinomialRegression::new().alpha(2. / n).fit_intercept(false).fit(&x, &y).unwrap();
    assert_is(
        &model,
        &array![
            [0.599_127_768_777, -0.098_860_938_152_6, -0.302_257_355_248_2],
            [-0.538_426_185_146_9, 0.011_590_982_501_8, -0.004_773_110_227_6],
            [-0.060_701_583_630_2, 0.087_269_955_650_8, 0.307_030_465_475_8]
        ],
        &array![0., 0., 0.],
        1e-9,
    );
    // C = 0.2
    let model = MultinomialRegression::new().alpha(5. / n).l1_ratio(1.).fit(&x, &y).unwrap();
    assert_is(
        &model,
        &array![
            [0.518_141_309_241, -0.016_559_513_037_5, 0.],
            [-0.142_511_283_477_5, 0., 0.],
            [0., 0.257_359_647_581_5, 0.]
        ],
        &array![0.441_787_525_966_5, 0.379_921_267_512_5, -0.821_708_793_479],
        1e-7,
    );
    let model = MultinomialRegression::new().alpha(5. / n).l1_ratio(0.5).fit(&x, &y).unwrap();
    assert_is(
        &model,
        &array![
            [0.545_722_811_008_6, -0.043_459_173_661_6, 0.],
            [-0.259_155_287_170_7, 0., 0.091_950_883_892_5],
            [0., 0.275_729_944_027_6, 0.]
        ],
        &array![0.466_551_532_837_2, 0.439_806_782_579_7, -0.906_358_315_416_9],
        1e-7,
    );
}

/// Without a penalty scikit-learn's coefficients sum to 0; less those of the first class they are these.
#[test]
fn without_a_penalty_the_first_class_is_the_reference() {
    let (x, y, _) = data();
    let model = MultinomialRegression::new().fit(&x, &y).unwrap();
    let (coef, intercepts) = (
        array![
            [0.702_835_359_570_9, -0.170_698_933_645_6, 0.058_477_118_033_4],
            [-0.512_444_765_840_3, -0.100_463_405_852, 0.673_452_539_435_3],
            [-0.190_390_593_730_6, 0.271_162_339_497_6, -0.731_929_657_468_7]
        ],
        array![0.694_163_244_041_1, 1.161_738_384_749, -1.855_901_628_790_1],
    );
    assert_is(&model, &(&coef - &coef.row(0)), &(&intercepts - intercepts[0]), 1e-8);
    assert!(model.coef().row(0).iter().all(|b| *b == 0.) && model.intercepts()[0] == 0.);
}

/// The conditions of an optimum, written down once more: gradient of the mean loss against the penalty's slopes.
#[test]
fn the_optimality_conditions_hold() {
    let (x, y, weights) = data();
    let factors = [1., 0., 2.5];
    for (alpha, l1_ratio) in [(0., 0.), (0.05, 0.), (0.03, 1.), (0.04, 0.3), (10., 1.)] {
        for standardize in [false, true] {
            let how = MultinomialRegression::new().alpha(alpha).l1_ratio(l1_ratio).standardize(standardize);
            let how = how.penalty_factor(factors);
            let model = how.fit(&x, Response::new(&y).sample_weight(&weights)).unwrap();
            let (shares, total) = (model.predict_proba(x.view()).unwrap(), weights.sum());
            let deviation = |j: usize| {
                let mean = x.column(j).dot(&weights) / total;
                if standardize { (x.column(j).mapv(|x| (x - mean).powi(2)).dot(&weights) / total).sqrt() } else { 1. }
            };
            let mut loss = 0.;
            for (row, class) in y.iter().enumerate() {
                let place = model.classes().iter().position(|c| c == class).unwrap();
                loss -= weights[row] * shares[[row, place]].ln() / total;
            }
            let mut penalty = 0.;
            for (k, class) in model.classes().iter().enumerate() {
                let residual = (&shares.column(k) - &y.mapv(|y| f64::from(y == *class))) * &weights;
                assert!((residual.sum() / total).abs() < 1e-9);
                for (j, factor) in factors.into_iter().enumerate() {
                    let (b, slope) = (model.coef()[[k, j]], x.column(j).dot(&residual) / total);
                    let (l1, l2) = (alpha * factor * l1_ratio, alpha * factor * (1. - l1_ratio));
                    let (l1, l2) = (l1 * deviation(j), l2 * deviation(j) * deviation(j));
                    penalty += l1 * b.abs() + 0.5 * l2 * b * b;
                    let smooth = slope + l2 * b;
                    let off = if b == 0. { (smooth.abs() - l1).max(0.) } else { (smooth + l1 * b.signum()).abs() };
                    assert!(off < 1e-9, "{alpha} {l1_ratio} class {class} column {j}: {off}");
                }
            }
            let report = model.report();
            assert!(report.stop == StopReason::Optimal && report.kkt_relative <= 1e-10, "{report:?}");
            assert!((report.objective - loss - penalty).abs() < 1e-12 && report.kkt_residual < 1e-9);
            assert!((report.deviance - 2. * total * loss).abs() < 1e-9);
            if alpha == 10. && !standardize {
                assert!(model.coef().column(0).iter().all(|b| *b == 0.));
            }
            // What no penalty holds sums to 0, or is that of the reference.
            let sum = model.intercepts().sum().abs().max(model.coef().column(1).sum().abs());
            assert!(if alpha > 0. { sum < 1e-12 } else { model.intercepts()[0] == 0. });
        }
    }
}

#[test]
fn the_null_deviance_is_that_of_the_shares() {
    let (x, y, _) = data();
    let n = y.len() as f64;
    let share = |class: f64| y.iter().filter(|y| **y == class).count() as f64 / n;
    let expected: f64 = [1., 4., 9.].map(|class| -2. * n * share(class) * share(class).ln()).iter().sum();
    let report = MultinomialRegression::new().fit(&x, &y).unwrap().report().clone();
    assert!((report.null_deviance - expected).abs() < 1e-9 && report.deviance < expected);
    let bare = MultinomialRegression::new().fit_intercept(false).fit(&x, &y).unwrap();
    assert!((bare.report().null_deviance - 2. * n * 3_f64.ln()).abs() < 1e-9);
}

/// b = b_1 - b_0: the ridge splits it in halves, whose squares sum to half of b², so the binomial's alpha is half.
#[test]
fn two_classes_are_logistic_regression() {
    let (x, y, weights) = data();
    let y = y.mapv(|y| f64::from(y > 1.));
    let response = || Response::new(&y).sample_weight(&weights);
    for (alpha, l1_ratio, binomial) in [(0., 0., 0.), (0.1, 0., 0.05), (0.02, 1., 0.02)] {
        let two = MultinomialRegression::new().alpha(alpha).l1_ratio(l1_ratio).fit(&x, response()).unwrap();
        let one = LogisticRegression::new().alpha(binomial).l1_ratio(l1_ratio).fit(&x, response()).unwrap();
        let coef = &two.coef().row(1) - &two.coef().row(0);
        assert!((&coef - &one.coef()).iter().all(|d| d.abs() < 1e-8), "{alpha}: {coef} {}", one.coef());
        assert!((two.intercepts()[1] - two.intercepts()[0] - one.intercept()).abs() < 1e-8);
        assert!((two.report().deviance - one.report().deviance).abs() < 1e-6);
        let (shares, expected) = (two.predict_proba(x.view()).unwrap(), one.predict_proba(x.view()).unwrap());
        assert!((shares - expected).iter().all(|d| d.abs() < 1e-8));
        if alpha > 0. {
            // Of a range of optima under L1 alone the middle is taken.
            assert!((&two.coef().row(1) + &two.coef().row(0)).iter().all(|sum| sum.abs() < 1e-9));
        }
    }
}

#[test]
fn predictions_are_the_most_probable_class() {
    let (x, y, _) = data();
    let model = MultinomialRegression::new().alpha(0.01).fit(&x, &y).unwrap();
    let shares = model.predict_proba(x.view()).unwrap();
    let codes = model.predict(&x).unwrap();
    for (row, code) in shares.rows().into_iter().zip(&codes) {
        let place = model.classes().iter().position(|class| class == code).unwrap();
        assert!(row.iter().all(|share| *share <= row[place]) && (row.sum() - 1.).abs() < 1e-12);
    }
    let by_name: Box<dyn Estimator> =
        serde_json::from_str(r#"{"estimator":"MultinomialRegression","alpha":0.01}"#).unwrap();
    let found = by_name.fit_dyn(x.view(), y.view()).unwrap();
    assert_eq!((found.predict_dyn(x.view()).unwrap(), found.predict_proba_dyn(x.view()).unwrap()), (codes, shares));
    assert_eq!((found.classes(), found.n_features()), (vec![1., 4., 9.], 3));
}

#[test]
fn classes_that_the_columns_tell_apart_have_no_finite_optimum_without_a_penalty() {
    let x = [0_f64, 1., 10., 11., 20., 21.];
    let y = array![2., 2., 0., 0., 1., 1.];
    let quadratic = Array2::from_shape_fn((6, 2), |(i, j)| x[i].powi(j as i32 + 1));
    let report = MultinomialRegression::new().fit(&quadratic, &y).unwrap().report().clone();
    assert_eq!((report.stop, report.converged), (StopReason::Separable, false));
    let held = MultinomialRegression::new().alpha(0.01).fit(&quadratic, &y).unwrap();
    assert!(held.report().converged && held.predict(&quadratic).unwrap() == y);
}

#[test]
fn many_coefficients_are_found_by_gradient_descent() {
    let x = Array2::from_shape_fn((90, 250), |(i, j)| (((i * 250 + j) * 7919 + 13) % 1009) as f64 / 503. - 1.);
    let y: Array1<f64> = (0..90).map(|i| ((i * i + i / 7) % 3) as f64).collect();
    let model = MultinomialRegression::new().alpha(0.05).l1_ratio(0.5).fit(&x, &y).unwrap();
    assert!(model.report().converged && model.report().solver.starts_with("gradient_descent"), "{:?}", model.report());
}

#[test]
fn what_is_wrong_is_said() {
    let (x, y, _) = data();
    let how = MultinomialRegression::new();
    let message = |error: phalanx_learn::Error| error.to_string();
    let with = |y: &Array1<f64>| message(how.fit(&x, y).unwrap_err());
    let changed = |row: usize, value: f64| {
        let mut y = y.clone();
        y[row] = value;
        y
    };
    assert_eq!(
        with(&changed(7, 1.5)),
        "multinomial: y is 1.5 in row 7, expected a whole number: the code of the row's class"
    );
    assert_eq!(with(&changed(9, f64::NAN)), "y has NaN in row 9; drop or fill such rows first");
    assert_eq!(
        with(&Array1::from_elem(80, 4.)),
        "multinomial: y is 4 in every row, so there is nothing to tell apart; give rows of two classes or more"
    );
    let mut bad = x.clone();
    bad[[3, 1]] = f64::NAN;
    assert_eq!(message(how.fit(&bad, &y).unwrap_err()), "X has NaN in row 3, column 1; drop or fill such rows first");
    let ones = Array1::ones(80);
    let mut weights = ones.clone();
    weights[5] = -2.;
    assert_eq!(
        message(how.fit(&x, Response::new(&y).sample_weight(&weights)).unwrap_err()),
        "multinomial: the sample weight is -2 in row 5, expected 0 or more"
    );
    for (name, response) in [
        ("offset", Response::new(&y).offset(&ones)),
        ("exposure", Response::new(&y).exposure(&ones)),
        ("trials", Response::new(&y).trials(&ones)),
    ] {
        let expected = format!("{name} is given, expected none for classes: sample weights only");
        assert_eq!(message(how.fit(&x, response).unwrap_err()), expected);
    }
    for (how, expected) in [
        (MultinomialRegression::new().alpha(-1.), "alpha is -1, expected 0 or more"),
        (MultinomialRegression::new().l1_ratio(2.), "l1_ratio is 2, expected 0 to 1"),
        (MultinomialRegression::new().tol(0.), "tol is 0, expected above 0 and below 1"),
        (MultinomialRegression::new().max_iter(0), "max_iter is 0, expected 1 or more"),
        (
            MultinomialRegression::new().penalty_factor([1.]),
            "penalty_factor is a list of 1, expected one number for each of the 3 columns",
        ),
    ] {
        assert_eq!(message(how.fit(&x, &y).unwrap_err()), expected);
    }
}

#[test]
fn a_cluster_gives_the_bits_of_memory() {
    use phalanx_array::{ChunkedArray, PANEL};
    let n = 5 * PANEL + 3;
    let (base, codes, _) = data();
    let x = Array2::from_shape_fn((n, 3), |(i, j)| base[[(i * 7 + i / 80) % 80, j]]);
    let y: Array1<f64> = (0..n).map(|i| codes[(i * 7 + i / 80) % 80]).collect();
    let weights: Array1<f64> = (0..n).map(|i| (i % 3) as f64).collect();
    let how = MultinomialRegression::new().alpha(0.01);
    let expected = how.fit(&x, Response::new(&y).sample_weight(&weights)).unwrap();
    let client = phalanx_runtime::blocking::Client::local().unwrap();
    let lazy_x = ChunkedArray::from_array(&x, 2 * PANEL).unwrap();
    let [y, weights] = [&y, &weights].map(|a| ChunkedArray::from_array(a, PANEL).unwrap());
    let response = ChunkedResponse::new(&y).sample_weight(&weights);
    let model = client.wait(how.fit_on(&client, &lazy_x, &response)).unwrap();
    assert_eq!(model, expected);
    let predicted = client.wait(client.compute(&model.predict(&lazy_x).unwrap())).unwrap();
    assert_eq!(predicted.into_dimensionality().unwrap(), expected.predict(&x).unwrap());
    let error = client.wait(how.fit_on(&client, &lazy_x, &ChunkedResponse::new(&y).offset(&y))).unwrap_err();
    assert_eq!(error.to_string(), "offset is given, expected none for classes: sample weights only");
}
