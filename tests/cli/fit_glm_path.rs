//! What `phalanx fit glm --path` and `--cv` find and choose, what their model files predict, and what is refused.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::support::{csv_columns, folder, listing, run, succeed, text, write};

/// Bikers by weather, with folds that are counted from 0, from 1, and such that cannot be.
fn rides(place: &Path) -> PathBuf {
    let mut data = "temp,hum,wind,sky,hours,bikers,zero,one,some,broken\n".to_owned();
    for i in 0..90_u32 {
        let (temp, hum, wind) = ((i * 37) % 41, (i * 11 + 5) % 23, (i * i) % 17);
        let sky = ["clear", "fog", "rain"][(i % 3) as usize];
        let hours = 1 + i % 4;
        let bikers = (3 + temp / 4 + (i * 7) % 5 - 2 * (i % 2)) * hours;
        let (fold, some) = ((i / 3) % 5, i % 4);
        let broken = if i == 17 { 5 } else { fold };
        writeln!(data, "{temp},{hum},{wind},{sky},{hours},{bikers},{fold},{},{some},{broken}", fold + 1).expect("text");
    }
    write(place, "rides.csv", &data)
}

const POISSON: [&str; 8] =
    ["--target", "bikers", "--family", "poisson", "--features", "temp,hum,wind,sky", "--l1-ratio", "1"];

/// What a fit answers to programs; it must have nothing to complain of.
fn fit(data: &Path, more: &[&str]) -> Value {
    let data = text(data);
    let args = [&["fit", "glm", &data, "--json"], &POISSON[..], more].concat();
    serde_json::from_str(&succeed(args)).expect("JSON")
}

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().expect("a list").iter().map(|value| value.as_f64().expect("a number")).collect()
}

fn place_of(lambda: &Value, cv: &Value) -> usize {
    let lambda = lambda.as_f64().expect("a number");
    numbers(&cv["lambda"]).iter().position(|other| *other == lambda).expect("a place on the path")
}

#[test]
fn a_path_falls_from_where_nothing_is_in_the_model() {
    let place = folder();
    let data = rides(place.path());
    let answer = fit(&data, &["--path", "12", "--lambda-min-ratio", "0.001"]);
    let path = answer["path"].as_array().expect("a list");
    let lambdas: Vec<f64> = path.iter().map(|point| point["lambda"].as_f64().expect("a number")).collect();
    let explained: Vec<f64> = path.iter().map(|point| point["dev_ratio"].as_f64().expect("a number")).collect();
    assert_eq!(lambdas.len(), 12);
    assert!(lambdas.windows(2).all(|pair| pair[1] < pair[0]), "{lambdas:?}");
    assert!((lambdas[11] / lambdas[0] - 0.001).abs() < 1e-12);
    assert!(explained.windows(2).all(|pair| pair[1] >= pair[0]), "{explained:?}");
    assert!(path[0]["coefficients"].as_object().expect("an object").values().all(|coef| coef == &json!(0.0)));
    // Without folds the last place is taken.
    assert_eq!((&answer["lambda"], &answer["cv"]), (&path[11]["lambda"], &Value::Null));
    assert_eq!((&answer["intercept"], &answer["coefficients"]), (&path[11]["intercept"], &path[11]["coefficients"]));
    // And each is what a fit of that strength finds by itself.
    let alone = fit(&data, &["--alpha", &format!("{:?}", lambdas[6])]);
    for (name, coef) in alone["coefficients"].as_object().expect("an object") {
        let other = path[6]["coefficients"][name].as_f64().expect("a number");
        assert!((coef.as_f64().expect("a number") - other).abs() < 1e-6, "{name}: {coef} and {other}");
    }
}

#[test]
fn cross_validation_takes_the_least_error_or_one_within_a_standard_error() {
    let place = folder();
    let data = rides(place.path());
    let (min, one_se) = (fit(&data, &["--cv", "5"]), fit(&data, &["--cv", "5", "--select", "1se"]));
    let cv = &min["cv"];
    let (mean, sd) = (numbers(&cv["mean"]), numbers(&cv["sd"]));
    assert_eq!((mean.len(), sd.len(), min["path"].as_array().expect("a list").len()), (100, 100, 100));
    let [at_min, at_one_se] = [&cv["min"], &cv["one_se"]].map(|lambda| place_of(lambda, cv));
    assert!(mean.iter().all(|error| *error >= mean[at_min]));
    assert!(at_one_se < at_min && mean[at_one_se] <= mean[at_min] + sd[at_min]);
    assert!(at_one_se == 0 || mean[at_one_se - 1] > mean[at_min] + sd[at_min]);
    assert_eq!((&min["lambda"], &one_se["lambda"]), (&cv["min"], &cv["one_se"]));
    assert_eq!(min["coefficients"], min["path"][at_min]["coefficients"]);
    assert_eq!(one_se["coefficients"], min["path"][at_one_se]["coefficients"]);
    assert_eq!((&one_se["cv"]["mean"], &one_se["cv"]["select"]), (&cv["mean"], &json!("1se")));
    // A seed draws the folds: the same the same, another others.
    assert_eq!(fit(&data, &["--cv", "5", "--seed", "0"])["cv"], *cv);
    assert_ne!(fit(&data, &["--cv", "5", "--seed", "1"])["cv"]["mean"], cv["mean"]);
    // Worker processes find the same.
    assert_eq!(fit(&data, &["--cv", "5", "--cluster", "processes:2"])["cv"], *cv);
}

#[test]
fn a_column_of_folds_is_followed_from_0_or_1_and_is_no_feature() {
    let place = folder();
    let data = rides(place.path());
    let cv = |column: &str| fit(&data, &["--path", "10", "--cv", "5", "--fold-column", column])["cv"].clone();
    let (zero, one) = (cv("zero"), cv("one"));
    assert_ne!(zero["mean"], fit(&data, &["--path", "10", "--cv", "5"])["cv"]["mean"]);
    for (a, b) in numbers(&zero["mean"]).iter().zip(numbers(&one["mean"])) {
        assert!((a - b).abs() < 1e-9, "{a} and {b}");
    }
    let data = text(&data);
    let args =
        ["fit", "glm", &data, "--target", "bikers", "--path", "3", "--cv", "5", "--fold-column", "zero", "--json"];
    let answer: Value = serde_json::from_str(&succeed(args)).expect("JSON");
    assert!(answer["coefficients"].get("zero").is_none() && answer["coefficients"].get("one").is_some());
}

#[test]
fn people_see_the_path_and_the_coefficients_of_the_chosen_place() {
    let place = folder();
    let data = text(&rides(place.path()));
    let shown = |more: &[&str]| succeed([&["fit", "glm", &data], &POISSON[..], more].concat());
    let short = shown(&["--path", "7"]);
    let rows = |text: &str| text.lines().skip(2).take_while(|line| !line.is_empty()).count();
    assert!(short.trim_start().starts_with("lambda  nonzero  deviance explained %\n"), "{short}");
    assert_eq!(rows(&short), 7);
    assert!(short.contains(", place 7 of 7 (the last):\n\ncolumn "), "{short}");

    let long = shown(&["--cv", "5", "--select", "1se"]);
    assert!(long.lines().next().is_some_and(|header| header.ends_with("mean error    +- sd  mark")), "{long}");
    assert!((20..=23).contains(&rows(&long)), "{long}");
    for mark in ["  min", "  1se"] {
        assert_eq!(long.lines().filter(|line| line.ends_with(mark)).count(), 1, "{long}");
    }
    let marked = long.lines().find(|line| line.ends_with("  1se")).and_then(|line| line.split_whitespace().next());
    let chosen = format!("\nAt lambda {}, place ", marked.expect("a lambda"));
    assert!(long.contains(&chosen), "{long}");
    assert!(long.contains("(the largest within a standard error of the least, of 5 folds):\n\ncolumn "), "{long}");
}

#[test]
fn a_path_s_model_file_predicts_at_its_chosen_place() {
    let place = folder();
    let data = rides(place.path());
    let path = |name: &str| text(&place.path().join(name));
    let (model, output, alone) = (path("path.json"), path("p.csv"), path("alone.json"));
    let answer = fit(&data, &["--cv", "5", "--exposure", "hours", "--output", &model]);
    let file: Value = serde_json::from_str(&fs::read_to_string(&model).expect("text")).expect("JSON");
    assert_eq!(file["golden_rows"].as_array().map(Vec::len), Some(5));
    assert_eq!(file["report"]["lambda"], answer["lambda"]);
    let lambda = answer["lambda"].to_string();
    fit(&data, &["--alpha", &lambda, "--exposure", "hours", "--output", &alone]);
    let predicted = |model: &str, more: &[&str]| {
        succeed([&["predict", model, &text(&data), "--output", &output], more].concat());
        let column = csv_columns(Path::new(&output)).remove("prediction").expect("a column");
        column.iter().map(|cell| cell.parse::<f64>().expect("a number")).collect::<Vec<_>>()
    };
    for more in [&[][..], &["--exposure", "hours"], &["--offset", "wind", "--cluster", "processes:2"]] {
        let (of_path, of_one) = (predicted(&model, more), predicted(&alone, more));
        assert_eq!(of_path.len(), 90);
        for (a, b) in of_path.iter().zip(of_one) {
            assert!((a / b - 1.).abs() < 1e-5, "{more:?}: {a} and {b}");
        }
    }
    // A file whose golden rows do not come out is not served.
    let text_of = fs::read_to_string(&model).expect("text");
    let old = file["golden_rows"][2]["prediction"].to_string();
    let broken = text(&write(place.path(), "broken.json", &text_of.replace(&old, "12345.5")));
    let (code, _, stderr) = run(["predict", &broken, &text(&data), "--output", &output]);
    assert!(code == 1 && stderr.contains("golden row 2"), "{stderr}");
}

#[test]
fn what_cannot_be_meant_is_one_line_and_writes_nothing() {
    let place = folder();
    let data = text(&rides(place.path()));
    let before = listing(place.path());
    let model = text(&place.path().join("model.json"));
    let cases: [(i32, &[&str], &str); 30] = [
        (
            2,
            &["--alpha", "0.1", "--path", "5"],
            "alpha is 0.1 and path is 5, expected one of them: a path finds its own strengths",
        ),
        (
            2,
            &["--alpha", "0", "--cv", "5"],
            "alpha is 0 and cv is 5, expected one of them: a path finds its own strengths",
        ),
        (2, &["--path", "0"], "path is 0, expected 1 to 10,000"),
        (2, &["--path", "99999999999"], "path is 99999999999, expected 1 to 10,000"),
        (2, &["--path", "3", "--lambda-min-ratio", "1"], "lambda_min_ratio is 1, expected above 0 and below 1"),
        (2, &["--cv", "3", "--lambda-min-ratio", "nan"], "lambda_min_ratio is NaN, expected above 0 and below 1"),
        (2, &["--lambda-min-ratio", "0.1"], "lambda_min_ratio is 0.1, expected it with path or cv only"),
        (2, &["--path", "3", "--tol", "2"], "tol is 2, expected above 0 and below 1"),
        (2, &["--cv", "5", "--solver", "admm"], "solver is \"admm\" and cv is 5, expected auto or irls for a path"),
        (2, &["--cv", "2"], "cv is 2, expected 3 folds or more"),
        (1, &["--cv", "91"], "cv is 91, expected 3 to 90, the number of rows"),
        (2, &["--cv", "5", "--select", "mim"], "select is \"mim\", expected one of min, 1se (did you mean \"min\"?)"),
        (2, &["--path", "5", "--select", "1se"], "select is \"1se\", expected it with cv only"),
        (2, &["--seed", "3"], "seed is 3, expected it with cv only"),
        (2, &["--fold-column", "zero"], "fold_column is \"zero\", expected it with cv only"),
        (
            2,
            &["--cv", "5", "--fold-column", "zero", "--seed", "3"],
            "seed is 3 and fold_column is \"zero\", expected one of them: nothing is drawn",
        ),
        (
            2,
            &["--cv", "5", "--fold-column", "temp"],
            "\"temp\" is named as fold_column and as a feature, expected one of them",
        ),
        (
            1,
            &["--cv", "5", "--fold-column", "some"],
            "column \"some\", the fold, has no row of fold 4, expected 5 folds",
        ),
        (
            1,
            &["--cv", "5", "--fold-column", "broken"],
            "column \"broken\", the fold, is 5 in row 17 (counted from 0), expected a whole number, 0 to 4 or 1 to 5",
        ),
        (2, &["--confidence", "1"], "confidence is 1, expected above 0 and below 1"),
        (2, &["--confidence", "nan"], "confidence is NaN, expected above 0 and below 1"),
        (
            2,
            &["--covariance", "hc2"],
            "covariance is \"hc2\", expected one of nonrobust, hc1, clustered (did you mean \"hc1\"?)",
        ),
        (
            2,
            &["--covariance", "clustered"],
            "covariance is \"clustered\" without group, expected the column of the groups",
        ),
        (
            2,
            &["--covariance", "hc1", "--group", "one"],
            "covariance is \"hc1\" and group is \"one\", expected clustered with groups",
        ),
        (2, &["--weights-kind", "often"], "weights_kind is \"often\", expected one of frequency, precision"),
        (
            2,
            &["--path", "3", "--quasi"],
            "quasi is set and path is 3, expected one of them: a path has no standard errors",
        ),
        (
            2,
            &["--cv", "3", "--group", "one"],
            "group is \"one\" and cv is 3, expected one of them: a path has no standard errors",
        ),
        (2, &["--group", "bikers"], "\"bikers\" is named as group and as the target, expected one of them"),
        (2, &["--group", "sky"], "\"sky\" is named as group and as a feature, expected one of them"),
        (1, &["--group", "huor"], "there is no column \"huor\" in DIR/rides.csv; did you mean \"hours\"?"),
    ];
    let real = fs::canonicalize(place.path()).expect("a folder");
    for (code, more, line) in cases {
        let args = [&["fit", "glm", &data, "--output", &model], &POISSON[..], more].concat();
        let (found, stdout, stderr) = run(args);
        let said = stderr.replace(&text(&real), "DIR").replace(&text(place.path()), "DIR");
        assert_eq!(
            (found, stdout.as_str(), said.as_str()),
            (code, "", format!("error: {line}\n").as_str()),
            "{more:?}"
        );
        assert_eq!(listing(place.path()), before, "{more:?}");
    }
}

#[test]
fn a_group_that_is_missing_is_named_with_its_row() {
    let place = folder();
    let data = text(&write(place.path(), "a.csv", "x,who,y\n1,a,1\n2,b,3\n3,,2\n4,a,5\n5,b,4\n"));
    let (code, _, stderr) = run(["fit", "glm", &data, "--target", "y", "--group", "who"]);
    assert_eq!(
        (code, stderr.as_str()),
        (1, "error: column \"who\" has a missing value in row 2 (counted from 0); drop or fill such rows first\n")
    );
}
