//! `phalanx fit glm --family multinomial`: a target of several classes.

use std::time::Instant;

use phalanx_glm::{ChunkedResponse, MultinomialModel, MultinomialRegression};
use phalanx_learn::{FitOn, ModelFile, preprocess::FittedTableEncoder};
use serde_json::{Map, Value, json};

use super::{
    class_weight::ByClass,
    design,
    estimator::PerColumn,
    inference,
    report::{self, by_name},
    say_dropped,
};
use crate::{
    Error, Result,
    args::FitGlmArguments,
    class_coef::ClassCoefficients,
    data::{Design, Loaded, Takes},
    job,
    output::{self, Screen, count, number, seconds},
    sweep_file::refuse_out_of_range,
};

/// Fits, prints the coefficients of each class, and writes the model where it is asked to.
pub(super) fn fit(arguments: &FitGlmArguments, screen: &Screen) -> Result<()> {
    let asked = Asked::of(arguments)?;
    if let Some(path) = &arguments.output {
        output::check_file(path)?;
    }
    let design = Design { classes: true, ..design(arguments)? };
    if design.log_target || design.roles.offset.is_some() || design.roles.log_offset.is_some() {
        let what = if design.log_target { "a logarithm to predict" } else { "an offset" };
        return Err(Error::usage(format!("the formula has {what}, but family is multinomial, which has none")));
    }
    job::on_cluster(&arguments.job, screen, async |client| {
        let loaded = design.load(client, Takes { codes: false, reads: true }).await?;
        say_dropped(&loaded, screen);
        let estimator = asked.for_data(&loaded)?;
        let response = ChunkedResponse::new(&loaded.y);
        let response = match &loaded.sides.weights {
            Some(weights) => response.sample_weight(weights),
            None => response,
        };
        let start = Instant::now();
        let model = estimator.fit_on(client, &loaded.x, &response).await.map_err(Error::failed)?;
        let elapsed = start.elapsed().as_secs_f64();
        if let Some(path) = &arguments.output {
            let (schema, block) = &loaded.sample;
            ModelFile::new(&estimator, &model, loaded.encoder.clone(), design.target_name(), (schema, block))
                .and_then(|file| file.target_levels(&loaded.levels).save(path))
                .map_err(Error::failed)?;
        }
        let coefficients = ClassCoefficients::of(&model, &loaded.names, &loaded.levels);
        let Some(coefficients) = coefficients else { return Ok(()) };
        report::warn(model.report(), |column| coefficients.is_zero(column), &loaded.names, screen);
        if arguments.job.json {
            let mut answer = as_json(&model, &coefficients, elapsed);
            answer["rows_dropped"] = loaded.n_dropped.into();
            return screen.print_json(&answer);
        }
        screen.print(as_text(&model, &coefficients, elapsed))?;
        match &arguments.output {
            Some(path) => screen.print(format_args!("The model is in {}.", path.display())),
            None => Ok(()),
        }
    })
}

/// An estimator, and what it is to be told when the columns and classes are known.
#[derive(Debug)]
struct Asked {
    estimator: MultinomialRegression,
    penalty_factor: PerColumn,
    class_weight: Option<ByClass>,
}

impl Asked {
    fn of(arguments: &FitGlmArguments) -> Result<Self> {
        refuse_others(arguments)?;
        let defaults = MultinomialRegression::default();
        let estimator = MultinomialRegression {
            alpha: arguments.alpha.unwrap_or(0.),
            l1_ratio: arguments.l1_ratio,
            standardize: arguments.standardize,
            fit_intercept: !arguments.no_intercept,
            tol: arguments.tol.unwrap_or(defaults.tol),
            max_iter: arguments.max_iter.unwrap_or(defaults.max_iter),
            ..defaults
        };
        refuse_out_of_range(&estimator).map_err(Error::usage)?;
        let penalty_factor = PerColumn::factors(&arguments.penalty_factor)?;
        Ok(Self { estimator, penalty_factor, class_weight: ByClass::of(&arguments.class_weight)? })
    }

    /// The estimator for the columns and classes that there are.
    fn for_data(&self, loaded: &Loaded) -> Result<MultinomialRegression> {
        let encoder: &FittedTableEncoder = &loaded.encoder;
        Ok(MultinomialRegression {
            penalty_factor: self.penalty_factor.spread(encoder, &loaded.names, 1.)?,
            class_weight: self.class_weight.as_ref().map(|by| by.for_many(&loaded.levels)).transpose()?,
            fit_intercept: loaded.has_intercept,
            ..self.estimator.clone()
        })
    }
}

/// Refuses what the other families have and this one has not.
fn refuse_others(arguments: &FitGlmArguments) -> Result<()> {
    let text = |value: &Option<String>| value.as_ref().map(|value| format!("{value:?}"));
    let number = |value: &Option<f64>| value.as_ref().map(f64::to_string);
    let list = |values: &[String]| values.first().map(|value| format!("{value:?}"));
    let solver = Some(&arguments.solver).filter(|solver| *solver != "auto").map(|solver| format!("{solver:?}"));
    let others = [
        ("link", text(&arguments.link)),
        ("theta", arguments.theta.map(|theta| theta.to_string())),
        ("power", arguments.power.map(|power| power.to_string())),
        ("delta", number(&arguments.delta)),
        ("quantile", number(&arguments.quantile)),
        ("offset", text(&arguments.offset)),
        ("exposure", text(&arguments.exposure)),
        ("trials", text(&arguments.trials)),
        ("penalty_group", list(&arguments.penalty_group)),
        ("lower", list(&arguments.lower)),
        ("upper", list(&arguments.upper)),
        ("solver", solver),
        ("confidence", number(&arguments.confidence)),
        ("covariance", text(&arguments.covariance)),
        ("group", text(&arguments.group)),
        ("weights_kind", text(&arguments.weights_kind)),
        ("quasi", arguments.quasi.then(|| "set".to_owned())),
        ("path", arguments.path.map(|n| n.to_string())),
        ("lambda_min_ratio", number(&arguments.lambda_min_ratio)),
        ("cv", arguments.cv.map(|k| k.to_string())),
        ("fold_column", text(&arguments.fold_column)),
        ("select", text(&arguments.select)),
        ("seed", arguments.seed.map(|seed| seed.to_string())),
    ];
    match others.into_iter().find_map(|(name, value)| Some((name, value?))) {
        None => Ok(()),
        Some((parameter, value)) => {
            Err(Error::usage(format!("{parameter} is {value}, but family is multinomial, which has none")))
        }
    }
}

/// All of it, for programs. What is not finite is null.
fn as_json(model: &MultinomialModel, found: &ClassCoefficients, seconds: f64) -> Value {
    let of_class = |value: &dyn Fn(usize) -> Value| {
        let named = found.classes.iter().enumerate();
        Value::Object(named.map(|(place, class)| (class.name.clone(), value(place))).collect::<Map<_, _>>())
    };
    let mut answer = json!({
        "family": "multinomial",
        "classes": found.classes.iter().map(|class| &class.name).collect::<Vec<_>>(),
        "reference": found.reference().map(|class| &class.name),
        "intercepts": of_class(&|place| found.classes[place].intercept.into()),
        "coefficients": of_class(&|place| by_name(&found.names, &found.classes[place].coef).into()),
        "seconds": seconds,
    });
    report::add_to_json(&mut answer, model.report(), &found.names);
    inference::add_nothing(&mut answer);
    answer
}

/// The coefficients of the classes and how they were found, for people.
fn as_text(model: &MultinomialModel, found: &ClassCoefficients, elapsed: f64) -> String {
    let report = model.report();
    let explained = if report.null_deviance > 0. {
        format!(" ({:.1} % explained)", (1. - report.deviance / report.null_deviance) * 100.)
    } else {
        String::new()
    };
    let reference = match found.reference() {
        Some(class) => format!("\nThe others are held against {}, whose coefficients are 0.", class.name),
        None => String::new(),
    };
    let n_zero = (0..found.names.len()).filter(|column| found.is_zero(*column)).count();
    format!(
        "{}{reference}\n\nmultinomial model of {} of {} and {}, {n_zero} of them with no weight\n\
         deviance {} of {}{explained}; objective {}\n\
         {} in {} ({}); KKT residual {:.1e}",
        found.to_tables(),
        format_args!("{} classes", found.classes.len()),
        count(report.n_rows, "row"),
        count(found.names.len(), "column"),
        number(report.deviance),
        number(report.null_deviance),
        number(report.objective),
        count(report.n_iter, "step"),
        seconds(elapsed),
        report.stop,
        report.kkt_residual,
    )
}
