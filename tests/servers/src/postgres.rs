//! A PostgreSQL server.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::fs::{Gid, Uid, chown};
use rustix::process::{Signal, geteuid};
use tempfile::TempDir;

use crate::guardian::Guardian;
use crate::process::{ATTEMPTS, children, find, free_port, listens, pause, signal, tail, user, wait_for};

/// The superuser of every server here; it needs no password.
const USER: &str = "cairn";

/// A server with `fsync` on, as a careless administrator would not have it. It ends when this is dropped.
#[derive(Debug)]
pub struct Postgres {
    binaries: PathBuf,
    folder: TempDir,
    port: u16,
    settings: Vec<String>,
    server: Option<Child>,
    guardian: Guardian,
}

impl Postgres {
    /// Makes a cluster and starts a server.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with other settings, each as `name=value`.
    pub fn start_with(settings: &[&str]) -> Self {
        Self::start_in(&std::env::temp_dir(), settings)
    }

    /// The same in a folder below this one, which decides what disk it is on.
    pub fn start_in(parent: &Path, settings: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("cairn-postgres-").tempdir_in(parent);
        let folder = folder.expect("a temporary folder");
        give_away(folder.path());
        let mut server = Self {
            binaries: binaries(),
            guardian: Guardian::over(folder.path()),
            folder,
            port: 0,
            settings: settings.iter().map(|setting| (*setting).to_owned()).collect(),
            server: None,
        };
        server.initialize();
        server.launch();
        server
    }

    /// The URL of the database `postgres`.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// Makes a database; answers its URL.
    pub fn database(&self, name: &str) -> String {
        let sql = format!("CREATE DATABASE \"{name}\" ENCODING 'UTF8' TEMPLATE template0");
        self.sql("postgres", &sql);
        self.url_of(name)
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    /// Runs statements as the superuser; answers what `psql` prints of the rows.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let output = run(&mut self.psql(database, sql));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Begins to run statements as the superuser in a session of their own. Whoever starts it waits for its end, and may find
    /// that the session was cut off.
    pub fn begin_sql(&self, database: &str, sql: &str) -> Child {
        let mut command = self.psql(database, sql);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("psql starts")
    }

    fn psql(&self, database: &str, sql: &str) -> Command {
        let mut command = Command::new(self.binaries.join("psql"));
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d"]);
        command.arg(self.url_of(database)).args(["-c", sql]);
        command
    }

    /// Its port on 127.0.0.1; the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills the server and everything that belongs to it, as a power cut would.
    pub fn kill9(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        let members = children(server.id());
        signal(server.id(), Signal::STOP);
        for pid in children(server.id()).into_iter().chain(members) {
            signal(pid, Signal::KILL);
        }
        server.kill().expect("the server is killed");
        server.wait().expect("the server ends");
        self.guardian.forget();
    }

    /// Stops the server in good order; who is connected is cut off.
    pub fn stop(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        signal(server.id(), Signal::INT);
        server.wait().expect("the server ends");
        self.guardian.forget();
    }

    /// Starts it again, after [`Postgres::kill9`] or [`Postgres::stop`], or over a running one.
    pub fn restart(&mut self) {
        self.stop();
        self.launch();
    }

    /// Halts the server and its sessions: nothing is refused, nothing is answered.
    pub fn pause(&self) {
        self.signal_all(Signal::STOP);
    }

    /// Lets it go on.
    pub fn cont(&self) {
        self.signal_all(Signal::CONT);
    }

    fn signal_all(&self, which: Signal) {
        let Some(server) = &self.server else { return };
        signal(server.id(), which);
        for pid in children(server.id()) {
            signal(pid, which);
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn initialize(&self) {
        let mut command = Command::new(self.binaries.join("initdb"));
        command.args([
            "--no-sync",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--username",
            USER,
            "--pgdata",
        ]);
        run(as_its_user(command.arg(self.data())));
    }

    /// The first time the port may be taken by somebody else in between. Afterwards it is kept, as URLs have it; then what
    /// is left of the server before may be in the way for a moment.
    fn launch(&mut self) {
        let is_first = self.port == 0;
        for _ in 0..ATTEMPTS {
            if is_first {
                self.port = free_port();
            }
            if self.try_launch() {
                return;
            }
            pause();
        }
        panic!("PostgreSQL does not start:\n{}", tail(&self.log()));
    }

    fn try_launch(&mut self) -> bool {
        let log = File::options().create(true).append(true).open(self.log()).expect("a log file");
        let mut command = Command::new(self.binaries.join("postgres"));
        command.arg("-D").arg(self.data()).arg("-p").arg(self.port.to_string());
        for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories=", "shared_buffers=64MB"] {
            command.args(["-c", setting]);
        }
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log file")).stderr(log);
        // A process group of its own: a Ctrl-C in the terminal is not for it.
        let mut server = as_its_user(&mut command).process_group(0).spawn().expect("PostgreSQL starts");
        self.guardian.watch(server.id());
        let mut ended = false;
        wait_for("PostgreSQL does not take connections", || {
            ended = server.try_wait().expect("a process").is_some();
            ended || (listens(self.port) && self.answers())
        });
        if ended {
            return false;
        }
        self.server = Some(server);
        true
    }

    /// It listens before it has recovered.
    fn answers(&self) -> bool {
        let mut command = Command::new(self.binaries.join("pg_isready"));
        command.args(["-q", "-h", "127.0.0.1", "-p"]).arg(self.port.to_string());
        command.status().is_ok_and(|status| status.success())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.cont();
        let Some(mut server) = self.server.take() else { return };
        signal(server.id(), Signal::QUIT);
        // Where it does not end, the guardian sees to it.
        if server.wait().is_ok() {
            self.guardian.forget();
        }
    }
}

/// PostgreSQL refuses to run as root; then it runs as the user that its package makes.
fn as_its_user(command: &mut Command) -> &mut Command {
    match its_user() {
        Some((uid, gid)) => command.uid(uid).gid(gid).current_dir("/"),
        None => command,
    }
}

fn its_user() -> Option<(u32, u32)> {
    geteuid().is_root().then(|| {
        user("postgres")
            .expect("PostgreSQL does not run as root, and there is no user `postgres` to run it as")
    })
}

fn give_away(folder: &Path) {
    if let Some((uid, gid)) = its_user() {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        chown(folder, Some(uid), Some(gid)).expect("the folder is given to PostgreSQL's user");
    }
}

fn binaries() -> PathBuf {
    let mut folders: Vec<PathBuf> = Vec::new();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        folders.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut installed: Vec<_> = versions.map(|entry| entry.path().join("bin")).collect();
    installed.sort();
    folders.extend(installed.into_iter().rev());
    let server = find("postgres", &folders).unwrap_or_else(|| {
        panic!("there is no PostgreSQL on this machine: install the package `postgresql` (Debian, Ubuntu, Homebrew)")
    });
    server.parent().expect("a folder").to_owned()
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
