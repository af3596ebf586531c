//! Graphs as their users lay them out: through `#[task]`, from outside of the crate.

#![allow(clippy::unwrap_used, unreachable_pub)]

use std::sync::Arc;

use phalanx_engine::{
    data::DataError,
    graph::{AnyDelayed, ArgumentCode, Collection, Delayed, Graph, Output},
    id::{ClientId, TaskId},
    task,
    task::{Input, Registry},
    value::Value,
};

#[task]
fn add(a: f64, b: f64) -> f64 {
    a + b
}

#[task(name = "test.total")]
fn total(parts: &[Arc<f64>]) -> f64 {
    parts.iter().map(|part| **part).sum()
}

#[task]
fn length(length: &str) -> usize {
    length.len() // a parameter may be named like its function
}

#[task]
#[expect(clippy::ptr_arg, reason = "a parameter names the type of the value that a task is given")]
fn parse(text: &String) -> Result<f64, std::num::ParseFloatError> {
    text.parse()
}

fn registry() -> &'static Registry {
    Registry::linked().unwrap()
}

fn layout<C: Collection>(collection: &C) -> (Graph, Vec<Output>) {
    let (graph, outputs) = Graph::of(&collection.outputs(), registry()).unwrap();
    assert_eq!(graph.check(), Ok(()));
    (graph, outputs)
}

/// Runs a graph here, the way a worker would, one node after the other.
fn run(graph: &Graph) -> Vec<Result<Value, String>> {
    let mut values: Vec<Result<Value, String>> = Vec::new();
    for node in 0..graph.len() as u32 {
        let mut inputs = Vec::new();
        let mut in_list = 0;
        for code in graph.arguments_of(node) {
            let value = match *code {
                ArgumentCode::Node(earlier) => values[earlier as usize].clone().unwrap(),
                ArgumentCode::Constant(place) => graph.constants[place as usize].clone(),
                ArgumentCode::List(n) => {
                    inputs.push(Input::Many(Vec::new()));
                    in_list = n;
                    continue;
                }
                ArgumentCode::Task(task) => panic!("{task} is not here"),
            };
            match inputs.last_mut() {
                Some(Input::Many(list)) if in_list > 0 => {
                    list.push(value);
                    in_list -= 1;
                }
                _ => inputs.push(Input::One(value)),
            }
        }
        values.push((registry().get(graph.functions[node as usize]).unwrap().run)(&inputs));
    }
    values
}

#[test]
fn shared_parts_are_laid_out_once_and_inputs_first() {
    use ArgumentCode::{Constant, Node};
    let three = add::delayed(1., 2.);
    let six = add::delayed(&three, &three);
    let (graph, outputs) = layout(&vec![six.clone(), three, six]);
    assert_eq!(outputs, [Output::Node(1), Output::Node(0), Output::Node(1)]);
    assert_eq!(graph.arguments, [Constant(0), Constant(1), Node(0), Node(0)]);
    assert_eq!(run(&graph)[1], Ok(Value::new(6.)));
}

#[test]
fn depth_comes_first() {
    // Each pair is added before the next leaf is made, so few results are alive at a time.
    let leaf = || add::delayed(1., 1.);
    let pair = || total::delayed(vec![leaf(), leaf()]);
    let (graph, _) = layout(&total::delayed(vec![pair(), pair()]));
    let names: Vec<_> = graph.functions.iter().map(|f| registry().get(*f).unwrap().name).collect();
    let add = "graph::add";
    assert_eq!(names, [add, add, "test.total", add, add, "test.total", "test.total"]);
    assert_eq!(run(&graph)[6], Ok(Value::new(4. + 4.)));
}

#[test]
fn every_form_of_parameter_is_fed() {
    assert_eq!((total(&[]), length("four"), parse(&"1".into())), (0., 4, Ok(1.)));
    let text = Delayed::value(String::from("2.5"));
    let (graph, _) = layout(&(length::delayed(&text), parse::delayed(&text), parse::delayed("x")));
    assert_eq!(graph.constants.len(), 2); // the text is shared
    let message = "invalid float literal".to_owned();
    assert_eq!(run(&graph), [Ok(Value::new(3_usize)), Ok(Value::new(2.5)), Err(message)]);
}

#[test]
fn values_and_submitted_tasks_are_not_laid_out_again() {
    let task = TaskId::new(ClientId(0), 7);
    let guard = Arc::new(());
    let remote = Delayed::<f64>::from_any(AnyDelayed::remote(task, guard.clone()));
    let (graph, outputs) = layout(&(Delayed::value(1.), remote.clone(), add::delayed(&remote, 1.)));
    assert_eq!(outputs, [Output::Value(Value::new(1.)), Output::Task(task), Output::Node(0)]);
    assert_eq!(graph.arguments, [ArgumentCode::Task(task), ArgumentCode::Constant(0)]);
    assert_eq!(Arc::strong_count(&guard), 2); // the description keeps the result alive
    drop(remote);
    assert_eq!(Arc::strong_count(&guard), 1);
}

#[test]
fn options_go_with_their_node() {
    let plain = add::delayed(1., 2.);
    let (graph, _) = layout(&add::delayed(&plain, 1.).retries(3).priority(-2).expected_bytes(8));
    let options = graph.options_of(1);
    assert_eq!((options.retries, options.priority, options.expected_bytes), (3, -2, Some(8)));
    assert_eq!(graph.options.len(), 1);
}

#[test]
fn values_come_home_in_the_shape_they_were_asked_in() {
    let collection = (add::delayed(1., 2.), vec![length::delayed("a"), length::delayed("bc")]);
    let values = run(&layout(&collection).0).into_iter().map(Result::unwrap).collect();
    assert_eq!(collection.assemble(values), Ok((3., vec![1, 2])));
    let mistyped = collection.0.assemble(vec![Value::new("text".to_owned())]);
    assert_eq!(mistyped, Err(DataError::Type { expected: "f64", found: "alloc::string::String" }));
}

#[test]
fn a_wrong_argument_is_named_in_the_error() {
    let run = registry().get(registry().find("graph::add").unwrap()).unwrap().run;
    let text = || Input::One(Value::new("text".to_owned()));
    let one = || Input::One(Value::new(1.));
    let wrong = |inputs: &[Input]| run(inputs).unwrap_err();
    assert_eq!(wrong(&[one(), text()]), "argument 2 (b): the value is a alloc::string::String, expected a f64");
    assert_eq!(wrong(&[one()]), "1 arguments were given, the function takes 2");
    let list = Input::Many(vec![]);
    assert_eq!(wrong(&[one(), list]), "argument 2 (b): the value is a list of values, expected a single value");
}

#[test]
fn signatures_read_as_written() {
    let table = registry().table();
    let signature = |name: &str| table.iter().find(|entry| entry.name == name).unwrap().signature.clone();
    assert_eq!(signature("graph::add"), "(f64, f64) -> f64");
    assert_eq!(signature("test.total"), "(&[Arc<f64>]) -> f64");
    assert_eq!(signature("graph::parse"), "(&String) -> f64");
}

#[test]
fn a_chain_of_a_million_is_laid_out_and_dropped_without_recursion() {
    let mut last = add::delayed(0., 1.);
    for _ in 1..1_000_000 {
        last = add::delayed(last, 1.);
    }
    assert_eq!(layout(&last).0.len(), 1_000_000);
}

#[test]
fn two_functions_of_one_name_are_shown_with_their_places() {
    let def = registry().get(registry().find("test.total").unwrap()).unwrap();
    let message = "two task functions are named test.total: graph::total and graph::total; \
                   give one another name with #[task(name = \"...\")]";
    assert_eq!(Registry::new([def, def]).unwrap_err().to_string(), message);
}

#[test]
fn graphs_from_outside_are_checked_before_anyone_indexes_by_them() {
    let (good, _) = layout(&total::delayed(vec![add::delayed(1., 2.), add::delayed(3., 4.)]));
    let wrong = |change: &dyn Fn(&mut Graph)| {
        let mut graph = good.clone();
        change(&mut graph);
        graph.check().unwrap_err()
    };
    assert_eq!(wrong(&|g| g.ends.truncate(2)), "3 functions but 2 argument ends");
    assert_eq!(wrong(&|g| g.ends[2] = 99), "the arguments of node 2 run from 4 to 99 of 7");
    assert_eq!(wrong(&|g| g.ends[1] = 1), "the arguments of node 1 run from 2 to 1 of 7");
    assert_eq!(wrong(&|g| g.arguments[4] = ArgumentCode::List(3)), "node 2 ends in the middle of a list");
    assert_eq!(wrong(&|g| g.arguments[5] = ArgumentCode::List(1)), "node 2 has a list in a list");
    assert_eq!(wrong(&|g| g.arguments[5] = ArgumentCode::Node(2)), "node 2 needs node 2, which is not before it");
    assert_eq!(wrong(&|g| g.arguments.push(ArgumentCode::Node(0))), "1 arguments belong to no node");
    assert_eq!(wrong(&|g| g.constants.clear()), "node 0 names constant 0 of 0");
    assert_eq!(wrong(&|g| g.options = vec![(7, Default::default())]), "options are not sorted by node");
}
