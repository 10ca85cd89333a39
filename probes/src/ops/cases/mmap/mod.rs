//! Files mapped into memory: which sharing and protection a volume grants, and whether writes arrive.

mod edges;
mod huge;
mod private;
mod shared;
mod sync;
