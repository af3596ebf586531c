//! Targets of several classes, and weights of classes: what is fitted, what a model file keeps, what `predict` writes.

use std::{fmt::Write, fs, path::Path};

use serde_json::Value;

use crate::support::{csv_columns, folder, listing, run, succeed, text, write};

/// Sky and wind decide on the way to work; names with a comma, since files have such.
const WAYS: [&str; 3] = ["bike", "bus, late", "walk"];

/// Columns: wind, sky, the way, its place among the sorted ways, a weight that is 3 for buses.
fn ways(place: &Path) -> std::path::PathBuf {
    let mut data = "wind,sky,way,code,often\n".to_owned();
    for row in 0..60_usize {
        let wind = (row * 37 % 11) as f64 / 2.;
        let sky = ["clear", "rain"][row * 7 % 3 % 2];
        let way = (row * 13 % 7 + usize::from(wind > 2.5) + usize::from(sky == "rain")) % 3;
        writeln!(data, "{wind},{sky},\"{}\",{way},{}", WAYS[way], if way == 1 { 3 } else { 1 }).expect("text");
    }
    write(place, "ways.csv", &data)
}

fn fit(data: &Path, more: &[&str]) -> Value {
    let data = text(data);
    let args = ["fit", "glm", &data, "--json", "--family", "multinomial", "--features", "wind,sky"];
    serde_json::from_str(&succeed([&args[..], more].concat())).expect("JSON")
}

#[test]
fn a_text_of_three_levels_is_what_its_numbers_are() {
    let place = folder();
    let data = ways(place.path());
    let by_text = fit(&data, &["--target", "way", "--alpha", "0.01"]);
    let by_code = fit(&data, &["--target", "code", "--alpha", "0.01"]);
    assert_eq!(by_text["classes"], serde_json::json!(WAYS));
    assert_eq!(by_code["classes"], serde_json::json!(["0", "1", "2"]));
    for (code, way) in WAYS.iter().enumerate() {
        let code = code.to_string();
        assert_eq!(by_text["coefficients"][way], by_code["coefficients"][&code]);
        assert_eq!(by_text["intercepts"][way], by_code["intercepts"][&code]);
        let named = by_text["coefficients"][way].as_object().expect("an object");
        assert_eq!(named.keys().collect::<Vec<_>>(), ["sky=rain", "wind"]);
    }
    assert_eq!((&by_text["converged"], &by_text["reference"]), (&true.into(), &Value::Null));
    assert!(by_text.get("standard_errors").is_some_and(Value::is_null));
    // Without a penalty the first class is what the others are held against.
    let plain = fit(&data, &["--target", "way"]);
    assert_eq!((&plain["reference"], &plain["intercepts"]["bike"]), (&"bike".into(), &0.0.into()));
}

#[test]
fn predict_writes_the_class_and_the_probability_of_each() {
    let place = folder();
    let (data, model) = (ways(place.path()), text(&place.path().join("model.json")));
    let output = place.path().join("p.csv");
    let args = ["fit", "glm", &text(&data), "--target", "way", "--family", "multinomial", "--features", "wind,sky"];
    let shown = succeed([&args[..], &["--output", &model]].concat());
    assert!(
        shown.contains("The others are held against bike") && shown.contains(">") || shown.contains("walk"),
        "{shown}"
    );
    for cluster in ["local", "local:2"] {
        succeed(["predict", &model, &text(&data), "--output", &text(&output), "--cluster", cluster]);
        let columns = csv_columns(&output);
        let names = WAYS.map(|way| format!("probability={way}"));
        let shares: Vec<Vec<f64>> = names
            .iter()
            .map(|name| columns[name].iter().map(|cell| cell.parse().expect("a number")).collect())
            .collect();
        for (row, prediction) in columns["prediction"].iter().enumerate() {
            let all: Vec<f64> = shares.iter().map(|shares| shares[row]).collect();
            let best = (0..3).max_by(|a, b| all[*a].total_cmp(&all[*b])).expect("three");
            assert_eq!(prediction, WAYS[best]);
            assert!((all.iter().sum::<f64>() - 1.).abs() < 1e-12);
        }
        // At the optimum the mean probability of each class is its share of the rows.
        let target = &csv_columns(&data)["way"];
        for (way, shares) in WAYS.iter().zip(&shares) {
            let n = target.iter().filter(|found| found == way).count() as f64;
            assert!((shares.iter().sum::<f64>() - n).abs() < 1e-6);
        }
    }
    let (code, _, said) = run(["predict", &model, &text(&data), "--output", &text(&output), "--offset", "wind"]);
    assert_eq!(code, 2, "{said}");
}

#[test]
fn weights_of_classes_are_weights_of_their_rows() {
    let place = folder();
    let data = ways(place.path());
    for alpha in ["0", "0.02"] {
        let by_class = fit(&data, &["--target", "way", "--alpha", alpha, "--class-weight", "bus, late=3"]);
        let by_row = fit(&data, &["--target", "way", "--alpha", alpha, "--weights", "often"]);
        assert_eq!(by_class["coefficients"], by_row["coefficients"]);
        let by_code = fit(&data, &["--target", "code", "--alpha", alpha, "--class-weight", "0=1,1=3"]);
        assert_eq!(by_code["coefficients"]["1"], by_row["coefficients"]["bus, late"]);
    }
    let balanced = fit(&data, &["--target", "way", "--class-weight", "balanced"]);
    let null = balanced["null_deviance"].as_f64().expect("a number");
    assert!((null - 120. * 3_f64.ln()).abs() < 1e-9, "{null}");

    // Two classes: text and numbers.
    let rides = "wind,late,no\n1,yes,0\n2,no,1\n3,yes,0\n4,no,1\n5,no,1\n6,yes,0\n7,no,1\n";
    let rides = text(&write(place.path(), "late.csv", rides));
    let two = |more: &[&str]| -> Value {
        let args = ["fit", "glm", &rides, "--json", "--family", "binomial", "--features", "wind"];
        serde_json::from_str(&succeed([&args[..], more].concat())).expect("JSON")
    };
    let by_text = two(&["--target", "late", "--class-weight", "yes=5"]);
    let by_number = two(&["--target", "no", "--class-weight", "0=5,1=1"]);
    let slope = |answer: &Value| answer["coefficients"]["wind"].as_f64().expect("a number");
    assert!((slope(&by_text) + slope(&by_number)).abs() < 1e-9);
    assert_eq!(by_text["sum_weights"], 19.);
    assert!(
        (two(&["--target", "late", "--class-weight", "balanced"])["sum_weights"].as_f64().expect("one") - 7.).abs()
            < 1e-12
    );
}

#[test]
fn what_classes_have_not_is_refused() {
    let place = folder();
    let data = text(&ways(place.path()));
    let model = text(&place.path().join("model.json"));
    for (code, more, line) in [
        (2, &["--link", "log"][..], "link is \"log\", but family is multinomial, which has none"),
        (2, &["--cv", "5"], "cv is 5, but family is multinomial, which has none"),
        (2, &["--alpha", "-1"], "alpha is -1, expected 0 or more"),
        (
            1,
            &["--class-weight", "bsu=2"],
            "class_weight names \"bsu\", which is no class of the target; they are bike, bus, late, walk",
        ),
    ] {
        let args = ["fit", "glm", &data, "--target", "way", "--family", "multinomial", "--output", &model];
        let (found, _, said) = run([&args[..], more].concat());
        assert_eq!((found, said.trim_end()), (code, format!("error: {line}").as_str()));
    }
    let args = ["fit", "glm", &data, "--target", "wind", "--class-weight", "balanced", "--output", &model];
    let (code, _, said) = run(args);
    assert_eq!((code, said.trim_end()), (2, "error: class_weight is given, expected none for the gaussian family"));
    assert_eq!(listing(place.path()), ["ways.csv"]);
}

#[test]
fn a_sweep_tunes_several_classes() {
    let place = folder();
    ways(place.path());
    let sweep = "data: ways.csv\ntarget: way\nfeatures: [wind, sky]\nestimator: {type: multinomial_regression, \
                 class_weight: balanced}\nstandardize: true\nmethod: grid\nmetric: accuracy\n\
                 parameters: {alpha: {values: [0.1, 0.01]}}\ncv: 3\n";
    let (sweep, output) = (write(place.path(), "sweep.yaml", sweep), place.path().join("out"));
    succeed(["sweep", &text(&sweep), "--output", &text(&output)]);
    let coefficients = fs::read_to_string(output.join("best_coefficients.csv")).expect("a file");
    assert!(coefficients.starts_with("name,bike,\"bus, late\",walk\nintercept,"), "{coefficients}");
    let (model, predictions) = (text(&output.join("best_model.json")), place.path().join("p.csv"));
    succeed(["predict", &model, &text(&place.path().join("ways.csv")), "--output", &text(&predictions)]);
    assert!(csv_columns(&predictions).contains_key("probability=bus, late"));
}
