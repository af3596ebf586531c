//! Values that arrived: whatever header and buffers they have, reading them is a value or an error.
#![no_main]

use phalanx_array::{Block, TableBlock};
use phalanx_engine::{
    data::{BufferMut, Data},
    value::{Portable, Value},
};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((&[kind, n_header, n_first], rest)) = input.split_first_chunk::<3>() else { return };
    let (header, rest) = rest.split_at(rest.len().min(usize::from(n_header)));
    let (first, second) = rest.split_at(rest.len().min(8 * usize::from(n_first)));
    let received = |bytes: &[u8]| {
        let mut buffer = BufferMut::zeroed(bytes.len());
        buffer.as_mut_bytes().copy_from_slice(bytes);
        buffer.freeze()
    };
    let mut buffers = vec![received(first)];
    if kind >= 128 {
        buffers.push(received(second));
    }
    let value = Value::from_data(Data { header: header.to_vec(), buffers });
    match kind % 4 {
        0 => stays_the_same::<Block>(&value),
        1 => stays_the_same::<TableBlock>(&value),
        2 => stays_the_same::<Vec<(u64, String)>>(&value),
        _ => stays_the_same::<String>(&value),
    }
});

/// What can be read can be written and read again.
fn stays_the_same<T: Portable>(value: &Value) {
    let Ok(read) = value.get::<T>() else { return };
    let data = read.encode().expect("what was read can be written");
    let again = T::decode(data.clone()).expect("what was written can be read");
    assert!(again.encode().expect("written again") == data);
}
