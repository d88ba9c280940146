//! A PostgreSQL server of a test's own, to be crashed.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Output},
};

use crate::process::free_port;

/// A server that keeps what it acknowledged. Dropped, it is ended.
pub(crate) struct Postgres {
    programs: PathBuf,
    folder: tempfile::TempDir,
    /// PostgreSQL refuses to run as root.
    as_owner: Vec<String>,
    pub(crate) url: String,
}

impl Postgres {
    pub(crate) fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/postgres-bin.sh");
        let programs = PathBuf::from(text(Command::new(script).output().unwrap()));
        let folder = tempfile::tempdir().unwrap();
        let mut as_owner = Vec::new();
        if text(Command::new("id").arg("-u").output().unwrap()) == "0" {
            let known = Command::new("id").arg("postgres").output().unwrap().status.success();
            let owner = if known { "postgres" } else { "nobody" };
            let group = text(Command::new("id").args(["-g", owner]).output().unwrap());
            text(Command::new("chown").arg(owner).arg(folder.path()).output().unwrap());
            as_owner = ["setpriv", &format!("--reuid={owner}"), &format!("--regid={group}"), "--clear-groups"]
                .map(String::from)
                .to_vec();
        }
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let port = free_port().port();
        let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
        let server = Self { programs, folder, as_owner, url };
        text(server.run("initdb", &["-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]));
        let options = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=200 -c restart_after_crash=on"
        );
        let log = server.folder.path().join("data/server.log").display().to_string();
        text(server.run("pg_ctl", &["-l", &log, "-w", "-t", "60", "-o", &options, "start"]));
        server
    }

    /// Ends it without any warning, and starts it again: it recovers from its log.
    pub(crate) fn crash(&self) {
        text(self.run("pg_ctl", &["-m", "immediate", "-w", "-t", "60", "stop"]));
        let log = self.folder.path().join("data/server.log").display().to_string();
        // With the options of its first start, which it has kept.
        let options = std::fs::read_to_string(self.folder.path().join("data/postmaster.opts")).unwrap();
        let options = options.trim().split_once(' ').map(|(_, options)| options.replace('"', "'")).unwrap_or_default();
        text(self.run("pg_ctl", &["-l", &log, "-w", "-t", "60", "-o", &options, "start"]));
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let program = self.programs.join(program).display().to_string();
        let words: Vec<&str> = self.as_owner.iter().map(String::as_str).chain([program.as_str()]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg("-D").arg(self.folder.path().join("data")).args(arguments);
        // The folder of the test may be closed to its owner.
        command.current_dir("/").stdin(std::process::Stdio::null()).output().unwrap()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.run("pg_ctl", &["-m", "immediate", "-w", "-t", "20", "stop"]));
    }
}

fn text(output: Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(output.status.success(), "{said} {}", String::from_utf8_lossy(&output.stderr));
    said
}
