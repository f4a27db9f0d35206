//! A host as a process of its own, on a free port, with a data folder that goes when the test ends.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cairn_model::Principal;
use cairn_model::chain::Hash;
use cairn_store::{Options, Store};
use tempfile::TempDir;

use crate::client::Client;
use crate::{built, eventually};

/// How long a host may take to start or to stop. Generous: debug builds on a busy machine compile components slowly.
const LIMIT: Duration = Duration::from_secs(60);
/// How many lines of the host's log a failed test shows.
const SHOWN_LINES: usize = 60;

/// How to start a host.
#[derive(Debug)]
pub struct Builder {
    plugins: Vec<PathBuf>,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    principals: Vec<(String, Principal)>,
    source: Option<PathBuf>,
    shared: Option<PathBuf>,
}

impl Builder {
    /// Activates this component instead of the files plugin, or a further one.
    #[must_use]
    pub fn plugin(mut self, path: impl Into<PathBuf>) -> Self {
        self.plugins.push(path.into());
        self
    }

    /// Starts with a copy of this data folder.
    #[must_use]
    pub fn copy_of(mut self, data: impl Into<PathBuf>) -> Self {
        self.source = Some(data.into());
        self
    }

    /// Starts on this very data folder, which belongs to somebody else.
    #[must_use]
    pub fn shared(mut self, data: impl Into<PathBuf>) -> Self {
        self.shared = Some(data.into());
        self
    }

    /// Passes an argument to `cairn serve`.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Sets a variable in the host's environment.
    #[must_use]
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Lets this principal in with this key, besides the administrator.
    #[must_use]
    pub fn principal(mut self, key: impl Into<String>, principal: Principal) -> Self {
        self.principals.push((key.into(), principal));
        self
    }

    /// Starts it and waits until it is ready.
    pub async fn start(self) -> TestHost {
        let mut host = self.prepare().await;
        host.run().await;
        host
    }

    /// Starts it without the read models that may be in its data folder, so it builds them from the log.
    pub async fn start_without_read_models(self) -> TestHost {
        let mut host = self.prepare().await;
        let read = host.data().join("read");
        if read.exists() {
            fs::remove_dir_all(&read).expect("the read models can be deleted");
        }
        host.run().await;
        host
    }

    /// Starts it and expects that it refuses to run: its exit status and what it wrote.
    pub async fn start_and_fail(self) -> (ExitStatus, String) {
        let mut host = self.prepare().await;
        host.spawn();
        let status = host.wait_for_end().await;
        assert!(!status.success(), "the host ended well, but was expected to refuse");
        (status, host.log())
    }

    async fn prepare(mut self) -> TestHost {
        if self.plugins.is_empty() {
            self.plugins.push(built::files_plugin());
        }
        let folder = tempfile::Builder::new().prefix("cairn-test-").tempdir().expect("a temporary folder");
        let data = self.shared.clone().unwrap_or_else(|| folder.path().join("data"));
        if let Some(source) = &self.source {
            crate::copy_folder(source, &data);
        }
        fs::create_dir_all(&data).expect("a data folder");
        if !self.principals.is_empty() {
            let store = Store::open(Options::new(&data)).await.expect("the store opens");
            for (key, principal) in &self.principals {
                store.save_key(Hash::of(key.as_bytes()), principal).await.expect("the key is saved");
            }
            store.close().await;
        }
        TestHost { folder, data, builder: self, process: None, address: String::new(), may_end: false }
    }
}

/// A running host. When it is dropped, the process is ended and its log must be free of panics.
#[derive(Debug)]
pub struct TestHost {
    folder: TempDir,
    data: PathBuf,
    builder: Builder,
    process: Option<Child>,
    address: String,
    /// Whether the test itself ended the process.
    may_end: bool,
}

impl TestHost {
    /// A host with the files plugin and nothing in it.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// A host with settings of its own.
    pub fn builder() -> Builder {
        Builder {
            plugins: Vec::new(),
            arguments: Vec::new(),
            variables: Vec::new(),
            principals: Vec::new(),
            source: None,
            shared: None,
        }
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// The file with the administrator's key.
    pub fn key_file(&self) -> PathBuf {
        self.data().join("admin.key")
    }

    /// The administrator's key.
    pub fn key(&self) -> String {
        fs::read_to_string(self.key_file()).expect("the administrator's key").trim().to_owned()
    }

    /// A client with the administrator's key.
    pub fn client(&self) -> Client {
        self.client_of(&self.key())
    }

    /// A client with another key.
    pub fn client_of(&self, key: &str) -> Client {
        Client::new(&self.url(), key)
    }

    /// A bare connection, for what a well-behaved client cannot send.
    pub fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).expect("the host listens")
    }

    /// Everything that the host wrote so far.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The id of the process.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().map(Child::id).expect("the host runs")
    }

    /// Ends it as a power cut would.
    pub async fn kill9(&mut self) {
        self.may_end = true;
        if let Some(mut process) = self.process.take() {
            process.kill().expect("the process can be killed");
            process.wait().expect("the process can be waited for");
        }
    }

    /// Ends it as an operator would: SIGTERM. It must end well and take its address file away.
    pub async fn stop(&mut self) {
        self.may_end = true;
        terminate(self.pid());
        let status = self.wait_for_end().await;
        assert!(status.success(), "the host ended with {status}:\n{}", self.last_lines());
        assert!(!self.data().join("listen").exists(), "a host that stopped well leaves no address behind");
    }

    /// Starts it again on its data folder, on another port.
    pub async fn restart(&mut self) {
        if self.process.is_some() {
            self.stop().await;
        }
        self.run().await;
    }

    async fn run(&mut self) {
        self.spawn();
        let listen = self.data().join("listen");
        let started = Instant::now();
        loop {
            if let Ok(address) = fs::read_to_string(&listen)
                && TcpStream::connect(address.trim()).is_ok()
            {
                address.trim().clone_into(&mut self.address);
                break;
            }
            if let Some(status) = self.try_wait() {
                panic!("the host ended at its start with {status}:\n{}", self.last_lines());
            }
            assert!(started.elapsed() < LIMIT, "the host does not listen:\n{}", self.last_lines());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let client = self.client();
        eventually(LIMIT, || async {
            match client.try_get("/readyz").await {
                Ok(answer) if answer.status == 200 => Ok(()),
                Ok(answer) => Err(format!("{} {}", answer.status, answer.text)),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
    }

    fn spawn(&mut self) {
        // The address file of a host that was killed names a port that may be another's now.
        if self.builder.shared.is_none() {
            let _ = fs::remove_file(self.data.join("listen"));
        }
        let log = File::options().create(true).append(true).open(self.log_path()).expect("a log file");
        let mut command = Command::new(built::cairn());
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(self.data());
        for plugin in &self.builder.plugins {
            command.arg("--plugin").arg(plugin);
        }
        command.args(&self.builder.arguments);
        // Nothing of the surroundings may configure the host under test.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CAIRN_") {
                command.env_remove(name);
            }
        }
        command.envs(self.builder.variables.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a second handle")).stderr(log);
        self.process = Some(command.spawn().expect("the host starts"));
        self.may_end = false;
    }

    fn try_wait(&mut self) -> Option<ExitStatus> {
        let process = self.process.as_mut()?;
        let status = process.try_wait().expect("the process can be waited for")?;
        self.process = None;
        self.may_end = true;
        Some(status)
    }

    async fn wait_for_end(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.try_wait() {
                return status;
            }
            assert!(started.elapsed() < LIMIT, "the host does not end:\n{}", self.last_lines());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("host.log")
    }

    fn last_lines(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }
}

/// Asks a process to end.
fn terminate(pid: u32) {
    let status = Command::new("kill").args(["-TERM", &pid.to_string()]).status().expect("kill(1) starts");
    assert!(status.success(), "process {pid} cannot be asked to end");
}

impl Drop for TestHost {
    fn drop(&mut self) {
        let mut ended_early = None;
        if let Some(mut process) = self.process.take() {
            ended_early = process.try_wait().ok().flatten();
            let _ = process.kill();
            let _ = process.wait();
        }
        if thread::panicking() {
            eprintln!("--- the host's last lines ---\n{}", self.last_lines());
            return;
        }
        if let Some(status) = ended_early.filter(|_| !self.may_end) {
            panic!("the host ended by itself with {status}:\n{}", self.last_lines());
        }
        let log = self.log();
        assert!(!log.contains("panicked at"), "the host panicked:\n{}", panics(&log));
        assert!(no_part_left(&self.data()), "the host left half-written files in {}", self.data().display());
    }
}

/// The lines about panics, each with what follows.
fn panics(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let starts = lines.iter().enumerate().filter(|(_, line)| line.contains("panicked at"));
    starts.map(|(at, _)| lines[at..lines.len().min(at + 5)].join("\n")).collect::<Vec<_>>().join("\n…\n")
}

/// Whether no file is left that was written aside and not moved to its place.
fn no_part_left(data: &Path) -> bool {
    let Ok(entries) = fs::read_dir(data) else { return true };
    entries.flatten().all(|entry| entry.path().extension().is_none_or(|extension| extension != "part"))
}
