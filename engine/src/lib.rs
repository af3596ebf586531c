//! Phalanx decides: task graphs, messages, the scheduler and worker machines.
