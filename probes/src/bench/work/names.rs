//! Operations on names and attributes.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{Job, Step, WorkError, call};
use crate::bench::workload::{CROWD, Operation, TREE};

/// Name of the directory of which `stat` and `readdir` are measured.
const DIR: &str = "crowd";

pub(super) fn prepare(job: &Job) -> Result<(), WorkError> {
    let dir = job.dir.join(DIR);
    if fs::metadata(entry(&dir, CROWD as u64 - 1)).is_ok() {
        return Ok(());
    }
    call("mkdir", &dir, fs::create_dir_all(&dir))?;
    for number in 0..CROWD as u64 {
        let path = entry(&dir, number);
        call("create", &path, File::create(&path))?;
    }
    Ok(())
}

fn entry(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("entry-{number:04}"))
}

/// One thread's operation.
pub(super) fn step(job: &Job, thread: u32) -> Result<Step<'static>, WorkError> {
    let dir = job.dir.clone();
    let block = vec![0x39; job.workload.block()];
    Ok(match job.workload.operation {
        Operation::Stat => {
            let dir = dir.join(DIR);
            Box::new(move |number| {
                let path = entry(&dir, (number + u64::from(thread) * 7) % CROWD as u64);
                call("stat", &path, fs::metadata(&path)).map(|_| 0)
            })
        }
        Operation::Readdir => {
            let dir = dir.join(DIR);
            Box::new(move |_| {
                let found = call("opendir", &dir, fs::read_dir(&dir))?
                    .filter(Result::is_ok)
                    .count();
                if found == CROWD {
                    Ok(0)
                } else {
                    Err(WorkError::WrongEntries {
                        path: dir.clone(),
                        found,
                        expected: CROWD,
                    })
                }
            })
        }
        Operation::Rename => {
            let [from, to] =
                ["rename-from", "rename-to"].map(|name| dir.join(format!("{name}-{thread}")));
            Box::new(move |_| {
                call("create", &from, File::create(&from))?;
                call("rename", &to, fs::rename(&from, &to))?;
                Ok(0)
            })
        }
        Operation::Tree => {
            Box::new(move |number| tree(&dir.join(format!("tree-{thread}-{number}")), &block))
        }
        // A few names in turn, so that nothing depends on one name's being used again at once.
        _ => Box::new(move |number| {
            small_file(dir.join(format!("small-{thread}-{}", number % 64)), &block)
        }),
    })
}

fn small_file(path: PathBuf, contents: &[u8]) -> Result<u64, WorkError> {
    let file = OpenOptions::new().write(true).create_new(true).open(&path);
    let file = call("create", &path, file)?;
    call("write", &path, file.write_all_at(contents, 0))?;
    drop(file);
    let found = call("stat", &path, fs::metadata(&path))?;
    if found.len() != contents.len() as u64 {
        return Err(WorkError::WrongData {
            path,
            offset: found.len(),
        });
    }
    call("unlink", &path, fs::remove_file(&path))?;
    Ok(contents.len() as u64)
}

fn tree(root: &Path, contents: &[u8]) -> Result<u64, WorkError> {
    for dir in 0..TREE {
        let dir = root.join(dir.to_string());
        call("mkdir", &dir, fs::create_dir_all(&dir))?;
        for file in 0..TREE {
            let path = dir.join(file.to_string());
            call("write", &path, fs::write(&path, contents))?;
        }
    }
    call("remove", root, fs::remove_dir_all(root))?;
    Ok((TREE * TREE * contents.len()) as u64)
}
