//! Counters: the port, and what only this store promises.
