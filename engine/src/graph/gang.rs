//! Calls that run together or not at all: what their options say, and what a graph with them must hold.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ArgumentCode, Graph};

/// A call's place in a gang; `Client::gang` of the runtime gives one to each of its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GangSeat {
    /// Its place, from 0.
    pub rank: u32,
    /// How many members there are.
    pub n_members: u32,
    /// Whether several members may run on one worker.
    pub share_workers: bool,
}

impl Graph {
    /// The nodes of the gang that is in it, by rank; nothing where there is none.
    ///
    /// # Errors
    /// A sentence that says what is wrong: a graph has one gang at most, with all of its members, of which none needs
    /// another.
    pub fn gang(&self) -> Result<Option<Vec<u32>>, String> {
        let mut members: BTreeMap<u32, u32> = BTreeMap::new();
        let mut first = None;
        for (node, class) in &self.options {
            let Some(seat) = self.classes.get(*class as usize).and_then(|options| options.gang) else { continue };
            let GangSeat { n_members, share_workers, .. } = *first.get_or_insert(seat);
            if (seat.n_members, seat.share_workers) != (n_members, share_workers) {
                return Err("a submission has two gangs; submit one, and then the other".into());
            }
            if members.insert(seat.rank, *node).is_some() {
                return Err(format!("a gang has two members of rank {}", seat.rank));
            }
        }
        let Some(GangSeat { n_members, .. }) = first else { return Ok(None) };
        if members.len() != n_members as usize || members.last_key_value().is_some_and(|(rank, _)| *rank >= n_members) {
            let n_found = members.len();
            return Err(format!("{n_found} of the {n_members} members of a gang are calls; all must be"));
        }
        let mut leads_here = vec![false; self.len()];
        let nodes: Vec<u32> = members.into_values().collect();
        nodes.iter().for_each(|node| leads_here[*node as usize] = true);
        for node in 0..self.len() as u32 {
            let needs = |code: &ArgumentCode| matches!(code, ArgumentCode::Node(n) if leads_here[*n as usize]);
            let needs_one = self.arguments_of(node).iter().any(needs);
            if needs_one && nodes.contains(&node) {
                return Err("a member of a gang needs another one, which runs at the same time".into());
            }
            leads_here[node as usize] |= needs_one;
        }
        Ok(Some(nodes))
    }
}
