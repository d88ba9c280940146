//! What no type can say of the sources: that nobody takes a secret out to compare it.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Every source file of the product, tests left out.
fn sources() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut folders: Vec<PathBuf> = fs::read_dir(root.join("crates")).unwrap().map(|it| it.unwrap().path()).collect();
    folders.extend(["gateway", "control-api", "clients/rust"].map(|name| root.join(name)));
    let mut open: Vec<PathBuf> =
        folders.into_iter().map(|folder| folder.join("src")).filter(|it| it.exists()).collect();
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") && path.file_stem().is_some_and(|it| it != "tests")
            {
                found.push(path);
            }
        }
    }
    found
}

/// Whether a statement takes a secret out and compares what it got; its length may be compared.
fn compares_a_secret(statement: &str) -> bool {
    let lengths_aside = statement.replace(".expose().len()", "");
    let compared = ["==", "!=", ".eq(", ".ne(", ".cmp("].iter().any(|operator| lengths_aside.contains(operator));
    compared && lengths_aside.contains(".expose()")
}

/// `Secret` compares in constant time, so a comparison in variable time has to take its text out first.
#[test]
fn j11_no_secret_is_taken_out_to_be_compared() {
    assert!(compares_a_secret("if shown == key.expose()"));
    assert!(compares_a_secret("key.expose().as_bytes().eq(shown)"));
    assert!(!compares_a_secret("if key.expose().len() == 32"));
    assert!(!compares_a_secret("if shown == known"));
    let files = sources();
    assert!(files.len() > 200, "{} files", files.len());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        // Unit tests at the end of a file may look at anything.
        let product = text.split("#[cfg(test)]").next().unwrap();
        let found = product.split([';', '{', '}']).flat_map(|it| it.split(",\n")).find(|it| compares_a_secret(it));
        assert_eq!(found, None, "{}", file.display());
    }
}
