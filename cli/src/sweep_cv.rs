//! The `cv` of a sweep file: how rows are split, by scikit-learn's names.
//!
//! Knows which keys each way takes; what they mean, the splitters say.

use phalanx_learn::{
    GroupKFold, KFold, Splitter, StratifiedKFold, TimeSeriesSplit,
    split::{PurgedKFold, ShuffleSplit, Size},
};

use crate::{
    Error, Result,
    error::did_you_mean,
    yaml::{Key, Node, Source, Value},
};

/// How rows are split.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cv {
    /// By a rule.
    Rule(Splitter),
    /// By a column of the data, which numbers the folds.
    Column {
        /// The column.
        name: String,
        /// How many folds it has.
        n_splits: usize,
    },
}

/// A way of splitting, with the keys it takes beside `type`.
const TYPES: [(&str, &[&str]); 7] = [
    ("k_fold", &["n_splits", "shuffle", "seed"]),
    ("stratified_k_fold", &["n_splits", "shuffle", "seed"]),
    ("group_k_fold", &["n_splits", "shuffle", "seed"]),
    ("shuffle_split", &["n_splits", "test_size", "train_size", "seed"]),
    ("time_series_split", &["n_splits", "max_train_size", "test_size", "gap"]),
    ("purged_k_fold", &["n_splits", "horizon", "embargo"]),
    ("predefined_split", &["column", "n_splits"]),
];

impl Cv {
    /// Five contiguous folds.
    pub(crate) fn new() -> Self {
        Self::Rule(Splitter::default())
    }

    pub(crate) fn n_splits(&self) -> usize {
        match self {
            Self::Rule(splitter) => splitter.n_splits(),
            Self::Column { n_splits, .. } => *n_splits,
        }
    }

    /// `cv: 5`, `cv: {n_splits: 5, shuffle: true, seed: 42}`, or `cv: {type: time_series_split, gap: 7}`.
    pub(crate) fn parse(source: Source<'_>, node: &Node) -> Result<Self> {
        let Value::Map(entries) = &node.value else {
            return Ok(Self::Rule(KFold::new(at_least(source, "n_splits", node, 2)?).into()));
        };
        let of = |name: &str| entries.iter().find(|(key, _)| key.name == name).map(|(_, node)| node);
        let (name, allowed) = of("type").map_or(Ok(TYPES[0]), |node| kind(source, node))?;
        let known: Vec<&str> = ["type"].into_iter().chain(allowed.iter().copied()).collect();
        let what = if of("type").is_some() { format!("cv of type {name}") } else { "cv".to_owned() };
        source.known_map(&what, node, &known)?;
        let keys = Keys { source, entries };
        let n_splits = |default: usize| keys.size("n_splits", 2).map(|n| n.unwrap_or(default));
        Ok(Self::Rule(match name {
            "k_fold" => KFold { n_splits: n_splits(5)?, shuffle: keys.shuffle()? }.into(),
            "stratified_k_fold" => StratifiedKFold { n_splits: n_splits(5)?, shuffle: keys.shuffle()? }.into(),
            "group_k_fold" => GroupKFold { n_splits: n_splits(5)?, shuffle: keys.shuffle()? }.into(),
            "shuffle_split" => ShuffleSplit {
                n_splits: keys.size("n_splits", 1)?.unwrap_or(10),
                test_size: keys.part("test_size")?,
                train_size: keys.part("train_size")?,
                seed: keys.get("seed").map_or(Ok(0), |node| source.whole("seed", node, 0))?,
            }
            .into(),
            "time_series_split" => TimeSeriesSplit {
                n_splits: n_splits(5)?,
                max_train_size: keys.size("max_train_size", 1)?,
                test_size: keys.size("test_size", 1)?,
                gap: keys.size("gap", 0)?.unwrap_or(0),
            }
            .into(),
            "purged_k_fold" => PurgedKFold {
                n_splits: n_splits(5)?,
                horizon: keys.size("horizon", 0)?.unwrap_or(0),
                embargo: keys.size("embargo", 0)?.unwrap_or(0),
            }
            .into(),
            _ => {
                let need = |name: &str, meaning: &str| {
                    let missing = || source.wrong(node.line, format!("{what} has no `{name}`; say {meaning}"));
                    keys.get(name).ok_or_else(missing)
                };
                let name = source.text("column", need("column", "which column numbers the folds")?)?;
                let n_splits = at_least(source, "n_splits", need("n_splits", "how many folds it numbers")?, 2)?;
                return Ok(Self::Column { name, n_splits });
            }
        }))
    }
}

/// A way of splitting by its name, as here or as scikit-learn's class is called.
fn kind(source: Source<'_>, node: &Node) -> Result<(&'static str, &'static [&'static str])> {
    let given = source.text("the type of cv", node)?;
    let plain = |name: &str| name.replace('_', "").to_lowercase();
    TYPES.into_iter().find(|(name, _)| plain(name) == plain(&given)).ok_or_else(|| {
        let names = TYPES.map(|(name, _)| name);
        let near = did_you_mean(&given, names);
        source.wrong(node.line, format!("there is no cv of type {given:?}{near}; known are {}", names.join(", ")))
    })
}

fn at_least(source: Source<'_>, what: &str, node: &Node, least: u64) -> Result<usize> {
    let number = source.whole(what, node, least)?;
    usize::try_from(number).map_err(|error| source.wrong(node.line, error))
}

struct Keys<'a> {
    source: Source<'a>,
    entries: &'a [(Key, Node)],
}

impl<'a> Keys<'a> {
    fn get(&self, name: &str) -> Option<&'a Node> {
        self.entries.iter().find(|(key, _)| key.name == name).map(|(_, node)| node)
    }

    fn size(&self, name: &str, least: u64) -> Result<Option<usize>> {
        self.get(name).map(|node| at_least(self.source, name, node, least)).transpose()
    }

    /// A share of the rows, or a number of them.
    fn part(&self, name: &str) -> Result<Option<Size>> {
        let Some(node) = self.get(name) else { return Ok(None) };
        let size = match &node.value {
            Value::Scalar(serde_json::Value::Number(number)) => match (number.as_u64(), number.as_f64()) {
                (Some(rows), _) if rows > 0 => usize::try_from(rows).ok().map(Size::Rows),
                (None, Some(share)) if share > 0. && share < 1. => Some(Size::Share(share)),
                _ => None,
            },
            _ => None,
        };
        let expected = || format!("{name} is {node}, expected a share between 0 and 1, or a number of rows");
        size.map(Some).ok_or_else(|| self.source.wrong(node.line, expected()))
    }

    /// The seed of a shuffle, where there is to be one.
    fn shuffle(&self) -> Result<Option<u64>> {
        let shuffle = self.get("shuffle").map_or(Ok(false), |node| self.source.boolean("shuffle", node))?;
        let seed = self.get("seed").map(|node| Ok::<_, Error>((node.line, self.source.whole("seed", node, 0)?)));
        match (shuffle, seed.transpose()?) {
            (true, seed) => Ok(Some(seed.map_or(0, |(_, seed)| seed))),
            (false, None) => Ok(None),
            (false, Some((line, _))) => {
                let message = "seed does nothing without `shuffle: true`; add that or remove seed";
                Err(self.source.wrong(line, message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse(text: &str) -> Result<Cv> {
        let source = Source(Path::new("sweep.yaml"));
        Cv::parse(source, &source.parse(text).expect("YAML"))
    }

    fn refused(text: &str) -> String {
        parse(text).expect_err("refused").to_string()
    }

    #[test]
    fn each_way_has_its_keys() {
        let good =
            |text: &str, expected: Splitter| assert_eq!(parse(text).expect("good"), Cv::Rule(expected), "{text}");
        good("3", KFold::new(3).into());
        good("{n_splits: 3, shuffle: true, seed: 4}", KFold::new(3).shuffle(4).into());
        good("{type: StratifiedKFold, shuffle: true}", StratifiedKFold::new(5).shuffle(0).into());
        good("{type: group_k_fold, n_splits: 4}", GroupKFold::new(4).into());
        let draws = ShuffleSplit::new(2).test_size(Size::Share(0.2)).train_size(Size::Rows(50)).seed(1);
        good("{type: shuffle_split, n_splits: 2, test_size: 0.2, train_size: 50, seed: 1}", draws.into());
        let time = TimeSeriesSplit::new(3).gap(7).test_size(28).max_train_size(365);
        good("{type: time_series_split, n_splits: 3, gap: 7, test_size: 28, max_train_size: 365}", time.into());
        good("{type: purged_k_fold, horizon: 5, embargo: 2}", PurgedKFold::new(5).horizon(5).embargo(2).into());
        let column = Cv::Column { name: "fold".to_owned(), n_splits: 3 };
        assert_eq!(parse("{type: predefined_split, column: fold, n_splits: 3}").expect("good"), column);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_line() {
        assert_eq!(
            refused("type: time_serie_split"),
            "sweep.yaml:1: there is no cv of type \"time_serie_split\" (did you mean \"time_series_split\"?); known are \
             k_fold, stratified_k_fold, group_k_fold, shuffle_split, time_series_split, purged_k_fold, predefined_split"
        );
        assert_eq!(
            refused("type: time_series_split\nseed: 3"),
            "sweep.yaml:2: unknown key \"seed\" in cv of type time_series_split; known are type, n_splits, \
             max_train_size, test_size, gap"
        );
        assert_eq!(
            refused("type: shuffle_split\ntest_size: 1.5"),
            "sweep.yaml:2: test_size is 1.5, expected a share between 0 and 1, or a number of rows"
        );
        assert_eq!(
            refused("type: predefined_split\nn_splits: 3"),
            "sweep.yaml:1: cv of type predefined_split has no `column`; say which column numbers the folds"
        );
    }
}
