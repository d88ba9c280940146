//! Processes of ours, as they are started by hand.

use std::{
    fs,
    io::Read as _,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A process that we started. Dropped, it is killed; where the test fails, what it logged is shown.
pub(crate) struct Process(Child, &'static str, PathBuf);

impl Process {
    /// Starts a binary of the workspace.
    pub(crate) fn start(name: &'static str, folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::run(name, &binary(name), folder, arguments, environment)
    }

    /// Starts any program.
    pub(crate) fn run(
        name: &'static str,
        program: &Path,
        folder: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let log = folder.join(format!("{name}-{}.log", uuid::Uuid::new_v4()));
        let child = Command::new(program)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self(child, name, log)
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Sends it a signal by its name, such as `STOP`.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success());
    }

    /// Tells it to end, and waits until it has.
    pub(crate) fn terminate(mut self) {
        self.signal("TERM");
        assert!(self.0.wait().unwrap().success());
    }

    /// Ends it at once, as a power cut would.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
        if std::thread::panicking() {
            let mut log = String::new();
            drop(fs::File::open(&self.2).and_then(|mut file| file.read_to_string(&mut log)));
            eprintln!("--- {}\n{log}", self.1);
        }
    }
}

/// A binary of the workspace, of the same build as this program.
fn binary(name: &str) -> PathBuf {
    let me = std::env::current_exe().unwrap();
    let path = me.parent().and_then(Path::parent).unwrap().join(name);
    assert!(path.exists(), "{} is not built: run `cargo build --workspace` first", path.display());
    path
}

/// Runs a command to its end and gives what it printed.
pub(crate) fn output(name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let output = Command::new(binary(name)).args(arguments).envs(environment.iter().copied()).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {arguments:?}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

/// A port that nobody listens on, for a process that is to be told which. Below the ports that the system gives to
/// outgoing connections (32768 and up, as a rule), of which there are many here: one of those could take it in between.
pub(crate) fn free_port() -> SocketAddr {
    let random = || 12_000 + u16::try_from(uuid::Uuid::new_v4().as_u128() % 20_000).unwrap();
    let mut ports = std::iter::repeat_with(|| SocketAddr::from(([127, 0, 0, 1], random())));
    ports.find(|address| TcpListener::bind(address).is_ok()).unwrap()
}
