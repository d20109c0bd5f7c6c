//! The real `cliquepay` binary as a process, and the troubles it must survive.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use http::Method;
use tempfile::TempDir;

use crate::client::Client;
use crate::http::{Endpoint, HttpError};

/// The name of the server under test.
pub const SERVER_NAME: &str = "cliquepay.test";
/// How long a start may take. It replays the write-ahead log, under strace perhaps.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long an orderly stop may take.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Why the server could not be run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// There is no binary.
    #[error("no cliquepay binary at {0}: build it (cargo build -p homeserver) or set CLIQUEPAY_BIN")]
    NoBinary(PathBuf),
    /// Files or processes.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The address.
    #[error("{0}")]
    Http(#[from] HttpError),
    /// It ended before it answered.
    #[error("the server ended with {status}; its last words:\n{log}")]
    Ended {
        /// How.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// It never answered.
    #[error("the server did not answer within {START_LIMIT:?}; its last words:\n{0}")]
    Silent(String),
    /// It is not running.
    #[error("the server is not running")]
    NotRunning,
    /// It did not stop when asked.
    #[error("the server did not end within {0:?}")]
    StillRunning(Duration),
    /// A helper command of the system failed.
    #[error("{command} failed: {message}")]
    Helper {
        /// The command.
        command: String,
        /// What it said.
        message: String,
    },
}

/// What a test asks of the server.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Where the data lies; a folder inside the server's temporary one when `None`.
    pub data_dir: Option<PathBuf>,
    /// Whether writes are synced before they are acknowledged. Off only to see a check fail.
    pub sync: bool,
    /// Further lines of TOML for the end of the configuration: whole tables.
    pub extra: String,
    /// A command that runs the binary: the binary and its arguments are appended to it. It must keep its process id.
    pub wrapper: Vec<String>,
}

impl Default for Setup {
    fn default() -> Self {
        Self { data_dir: None, sync: true, extra: String::new(), wrapper: Vec::new() }
    }
}

/// The configuration of the server under test: TOML.
#[must_use]
pub fn config(address: SocketAddr, data_dir: &Path, setup: &Setup) -> String {
    format!(
        r#"server_name = "{SERVER_NAME}"
data_dir = {data_dir:?}
listen = ["{address}"]
rate_limits = false

[auth.registration]
enabled = true
without_verification = true

[store]
sync = {sync}

{extra}
"#,
        data_dir = data_dir.display().to_string(),
        sync = setup.sync,
        extra = setup.extra,
    )
}

/// The binary under test: `CLIQUEPAY_BIN`, or `cliquepay` in the target folder that this test was built into.
///
/// # Errors
/// [`ServerError::NoBinary`].
pub fn binary() -> Result<PathBuf, ServerError> {
    let path = match std::env::var_os("CLIQUEPAY_BIN") {
        Some(path) => PathBuf::from(path),
        None => {
            // Integration tests lie in `deps`, one folder below the binaries.
            let test = std::env::current_exe()?;
            let folder = test.ancestors().nth(2).unwrap_or(Path::new("."));
            folder.join("cliquepay")
        }
    };
    if path.is_file() { Ok(path) } else { Err(ServerError::NoBinary(path)) }
}

/// A running server. Dropping it kills the process and deletes its folder.
#[derive(Debug)]
pub struct Server {
    binary: PathBuf,
    setup: Setup,
    folder: TempDir,
    endpoint: Endpoint,
    child: Option<Child>,
}

impl Server {
    /// Starts it on a free loopback port and waits until `/versions` answers.
    ///
    /// # Errors
    /// [`ServerError`].
    pub async fn start(setup: Setup) -> Result<Self, ServerError> {
        let binary = binary()?;
        let folder = tempfile::Builder::new().prefix("cliquepay-test-").tempdir()?;
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let endpoint = Endpoint::new(address)?;
        let mut server = Self { binary, setup, folder, endpoint, child: None };
        server.write_config()?;
        server.launch().await?;
        Ok(server)
    }

    fn write_config(&self) -> Result<(), ServerError> {
        let text = config(self.endpoint.address(), &self.data_dir(), &self.setup);
        Ok(fs::write(self.config_path(), text)?)
    }

    /// The configuration file.
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("cliquepay.toml")
    }

    /// The data folder.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.setup.data_dir.clone().unwrap_or_else(|| self.folder.path().join("data"))
    }

    /// A folder of this server's own, deleted with it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where it listens; the same across restarts.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        self.endpoint.url()
    }

    /// The process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    /// The end of what it wrote to its standard output and error.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = File::open(self.log_path())?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(4000)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        read().unwrap_or_default()
    }

    fn spawn(&mut self) -> Result<(), ServerError> {
        let log = OpenOptions::new().create(true).append(true).open(self.log_path())?;
        let mut words = self.setup.wrapper.iter();
        let mut command = match words.next() {
            Some(first) => {
                let mut command = Command::new(first);
                command.args(words).arg(&self.binary);
                command
            }
            None => Command::new(&self.binary),
        };
        clear_settings(&mut command);
        command.arg("--config").arg(self.config_path());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn()?);
        Ok(())
    }

    /// Starts the process again on the same data and port.
    ///
    /// # Errors
    /// [`ServerError`].
    pub async fn launch(&mut self) -> Result<(), ServerError> {
        self.spawn()?;
        let begun = Instant::now();
        let probe = Client::anonymous(self.endpoint.clone());
        while begun.elapsed() < START_LIMIT {
            if let Some(status) = self.try_wait()? {
                return Err(ServerError::Ended { status, log: self.log_tail() });
            }
            let limit = Duration::from_secs(5);
            let reply = probe.raw(Method::GET, "/_matrix/client/versions", None, limit).await;
            if reply.is_ok_and(|reply| reply.status.is_success()) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(ServerError::Silent(self.log_tail()))
    }

    /// How it ended, where it has; it can be launched again afterwards.
    ///
    /// # Errors
    /// [`ServerError::Io`].
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>, ServerError> {
        let Some(child) = self.child.as_mut() else {
            return Ok(None);
        };
        let status = child.try_wait()?;
        if status.is_some() {
            self.child = None;
        }
        Ok(status)
    }

    /// SIGKILL, and waits until it is gone.
    ///
    /// # Errors
    /// [`ServerError::NotRunning`] when it has ended by itself before.
    pub fn kill(&mut self) -> Result<(), ServerError> {
        if let Some(status) = self.try_wait()? {
            return Err(ServerError::Ended { status, log: self.log_tail() });
        }
        let mut child = self.child.take().ok_or(ServerError::NotRunning)?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// SIGTERM, and waits until it has ended in good order.
    ///
    /// # Errors
    /// [`ServerError::StillRunning`] when it does not.
    pub async fn stop(&mut self) -> Result<ExitStatus, ServerError> {
        let pid = self.pid().ok_or(ServerError::NotRunning)?;
        run("kill", &["-TERM", &pid.to_string()])?;
        self.wait(STOP_LIMIT).await
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// [`ServerError::StillRunning`] when it does not within `limit`.
    pub async fn wait(&mut self, limit: Duration) -> Result<ExitStatus, ServerError> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            if begun.elapsed() > limit {
                return Err(ServerError::StillRunning(limit));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Runs one of the binary's admin commands on the same configuration. The server must not run.
    ///
    /// # Errors
    /// [`ServerError::Io`]; a failing command is not an error here.
    pub fn admin(&self, arguments: &[&str]) -> Result<Output, ServerError> {
        let mut command = Command::new(&self.binary);
        clear_settings(&mut command);
        command.arg("--config").arg(self.config_path()).args(arguments).stdin(Stdio::null());
        Ok(command.output()?)
    }
}

/// The configuration file alone counts, not what the caller's environment sets.
fn clear_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CLIQUEPAY_") {
            command.env_remove(name);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = self.child.as_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs a helper command of the system to its end.
///
/// # Errors
/// [`ServerError::Helper`] when it fails.
pub fn run(command: &str, arguments: &[&str]) -> Result<(), ServerError> {
    let output = Command::new(command).args(arguments).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(ServerError::Helper {
        command: format!("{command} {}", arguments.join(" ")),
        message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// A file system in memory with a size limit; unmounted when dropped. Mounting needs root.
#[derive(Debug)]
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// Mounts one of `mebibytes`.
    ///
    /// # Errors
    /// [`ServerError::Helper`] with the reason when mounting is not permitted.
    pub fn mount(mebibytes: u32) -> Result<Self, ServerError> {
        let folder = tempfile::Builder::new().prefix("cliquepay-disk-").tempdir()?;
        let place = folder.path().display().to_string();
        run("mount", &["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs", &place])?;
        Ok(Self { folder })
    }

    /// Gives it another size; what is on it stays.
    ///
    /// # Errors
    /// [`ServerError::Helper`].
    pub fn resize(&self, mebibytes: u32) -> Result<(), ServerError> {
        let place = self.folder.path().display().to_string();
        run("mount", &["-o", &format!("remount,size={mebibytes}m"), &place])
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let place = self.folder.path().display().to_string();
        let _ = run("umount", &["-l", &place]);
    }
}
