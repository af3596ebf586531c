//! What `phalanx fit glm` and `predict` refuse: one line that names it, an exit code, and no file.

use std::path::Path;

use crate::support::{folder, listing, run, succeed, text, write};

const RIDES: &str = "temp,sky,bikers,hours,often\n1,clear,3,1,1\n2,rain,1,2,2\n3,clear,9,1.5,1\n4,fog,8,1,2\n\
                     5,rain,4,1,1\n6,clear,20,3,1\n";

/// Exit code and the one line that a fit of these rows says, with `DIR` for the folder; nothing may be written.
fn refused_in(place: &Path, data: &str, more: &[&str]) -> (i32, String) {
    let data = write(place, "rides.csv", data);
    let before = listing(place);
    let model = text(&place.join("model.json"));
    let args = ["fit", "glm", &text(&data), "--target", "bikers", "--output", &model];
    let (code, stdout, stderr) = run([&args[..], more].concat());
    assert_eq!((stdout.as_str(), stderr.lines().count()), ("", 1), "{more:?}: {stderr}");
    assert_eq!(listing(place), before, "{more:?}");
    let said = stderr.trim_end().replace(&text(place), "DIR");
    (code, said.strip_prefix("error: ").expect("an error").to_owned())
}

fn check(data: &str, cases: &[(i32, &[&str], &str)]) {
    let place = folder();
    let real = std::fs::canonicalize(place.path()).expect("a folder");
    for (code, more, line) in cases {
        assert_eq!(refused_in(&real, data, more), (*code, (*line).to_owned()), "{more:?}");
    }
}

#[test]
fn a_family_or_link_that_there_is_not() {
    check(
        RIDES,
        &[
            (
                2,
                &["--family", "poison"],
                "family is \"poison\", expected one of gaussian, binomial, poisson, gamma, tweedie, \
                 negative_binomial, inverse_gaussian, huber, quantile, multinomial (did you mean \"poisson\"?)",
            ),
            (
                2,
                &["--link", "lgo"],
                "link is \"lgo\", expected one of identity, log, logit, probit, cloglog, inverse, sqrt, power (did \
                 you mean \"logit\"?)",
            ),
            (2, &["--link", "power"], "link is \"power\", expected it with a number, as power:-2"),
            (2, &["--link", "power:two"], "link is \"power:two\", expected a number after power:, as power:-2"),
            (
                2,
                &["--link", "logit"],
                "link is logit, expected identity, log, inverse, sqrt or power for the gaussian family",
            ),
        ],
    );
}

#[test]
fn a_parameter_of_another_family() {
    check(
        RIDES,
        &[
            (
                2,
                &["--family", "poisson", "--theta", "2"],
                "theta is 2, but family is poisson; expected it with family negative_binomial only",
            ),
            (2, &["--power", "1.5"], "power is 1.5, but family is gaussian; expected it with family tweedie only"),
            (
                2,
                &["--family", "tweedie", "--delta", "-1"],
                "delta is -1, but family is tweedie; expected it with family huber only",
            ),
            (2, &["--family", "tweedie", "--power", "0.5"], "power is 0.5, expected 0 or less, or 1 or more"),
            (2, &["--family", "negative_binomial", "--theta", "nan"], "theta is NaN, expected a number above 0"),
            (2, &["--family", "huber", "--delta", "0"], "delta is 0, expected a number above 0"),
            (2, &["--family", "quantile", "--quantile", "1"], "quantile is 1, expected above 0 and below 1"),
            (
                2,
                &["--quantile", "0.9"],
                "quantile is 0.9, but family is gaussian; expected it with family quantile only",
            ),
            (2, &["--family", "quantile", "--solver", "irls"], "solver is irls, expected auto for the quantile family"),
            (
                2,
                &["--family", "poisson", "--theta", "estimate"],
                "theta is estimate, but family is poisson; expected it with family negative_binomial only",
            ),
            (
                2,
                &["--family", "negative_binomial", "--theta", "estimate", "--cv", "5"],
                "theta is estimate and cv is 5, expected a number for a path",
            ),
            (2, &["--alpha", "nan"], "alpha is NaN, expected 0 or more"),
            (2, &["--tol", "1"], "tol is 1, expected above 0 and below 1"),
            (2, &["--max-iter", "0"], "max_iter is 0, expected 1 or more"),
        ],
    );
}

#[test]
fn a_column_that_cannot_be_two_things() {
    check(
        RIDES,
        &[
            (2, &["--weights", "bikers"], "\"bikers\" is named as weights and as the target, expected one of them"),
            (
                2,
                &["--weights", "often", "--features", "temp,often"],
                "\"often\" is named as weights and as a feature, expected one of them",
            ),
            (
                2,
                &["--offset", "often", "--categorical", "often"],
                "\"often\" is named as offset and as categorical, expected one of them",
            ),
            (2, &["--trials", "often"], "trials is \"often\", expected none for the gaussian family"),
            (
                2,
                &["--exposure", "hours"],
                "exposure is \"hours\", expected none for the identity link; it is for log and cloglog",
            ),
        ],
    );
}

#[test]
fn a_column_of_rows_that_has_something_wrong() {
    let poisson = ["--family", "poisson"];
    let fit = |data: &str, more: &[&str]| {
        let place = folder();
        let real = std::fs::canonicalize(place.path()).expect("a folder");
        refused_in(&real, data, &[&poisson[..], more].concat())
    };
    let because = |line: &str| (1, line.to_owned());
    assert_eq!(
        fit(RIDES, &["--weights", "oftn"]),
        because("there is no column \"oftn\" in DIR/rides.csv; did you mean \"often\"?")
    );
    assert_eq!(
        fit(RIDES, &["--exposure", "sky"]),
        because("line 2 of DIR/rides.csv, column \"sky\": \"clear\" is not a number")
    );
    for (role, column, old, new) in [
        ("--exposure", "hours", "8,1,2", "8,,2"),
        ("--weights", "often", "8,1,2", "8,1,NaN"),
        ("--offset", "hours", "8,1,2", "8,,2"),
    ] {
        let said =
            format!("column \"{column}\" has a missing value in row 3 (counted from 0); drop or fill such rows first");
        assert_eq!(fit(&RIDES.replace(old, new), &[role, column]), because(&said), "{role}");
    }
    assert_eq!(
        fit(&RIDES.replace("8,1,2", "8,0,2"), &["--exposure", "hours"]),
        because("column \"hours\", the exposure, is 0 in row 3 (counted from 0), expected a number above 0")
    );
    assert_eq!(
        fit(&RIDES.replace("8,1,2", "8,1,-2"), &["--weights", "often"]),
        because("column \"often\", the weights, is -2 in row 3 (counted from 0), expected 0 or more")
    );
    assert_eq!(
        fit("bikers,hours\n1,2\n2,3\n", &["--exposure", "hours"]),
        because("\"bikers\" and what belongs to it are the only columns, so there is nothing to learn from")
    );
}

#[test]
fn trials_and_successes_that_do_not_agree() {
    let args = ["--family", "binomial", "--trials", "often"];
    let rides = "temp,bikers,often\n1,0,2\n2,1,2\n3,2,3\n";
    check(
        &rides.replace("3,2,3", "3,4,3"),
        &[(
            1,
            &args,
            "column \"bikers\", the target, is 4 in row 2 (counted from 0), expected 0 to the row's trials, 3",
        )],
    );
    check(
        &rides.replace("3,2,3", "3,2,2.5"),
        &[(
            1,
            &args,
            "column \"often\", the trials, is 2.5 in row 2 (counted from 0), expected a whole number, 1 or more",
        )],
    );
    check(
        &rides.replace("1,0,2", "1,0,0"),
        &[(
            1,
            &args,
            "column \"often\", the trials, is 0 in row 0 (counted from 0), expected a whole number, 1 or more; drop \
             such rows",
        )],
    );
    check(
        "temp,bikers,often\n1,no,2\n2,yes,2\n",
        &[(1, &args, "the target \"bikers\" is text, expected numbers of successes of \"often\"")],
    );
}

#[test]
fn numbers_for_columns_that_cannot_be_meant() {
    check(
        RIDES,
        &[
            (2, &["--lower", "temp"], "lower is \"temp\", expected COLUMN=NUMBER"),
            (2, &["--lower", "temp=1"], "lower of \"temp\" is \"1\", expected a number, 0 or below"),
            (2, &["--upper", "temp=-1"], "upper of \"temp\" is \"-1\", expected a number, 0 or above"),
            (2, &["--upper", "temp=warm"], "upper of \"temp\" is \"warm\", expected a number, 0 or above"),
            (2, &["--penalty-factor", "temp=-1"], "penalty_factor of \"temp\" is \"-1\", expected a number, 0 or more"),
            (2, &["--penalty-factor", "=1"], "penalty_factor is \"=1\", expected COLUMN=NUMBER"),
            (
                2,
                &["--upper", "temp=1", "--upper", "temp=2"],
                "upper names \"temp\" twice, expected one number a column",
            ),
            (
                1,
                &["--lower", "tmp=-1"],
                "lower names \"tmp\", which is no column to learn from; did you mean \"temp\"?",
            ),
            (
                1,
                &["--penalty-factor", "sky=ran=1"],
                "penalty_factor names \"sky=ran\", which is no column to learn from; did you mean \"sky=rain\"?",
            ),
            (
                1,
                &["--upper", "sky=clear=1"],
                "upper names \"sky=clear\", which is the level left out and has no coefficient",
            ),
        ],
    );
}

#[test]
fn a_reference_level_that_there_is_not() {
    check(
        RIDES,
        &[
            (2, &["--reference", "sky"], "reference is \"sky\", expected COLUMN=LEVEL"),
            (
                2,
                &["--reference", "sky=rain", "--reference", "sky=fog"],
                "reference names \"sky\" twice, expected one level a column",
            ),
            (
                1,
                &["--reference", "sky=ran"],
                "the reference level of column \"sky\" is \"ran\", expected a level that occurs (did you mean \
                 \"rain\"?); known are clear, fog, rain",
            ),
            (1, &["--reference", "skye=rain"], "there is no column \"skye\"; did you mean \"sky\"?"),
            (
                1,
                &["--reference", "temp=1"],
                "column \"temp\" has numeric values, expected categories to have a reference level",
            ),
        ],
    );
}

#[test]
fn an_offset_that_a_model_cannot_predict_with() {
    let place = folder();
    let data = text(&write(place.path(), "rides.csv", RIDES));
    let (model, output) = (text(&place.path().join("m.json")), text(&place.path().join("p.csv")));
    let refused = |data: &str, more: &[&str]| {
        let (code, stdout, stderr) = run([&["predict", &model, data, "--output", &output], more].concat());
        assert_eq!((stdout.as_str(), listing(place.path()).contains(&"p.csv".to_owned())), ("", false), "{stderr}");
        (code, stderr)
    };
    succeed(["fit", "glm", &data, "--target", "bikers", "--features", "temp", "--output", &model]);
    assert_eq!(
        refused(&data, &["--exposure", "hours"]),
        (2, "error: exposure is \"hours\", expected none for the model's identity link\n".to_owned())
    );
    let hole = text(&write(place.path(), "hole.csv", &RIDES.replace("8,1,2", "8,,2")));
    assert_eq!(
        refused(&hole, &["--offset", "hours"]),
        (
            1,
            "error: column \"hours\" has a missing value in row 3 (counted from 0); drop or fill such rows first\n"
                .to_owned()
        )
    );
    let sweep = "data: rides.csv\ntarget: bikers\nfeatures: [temp]\nestimator: poisson_regression\nstandardize: true\n\
                 method: grid\nmetric: mse\nparameters:\n  alpha: {values: [0.1]}\ncv: 2\n";
    let sweep = text(&write(place.path(), "sweep.yaml", sweep));
    succeed(["sweep", &sweep, "--output", &text(&place.path().join("out"))]);
    let (code, _, stderr) = run([
        "predict",
        &text(&place.path().join("out/best_model.json")),
        &data,
        "--output",
        &output,
        "--exposure",
        "hours",
    ]);
    assert_eq!(
        (code, stderr.as_str()),
        (2, "error: exposure is \"hours\", expected none: the model is no plain GLM, as fit glm writes them\n")
    );
}

#[test]
fn a_group_of_columns_that_cannot_be_meant() {
    check(
        RIDES,
        &[
            (2, &["--penalty-group", "temp,"], "penalty_group is \"temp,\", expected COLUMN,COLUMN"),
            (
                2,
                &["--penalty-group", "temp,sky", "--penalty-group", "sky"],
                "penalty_group names \"sky\" twice, expected each column in one group",
            ),
            (
                1,
                &["--penalty-group", "tmp"],
                "penalty_group names \"tmp\", which is no column to learn from; did you mean \"temp\"?",
            ),
            (
                1,
                &["--penalty-group", "sky", "--penalty-group", "sky=fog"],
                "penalty_group names \"sky=fog\" in \"sky\" and in \"sky=fog\", expected one",
            ),
            (
                1,
                &["--penalty-group", "sky", "--lower", "temp=0"],
                "penalty_groups is given, expected none beside lower or upper",
            ),
        ],
    );
}
