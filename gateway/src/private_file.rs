//! Files that hold secrets: readable by their owner only, and whole or not there.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// Writes a file of mode 0600: first beside its place, flushed to disk, then moved there.
///
/// # Errors
/// What the file system answers; the file that was there before is then untouched.
pub(crate) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    // While one process takes over from another, both may write.
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}
