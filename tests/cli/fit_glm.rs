//! What `phalanx fit glm` does with what is known of each row and asked of each column, and how `predict` follows it.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use serde_json::{Value, json};

use crate::support::{csv_columns, folder, root, run, succeed, text, write};

/// What a fit with some arguments answers to programs; it must have nothing to complain of.
fn fit(data: &Path, more: &[&str]) -> Value {
    let data = text(data);
    let args = [&["fit", "glm", &data, "--json"], more].concat();
    serde_json::from_str(&succeed(args)).expect("JSON")
}

/// Coefficients by name, the intercept among them.
fn coefficients(answer: &Value) -> BTreeMap<String, f64> {
    let named = answer["coefficients"].as_object().expect("an object").iter();
    let mut all: BTreeMap<_, _> =
        named.map(|(name, value)| (name.clone(), value.as_f64().expect("a number"))).collect();
    all.insert("intercept".to_owned(), answer["intercept"].as_f64().expect("a number"));
    all
}

fn assert_near(left: &Value, right: &Value) {
    let (left, right) = (coefficients(left), coefficients(right));
    assert_eq!(left.keys().collect::<Vec<_>>(), right.keys().collect::<Vec<_>>());
    for (name, value) in &left {
        assert!((value - right[name]).abs() < 1e-8, "{name}: {value} and {}", right[name]);
    }
}

/// A row of insurance: age, sky, claims, years of exposure, weight.
const CLAIMS: [(u32, &str, u32, f64, u32); 8] = [
    (1, "clear", 3, 2., 1),
    (2, "rain", 1, 1.5, 2),
    (3, "clear", 9, 4., 0),
    (4, "fog", 8, 3., 1),
    (5, "rain", 4, 2.5, 2),
    (6, "clear", 20, 6., 1),
    (7, "fog", 9, 1., 2),
    (8, "rain", 3, 1.25, 0),
];

fn claims(place: &Path) -> std::path::PathBuf {
    let mut data = "age,sky,claims,years,log_years,often\n".to_owned();
    for (age, sky, claims, years, often) in CLAIMS {
        writeln!(data, "{age},{sky},{claims},{years},{:?},{often}", years.ln()).expect("text");
    }
    write(place, "claims.csv", &data)
}

const POISSON: [&str; 4] = ["--target", "claims", "--family", "poisson"];

#[test]
fn an_exposure_is_an_offset_of_its_logarithm_and_predictions_are_rates_without_it() {
    let place = folder();
    let data = claims(place.path());
    let model = text(&place.path().join("model.json"));
    let by_exposure =
        [&POISSON[..], &["--drop", "log_years,often", "--exposure", "years", "--output", &model]].concat();
    let by_exposure = fit(&data, &by_exposure);
    let by_offset = fit(&data, &[&POISSON[..], &["--features", "age,sky", "--offset", "log_years"]].concat());
    assert_near(&by_exposure, &by_offset);
    assert_eq!(
        by_exposure["coefficients"].as_object().expect("an object").keys().collect::<Vec<_>>(),
        ["age", "sky=fog", "sky=rain"]
    );

    let predict = |more: &[&str]| -> Vec<f64> {
        let output = place.path().join("p.csv");
        succeed([&["predict", &model, &text(&data), "--output", &text(&output)], more].concat());
        csv_columns(&output)["prediction"].iter().map(|cell| cell.parse().expect("a number")).collect()
    };
    let (rates, counts) = (predict(&[]), predict(&["--exposure", "years"]));
    let coef = coefficients(&by_exposure);
    // The first row is under the level that is left out.
    assert!((rates[0].ln() - coef["intercept"] - coef["age"]).abs() < 1e-12, "{rates:?}");
    for ((rate, count), (.., years, _)) in rates.iter().zip(&counts).zip(CLAIMS) {
        assert!((count / rate - years).abs() < 1e-12, "{count} and {rate}");
    }
    let both = predict(&["--exposure", "years", "--offset", "log_years", "--cluster", "processes:2"]);
    assert!(both.iter().zip(&counts).zip(CLAIMS).all(|((b, c), (.., years, _))| (b / c - years).abs() < 1e-12));
    // The canonical link's likelihood equations: fitted counts sum to those that were counted.
    let counted: f64 = CLAIMS.iter().map(|row| f64::from(row.2)).sum();
    assert!((counts.iter().sum::<f64>() - counted).abs() < 1e-7);
}

#[test]
fn a_weight_of_two_is_a_row_twice_and_one_of_zero_is_none() {
    let place = folder();
    let data = claims(place.path());
    let mut repeated = "age,sky,claims\n".to_owned();
    for (age, sky, claims, _, often) in CLAIMS {
        for _ in 0..often {
            writeln!(repeated, "{age},{sky},{claims}").expect("text");
        }
    }
    let repeated = write(place.path(), "repeated.csv", &repeated);
    let penalty = ["--alpha", "0.05", "--l1-ratio", "0.5", "--standardize"];
    let weighted = [&POISSON[..], &penalty, &["--drop", "years,log_years", "--weights", "often"]].concat();
    let (weighted, repeated) = (fit(&data, &weighted), fit(&repeated, &[&POISSON[..], &penalty].concat()));
    assert_near(&weighted, &repeated);
    assert_eq!((&weighted["rows"], &weighted["sum_weights"]), (&json!(6), &json!(9.)));
    assert!((weighted["deviance"].as_f64().unwrap_or(0.) - repeated["deviance"].as_f64().unwrap_or(1.)).abs() < 1e-9);
}

#[test]
fn trials_are_as_many_rows_of_zeros_and_ones() {
    let place = folder();
    let groups = [(0, "a", 1, 5), (1, "b", 2, 4), (2, "a", 2, 5), (3, "b", 4, 5), (4, "a", 3, 4)];
    let (mut grouped, mut single) = ("dose,lot,dead,given\n".to_owned(), "dose,lot,dead\n".to_owned());
    for (dose, lot, dead, given) in groups {
        writeln!(grouped, "{dose},{lot},{dead},{given}").expect("text");
        for trial in 0..given {
            writeln!(single, "{dose},{lot},{}", u32::from(trial < dead)).expect("text");
        }
    }
    let (grouped, single) = (write(place.path(), "g.csv", &grouped), write(place.path(), "s.csv", &single));
    for link in ["logit", "probit", "cloglog"] {
        let args = ["--target", "dead", "--family", "binomial", "--link", link];
        let by_trials = fit(&grouped, &[&args[..], &["--trials", "given"]].concat());
        assert_near(&by_trials, &fit(&single, &args));
        assert_eq!(by_trials["link"], json!(link));
    }
}

#[test]
fn bounds_hold_and_a_column_without_penalty_is_free() {
    let data = root().join("datasets/data/bikeshare.csv");
    let base = ["--target", "bikers", "--family", "poisson", "--features", "temp,hum,windspeed,weathersit"];
    let with = |more: &[&str]| fit(&data, &[&base[..], more].concat());
    let free = coefficients(&with(&[]));
    assert!(free["hum"] < -0.5 && free["temp"] > 1., "{free:?}");
    let bounded = coefficients(&with(&["--lower", "hum=-0.5", "--upper", "temp=1", "--upper", "weathersit=0"]));
    assert_eq!((bounded["hum"], bounded["temp"]), (-0.5, 1.));
    let levels: Vec<_> = bounded.iter().filter(|(name, _)| name.starts_with("weathersit=")).collect();
    assert!(levels.len() > 1 && levels.iter().all(|(_, coef)| **coef <= 0.), "{levels:?}");
    // What is said of one level is more than what is said of the column.
    let name = levels[0].0.as_str();
    let one = format!("{name}=0.25");
    let one = coefficients(&with(&["--upper", "weathersit=0", "--upper", &one, "--lower", "weathersit=0"]));
    for (level, _) in &levels {
        let most = if level.as_str() == name { 0.25 } else { 0. };
        assert!((0. ..=most).contains(&one[*level]), "{one:?}");
    }

    let lasso = ["--alpha", "1e9", "--l1-ratio", "1"];
    let held = coefficients(&with(&lasso));
    assert!(held.iter().all(|(name, coef)| name == "intercept" || *coef == 0.), "{held:?}");
    let factor = coefficients(&with(&[&lasso[..], &["--penalty-factor", "temp=0"]].concat()));
    let nonzero: Vec<_> = factor.iter().filter(|(_, coef)| **coef != 0.).map(|(name, _)| name.as_str()).collect();
    assert_eq!(nonzero, ["intercept", "temp"]);
    let alone = fit(&data, &["--target", "bikers", "--family", "poisson", "--features", "temp"]);
    assert!((factor["temp"] - coefficients(&alone)["temp"]).abs() < 1e-7);
}

#[test]
fn a_reference_changes_the_level_that_is_left_out_and_nothing_else() {
    let place = folder();
    let data = claims(place.path());
    let base = [&POISSON[..], &["--features", "age,sky"]].concat();
    let sorted = fit(&data, &base);
    let model = text(&place.path().join("model.json"));
    let rain = fit(&data, &[&base[..], &["--reference", "sky=rain", "--output", &model]].concat());
    let (from_clear, from_rain) = (coefficients(&sorted), coefficients(&rain));
    assert_eq!(from_rain.keys().collect::<Vec<_>>(), ["age", "intercept", "sky=clear", "sky=fog"]);
    assert!((from_rain["sky=clear"] + from_clear["sky=rain"]).abs() < 1e-8);
    assert!((from_rain["sky=fog"] - from_clear["sky=fog"] + from_clear["sky=rain"]).abs() < 1e-8);
    // The model file knows it too.
    let later = write(place.path(), "later.csv", "sky,age\nrain,0\nclear,0\n");
    let output = place.path().join("p.csv");
    succeed(["predict", &model, &text(&later), "--output", &text(&output)]);
    let predicted: Vec<f64> =
        csv_columns(&output)["prediction"].iter().map(|cell| cell.parse().expect("a number")).collect();
    assert!((predicted[0].ln() - from_rain["intercept"]).abs() < 1e-12, "{predicted:?}");
    assert!((predicted[1].ln() - from_clear["intercept"]).abs() < 1e-8, "{predicted:?}");
}

#[test]
fn every_family_and_link_can_be_asked_for() {
    let place = folder();
    let mut data = "x,y,b\n".to_owned();
    for row in 0..40_u32 {
        let x = f64::from(row % 8);
        writeln!(data, "{x},{},{}", 1.5 + 0.3 * x + 0.4 * f64::from(row % 3), u32::from(row * 7 % 11 > 5))
            .expect("text");
    }
    let data = write(place.path(), "a.csv", &data);
    let fit = |target: &str, more: &[&str]| fit(&data, &[&["--target", target, "--features", "x"], more].concat());
    let families = [
        ("gaussian", "identity", &[][..], None),
        ("poisson", "log", &[], None),
        ("gamma", "log", &[], None),
        ("tweedie", "log", &["--power", "1.7"], Some(("power", 1.7))),
        ("negative_binomial", "log", &["--theta", "2"], Some(("theta", 2.))),
        ("inverse_gaussian", "log", &[], None),
        ("huber", "identity", &["--delta", "0.5"], Some(("delta", 0.5))),
        ("quantile", "identity", &["--quantile", "0.9"], Some(("quantile", 0.9))),
    ];
    for (family, link, own, shown) in families {
        let answer = fit("y", &[&["--family", family], own].concat());
        assert_eq!((&answer["family"], &answer["link"]), (&json!(family), &json!(link)));
        assert_eq!(answer["converged"], json!(true), "{family}");
        for parameter in ["power", "theta", "delta", "quantile"] {
            let expected = shown.filter(|(name, _)| *name == parameter).map(|(_, value)| value);
            assert_eq!(answer.get(parameter).and_then(Value::as_f64), expected, "{family} {parameter}");
        }
    }
    for (family, link) in
        [("gamma", "inverse"), ("poisson", "sqrt"), ("inverse_gaussian", "power:-2"), ("gamma", "identity")]
    {
        let answer = fit("y", &["--family", family, "--link", link]);
        assert_eq!((&answer["link"], &answer["converged"]), (&json!(link), &json!(true)), "{family}");
    }
    // A power of -1 is the inverse by another name.
    let inverse = fit("y", &["--family", "gamma", "--link", "inverse"]);
    assert_near(&fit("y", &["--family", "gamma", "--link", "power:-1"]), &inverse);
    for solver in ["irls", "gradient_descent", "admm", "lbfgs", "newton_cg"] {
        let answer = fit("y", &["--family", "gamma", "--alpha", "0.01", "--solver", solver]);
        assert_eq!(answer["solver"], json!(format!("{solver}, as asked")));
        assert!((coefficients(&answer)["x"] - 0.110).abs() < 0.01, "{answer}");
    }
    let printed = succeed([
        "fit",
        "glm",
        &text(&data),
        "--target",
        "b",
        "--family",
        "binomial",
        "--link",
        "cloglog",
        "--features",
        "x",
    ]);
    assert!(printed.contains("binomial model with cloglog link of 40 rows and 1 column"), "{printed}");
    let chosen = "solver irls: products of 1 columns are quick, as of up to 2000";
    assert!(printed.contains(chosen), "{printed}");
}

#[test]
fn trouble_is_named_on_stderr() {
    let place = folder();
    let mut data = "a,b,twice,one,y\n".to_owned();
    for row in 0..20 {
        let (a, b) = (row % 5, row * row % 7);
        writeln!(data, "{a},{b},{},3,{}", a + b, 2 * a + row % 4).expect("text");
    }
    let data = text(&write(place.path(), "a.csv", &data));
    let (code, _, stderr) = run(["fit", "glm", &data, "--target", "y"]);
    assert_eq!(
        (code, stderr.as_str()),
        (
            0,
            "warning: constant, so left out with coefficient 0: one\n\
             warning: collinear with columns before them, so left out with coefficient 0: twice\n"
        )
    );
    let (_, stdout, _) = run(["fit", "glm", &data, "--target", "y", "--json"]);
    let answer: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!((&answer["constant_columns"], &answer["collinear_columns"]), (&json!(["one"]), &json!(["twice"])));

    let separated = text(&write(place.path(), "s.csv", "x,y\n1,0\n2,0\n3,1\n4,1\n"));
    let (code, stdout, stderr) = run(["fit", "glm", &separated, "--target", "y", "--family", "binomial", "--json"]);
    assert_eq!(code, 0);
    assert!(stderr.starts_with("warning: not converged: the columns separate the classes"), "{stderr}");
    let answer: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!((&answer["converged"], &answer["stop"]), (&json!(false), &json!("separable")));
}

#[test]
fn saturated_rows_and_shared_coefficients_are_named_too() {
    let place = folder();
    let data = text(&write(place.path(), "a.csv", "x,y\n1,0\n2,0\n3,1\n3,0\n40,1\n500,1\n"));
    let (code, stdout, stderr) =
        run(["fit", "glm", &data, "--target", "y", "--family", "binomial", "--alpha", "1e-9", "--json"]);
    let answer: Value = serde_json::from_str(&stdout).expect("JSON");
    assert!(code == 0 && answer["saturated_rows"].as_u64().is_some_and(|rows| rows > 0), "{answer}");
    assert!(stderr.contains("warning: saturated: the fitted probability of "), "{stderr}");

    let data = text(&write(place.path(), "b.csv", "x,z,y\n1,1,0\n2,2,0\n3,3,1\n3,3,2\n"));
    let (code, _, stderr) = run(["fit", "glm", &data, "--target", "y", "--alpha", "0.1", "--l1-ratio", "1"]);
    let named = stderr.strip_prefix("warning: collinear with columns before them");
    assert!(code == 0 && named.is_some_and(|named| named.ends_with(": z\n")), "{stderr}");
}

#[test]
fn a_column_of_weights_that_is_dropped_by_hand_too_is_read_all_the_same() {
    let place = folder();
    let data = claims(place.path());
    let base = [&POISSON[..], &["--weights", "often"]].concat();
    let once = fit(&data, &[&base[..], &["--drop", "years,log_years"]].concat());
    let twice = fit(&data, &[&base[..], &["--drop", "years,log_years,often"]].concat());
    assert_eq!(once["coefficients"], twice["coefficients"]);
}

#[test]
fn the_model_file_keeps_bounds_and_factors() {
    let place = folder();
    let data = claims(place.path());
    let model = place.path().join("model.json");
    let more =
        ["--features", "age,sky", "--lower", "sky=-1", "--penalty-factor", "sky=fog=0", "--output", &text(&model)];
    fit(&data, &[&POISSON[..], &more].concat());
    let file: Value = serde_json::from_str(&fs::read_to_string(&model).expect("text")).expect("JSON");
    assert_eq!(file["estimator"]["lower"], json!([null, -1.0, -1.0]));
    assert_eq!(file["estimator"]["penalty_factor"], json!([1.0, 0.0, 1.0]));
    assert_eq!(file["estimator"]["upper"], json!([]));
}

#[test]
fn theta_and_power_are_estimated_on_request() {
    let bikes = root().join("datasets/data/bikeshare.csv");
    let asked = ["--target", "bikers", "--features", "temp,hum,windspeed", "--family", "negative_binomial"];
    let answer = fit(&bikes, &[&asked[..], &["--theta", "estimate"]].concat());
    // statsmodels' NegativeBinomial: 1 / alpha, and alpha's standard error, 0.012947159, times theta squared.
    let (theta, error) = (answer["theta"].as_f64().expect("theta"), &answer["estimated"]["standard_error"]);
    assert!((theta - 1.075_612_637_3).abs() < 1e-8, "{theta}");
    assert!((error.as_f64().expect("an error") / (theta * theta) - 0.012_947_159).abs() < 1e-7, "{error}");
    assert!((answer["log_likelihood"].as_f64().expect("a number") + 50_504.022_543).abs() < 1e-5);
    let data = text(&bikes);
    let printed = succeed([&["fit", "glm", &data][..], &asked, &["--theta", "estimate"]].concat());
    assert!(printed.contains("theta 1.0756"), "{printed}");
    assert!(printed.contains("by maximum likelihood, standard error 0.01"), "{printed}");
}

#[test]
fn parquet_is_taken_wherever_csv_is() {
    let place = folder();
    let names = ["age", "often", "claims"];
    let rows = ndarray::Array2::from_shape_fn((CLAIMS.len(), 3), |(i, j)| {
        let (age, _, claims, _, often) = CLAIMS[i];
        f64::from([age, often, claims][j])
    });
    let parquet = place.path().join("claims.parquet");
    phalanx::datasets::write_parquet(&parquet, &names, [rows]).expect("written");
    let csv = claims(place.path());
    let fitted = |data: &Path, model: &str| {
        let model = text(&place.path().join(model));
        let more = ["--features", "age,often", "--categorical", "often", "--alpha", "0.01", "--output", &model];
        let answer = fit(data, &[&POISSON[..], &more].concat());
        let output = text(&place.path().join("predictions.csv"));
        succeed(["predict", &model, &text(data), "--output", &output]);
        (coefficients(&answer), csv_columns(Path::new(&output)))
    };
    assert_eq!(fitted(&parquet, "a.json"), fitted(&csv, "b.json"));
    let both = [text(&csv), text(&parquet)];
    let (code, _, error) = run(["fit", "glm", &both[0], &both[1], "--target", "claims", "--features", "age"]);
    assert_eq!(code, 1);
    assert!(
        error.contains("claims.parquet is Parquet and") && error.contains("expected files of one format"),
        "{error}"
    );
}

#[test]
fn the_levels_of_a_category_come_into_the_model_together() {
    let place = folder();
    let data = claims(place.path());
    let asked = |alpha: &str| {
        let more = ["--features", "age,sky", "--l1-ratio", "1", "--penalty-group", "sky", "--alpha", alpha];
        fit(&data, &[&POISSON[..], &more].concat())
    };
    let levels = |answer: &Value| {
        let coefficients = coefficients(answer);
        [coefficients["sky=fog"], coefficients["sky=rain"]]
    };
    let (inside, out) = (asked("0.01"), asked("1.5"));
    assert!(levels(&inside).iter().all(|b| *b != 0.), "{inside}");
    assert_eq!(levels(&out), [0., 0.], "{out}");
    assert!(inside["kkt_relative"].as_f64().is_some_and(|kkt| kkt < 1e-9), "{inside}");
    assert!(inside["duality_gap"].as_f64().is_some_and(|gap| gap < 1e-9), "{inside}");
}
