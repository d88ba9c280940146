//! Lines that are measured in turn, and the table that comes of them.

use std::time::Duration;

use load_tests::{
    process::{self, Instructions},
    world::World,
};
use serde_json::{Value, json};

use crate::{load::Outcome, peers::Running};

/// How often, how long, and from which cores.
#[derive(Clone, Copy)]
pub(crate) struct Plan<'a> {
    pub(crate) world: &'a World,
    /// Of everything but what is measured.
    pub(crate) cores: &'a str,
    pub(crate) runs: usize,
    pub(crate) lasting: Duration,
}

/// Runs a load against something for a time.
type Loading<'a> = dyn Fn(&Running, Duration) -> anyhow::Result<Outcome> + 'a;

/// Something that is asked in some way.
pub(crate) struct Line<'a> {
    pub(crate) title: &'a str,
    pub(crate) running: &'a Running,
    pub(crate) load: Box<Loading<'a>>,
    /// The line that it is compared with, by number; none for the first.
    pub(crate) beside: Option<usize>,
}

/// One run of one line.
#[derive(Clone, Copy, Debug, serde::Serialize)]
struct Run {
    cpu_us: f64,
    /// None where nothing counts them.
    instructions: Option<f64>,
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
}

/// Measures the lines in turn, as often as planned, prints the table, and gives it as JSON.
pub(crate) fn measure(title: &str, lines: &[Line<'_>], plan: Plan<'_>) -> anyhow::Result<Value> {
    let mut all: Vec<Vec<Run>> = lines.iter().map(|_| Vec::new()).collect();
    for _ in 0..plan.runs {
        for (line, runs) in lines.iter().zip(&mut all) {
            runs.push(run(line, plan)?);
        }
    }
    println!("\n### {title}\n");
    println!(
        "| | CPU, µs a request | × the first | µs more | user instructions | requests a second | p50, µs | p99, µs | memory, MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let times: Vec<f64> = all.iter().map(|runs| median(runs, |run| run.cpu_us)).collect();
    let mut rows = Vec::new();
    for ((line, runs), cpu) in lines.iter().zip(&all).zip(&times) {
        let more = line.beside.map(|beside| format!("{:+.1}", cpu - times[beside])).unwrap_or_default();
        let [rate, p50, p99] =
            [median(runs, |run| run.per_second), median(runs, |run| run.p50_us), median(runs, |run| run.p99_us)];
        let counted = runs.iter().all(|run| run.instructions.is_some());
        let instructions = counted.then(|| median(runs, |run| run.instructions.unwrap_or_default()));
        let instructions = instructions.map(|count| format!("{count:.0}")).unwrap_or_default();
        let (resident, ratio) = (line.running.resident_mib(), cpu / times[0]);
        println!(
            "| {} | {cpu:.1} | {ratio:.2} | {more} | {instructions} | {rate:.0} | {p50:.0} | {p99:.0} | {resident} |",
            line.title
        );
        rows.push(json!({ "what": line.title, "cpu_us": cpu, "resident_mib": resident, "runs": runs }));
    }
    Ok(json!({ "title": title, "lines": rows }))
}

fn run(line: &Line<'_>, plan: Plan<'_>) -> anyhow::Result<Run> {
    // What is kept from the run before, connections and tokens alike, is warmed up first and not counted.
    (line.load)(line.running, Duration::from_secs(1))?;
    let time = || line.running.pids().map(process::processor_time).sum::<Duration>();
    let counting = Instructions::of(line.running.pids());
    let before = time();
    let result = (line.load)(line.running, plan.lasting)?;
    let used = time() - before;
    let instructions = counting.and_then(Instructions::end).map(|count| count / result.requests);
    Ok(Run {
        cpu_us: used.as_secs_f64() * 1e6 / result.requests,
        instructions,
        per_second: result.requests / plan.lasting.as_secs_f64(),
        p50_us: result.p50_us,
        p99_us: result.p99_us,
    })
}

fn median(runs: &[Run], value: impl Fn(&Run) -> f64) -> f64 {
    let mut values: Vec<f64> = runs.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
