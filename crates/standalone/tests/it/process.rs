//! Processes of ours, as they are started by hand.

use std::{
    fs,
    io::Read as _,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A process of ours. Dropped, it is killed, and what it logged is shown.
pub(crate) struct Process(Child, &'static str, PathBuf);

impl Process {
    pub(crate) fn start(name: &'static str, folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let log = folder.join(format!("{name}-{}.log", free_port().port()));
        let child = Command::new(binary(name))
            .args(arguments)
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self(child, name, log)
    }

    /// Tells it to end, and waits until it has.
    pub(crate) fn terminate(mut self) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
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

pub(crate) fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
