//! Files mapped into memory: which sharing and protection a volume grants, and whether writes arrive.

mod edges;
mod private;
mod shared;
