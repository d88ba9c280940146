//! Changes of the feed.

use domain::snapshot::Change;
use gate::Snapshot;

/// Applies changes.
pub fn run(bytes: &[u8]) {
    let Ok(changes) = serde_json::from_slice::<Vec<Change>>(bytes) else { return };
    let first = Snapshot::default();
    let report = first.apply(changes, 1);
    let kept = first.entities();
    let written = serde_json::to_string(&kept).expect("what was read can be written");
    let read: Vec<Change> = serde_json::from_str(&written).expect("and is read again");
    let second = Snapshot::default();
    let again = second.replace(read, 1);
    assert_eq!(report.refused, again.refused, "what is in force is refused alike");
    assert_eq!(serde_json::to_string(&second.entities()).ok(), Some(written));
}
