//! What can be said to `phalanx fit` and `phalanx predict`: families, links, penalties, and which column is what.

use std::{fmt, path::PathBuf, str::FromStr};

use clap::{Args, Subcommand};

use super::JobArguments;

/// Headings of `phalanx fit glm --help`.
const INFERENCE: &str = "Standard errors";
const PATH: &str = "Paths of the penalty";

/// `phalanx fit`.
#[derive(Debug, Subcommand)]
pub enum FitCommand {
    /// Fit a generalised linear model: nine families, with L1, L2 and elastic-net penalties
    Glm(Box<FitGlmArguments>),
}

/// A family's own parameter: a number, or to be estimated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OwnParameter {
    /// As given.
    Number(f64),
    /// By maximum likelihood.
    Estimate,
}

impl FromStr for OwnParameter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "estimate" {
            return Ok(Self::Estimate);
        }
        text.parse().map(Self::Number).map_err(|_| "expected a number, or estimate".to_owned())
    }
}

impl fmt::Display for OwnParameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Estimate => f.write_str("estimate"),
        }
    }
}

/// `phalanx fit glm`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  phalanx fit glm datasets/data/default.csv --target default --family binomial
  phalanx fit glm 'datasets/data/bike*.csv' --target bikers --family poisson \\
    --features temp,hum,hr --categorical hr --reference hr=12 --alpha 0.01 --l1-ratio 0.5
  phalanx fit glm datasets/data/churn.csv --target churn --family binomial --drop total_charges \\
    --alpha 0.01 --output model.json --json
  phalanx fit glm claims.csv --target claims --family poisson --exposure years --weights rows
  phalanx fit glm 'datasets/data/bike*.csv' --target bikers --family negative_binomial \\
    --theta estimate --features temp,hum,windspeed
  phalanx fit glm 'datasets/data/bike*.csv' --target bikers --family quantile --quantile 0.9 \\
    --features temp,hum,windspeed
  phalanx fit glm plots.csv --target germinated --family binomial --trials seeds --link cloglog
  phalanx fit glm cars.csv --target price --family inverse_gaussian --link power:-2
  phalanx fit glm cars.csv --target price --family gamma --link log --alpha 0.1 --standardize \\
    --penalty-factor age=0 --upper age=0 --lower brand=-0.5 --upper brand=0.5
  phalanx fit glm 'datasets/data/bike*.csv' --target bikers --family poisson --alpha 0.05 \\
    --l1-ratio 1 --standardize --features temp,hum,hr,weathersit --categorical hr,weathersit \\
    --penalty-group hr --penalty-group weathersit --penalty-group temp,hum
  phalanx fit glm visits.csv --target visits --family poisson --group patient --confidence 0.99
  phalanx fit glm datasets/data/churn.csv --target churn --family binomial --drop total_charges \\
    --l1-ratio 1 --standardize --cv 10 --select 1se --output model.json
  phalanx fit glm 'datasets/data/bike*.csv' --target bikers --family poisson --l1-ratio 1 \\
    --features temp,hum,windspeed,hr --path 50
  phalanx fit glm 'datasets/data/bike*.csv' --target weathersit --family multinomial \\
    --features temp,hum,windspeed --alpha 0.001 --class-weight balanced
  phalanx fit glm 'datasets/data/bike*.csv' --family poisson \\
    --formula 'bikers ~ temp * C(season) + ns(hum, df=3) + C(hr)'

Minimises mean half-deviance + alpha * sum of factor * (l1_ratio * |b| + (1 - l1_ratio) / 2 * b^2);
the intercept is never penalised. Text columns are categorical: one column a level, COLUMN=LEVEL,
the first in sorted order (or the one of --reference) left out. Columns of weights, offset,
exposure, trials, group and folds are no features and need not be dropped.

  family             target               default link  its own parameter
  gaussian           any number           identity
  binomial           0 or 1, two texts    logit         (with --trials: 0 to the row's trials)
  multinomial        whole numbers, texts (softmax)     coefficients for each class
  poisson            0 or more            log
  gamma              above 0              log
  tweedie            by its power         log           --power: variance = mean^power [1.5]
  negative_binomial  0 or more            log           --theta: variance = m + m^2/theta [1]
  inverse_gaussian   above 0              log
  huber              any number           identity      --delta: in units of the target [1.35]
  quantile           any number           identity      --quantile: share of rows below [0.5]

--theta estimate finds theta by maximum likelihood together with the coefficients, as R's glm.nb
does; --power estimate finds the power between 1.01 and 1.99, by the likelihood of Tweedie's family.

Links: identity, log, logit, probit, cloglog, inverse, sqrt, and power:P for mean^P, as power:-2
(power:0 is log). logit, probit and cloglog are for binomial, which has identity and log too; huber
has identity. Exposure is for the log and cloglog links.

Where nothing is penalised or bounded, each coefficient has a standard error, a z (or t, where the
dispersion is estimated), a p value and an interval. --covariance says what the errors rest on:
nonrobust on the family being right, hc1 on independent rows only, clustered on independent groups.

--path fits falling strengths of the penalty one from another, from the least one that leaves
nothing in the model; --cv chooses one of them by the error on rows that are held out, else it is
the last. --alpha and standard errors are for a fit of one strength.

--formula knows log(y) ~, + - : * ^ ( ) ., C(b), log(x), ns(x, df=4), offset(x), offset(log(n)).

--missing drop leaves out rows that miss anything that is used. --missing mean puts the mean of a
column's numbers where one is missing, with a column COLUMN=missing of 0 and 1 beside it; in a
categorical column what is missing is the level `missing`. The target is never filled in. predict
fills in what fit filled in; else it refuses what is missing.

In --penalty-factor, --penalty-group, --lower and --upper a COLUMN of the data stands for all that is made of it; a
column of the model, as sky=rain, for itself, and it wins over the other.")]
pub struct FitGlmArguments {
    /// CSV (plain or .gz) or Parquet files, or patterns such as 'data/*.csv'
    #[arg(value_name = "DATA", required = true)]
    pub data: Vec<String>,
    /// The column to predict
    #[arg(long, value_name = "COLUMN", required_unless_present = "formula")]
    pub target: Option<String>,
    /// What to predict and what from, as 'y ~ a * C(b) + ns(x, df=4) + offset(log(n))'
    #[arg(long, value_name = "FORMULA", conflicts_with_all = ["target", "features", "drop", "categorical", "reference"])]
    pub formula: Option<String>,
    /// The distribution of the target: one of the table below
    #[arg(long, value_name = "FAMILY", default_value = "gaussian")]
    pub family: String,
    /// How the mean hangs on the linear predictor [default: the family's, see below]
    #[arg(long, value_name = "LINK")]
    pub link: Option<String>,
    /// Of the negative binomial family: the variance is m + m^2/theta, above 0 [default: 1]
    #[arg(long, value_name = "NUMBER|estimate", allow_negative_numbers = true)]
    pub theta: Option<OwnParameter>,
    /// Of the Tweedie family: the variance is mean^power; at most 0 or at least 1 [default: 1.5]
    #[arg(long, value_name = "NUMBER|estimate", allow_negative_numbers = true)]
    pub power: Option<OwnParameter>,
    /// Of the Huber family: residuals beyond it pull with constant force, above 0 [default: 1.35]
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub delta: Option<f64>,
    /// Of the quantile family: the share of rows to lie below, above 0, below 1 [default: 0.5]
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub quantile: Option<f64>,
    /// How often each row counts: 0 or more
    #[arg(long, value_name = "COLUMN")]
    pub weights: Option<String>,
    /// What is added to each row's linear predictor
    #[arg(long, value_name = "COLUMN")]
    pub offset: Option<String>,
    /// What each row's target was counted on, above 0: its logarithm is an offset
    #[arg(long, value_name = "COLUMN")]
    pub exposure: Option<String>,
    /// How many trials the target is successes of: whole, 1 or more; for the binomial family
    #[arg(long, value_name = "COLUMN")]
    pub trials: Option<String>,
    /// What multiplies the weights of a class's rows, as 0=1,1=5 or yes=5; or balanced: all classes alike
    #[arg(long, value_name = "balanced|CLASS=NUMBER")]
    pub class_weight: Vec<String>,
    /// Strength of the penalty, 0 or more [default: 0]
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub alpha: Option<f64>,
    /// Share of L1 in the penalty: 0 is ridge, 1 is lasso
    #[arg(long, value_name = "0..1", default_value_t = 0., allow_negative_numbers = true)]
    pub l1_ratio: f64,
    /// What multiplies a column's penalty, 0 or more: 0 leaves it free; can be given more than once
    #[arg(long, value_name = "COLUMN=NUMBER")]
    pub penalty_factor: Vec<String>,
    /// Columns that come into the model together or not at all; can be given more than once
    ///
    /// The L1 part of their penalty is sqrt(size) times the Euclidean norm of their coefficients: the group lasso. A
    /// column of the data stands for all that is made of it, so that one categorical column alone is a group.
    #[arg(long, value_name = "COLUMN,COLUMN")]
    pub penalty_group: Vec<String>,
    /// The least that a column's coefficient may be, 0 or below; can be given more than once
    #[arg(long, value_name = "COLUMN=NUMBER")]
    pub lower: Vec<String>,
    /// The most that a column's coefficient may be, 0 or above; can be given more than once
    #[arg(long, value_name = "COLUMN=NUMBER")]
    pub upper: Vec<String>,
    /// Penalise the coefficients of columns divided by their standard deviation
    ///
    /// Coefficients and bounds are in the data's units either way.
    #[arg(long)]
    pub standardize: bool,
    /// How to find the coefficients; auto chooses irls up to 2,000 columns
    ///
    /// One of auto, irls, gradient_descent and admm; without an L1 share and bounds also lbfgs and newton_cg.
    #[arg(long, value_name = "SOLVER", default_value = "auto")]
    pub solver: String,
    /// The columns to learn from [default: all but the target and those that say something of rows]
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', conflicts_with = "drop")]
    pub features: Vec<String>,
    /// The columns not to learn from
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub drop: Vec<String>,
    /// Columns of numbers to treat as categories
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub categorical: Vec<String>,
    /// Missing values: refuse them, drop their rows, or fill in the column's mean and say where
    #[arg(long, value_name = "error|drop|mean", default_value = "error")]
    pub missing: String,
    /// The level of a categorical column that is left out; can be given more than once
    #[arg(long, value_name = "COLUMN=LEVEL")]
    pub reference: Vec<String>,
    /// Fit through the origin
    #[arg(long)]
    pub no_intercept: bool,
    /// How far from the optimum to stop: the relative violation of its conditions [default: 1e-10]
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub tol: Option<f64>,
    /// When to give up [default: 10000]
    #[arg(long, value_name = "N")]
    pub max_iter: Option<usize>,
    /// Write the model to this file; without it no file is written
    #[arg(long, value_name = "MODEL.json")]
    pub output: Option<PathBuf>,
    /// How sure the intervals of coefficients are: above 0, below 1 [default: 0.95]
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, help_heading = INFERENCE)]
    pub confidence: Option<f64>,
    /// What standard errors rest on [default: nonrobust, or clustered with --group]
    #[arg(long, value_name = "nonrobust|hc1|clustered", help_heading = INFERENCE)]
    pub covariance: Option<String>,
    /// Rows with the same number or text in this column hang together: clustered standard errors
    #[arg(long, value_name = "COLUMN", help_heading = INFERENCE)]
    pub group: Option<String>,
    /// What weights are: how often a row was seen, or how exact it is [default: frequency]
    #[arg(long, value_name = "frequency|precision", help_heading = INFERENCE)]
    pub weights_kind: Option<String>,
    /// Estimate the dispersion where the family has it 1
    #[arg(long, help_heading = INFERENCE)]
    pub quasi: bool,
    /// Fit so many falling strengths of the penalty, 1 to 10,000 [default with --cv: 100]
    #[arg(long, value_name = "N", help_heading = PATH)]
    pub path: Option<usize>,
    /// The last strength over the first [default: 1e-4, or 0.01 with fewer rows than columns]
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, help_heading = PATH)]
    pub lambda_min_ratio: Option<f64>,
    /// Choose the strength by cross-validation with so many folds, 3 or more
    #[arg(long, value_name = "K", help_heading = PATH)]
    pub cv: Option<usize>,
    /// The fold that holds each row out: 0 to K-1, or 1 to K [default: drawn]
    #[arg(long, value_name = "COLUMN", help_heading = PATH)]
    pub fold_column: Option<String>,
    /// The least error, or the largest penalty within a standard error of it [default: min]
    #[arg(long, value_name = "min|1se", help_heading = PATH)]
    pub select: Option<String>,
    /// What folds are drawn by [default: 0]
    #[arg(long, value_name = "N", help_heading = PATH)]
    pub seed: Option<u64>,
    /// Where to run, and how to print.
    #[command(flatten)]
    pub job: JobArguments,
}

/// `phalanx predict`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  phalanx predict sweep-out/bikeshare/best_model.json new.csv --output predictions.csv
  phalanx predict model.json 'new/*.csv' --output predictions.csv --cluster processes:2
  phalanx predict claims.json policies.csv --exposure years --output predictions.csv

The output has one row for each row of the data, in its order, and a column `prediction`: the mean
of the target, which for a binomial model is the probability of 1. A multinomial model predicts the
most probable class, and each class has a column `probability=CLASS` beside it. The model must first
reproduce its golden rows.

A model that was fitted with an offset or an exposure predicts at offset 0 and exposure 1, that is
rates, unless --offset or --exposure names a column of the data.")]
pub struct PredictArguments {
    /// The model file
    #[arg(value_name = "MODEL.json")]
    pub model: PathBuf,
    /// CSV (plain or .gz) or Parquet files, or patterns such as 'data/*.csv'
    #[arg(value_name = "DATA", required = true)]
    pub data: Vec<String>,
    /// The CSV file to write
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
    /// What is added to each row's linear predictor [default: 0]
    #[arg(long, value_name = "COLUMN")]
    pub offset: Option<String>,
    /// What each row's target is to be counted on, above 0 [default: 1]
    #[arg(long, value_name = "COLUMN")]
    pub exposure: Option<String>,
    /// Where to run, and how to print.
    #[command(flatten)]
    pub job: JobArguments,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use crate::args::Arguments;

    #[test]
    fn the_help_fits_into_100_columns() {
        let mut command = Arguments::command();
        for path in [&["fit", "glm"][..], &["predict"]] {
            let leaf =
                path.iter().fold(&mut command, |command, name| command.find_subcommand_mut(name).expect("a command"));
            let help = leaf.render_long_help().to_string();
            let long: Vec<&str> = help.lines().filter(|line| line.chars().count() > 100).collect();
            assert_eq!(long, Vec::<&str>::new());
        }
    }
}
