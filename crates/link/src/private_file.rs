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
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> io::Result<()> {
    // Of the whole name: `snapshot.sealed` and `snapshot.seen` are written at once. And of the process: while one takes over
    // from another, both write.
    let mut name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?.to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(name);
    // One that is there already would keep its owner and its mode, or lead elsewhere.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(content.as_ref())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt as _, thread};

    use super::*;

    #[test]
    fn a_private_file_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret.json");
        write(&path, "one").unwrap();
        let left = folder.path().join(format!("secret.json.{}.new", std::process::id()));
        fs::write(&left, "left behind, for all to read").unwrap();
        write(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!left.exists());
    }

    #[test]
    fn files_that_differ_in_their_ending_only_are_written_at_once() {
        let folder = tempfile::tempdir().unwrap();
        thread::scope(|scope| {
            for kind in ["sealed", "seen"] {
                let path = folder.path().join(format!("snapshot.{kind}"));
                scope.spawn(move || (0..200).for_each(|_| write(&path, kind).unwrap()));
            }
        });
        for kind in ["sealed", "seen"] {
            assert_eq!(fs::read_to_string(folder.path().join(format!("snapshot.{kind}"))).unwrap(), kind);
        }
    }
}
