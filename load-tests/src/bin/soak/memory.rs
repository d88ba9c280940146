//! Whether the node's memory grows.

use std::{fmt, time::Duration};

use load_tests::process;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::World;

/// How much the last quarter's mean may be above the second's: caches that fill, and the allocator's fragments.
const ALLOWED_GROWTH: f64 = 1.05;

/// Samples of the node's memory and open files.
#[derive(Debug)]
pub(crate) struct Memory {
    resident: Vec<u64>,
    files: Vec<usize>,
}

impl Memory {
    /// Samples until the run is over.
    pub(crate) async fn watch(world: &World, every: Duration) -> Self {
        let mut memory = Self { resident: Vec::new(), files: Vec::new() };
        while world.goes_on() {
            sleep(every).await;
            memory.resident.push(process::resident_bytes(world.node.pid()));
            memory.files.push(process::open_files(world.node.pid()));
        }
        memory
    }

    /// Mean of each quarter of the run, in MiB. The first one is warm-up.
    fn quarters(&self) -> [f64; 4] {
        let length = (self.resident.len() / 4).max(1);
        std::array::from_fn(|at| {
            let part: Vec<u64> = self.resident.iter().copied().skip(at * length).take(length).collect();
            let mean = part.iter().sum::<u64>() / u64::try_from(part.len().max(1)).unwrap();
            f64::from(u32::try_from(mean / 1024).unwrap()) / 1024.0
        })
    }

    pub(crate) fn is_flat(&self) -> bool {
        let [_, second, _, last] = self.quarters();
        last <= second * ALLOWED_GROWTH
    }

    pub(crate) fn json(&self) -> Value {
        json!({ "resident_mib_by_quarter": self.quarters(), "most_open_files": self.files.iter().max() })
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quarters = self.quarters().map(|mib| format!("{mib:.1}")).join(", ");
        let most = self.resident.iter().max().copied().unwrap_or_default() / 1024 / 1024;
        let files = self.files.iter().max().copied().unwrap_or_default();
        write!(f, "memory by quarters of the run, MiB: {quarters}; most {most}; most open files {files}")
    }
}
