//! Splitters held against scikit-learn where theirs draws nothing, and against their own promises where ours do.

use ndarray::Array1;

use super::*;

/// The rows of the numbers below: two columns that belong to 17 rows.
const Y: [f64; 17] = [1., 0., 2., 1., 1., 0., 0., 2., 1., 1., 0., 1., 2., 1., 0., 0., 1.];
const GROUPS: [f64; 17] = [3., 1., 1., 2., 2., 2., 5., 5., 4., 4., 4., 4., 1., 3., 6., 6., 7.];

fn rows() -> SplitRows<'static> {
    SplitRows::new(17).y(ArrayView1::from(&Y)).groups(ArrayView1::from(&GROUPS))
}

/// Which fold judges by each row.
#[track_caller]
fn fold_of(splitter: impl Into<Splitter>) -> Vec<usize> {
    let splitter = splitter.into();
    let folds = splitter.split(&rows()).expect("folds");
    assert_eq!(folds.len(), splitter.n_splits());
    let mut fold_of = vec![usize::MAX; 17];
    for (number, fold) in folds.iter().enumerate() {
        assert_eq!(splitter.fold(&rows(), number).expect("a fold"), *fold);
        fold.test.iter().for_each(|row| fold_of[*row] = number);
        assert!(fold.train.is_sorted() && fold.test.is_sorted());
        let mut all = [&fold.train[..], &fold.test[..]].concat();
        all.sort_unstable();
        assert_eq!(all, Vec::from_iter(0..17));
    }
    fold_of
}

fn refused(splitter: impl Into<Splitter>) -> String {
    splitter.into().split(&rows()).expect_err("refused").to_string()
}

/// scikit-learn 1.9.1, `StratifiedKFold(n).split(X, Y)`.
#[test]
fn stratified_folds_are_scikit_learns() {
    let folds = |n| fold_of(StratifiedKFold::new(n));
    assert_eq!(folds(2), [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]);
    assert_eq!(folds(3), [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2]);
    assert_eq!(folds(4), [0, 0, 0, 0, 1, 0, 1, 2, 1, 2, 1, 2, 3, 3, 2, 3, 3]);
    assert_eq!(folds(7), [0, 1, 0, 0, 1, 2, 3, 1, 2, 3, 4, 4, 2, 5, 5, 6, 6]);
    for seed in 0..20 {
        let (plain, shuffled) = (folds(4), fold_of(StratifiedKFold::new(4).shuffle(seed)));
        let counts = |fold_of: &[usize]| {
            let mut counts = [[0; 3]; 4];
            fold_of.iter().zip(Y).for_each(|(fold, y)| counts[*fold][y as usize] += 1);
            counts
        };
        assert_eq!(counts(&plain), counts(&shuffled));
        assert_ne!(plain, shuffled);
    }
    assert_eq!(
        refused(StratifiedKFold::new(9)),
        "n_splits is 9, but the largest class in y has 8 rows; expected classes with one row or more for each fold"
    );
    let error = StratifiedKFold::new(2).split(&SplitRows::new(4)).expect_err("refused").to_string();
    assert_eq!(error, "StratifiedKFold needs y, one number a row");
}

/// scikit-learn 1.9.1, `GroupKFold(n).split(X, groups=GROUPS)`.
#[test]
fn group_folds_are_scikit_learns() {
    let folds = |n| fold_of(GroupKFold::new(n));
    assert_eq!(folds(2), [1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0]);
    assert_eq!(folds(3), [0, 2, 2, 1, 1, 1, 2, 2, 0, 0, 0, 0, 2, 0, 1, 1, 1]);
    assert_eq!(folds(5), [3, 2, 2, 1, 1, 1, 4, 4, 0, 0, 0, 0, 2, 3, 3, 3, 4]);
    assert_eq!(folds(7), [5, 2, 2, 1, 1, 1, 4, 4, 0, 0, 0, 0, 2, 5, 3, 3, 6]);
    for seed in 0..20 {
        let shuffled = fold_of(GroupKFold::new(3).shuffle(seed));
        for (a, fold) in shuffled.iter().enumerate() {
            assert!((0..17).all(|b| GROUPS[a] != GROUPS[b] || shuffled[b] == *fold));
        }
    }
    assert_eq!(refused(GroupKFold::new(8)), "n_splits is 8, expected 2 to 7, the number of groups");
    let error = GroupKFold::new(2).split(&SplitRows::new(4)).expect_err("refused").to_string();
    assert_eq!(error, "GroupKFold needs groups, one number a row");
    let short = Array1::zeros(3);
    let error = GroupKFold::new(2).split(&SplitRows::new(4).groups(short.view())).expect_err("refused").to_string();
    assert_eq!(error, "X has 4 rows and groups has 3; they must agree");
}

/// scikit-learn 1.9.1, `TimeSeriesSplit(...).split(X)`, as first and last row of each part.
#[test]
fn folds_of_the_past_are_scikit_learns() {
    let ends = |splitter: TimeSeriesSplit| -> Vec<[usize; 4]> {
        let folds = splitter.split(17).expect("folds");
        let ends = |rows: &[usize]| {
            assert!(rows.windows(2).all(|pair| pair[1] == pair[0] + 1));
            [rows[0], rows[rows.len() - 1]]
        };
        folds.iter().map(|fold| [ends(&fold.train), ends(&fold.test)].concat().try_into().expect("four")).collect()
    };
    assert_eq!(ends(TimeSeriesSplit::new(3)), [[0, 4, 5, 8], [0, 8, 9, 12], [0, 12, 13, 16]]);
    assert_eq!(
        ends(TimeSeriesSplit::new(4).gap(2).test_size(2).max_train_size(4)),
        [[3, 6, 9, 10], [5, 8, 11, 12], [7, 10, 13, 14], [9, 12, 15, 16]]
    );
    assert_eq!(ends(TimeSeriesSplit::new(2).test_size(5).gap(3)), [[0, 3, 7, 11], [0, 8, 12, 16]]);
    assert_eq!(
        refused(TimeSeriesSplit::new(3).test_size(5).gap(2)),
        "TimeSeriesSplit needs 18 rows or more for its sizes, there are 17"
    );
    assert_eq!(refused(TimeSeriesSplit::new(17)), "TimeSeriesSplit needs 18 rows or more for its sizes, there are 17");
    assert_eq!(refused(TimeSeriesSplit::new(1)), "n_splits is 1, expected 2 or more");
    assert_eq!(refused(TimeSeriesSplit::new(3).max_train_size(0)), "max_train_size is 0, expected 1 or more");
}

/// Whatever is learned from, its label's rows are none of those that the labels of what judges look at.
#[test]
fn purged_folds_share_no_row_of_a_label() {
    for (horizon, embargo) in [(0, 0), (1, 0), (2, 1), (0, 3), (3, 2)] {
        let splitter = PurgedKFold::new(4).horizon(horizon).embargo(embargo);
        for fold in splitter.split(40).expect("folds") {
            let looked_at = |row: usize| row..=row + horizon;
            for train in &fold.train {
                for test in &fold.test {
                    assert!(!looked_at(*train).any(|row| looked_at(*test).contains(&row)));
                    assert!(train < test || train - test > horizon + embargo);
                }
            }
            // Nothing else is left out.
            let ends = usize::from(fold.test[0] > 0) * horizon + usize::from(fold.test[9] < 39) * (horizon + embargo);
            assert_eq!(fold.train.len(), 30 - ends);
        }
    }
    let plain = PurgedKFold::new(3).split(17).expect("folds");
    assert_eq!(plain, KFold::new(3).split(17).expect("folds"));
    assert_eq!(
        refused(PurgedKFold::new(2).horizon(8)),
        "PurgedKFold leaves no rows in the train part of fold 0 of 17 rows; leave out fewer"
    );
}

/// The sizes are scikit-learn 1.9.1's for 17 rows.
#[test]
fn draws_have_the_sizes_asked_for() {
    let sizes = |splitter: ShuffleSplit| {
        let folds = splitter.split(17).expect("folds");
        for fold in &folds {
            assert!(fold.test.iter().all(|row| fold.train.binary_search(row).is_err()));
        }
        (folds[0].train.len(), folds[0].test.len())
    };
    let plain = ShuffleSplit::new(3);
    assert_eq!(sizes(plain), (15, 2));
    assert_eq!(sizes(plain.test_size(Size::Share(0.33))), (11, 6));
    assert_eq!(sizes(plain.test_size(Size::Rows(4))), (13, 4));
    assert_eq!(sizes(plain.train_size(Size::Share(0.5))), (8, 9));
    assert_eq!(sizes(plain.train_size(Size::Rows(3)).test_size(Size::Share(0.2))), (3, 4));
    assert_eq!(sizes(plain.train_size(Size::Rows(5))), (5, 12));
    assert_ne!(plain.split(17).expect("folds"), plain.seed(1).split(17).expect("folds"));
    let folds = plain.split(17).expect("folds");
    assert_ne!(folds[0], folds[1]);
    assert_eq!(folds, plain.split(17).expect("folds"));
    assert_eq!(
        refused(plain.test_size(Size::Share(1.))),
        "test_size is 1, expected a share between 0 and 1, or a number of rows"
    );
    assert_eq!(
        refused(plain.train_size(Size::Rows(17))),
        "train_size is 17, expected 1 to 16, one row less than there are"
    );
    assert_eq!(
        refused(plain.train_size(Size::Rows(10)).test_size(Size::Rows(8))),
        "train_size is 10, expected 17 rows at most together with test_size, 8"
    );
}

#[test]
fn predefined_folds_are_taken_as_they_are() {
    let splitter = PredefinedSplit::new([5, 5, -1, 2]);
    assert_eq!(splitter.n_splits(), 2);
    let folds = splitter.split(4).expect("folds");
    assert_eq!((&folds[0].test[..], &folds[1].test[..], &folds[1].train[..]), (&[3][..], &[0, 1][..], &[2, 3][..]));
    assert_eq!(refused(splitter), "X has 17 rows and test_fold has 4; they must agree");
    assert_eq!(refused(PredefinedSplit::new([-1; 17])), "test_fold is -1 in every row, expected one fold or more");
    assert_eq!(refused(PredefinedSplit::new([-2; 17])), "test_fold is -2, expected -1 or more");
    let all = "PredefinedSplit leaves no rows in the train part of fold 0 of 17 rows; leave out fewer";
    assert_eq!(refused(PredefinedSplit::new([0; 17])), all);
}

#[test]
fn a_fold_of_one_class_is_named() {
    let folds = KFold::new(2).split(4).expect("folds");
    let y = |y: [f64; 4]| Array1::from_iter(y);
    assert!(check_classes(&folds, y([0., 1., 0., 1.]).view(), "train").is_ok());
    let error = check_classes(&folds, y([0., 1., 1., 1.]).view(), "train").expect_err("refused").to_string();
    assert_eq!(error, "fold 0 has only class 1 in its train part; stratify the folds, shuffle them or take fewer");
    let error = check_classes(&folds, y([0., 1., 1., 1.]).view(), "test").expect_err("refused").to_string();
    assert!(error.starts_with("fold 1 has only class 1 in its test part"), "{error}");
}

#[test]
fn splitters_cross_the_wire() {
    let all: [Splitter; 7] = [
        KFold::new(3).shuffle(1).into(),
        StratifiedKFold::new(3).into(),
        GroupKFold::new(3).shuffle(2).into(),
        ShuffleSplit::new(3).train_size(Size::Share(0.5)).test_size(Size::Rows(3)).into(),
        TimeSeriesSplit::new(3).gap(1).into(),
        PurgedKFold::new(3).embargo(2).into(),
        PredefinedSplit::new([0, 1, -1]).into(),
    ];
    for splitter in all {
        let bytes = phalanx_engine::value::Portable::encode(&splitter).expect("bytes");
        let back: Splitter = phalanx_engine::value::Portable::decode(bytes).expect("a splitter");
        assert_eq!(back, splitter);
        let text = serde_json::to_string(&splitter).expect("JSON");
        assert_eq!(serde_json::from_str::<Splitter>(&text).expect("a splitter"), splitter);
    }
}

#[test]
fn shares_of_rows_are_nested() {
    let rows = Vec::from_iter((0..90).map(|row| 3 * row));
    let mut before = Vec::new();
    for share in [1. / 81., 1. / 27., 1. / 9., 1. / 3., 1.] {
        let kept = subsample(&rows, share, 7);
        assert_eq!(kept.len(), ((90. * share) as usize).max(1));
        assert!(kept.is_sorted() && before.iter().all(|row| kept.contains(row)));
        before = kept;
    }
    assert_eq!(subsample(&[], 0.5, 1), [0; 0]);
}
