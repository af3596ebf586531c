//! What each command gives when all is well.

use std::{collections::BTreeMap, fs};

use serde_json::{Value, json};

use crate::support::{csv_columns, folder, listing, root, run, succeed, text, write};

#[test]
fn fit_glm_prints_one_json_object_and_writes_no_file() {
    let place = folder();
    let data = write(
        place.path(),
        "rides.csv",
        "temp,sky,bikers\n1,clear,3\n2,rain,1\n3,clear,9\n4,fog,8\n5,rain,4\n6,clear,20\n",
    );
    let args = ["fit", "glm", &text(&data), "--target", "bikers", "--family", "poisson", "--alpha", "0.01", "--json"];
    let answer: Value = serde_json::from_str(&succeed(args)).expect("JSON");
    let keys: Vec<&str> = answer.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "aic",
            "bic",
            "coefficients",
            "collinear_columns",
            "condition",
            "confidence",
            "confidence_intervals",
            "constant_columns",
            "converged",
            "covariance",
            "deviance",
            "df_residual",
            "dispersion",
            "duality_gap",
            "family",
            "intercept",
            "iterations",
            "kkt_relative",
            "kkt_residual",
            "link",
            "log_likelihood",
            "null_deviance",
            "objective",
            "observations",
            "p",
            "passes",
            "pearson_chi2",
            "pseudo_r2",
            "rows",
            "rows_dropped",
            "saturated_rows",
            "seconds",
            "solver",
            "standard_errors",
            "statistic",
            "stop",
            "sum_weights",
            "z",
        ]
    );
    // `clear` is the first level in sorted order and has no column.
    let columns: Vec<&str> =
        answer["coefficients"].as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(columns, ["sky=fog", "sky=rain", "temp"]);
    assert_eq!(answer["converged"], json!(true));
    assert_eq!((&answer["family"], &answer["link"]), (&json!("poisson"), &json!("log")));
    assert!(
        answer["solver"].as_str().is_some_and(|solver| solver.starts_with("irls: products of 3 columns")),
        "{answer}"
    );
    assert_eq!(listing(place.path()), ["rides.csv"]);
}

#[test]
fn both_solvers_and_all_clusters_give_the_same_coefficients() {
    let data = text(&root().join("datasets/data/bikeshare.csv"));
    let fit = |solver: &str, cluster: &str| -> BTreeMap<String, f64> {
        let answer: Value = serde_json::from_str(&succeed([
            "fit",
            "glm",
            &data,
            "--target",
            "bikers",
            "--family",
            "poisson",
            "--alpha",
            "0.1",
            "--l1-ratio",
            "0.5",
            "--features",
            "temp,hum,weathersit",
            "--solver",
            solver,
            "--cluster",
            cluster,
            "--json",
        ]))
        .expect("JSON");
        let coefficients = answer["coefficients"].as_object().expect("an object").iter();
        let named = coefficients.map(|(name, value)| (name.clone(), value.as_f64().expect("a number")));
        named.chain([("intercept".to_owned(), answer["intercept"].as_f64().expect("a number"))]).collect()
    };
    let local = fit("gradient_descent", "local");
    // To the last bit, wherever it runs.
    assert_eq!(local, fit("gradient_descent", "local:1"));
    assert_eq!(local, fit("gradient_descent", "processes:2"));
    for (name, value) in fit("admm", "local") {
        assert!((value - local[&name]).abs() < 1e-6, "{name}: {value} and {}", local[&name]);
    }
}

#[test]
fn a_model_predicts_its_own_rows_in_their_order() {
    let place = folder();
    let data = write(place.path(), "a.csv", "x,y\n1,3\n2,5\n3,7\n4,9\n");
    let (model, output) = (text(&place.path().join("model.json")), text(&place.path().join("p.csv")));
    let printed = succeed(["fit", "glm", &text(&data), "--target", "y", "--output", &model]);
    assert!(
        printed.contains("column     coefficient  std. error    t  p value  95 % lower  95 % upper\n"),
        "{printed}"
    );
    assert!(printed.ends_with(&format!("The model is in {model}.\n")), "{printed}");
    let later = write(place.path(), "b.csv", "other,x\na,10\nb,-1\nc,2\n");
    let printed = succeed(["predict", &model, &text(&later), "--output", &output]);
    assert_eq!(printed, format!("3 predictions of y written to {output}.\n"));
    let predictions: Vec<f64> = csv_columns(&place.path().join("p.csv"))["prediction"]
        .iter()
        .map(|cell| cell.parse().expect("a number"))
        .collect();
    assert!(
        predictions.iter().zip([21., -1., 5.]).all(|(found, exact)| (found - exact).abs() < 1e-6),
        "{predictions:?}"
    );
}

#[test]
fn a_text_of_two_levels_is_a_target_for_the_binomial_family() {
    let place = folder();
    let data = write(place.path(), "a.csv", "x,left\n1,No\n2,No\n3,Yes\n4,No\n5,Yes\n6,Yes\n");
    let args = ["fit", "glm", &text(&data), "--target", "left", "--family", "binomial", "--alpha", "0.1"];
    let printed = succeed(args);
    assert!(printed.ends_with("1 is left=Yes.\n"), "{printed}");
    let (code, _, stderr) = run(["fit", "glm", &text(&data), "--target", "left"]);
    assert_eq!(
        (code, stderr.as_str()),
        (
            1,
            "error: the target \"left\" is text (as \"Yes\"), expected numbers for the gaussian family; use --family \
             binomial\n"
        )
    );
}

#[test]
fn a_sweep_says_what_it_would_do_and_does_nothing() {
    let place = folder();
    let output = text(&place.path().join("out"));
    let printed = succeed(["sweep", "examples/bikeshare.yaml", "--dry-run", "--output", &output]);
    assert!(printed.contains("32 candidates x 5 folds = 160 fits"), "{printed}");
    assert!(printed.ends_with("Nothing was run.\n"), "{printed}");
    assert_eq!(listing(place.path()), Vec::<String>::new());
}

#[test]
fn a_sweep_leaves_results_a_model_and_its_coefficients() {
    let place = folder();
    write(place.path(), "rides.csv", &rides(60));
    let sweep = write(
        place.path(),
        "sweep.yaml",
        "data: rides.csv\ntarget: bikers\nestimator: poisson_regression\nstandardize: true\nmethod: grid\n\
         metric: neg_mean_poisson_deviance\nparameters:\n  alpha: {values: [0.001, 0.1]}\n  l1_ratio: {value: 0.5}\ncv: 3\n",
    );
    let out = place.path().join("deep/out");
    let answer: Value =
        serde_json::from_str(&succeed(["sweep", &text(&sweep), "--output", &text(&out), "--json"])).expect("JSON");
    assert_eq!((&answer["candidates"], &answer["failed"], &answer["best_index"]), (&json!(2), &json!(0), &json!(0)));
    assert_eq!(answer["best_params"], json!({"alpha": 0.001, "l1_ratio": 0.5}));
    assert_eq!(listing(&out), ["best_coefficients.csv", "best_model.json", "results.csv"]);

    let header = fs::read_to_string(out.join("results.csv")).expect("text");
    assert_eq!(
        header.lines().next(),
        Some(
            "mean_fit_time,std_fit_time,mean_score_time,std_score_time,param_alpha,param_l1_ratio,params,\
             split0_test_score,split1_test_score,split2_test_score,mean_test_score,std_test_score,rank_test_score,error"
        )
    );
    let results = csv_columns(&out.join("results.csv"));
    assert_eq!(results["param_alpha"], ["0.001", "0.1"]);
    assert_eq!(results["rank_test_score"], ["1", "2"]);
    assert_eq!(results["params"][1], r#"{"alpha":0.1,"l1_ratio":0.5}"#);

    let coefficients = csv_columns(&out.join("best_coefficients.csv"));
    assert_eq!(coefficients["name"], ["intercept", "temp", "sky=rain"]);
    let number = |column: &str, row: usize| coefficients[column][row].parse::<f64>().expect("a number");
    // The raw coefficients predict what the model file predicts.
    let predicted = place.path().join("p.csv");
    succeed([
        "predict",
        &text(&out.join("best_model.json")),
        &text(&place.path().join("rides.csv")),
        "--output",
        &text(&predicted),
    ]);
    let first: f64 = csv_columns(&predicted)["prediction"][0].parse().expect("a number");
    let linear = number("coefficient", 0) + number("coefficient", 1) * 0.;
    assert!((first.ln() - linear).abs() < 1e-9, "{first} and {}", linear.exp());
}

#[test]
fn a_candidate_that_fails_is_a_row_with_its_error_and_the_sweep_goes_on() {
    let place = folder();
    write(place.path(), "rides.csv", &rides(30));
    let sweep = write(
        place.path(),
        "sweep.yaml",
        // Two classes are not counts: the binomial family refuses this target when it sees it.
        "data: rides.csv\ntarget: bikers\nestimator: {type: glm, alpha: 0.1}\nmethod: grid\n\
         metric: mse\nparameters:\n  family: {values: [binomial, poisson]}\ncv: 3\n",
    );
    let out = place.path().join("out");
    let printed = succeed(["sweep", &text(&sweep), "--output", &text(&out)]);
    assert!(printed.contains("1 candidate failed, the first with: "), "{printed}");
    let results = csv_columns(&out.join("results.csv"));
    assert_eq!(results["rank_test_score"], ["2", "1"]);
    assert_eq!((results["mean_test_score"][0].as_str(), results["error"][1].as_str()), ("", ""));
    assert!(
        results["error"][0].contains("0 to 1") || results["error"][0].contains("0 or 1"),
        "{}",
        results["error"][0]
    );
}

#[test]
fn the_bench_says_what_it_found_in_its_one_form() {
    let only = "zero workers 10000 tasks,hand-off,round trip,tcp echo,tree-15";
    let answer: Value =
        serde_json::from_str(&succeed(["bench", "runtime", "--quick", "--json", "--only", only])).expect("JSON");
    let rows = answer["rows"].as_array().expect("rows");
    let names: Vec<&str> = rows.iter().map(|row| row["name"].as_str().expect("a name")).collect();
    assert_eq!(
        names,
        ["zero workers 10000 tasks", "hand-off", "local round trip", "tcp echo", "tcp round trip", "tree-15"]
    );
    for row in rows {
        let keys: Vec<&str> = row.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(keys, ["limit", "name", "peak_rss_mb", "peers", "ratio_to_fastest_peer", "unit", "value"]);
        assert!(row["value"].as_f64().is_some_and(|value| value > 0.), "{row}");
        assert_eq!(row["ratio_to_fastest_peer"], Value::Null);
    }
    assert_eq!(answer["machine"]["peers"], json!({"dask": null, "ray": null}));
}

#[test]
fn the_bench_of_glms_says_what_it_found_in_the_same_form() {
    let answer: Value =
        serde_json::from_str(&succeed(["bench", "glm", "--quick", "--json", "--rows", "2500"])).expect("JSON");
    assert_eq!(answer["schema"], "bench/v1");
    assert_eq!(answer["machine"]["peers"], json!({"scikit-learn": null, "glum": null, "dask-glm": null}));
    let rows = answer["rows"].as_array().expect("rows");
    let names: Vec<&str> = rows.iter().map(|row| row["name"].as_str().expect("a name")).collect();
    assert_eq!(
        names,
        [
            "logistic L2",
            "logistic L1",
            "Poisson L2",
            "Poisson elastic net",
            "gaussian elastic net",
            "gaussian lasso path",
            "logistic lasso path",
            "Poisson lasso path",
            "gaussian elastic net out of core",
            "logistic L2 out of core",
            "Poisson L2 out of core",
        ]
    );
    let (in_memory, from_file) = rows.split_at(8);
    for row in from_file {
        for name in ["value", "read_seconds", "ratio_to_reads", "passes", "passes_over_x", "objective", "peak_rss_mb"] {
            assert!(row[name].as_f64().is_some_and(|value| value > 0.), "{name}: {row}");
        }
        assert_eq!((&row["n_rows"], &row["n_features"], &row["unit"]), (&json!(25_000), &json!(20), &json!("s")));
    }
    for row in in_memory {
        assert_eq!(
            row["n_rows"],
            if row["name"].as_str().is_some_and(|name| name.ends_with("path")) { 500 } else { 2500 }
        );
        for name in ["value", "passes", "kkt_relative", "objective", "peak_rss_mb", "target", "tol"] {
            assert!(row[name].as_f64().is_some_and(|value| value > 0.), "{name}: {row}");
        }
        assert!(row["short_by"].as_f64().is_some_and(|short| short <= 1e-8), "{row}");
        assert_eq!((&row["unit"], &row["ratio_to_fastest_peer"]), (&json!("s"), &Value::Null));
    }
    let (code, _, wrong) = run(["bench", "glm", "--only", "ridge"]);
    assert_eq!(code, 2);
    assert!(wrong.contains("no row's name contains \"ridge\"; the rows are logistic L2"), "{wrong}");
}

#[test]
fn the_bench_of_glms_reads_the_rows_of_files_from_the_folder_that_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().to_str().expect("a name").to_owned();
    let mut flights = "late,month,hour,origin,carrier,distance,dow,temp,humid,wind_speed,precip,visib\n".to_owned();
    let mut dengue =
        "dengue_cases,population,pop_density,tmax,tmin,pdsi,urban,water_network,water_shortage\n".to_owned();
    for row in 0..400_usize {
        // Numbers that go their own ways, between 0 and 1.
        let draw = |k: usize| ((row + 1) * (2 * k + 3) * (k + 7) % 101) as f64 / 101.;
        let late = u8::from(draw(1) + draw(2) + draw(9) > 1.6);
        let (month, origin, carrier) = (1 + row % 12, ["EWR", "JFK", "LGA"][row % 3], ["AA", "UA"][row / 3 % 2]);
        let numbers = [1, 2, 3, 4, 5, 6].map(|k| draw(k).to_string());
        let [distance, temp, humid, wind, rain, visib] = &numbers;
        let hour = if row == 7 { "NA".to_owned() } else { (5 + row % 17).to_string() };
        flights += &format!(
            "{late},{month},{hour},{origin},{carrier},{distance},{},{temp},{humid},{wind},{rain},{visib}\n",
            row % 7
        );
        let cases = (50. * (draw(1) + draw(8))).round();
        dengue += &format!("{cases},{},{},{}\n", 20_000 + 700 * row, draw(7), numbers.join(","));
    }
    std::fs::write(folder.path().join("nyc_flights_late.csv.gz"), flights).expect("a file");
    let bench = ["bench", "glm", "--json", "--only", "flights,dengue", "--data", &data];
    let (code, _, wrong) = run(bench);
    assert_eq!(code, 1);
    assert!(wrong.contains(&format!("{data}/dengue_brazil_monthly.csv.gz for the row dengue rates")), "{wrong}");
    std::fs::write(folder.path().join("dengue_brazil_monthly.csv.gz"), dengue).expect("a file");
    let answer: Value = serde_json::from_str(&succeed(bench)).expect("JSON");
    let [flights, dengue] = answer["rows"].as_array().expect("rows").as_slice() else { panic!("two rows: {answer}") };
    assert_eq!(
        (&flights["name"], &flights["n_rows"], &flights["n_features"]),
        (&json!("flights"), &json!(399), &json!(27))
    );
    assert_eq!(
        (&dengue["name"], &dengue["n_rows"], &dengue["n_features"]),
        (&json!("dengue rates"), &json!(400), &json!(7))
    );
    for row in [flights, dengue] {
        assert!(row["objective"].as_f64().is_some_and(|value| value > 0.), "{row}");
        assert!(row["short_by"].as_f64().is_some_and(|short| short <= 1e-8), "{row}");
        assert_eq!((&row["target"], &row["met"]), (&Value::Null, &Value::Null));
    }
    let (code, _, wrong) = run(["bench", "glm", "--only", "flights"]);
    assert_eq!(code, 2);
    assert!(wrong.contains("left out: flights (nyc_flights_late.csv.gz)") && wrong.contains("--data DIR"), "{wrong}");
}

/// Rides that grow with the temperature; the first row is at 0 degrees under a clear sky.
fn rides(n_rows: usize) -> String {
    let mut text = "temp,sky,bikers\n".to_owned();
    for row in 0..n_rows {
        let (temp, rain) = (row % 10, row % 3 == 1);
        let bikers = 3 + 2 * temp + usize::from(row % 7 == 0) - if rain { 2 } else { 0 };
        text += &format!("{temp},{},{bikers}\n", if rain { "rain" } else { "clear" });
    }
    text
}
