//! A search by several metrics with train scores on folds that somebody has chosen, held against scikit-learn.

use ndarray::{Array1, Array2};
use phalanx::{
    datasets::known,
    learn::{Transform, preprocess::TableEncoder, split::PredefinedSplit},
    prelude::*,
};

use crate::{close, numbers, reference};

/// scikit-learn's `C` weighs the sum of losses, ours is a mean: alpha is 1 / (C n), and n differs from fold to fold. So
/// each fold is a search of its own.
#[test]
fn a_grid_search_over_churn_scores_as_scikit_learn_does() {
    let answer = &reference()["churn_grid_C_l2"]["answer"];
    let expected = |name: &str| -> Vec<f64> {
        let column = answer["cv_results"][name].as_array().expect("a column");
        column.iter().map(|cell| cell.as_f64().or_else(|| cell.as_str()?.parse().ok()).expect("a number")).collect()
    };
    let (x, y) = churn();
    let cs = expected("param_C");
    let metrics = ["neg_log_loss", "roc_auc", "accuracy"];
    let mut means = vec![vec![0.; cs.len()]; metrics.len()];
    for fold in 0..5 {
        let cv = PredefinedSplit::new((0..y.len()).map(|row| if row % 5 == fold { 0 } else { -1 }));
        let n_train = (0..y.len()).filter(|row| row % 5 != fold).count();
        let grid = ParamGrid::new().values("alpha", cs.iter().map(|c| 1. / (c * n_train as f64)));
        let found = GridSearch::new(LogisticRegression::new().tol(1e-11), grid)
            .cv(cv)
            .metrics(metrics)
            .return_train_score(true)
            .refit(false)
            .fit(x.view(), y.view())
            .expect("a winner");
        for (place, metric) in metrics.into_iter().enumerate() {
            let of = |scores: &dyn Fn(&phalanx::search::CandidateResult) -> Vec<Option<f64>>| -> Vec<f64> {
                let candidates = found.cv_results.candidates().iter();
                candidates.map(|candidate| scores(candidate)[0].expect("a score")).collect()
            };
            let test = of(&|candidate| candidate.test_scores_of(place));
            let train = of(&|candidate| candidate.train_scores_of(place));
            close(metric, &test, &expected(&format!("split{fold}_test_{metric}")));
            close(metric, &train, &expected(&format!("split{fold}_train_{metric}")));
            means[place].iter_mut().zip(test).for_each(|(mean, score)| *mean += score / 5.);
        }
    }
    for (metric, means) in metrics.into_iter().zip(means) {
        close(metric, &means, &expected(&format!("mean_test_{metric}")));
        if metric == "neg_log_loss" {
            let rank = |mean: &f64| 1. + means.iter().filter(|other| *other > mean).count() as f64;
            assert_eq!(means.iter().map(rank).collect::<Vec<_>>(), expected("rank_test_neg_log_loss"));
        }
    }
}

/// Thirteen columns, standardised on all rows, and whether the customer left.
fn churn() -> (Array2<f64>, Array1<f64>) {
    let (schema, block) = known::churn();
    let columns = [
        "tenure",
        "monthly_charges",
        "senior_citizen",
        "contract",
        "internet_service",
        "payment_method",
        "paperless_billing",
        "partner",
        "dependents",
    ];
    let encoder = TableEncoder::new().columns(columns).fit((&schema, &block), ()).expect("an encoder");
    let x = encoder.transform((&schema, &block)).expect("a matrix");
    let scaler = StandardScaler::new().fit(&x, ()).expect("a scaler");
    (scaler.transform(&x).expect("numbers"), numbers(&schema, &block, "churn"))
}
