//! What surrounds a program in the VM runtime, beside the volume: its root, its environment, what runs before it.
//!
//! These cases compare the conditions of a stack with the host's ordinary ones, and so are run only where a stack
//! has the runtime's (profile `golem`). Each has the change that a requestor can make, which is run too. What they
//! change outside of their own directory they change back, and they have the machine to themselves.

mod root;
mod start;
