//! Sums over the few of many keys that some rows have: columns, or pairs of columns, of a sparse matrix.
//!
//! A panel of rows touches few of a wide matrix's columns, so its sums are kept by key. Up the tree of panels they
//! fill, and become one number a key. Which form a node has follows from its panels alone, so bits do not depend on
//! who combined them. What the numbers mean is not known here.

use serde::{Deserialize, Serialize};

/// Where this share of all keys is there, every key gets its place.
const SHARE: usize = 4;

/// No place.
const NONE: u32 = u32::MAX;

/// A few numbers for each of some keys, sorted; keys that are absent have zeros.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Keyed {
    n_keys: usize,
    /// Numbers a key.
    width: usize,
    /// Ascending; none where all keys are there.
    keys: Option<Vec<u32>>,
    values: Vec<f64>,
}

impl Keyed {
    pub(super) fn new(n_keys: usize, width: usize, keys: Vec<u32>, values: Vec<f64>) -> Self {
        Self { n_keys, width, keys: Some(keys), values }.filled()
    }

    pub(super) fn full(n_keys: usize, width: usize, values: Vec<f64>) -> Self {
        Self { n_keys, width, keys: None, values }
    }

    pub(super) fn empty(n_keys: usize, width: usize) -> Self {
        Self { n_keys, width, keys: Some(Vec::new()), values: Vec::new() }
    }

    /// Gives every key its place where many have one.
    fn filled(self) -> Self {
        let Self { n_keys, width, keys: Some(keys), values } = self else { return self };
        if keys.len() * SHARE < n_keys {
            return Self { n_keys, width, keys: Some(keys), values };
        }
        let mut full = vec![0.; n_keys * width];
        for (&key, value) in keys.iter().zip(values.chunks_exact(width)) {
            full[key as usize * width..][..width].copy_from_slice(value);
        }
        Self::full(n_keys, width, full)
    }

    /// The sums of both; `add` takes those of a key of the earlier rows, and adds those of the later ones.
    pub(super) fn combine_with(mut self, mut right: Self, add: impl Fn(&mut [f64], &[f64])) -> Self {
        let width = self.width;
        match (self.keys.take(), right.keys.take()) {
            (None, None) => {
                for (a, b) in self.values.chunks_exact_mut(width).zip(right.values.chunks_exact(width)) {
                    add(a, b);
                }
                self
            }
            (None, Some(keys)) => {
                for (&key, b) in keys.iter().zip(right.values.chunks_exact(width)) {
                    add(&mut self.values[key as usize * width..][..width], b);
                }
                self
            }
            (Some(keys), None) => {
                for (&key, a) in keys.iter().zip(self.values.chunks_exact_mut(width)) {
                    let place = &mut right.values[key as usize * width..][..width];
                    add(a, place);
                    place.copy_from_slice(a);
                }
                right
            }
            (Some(a), Some(b)) => {
                let (keys, values) = merge((&a, &self.values), (&b, &right.values), width, add);
                Self::new(self.n_keys, width, keys, values)
            }
        }
    }

    /// The sums of both, number by number.
    pub(super) fn add(self, right: Self) -> Self {
        self.combine_with(right, |a, b| a.iter_mut().zip(b).for_each(|(a, b)| *a += b))
    }

    /// Every key that is there, in ascending order, with its numbers.
    pub(super) fn each(&self, mut work: impl FnMut(usize, &[f64])) {
        let numbers = self.values.chunks_exact(self.width);
        match &self.keys {
            None => numbers.enumerate().for_each(|(key, numbers)| work(key, numbers)),
            Some(keys) => keys.iter().zip(numbers).for_each(|(&key, numbers)| work(key as usize, numbers)),
        }
    }
}

fn merge(
    (a, a_values): (&[u32], &[f64]),
    (b, b_values): (&[u32], &[f64]),
    width: usize,
    add: impl Fn(&mut [f64], &[f64]),
) -> (Vec<u32>, Vec<f64>) {
    let room = a.len() + b.len();
    let (mut keys, mut values) = (Vec::with_capacity(room), Vec::with_capacity(room * width));
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        let (left, right) = (a[i], b[j]);
        if left <= right {
            keys.push(left);
            values.extend_from_slice(&a_values[i * width..(i + 1) * width]);
            i += 1;
            if left == right {
                let start = values.len() - width;
                add(&mut values[start..], &b_values[j * width..(j + 1) * width]);
                j += 1;
            }
        } else {
            keys.push(right);
            values.extend_from_slice(&b_values[j * width..(j + 1) * width]);
            j += 1;
        }
    }
    keys.extend_from_slice(&a[i..]);
    values.extend_from_slice(&a_values[i * width..]);
    keys.extend_from_slice(&b[j..]);
    values.extend_from_slice(&b_values[j * width..]);
    (keys, values)
}

/// Gathers a panel's sums; its memory is used again for the next one.
#[derive(Debug)]
pub(super) struct Gather {
    width: usize,
    /// Of each key.
    slots: Vec<u32>,
    keys: Vec<u32>,
    values: Vec<f64>,
}

impl Gather {
    pub(super) fn new(n_keys: usize, width: usize) -> Self {
        Self { width, slots: vec![NONE; n_keys], keys: Vec::new(), values: Vec::new() }
    }

    /// The numbers of a key, zeros at first.
    #[inline(always)]
    pub(super) fn of(&mut self, key: u32) -> &mut [f64] {
        let mut slot = self.slots[key as usize];
        if slot == NONE {
            slot = self.keys.len() as u32;
            self.slots[key as usize] = slot;
            self.keys.push(key);
            self.values.resize(self.values.len() + self.width, 0.);
        }
        let start = slot as usize * self.width;
        &mut self.values[start..start + self.width]
    }

    /// The panel's sums.
    pub(super) fn take(&mut self) -> Keyed {
        self.keys.sort_unstable();
        let mut values = Vec::with_capacity(self.values.len());
        for &key in &self.keys {
            let slot = std::mem::replace(&mut self.slots[key as usize], NONE) as usize;
            values.extend_from_slice(&self.values[slot * self.width..(slot + 1) * self.width]);
        }
        self.values.clear();
        let keys = self.keys.clone();
        self.keys.clear();
        Keyed::new(self.slots.len(), self.width, keys, values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(n_keys: usize, pairs: &[(u32, f64)]) -> Keyed {
        let mut gather = Gather::new(n_keys, 2);
        for &(key, value) in pairs {
            let numbers = gather.of(key);
            numbers[0] += value;
            numbers[1] += 1.;
        }
        gather.take()
    }

    fn dense(sums: &Keyed) -> Vec<f64> {
        let mut all = vec![0.; sums.n_keys * sums.width];
        sums.each(|key, numbers| all[key * sums.width..][..sums.width].copy_from_slice(numbers));
        all
    }

    #[test]
    fn sums_are_those_of_full_vectors_in_either_form() {
        let parts: [&[(u32, f64)]; 4] = [
            &[(9, 1.), (2, 2.), (9, 4.)],
            &[],
            &[(2, 8.), (19, 16.)],
            &[(0, 1.), (1, 2.), (2, 3.), (3, 4.), (9, 5.), (19, 6.)],
        ];
        for (i, a) in parts.iter().enumerate() {
            for b in &parts[i..] {
                let (left, right) = (of(20, a), of(20, b));
                let expected: Vec<f64> = dense(&left).iter().zip(dense(&right)).map(|(a, b)| a + b).collect();
                assert_eq!(dense(&left.clone().add(right.clone())), expected);
                assert_eq!(dense(&right.add(left)), expected);
            }
        }
    }

    #[test]
    fn the_earlier_rows_stay_on_the_left() {
        let last = |a: &mut [f64], b: &[f64]| a[0] = 10. * a[0] + b[0];
        let few = of(20, &[(3, 1.)]);
        let many = of(20, &[(0, 2.), (1, 2.), (2, 2.), (3, 2.), (4, 2.)]);
        assert!(few.keys.is_some() && many.keys.is_none());
        assert_eq!(dense(&few.clone().combine_with(many.clone(), last))[6], 12.);
        assert_eq!(dense(&many.combine_with(few.clone(), last))[6], 21.);
        assert_eq!(dense(&few.clone().combine_with(few, last))[6], 11.);
    }
}
