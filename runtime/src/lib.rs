//! Phalanx acts: sockets, threads, processes, and the client.
