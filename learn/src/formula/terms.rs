//! The algebra of formulas: which terms a tree stands for, and which categories in them need a column for each level.

use std::collections::BTreeSet;

use super::{Factor, Node, Tree};
use crate::{Error, Result};

/// More terms than anybody means.
const MAX_TERMS: usize = 10_000;

/// Factors of one term; more of them have more levels together than there are rows.
const MAX_FACTORS: usize = 12;

/// A product of factors; that of none is the intercept.
pub(super) type Term = Vec<Factor>;

/// A formula's terms in order, lower degrees first, the intercept among them as the term of no factors.
pub(super) fn expand(tree: &Tree, dot: &[String]) -> Result<Vec<Term>> {
    let mut terms = vec![Term::new()];
    match &tree.node {
        Node::Sum(parts) => add_all(&mut terms, parts, dot)?,
        other => add(&mut terms, other, true, dot)?,
    }
    terms.sort_by_key(Vec::len);
    if let Some(term) = terms.last().filter(|term| term.len() > MAX_FACTORS) {
        let value = format!("with a term of {} factors", term.len());
        return Err(Error::parameter("formula", value, format!("{MAX_FACTORS} or less")));
    }
    Ok(terms)
}

fn add_all(terms: &mut Vec<Term>, parts: &[(bool, Node)], dot: &[String]) -> Result<()> {
    parts.iter().try_for_each(|(adds, node)| add(terms, node, *adds, dot))
}

fn add(terms: &mut Vec<Term>, node: &Node, adds: bool, dot: &[String]) -> Result<()> {
    if *node == Node::Nothing {
        terms.retain(|term| term.is_empty() != adds);
        if !adds {
            terms.insert(0, Term::new());
        }
        return Ok(());
    }
    let found = terms_of(node, dot)?;
    if adds {
        found.into_iter().for_each(|term| insert(terms, term));
    } else {
        terms.retain(|term| !found.iter().any(|other| same(term, other)));
    }
    if terms.len() > MAX_TERMS {
        return Err(Error::parameter("formula", "of more than 10,000 terms", "less"));
    }
    Ok(())
}

fn terms_of(node: &Node, dot: &[String]) -> Result<Vec<Term>> {
    Ok(match node {
        Node::Nothing | Node::Offset => Vec::new(),
        Node::Intercept => vec![Term::new()],
        Node::Dot => dot.iter().map(|column| vec![Factor::Column(column.clone())]).collect(),
        Node::Factor(factor) => vec![vec![factor.clone()]],
        Node::Sum(parts) => {
            let mut terms = Vec::new();
            add_all(&mut terms, parts, dot)?;
            terms
        }
        Node::Cross(a, b) => {
            let (a, b) = (terms_of(a, dot)?, terms_of(b, dot)?);
            let products = multiply(&a, &b)?;
            let mut terms = Vec::new();
            a.into_iter().chain(b).chain(products).for_each(|term| insert(&mut terms, term));
            terms
        }
        Node::Interact(a, b) => multiply(&terms_of(a, dot)?, &terms_of(b, dot)?)?,
        Node::Power(base, power) => {
            let base = terms_of(base, dot)?;
            let mut terms = base.clone();
            for _ in 1..*power {
                let before = terms.len();
                for term in multiply(&terms, &base)? {
                    insert(&mut terms, term);
                }
                if terms.len() == before {
                    break;
                }
            }
            terms
        }
    })
}

fn multiply(left: &[Term], right: &[Term]) -> Result<Vec<Term>> {
    if left.len().saturating_mul(right.len()) > 10 * MAX_TERMS {
        return Err(Error::parameter("formula", "of more than 10,000 terms", "less"));
    }
    let mut terms = Vec::new();
    for a in left {
        for b in right {
            let mut term = a.clone();
            b.iter().filter(|factor| !a.contains(factor)).for_each(|factor| term.push(factor.clone()));
            insert(&mut terms, term);
        }
    }
    Ok(terms)
}

fn insert(terms: &mut Vec<Term>, term: Term) {
    if !terms.iter().any(|other| same(other, &term)) {
        terms.push(term);
    }
}

/// `a:b` is `b:a`.
fn same(one: &Term, other: &Term) -> bool {
    one.len() == other.len() && one.iter().all(|factor| other.contains(factor))
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
    let mut brought: Vec<(BTreeSet<Factor>, BTreeSet<BTreeSet<Factor>>)> = Vec::new();
    let mut products = Vec::new();
    for term in terms {
        let numbers: BTreeSet<Factor> = term.iter().filter(|factor| !is_categorical(factor)).cloned().collect();
        let categories: Vec<&Factor> = term.iter().filter(|factor| is_categorical(factor)).collect();
        let place = brought.iter().position(|(with, _)| *with == numbers).unwrap_or_else(|| {
            brought.push((numbers, BTreeSet::new()));
            brought.len() - 1
        });
        let known = &mut brought[place].1;
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
