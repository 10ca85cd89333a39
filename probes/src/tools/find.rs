//! Whether a tool is on this machine, its version, and what would bring it.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    recipe::{Case, Recipe, Variant},
    service, sqlite,
};

/// Where programs are, when the environment does not say.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Names the directory of [`installed`] to a child whose world has not this user's environment.
pub const TOOLS_DIR: &str = "PROBE9P_TOOLS";

/// Names this user's `PATH` to such a child.
pub const TOOLS_PATH: &str = "PROBE9P_PATH";

/// Where `scripts/setup --tools` links the programs that it brings from elsewhere than Debian, in the user's cache.
pub fn installed() -> Option<PathBuf> {
    if let Some(dir) = std::env::var_os(TOOLS_DIR) {
        return Some(dir.into());
    }
    Some(server9p::stack::cache::directory()?.join("tools/bin"))
}

/// Where programs are looked for, in this order: `first`, this user's `PATH`, the usual places (an ordinary user's
/// lacks those of services), [`installed`]. Guests, and commands under the VM runtime's conditions, have no `PATH` but
/// may be told this user's.
pub fn search_path(first: Option<PathBuf>) -> io::Result<OsString> {
    let path = std::env::var_os("PATH").or_else(|| std::env::var_os(TOOLS_PATH));
    let mut places: Vec<PathBuf> = first
        .into_iter()
        .chain(std::env::split_paths(&path.unwrap_or_default()))
        .collect();
    for place in std::env::split_paths(DEFAULT_PATH).chain(installed()) {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places.retain(|place| !place.as_os_str().is_empty());
    std::env::join_paths(places).map_err(io::Error::other)
}

/// Says why a variant's cases cannot be run here, with the command that changes that.
pub fn present(recipe: &Recipe, variant: &Variant) -> Result<(), String> {
    let programs = variant.programs.iter().filter(|name| !on_path(name));
    let files = variant
        .files
        .iter()
        .filter(|file| !Path::new(file).exists());
    let missing: Vec<&str> = programs.chain(files).map(String::as_str).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if let Some(dir) = unreachable() {
        return Err(format!(
            "{} needs {}, and {} cannot be looked into from where the case runs: what serves a guest its programs is an \
             ordinary user; install it where everybody may read, such as /usr/local.",
            variant.name.get_ref(),
            missing.join(", "),
            dir.display()
        ));
    }
    let verb = if missing.len() == 1 { "is" } else { "are" };
    let setup = format!("`scripts/setup --tools {}`", recipe.name.get_ref());
    let remedy = match (
        super::is_built_in(recipe.name.get_ref()),
        variant.packages.install_command(),
    ) {
        (true, Some(command)) => format!("{setup} brings what is missing (as does `{command}`)"),
        (true, None) => format!("{setup} brings what is missing"),
        (false, Some(command)) => format!("`{command}` brings what is missing"),
        (false, None) => "its recipe does not say which package brings it".to_owned(),
    };
    Err(format!(
        "{} needs {}, which {verb} not installed; {remedy}.",
        variant.name.get_ref(),
        missing.join(", ")
    ))
}

/// A place where programs may be and that root may not look into: somebody else serves it.
fn unreachable() -> Option<PathBuf> {
    let refused = |dir: &PathBuf| {
        fs::metadata(dir).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    };
    installed().into_iter().find(refused)
}

/// Says why a case cannot become the users that it needs.
pub fn users(recipe: &Recipe, variant: &Variant, case: &Case) -> Result<(), String> {
    let services = recipe.services.iter().filter(|service| {
        case.services
            .iter()
            .any(|name| name.get_ref() == service.id.get_ref())
    });
    let of_services = services.filter_map(|service| service.user.as_deref());
    let named = of_services.filter(|user| !user.starts_with('$'));
    for name in named.chain(case.users.iter().map(String::as_str)) {
        let needs = format!(
            "{}.{} needs the user {name}",
            variant.name.get_ref(),
            case.id.get_ref()
        );
        let user = service::user(name).map_err(|_| {
            let install = variant.packages.install_command();
            let brings =
                install.map_or(String::new(), |command| format!("; `{command}` brings one"));
            format!("{needs}, whom this system does not have{brings}.")
        })?;
        if !can_become(user.uid.as_raw()) {
            return Err(format!(
                "{needs}, whom only the host's root can become: run it as root."
            ));
        }
    }
    Ok(())
}

/// Says what else of the machine a case needs and does not find.
pub fn needs(variant: &Variant, case: &Case) -> Result<(), String> {
    match case.needs.iter().find_map(|need| need.unmet()) {
        None => Ok(()),
        Some(why) => Err(format!(
            "{}.{} {why}.",
            variant.name.get_ref(),
            case.id.get_ref()
        )),
    }
}

/// Whether this process may become the user: as root, in a user namespace that has him.
fn can_become(uid: u32) -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let mapped = map.lines().any(|line| {
        let mut numbers = line.split_whitespace().filter_map(|number| number.parse::<u64>().ok());
        let (first, _, count) = (numbers.next(), numbers.next(), numbers.next());
        matches!((first, count), (Some(first), Some(count)) if (first..first + count).contains(&u64::from(uid)))
    });
    nix::unistd::geteuid().is_root() && mapped
}

/// The variant's version, where it says one.
pub fn version(variant: &Variant) -> Option<String> {
    if variant.builtin.is_some() {
        return Some(sqlite::version());
    }
    let output = Command::new("/bin/sh")
        .arg("-c")
        .arg(variant.version.as_deref()?)
        .env("LC_ALL", "C")
        .env("PATH", search_path(None).ok()?)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

/// True when a program of this name can be executed from `PATH`, or is at this absolute path.
pub fn on_path(program: &str) -> bool {
    path_of(program.as_ref()).is_some()
}

/// The file that this name or path of a program means.
pub fn path_of(program: &OsStr) -> Option<PathBuf> {
    let executable = |path: &PathBuf| {
        path.metadata()
            .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
    };
    if program.as_encoded_bytes().contains(&b'/') {
        return Some(PathBuf::from(program)).filter(executable);
    }
    let path = search_path(None).ok()?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(executable)
}
