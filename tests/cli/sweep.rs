//! Sweeps by other methods than the grid, of folds by group and column, and with weights.

use serde_json::{Value, json};

use crate::support::{folder, results, succeed, text, write};

/// 90 rides of three riders, in three folds; `hours` is 0 to 3. Each is there so many times.
fn rides(times: impl Fn(u32) -> u32) -> String {
    let row = |i: u32| {
        let temp = f64::from(i * 7 % 30);
        let bikers = (temp * 1.5 + f64::from(i * 5 % 11)).round();
        let rider = ["ann", "bo", "cy"][(i % 9 / 3) as usize];
        format!("{temp},{},{rider},{},{bikers}\n", i % 4, i % 3).repeat(times(i) as usize)
    };
    "temp,hours,rider,fold,bikers\n".to_owned() + &(0..90).map(row).collect::<String>()
}

const SWEEP: &str = "\
data: rides.csv
target: bikers
features: temp
estimator: poisson_regression
method: random
run_cap: 5
metric: {name: poisson_deviance, goal: minimize}
parameters:
  alpha: {min: 0.001, max: 10.0, distribution: log_uniform_values}
seed: 3
";

#[test]
fn a_sweep_in_the_shape_of_weights_and_biases_gives_the_same_on_threads_and_processes() {
    let place = folder();
    let out = |name: &str| place.path().join(name);
    let sweep = "examples/bikeshare-bayes.yaml";
    let printed = succeed(["sweep", sweep, "--output", &text(&out("local"))]);
    assert!(printed.contains("Best: alpha = "), "{printed}");
    let expected = results(&out("local"));
    // 30 configurations on the lowest rung, the best of them on more.
    let of_rung = |rung: &str| expected["iter"].iter().filter(|iter| *iter == rung).count();
    assert_eq!((of_rung("0"), of_rung("2") > 0), (30, true));
    assert!(expected["n_resources"].iter().all(|budget| ["1", "3", "9"].contains(&budget.as_str())));
    assert_eq!((expected["param_alpha"][0].as_str(), expected["param_l1_ratio"][0].as_str()), ("0.001", "0.0"));
    let best = expected["rank_test_mean_poisson_deviance"].iter().position(|rank| rank == "1").expect("a winner");
    assert_eq!(expected["n_resources"][best], "9");
    assert!(expected.contains_key("mean_test_r2_score"));

    succeed(["sweep", sweep, "--output", &text(&out("processes")), "--cluster", "processes:2"]);
    assert_eq!(results(&out("processes")), expected);
}

#[test]
fn weights_and_groups_are_columns() {
    let place = folder();
    let run = |data: String, more: &str, name: &str| {
        write(place.path(), "rides.csv", &data);
        let sweep = write(place.path(), "sweep.yaml", &(SWEEP.to_owned() + more));
        let out = place.path().join(name);
        succeed(["sweep", &text(&sweep), "--output", &text(&out)]);
        results(&out)
    };
    let grouped = run(rides(|_| 1), "group: rider\ncv: {type: group_k_fold, n_splits: 3}\n", "grouped");
    assert_eq!((grouped["split2_test_score"].len(), grouped["error"].iter().all(String::is_empty)), (5, true));
    // A weight counts a row so often, in fits and in scores; folds by a column stay what they are.
    let folds = "cv: {type: predefined_split, column: fold, n_splits: 3}\n";
    let weighted = run(rides(|_| 1), &format!("weights: hours\n{folds}"), "weighted");
    let repeated = run(rides(|i| i % 4), folds, "repeated");
    assert_eq!(weighted["param_alpha"], repeated["param_alpha"]);
    for fold in ["split0_test_score", "split1_test_score", "split2_test_score"] {
        for (one, other) in weighted[fold].iter().zip(&repeated[fold]) {
            let (one, other): (f64, f64) = (one.parse().expect("a score"), other.parse().expect("a score"));
            assert!((one - other).abs() <= 1e-7 * other, "{fold}: {one}, {other}");
        }
    }
}

#[test]
fn a_dry_run_says_from_where_parameters_are_drawn() {
    let place = folder();
    write(place.path(), "rides.csv", &rides(|_| 1));
    let sweep = write(place.path(), "sweep.yaml", SWEEP);
    let out = text(&place.path().join("out"));
    let printed = succeed(["sweep", &text(&sweep), "--dry-run", "--output", &out]);
    assert!(printed.contains("log uniform from 0.001 to 10"), "{printed}");
    assert!(printed.contains("5 candidates x 5 folds = 25 fits"), "{printed}");
    let answer: Value =
        serde_json::from_str(&succeed(["sweep", &text(&sweep), "--dry-run", "--json", "--output", &out]))
            .expect("JSON");
    assert_eq!((&answer["method"], &answer["fits"]), (&json!("random"), &json!(25)));
}
