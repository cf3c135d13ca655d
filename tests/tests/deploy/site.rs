//! The documentation as a site.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

use super::{HERE, passes, path};

const REPOSITORY: &str = "https://example.com/repository";

/// The texts of pages after the preprocessor.
fn preprocessed(pages: &[(String, String)]) -> Vec<String> {
    let chapters: Vec<_> = pages
        .iter()
        .map(|(name, text)| {
            json!({"Chapter": {"name": name, "content": text, "path": name, "sub_items": []}})
        })
        .collect();
    let context = json!({"config": {"output": {"html": {"git-repository-url": REPOSITORY}}}});
    let input = json!([context, {"items": ["Separator", {"PartTitle": "All"}, chapters[0].clone(), {
        "Chapter": {"name": "Others", "content": "", "path": null, "sub_items": chapters[1..]}
    }]}]);
    let mut child = Command::new("python3")
        .arg(path("site/repository.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    let mut stdin = child.stdin.take().expect("piped");
    stdin
        .write_all(input.to_string().as_bytes())
        .expect("taken");
    drop(stdin);
    let Output { status, stdout, .. } = child.wait_with_output().expect("an end");
    assert!(status.success());
    let book: Value = serde_json::from_slice(&stdout).expect("JSON");
    let content = |chapter: &Value| {
        let text = chapter["Chapter"]["content"].as_str();
        text.expect("a text").to_owned()
    };
    let others = book["items"][3]["Chapter"]["sub_items"].as_array();
    let others = others.expect("chapters").iter().map(content);
    [content(&book["items"][2])]
        .into_iter()
        .chain(others)
        .collect()
}

/// mdBook would leave a link out of the book as it is, and it would lead nowhere.
#[test]
fn links_out_of_the_book_lead_to_the_repository() {
    let root = Path::new(HERE).join("..");
    let folder = fs::read_dir(root.join("docs")).expect("pages");
    let paths = folder.map(|entry| entry.expect("an entry").path());
    let pages: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|it| it == "md"))
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a text");
            (
                path.file_name().expect("a name").to_string_lossy().into(),
                text,
            )
        })
        .collect();
    let mut lead_out = 0;
    for ((name, before), after) in pages.iter().zip(preprocessed(&pages)) {
        assert_eq!(before.matches("](").count(), after.matches("](").count());
        for target in after.split("](").skip(1) {
            let target = target.split(')').next().unwrap_or_default();
            let file = target.split('#').next().unwrap_or_default();
            if let Some(rest) = file.strip_prefix(REPOSITORY) {
                lead_out += 1;
                let (kind, file) = rest[1..].split_once("/main/").expect("a file");
                let is_folder = root.join(file).is_dir();
                assert!(root.join(file).exists(), "{name}: {target}");
                assert_eq!(kind == "tree", is_folder, "{name}: {target}");
            } else if !file.contains(':') {
                assert!(!file.contains("../"), "{name}: {target}");
            }
        }
    }
    assert!(lead_out > 20, "{lead_out}");
}

#[test]
fn code_is_left_as_it_is() {
    let code = "```md\n[there](../README.md)\n```\n";
    let pages = [
        (
            "a.md".to_owned(),
            format!("[a](../README.md#try-it)\n\n{code}\n[b](b.md)\n"),
        ),
        ("b.md".to_owned(), "[deploy](../deploy)\n".to_owned()),
    ];
    let expected = [
        format!("[a]({REPOSITORY}/blob/main/README.md#try-it)\n\n{code}\n[b](b.md)\n"),
        format!("[deploy]({REPOSITORY}/tree/main/deploy)\n"),
    ];
    assert_eq!(preprocessed(&pages), expected);
}

/// Checks a folder as a site; true when there was nothing to say.
fn check(site: &Path) -> (bool, String) {
    let mut python = Command::new("python3");
    let output = python.arg(path("site/check.py")).arg(site).output();
    let output = output.expect("python3");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), said)
}

#[test]
fn a_dead_link_of_the_site_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    for number in 0..10 {
        let next = (number + 1) % 10;
        let page = format!(
            "<h2 id=\"a\"></h2><a href=\"{next}.html#a\"></a><img src=\"https://example.com/\">"
        );
        fs::write(folder.path().join(format!("{number}.html")), page).expect("written");
    }
    let (ok, said) = check(folder.path());
    assert!(ok, "{said}");
    for (page, fault) in [
        ("<a href=\"none.html\">", "0.html: none.html is not there"),
        ("<a href=\"1.html#b\">", "0.html: 1.html#b is no heading"),
        (
            "<i id=\"b\"></i><i id=\"b\"></i>",
            "0.html: the id b is there twice",
        ),
    ] {
        // The page before it has a link to this.
        let page = format!("<h2 id=\"a\"></h2>{page}");
        fs::write(folder.path().join("0.html"), page).expect("written");
        assert_eq!(check(folder.path()), (false, format!("{fault}\n")));
    }
}

/// mdBook is not installed for it: that takes minutes.
#[test]
fn the_site_is_built_where_there_is_mdbook() {
    if Command::new("mdbook").arg("--version").output().is_err() {
        eprintln!("no mdbook: .github/workflows/site.yml builds the site");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    passes(Command::new(path("site/build")).arg(folder.path()));
}
