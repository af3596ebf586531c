//! A design as bytes: it travels and lies on disk as the buffers it is made of.

use std::sync::Arc;

use phalanx_array::Block;
use phalanx_engine::{
    data::{Buffer, Data, DataError},
    value::Portable,
};
use serde::{Deserialize, Serialize};

use super::Design;
use crate::kernel::{Layout, NO_CODE};

#[derive(Serialize, Deserialize)]
struct Header {
    layout: Layout,
    n_rows: Option<usize>,
    has_starts: bool,
}

impl Portable for Design {
    fn encode(&self) -> Result<Data, DataError> {
        struct Shared<T>(Arc<Vec<T>>);
        impl<T: bytemuck::NoUninit> AsRef<[u8]> for Shared<T> {
            fn as_ref(&self) -> &[u8] {
                bytemuck::cast_slice(&self.0)
            }
        }
        let layout = Layout::clone(&self.layout);
        let header = Header { layout, n_rows: self.n_rows, has_starts: !self.starts.is_empty() };
        let mut data = Portable::encode(&header)?;
        data.buffers = Portable::encode(&self.dense)?.buffers;
        data.buffers.push(Buffer::from_owner(Shared(Arc::clone(&self.codes))));
        data.buffers.push(Buffer::from_owner(Shared(Arc::clone(&self.starts))));
        data.buffers.push(Buffer::from_owner(Shared(Arc::clone(&self.columns))));
        data.buffers.push(Buffer::from_owner(Shared(Arc::clone(&self.values))));
        Ok(data)
    }

    fn decode(data: Data) -> Result<Self, DataError> {
        let [dense, codes, starts, columns, values] = <[Buffer; 5]>::try_from(data.buffers)
            .map_err(|buffers| broken(format!("{} buffers, expected 5", buffers.len())))?;
        let Header { layout, n_rows, has_starts } = Portable::decode(Data::small(data.header))?;
        let n = n_rows.unwrap_or_default();
        let numbers: Vec<f64> = dense.into_vec()?;
        let codes: Vec<u32> = codes.into_vec()?;
        let starts: Vec<u64> = starts.into_vec()?;
        let columns: Vec<u32> = columns.into_vec()?;
        let values: Vec<f64> = values.into_vec()?;
        let Layout { n_features, dense, sparse, n_codes } = &layout;
        let mut seen: Vec<u32> = dense.iter().chain(sparse).copied().collect();
        seen.sort_unstable();
        let all_once = seen.len() == *n_features && seen.iter().zip(0..).all(|(column, place)| *column == place);
        let is_sparse = |column: &u32| (*column as usize) < sparse.len();
        let n_starts = if has_starts { n.checked_add(1) } else { Some(0) };
        let fits = all_once
            && n.checked_mul(dense.len()) == Some(numbers.len())
            && n.checked_mul(*n_codes) == Some(codes.len())
            && codes.iter().all(|code| *code == NO_CODE || is_sparse(code))
            && n_starts == Some(starts.len())
            && starts.windows(2).all(|pair| pair[0] <= pair[1])
            && starts.first().is_none_or(|first| *first == 0)
            && starts.last().copied().unwrap_or_default() == values.len() as u64
            && columns.len() == values.len()
            && columns.iter().all(is_sparse);
        if !fits {
            return Err(broken(format!("parts that do not fit {n} rows of {n_features} columns")));
        }
        Ok(Self {
            dense: if dense.is_empty() { Block::new(&[0], Vec::new()) } else { Block::new(&[n, dense.len()], numbers) },
            layout: Arc::new(layout),
            n_rows,
            codes: Arc::new(codes),
            starts: Arc::new(starts),
            columns: Arc::new(columns),
            values: Arc::new(values),
        })
    }

    fn n_bytes(&self) -> u64 {
        self.n_bytes()
    }
}

fn broken(message: String) -> DataError {
    DataError::Code { type_name: "phalanx_glm::Design", message }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ndarray::array;
    use phalanx_engine::data::BufferMut;
    use rand::{Rng, RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use sprs::TriMat;

    use super::*;

    fn design() -> Design {
        let mut words = TriMat::new((3, 4));
        words.add_triplet(0, 3, 2.5);
        words.add_triplet(2, 0, -1.);
        Design::new()
            .dense(array![[5., 1.], [6., 2.], [7., 3.]])
            .and_then(|x| x.categorical(&[0, 2, 1], 3, Some(0)))
            .and_then(|x| x.sparse(&words.to_csr()))
            .unwrap()
    }

    #[test]
    fn designs_of_any_parts_travel() {
        let all = design();
        let few = Design::new().categorical(&[0, 1], 2, None).unwrap();
        for design in [Design::new(), all.rows(1..3), all.rows(0..0), all, few] {
            assert_eq!(Design::decode(design.encode().unwrap()).unwrap(), design);
        }
    }

    #[test]
    fn garbage_is_an_error_and_never_a_panic() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let whole = design().encode().unwrap();
        for round in 0..30_000 {
            let mut data = whole.clone();
            if round % 2 == 0 {
                let place = random.random_range(0..data.header.len());
                data.header[place] = random.random_range(0..=255);
            } else {
                let place = random.random_range(0..5);
                let old = data.buffers[place].as_bytes();
                let mut bytes = BufferMut::zeroed(random.random_range(0..old.len() + 9));
                random.fill_bytes(bytes.as_mut_bytes());
                data.buffers[place] = bytes.freeze();
            }
            if let Ok(design) = Design::decode(data) {
                let _ = design.to_array();
            }
        }
    }
}
