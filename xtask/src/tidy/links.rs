//! Links in Markdown that stay within the project lead to files that exist.

use std::path::Path;

use super::Violation;
use super::tree::Tree;

pub fn check(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in tree.with_extension("md") {
        for (line, target) in targets(&file.text) {
            let (base, path) = match target.strip_prefix('/') {
                Some(path) => (Path::new(""), path),
                None => (Path::new(&file.path).parent().unwrap_or(Path::new("")), target),
            };
            if !tree.root.join(base).join(path).exists() {
                violations.push(Violation {
                    path: file.path.clone(),
                    line,
                    rule: "link",
                    message: format!("there is no {target}"),
                });
            }
        }
    }
    violations
}

/// Files that are linked to, with the line of the link. Code is left out.
fn targets(text: &str) -> Vec<(usize, &str)> {
    let mut targets = Vec::new();
    let mut in_code = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        // Every second piece between backquotes is code, and what it says is no link.
        let prose = line.split('`').step_by(2);
        let inline = prose.flat_map(|piece| piece.split("](").skip(1));
        // `[name]: target`
        let definition = line.strip_prefix('[').and_then(|line| line.split_once("]: ")).map(|(_, rest)| rest);
        let found = inline.chain(definition).filter_map(target).map(|target| (index + 1, target));
        targets.extend(found);
    }
    targets
}

/// The file in what follows `](`; none for the web and for other places of the same file.
fn target(rest: &str) -> Option<&str> {
    let end = rest.find([')', ' ', '#', '>']).unwrap_or(rest.len());
    let target = rest[..end].trim_start_matches('<');
    let elsewhere = target.is_empty() || target.contains("://") || target.starts_with("mailto:");
    (!elsewhere).then_some(target)
}

#[cfg(test)]
mod tests {
    use super::super::tree::File;
    use super::*;

    #[test]
    fn finds_links() {
        let text = "[a](a.md) and [b](docs/b.md#part \"title\"), ![c](<c.png>)\n\
            [web](https://a.example/x.md) [here](#part) [mail](mailto:a@b.example)\n\
            `[code](no.md)` [d](d.md)\n```\n[e](no.md)\n```\n[f]: f.md\n[`g`](g.md)\n";
        let expected = [(1, "a.md"), (1, "docs/b.md"), (1, "c.png"), (3, "d.md"), (7, "f.md"), (8, "g.md")];
        assert_eq!(targets(text), expected);
    }

    #[test]
    fn dead_links_are_found_from_where_they_are() {
        let file = |text: &str| File { path: "src/tidy.md".into(), text: text.into() };
        let text = "[a](../Cargo.toml)\n[b](/src/tidy)\n[c](Cargo.toml)\n[d](../no/such.md)\n";
        let tree = Tree { root: env!("CARGO_MANIFEST_DIR").into(), files: vec![file(text)] };
        assert_eq!(check(&tree).iter().map(|violation| violation.line).collect::<Vec<_>>(), [3, 4]);
    }
}
