//! Runs described work here, with every value sent through bytes, as if each task ran in another process.

use std::collections::BTreeMap;

use phalanx_engine::{
    graph::{AnyDelayed, Argument, Collection},
    task::Input,
    value::Value,
};

/// What came out, and how often each function was called.
pub(crate) struct Computed<T> {
    pub(crate) output: T,
    pub(crate) calls: BTreeMap<&'static str, usize>,
}

/// Computes a collection; an error is the first task's that failed.
pub(crate) fn compute<C: Collection>(collection: &C) -> Result<Computed<C::Output>, String> {
    let mut run = Run { done: BTreeMap::new(), calls: BTreeMap::new() };
    let values: Result<Vec<Value>, String> = collection.outputs().iter().map(|node| run.value(node)).collect();
    let output = collection.assemble(values?).map_err(|error| error.to_string())?;
    Ok(Computed { output, calls: run.calls })
}

struct Run {
    done: BTreeMap<u64, Value>,
    calls: BTreeMap<&'static str, usize>,
}

impl Run {
    fn value(&mut self, node: &AnyDelayed) -> Result<Value, String> {
        if let Some(value) = self.done.get(&node.number()) {
            return Ok(value.clone());
        }
        let value = match node.as_call() {
            None => node.as_value().unwrap().clone(),
            Some((def, arguments)) => {
                let inputs: Result<Vec<Input>, String> = arguments
                    .iter()
                    .map(|argument| match argument {
                        Argument::One(node) => Ok(Input::One(self.value(node)?)),
                        Argument::Many(nodes) => {
                            Ok(Input::Many(nodes.iter().map(|node| self.value(node)).collect::<Result<_, _>>()?))
                        }
                    })
                    .collect();
                *self.calls.entry(def.name).or_default() += 1;
                (def.run)(&inputs?)?
            }
        };
        let travelled = Value::from_data(value.to_data().unwrap());
        self.done.insert(node.number(), travelled.clone());
        Ok(travelled)
    }
}
