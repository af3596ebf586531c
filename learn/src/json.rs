//! Values that travel as JSON text inside any format, and floats that JSON has no number for.
//!
//! `dyn Estimator` and `dyn Model` say of which type they are beside their fields, which only a self-describing
//! format can read back; the cluster's postcard is none. [`Json`] bridges the two: one JSON string.
//!
//! JSON here keeps every finite float exactly (`serde_json` with `float_roundtrip`). It has no NaN and no infinity:
//! `serde` writes a bare one as `null`, which no float reads back. A field that may hold one is marked
//! `#[serde(with = "phalanx_learn::json::float")]` (or [`floats`] for a vector), which writes the words `"NaN"`,
//! `"inf"` and `"-inf"`. [`Json`] refuses nothing by itself; `check_estimator` finds a model that does not come back.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, de::DeserializeOwned, ser};

use crate::{Error, Result};

/// A value that any format carries as one JSON string.
///
/// ```
/// use phalanx_learn::{DummyRegressor, Estimator, Json};
///
/// let estimator: Json<Box<dyn Estimator>> = Json(Box::new(DummyRegressor::new()));
/// let text = serde_json::to_string(&estimator).unwrap();
/// assert_eq!(text, r#""{\"estimator\":\"DummyRegressor\",\"strategy\":\"mean\"}""#);
/// let back: Json<Box<dyn Estimator>> = serde_json::from_str(&text).unwrap();
/// assert_eq!(back.0.name(), "DummyRegressor");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Json<T>(pub T);

impl<T> Json<T> {
    /// The value itself.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> std::ops::Deref for Json<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> From<T> for Json<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T: Serialize> Serialize for Json<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = serde_json::to_string(&self.0).map_err(ser::Error::custom)?;
        serializer.serialize_str(&text)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Json<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        serde_json::from_str(&text).map(Self).map_err(de::Error::custom)
    }
}

/// A value as JSON text, in its fields' order.
///
/// # Errors
/// When the value has no JSON form, as a map whose keys are not strings.
pub fn to_text<T: Serialize + ?Sized>(what: &str, value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::json(what, error))
}

/// A value from JSON text.
///
/// # Errors
/// When the text is not such a value; the message carries the line and column of the text.
pub fn from_text<T: DeserializeOwned>(what: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| Error::json(what, error))
}

/// `#[serde(with = "phalanx_learn::json::float")]`: an `f64` that may be NaN or infinite.
pub mod float {
    use super::{Deserialize, Deserializer, Number, Serialize, Serializer};

    /// Writes a number, or one of the words `"NaN"`, `"inf"`, `"-inf"`.
    ///
    /// # Errors
    /// As the serializer's.
    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        Number::from(*value).serialize(serializer)
    }

    /// Reads a number, or one of the three words.
    ///
    /// # Errors
    /// When it is neither.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Number::deserialize(deserializer).map(f64::from)
    }
}

/// `#[serde(with = "phalanx_learn::json::floats")]`: a `Vec<f64>` whose numbers may be NaN or infinite.
pub mod floats {
    use super::{Deserialize, Deserializer, Number, Serializer};

    /// Writes each number, or one of the words `"NaN"`, `"inf"`, `"-inf"`.
    ///
    /// # Errors
    /// As the serializer's.
    pub fn serialize<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().copied().map(Number::from))
    }

    /// Reads numbers and the three words.
    ///
    /// # Errors
    /// When one of them is neither.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
        let numbers = Vec::<Number>::deserialize(deserializer)?;
        Ok(numbers.into_iter().map(f64::from).collect())
    }
}

/// A float as JSON can hold it. Untagged, so never put on the wire outside of [`Json`].
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Number {
    Finite(f64),
    Word(Word),
}

#[derive(Serialize, Deserialize)]
enum Word {
    #[serde(rename = "NaN")]
    NaN,
    #[serde(rename = "inf")]
    Infinity,
    #[serde(rename = "-inf")]
    NegInfinity,
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        if value.is_nan() {
            Self::Word(Word::NaN)
        } else if value == f64::INFINITY {
            Self::Word(Word::Infinity)
        } else if value == f64::NEG_INFINITY {
            Self::Word(Word::NegInfinity)
        } else {
            Self::Finite(value)
        }
    }
}

impl From<Number> for f64 {
    fn from(number: Number) -> Self {
        match number {
            Number::Finite(value) => value,
            Number::Word(Word::NaN) => Self::NAN,
            Number::Word(Word::Infinity) => Self::INFINITY,
            Number::Word(Word::NegInfinity) => Self::NEG_INFINITY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    struct Fitted {
        #[serde(with = "float")]
        bound: f64,
        #[serde(with = "floats")]
        weights: Vec<f64>,
    }

    #[test]
    fn floats_come_back_to_the_last_bit_and_words_stand_for_the_others() {
        let weights = vec![0.1 + 0.2, -0.0, f64::MIN_POSITIVE / 8.0, f64::MAX, f64::NAN, f64::NEG_INFINITY];
        let text = to_text("a model", &Fitted { bound: f64::INFINITY, weights: weights.clone() }).expect("JSON");
        assert!(text.starts_with(r#"{"bound":"inf","weights":[0.30000000000000004,-0.0,"#), "{text}");
        assert!(text.ends_with(r#","NaN","-inf"]}"#), "{text}");
        let back: Fitted = from_text("a model", &text).expect("the same");
        let bits = |numbers: &[f64]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back.weights), bits(&weights));
        assert_eq!(back.bound, f64::INFINITY);
    }

    #[test]
    fn a_json_string_crosses_a_format_that_does_not_describe_itself() {
        let value = serde_json::json!({"estimator": "Glm", "alpha": 0.1});
        let data = phalanx_engine::value::Portable::encode(&Json(value.clone())).expect("bytes");
        let back: Json<serde_json::Value> = phalanx_engine::value::Portable::decode(data).expect("a value");
        assert_eq!(back.0, value);
    }

    #[test]
    fn broken_text_says_where() {
        let error = from_text::<Fitted>("a model", r#"{"bound": "big"}"#).expect_err("no such word").to_string();
        assert!(error.starts_with("a model: ") && error.contains("line 1"), "{error}");
    }
}
