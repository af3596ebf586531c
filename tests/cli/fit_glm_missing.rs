//! Missing values at `fit glm`: refused, dropped or filled in, and `predict` after it.

use serde_json::{Value, json};

use crate::support::{csv_columns, folder, listing, run, text, write};

const RIDES: &str =
    "temp,sky,bikers,note\n1,clear,3,\n,rain,1,\n3,clear,9,x\n4,,8,\n5,rain,4,\n6,clear,20,\n7,rain,9,y\n2,rain,3,\n";

/// Exit code, JSON and what was said of a fit.
fn fit(data: &str, more: &[&str]) -> (i32, Value, String) {
    let args = ["fit", "glm", data, "--target", "bikers", "--features", "temp,sky", "--json"];
    let (code, stdout, stderr) = run([&args[..], more].concat());
    (code, serde_json::from_str(&stdout).unwrap_or_default(), stderr.trim_end().to_owned())
}

#[test]
fn missing_values_are_refused_unless_a_policy_is_named() {
    let place = folder();
    let data = text(&write(place.path(), "rides.csv", RIDES));
    let (code, _, said) = fit(&data, &[]);
    assert!(code == 1 && said.contains("column \"temp\" has a missing value in row 1"), "{said}");
    let (code, _, said) = fit(&data, &["--missing", "maen"]);
    assert_eq!(
        (code, said.as_str()),
        (2, "error: missing is \"maen\", expected one of error, drop, mean (did you mean \"mean\"?)")
    );
    assert_eq!(listing(place.path()), ["rides.csv"]);
}

#[test]
fn dropped_rows_are_counted_and_only_what_is_used_counts() {
    let place = folder();
    let data = text(&write(place.path(), "rides.csv", RIDES));
    let whole: String = RIDES
        .lines()
        .filter(|line| !line.contains(",,") && !line.starts_with(','))
        .map(|line| format!("{line}\n"))
        .collect();
    let whole = text(&write(place.path(), "whole.csv", &whole));
    let (code, dropped, said) = fit(&data, &["--missing", "drop"]);
    assert_eq!((code, said.as_str()), (0, "2 rows with missing values left out"));
    let (_, expected, _) = fit(&whole, &[]);
    assert_eq!((&dropped["coefficients"], &dropped["intercept"]), (&expected["coefficients"], &expected["intercept"]));
    assert_eq!(
        (&dropped["rows"], &dropped["rows_dropped"], &expected["rows_dropped"]),
        (&6.into(), &2.into(), &0.into())
    );
    let gone = text(&write(place.path(), "gone.csv", "temp,sky,bikers\n,rain,1\n3,,2\n"));
    let (code, _, said) = fit(&gone, &["--missing", "drop"]);
    assert_eq!((code, said.as_str()), (1, "error: every one of 2 rows misses something that is used, so none is left"));
}

#[test]
fn what_was_filled_in_at_fit_is_filled_in_at_predict() {
    let place = folder();
    let data = text(&write(place.path(), "rides.csv", RIDES));
    let (model, output) = (text(&place.path().join("model.json")), place.path().join("p.csv"));
    let (code, filled, said) = fit(&data, &["--missing", "mean", "--alpha", "0.1", "--output", &model]);
    assert_eq!((code, said.as_str()), (0, ""));
    let names: Vec<&String> = filled["coefficients"].as_object().expect("an object").keys().collect();
    assert_eq!(names, ["sky=missing", "sky=rain", "temp", "temp=missing"]);
    // The same by hand.
    let by_hand = "temp,lost,sky,bikers\n1,0,clear,3\n4,1,rain,1\n3,0,clear,9\n4,0,none,8\n\
                   5,0,rain,4\n6,0,clear,20\n7,0,rain,9\n2,0,rain,3\n";
    let by_hand = text(&write(place.path(), "hand.csv", by_hand));
    let args = ["fit", "glm", &by_hand, "--target", "bikers", "--alpha", "0.1", "--json"];
    let expected: Value = serde_json::from_str(&run(args).1).expect("JSON");
    for (ours, theirs) in
        [("temp", "temp"), ("temp=missing", "lost"), ("sky=missing", "sky=none"), ("sky=rain", "sky=rain")]
    {
        let (found, expected) = (&filled["coefficients"][ours], &expected["coefficients"][theirs]);
        let apart = found.as_f64().expect("a number") - expected.as_f64().expect("a number");
        assert!(apart.abs() < 1e-9, "{ours}: {found} and {expected}");
    }
    let (code, ..) = run(["predict", &model, &data, "--output", &text(&output)]);
    assert_eq!((code, csv_columns(&output)["prediction"].len()), (0, 8));
    // The target is never filled in.
    let data = text(&write(place.path(), "lost.csv", "temp,sky,bikers\n1,a,3\n2,b,\n4,a,1\n"));
    let (code, answer, said) = fit(&data, &["--missing", "mean"]);
    assert_eq!((code, answer), (1, json!(null)));
    assert!(said.contains("column \"bikers\" has a missing value in row 1"), "{said}");
}
