//! The functions that connected programs know, by one number each, and what is learned of them.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    estimate::Runs,
    place::{UNKNOWN, units},
};
use crate::task::FunctionEntry;

/// Every function that a connected program ever named.
#[derive(Debug, Default)]
pub(super) struct Functions {
    by_name: BTreeMap<String, u32>,
    all: Vec<Function>,
}

#[derive(Debug)]
struct Function {
    entry: FunctionEntry,
    /// Connected programs that have it.
    n_programs: u32,
    /// Connected workers that have it and take tasks.
    n_workers: u32,
    runs: Runs,
    /// Whether a run of it ever waited for other tasks: then how long it keeps a thread says little.
    waits: bool,
    /// The size of its results, in bytes: an average in which the last one counts a quarter.
    mean_bytes: Option<u64>,
    /// Its name, for events.
    label: Arc<str>,
    /// How often it has run, and for how many nanoseconds in all.
    total: (u64, u64),
}

impl Functions {
    /// The function as programs name it.
    pub(super) fn entry(&self, function: u32) -> Option<FunctionEntry> {
        self.all.get(function as usize).map(|f| f.entry.clone())
    }

    /// The function's name, for errors.
    pub(super) fn name(&self, function: u32) -> String {
        self.all.get(function as usize).map_or_else(|| "(unknown)".into(), |f| f.entry.name.clone())
    }

    /// The function's name, for events.
    pub(super) fn label(&self, function: u32) -> Arc<str> {
        self.all.get(function as usize).map_or_else(|| "(unknown)".into(), |f| Arc::clone(&f.label))
    }

    /// Functions that have run, by name: how often, and for how many nanoseconds in all.
    pub(super) fn totals(&self) -> impl Iterator<Item = (Arc<str>, u64, u64)> + '_ {
        let by_name = self.by_name.values().filter_map(|number| self.all.get(*number as usize));
        by_name.filter(|f| f.total.0 > 0).map(|f| (Arc::clone(&f.label), f.total.0, f.total.1))
    }

    /// What a run of it is expected to take, in units, once it has run.
    pub(super) fn estimate(&self, function: u32, class: usize) -> Option<u32> {
        let function = self.all.get(function as usize)?;
        let estimate = function.runs.mean(class).map(units)?;
        Some(if function.waits { estimate.max(UNKNOWN) } else { estimate })
    }

    pub(super) fn n_workers(&self, function: u32) -> u32 {
        self.all.get(function as usize).map_or(0, |f| f.n_workers)
    }

    /// Whether how long it runs is known for inputs of several sizes.
    pub(super) fn differ_by_size(&self, function: u32) -> bool {
        self.all.get(function as usize).is_some_and(|function| function.runs.differ())
    }

    /// What most runs of it stay below, in nanoseconds, for inputs of a size; nothing before there were a few.
    pub(super) fn usual(&self, function: u32, class: usize) -> Option<u64> {
        self.all.get(function as usize)?.runs.usual(class)
    }

    /// Whether a run of it ever waited for tasks that it submitted.
    pub(super) fn waits(&self, function: u32) -> bool {
        self.all.get(function as usize).is_some_and(|function| function.waits)
    }

    pub(super) fn learn(&mut self, function: u32, class: usize, run_ns: u64) {
        if let Some(function) = self.all.get_mut(function as usize) {
            function.runs.learn(class, run_ns);
            function.total.0 += 1;
            function.total.1 = function.total.1.saturating_add(run_ns);
        }
    }

    /// The size that its results have had.
    pub(super) fn mean_bytes(&self, function: u32) -> Option<u64> {
        self.all.get(function as usize)?.mean_bytes
    }

    pub(super) fn learn_bytes(&mut self, function: u32, n_bytes: u64) {
        if let Some(function) = self.all.get_mut(function as usize) {
            let mean = function.mean_bytes.map_or(n_bytes, |mean| mean - mean / 4 + n_bytes / 4);
            function.mean_bytes = Some(mean);
        }
    }

    /// Takes in a program's table, unless a name in it has another signature elsewhere.
    pub(super) fn join(&mut self, table: &[FunctionEntry], is_worker: bool) -> Result<Vec<u32>, String> {
        for (place, entry) in table.iter().enumerate() {
            if let Some(known) = self.by_name.get(&entry.name).map(|known| &self.all[*known as usize])
                && known.n_programs > 0
                && known.entry.signature != entry.signature
            {
                return Err(format!(
                    "the task {} is {} in this program but {} in others of the cluster; build both from one source",
                    entry.name, entry.signature, known.entry.signature
                ));
            }
            if table[..place].last().is_some_and(|before| before.name >= entry.name) {
                return Err(format!("its table of tasks is not sorted by name at {}", entry.name));
            }
        }
        let enter = |entry: &FunctionEntry| {
            let next = self.all.len() as u32;
            let number = *self.by_name.entry(entry.name.clone()).or_insert(next);
            if number == next {
                self.all.push(Function {
                    entry: entry.clone(),
                    n_programs: 0,
                    n_workers: 0,
                    runs: Runs::default(),
                    waits: false,
                    mean_bytes: None,
                    label: entry.name.as_str().into(),
                    total: (0, 0),
                });
            }
            let function = &mut self.all[number as usize];
            if function.n_programs == 0 {
                function.entry = entry.clone();
                function.runs = Runs::default();
                function.mean_bytes = None;
            }
            function.n_programs += 1;
            function.n_workers += u32::from(is_worker);
            number
        };
        Ok(table.iter().map(enter).collect())
    }

    /// A worker that has these functions takes tasks again, or no longer.
    pub(super) fn taken(&mut self, numbers: impl IntoIterator<Item = u32>, takes: bool) {
        for number in numbers {
            if let Some(function) = self.all.get_mut(number as usize) {
                function.n_workers = if takes { function.n_workers + 1 } else { function.n_workers - 1 };
            }
        }
    }

    /// A run of it gave its thread back while it waits.
    pub(super) fn learn_wait(&mut self, function: u32) {
        if let Some(function) = self.all.get_mut(function as usize) {
            function.waits = true;
        }
    }

    pub(super) fn leave(&mut self, numbers: impl IntoIterator<Item = u32>, is_worker: bool) {
        for number in numbers {
            if let Some(function) = self.all.get_mut(number as usize) {
                function.n_programs -= 1;
                function.n_workers -= u32::from(is_worker);
            }
        }
    }
}
