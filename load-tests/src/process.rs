//! What the kernel says of a process.

use std::{fs, time::Duration};

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
