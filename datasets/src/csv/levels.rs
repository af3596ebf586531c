//! The texts of a categorical column, and the code of each.

use std::{
    cmp::Ordering,
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use super::cell::number;

type ByText<T> = HashMap<Box<[u8]>, T, BuildHasherDefault<Mix>>;

/// The distinct texts of a column while it is read through.
#[derive(Debug, Default)]
pub(crate) struct LevelSet(ByText<()>);

impl LevelSet {
    pub(crate) fn has(&self, text: &[u8]) -> bool {
        self.0.contains_key(text)
    }

    pub(crate) fn add(&mut self, text: &str) {
        self.0.insert(text.as_bytes().into(), ());
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The texts, in no order.
    pub(crate) fn into_texts(self) -> impl Iterator<Item = String> {
        // Only `add` puts texts in, so they are UTF-8.
        self.0.into_keys().filter_map(|text| String::from_utf8(text.into_vec()).ok())
    }
}

/// Sorts levels and removes doubles: by value when all are numbers, otherwise as text.
pub(crate) fn sort(levels: &mut Vec<String>) {
    let values: Option<Vec<f64>> = levels.iter().map(|level| number(level.as_bytes())).collect();
    match values {
        Some(values) => {
            let mut pairs: Vec<(f64, String)> = values.into_iter().zip(levels.drain(..)).collect();
            pairs.sort_by(|a, b| match a.0.total_cmp(&b.0) {
                Ordering::Equal => a.1.cmp(&b.1),
                order => order,
            });
            levels.extend(pairs.into_iter().map(|(_, level)| level));
        }
        None => levels.sort(),
    }
    levels.dedup();
}

/// The code of each level.
#[derive(Debug)]
pub(crate) struct Codes(ByText<u32>);

impl Codes {
    pub(crate) fn new(levels: &[String]) -> Self {
        Self(levels.iter().zip(0..).map(|(level, code)| (level.as_bytes().into(), code)).collect())
    }

    pub(crate) fn get(&self, text: &[u8]) -> Option<u32> {
        self.0.get(text).copied()
    }
}

/// A hash for short texts: every field of a categorical column is looked up, and the standard hash would take most of
/// the time. The number of levels is limited, so texts made to collide cannot hold a reader up for long.
#[derive(Debug, Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.write_u64(word.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)));
        }
        self.write_u64(words.remainder().iter().fold(0, |word, &byte| word << 8 | u64::from(byte)));
    }

    fn write_u64(&mut self, word: u64) {
        // 2^64 divided by the golden ratio, made odd.
        self.0 = (self.0.rotate_left(26) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_usize(&mut self, length: usize) {
        self.write_u64(length as u64);
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(levels: &[&str]) -> Vec<String> {
        let mut levels: Vec<String> = levels.iter().map(|&level| level.to_owned()).collect();
        sort(&mut levels);
        levels
    }

    #[test]
    fn levels_are_sorted_by_value_or_as_text() {
        assert_eq!(sorted(&["10", "9", "-1", "09", "9"]), ["-1", "09", "9", "10"]);
        assert_eq!(sorted(&["10", "9", "b", "B", "\u{e9}"]), ["10", "9", "B", "b", "\u{e9}"]);
        assert_eq!(sorted(&[]), [""; 0]);
    }
}
