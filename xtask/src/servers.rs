//! The servers that tests start for themselves: PostgreSQL and Redis. What is missing is installed from the system's packages
//! where that is possible, and otherwise named.

use std::path::Path;
use std::process::Command;

use anyhow::bail;

use crate::shell;

/// Where Debian and its kin keep the programs of PostgreSQL, below a folder for each version.
const POSTGRES_FOLDER: &str = "/usr/lib/postgresql";

/// Sees to it that the servers are there.
///
/// # Errors
/// When one is missing and cannot be installed; says what to do.
pub fn provide() -> anyhow::Result<()> {
    let missing: Vec<&str> = [("postgresql", has_postgres()), ("redis-server", has_redis())]
        .into_iter()
        .filter_map(|(package, there)| (!there).then_some(package))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" and ");
    if !shell::works(Command::new("apt-get").arg("--version")) || !is_root() {
        bail!(
            "{names} must be installed for the tests, for instance with `sudo apt-get install {}`",
            missing.join(" ")
        );
    }
    eprintln!("installing {names}");
    let install = || {
        let mut command = Command::new("apt-get");
        command.args(["install", "--yes", "--no-install-recommends"]).args(&missing);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    // The lists of packages may be missing or old.
    if shell::run(&mut install()).is_err() {
        shell::run(Command::new("apt-get").arg("update"))?;
        shell::run(&mut install())?;
    }
    if has_postgres() && has_redis() { Ok(()) } else { bail!("{names} were installed, but are not found") }
}

fn has_postgres() -> bool {
    shell::works(Command::new("postgres").arg("--version"))
        || std::fs::read_dir(POSTGRES_FOLDER).is_ok_and(|versions| {
            versions.flatten().any(|version| version.path().join("bin/postgres").exists())
        })
}

fn has_redis() -> bool {
    shell::works(Command::new("redis-server").arg("--version"))
}

fn is_root() -> bool {
    // The owner of one's own process's folder; without such folders nobody is taken for root.
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(Path::new("/proc/self")).is_ok_and(|own| own.uid() == 0)
}
