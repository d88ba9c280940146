//! Which threads wait for which.

/// How much [`step_back`] takes back, as nice(2) has it: of a processor that both want, such a thread gets a tenth.
const NICE: i32 = 10;

/// From now on the calling thread runs when the others of this machine leave it the time: for work that is long and can
/// wait, such as hashing passwords, beside work that is short and cannot. For good: nobody may take it back but root.
///
/// Where a thread has no priority of its own (outside Linux), nothing.
pub fn step_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::warn!(%error, "long work runs at the priority of requests");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_steps_back_alone() {
        let priority = || rustix::process::getpriority_process(None).unwrap();
        let before = priority();
        let behind = std::thread::spawn(move || {
            step_back();
            priority()
        });
        assert_eq!(behind.join().unwrap(), NICE.max(before));
        assert_eq!(priority(), before);
    }
}
