//! FIFOs, sockets and devices as entries of a directory, and programs run from one.

mod exec;
mod node;
