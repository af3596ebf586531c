//! Everything that can be wrong in what a user gives: one line that says what and what to do, and no output left.

use std::{fs, path::Path};

use crate::support::{folder, listing, root, run, text, write};

const RIDES: &str = "temp,sky,bikers\n1,clear,3\n2,rain,1\n3,clear,9\n4,rain,8\n5,rain,4\n6,clear,20\n";

const SWEEP: &str = "\
data: rides.csv
target: bikers
estimator: poisson_regression
method: grid
metric: {name: poisson_deviance, goal: minimize}
parameters:
  alpha: {values: [0.1, 1]}
cv: {n_splits: 2}
";

/// A folder with data and a sweep file.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(folder());
        write(place.path(), "rides.csv", RIDES);
        write(place.path(), "sweep.yaml", SWEEP);
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// What `phalanx fit glm` on a file with this text says.
    fn fit(&self, data: &str, more: &[&str]) -> (i32, String) {
        let data = write(self.path(), "rides.csv", data);
        let model = text(&self.path().join("model.json"));
        let args = ["fit", "glm", &text(&data), "--target", "bikers", "--family", "poisson", "--output", &model];
        self.refused([&args[..], more].concat())
    }

    /// What `phalanx sweep` says when a part of the sweep file is another.
    fn sweep(&self, old: &str, new: &str) -> (i32, String) {
        assert!(SWEEP.contains(old), "{old}");
        let sweep = write(self.path(), "sweep.yaml", &SWEEP.replace(old, new));
        self.refused(["sweep", &text(&sweep), "--output", &text(&self.path().join("out"))])
    }

    /// Exit code and the one line that is said, with `DIR` for this folder; nothing new may be in it.
    fn refused<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> (i32, String) {
        let before = listing(self.path());
        let (code, stdout, stderr) = run(args);
        assert_eq!((stdout.as_str(), stderr.lines().count()), ("", 1), "{stderr}");
        assert_eq!(listing(self.path()), before);
        let real = fs::canonicalize(self.path()).expect("a folder");
        let said = stderr.trim_end().replace(&text(&real), "DIR").replace(&text(self.path()), "DIR");
        (code, said.strip_prefix("error: ").expect("an error").to_owned())
    }
}

fn because(code: i32, line: &str) -> (i32, String) {
    (code, line.to_owned())
}

#[test]
fn a_missing_file() {
    let place = Place::new();
    let missing = text(&place.path().join("ride.csv"));
    assert_eq!(
        place.refused(["fit", "glm", &missing, "--target", "bikers"]),
        because(1, "there is no file DIR/ride.csv; did you mean DIR/rides.csv?")
    );
    assert_eq!(place.sweep("rides.csv", "none.csv").1.split(';').next(), Some("there is no file DIR/none.csv"),);
    assert_eq!(
        place.refused(["sweep", &text(&place.path().join("none.yaml"))]),
        because(1, "cannot read DIR/none.yaml: no such file or directory")
    );
}

#[test]
fn a_column_that_does_not_exist() {
    let place = Place::new();
    assert_eq!(
        place.sweep("target: bikers", "target: biker"),
        because(1, "there is no column \"biker\"; did you mean \"bikers\"?")
    );
    assert_eq!(
        place.fit(RIDES, &["--features", "tmp"]),
        because(1, "there is no column \"tmp\" in DIR/rides.csv; did you mean \"temp\"?")
    );
    assert_eq!(
        place.sweep("target: bikers", "target: bikers\ncategorical: skye"),
        because(1, "there is no column \"skye\" in DIR/rides.csv; did you mean \"sky\"?")
    );
}

#[test]
fn text_in_a_column_of_numbers() {
    let place = Place::new();
    let (code, said) = place.fit(&RIDES.replace("3,clear", "warm,clear"), &[]);
    assert_eq!(code, 1);
    assert!(said.starts_with("line 4 of DIR/rides.csv, column \"temp\": \"warm\" is not a number"), "{said}");
}

#[test]
fn a_missing_value_in_the_target() {
    let place = Place::new();
    let said =
        because(1, "column \"bikers\" has a missing value in row 2 (counted from 0); drop or fill such rows first");
    assert_eq!(place.fit(&RIDES.replace("clear,9", "clear,NaN"), &[]), said);
    assert_eq!(place.fit(&RIDES.replace("clear,9", "clear,"), &[]), said);
    // The file of the last call is still there.
    assert_eq!(place.sweep("poisson_regression", "poisson_regression"), said);
}

#[test]
fn an_unknown_key_in_the_sweep_file() {
    let place = Place::new();
    assert_eq!(
        place.sweep("parameters:", "parameter:"),
        because(
            2,
            "DIR/sweep.yaml:6: unknown key \"parameter\" in the sweep file (did you mean \"parameters\"?); known are \
             name, description, data, target, features, drop, categorical, weights, group, estimator, standardize, method, \
             metric, metrics, parameters, run_cap, early_terminate, enqueue, seed, cv, return_train_score, error_score"
        )
    );
    assert_eq!(
        place.sweep("  alpha:", "  alhpa:").1.split("; it has").next(),
        Some("DIR/sweep.yaml:7: PoissonRegression has no parameter \"alhpa\" (did you mean \"alpha\"?)")
    );
}

#[test]
fn a_parameter_out_of_its_range() {
    let place = Place::new();
    assert_eq!(place.fit(RIDES, &["--alpha", "-1"]), because(2, "alpha is -1, expected 0 or more"));
    assert_eq!(place.fit(RIDES, &["--l1-ratio", "1.5"]), because(2, "l1_ratio is 1.5, expected 0 to 1"));
    assert_eq!(
        place.fit(RIDES, &["--solver", "newton"]),
        because(
            2,
            "solver is \"newton\", expected one of `auto`, `irls`, `gradient_descent`, `admm`, `lbfgs`, `newton_cg`"
        )
    );
    let kinks = "solver is lbfgs, expected irls, gradient_descent or admm for a penalty with an L1 share";
    assert_eq!(place.fit(RIDES, &["--solver", "lbfgs", "--alpha", "0.1", "--l1-ratio", "0.5"]), because(2, kinks));
    assert_eq!(place.sweep("[0.1, 1]", "[0.1, -1]"), because(2, "DIR/sweep.yaml:7: alpha is -1, expected 0 or more"));
    assert_eq!(
        place.sweep("[0.1, 1]", "[0.1, much]"),
        because(2, "DIR/sweep.yaml:7: alpha is \"much\", expected a number")
    );
}

#[test]
fn more_folds_than_rows() {
    let place = Place::new();
    assert_eq!(
        place.sweep("n_splits: 2", "n_splits: 7"),
        because(1, "n_splits is 7, expected 2 to 6, the number of rows")
    );
}

#[test]
fn a_scheduler_that_is_not_there() {
    let place = Place::new();
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a port").port();
    let url = format!("tcp://127.0.0.1:{port}");
    let said =
        because(1, &format!("no scheduler answers at {url} (connection refused); start one with `phalanx scheduler`"));
    assert_eq!(place.fit(RIDES, &["--cluster", &url]), said);
    assert_eq!(place.refused(["worker", &url]), said);
}

#[test]
fn a_scheduler_on_an_address_that_others_reach() {
    let place = Place::new();
    assert_eq!(
        place.refused(["scheduler", "--listen", "0.0.0.0:0"]),
        because(
            1,
            "tcp://0.0.0.0:0 is not a loopback address, and anybody who reaches it could run tasks here: give a cluster \
             token (--token-file FILE or PHALANX_TOKEN) or --tls-cert, --tls-key and --tls-ca; `phalanx cluster keys \
             DIR` makes them"
        )
    );
}

#[test]
fn a_model_file_that_is_none_or_no_longer_right() {
    let place = Place::new();
    let rides = text(&root().join("datasets/data/bikeshare.csv"));
    let output = text(&place.path().join("p.csv"));
    let (code, said) = place.refused(["predict", &text(&place.path().join("sweep.yaml")), &rides, "--output", &output]);
    assert_eq!(code, 1);
    assert!(said.starts_with("model file DIR/sweep.yaml: not a model file: "), "{said}");

    let model = place.path().join("model.json");
    let args = ["fit", "glm", &rides, "--target", "bikers", "--features", "temp", "--output", &text(&model)];
    assert_eq!(run(args).0, 0);
    let mut broken: serde_json::Value = serde_json::from_str(&fs::read_to_string(&model).expect("text")).expect("JSON");
    broken["model"]["intercept"] = 1.25.into();
    fs::write(&model, broken.to_string()).expect("written");
    let (code, said) = place.refused(["predict", &text(&model), &rides, "--output", &output]);
    assert_eq!(code, 1);
    assert!(said.starts_with("model file DIR/model.json: golden row 0: the prediction was "), "{said}");
}

#[test]
fn an_output_that_cannot_be_written() {
    let place = Place::new();
    let there = text(&place.path().join("none/model.json"));
    assert_eq!(
        place.refused(["fit", "glm", &text(&place.path().join("rides.csv")), "--target", "bikers", "--output", &there]),
        because(1, "there is no folder DIR/none for DIR/none/model.json; make it first")
    );
    let file = text(&place.path().join("rides.csv"));
    assert_eq!(
        place.refused(["sweep", &text(&place.path().join("sweep.yaml")), "--output", &file]),
        because(2, "DIR/rides.csv is a file, expected a folder; choose another --output")
    );
}
