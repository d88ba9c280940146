//! Processes that are measured, and what the kernel says of them.

use std::{
    ffi::OsString,
    fs, io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};

/// Memory of a process that is in RAM, in bytes: `statm`, field 2 (proc(5)).
pub fn resident_bytes(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).expect("the process is gone");
    let pages: u64 = text.split(' ').nth(1).and_then(|field| field.parse().ok()).expect("`statm` has another form");
    pages * u64::try_from(rustix::param::page_size()).unwrap()
}

/// Processor time a process has used with all of its threads: `stat`, fields 14 and 15 (proc(5)).
pub fn processor_time(pid: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process is gone");
    let (_, rest) = text.rsplit_once(") ").expect("`stat` has another form");
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}

/// Open files and sockets of a process.
pub fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("the process is gone").count()
}

/// A process and its children.
pub fn family(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    [pid].into_iter().chain(children).collect()
}

/// A process of ours. Dropped, it is told to end, and waited for.
pub struct Child(std::process::Child);

impl Child {
    /// Starts it.
    ///
    /// # Errors
    /// The program is not there.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        command.spawn().map(Self)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Not SIGKILL: nginx's master would leave its worker behind.
        let pid = self.0.id().to_string();
        drop(Command::new("kill").args(["-TERM", &pid]).status());
        drop(self.0.wait());
    }
}

/// Counts the instructions that processes run outside of the kernel, with perf(1).
pub struct Instructions(Option<std::process::Child>);

impl Instructions {
    /// Begins to count. None where there is no perf, or the machine does not let it count.
    pub fn of(pids: impl Iterator<Item = u32>) -> Option<Self> {
        let pids = pids.map(|pid| pid.to_string()).collect::<Vec<_>>().join(",");
        let mut command = Command::new("perf");
        command.args(["stat", "-x", ",", "-e", "instructions:u", "-p", &pids]);
        let counting = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().ok()?;
        // It says nothing when it has begun.
        std::thread::sleep(Duration::from_millis(300));
        Some(Self(Some(counting)))
    }

    /// How many they were.
    pub fn end(mut self) -> Option<f64> {
        let counting = self.0.take()?;
        drop(Command::new("kill").args(["-INT", &counting.id().to_string()]).status());
        let output = counting.wait_with_output().ok()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        text.lines().find_map(|line| line.split_once(",,instructions")?.0.parse().ok())
    }
}

impl Drop for Instructions {
    fn drop(&mut self) {
        if let Some(mut counting) = self.0.take() {
            drop(counting.kill());
            drop(counting.wait());
        }
    }
}

/// A process that runs under valgrind's callgrind: what it runs outside of the kernel is counted, on any machine, and is the
/// same on a busy one.
pub struct Counted {
    process: Child,
    /// What the names of its profiles begin with.
    profiles: PathBuf,
}

impl Counted {
    /// Starts a program, with further options of callgrind's. Its profiles go into files whose names begin with `profiles`, one
    /// for each [`Self::count`].
    ///
    /// # Errors
    /// valgrind is not there.
    pub fn start(command: &[OsString], options: &str, profiles: PathBuf, log: fs::File) -> io::Result<Self> {
        let out = profiles.display();
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--tool=callgrind", &format!("--callgrind-out-file={out}")]);
        valgrind.args(options.split_whitespace()).arg("--").args(command);
        let process = Child::start(valgrind.stdout(log.try_clone()?).stderr(log))?;
        Ok(Self { process, profiles })
    }

    /// Forgets what was counted so far.
    ///
    /// # Errors
    /// The process is gone, or cannot be told.
    pub fn begin(&self) -> anyhow::Result<()> {
        self.tell("--zero")
    }

    /// The instructions since the last [`Self::begin`].
    ///
    /// # Errors
    /// The process is gone, cannot be told, or wrote no profile.
    pub fn count(&self) -> anyhow::Result<u64> {
        self.tell("--dump")?;
        let numbered = |number: u32| PathBuf::from(format!("{}.{number}", self.profiles.display()));
        let newest =
            (1..).map(numbered).take_while(|path| path.exists()).last().context("callgrind wrote no profile")?;
        let text = fs::read_to_string(&newest)?;
        let total = text.lines().find_map(|line| line.strip_prefix("totals: ")?.split(' ').next()?.parse().ok());
        total.with_context(|| format!("{} has no totals", newest.display()))
    }

    fn tell(&self, what: &str) -> anyhow::Result<()> {
        let output = Command::new("callgrind_control").args([what, &self.process.id().to_string()]).output()?;
        // It succeeds where it finds no such process, too.
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        ensure!(said.contains("OK."), "callgrind_control {what}: {said}");
        Ok(())
    }
}

/// A loopback port that nobody listens on, for a process that is to be told which. Below those that the system gives to
/// outgoing connections.
///
/// # Errors
/// None is free.
pub fn free_address() -> io::Result<SocketAddr> {
    let random = || 12_000 + u16::try_from(uuid::Uuid::new_v4().as_u128() % 20_000).unwrap_or_default();
    let mut ports = std::iter::repeat_with(|| SocketAddr::from(([127, 0, 0, 1], random()))).take(1_000);
    ports.find(|address| TcpListener::bind(address).is_ok()).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}
