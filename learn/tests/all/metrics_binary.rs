//! Metrics of two classes against scikit-learn's answers, on rows with ties in the probability.

use ndarray::Array1;
use phalanx_learn::metrics::{log_loss, mean_squared_error, roc_auc_score};

#[test]
fn scikit_learn_gives_the_same() {
    let rows: Vec<Vec<f64>> = include_str!("data/metrics_binary.csv")
        .lines()
        .skip(1)
        .map(|line| line.split(',').map(|number| number.parse().expect("a number")).collect())
        .collect();
    let column = |at: usize| -> Array1<f64> { rows.iter().map(|row| row[at]).collect() };
    let (y, p) = (column(0), column(1));
    let close = |value: f64, expected: f64| {
        assert!((value - expected).abs() <= 1e-14 * expected, "{value}, expected {expected}");
    };
    close(roc_auc_score(y.view(), p.view()).expect("a score"), 0.8633082706766916);
    close(log_loss(y.view(), p.view()).expect("a score"), 0.6569855456107961);
    close(mean_squared_error(y.view(), p.view()).expect("a score"), 0.1608065);
}
