//! Loading a guest's kernel modules, as modprobe does, from its `modules.dep`.

use std::{
    collections::{HashMap, HashSet},
    ffi::CString,
    fs::{self, File},
    io,
    os::fd::AsRawFd,
    path::Path,
};

/// Loads modules with all that they need, from a directory like `/lib/modules/6.1.0`. One that is built in, or
/// loaded already, is passed over.
///
/// # Errors
/// A sentence that names the module.
pub fn load(directory: &Path, wanted: &[&str]) -> Result<(), String> {
    let list = directory.join("modules.dep");
    let text = fs::read_to_string(&list)
        .map_err(|err| format!("the guest's modules are not at {}: {err}", list.display()))?;
    let built_in = fs::read_to_string(directory.join("modules.builtin")).unwrap_or_default();
    let mut known = Known::parse(&text);
    known.done.extend(built_in.lines().map(name));
    for module in wanted {
        known.load(directory, module)?;
    }
    Ok(())
}

/// The files of these modules and of all that they need, in the order to load them, relative to a directory like
/// `/lib/modules/6.1.0`. One that the kernel does not list is passed over: it is built in, or part of another.
///
/// # Errors
/// A sentence that names the list.
pub fn in_order(directory: &Path, wanted: &[&str]) -> Result<Vec<String>, String> {
    let list = directory.join("modules.dep");
    let text = fs::read_to_string(&list)
        .map_err(|err| format!("there is no list of modules at {}: {err}", list.display()))?;
    let known = Known::parse(&text);
    let mut order = Vec::new();
    for module in wanted {
        known.order(module, &mut order);
    }
    Ok(order)
}

/// Loads the modules of these files, in this order.
///
/// # Errors
/// A sentence that names the file.
pub fn load_files<'a>(
    directory: &Path,
    files: impl IntoIterator<Item = &'a str>,
) -> Result<(), String> {
    for file in files {
        let path = directory.join(file);
        insert(&path).map_err(|err| format!("the guest cannot load {}: {err}", path.display()))?;
    }
    Ok(())
}

struct Known<'a> {
    /// From a module's name to its file and the files that it needs, the nearest first.
    files: HashMap<String, (&'a str, Vec<&'a str>)>,
    done: HashSet<String>,
}

impl<'a> Known<'a> {
    fn parse(text: &'a str) -> Known<'a> {
        let entry = |line: &'a str| {
            let (file, needs) = line.split_once(':')?;
            Some((name(file), (file, needs.split_whitespace().collect())))
        };
        Known {
            files: text.lines().filter_map(entry).collect(),
            done: HashSet::new(),
        }
    }

    fn order(&self, module: &str, order: &mut Vec<String>) {
        let Some((file, needs)) = self.files.get(module) else {
            return;
        };
        if order.iter().any(|known| known == file) {
            return;
        }
        for needed in needs.iter().rev() {
            self.order(&name(needed), order);
        }
        order.push((*file).to_owned());
    }

    fn load(&mut self, directory: &Path, module: &str) -> Result<(), String> {
        if self.done.contains(module) {
            return Ok(());
        }
        let Some((file, needs)) = self.files.get(module).cloned() else {
            return Err(format!(
                "the guest's kernel has no module {module}: {} does not list it",
                directory.join("modules.dep").display()
            ));
        };
        for needed in needs.into_iter().rev() {
            self.load(directory, &name(needed))?;
        }
        let path = directory.join(file);
        insert(&path).map_err(|err| format!("the guest cannot load {}: {err}", path.display()))?;
        self.done.insert(module.to_owned());
        Ok(())
    }
}

/// `kernel/fs/9p/9p.ko` is module `9p`; a hyphen counts as an underscore.
fn name(file: &str) -> String {
    let base = file.rsplit('/').next().unwrap_or(file);
    base.split(".ko").next().unwrap_or(base).replace('-', "_")
}

fn insert(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    let parameters = CString::default();
    // SAFETY: a descriptor and a string that live through the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_finit_module,
            file.as_raw_fd(),
            parameters.as_ptr(),
            0,
        )
    };
    match done {
        -1 => match io::Error::last_os_error() {
            err if err.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            err => Err(err),
        },
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_module_needs_is_known_by_name() {
        let known =
            Known::parse("kernel/net/9p/9pnet.ko:\nkernel/fs/9p/9p.ko: kernel/net/9p/9pnet.ko\n");
        assert_eq!(known.files["9p"].1, vec!["kernel/net/9p/9pnet.ko"]);
        assert_eq!(name("kernel/lib/crc-t10dif.ko.xz"), "crc_t10dif");
    }

    #[test]
    fn what_a_module_needs_comes_before_it_and_once() {
        let tmp = tempfile::tempdir().unwrap();
        let list = "k/9p.ko: k/9pnet.ko\nk/9pnet.ko:\nk/9pnet-fd.ko: k/9pnet.ko\n";
        fs::write(tmp.path().join("modules.dep"), list).unwrap();
        let order = in_order(tmp.path(), &["9pnet_fd", "built_in", "9p"]).unwrap();
        assert_eq!(order, ["k/9pnet.ko", "k/9pnet-fd.ko", "k/9p.ko"]);
    }

    #[test]
    fn a_module_that_nobody_has_is_named() {
        let tmp = tempfile::tempdir().unwrap();
        fs::write(tmp.path().join("modules.dep"), "kernel/a.ko:\n").unwrap();
        let why = load(tmp.path(), &["b"]).unwrap_err();
        assert!(why.contains("no module b"), "{why}");
    }
}
