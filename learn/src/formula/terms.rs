//! The algebra of formulas: which terms a tree stands for, and which categories in them need a column for each level.

use std::collections::{BTreeMap, BTreeSet};

use super::{Factor, Node, Tree};
use crate::{Error, Result};

/// More terms than anybody means.
const MAX_TERMS: usize = 10_000;

/// Factors of one term; more of them have more levels together than there are rows.
const MAX_FACTORS: usize = 8;

/// A product of factors; that of none is the intercept.
pub(super) type Term = Vec<Factor>;

/// Terms in order, each once: `a:b` is `b:a`.
#[derive(Default)]
struct Terms {
    all: Vec<Term>,
    known: BTreeSet<Term>,
}

/// A formula's terms in order, lower degrees first, the intercept among them as the term of no factors.
pub(super) fn expand(tree: &Tree, dot: &[Factor]) -> Result<Vec<Term>> {
    let mut terms = Terms::default();
    terms.insert(Term::new())?;
    match &tree.node {
        Node::Sum(parts) => terms.add_all(parts, dot)?,
        other => terms.add(other, true, dot)?,
    }
    let mut terms = terms.all;
    terms.sort_by_key(Vec::len);
    Ok(terms)
}

impl Terms {
    fn add_all(&mut self, parts: &[(bool, Node)], dot: &[Factor]) -> Result<()> {
        parts.iter().try_for_each(|(adds, node)| self.add(node, *adds, dot))
    }

    fn add(&mut self, node: &Node, adds: bool, dot: &[Factor]) -> Result<()> {
        // `+ 0` is `- 1`.
        let (found, adds) =
            if *node == Node::Nothing { (vec![Term::new()], !adds) } else { (terms_of(node, dot)?, adds) };
        if adds {
            return found.into_iter().try_for_each(|term| self.insert(term));
        }
        let gone: BTreeSet<Term> = found.iter().map(sorted).collect();
        self.all.retain(|term| !gone.contains(&sorted(term)));
        self.known.retain(|term| !gone.contains(term));
        Ok(())
    }

    fn insert(&mut self, term: Term) -> Result<()> {
        if term.len() > MAX_FACTORS {
            let value = format!("with a term of {} factors", term.len());
            return Err(Error::parameter("formula", value, format!("{MAX_FACTORS} or less")));
        }
        if self.known.insert(sorted(&term)) {
            self.all.push(term);
        }
        if self.all.len() > MAX_TERMS {
            return Err(Error::parameter("formula", "of more than 10,000 terms", "less"));
        }
        Ok(())
    }
}

fn terms_of(node: &Node, dot: &[Factor]) -> Result<Vec<Term>> {
    let mut terms = Terms::default();
    match node {
        Node::Nothing | Node::Offset => {}
        Node::Intercept => terms.insert(Term::new())?,
        Node::Dot => dot.iter().try_for_each(|factor| terms.insert(vec![factor.clone()]))?,
        Node::Factor(factor) => terms.insert(vec![factor.clone()])?,
        Node::Sum(parts) => terms.add_all(parts, dot)?,
        Node::Cross(a, b) => {
            let (a, b) = (terms_of(a, dot)?, terms_of(b, dot)?);
            a.iter().chain(&b).try_for_each(|term| terms.insert(term.clone()))?;
            multiply(&a, &b, &mut terms)?;
        }
        Node::Interact(a, b) => multiply(&terms_of(a, dot)?, &terms_of(b, dot)?, &mut terms)?,
        Node::Power(base, power) => {
            let base = terms_of(base, dot)?;
            base.iter().try_for_each(|term| terms.insert(term.clone()))?;
            for _ in 1..*power {
                let before = terms.all.clone();
                multiply(&before, &base, &mut terms)?;
                if terms.all.len() == before.len() {
                    break;
                }
            }
        }
    }
    Ok(terms.all)
}

/// Adds the products of all of these with all of those.
fn multiply(left: &[Term], right: &[Term], terms: &mut Terms) -> Result<()> {
    for a in left {
        for b in right {
            let more = b.iter().filter(|factor| !a.contains(factor));
            terms.insert(a.iter().chain(more).cloned().collect())?;
        }
    }
    Ok(())
}

fn sorted(term: &Term) -> Term {
    let mut sorted = term.clone();
    sorted.sort();
    sorted
}

/// The products that terms become, each factor with whether it has a column for every level (and not one less), so
/// that no product is a combination of those before it.
///
/// Each term of categories stands for all products of some of them with one level left out; those that terms before it
/// have brought are taken away, and what is left is put together again: a product with a factor left out and the same
/// without that factor are together the product with all levels of the factor. Terms with the same numbers share what
/// they have brought. (N. Smith's account of redundancy in patsy's documentation; J. Chambers, T. Hastie, *Statistical
/// Models in S*, 1992, section 2.4.)
pub(super) fn code(terms: &[Term], is_categorical: impl Fn(&Factor) -> bool) -> Vec<Vec<(Factor, bool)>> {
    let mut brought: BTreeMap<BTreeSet<Factor>, BTreeSet<BTreeSet<Factor>>> = BTreeMap::new();
    let mut products = Vec::new();
    for term in terms {
        let numbers: BTreeSet<Factor> = term.iter().filter(|factor| !is_categorical(factor)).cloned().collect();
        let categories: Vec<&Factor> = term.iter().filter(|factor| is_categorical(factor)).collect();
        let known = brought.entry(numbers).or_default();
        // Which factors are in, and which of them have all levels.
        let mut left: Vec<(BTreeSet<Factor>, BTreeSet<Factor>)> = Vec::new();
        for subset in subsets(&categories) {
            if known.insert(subset.clone()) {
                left.push((subset, BTreeSet::new()));
            }
        }
        while let Some((short, long, factor)) = joined(&left) {
            left[long].1.insert(factor);
            left.remove(short);
        }
        for (factors, all) in left {
            let factors = term.iter().filter(|factor| !is_categorical(factor) || factors.contains(factor));
            products.push(factors.map(|factor| (factor.clone(), all.contains(factor))).collect());
        }
    }
    products
}

/// The first product that is another one without a factor that has not all levels there: their places, and the factor.
fn joined(products: &[(BTreeSet<Factor>, BTreeSet<Factor>)]) -> Option<(usize, usize, Factor)> {
    for (short, (few, few_all)) in products.iter().enumerate() {
        for (long, (many, many_all)) in products.iter().enumerate().skip(short + 1) {
            let mut more = many.difference(few);
            if let (Some(factor), None, true) = (more.next(), more.next(), few.is_subset(many))
                && few_all == many_all
                && !many_all.contains(factor)
            {
                return Some((short, long, factor.clone()));
            }
        }
    }
    None
}

/// All subsets, smaller ones first.
fn subsets(factors: &[&Factor]) -> Vec<BTreeSet<Factor>> {
    let n = factors.len();
    let mut all: Vec<BTreeSet<Factor>> = (0_u32..1 << n)
        .map(|chosen| (0..n).filter(|at| chosen >> at & 1 == 1).map(|at| factors[at].clone()).collect())
        .collect();
    all.sort_by_key(BTreeSet::len);
    all
}
