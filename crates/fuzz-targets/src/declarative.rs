//! A declarative file.

use domain::{
    declarative::{RawFile, ReadAs, examine},
    snapshot::{Change, READER},
};
use gate::Snapshot;
use link::file::{Document, Overrides, load};

/// Reads a file, for a gateway and for the control API.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(document) = Document::parse("input", text) else { return };
    let Ok(loaded) = load::<RawFile>(document, &Overrides::none()) else { return };
    let (file, _) = loaded.into_parts();
    for read_as in [ReadAs::EdgeFile, ReadAs::Apply] {
        let examined = examine(&file, read_as, &|name| Err(format!("{name} is not there")));
        let changes = examined.declared.entities.into_iter().zip(1..);
        let changes = changes.map(|(entity, revision)| {
            let (key, entity) = (entity.key(), Some(entity));
            Change { revision, key, min_reader: READER, entity }
        });
        Snapshot::default().apply(changes.collect(), 1);
    }
}
