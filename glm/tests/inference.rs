//! Standard errors, tests and likelihoods against statsmodels 0.15 and R's conventions, on data that a formula gives.
//!
//! statsmodels' GLM leaves HC1's factor n / (n - p) out, which its least squares has, so it is put in here; its HC1
//! has the observed information in the middle of the sandwich where the link is not canonical and R's the expected one,
//! as ours, so those are held against least squares that has the same scores; it counts frequency weights twice, so
//! weighted sandwiches are held against repeated rows instead; its
//! gamma likelihood has another dispersion than R's, which ours follows, so that one is held against R's formula.
#![allow(clippy::unwrap_used)]

use ndarray::{Array1, Array2, array, s};
use phalanx_glm::{Covariance, Family, Glm, GlmModel, Inference, Response, WeightsKind};
use phalanx_learn::Fit;

const N: usize = 120;

fn noise(i: usize) -> f64 {
    ((i * 7919 + 13) % 10_007) as f64 / 5003. - 1.
}

fn x() -> Array2<f64> {
    Array2::from_shape_fn((N, 3), |(i, k)| noise(i * i * (k + 2) + 31 * i + 17 * k))
}

fn y(family: Family) -> Array1<f64> {
    let x = x();
    let row = |i: usize| {
        let (eta, u) = (0.4 * x[[i, 0]] - 0.7 * x[[i, 1]] + 0.2, noise(29 * i + 3));
        match family {
            Family::Gaussian => 3. + eta + u,
            Family::Binomial => f64::from(eta + 0.8 * u > 0.1),
            Family::Poisson => (1. + eta + 0.5 * u).exp().floor(),
            Family::Gamma => (eta + 0.6 * u).exp(),
            Family::InverseGaussian => (eta + 0.3 * u).exp(),
            _ => (1. + eta + u).exp().floor(),
        }
    };
    (0..N).map(row).collect()
}

fn weights() -> Array1<f64> {
    (0..N).map(|i| (i % 3 + 1) as f64).collect()
}

fn groups() -> Array1<f64> {
    (0..N).map(|i| ((i * 5) % 11) as f64).collect()
}

fn inference(model: &GlmModel) -> &Inference {
    model.inference().unwrap()
}

fn near(found: &Array1<f64>, expected: [f64; 4], tolerance: f64, what: &str) {
    for (a, b) in found.iter().zip(expected) {
        assert!((a / b - 1.).abs() < tolerance, "{what}: {found} {expected:?}");
    }
}

/// What statsmodels says of one family.
struct Expected {
    family: Family,
    errors: [f64; 4],
    /// HC1 and clustered, where the link is canonical.
    robust: Option<[[f64; 4]; 2]>,
    weighted: [f64; 4],
    precision: [f64; 4],
    log_likelihood: f64,
    pearson: f64,
    null: f64,
}

fn expected() -> Vec<Expected> {
    vec![
        Expected {
            family: Family::Gaussian,
            errors: [0.0539668897646, 0.0993481272932, 0.0989530188003, 0.089868557959],
            robust: Some([
                [0.0530858812452, 0.0943633802821, 0.0939706895418, 0.0837078237096],
                [0.0250627818369, 0.126156219292, 0.0816908982666, 0.0868533230305],
            ]),
            weighted: [0.0379034062687, 0.072182835306, 0.0707374791875, 0.0653667166336],
            precision: [0.0540636356207, 0.102958200601, 0.100896612627, 0.0932360095752],
            log_likelihood: -102.38949971089815,
            pearson: 38.710324144630434,
            null: 56.54072008096362,
        },
        Expected {
            family: Family::Binomial,
            errors: [0.225054883752, 0.446216325001, 0.487298491289, 0.365804077535],
            robust: Some([
                [0.214092421588, 0.458167425959, 0.457944936483, 0.359326391468],
                [0.132897100578, 0.445112469031, 0.297796415819, 0.307544261535],
            ]),
            weighted: [0.157308843076, 0.319239329258, 0.34830979263, 0.267819532604],
            precision: [0.157308843076, 0.319239329258, 0.34830979263, 0.267819532604],
            log_likelihood: -62.98382237822925,
            pearson: 110.89945039675536,
            null: 162.29908651298285,
        },
        Expected {
            family: Family::Poisson,
            errors: [0.0566795342521, 0.0966465524745, 0.0977459478067, 0.0886118771317],
            robust: Some([
                [0.0340246288336, 0.0587484847154, 0.0582398445976, 0.055391845504],
                [0.0188959286618, 0.0711856176038, 0.0710562819522, 0.0588973544372],
            ]),
            weighted: [0.040080450332, 0.0697298711777, 0.0701516316704, 0.0643297576913],
            precision: [0.040080450332, 0.0697298711777, 0.0701516316704, 0.0643297576913],
            log_likelihood: -199.81466116499212,
            pearson: 47.18212745166376,
            null: 121.93218770226106,
        },
        Expected {
            family: Family::Gamma,
            errors: [0.032017102784, 0.058940569242, 0.0587061620103, 0.0533165959678],
            robust: None,
            weighted: [0.0224843082792, 0.0428188725304, 0.041961486988, 0.0387755495527],
            precision: [0.0320705596055, 0.0610748254593, 0.0598518910555, 0.0553076197731],
            log_likelihood: f64::NAN,
            pearson: 13.624986779916028,
            null: 32.164900799531225,
        },
        Expected {
            family: Family::InverseGaussian,
            errors: [0.017352924613, 0.0305034188991, 0.0310829886796, 0.0271815144069],
            robust: None,
            weighted: [0.0119684724745, 0.022087914973, 0.0219633271285, 0.0198194230555],
            precision: [0.0170712661076, 0.0315051628409, 0.0313274566005, 0.0282694926859],
            log_likelihood: f64::NAN,
            pearson: 3.0609334978254945,
            null: 18.12782035333952,
        },
        Expected {
            family: Family::NegativeBinomial { theta: 2. },
            errors: [0.0850543642598, 0.155515106942, 0.15499473358, 0.140508224652],
            robust: None,
            weighted: [0.060177735372, 0.112897814799, 0.111102347633, 0.102208867929],
            precision: [0.060177735372, 0.112897814799, 0.111102347633, 0.102208867929],
            log_likelihood: -265.2460332859625,
            pearson: 63.62475552739557,
            null: 97.79704254990688,
        },
    ]
}

#[test]
fn standard_errors_of_every_family_and_kind() {
    let x = x();
    let hc1 = (120_f64 / 116.).sqrt();
    for case in expected() {
        let (family, y) = (case.family, y(case.family));
        let glm = Glm::new(family);
        let errors = |glm: &Glm, response: Response<'_>| inference(&glm.fit(&x, response).unwrap()).standard_errors();
        near(&errors(&glm, Response::new(&y)), case.errors, 1e-8, "plain");
        let robust = |kind| errors(&glm.clone().covariance(kind), Response::new(&y).groups(&groups()));
        if let Some([white, clustered]) = case.robust {
            near(&robust(Covariance::Hc1), white.map(|e| e * hc1), 1e-8, "hc1");
            near(&robust(Covariance::Clustered), clustered, 1e-8, "clustered");
        }
        let weights = weights();
        near(&errors(&glm, Response::new(&y).sample_weight(&weights)), case.weighted, 1e-8, "frequencies");
        let precision = glm.clone().weights_kind(WeightsKind::Precision);
        near(&errors(&precision, Response::new(&y).sample_weight(&weights)), case.precision, 1e-8, "precision");

        let model = glm.fit(&x, &y).unwrap();
        let found = inference(&model);
        assert!((found.pearson_chi2 / case.pearson - 1.).abs() < 1e-9, "{family}");
        assert!((model.report().null_deviance / case.null - 1.).abs() < 1e-10, "{family}");
        assert_eq!((found.n_observations, found.df_residual, found.rank()), (120., 116., 4));
        if !case.log_likelihood.is_nan() {
            assert!((found.log_likelihood.unwrap() / case.log_likelihood - 1.).abs() < 1e-10, "{family}: {found:?}");
            let parameters = if family == Family::Gaussian { 5. } else { 4. };
            assert!((found.aic.unwrap() - 2. * parameters + 2. * case.log_likelihood).abs() < 1e-7);
            assert!((found.bic.unwrap() - parameters * 120_f64.ln() + 2. * case.log_likelihood).abs() < 1e-7);
        }
    }
}

#[test]
fn the_sandwich_of_a_log_link_is_that_of_least_squares_with_its_scores() {
    // With the log link a gamma row's expected information is 1 and its score (y - mu)/mu: so are those of least
    // squares to eta + (y - mu)/mu.
    let (x, y, groups) = (x(), y(Family::Gamma), groups());
    let gamma = Glm::new(Family::Gamma).fit(&x, &y).unwrap();
    let eta = gamma.decision_function(x.view()).unwrap();
    let working = &eta + &(&y / &eta.mapv(f64::exp) - 1.);
    for kind in [Covariance::Hc1, Covariance::Clustered] {
        let errors = |family: Family, y: &Array1<f64>| {
            let model = Glm::new(family).covariance(kind).fit(&x, Response::new(y).groups(&groups)).unwrap();
            inference(&model).standard_errors()
        };
        let expected = errors(Family::Gaussian, &working).to_vec().try_into().unwrap();
        near(&errors(Family::Gamma, &y), expected, 1e-8, "log link");
    }
}

#[test]
fn a_weight_of_three_is_three_rows() {
    let x = x();
    let weights = weights();
    let repeated: Vec<usize> = (0..N).flat_map(|i| vec![i; weights[i] as usize]).collect();
    let many = Array2::from_shape_fn((repeated.len(), 3), |(i, j)| x[[repeated[i], j]]);
    let of = |values: &Array1<f64>| Array1::from_iter(repeated.iter().map(|&i| values[i]));
    for kind in [Covariance::Nonrobust, Covariance::Hc1, Covariance::Clustered] {
        for case in expected() {
            let (glm, y, groups) = (Glm::new(case.family).covariance(kind), y(case.family), groups());
            let weighted = glm.fit(&x, Response::new(&y).sample_weight(&weights).groups(&groups)).unwrap();
            let plain = glm.fit(&many, Response::new(&of(&y)).groups(&of(&groups))).unwrap();
            let (a, b) = (inference(&weighted), inference(&plain));
            near(&a.standard_errors(), b.standard_errors().to_vec().try_into().unwrap(), 1e-8, "repeated");
            assert!((a.log_likelihood.unwrap() / b.log_likelihood.unwrap() - 1.).abs() < 1e-10, "{}", case.family);
        }
    }
}

#[test]
fn the_likelihood_of_gamma_and_inverse_gaussian_is_r_s() {
    let x = x();
    for family in [Family::Gamma, Family::InverseGaussian] {
        let y = y(family);
        let model = Glm::new(family).fit(&x, &y).unwrap();
        let dispersion = model.report().deviance / N as f64;
        let eta = model.decision_function(x.view()).unwrap();
        let density = |(&y, eta): (&f64, &f64)| {
            let mu = eta.exp();
            if family == Family::Gamma {
                let k = 1. / dispersion;
                (k - 1.) * y.ln() - y * k / mu - k * (mu / k).ln() - libm_lgamma(k)
            } else {
                -0.5 * ((std::f64::consts::TAU * dispersion * y.powi(3)).ln()
                    + (y - mu).powi(2) / (y * mu * mu * dispersion))
            }
        };
        let expected: f64 = y.iter().zip(&eta).map(density).sum();
        assert!((inference(&model).log_likelihood.unwrap() / expected - 1.).abs() < 1e-10, "{family} {expected}");
    }
}

/// ln of the gamma function by Stirling's series, which shapes of 8 and more need only.
fn libm_lgamma(x: f64) -> f64 {
    let shift: f64 = (0..20).map(|i| (x + f64::from(i)).ln()).sum();
    let z = x + 20.;
    (z - 0.5) * z.ln() - z + 0.5 * std::f64::consts::TAU.ln() + 1. / (12. * z) - 1. / (360. * z.powi(3)) - shift
}

#[test]
fn p_values_are_t_where_the_dispersion_is_estimated_and_z_elsewhere() {
    let x = x();
    let p_values = |family: Family| {
        let model = Glm::new(family).fit(&x, &y(family)).unwrap();
        let terms: Vec<f64> = std::iter::once(model.intercept()).chain(model.coef().iter().copied()).collect();
        let errors = inference(&model).standard_errors();
        Array1::from_iter(terms.iter().zip(&errors).map(|(b, e)| inference(&model).p_value(b / e)))
    };
    let t = [8.31523495699e-89, 9.67523896384e-06, 2.30080225845e-08, 0.445962308958];
    near(&p_values(Family::Gaussian), t, 1e-6, "t");
    let z = [6.82206718389e-82, 1.17876941542e-07, 7.47295347201e-13, 0.415977994231];
    near(&p_values(Family::Poisson), z, 1e-6, "z");
    let model = Glm::new(Family::Poisson).fit(&x, &y(Family::Poisson)).unwrap();
    assert!((inference(&model).quantile(0.95) - 1.959_963_984_540_054).abs() < 1e-9);
}

#[test]
fn predictions_come_with_errors_and_intervals() {
    let x = x();
    let model = Glm::new(Family::Poisson).fit(&x, &y(Family::Poisson)).unwrap();
    let found = model.predict_with_errors(x.slice(s![..2, ..]), 0.95).unwrap();
    // statsmodels' get_prediction: mean, mean_se, mean_ci_lower, mean_ci_upper.
    let expected = [
        [2.011174556819408, 0.2693031356307273, 1.5469311154391117, 2.614740280047686],
        [2.470243819418332, 0.22911808017622576, 2.059633069357948, 2.9627143874110953],
    ];
    for (i, [mean, error, low, high]) in expected.into_iter().enumerate() {
        let found = [found.mean[i], found.mean_error[i], found.interval.0[i], found.interval.1[i]];
        for (a, b) in found.into_iter().zip([mean, error, low, high]) {
            assert!((a / b - 1.).abs() < 1e-8, "{found:?}");
        }
    }
    let falling = Glm::new(Family::Gamma).link(phalanx_glm::Link::Inverse).fit(&x, &y(Family::Gamma)).unwrap();
    let found = falling.predict_with_errors(x.view(), 0.9).unwrap();
    assert!(found.interval.0.iter().zip(&found.interval.1).all(|(low, high)| low < high));
    assert!(model.predict_with_errors(x.view(), 1.).unwrap_err().to_string().starts_with("confidence is 1"));
    let penalised = Glm::new(Family::Poisson).alpha(0.1).fit(&x, &y(Family::Poisson)).unwrap();
    assert!(penalised.inference().is_none() && penalised.predict_with_errors(x.view(), 0.9).is_err());
}

#[test]
fn trials_are_as_many_rows() {
    let x = x();
    let successes: Array1<f64> = (0..N).map(|i| ((i * 7) % 5) as f64).collect();
    let trials = Array1::from_elem(N, 6.);
    let model = Glm::new(Family::Binomial).fit(&x, Response::new(&successes).trials(&trials)).unwrap();
    let errors = [0.0807086400195, 0.149493286992, 0.148564113304, 0.135469484497];
    near(&inference(&model).standard_errors(), errors, 1e-8, "trials");
    assert!((inference(&model).log_likelihood.unwrap() + 211.10657260766692).abs() < 1e-8);
    assert!((model.report().deviance - 215.96539108211206).abs() < 1e-8, "{:?}", model.report());
    assert!((model.report().null_deviance - 220.5602252519583).abs() < 1e-8);
}

#[test]
fn nested_models_are_told_apart_by_chi_squared_or_f() {
    let x = x();
    let both = |family: Family| {
        let (glm, y) = (Glm::new(family), y(family));
        (glm.fit(&x, &y).unwrap(), glm.fit(x.slice(s![.., 2..]), y.view()).unwrap())
    };
    let (large, small) = both(Family::Poisson);
    let test = large.likelihood_ratio_test(&small).unwrap();
    let drop = small.report().deviance - large.report().deviance;
    assert_eq!((test.statistic, test.df, test.df_residual), (drop, 2., None));
    // The tail of chi squared with two degrees of freedom is exp(-x/2).
    assert!((test.p_value / (-0.5 * drop).exp() - 1.).abs() < 1e-9);
    let (large, small) = both(Family::Gaussian);
    let test = large.likelihood_ratio_test(&small).unwrap();
    let f = (small.report().deviance - large.report().deviance) / 2. / (large.report().deviance / 116.);
    assert!((test.statistic / f - 1.).abs() < 1e-10 && test.df_residual == Some(116.));
    // The tail of F with 2 and d degrees of freedom is (1 + 2 f / d)^(-d/2).
    assert!((test.p_value / (1. + 2. * f / 116.).powf(-58.) - 1.).abs() < 1e-7);
    assert!(small.likelihood_ratio_test(&large).is_err());
}

#[test]
fn quasi_estimates_the_dispersion_and_has_no_likelihood() {
    let (x, y) = (x(), y(Family::Poisson));
    let plain = Glm::new(Family::Poisson).fit(&x, &y).unwrap();
    let quasi = Glm::new(Family::Poisson).quasi(true).fit(&x, &y).unwrap();
    let (a, b) = (inference(&plain), inference(&quasi));
    assert_eq!((b.dispersion, b.log_likelihood, b.aic), (a.pearson_chi2 / 116., None, None));
    let ratio = b.standard_errors() / a.standard_errors();
    assert!(ratio.iter().all(|r| (r / b.dispersion.sqrt() - 1.).abs() < 1e-12));
}

#[test]
fn what_is_collinear_has_no_error_and_the_rest_has_that_without_it() {
    let x = x();
    let with = ndarray::concatenate![ndarray::Axis(1), x, (&x.column(0) + &x.column(1)).insert_axis(ndarray::Axis(1))];
    let y = y(Family::Poisson);
    let (with, without) =
        (Glm::new(Family::Poisson).fit(&with, &y).unwrap(), Glm::new(Family::Poisson).fit(&x, &y).unwrap());
    let (a, b) = (inference(&with).standard_errors(), inference(&without).standard_errors());
    assert!(a[4].is_nan() && inference(&with).rank() == 4);
    assert!(a.iter().zip(&b).all(|(a, b)| (a / b - 1.).abs() < 1e-7));
    assert_eq!(with.report().collinear_columns, [3]);
    let text = serde_json::to_string(&with).unwrap();
    assert_eq!(serde_json::from_str::<GlmModel>(&text).unwrap(), with);
}

#[test]
fn without_degrees_of_freedom_nothing_is_said() {
    let model = Glm::default().fit(&array![[1.], [2.]], &array![1., 5.]).unwrap();
    assert!(model.inference().is_none());
    let clustered = Glm::default().covariance(Covariance::Clustered).fit(&x(), &y(Family::Gaussian)).unwrap_err();
    assert!(clustered.to_string().starts_with("covariance is clustered, expected groups"), "{clustered}");
}
