//! Where an axis is cut: integers only.
//!
//! Every chunk begins at a multiple of [`PANEL`] and only the last may end elsewhere. What lies in the chunks is
//! not known here.

use std::{fmt, ops::Range, sync::Arc};

use crate::{
    error::{Error, Result},
    panel::PANEL,
};

/// An axis and its cuts. There is always at least one chunk; only the one chunk of an empty axis is empty.
///
/// ```
/// use phalanx_array::Chunks;
/// let rows = Chunks::uniform(1000, 512).unwrap();
/// assert_eq!(rows.sizes(), [512, 488]);
/// assert_eq!(rows.range(1), 512..1000);
/// assert!(Chunks::uniform(1000, 100).is_err()); // not a multiple of PANEL
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Chunks {
    /// The first row of every chunk, then the length of the axis.
    cuts: Arc<[usize]>,
}

impl Chunks {
    /// Chunks of `size` rows, the last one shorter.
    ///
    /// # Errors
    /// When `size` is not a positive multiple of [`PANEL`], unless one chunk holds the whole axis.
    pub fn uniform(len: usize, size: usize) -> Result<Self> {
        if size == 0 {
            return Err(Error::Parameter { name: "chunk size", value: "0".into(), expected: "a multiple of PANEL" });
        }
        if size >= len {
            return Ok(Self::single(len));
        }
        if !size.is_multiple_of(PANEL) {
            return Err(Error::OffPanel { chunk: 0, size });
        }
        Ok(Self { cuts: (0..len).step_by(size).chain([len]).collect() })
    }

    /// Chunks of `panels` panels each, the last one shorter; at least one panel.
    pub fn of_panels(len: usize, panels: usize) -> Self {
        let size = panels.max(1).saturating_mul(PANEL);
        if size >= len {
            return Self::single(len);
        }
        Self { cuts: (0..len).step_by(size).chain([len]).collect() }
    }

    /// The whole axis in one chunk.
    pub fn single(len: usize) -> Self {
        Self { cuts: [0, len].into() }
    }

    /// Chunks of the given sizes.
    ///
    /// # Errors
    /// When there are none, when one of several is empty, or when one that is not the last is no multiple of
    /// [`PANEL`].
    pub fn from_sizes(sizes: &[usize]) -> Result<Self> {
        let expected = "at least one chunk, none of them empty";
        if sizes.is_empty() || (sizes.len() > 1 && sizes.contains(&0)) {
            return Err(Error::Parameter { name: "chunk sizes", value: format!("{sizes:?}"), expected });
        }
        let mut cuts = Vec::with_capacity(sizes.len() + 1);
        cuts.push(0_usize);
        for (chunk, size) in sizes.iter().enumerate() {
            if chunk + 1 < sizes.len() && !size.is_multiple_of(PANEL) {
                return Err(Error::OffPanel { chunk, size: *size });
            }
            let end = cuts[chunk].checked_add(*size);
            let too_long = || Error::Parameter { name: "chunk sizes", value: format!("{sizes:?}"), expected };
            cuts.push(end.ok_or_else(too_long)?);
        }
        Ok(Self { cuts: cuts.into() })
    }

    /// Length of the axis.
    pub fn len(&self) -> usize {
        self.cuts[self.cuts.len() - 1]
    }

    /// Whether the axis is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many chunks.
    pub fn n_chunks(&self) -> usize {
        self.cuts.len() - 1
    }

    /// The rows of one chunk.
    ///
    /// # Panics
    /// When there is no such chunk.
    pub fn range(&self, chunk: usize) -> Range<usize> {
        self.cuts[chunk]..self.cuts[chunk + 1]
    }

    /// The rows of every chunk.
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.cuts.windows(2).map(|cut| cut[0]..cut[1])
    }

    /// Rows of every chunk.
    pub fn sizes(&self) -> Vec<usize> {
        self.ranges().map(|rows| rows.len()).collect()
    }

    /// Rows of the largest chunk.
    pub fn largest(&self) -> usize {
        self.ranges().map(|rows| rows.len()).max().unwrap_or(0)
    }

    /// The global index of a chunk's first panel.
    pub fn first_panel(&self, chunk: usize) -> usize {
        self.range(chunk).start / PANEL
    }

    /// The chunks that hold part of `rows`, each with those rows counted from its own start.
    pub fn overlaps(&self, rows: Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> + '_ {
        let first = self.cuts.partition_point(|cut| *cut <= rows.start).saturating_sub(1);
        (first..self.n_chunks())
            .map(|chunk| (chunk, self.range(chunk)))
            .take_while(move |(_, here)| here.start < rows.end)
            .map(move |(chunk, here)| {
                (chunk, rows.start.max(here.start) - here.start..rows.end.min(here.end) - here.start)
            })
            .filter(|(_, part)| !part.is_empty())
    }

    /// How an axis of another length is cut in the same manner: chunks as large as the largest here.
    #[must_use]
    pub fn like(&self, len: usize) -> Self {
        Self::of_panels(len, self.largest().div_ceil(PANEL))
    }
}

impl fmt::Debug for Chunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunks{:?}", self.sizes())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn only_the_last_chunk_is_ragged() {
        assert_eq!(Chunks::uniform(1000, 256).unwrap().sizes(), [256, 256, 256, 232]);
        assert_eq!(Chunks::uniform(512, 256).unwrap().sizes(), [256, 256]);
        assert_eq!(Chunks::uniform(10, 1000).unwrap().sizes(), [10]);
        assert_eq!(Chunks::uniform(0, 256).unwrap().sizes(), [0]);
        assert_eq!(Chunks::from_sizes(&[256, 512, 3]).unwrap().sizes(), [256, 512, 3]);
        assert_eq!(Chunks::from_sizes(&[256, 100, 3]), Err(Error::OffPanel { chunk: 1, size: 100 }));
        assert_eq!(Chunks::uniform(1000, 300), Err(Error::OffPanel { chunk: 0, size: 300 }));
        for sizes in [&[][..], &[256, 0, 1], &[PANEL << 55, PANEL << 55, 1]] {
            assert!(matches!(Chunks::from_sizes(sizes), Err(Error::Parameter { .. })), "{sizes:?}");
        }
    }

    #[test]
    fn overlaps_cover_a_range_once_and_in_order() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..2_000 {
            let mut sizes: Vec<_> = (0..random.random_range(1..9)).map(|_| PANEL * random.random_range(1..4)).collect();
            sizes.push(random.random_range(1..PANEL));
            let chunks = Chunks::from_sizes(&sizes).unwrap();
            let start = random.random_range(0..=chunks.len());
            let end = random.random_range(start..=chunks.len());
            let rows: Vec<_> = chunks
                .overlaps(start..end)
                .flat_map(|(chunk, part)| part.map(move |row| (chunk, row)))
                .map(|(chunk, row)| chunks.range(chunk).start + row)
                .collect();
            assert_eq!(rows, (start..end).collect::<Vec<_>>(), "{start}..{end} of {chunks:?}");
            assert!((0..chunks.n_chunks()).all(|chunk| chunks.first_panel(chunk) * PANEL == chunks.range(chunk).start));
        }
    }
}
