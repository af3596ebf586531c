//! YAML as a tree that knows its lines, so that every complaint about a file can say where.
//!
//! `serde`'s derived readers forget where a value stood as soon as they have read it. A [`Node`] keeps the line of
//! every key and value, and its readers name the file, the line, what stands there and what was expected.

use std::{fmt, path::Path};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;

use crate::{
    Error, Result,
    error::{did_you_mean, one_line},
};

/// A value in a YAML file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// The line it begins on, from 1.
    pub(crate) line: u64,
    /// What stands there.
    pub(crate) value: Value,
}

/// What can stand in a YAML file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// A null, a boolean, a number or a text, as JSON has them.
    Scalar(serde_json::Value),
    /// A list.
    List(Vec<Node>),
    /// A map in the file's order.
    Map(Vec<(Key, Node)>),
}

/// A key of a map, with the line it stands on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    pub(crate) line: u64,
    pub(crate) name: String,
}

/// A file being read: what a complaint names first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a>(pub(crate) &'a Path);

impl Source<'_> {
    /// The tree of a whole file.
    pub(crate) fn parse(self, text: &str) -> Result<Node> {
        // YAML 1.2: `no` is a word, and may be a column's name.
        let options = serde_saphyr::options! { strict_booleans: true };
        let root: Spanned<Value> = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let place = error.location().map_or_else(String::new, |place| format!(":{}", place.line()));
            let plain = one_line(&error.without_snippet().to_string());
            // Its own words for the place, which stands in front already.
            let words = plain.split(" at line ").next().unwrap_or(&plain);
            Error::usage(format!("{}{place}: {words}; correct the YAML", self.0.display()))
        })?;
        Ok(Node::from(root))
    }

    /// A complaint about a line.
    pub(crate) fn wrong(self, line: u64, message: impl fmt::Display) -> Error {
        Error::usage(format!("{}:{line}: {message}", self.0.display()))
    }

    /// The map that a node is.
    pub(crate) fn map<'n>(self, what: &str, node: &'n Node) -> Result<&'n [(Key, Node)]> {
        match &node.value {
            Value::Map(entries) => Ok(entries),
            _ => Err(self.wrong(node.line, format!("{what} is {node}, expected keys with values"))),
        }
    }

    /// The map that a node is, whose keys are all known.
    pub(crate) fn known_map<'n>(self, what: &str, node: &'n Node, known: &[&str]) -> Result<&'n [(Key, Node)]> {
        let entries = self.map(what, node)?;
        for (key, _) in entries {
            if !known.contains(&key.name.as_str()) {
                let near = did_you_mean(&key.name, known.iter().copied());
                let message = format!("unknown key {:?} in {what}{near}; known are {}", key.name, known.join(", "));
                return Err(self.wrong(key.line, message));
            }
        }
        Ok(entries)
    }

    /// The text that a node is.
    pub(crate) fn text(self, what: &str, node: &Node) -> Result<String> {
        match &node.value {
            Value::Scalar(serde_json::Value::String(text)) => Ok(text.clone()),
            _ => Err(self.wrong(node.line, format!("{what} is {node}, expected a text"))),
        }
    }

    /// The texts that a node lists; a single one needs no list. Numbers are taken as they are written, since a
    /// column may be called 1986.
    pub(crate) fn texts(self, what: &str, node: &Node) -> Result<Vec<String>> {
        let one = |node: &Node| match &node.value {
            Value::Scalar(serde_json::Value::String(text)) => Ok(text.clone()),
            Value::Scalar(serde_json::Value::Number(number)) => Ok(number.to_string()),
            _ => Err(self.wrong(node.line, format!("{what} is {node}, expected a name or a list of names"))),
        };
        match &node.value {
            Value::List(items) => items.iter().map(one).collect(),
            _ => Ok(vec![one(node)?]),
        }
    }

    /// The truth that a node is.
    pub(crate) fn boolean(self, what: &str, node: &Node) -> Result<bool> {
        match &node.value {
            Value::Scalar(serde_json::Value::Bool(truth)) => Ok(*truth),
            _ => Err(self.wrong(node.line, format!("{what} is {node}, expected true or false"))),
        }
    }

    /// The whole number that a node is.
    pub(crate) fn whole(self, what: &str, node: &Node, least: u64) -> Result<u64> {
        match &node.value {
            Value::Scalar(serde_json::Value::Number(number)) => number.as_u64().filter(|number| *number >= least),
            _ => None,
        }
        .ok_or_else(|| self.wrong(node.line, format!("{what} is {node}, expected a whole number, {least} or more")))
    }
}

impl Node {
    /// The value as JSON.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Scalar(value) => value.clone(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => entries
                .iter()
                .map(|(key, node)| (key.name.clone(), node.to_json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }
}

/// As a complaint quotes it: short, on one line.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Value::Scalar(serde_json::Value::Null) => f.write_str("empty"),
            Value::Scalar(value) => value.fmt(f),
            Value::List(_) => f.write_str("a list"),
            Value::Map(_) => f.write_str("a map"),
        }
    }
}

impl From<Spanned<Value>> for Node {
    fn from(spanned: Spanned<Value>) -> Self {
        Self { line: spanned.referenced.line(), value: spanned.value }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tree;

        impl<'de> Visitor<'de> for Tree {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Scalar(serde_json::Value::Null))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Scalar(value.into()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(Value::Scalar(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(Value::Scalar(value.into()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(Value::Scalar(value.into()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(Value::Scalar(value.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = access.next_element::<Spanned<Value>>()? {
                    items.push(Node::from(item));
                }
                Ok(Value::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
                let mut entries = Vec::new();
                while let Some((key, node)) = access.next_entry::<Spanned<String>, Spanned<Value>>()? {
                    let key = Key { line: key.referenced.line(), name: key.value };
                    entries.push((key, Node::from(node)));
                }
                Ok(Value::Map(entries))
            }
        }

        deserializer.deserialize_any(Tree)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(text: &str) -> Result<Node> {
        Source(Path::new("job.yaml")).parse(text)
    }

    fn refused(text: &str) -> String {
        parse(text).expect_err("refused").to_string()
    }

    #[test]
    fn a_tree_keeps_its_values_and_their_lines() {
        let tree = parse("a: 1\nb:\n  - x\n  - 1e-3\n  - null\nc: {d: true, e: -2}\n").expect("a tree");
        assert_eq!(tree.to_json(), json!({"a": 1, "b": ["x", 0.001, null], "c": {"d": true, "e": -2}}));
        let Value::Map(entries) = &tree.value else { panic!("a map") };
        assert_eq!(
            entries.iter().map(|(key, node)| (key.line, node.line)).collect::<Vec<_>>(),
            [(1, 1), (2, 3), (6, 6)]
        );
    }

    #[test]
    fn numbers_and_words_are_yaml_1_2() {
        let tree = parse("[0.1, 1e3, .5, 10, no, 'true', 0.30000000000000004]").expect("a tree");
        assert_eq!(tree.to_json(), json!([0.1, 1000.0, 0.5, 10, "no", "true", 0.30000000000000004]));
    }

    #[test]
    fn broken_yaml_is_one_line_with_its_place() {
        let message = refused("a: [1, 2\nb: 3\n");
        assert!(message.starts_with("job.yaml:2: ") && message.ends_with("; correct the YAML"), "{message}");
        assert_eq!(message.lines().count(), 1);
        let message = refused("a: 1\na: 2\n");
        assert!(message.starts_with("job.yaml:2: duplicate"), "{message}");
    }
}
