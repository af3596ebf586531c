//! `fit glm --formula`: the fits of statsmodels' formulas on the same data, and predictions from raw columns.

use std::path::Path;

use serde_json::Value;

use crate::support::{csv_columns, folder, listing, run, succeed, text};

const BIKES: &str = "datasets/data/bikeshare.csv";

fn fit(formula: &str, more: &[&str]) -> Value {
    let args = ["fit", "glm", BIKES, "--json", "--formula", formula];
    serde_json::from_str(&succeed([&args[..], more].concat())).expect("JSON")
}

/// Holds the coefficients against statsmodels' by our names.
fn check(answer: &Value, expected: &[(&str, f64)]) {
    let coefficients = answer["coefficients"].as_object().expect("an object");
    let n = expected.iter().filter(|(name, _)| *name != "intercept").count();
    assert_eq!(coefficients.len(), n, "{coefficients:?}");
    for (name, expected) in expected {
        let found = if *name == "intercept" { &answer["intercept"] } else { &coefficients[*name] };
        let found = found.as_f64().expect("a number");
        assert!((found - expected).abs() <= 1e-7 * expected.abs().max(1.), "{name}: {found} and {expected}");
    }
}

/// The data with months as numbers, which they do not have: where the file is.
fn with_months(place: &Path) -> String {
    let data = std::fs::read_to_string(crate::support::root().join(BIKES)).expect("a file");
    let mut months: Vec<&str> = Vec::new();
    let mut table = String::new();
    for (row, line) in data.lines().enumerate() {
        let month = line.split(',').nth(1).expect("a month");
        if row > 0 && !months.contains(&month) {
            months.push(month);
        }
        let last = if row == 0 { "month".to_owned() } else { months.len().to_string() };
        table += &format!("{line},{last}\n");
    }
    text(&crate::support::write(place, "bikes.csv", &table))
}

// statsmodels.formula.api.glm(formula, data, family).fit(tol=1e-12), statsmodels 0.14, patsy 1.0, with `ns` a function
// of SciPy's B-splines (see learn's tests).

#[test]
fn products_of_numbers_and_categories_are_those_of_statsmodels() {
    let expected = [
        ("intercept", 135.2582836033726),
        ("season=2", -35.63988732730177),
        ("season=3", -41.69891621319506),
        ("season=4", -8.278498571937238),
        ("temp", 198.58995851342328),
        ("temp:season=2", 161.56675483369386),
        ("temp:season=3", 122.78195217517647),
        ("temp:season=4", 194.62566148777904),
        ("hum", -204.31804957291607),
    ];
    check(&fit("bikers ~ temp * C(season) + hum", &[]), &expected);
}

#[test]
fn without_an_intercept_categories_have_all_levels() {
    let expected = [
        ("weathersit=clear", 5.3195694035445396),
        ("weathersit=cloudy/misty", 5.2550130524567855),
        ("weathersit=heavy rain/snow", 4.654729222501486),
        ("weathersit=light rain/snow", 4.8541409862119504),
        ("holiday=0:temp", 0.47752612204630956),
        ("holiday=1:temp", 0.4265096275003676),
        ("log(temp)", 0.776860502285788),
    ];
    let formula = "bikers ~ 0 + C(holiday):temp + weathersit + log(temp)";
    let answer = fit(formula, &["--family", "poisson"]);
    check(&answer, &expected);
    assert_eq!(answer["intercept"], 0.);
}

#[test]
fn splines_and_products_of_categories_predict_the_logarithm() {
    let expected = [
        ("intercept", 2.055762544610876),
        ("workingday=1", 0.2767879698065568),
        ("season=2:workingday=0", 0.06570440265824488),
        ("season=3:workingday=0", -0.4806028356824692),
        ("season=4:workingday=0", 0.5046689669063018),
        ("season=2:workingday=1", -0.41061545635925234),
        ("season=3:workingday=1", -0.87115909637023),
        ("season=4:workingday=1", 0.013270702353887227),
        ("ns(temp, df=4)1", 2.0927759379651985),
        ("ns(temp, df=4)2", 2.5929089055195575),
        ("ns(temp, df=4)3", 5.462983818358985),
        ("ns(temp, df=4)4", 3.7069540176075764),
    ];
    let place = folder();
    let (model, output) = (text(&place.path().join("model.json")), place.path().join("p.csv"));
    let formula = "log(bikers) ~ ns(temp, df=4) + C(season):C(workingday)";
    let answer = fit(formula, &["--output", &model]);
    check(&answer, &expected);
    succeed(["predict", &model, BIKES, "--output", &text(&output)]);
    let found: f64 = csv_columns(&output)["prediction"][0].parse().expect("a number");
    let bikers: Vec<f64> = csv_columns(&crate::support::root().join(BIKES))["bikers"]
        .iter()
        .map(|n| n.parse().expect("a number"))
        .collect();
    let all: Vec<f64> = csv_columns(&output)["prediction"].iter().map(|n| n.parse().expect("a number")).collect();
    let rest: f64 = all.iter().zip(&bikers).map(|(eta, n)| (n.ln() - eta).powi(2)).sum();
    assert!((rest - 14501.155789801078).abs() < 1e-4, "{rest} with {found} first");
}

#[test]
fn powers_less_a_term_with_an_offset() {
    let expected = [
        ("intercept", 3.5583225830922465),
        ("temp", 1.2018345865682254),
        ("hum", -1.9878874804940891),
        ("windspeed", -0.6818038969025175),
        ("temp:windspeed", 0.7086810351701898),
        ("hum:windspeed", 1.5464133232247381),
    ];
    let place = folder();
    let data = with_months(place.path());
    let formula = "bikers ~ (temp + hum + windspeed)^2 - temp:hum + offset(log(month))";
    let args = ["fit", "glm", &data, "--json", "--family", "poisson", "--formula", formula];
    check(&serde_json::from_str(&succeed(args)).expect("JSON"), &expected);
}

#[test]
fn an_offset_by_its_logarithm_is_for_any_link() {
    let place = folder();
    let data = with_months(place.path());
    let formula = "holiday ~ temp + hum + offset(log(month))";
    let args = ["fit", "glm", &data, "--json", "--family", "binomial", "--formula", formula];
    let expected = [("intercept", -3.6477749779498443), ("temp", -1.7160498208008683), ("hum", -1.4713603831944142)];
    check(&serde_json::from_str(&succeed(args)).expect("JSON"), &expected);
}

#[test]
fn categories_of_many_levels_fit_as_without_a_formula() {
    let found = fit("bikers ~ temp + C(day) + C(hr)", &["--family", "poisson"]);
    let args = ["fit", "glm", BIKES, "--json", "--family", "poisson", "--target", "bikers"];
    let args = [&args[..], &["--features", "temp,day,hr", "--categorical", "day,hr"]].concat();
    let expected: Value = serde_json::from_str(&succeed(args)).expect("JSON");
    let coefficients = expected["coefficients"].as_object().expect("an object").iter();
    let named = coefficients.map(|(name, value)| (name.as_str(), value.as_f64().expect("a number")));
    check(&found, &named.collect::<Vec<_>>());
}

#[test]
fn a_formula_says_all_of_the_columns_itself() {
    let place = folder();
    let model = text(&place.path().join("model.json"));
    let refused = |more: &[&str]| {
        let (code, stdout, stderr) = run([&["fit", "glm", BIKES, "--output", &model], more].concat());
        assert_eq!((stdout.as_str(), listing(place.path())), ("", Vec::new()));
        (code, stderr)
    };
    for other in [
        ["--target", "bikers"],
        ["--features", "temp"],
        ["--drop", "temp"],
        ["--categorical", "hr"],
        ["--reference", "hr=1"],
    ] {
        let (code, said) = refused(&[&["--formula", "bikers ~ temp"], &other[..]].concat());
        assert!(code == 2 && said.contains("--formula") && said.contains(other[0]), "{said}");
    }
    assert_eq!(refused(&[]).0, 2);
    let (code, said) = refused(&["--formula", "bikers ~ temp +* hum"]);
    assert_eq!(
        (code, said.as_str()),
        (2, "error: formula: *, expected a column\n  bikers ~ temp +* hum\n                 ^\n")
    );
    for (formula, more, expected) in [
        (
            "bikers ~ temp + offset(hum)",
            ["--offset", "atemp"],
            "error: --offset is \"atemp\" and --formula has an offset",
        ),
        ("bikers ~ temp + offset(hum)", ["--family", "multinomial"], "error: the formula has an offset, but family is"),
        (
            "log(bikers) ~ temp",
            ["--family", "multinomial"],
            "error: the formula has a logarithm to predict, but family",
        ),
        ("bikers ~ bikers", ["--family", "poisson"], "error: \"bikers\" is both the target and a feature"),
        (
            "bikers ~ temp + poly(hum, 2)",
            ["--family", "poisson"],
            "error: formula: poly(), which is no function of form",
        ),
    ] {
        let (code, said) = refused(&["--formula", formula, more[0], more[1]]);
        assert!(code == 2 && said.starts_with(expected), "{said}");
    }
    let (code, said) = refused(&["--formula", "bikers ~ temp + offset(log(hum))"]);
    assert!(code == 1 && said.contains("the offset by its logarithm, is 0 in row"), "{said}");
    let (code, said) = refused(&["--formula", "bikers ~ temp + tmep"]);
    assert!(code == 1 && said.contains("tmep"), "{said}");
    let (code, said) = refused(&["--formula", "log(casual) ~ temp"]);
    assert_eq!((code, said.as_str()), (1, "error: log(casual) of 0, expected a target above 0\n"));
}
