//! Links in Markdown that stay within the project lead to files, and to headings, that exist; so do paths that are
//! set as code; and every page can be reached from the README.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::Violation;
use super::markdown::{anchors, prose, spans};
use super::tree::{File, Tree, has_extension};

/// Where paths in documents begin, beside the root and the document's own directory.
const BASES: [&str; 5] = ["tcpwatch", "tcpwatch/src", "tcpwatch-ebpf", "tcpwatch-ebpf/src", "xtask/src"];
/// What is made by building.
const MADE: &str = "target/";
const START: &str = "README.md";
/// Each of these pages has to be reached.
const PAGES: &str = "docs/";

pub fn check(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in tree.with_extension("md") {
        let mut broken = |line, message| {
            violations.push(Violation { path: file.path.clone(), line, rule: "link", message });
        };
        for (line, link) in links(&file.text) {
            let path = resolve(file, link.path);
            if !tree.root.join(&path).exists() {
                broken(line, format!("there is no {}", link.path));
            } else if !link.anchor.is_empty()
                && let Some(page) = tree.with_extension("md").find(|page| Path::new(&page.path) == path)
                && !anchors(&page.text).iter().any(|anchor| anchor == link.anchor)
            {
                broken(line, format!("{} has no heading #{}", page.path, link.anchor));
            }
        }
        for (line, text) in prose(&file.text) {
            for path in spans(text).filter(|span| is_path(tree, span)) {
                let begins = BASES.iter().map(|base| tree.root.join(base));
                let mut begins = begins.chain([tree.root.clone(), tree.root.join(directory(file))]);
                if !begins.any(|begin| begin.join(path).exists()) {
                    broken(line, format!("there is no `{path}`"));
                }
            }
        }
    }
    violations.extend(unreached(tree));
    violations
}

/// Pages that no link leads to, from the README on.
fn unreached(tree: &Tree) -> Vec<Violation> {
    let pages: Vec<&File> = tree.with_extension("md").collect();
    let page = |path: &Path| pages.iter().find(|page| Path::new(&page.path) == path);
    let mut reached = BTreeSet::new();
    let mut waiting = vec![PathBuf::from(START)];
    while let Some(path) = waiting.pop() {
        if let Some(found) = page(&path).filter(|_| !reached.contains(&path)) {
            waiting.extend(links(&found.text).into_iter().map(|(_, link)| resolve(found, link.path)));
            reached.insert(path);
        }
    }
    let missed = pages.iter().filter(|page| page.path.starts_with(PAGES) && page.path != START);
    let missed = missed.filter(|page| !reached.contains(Path::new(&page.path)));
    let violation = |page: &&File| Violation {
        path: page.path.clone(),
        line: 1,
        rule: "link",
        message: format!("no link leads here from {START}, nor from a page that one leads to"),
    };
    missed.map(violation).collect()
}

/// Whether code names a file of the project: nothing but a path, which begins with a directory of ours or ends as
/// our sources do.
fn is_path(tree: &Tree, code: &str) -> bool {
    let is_plain = code.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    let Some((first, _)) = code.split_once('/').filter(|(first, _)| is_plain && !first.is_empty()) else {
        return false;
    };
    let is_ours = || tree.files.iter().any(|file| file.path.starts_with(&format!("{first}/")));
    !code.starts_with(MADE) && !code.starts_with('.') && (has_extension(code, "rs") || is_ours())
}

fn directory(file: &File) -> &Path {
    Path::new(&file.path).parent().unwrap_or(Path::new(""))
}

/// What a link in a file leads to, from the root. One without a path leads to the file itself.
fn resolve(file: &File, path: &str) -> PathBuf {
    let joined = match path.strip_prefix('/') {
        Some(path) => PathBuf::from(path),
        None if path.is_empty() => PathBuf::from(&file.path),
        None => directory(file).join(path),
    };
    let mut resolved = PathBuf::new();
    for component in joined.components() {
        match component {
            // Above the root there is nothing of ours.
            Component::ParentDir if !resolved.pop() => return joined,
            Component::ParentDir | Component::CurDir => {}
            other => resolved.push(other),
        }
    }
    resolved
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Link<'a> {
    /// Empty for the file itself.
    path: &'a str,
    /// Empty for all of it.
    anchor: &'a str,
}

/// Links that stay here, with their lines. Code is left out.
fn links(text: &str) -> Vec<(usize, Link<'_>)> {
    let mut links = Vec::new();
    for (number, line) in prose(text) {
        // Every second piece between backquotes is code, and what it says is no link.
        let pieces = line.split('`').step_by(2);
        let inline = pieces.flat_map(|piece| piece.split("](").skip(1));
        // `[name]: target`
        let definition = line.strip_prefix('[').and_then(|line| line.split_once("]: ")).map(|(_, rest)| rest);
        links.extend(inline.chain(definition).filter_map(link).map(|link| (number, link)));
    }
    links
}

/// The link in what follows `](`; none for the web.
fn link(rest: &str) -> Option<Link<'_>> {
    let end = rest.find([')', ' ', '>']).unwrap_or(rest.len());
    let target = rest[..end].trim_start_matches('<');
    let elsewhere = target.is_empty() || target.contains("://") || target.starts_with("mailto:");
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    (!elsewhere).then_some(Link { path, anchor })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.into(), text: text.into() }
    }

    /// In the directory of this crate.
    fn broken(files: Vec<File>) -> Vec<(String, usize)> {
        let tree = Tree { root: env!("CARGO_MANIFEST_DIR").into(), files };
        check(&tree).into_iter().map(|violation| (violation.path, violation.line)).collect()
    }

    #[test]
    fn finds_links() {
        let text = "[a](a.md) and [b](docs/b.md#part \"title\"), ![c](<c.png>)\n\
            [web](https://a.example/x.md) [here](#part) [mail](mailto:a@b.example)\n\
            `[code](no.md)` [d](d.md)\n```\n[e](no.md)\n```\n[f]: f.md\n[`g`](g.md)\n";
        let expected = [
            (1, "a.md", ""),
            (1, "docs/b.md", "part"),
            (1, "c.png", ""),
            (2, "", "part"),
            (3, "d.md", ""),
            (7, "f.md", ""),
            (8, "g.md", ""),
        ];
        assert_eq!(links(text), expected.map(|(line, path, anchor)| (line, Link { path, anchor })));
    }

    #[test]
    fn dead_links_are_found_from_where_they_are() {
        let text = "[a](../Cargo.toml)\n[b](/src/tidy)\n[c](Cargo.toml)\n[d](../no/such.md)\n";
        let name = "src/tidy.md";
        assert_eq!(broken(vec![file(name, text)]), [(name.to_owned(), 3), (name.to_owned(), 4)]);
    }

    #[test]
    fn headings_that_are_gone_are_found() {
        let root = std::env::temp_dir().join(format!("tcpwatch-links-{}", std::process::id()));
        std::fs::create_dir(&root).expect("make a directory");
        let a = "# A part\n[a](#a-part) [b](b.md#b) [c](b.md)\n[gone](#b)\n[gone](b.md#a-part)\n";
        let files = vec![file("a.md", a), file("b.md", "## b\n")];
        for file in &files {
            std::fs::write(root.join(&file.path), &file.text).expect("write a file");
        }
        let tree = Tree { root: root.clone(), files };
        assert_eq!(check(&tree).into_iter().map(|violation| violation.line).collect::<Vec<_>>(), [3, 4]);
        std::fs::remove_dir_all(&root).expect("remove the directory");
    }

    #[test]
    fn paths_that_are_set_as_code_exist() {
        let text = "`src/main.rs` `src/no.rs`\n`no/such.rs` `a/b` `src/` `/src/no.rs` `target/x.rs` `src/*.rs`\n\
            `tidy/links.rs` `src/no`\n";
        let files = vec![file("README.md", text), file("src/main.rs", "")];
        let name = "README.md".to_owned();
        let expected = [(name.clone(), 1), (name.clone(), 2), (name.clone(), 3), (name, 3)];
        assert_eq!(broken(files), expected, "this crate has no src/tidy/links.rs below its bases");
    }

    #[test]
    fn every_page_can_be_reached() {
        let pages = |link: &str| {
            let readme = file("README.md", &format!("[a](docs/a.md) {link}\n"));
            vec![readme, file("docs/a.md", "[b](b.md)\n"), file("docs/b.md", ""), file("docs/c.md", "")]
        };
        let tree = |link| Tree { root: "/nowhere".into(), files: pages(link) };
        let lost = |link| unreached(&tree(link)).into_iter().map(|one| one.path).collect::<Vec<_>>();
        assert_eq!(lost(""), ["docs/c.md"]);
        assert!(lost("[c](/docs/../docs/c.md#part)").is_empty());
    }
}
