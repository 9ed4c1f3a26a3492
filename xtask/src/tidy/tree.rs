//! The files of the project that people write.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::project::Project;

pub struct File {
    /// Relative to the root, with `/`.
    pub path: String,
    pub text: String,
}

pub struct Tree {
    pub root: PathBuf,
    pub files: Vec<File>,
}

impl Tree {
    /// Reads all text files; what cargo builds, and hidden directories, are not ours.
    pub fn read(project: &Project) -> Result<Self> {
        let mut tree = Self { root: project.root.clone(), files: Vec::new() };
        tree.walk(&project.root, &[&project.target, &project.root.join("target")])?;
        Ok(tree)
    }

    fn walk(&mut self, directory: &Path, skipped: &[&Path]) -> Result<()> {
        let entries =
            fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot list {}", directory.display()))?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            if entry.file_name().as_encoded_bytes().starts_with(b".") || skipped.contains(&path.as_path()) {
                continue;
            }
            if kind.is_dir() {
                self.walk(&path, skipped)?;
            } else if kind.is_file()
                // Others may be editing: a file that has just gone is no error, and pictures are no text.
                && let Ok(text) = fs::read_to_string(&path)
            {
                let path = path.strip_prefix(&self.root).unwrap_or(&path).to_string_lossy().into_owned();
                self.files.push(File { path, text });
            }
        }
        Ok(())
    }

    pub fn with_extension<'a>(&'a self, extension: &'a str) -> impl Iterator<Item = &'a File> {
        self.files.iter().filter(move |file| has_extension(&file.path, extension))
    }
}

pub fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == extension)
}
