//! What `phalanx fit glm` says of coefficients beside their values: errors, tests, intervals, likelihood; and when not.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::support::{folder, run, succeed, text, write};

/// What programs are told beyond the coefficients.
const KEYS: [&str; 12] = [
    "standard_errors",
    "z",
    "statistic",
    "p",
    "confidence_intervals",
    "confidence",
    "log_likelihood",
    "aic",
    "bic",
    "dispersion",
    "pseudo_r2",
    "df_residual",
];

const DEFAULT: [&str; 5] = ["datasets/data/default.csv", "--target", "default", "--family", "binomial"];

/// What a fit answers to programs; it must have nothing to complain of.
fn fit(data: &str, more: &[&str]) -> Value {
    let args = [&["fit", "glm", data, "--json"], more].concat();
    serde_json::from_str(&succeed(args)).expect("JSON")
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

/// As near as digits that a reference shows allow.
fn assert_near(found: &Value, expected: f64, tolerance: f64) {
    let found = number(found);
    assert!((found - expected).abs() <= tolerance * expected.abs(), "{found} and {expected}");
}

/// Visits of patients: some patients have many, so their rows hang together.
fn visits(place: &Path) -> PathBuf {
    let mut data = "age,dose,patient,number,visits,often,exactly\n".to_owned();
    for i in 0..60_u32 {
        let patient = i % 7;
        let (age, dose) = (20 + (i * 13) % 47, (i * 29 + patient) % 11);
        let count = 1 + (i * 17 + patient * patient * 3) % 9;
        let often = 1 + i % 3;
        let (name, exactly) = (["a", "b", "c d", "e", "f", "g", "h"][patient as usize], f64::from(often) / 2.);
        writeln!(data, "{age},{dose},{name},{patient},{count},{often},{exactly}").expect("text");
    }
    write(place, "visits.csv", &data)
}

const POISSON: [&str; 6] = ["--target", "visits", "--family", "poisson", "--features", "age,dose"];

#[test]
fn standard_errors_are_those_of_statsmodels() {
    // `default_logit_full` in glm/tests/data/answers.json: statsmodels 0.15.0 GLM.
    let answer = fit(DEFAULT[0], &DEFAULT[1..]);
    for (name, error, p) in [
        ("intercept", 0.4922726497480813, 4.99549855389013e-108),
        ("balance", 0.0002319044257131386, 4.3315211569326125e-135),
        ("income", 8.202765619194591e-06, 0.7115253931335377),
        ("student=Yes", 0.2362569263832951, 0.006189021958800978),
    ] {
        assert_near(&answer["standard_errors"][name], error, 1e-7);
        assert_near(&answer["p"][name], p, 1e-5);
        let term = if name == "intercept" { &answer["intercept"] } else { &answer["coefficients"][name] };
        assert_near(&answer["z"][name], number(term) / error, 1e-7);
        let interval = &answer["confidence_intervals"][name];
        // The quantile of the normal distribution at 0.975.
        assert_near(&interval[0], number(term) - 1.959963984540054 * error, 1e-6);
        assert_near(&interval[1], number(term) + 1.959963984540054 * error, 1e-6);
    }
    assert_near(&answer["log_likelihood"], -785.7724137894799, 1e-9);
    assert_near(&answer["aic"], 1579.5448275789597, 1e-9);
    assert_near(&answer["bic"], 1571.5448275789597 + 4. * 10_000_f64.ln(), 1e-9);
    assert_near(&answer["pseudo_r2"], 1. - 1571.5448275789595 / 2920.6497113459964, 1e-9);
    assert_eq!(
        (&answer["statistic"], &answer["confidence"], &answer["dispersion"], &answer["df_residual"]),
        (&json!("z"), &json!(0.95), &json!(1.0), &json!(9996.0))
    );
    assert_eq!(answer["covariance"], json!("nonrobust"));
}

#[test]
fn people_see_them_beside_the_coefficients() {
    let shown = succeed([&["fit", "glm"], &DEFAULT[..], &["--confidence", "0.99"]].concat());
    let mut lines = shown.lines();
    let header: Vec<&str> =
        lines.next().expect("a header").split("  ").map(str::trim).filter(|s| !s.is_empty()).collect();
    assert_eq!(header, ["column", "coefficient", "std. error", "z", "p value", "99 % lower", "99 % upper"]);
    let row = |name: &str| {
        let line = shown.lines().find(|line| line.starts_with(name)).expect("a row");
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(row("income")[1..5], ["3.0335e-6", "8.2028e-6", "0.370", "0.7115"]);
    assert_eq!(row("balance")[1..5], ["0.0057365", "0.00023190", "24.737", "4.3e-135"]);
    assert!(shown.contains("\nlog-likelihood -785.772, AIC 1579.54, BIC 1608.39, pseudo R2 0.46192\n"), "{shown}");
    assert!(shown.contains("\nnonrobust standard errors, 99 % intervals by z with 9996 residual"), "{shown}");

    // An estimated dispersion makes a t of z, and is worth a word.
    let args = ["fit", "glm", DEFAULT[0], "--target", "balance", "--features", "income", "--covariance", "hc1"];
    let shown = succeed(args);
    assert!(shown.lines().next().is_some_and(|header| header.contains("  t  ")), "{shown}");
    assert!(shown.contains(", dispersion ") && shown.contains("\nhc1 standard errors, 95 % intervals by t"), "{shown}");
}

#[test]
fn a_wider_confidence_is_a_wider_interval() {
    let place = folder();
    let data = text(&visits(place.path()));
    let width = |confidence: &str| {
        let answer = fit(&data, &[&POISSON[..], &["--confidence", confidence]].concat());
        assert_eq!(answer["confidence"], json!(confidence.parse::<f64>().expect("a number")));
        let interval = &answer["confidence_intervals"]["age"];
        number(&interval[1]) - number(&interval[0])
    };
    // The quantiles of the normal distribution at 0.995 and 0.75.
    let ratio = width("0.99") / width("0.5");
    assert!((ratio - 2.5758293035489004 / 0.6744897501960817).abs() < 1e-7, "{ratio}");
}

#[test]
fn each_covariance_is_another_and_groups_may_be_texts_or_numbers() {
    let place = folder();
    let data = text(&visits(place.path()));
    let errors = |more: &[&str]| {
        let answer = fit(&data, &[&POISSON[..], more].concat());
        (answer["covariance"].clone(), answer["standard_errors"].clone(), answer["coefficients"].clone())
    };
    let plain = errors(&[]);
    let robust = errors(&["--covariance", "hc1"]);
    let by_text = errors(&["--group", "patient"]);
    let by_number = errors(&["--covariance", "clustered", "--group", "number"]);
    assert_eq!((&plain.0, &robust.0, &by_text.0), (&json!("nonrobust"), &json!("hc1"), &json!("clustered")));
    assert_eq!((&plain.2, &plain.2), (&robust.2, &by_text.2));
    assert!(plain.1 != robust.1 && robust.1 != by_text.1 && plain.1 != by_text.1);
    for name in ["intercept", "age", "dose"] {
        assert_near(&by_text.1[name], number(&by_number.1[name]), 1e-12);
    }
    // Worker processes read the same groups.
    assert_eq!(errors(&["--group", "patient", "--cluster", "processes:2"]), by_text);
}

#[test]
fn a_column_of_groups_is_nothing_to_learn_from() {
    let place = folder();
    let data = text(&visits(place.path()));
    let base = ["--target", "visits", "--family", "poisson", "--drop", "number,often,exactly", "--group", "patient"];
    let answer = fit(&data, &base);
    let names: Vec<&String> = answer["coefficients"].as_object().expect("an object").keys().collect();
    assert_eq!(names, ["age", "dose"]);
}

#[test]
fn weights_count_rows_or_say_how_exact_they_are() {
    let place = folder();
    let data = text(&visits(place.path()));
    let base = ["--target", "visits", "--features", "age,dose", "--weights", "often"];
    let [counts, exact] =
        [&[][..], &["--weights-kind", "precision"]].map(|more| fit(&data, &[&base[..], more].concat()));
    // Twenty rows of each weight: 120 rows that were seen, or 60.
    assert_eq!((&counts["df_residual"], &exact["df_residual"]), (&json!(117.0), &json!(57.0)));
    assert_eq!(counts["statistic"], json!("t"));
    let ratio = number(&exact["standard_errors"]["age"]) / number(&counts["standard_errors"]["age"]);
    assert!((ratio - (117_f64 / 57.).sqrt()).abs() < 1e-9, "{ratio}");
}

#[test]
fn a_quasi_family_has_a_dispersion_and_no_likelihood() {
    let place = folder();
    let data = text(&visits(place.path()));
    let (plain, quasi) = (fit(&data, &POISSON), fit(&data, &[&POISSON[..], &["--quasi"]].concat()));
    let dispersion = number(&quasi["dispersion"]);
    assert!(dispersion != 1. && plain["dispersion"] == json!(1.0));
    let plain_error = number(&plain["standard_errors"]["dose"]);
    assert_near(&quasi["standard_errors"]["dose"], plain_error * dispersion.sqrt(), 1e-9);
    assert_eq!(
        (&quasi["statistic"], &quasi["aic"], &quasi["log_likelihood"]),
        (&json!("t"), &Value::Null, &Value::Null)
    );
}

#[test]
fn nothing_is_said_where_nothing_can_be() {
    let place = folder();
    let data = text(&visits(place.path()));
    for more in [&["--alpha", "0.1"][..], &["--lower", "age=0"], &["--path", "3"]] {
        let answer = fit(&data, &[&POISSON[..], more].concat());
        for key in KEYS {
            assert_eq!(answer.get(key), Some(&Value::Null), "{key} with {more:?}");
        }
        let shown = succeed([&["fit", "glm", &data], &POISSON[..], more].concat());
        assert!(!shown.contains("std. error") && !shown.contains("AIC"), "{shown}");
    }
    // Who asked for them is told why there are none.
    let args = [&["fit", "glm", &data], &POISSON[..], &["--alpha", "0.1", "--covariance", "hc1"]].concat();
    let (code, _, stderr) = run(args);
    assert_eq!((code, stderr.as_str()), (0, "warning: no standard errors: coefficients are penalised or bounded\n"));
}

#[test]
fn a_column_that_was_left_out_has_no_error() {
    let place = folder();
    let data = text(&write(place.path(), "a.csv", "intercept,x,twice,y\n1,1,2,1\n1,2,4,3\n1,3,6,2\n1,5,10,6\n"));
    let (code, stdout, _) = run(["fit", "glm", &data, "--target", "y", "--json"]);
    let answer: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!((code, &answer["standard_errors"]["twice"]), (0, &Value::Null));
    assert_eq!((&answer["p"]["twice"], &answer["confidence_intervals"]["twice"]), (&Value::Null, &Value::Null));
    // The column of ones is constant; the number under its name is the intercept's.
    assert!(number(&answer["standard_errors"]["x"]) > 0. && number(&answer["standard_errors"]["intercept"]) > 0.);
    let (_, stdout, _) = run(["fit", "glm", &data, "--target", "y"]);
    let row = stdout.lines().find(|line| line.starts_with("twice")).expect("a row");
    assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["twice", "0", "-", "-", "-", "-", "-"]);
}
