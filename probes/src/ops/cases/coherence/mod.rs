//! What one side sees of the other's changes: the host works on the exported directory itself, without the
//! volume's client between. Natively both are one directory.

mod data;
mod names;
mod to_host;

use super::prelude::*;
use crate::ops::host::{self, Act};

const SOURCE: &str =
    "linux Documentation/filesystems/9p.rst: cache=none reads and asks the server each time";
