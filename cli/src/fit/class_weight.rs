//! What `--class-weight` says, and what it means for the classes that a target has.

use phalanx_glm::{ClassWeight, ClassWeights};

use crate::{Error, Result, error::did_you_mean};

/// What a row's weight is multiplied by for its class, as it was written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ByClass {
    /// All classes weigh the same.
    Balanced,
    /// By the classes' names, each once.
    Given(Vec<(String, f64)>),
}

impl ByClass {
    /// Reads `balanced`, or `CLASS=NUMBER` with commas between; none where nothing was said.
    pub(crate) fn of(texts: &[String]) -> Result<Option<Self>> {
        match texts {
            [] => return Ok(None),
            [only] if only == "balanced" => return Ok(Some(Self::Balanced)),
            _ => {}
        }
        let mut given: Vec<(String, f64)> = Vec::new();
        for text in texts {
            let parts: Vec<&str> = text.split(',').collect();
            // The name of a class may have commas in it.
            let parts = if parts.iter().all(|part| part.contains('=')) { parts } else { vec![text.as_str()] };
            for part in parts {
                let Some((class, number)) = part.rsplit_once('=').filter(|(class, _)| !class.trim().is_empty()) else {
                    return Err(Error::usage(format!("class_weight is {part:?}, expected balanced or CLASS=NUMBER")));
                };
                let (class, number) = (class.trim(), number.trim());
                let weight = number.parse::<f64>().ok().filter(|weight| *weight >= 0. && weight.is_finite());
                let Some(weight) = weight else {
                    let message = format!("class_weight of {class:?} is {number:?}, expected a number, 0 or more");
                    return Err(Error::usage(message));
                };
                if given.iter().any(|(other, _)| other == class) {
                    let message = format!("class_weight names {class:?} twice, expected one number a class");
                    return Err(Error::usage(message));
                }
                given.push((class.to_owned(), weight));
            }
        }
        Ok(Some(Self::Given(given)))
    }

    /// For two classes, 0 and 1, or the levels of a text.
    pub(crate) fn for_two(&self, levels: &[String]) -> Result<ClassWeight> {
        let Self::Given(given) = self else { return Ok(ClassWeight::Balanced) };
        let mut weights = [1.; 2];
        for (class, weight) in given {
            let place = match code(class, levels)? {
                0. => 0,
                1. => 1,
                _ => return Err(unknown(class, &["0", "1"])),
            };
            weights[place] = *weight;
        }
        Ok(ClassWeight::Given(weights))
    }

    /// For any number of classes: whole numbers, or the levels of a text.
    pub(crate) fn for_many(&self, levels: &[String]) -> Result<ClassWeights> {
        let Self::Given(given) = self else { return Ok(ClassWeights::Balanced) };
        let given = given.iter().map(|(class, weight)| Ok((code(class, levels)?, *weight)));
        given.collect::<Result<_>>().map(ClassWeights::Given)
    }
}

/// The number that stands for a class.
fn code(class: &str, levels: &[String]) -> Result<f64> {
    if levels.is_empty() {
        let code = class.parse::<f64>().ok().filter(|code| code.fract() == 0.);
        return code.ok_or_else(|| {
            Error::failed(format!("class_weight names {class:?}, but the target is numbers; name its classes by them"))
        });
    }
    match levels.iter().position(|level| level == class) {
        Some(place) => Ok(place as f64),
        None => Err(unknown(class, &levels.iter().map(String::as_str).collect::<Vec<_>>())),
    }
}

fn unknown(class: &str, known: &[&str]) -> Error {
    let near = did_you_mean(class, known.iter().copied());
    Error::failed(format!(
        "class_weight names {class:?}, which is no class of the target{near}; they are {}",
        known.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str]) -> Result<Option<ByClass>> {
        ByClass::of(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn classes_are_named_by_numbers_or_levels() {
        let levels = ["no, thanks", "yes"].map(str::to_owned);
        let by = |texts: &[&str], levels: &[String]| {
            of(texts).and_then(|by| by.expect("some").for_two(levels)).map_err(|error| error.to_string())
        };
        assert_eq!(of(&[]).expect("nothing"), None);
        assert_eq!(by(&["balanced"], &[]), Ok(ClassWeight::Balanced));
        assert_eq!(by(&["0=1,1=5"], &[]), Ok(ClassWeight::Given([1., 5.])));
        assert_eq!(by(&["yes=5", "no, thanks=0.5"], &levels), Ok(ClassWeight::Given([0.5, 5.])));
        let many = of(&["3=2,7=0"]).and_then(|by| by.expect("some").for_many(&[])).expect("classes");
        assert_eq!(many, ClassWeights::Given(vec![(3., 2.), (7., 0.)]));
        for (texts, levels, said) in [
            (
                &["yess=5"][..],
                &levels[..],
                "class_weight names \"yess\", which is no class of the target (did you mean \"yes\"?); \
                 they are no, thanks, yes",
            ),
            (&["2=5"], &[], "class_weight names \"2\", which is no class of the target; they are 0, 1"),
            (&["yes=5"], &[], "class_weight names \"yes\", but the target is numbers; name its classes by them"),
            (&["balance"], &[], "class_weight is \"balance\", expected balanced or CLASS=NUMBER"),
            (&["1=-5"], &[], "class_weight of \"1\" is \"-5\", expected a number, 0 or more"),
            (&["1=2", "1=3"], &[], "class_weight names \"1\" twice, expected one number a class"),
        ] {
            assert_eq!(by(texts, levels), Err(said.to_owned()));
        }
    }
}
