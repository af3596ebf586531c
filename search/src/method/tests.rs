//! What every machine keeps: published schedules, and the same list of trials whatever arrives when.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::*;

/// Rungs as (configurations, budget).
fn table(brackets: &[Bracket]) -> Vec<(usize, Vec<(usize, u64)>)> {
    let rungs = |bracket: &Bracket| bracket.rungs.iter().map(|rung| (rung.n_candidates, rung.resource)).collect();
    brackets.iter().map(|bracket| (bracket.bracket, rungs(bracket))).collect()
}

/// Table 1 of Li et al. 2018 has R = 81 and eta = 3, with these sizes.
#[test]
fn hyperband_has_the_published_brackets() {
    assert_eq!(
        table(&Hyperband::new(81).brackets().expect("brackets")),
        [
            (4, vec![(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)]),
            (3, vec![(34, 3), (11, 9), (3, 27), (1, 81)]),
            (2, vec![(15, 9), (5, 27), (1, 81)]),
            (1, vec![(8, 27), (2, 81)]),
            (0, vec![(5, 81)]),
        ]
    );
    // floor(log_3 243) is 5, though a quotient of logarithms in floats is 4.999999999999999.
    assert_eq!(
        table(&Hyperband::new(243).brackets().expect("brackets")),
        [
            (5, vec![(243, 1), (81, 3), (27, 9), (9, 27), (3, 81), (1, 243)]),
            (4, vec![(98, 3), (32, 9), (10, 27), (3, 81), (1, 243)]),
            (3, vec![(41, 9), (13, 27), (4, 81), (1, 243)]),
            (2, vec![(18, 27), (6, 81), (2, 243)]),
            (1, vec![(9, 81), (3, 243)]),
            (0, vec![(6, 243)]),
        ]
    );
    // What is no power of eta: r is floor(R eta^-s), and budgets grow from there.
    assert_eq!(
        table(&Hyperband::new(100).brackets().expect("brackets")),
        [
            (4, vec![(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)]),
            (3, vec![(34, 3), (11, 9), (3, 27), (1, 81)]),
            (2, vec![(15, 11), (5, 33), (1, 99)]),
            (1, vec![(8, 33), (2, 99)]),
            (0, vec![(5, 100)]),
        ]
    );
    assert_eq!(
        table(&Hyperband::new(16).eta(4.).brackets().expect("brackets")),
        [(2, vec![(16, 1), (4, 4), (1, 16)]), (1, vec![(6, 4), (1, 16)]), (0, vec![(3, 16)])]
    );
    assert_eq!(table(&Hyperband::new(1).brackets().expect("brackets")), [(0, vec![(1, 1)])]);
}

#[test]
fn halving_has_the_sizes_of_its_formula() {
    let of = |halving: SuccessiveHalving, n: usize| table(&[halving.bracket(n).expect("a bracket")]).remove(0).1;
    let plain = SuccessiveHalving::new(1);
    assert_eq!(of(plain.clone(), 27), [(27, 1), (9, 3), (3, 9), (1, 27)]);
    assert_eq!(of(plain.clone().min_resource(4), 100), [(100, 4), (33, 12), (11, 36), (3, 108), (1, 324)]);
    assert_eq!(of(plain.clone().min_resource(4).max_resource(40), 100), [(100, 4), (33, 12), (11, 36)]);
    assert_eq!(of(plain.clone().eta(2.), 10), [(10, 1), (5, 2), (2, 4), (1, 8)]);
    assert_eq!(of(plain.clone().eta(2.5), 10), [(10, 1), (4, 2), (1, 6)]);
    assert_eq!(of(plain, 1), [(1, 1)]);
}

#[test]
fn rungs_of_asha_end_with_the_largest_budget() {
    let of = |asha: Asha| asha.resources().expect("rungs");
    assert_eq!(of(Asha::new(5, 27)), [1, 3, 9, 27]);
    assert_eq!(of(Asha::new(5, 100).min_resource(10).eta(4.)), [10, 40, 100]);
    assert_eq!(of(Asha::new(5, 1)), [1]);
    assert_eq!(of(Asha::new(5, 4).eta(1.2)), [1, 2, 3, 4]);
}

/// Small random numbers for tests: xorshift.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

fn space() -> Space {
    Space::new()
        .log_uniform("alpha", 1e-3, 1.)
        .choice("solver", ["irls", "admm", "gradient"])
        .int_uniform("rho", 1, 9)
        .when("rho", "solver", ["admm"])
}

fn listed() -> Space {
    Space::new().choice("a", [1, 2, 3, 4, 5]).choice("b", [0.1, 0.2, 0.3]).choice("c", ["x", "y"]).when(
        "c",
        "a",
        [2, 4],
    )
}

/// A score that depends on the candidate alone: some fail, and some are equal.
fn score(candidate: &Candidate) -> Option<f64> {
    let text = serde_json::to_string(&(&candidate.params, candidate.budget)).expect("JSON");
    let hash = text.bytes().fold(17_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    match hash % 17 {
        0 => None,
        1 => Some(f64::NAN),
        _ => Some((hash >> 7 & 0xff) as f64 / 32.),
    }
}

/// All candidates by number, and the winner, when so many workers finish in an order drawn by chance.
fn run(method: &Method, space: &Space, seed: u64, n_workers: usize, chance: &mut Chance) -> (Vec<Candidate>, usize) {
    let given = [[("alpha".to_owned(), json!(0.5))].into()];
    let given: &[Params] = if *method == Method::Grid { &[] } else { &given };
    let mut machine = method.machine(space, seed, given, Goal::Minimize).expect("a machine");
    let (mut running, mut all) = (Vec::new(), BTreeMap::new());
    loop {
        let mut done = false;
        while running.len() < n_workers {
            match machine.ask() {
                Ask::Candidate(candidate) => running.push(candidate),
                Ask::Wait => break,
                Ask::Done => {
                    done = true;
                    break;
                }
            }
        }
        if running.is_empty() {
            assert!(done, "it waits for nothing");
            break;
        }
        let candidate: Candidate = running.swap_remove(chance.below(running.len()));
        machine.tell(candidate.number, score(&candidate)).expect("waited for");
        assert!(machine.tell(candidate.number, None).is_err());
        assert!(all.insert(candidate.number, candidate).is_none());
    }
    assert_eq!(machine.n_candidates(), all.len());
    assert!(all.keys().copied().eq(0..all.len()), "a number is missing");
    let all: Vec<Candidate> = all.into_values().collect();
    let level = |candidate: &&Candidate| machine.level(candidate.number);
    let scored: Vec<&Candidate> =
        all.iter().filter(|candidate| score(candidate).is_some_and(|score| !score.is_nan())).collect();
    let top = scored.iter().map(level).max().unwrap_or_default();
    let finalists = scored.into_iter().filter(|candidate| level(candidate) == top);
    let winner = finalists.min_by(|a, b| score(a).unwrap_or_default().total_cmp(&score(b).unwrap_or_default()));
    let winner = winner.map_or(usize::MAX, |winner| winner.number);
    (all, winner)
}

fn methods() -> Vec<(Method, Space)> {
    let param = Resource::Param("max_iter".to_owned());
    vec![
        (Method::Grid, listed()),
        (Random::new(12).into(), space()),
        (Tpe::new(17).n_startup_trials(5).batch_size(3).into(), space()),
        (SuccessiveHalving::new(11).eta(2.).into(), space()),
        (SuccessiveHalving::new(5).resource(param.clone()).into(), space()),
        (Hyperband::new(9).resource(param.clone()).into(), space()),
        (Hyperband::new(10).eta(2.).into(), space()),
        (Asha::new(14, 9).batch_size(3).resource(param).into(), space()),
        (Asha::new(20, 8).eta(2.).batch_size(5).into(), space()),
        (Asha::new(1, 9).batch_size(1).proposals(Proposals::Tpe(Tpe::new(12).n_startup_trials(4))).into(), space()),
    ]
}

/// Three thousand runs: every method under hundreds of seeds, each with one worker and with others in any order.
#[test]
fn arrival_and_workers_change_nothing_and_every_machine_ends() {
    for (method, space) in methods() {
        for seed in 0..100 {
            let chance = &mut Chance(0x9e37_79b9 + seed);
            let expected = run(&method, &space, seed, 1, chance);
            for n_workers in [2, 7, 1000] {
                let found = run(&method, &space, seed, n_workers, chance);
                assert_eq!(found, expected, "{method:?}, seed {seed}, {n_workers} workers");
            }
        }
    }
}

#[test]
fn what_is_given_comes_first_and_counts() {
    let given: Params = [("alpha".to_owned(), json!(0.5)), ("solver".to_owned(), json!("admm"))].into();
    for (method, space) in methods().into_iter().skip(1) {
        let machine = |n: usize| method.machine(&space, 1, &vec![given.clone(); n], Goal::Minimize);
        let mut machine_of_one = machine(1).expect("a machine");
        let Ask::Candidate(first) = machine_of_one.ask() else { panic!("a candidate") };
        assert_eq!((first.number, &first.params["alpha"], &first.params["solver"]), (0, &json!(0.5), &json!("admm")));
        assert!((1..=9).contains(&first.params["rho"].as_i64().expect("drawn")), "{first:?}");
        assert_eq!(machine_of_one.n_candidates(), machine(0).expect("a machine").n_candidates());
        let error = machine(100).expect_err("too many").to_string();
        assert!(error.starts_with("100 configurations are given, but n_trials is "), "{error}");
    }
    let given: Params = [("a".to_owned(), json!(2)), ("b".to_owned(), json!(0.1)), ("c".to_owned(), json!("y"))].into();
    let mut machine =
        Method::Grid.machine(&listed(), 0, std::slice::from_ref(&given), Goal::Minimize).expect("a machine");
    let all: Vec<Candidate> =
        std::iter::from_fn(|| if let Ask::Candidate(candidate) = machine.ask() { Some(candidate) } else { None })
            .collect();
    assert_eq!((all.len(), &all[0].params), (21, &given));
    let different: BTreeSet<String> =
        all.iter().map(|candidate| serde_json::to_string(&candidate.params).expect("JSON")).collect();
    assert_eq!(different.len(), 21);
}

#[test]
fn the_budget_is_a_parameter_or_a_share_of_the_rows() {
    let first = |resource: Resource| {
        let method = Method::from(Hyperband::new(9).resource(resource));
        let mut machine = method.machine(&space(), 1, &[], Goal::Minimize).expect("a machine");
        let Ask::Candidate(first) = machine.ask() else { panic!("a candidate") };
        (first.params.get("max_iter").cloned(), first.budget.expect("a budget").share())
    };
    assert_eq!(first(Resource::Param("max_iter".to_owned())), (Some(json!(1)), 1.));
    assert_eq!(first(Resource::Samples), (None, 1. / 9.));
}

/// A promotion in the paper's words: of 9 on the lowest rung with eta 3 the best 3 go on, the best of them further.
#[test]
fn asha_promotes_the_best_third_once() {
    let asha = Asha::new(9, 9).batch_size(3);
    let space = Space::new().uniform("x", 0., 1.);
    let mut machine = Method::from(asha).machine(&space, 4, &[], Goal::Maximize).expect("a machine");
    let (mut rungs, mut waited) = (vec![Vec::new(); 3], 0);
    loop {
        match machine.ask() {
            Ask::Candidate(candidate) => {
                let x = candidate.params["x"].as_f64().expect("a number");
                rungs[candidate.budget.expect("a budget").rung].push(x);
                machine.tell(candidate.number, Some(x)).expect("waited for");
            }
            Ask::Wait => waited += 1,
            Ask::Done => break,
        }
    }
    assert_eq!(rungs.iter().map(Vec::len).collect::<Vec<_>>()[0], 9);
    assert_eq!(waited, 0);
    let best = rungs[0].iter().copied().fold(0., f64::max);
    assert!(rungs[1].len() >= 3 && rungs[1].contains(&best) && rungs[2].contains(&best), "{rungs:?}");
}

/// On a bowl the best of TPE is on average much better than the best of as many draws.
#[test]
fn tpe_learns_what_draws_do_not() {
    let space = Space::new().uniform("x", -5., 5.).uniform("y", -5., 5.).log_uniform("z", 1e-3, 1e3);
    let loss = |params: &Params| {
        let of = |name: &str| params[name].as_f64().expect("a number");
        (of("x") - 2.).powi(2) + (of("y") + 1.).powi(2) + (of("z").log10() - 1.).powi(2)
    };
    let best = |method: Method, seed: u64| {
        let mut machine = method.machine(&space, seed, &[], Goal::Minimize).expect("a machine");
        let mut best = f64::INFINITY;
        while let Ask::Candidate(candidate) = machine.ask() {
            let loss = loss(&candidate.params);
            best = best.min(loss);
            machine.tell(candidate.number, Some(loss)).expect("waited for");
        }
        best
    };
    let mean = |method: Method| (0..30).map(|seed| best(method.clone(), seed)).sum::<f64>() / 30.;
    let (learned, drawn) = (mean(Tpe::new(60).into()), mean(Random::new(60).into()));
    assert!(learned < drawn / 2., "{learned}, by draws {drawn}");
}

#[test]
fn methods_are_kept_as_json_and_numbers_are_checked() {
    for (method, space) in methods() {
        let text = serde_json::to_string(&method).expect("JSON");
        let back: Method = serde_json::from_str(&text).expect("a method");
        assert_eq!(back, method);
        assert!(back.machine(&space, 0, &[], Goal::Maximize).is_ok());
    }
    let refused = |method: Method| method.machine(&space(), 0, &[], Goal::Maximize).expect_err("refused").to_string();
    assert_eq!(refused(Random::new(0).into()), "n_trials is 0, expected 1 or more");
    assert_eq!(refused(Hyperband::new(9).eta(1.).into()), "eta is 1, expected above 1");
    assert_eq!(refused(Hyperband::new(0).into()), "max_resource is 0, expected 1 or more");
    assert_eq!(refused(Asha::new(4, 2).min_resource(3).into()), "max_resource is 2, expected min_resource or more");
    assert_eq!(refused(Tpe::new(4).batch_size(0).into()), "batch_size is 0, expected 1 or more");
    assert_eq!(
        refused(Method::Grid),
        "parameter alpha: it is drawn from a range, but a grid needs values; list them, or search by random"
    );
}
