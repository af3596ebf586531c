//! What a call is, as a number: two calls of one recipe give the same result.

use super::{ArgumentCode, Graph};
use crate::{data::DataError, fetch::hash, task::Registry, value::Value};

impl Graph {
    /// A fingerprint of a node: its function, its arguments, and those of all calls it needs, whatever their places in
    /// the graph. Results that were submitted before count by their ids. The same in every program.
    ///
    /// # Errors
    /// When a value cannot be written.
    pub fn recipe(&self, node: u32, registry: &Registry) -> Result<u64, DataError> {
        let constants = self.constants.iter().map(of_value).collect::<Result<Vec<u64>, _>>()?;
        let mut nodes: Vec<u64> = Vec::with_capacity(self.len());
        for place in 0..=node {
            let name = registry.get(self.functions[place as usize]).map_or("", |def| def.name);
            let mut words = vec![hash(name.as_bytes())];
            for code in self.arguments_of(place) {
                words.extend(match *code {
                    ArgumentCode::Node(earlier) => [1, nodes[earlier as usize]],
                    ArgumentCode::Task(task) => [2, task.0],
                    ArgumentCode::Constant(constant) => [3, constants[constant as usize]],
                    ArgumentCode::List(n) => [4, u64::from(n)],
                });
            }
            nodes.push(of_words(&words));
        }
        Ok(nodes[node as usize])
    }
}

fn of_value(value: &Value) -> Result<u64, DataError> {
    let data = value.to_data()?;
    let buffers = data.buffers.iter().flat_map(|buffer| [buffer.len() as u64, hash(buffer.as_bytes())]);
    let words: Vec<u64> = [hash(&data.header)].into_iter().chain(buffers).collect();
    Ok(of_words(&words))
}

fn of_words(words: &[u64]) -> u64 {
    hash(&words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>())
}
