//! The sources of the workspace's crates, for tests of their structure.

use std::fs;
use std::path::{Path, PathBuf};

/// Path of a module below its crate's root. The root's own path is empty.
pub type Module = Vec<String>;

/// Every module of a crate. Tests, and binaries beside a library, are left out.
///
/// # Panics
///
/// If a file is not valid Rust.
pub fn sources(name: &str) -> Vec<(Module, syn::File)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src");
    let mut files = Vec::new();
    list(&root, &mut files);
    let modules = files.iter().filter_map(|file| Some((module_of(&root, file)?, file)));
    let parse = |(module, file): (Module, &PathBuf)| {
        let text = fs::read_to_string(file).expect("a source file");
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        (module, parsed)
    };
    modules.map(parse).collect()
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            list(&entry, files);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            files.push(entry);
        }
    }
}

fn module_of(root: &Path, file: &Path) -> Option<Module> {
    let path = file.strip_prefix(root).expect("below the root").with_extension("");
    let mut module: Module = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module.iter().any(|part| part == "tests" || part == "bin") {
        return None;
    }
    if matches!(module.last()?.as_str(), "lib" | "main" | "mod") {
        module.pop();
    }
    Some(module)
}
