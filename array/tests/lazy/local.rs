//! Runs graphs in this thread, without a scheduler: what tests of descriptions need.

use std::collections::HashMap;

use phalanx_engine::{
    graph::{AnyDelayed, Argument, Collection},
    task::Input,
    value::Value,
};

/// What running a collection gave, and how many tasks of which function it took.
#[derive(Debug, Default)]
pub(crate) struct Local {
    results: HashMap<u64, Value>,
    pub(crate) calls: Vec<&'static str>,
    /// Bytes of all that one call was given, the most there was.
    pub(crate) most_input: u64,
    travel: bool,
}

impl Local {
    /// With every result turned into bytes and back, where `travel` says so, as if it went to another worker.
    pub(crate) fn with_travel(travel: bool) -> Self {
        Self { travel, ..Self::default() }
    }

    pub(crate) fn compute<C: Collection>(&mut self, collection: &C) -> C::Output {
        let values = self.run(collection);
        collection.assemble(values).expect("the values are what the collection expects")
    }

    pub(crate) fn persist<C: Collection>(&mut self, collection: &C) -> C {
        let values = self.run(collection);
        collection.rebuild(values.into_iter().map(AnyDelayed::value).collect())
    }

    fn run<C: Collection>(&mut self, collection: &C) -> Vec<Value> {
        collection.outputs().iter().map(|output| self.value(output)).collect()
    }

    fn value(&mut self, delayed: &AnyDelayed) -> Value {
        if let Some(value) = delayed.as_value() {
            return value.clone();
        }
        if let Some(value) = self.results.get(&delayed.number()) {
            return value.clone();
        }
        let (def, arguments) = delayed.as_call().expect("nothing was submitted");
        let inputs: Vec<_> = arguments
            .iter()
            .map(|argument| match argument {
                Argument::One(one) => Input::One(self.value(one)),
                Argument::Many(many) => Input::Many(many.iter().map(|one| self.value(one)).collect()),
            })
            .collect();
        let sizes = inputs.iter().map(|input| match input {
            Input::One(value) => value.n_bytes(),
            Input::Many(values) => values.iter().map(Value::n_bytes).sum(),
        });
        self.most_input = self.most_input.max(sizes.sum());
        let mut value = (def.run)(&inputs).unwrap_or_else(|error| panic!("{} failed: {error}", def.name));
        if self.travel {
            value = Value::from_data(value.to_data().expect("results can be written"));
        }
        self.calls.push(def.name);
        self.results.insert(delayed.number(), value.clone());
        value
    }
}

pub(crate) fn compute<C: Collection>(collection: &C) -> C::Output {
    Local::default().compute(collection)
}
