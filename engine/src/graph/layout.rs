//! Lays descriptions out flat: each call becomes a node once, in the order in which nodes should run.
//!
//! Every description and argument is looked at a fixed number of times, without recursion, so a million calls are laid
//! out in a fraction of a second.

use std::{collections::HashMap, hash::BuildHasherDefault, ptr, sync::Arc};

use super::{
    AnyDelayed, Argument, ArgumentCode, Graph, GraphError, Kind, Output, TaskOptions,
    order::{Edges, order},
};
use crate::{
    dense::{Dense, NumberHasher},
    id::FunctionId,
    task::{Registry, TaskDef},
    value::Value,
};

/// Lays out everything that `outputs` need.
pub(super) fn lay_out(outputs: &[AnyDelayed], registry: &Registry) -> Result<(Graph, Vec<Output>), GraphError> {
    let mut found = Found::default();
    let mut places = Vec::with_capacity(outputs.len());
    for output in outputs {
        places.push(match &output.0.kind {
            Kind::Value(value) => Output::Value(value.clone()),
            Kind::Remote { task, .. } => Output::Task(*task),
            Kind::Call { .. } => Output::Node(found.call(output)?),
        });
    }
    found.follow_arguments()?;
    let mut roots: Vec<u32> =
        places.iter().filter_map(|place| if let Output::Node(n) = place { Some(*n) } else { None }).collect();
    let mut is_root = vec![false; found.calls.len()];
    roots.retain(|root| !std::mem::replace(&mut is_root[*root as usize], true));
    let edges = Edges { ends: std::mem::take(&mut found.input_ends), inputs: std::mem::take(&mut found.inputs) };
    let order = order(edges, &roots).nodes;
    let (graph, place_of) = found.write(&order, registry)?;
    for place in &mut places {
        if let Output::Node(node) = place {
            *node = place_of[*node as usize];
        }
    }
    Ok((graph, places))
}

/// A described call.
struct Call<'a> {
    def: &'static TaskDef,
    arguments: &'a [Argument],
    options: Option<&'a Arc<TaskOptions>>,
}

/// All calls that outputs need, in the order in which they were found, by which they are numbered here.
#[derive(Default)]
struct Found<'a> {
    calls: Vec<Call<'a>>,
    numbers: Dense<u32>,
    /// The arguments of all calls, one after the other, and where each call's end.
    codes: Vec<ArgumentCode>,
    code_ends: Vec<u32>,
    /// The same for the calls that each needs, once.
    inputs: Vec<u32>,
    input_ends: Vec<u32>,
    constants: Vec<&'a Value>,
    constant_numbers: Dense<u32>,
}

impl<'a> Found<'a> {
    /// The number of a call.
    fn call(&mut self, delayed: &'a AnyDelayed) -> Result<u32, GraphError> {
        let Kind::Call { def, arguments, options } = &delayed.0.kind else { return Err(GraphError::TooLarge) };
        let next = u32::try_from(self.calls.len()).ok().filter(|next| *next < u32::MAX).ok_or(GraphError::TooLarge)?;
        let number = *self.numbers.get_or_insert(delayed.0.number, next);
        if number == next {
            self.calls.push(Call { def, arguments, options: options.as_ref() });
        }
        Ok(number)
    }

    /// Goes through the arguments of all calls, also of those that are found on the way.
    fn follow_arguments(&mut self) -> Result<(), GraphError> {
        // Which call took each call as an input last: one that takes it twice needs it once.
        let mut last_taker: Vec<u32> = Vec::new();
        let mut number = 0;
        while let Some(arguments) = self.calls.get(number as usize).map(|call| call.arguments) {
            for argument in arguments {
                match argument {
                    Argument::One(one) => self.argument(one, number, &mut last_taker)?,
                    Argument::Many(many) => {
                        let n = u32::try_from(many.len()).map_err(|_| GraphError::TooLarge)?;
                        self.codes.push(ArgumentCode::List(n));
                        for one in many {
                            self.argument(one, number, &mut last_taker)?;
                        }
                    }
                }
            }
            self.code_ends.push(u32::try_from(self.codes.len()).map_err(|_| GraphError::TooLarge)?);
            self.input_ends.push(self.inputs.len() as u32);
            number += 1;
        }
        Ok(())
    }

    fn argument(&mut self, one: &'a AnyDelayed, taker: u32, last_taker: &mut Vec<u32>) -> Result<(), GraphError> {
        let code = match &one.0.kind {
            Kind::Call { .. } => {
                let number = self.call(one)?;
                if last_taker.len() < self.calls.len() {
                    last_taker.resize(self.calls.len(), u32::MAX);
                }
                if std::mem::replace(&mut last_taker[number as usize], taker) != taker {
                    self.inputs.push(number);
                }
                ArgumentCode::Node(number)
            }
            Kind::Remote { task, .. } => ArgumentCode::Task(*task),
            Kind::Value(value) => {
                let next = u32::try_from(self.constants.len()).map_err(|_| GraphError::TooLarge)?;
                let number = *self.constant_numbers.get_or_insert(one.0.number, next);
                if number == next {
                    self.constants.push(value);
                }
                ArgumentCode::Constant(number)
            }
        };
        self.codes.push(code);
        Ok(())
    }

    /// Writes the calls down in `order`. Returns where each came to be as well.
    fn write(&self, order: &[u32], registry: &Registry) -> Result<(Graph, Vec<u32>), GraphError> {
        let mut graph = Graph {
            functions: Vec::with_capacity(order.len()),
            ends: Vec::with_capacity(order.len()),
            arguments: Vec::with_capacity(self.codes.len()),
            ..Graph::default()
        };
        let mut place_of = vec![0; order.len()];
        let mut constant_places = vec![u32::MAX; self.constants.len()];
        let mut functions: HashMap<u64, FunctionId, BuildHasherDefault<NumberHasher>> = HashMap::default();
        let mut classes: HashMap<&TaskOptions, u32> = HashMap::new();
        for (number, node) in order.iter().zip(0..) {
            let call = &self.calls[*number as usize];
            place_of[*number as usize] = node;
            let known = functions.get(&(ptr::from_ref(call.def) as u64)).copied();
            let function = match known {
                Some(function) => function,
                None => {
                    let name = call.def.name;
                    let function = registry.find(name).ok_or(GraphError::NotRegistered { name })?;
                    functions.insert(ptr::from_ref(call.def) as u64, function);
                    function
                }
            };
            let start = if *number == 0 { 0 } else { self.code_ends[*number as usize - 1] };
            for code in &self.codes[start as usize..self.code_ends[*number as usize] as usize] {
                graph.arguments.push(match *code {
                    ArgumentCode::Node(input) => ArgumentCode::Node(place_of[input as usize]),
                    ArgumentCode::Constant(constant) => {
                        let place = &mut constant_places[constant as usize];
                        if *place == u32::MAX {
                            *place = graph.constants.len() as u32;
                            graph.constants.push(self.constants[constant as usize].clone());
                        }
                        ArgumentCode::Constant(*place)
                    }
                    other => other,
                });
            }
            graph.functions.push(function);
            graph.ends.push(graph.arguments.len() as u32);
            if let Some(options) = call.options {
                let next = graph.classes.len() as u32;
                let class = *classes.entry(options).or_insert(next);
                if class == next {
                    graph.classes.push((**options).clone());
                }
                graph.options.push((node, class));
            }
        }
        Ok((graph, place_of))
    }
}
