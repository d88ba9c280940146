//! Lines on their way to stderr. Nobody who has one to write waits for who reads them.
//!
//! ```text
//! events, requests ─▶ a bounded buffer ─▶ one thread ─▶ stderr
//! ```
//!
//! A pipe that nobody empties would otherwise stop every thread that serves. When the buffer is full, lines are lost, and
//! how many is said in the next one that is not; [`lost`] counts them. What a process has written less than [`GATHERED`]
//! before it was killed is lost, too; events other than requests do not wait for company.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use tracing_subscriber::fmt::MakeWriter;

/// Bytes that wait at most. More are lost.
const CAPACITY: usize = 4 * 1024 * 1024;

/// Bytes of it that only what is urgent may take: no flood of requests pushes out what somebody has to hear.
const RESERVE: usize = 1024 * 1024;

/// How long lines of requests wait for others, so that they are written together.
const GATHERED: Duration = Duration::from_millis(20);

/// Bytes that do not wait any longer.
const ENOUGH: usize = 64 * 1024;

/// How long the last lines are waited for at the end.
const LAST: Duration = Duration::from_secs(1);

/// Lines lost in this process.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Lines that were lost since the process began, because nobody read them fast enough.
pub fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// The lines that wait.
#[derive(Debug, Default)]
pub(super) struct Lines {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    writer: Writer,
    /// Something is among them that shall not wait for more.
    urgent: bool,
    /// No more will come through here.
    over: bool,
}

/// What the thread does that writes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Writer {
    #[default]
    Sleeps,
    Gathers,
    Writes,
    Ended,
}

impl Lines {
    /// Begins the thread that writes to `out`. `report` makes a line of how many were lost.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn begin(
        out: impl io::Write + Send + 'static,
        report: impl Fn(u64) -> String + Send + 'static,
    ) -> io::Result<Arc<Self>> {
        let lines = Arc::<Self>::default();
        let writer = Arc::clone(&lines);
        thread::Builder::new().name("log".into()).spawn(move || writer.write(out, report))?;
        Ok(lines)
    }

    /// Adds a whole line, or loses it.
    pub(super) fn push(&self, line: &[u8], urgent: bool) {
        let mut waiting = self.waiting.lock();
        if waiting.over {
            drop(waiting);
            // There is nobody left who could be told that this fails.
            let _ = io::Write::write_all(&mut io::stderr(), line);
            return;
        }
        let capacity = if urgent { CAPACITY } else { CAPACITY - RESERVE };
        if waiting.bytes.len() + line.len() > capacity {
            LOST.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.bytes.extend_from_slice(line);
        waiting.urgent |= urgent;
        let wakes = match waiting.writer {
            Writer::Sleeps => true,
            Writer::Gathers => waiting.is_due(),
            Writer::Writes | Writer::Ended => false,
        };
        if wakes {
            self.changed.notify_all();
        }
    }

    /// Waits for what is there to be written, for a while; what comes later goes to stderr at once.
    pub(super) fn end(&self) {
        let mut waiting = self.waiting.lock();
        waiting.over = true;
        self.changed.notify_all();
        self.changed.wait_while_for(&mut waiting, |it| it.writer != Writer::Ended, LAST);
    }

    fn write(&self, mut out: impl io::Write, report: impl Fn(u64) -> String) {
        let (mut batch, mut told) = (Vec::new(), 0);
        while self.next(&mut batch) {
            let written = out.write_all(&batch).and_then(|()| out.flush());
            if written.is_err() {
                let lines = batch.iter().filter(|byte| **byte == b'\n').count();
                LOST.fetch_add(u64::try_from(lines).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
            batch.clear();
            let lost = lost();
            if lost > told && written.is_ok() && out.write_all(report(lost - told).as_bytes()).is_ok() {
                told = lost;
            }
        }
    }

    /// Puts what is to be written now into `batch`; false when there will be no more.
    fn next(&self, batch: &mut Vec<u8>) -> bool {
        let mut waiting = self.waiting.lock();
        waiting.writer = Writer::Sleeps;
        self.changed.wait_while(&mut waiting, |it| it.bytes.is_empty() && !it.over);
        waiting.writer = Writer::Gathers;
        self.changed.wait_while_for(&mut waiting, |it| !it.is_due(), GATHERED);
        waiting.urgent = false;
        std::mem::swap(batch, &mut waiting.bytes);
        waiting.writer = if batch.is_empty() { Writer::Ended } else { Writer::Writes };
        self.changed.notify_all();
        !batch.is_empty()
    }
}

impl Waiting {
    const fn is_due(&self) -> bool {
        self.urgent || self.over || self.bytes.len() >= ENOUGH
    }
}

/// Writes the events of `tracing`.
#[derive(Clone, Debug)]
pub(super) struct Events(pub(super) Arc<Lines>);

impl io::Write for Events {
    /// The formatter writes an event at once, with its line end.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.push(event, true);
        Ok(event.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Events {
    type Writer = Self;
    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A reader that takes a piece only when it is told to, and passes it on.
    struct Slow(mpsc::Receiver<()>, mpsc::Sender<Vec<u8>>);

    impl io::Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            self.1.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_writes_does_not_wait_for_who_reads_and_what_is_lost_is_told() {
        let (go, told) = mpsc::channel();
        let (out, read) = mpsc::channel();
        let lines = Lines::begin(Slow(told, out), |lost| format!("{lost} lost\n")).unwrap();
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        // Nothing is read yet. What the thread has taken already makes room for as much again.
        let before = lost();
        for _ in 0..3 * CAPACITY / line.len() {
            lines.push(&line, false);
        }
        assert!(lost() > before, "the buffer has an end");
        lines.push(b"somebody has to hear this\n", true);
        let mut seen = Vec::new();
        // The one may come in a piece of its own before the other.
        let has = |seen: &[u8], text: &[u8]| seen.windows(text.len()).any(|part| part == text);
        while !(has(&seen, b" lost\n") && has(&seen, b"somebody has to hear this\n")) {
            go.send(()).unwrap();
            seen.extend(read.recv().unwrap());
        }
        drop(go);
        lines.end();
        let reports = seen.split(|byte| *byte == b'\n').filter_map(|line| line.strip_suffix(b" lost"));
        let reported: u64 = reports.map(|count| std::str::from_utf8(count).unwrap().parse::<u64>().unwrap()).sum();
        assert!((1..=lost()).contains(&reported), "{reported}");
    }

    #[test]
    fn what_was_pushed_before_the_end_is_written_in_its_order() {
        let (go, told) = mpsc::channel();
        let (out, read) = mpsc::channel();
        let lines = Lines::begin(Slow(told, out), |lost| format!("{lost} lost\n")).unwrap();
        for _ in 0..64 {
            go.send(()).unwrap();
        }
        let all: String = (0..100).map(|number| format!("{number}\n")).collect();
        for (number, line) in all.split_inclusive('\n').enumerate() {
            lines.push(line.as_bytes(), number % 7 == 0);
        }
        lines.end();
        let seen: Vec<u8> = read.try_iter().flatten().collect();
        assert!(String::from_utf8(seen).unwrap().replace(" lost\n", "").contains(all.trim_start()));
    }
}
