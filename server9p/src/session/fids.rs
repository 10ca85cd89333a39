//! The fids of a session.

use std::{
    collections::{HashMap, hash_map},
    sync::{Arc, RwLock},
};

use rustix::io::Errno;

use crate::export::{Fid, Result};

#[derive(Debug)]
pub(super) struct Fids {
    table: RwLock<HashMap<u32, Arc<Fid>>>,
    most: usize,
}

impl Fids {
    pub fn new(most: usize) -> Fids {
        Fids {
            table: RwLock::default(),
            most,
        }
    }

    pub fn get(&self, number: u32) -> Option<Arc<Fid>> {
        self.table
            .read()
            .expect("no holder of this lock panics")
            .get(&number)
            .cloned()
    }

    /// EINVAL, as QEMU has it, where a fid is in use; EMFILE where there are too many.
    pub fn check_new(&self, number: u32) -> Result<()> {
        let table = self.table.read().expect("no holder of this lock panics");
        if number == rs9p::NOFID || table.contains_key(&number) {
            return Err(Errno::INVAL);
        }
        if table.len() >= self.most {
            Err(Errno::MFILE)
        } else {
            Ok(())
        }
    }

    pub fn insert(&self, number: u32, fid: Arc<Fid>) -> Result<()> {
        match self
            .table
            .write()
            .expect("no holder of this lock panics")
            .entry(number)
        {
            hash_map::Entry::Occupied(_) => Err(Errno::INVAL),
            hash_map::Entry::Vacant(place) => {
                place.insert(fid);
                Ok(())
            }
        }
    }

    /// Makes a fid that is in use stand for something else.
    pub fn replace(&self, number: u32, fid: Arc<Fid>) {
        self.table
            .write()
            .expect("no holder of this lock panics")
            .insert(number, fid);
    }

    pub fn remove(&self, number: u32) -> Option<Arc<Fid>> {
        self.table
            .write()
            .expect("no holder of this lock panics")
            .remove(&number)
    }

    pub fn take_all(&self) -> Vec<Arc<Fid>> {
        let mut table = self.table.write().expect("no holder of this lock panics");
        std::mem::take(&mut *table).into_values().collect()
    }
}
