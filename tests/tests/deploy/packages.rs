//! Crates as they are published.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::Value;

use super::{HERE, passes};

/// Texts that go with the code.
const LICENSES: [&str; 2] = ["LICENSE-APACHE", "LICENSE-MIT"];

/// The packages of the workspace that the registry gets.
fn published() -> Vec<Value> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--quiet", "--no-deps", "--offline"]);
    cargo.arg("--format-version=1");
    let said = passes(cargo.current_dir(Path::new(HERE).join("..")));
    let mut metadata: Value = serde_json::from_str(&said).expect("JSON");
    let Value::Array(mut packages) = metadata["packages"].take() else {
        panic!("no packages: {said}");
    };
    // An empty list of registries is `publish = false`.
    packages.retain(|package| package["publish"].is_null());
    packages
}

#[test]
fn each_says_what_the_registry_shows() {
    for package in published() {
        let name = &package["name"];
        for field in ["description", "license", "repository", "readme"] {
            assert!(package[field].is_string(), "{name} has no {field}");
        }
        let manifest = package["manifest_path"].as_str().expect("a path");
        let folder = Path::new(manifest).parent().expect("a folder");
        let readme = folder.join(package["readme"].as_str().expect("checked"));
        assert!(readme.is_file(), "{name}: {}", readme.display());
        for (field, most) in [("keywords", 5), ("categories", 5)] {
            let values = package[field].as_array().expect("a list");
            assert!((1..=most).contains(&values.len()), "{name}: {field}");
        }
        for license in LICENSES {
            let text = fs::read_to_string(folder.join(license));
            let text = text.unwrap_or_else(|fault| panic!("{name}: {license}: {fault}"));
            assert!(text.contains("License"), "{name}: {license}: {text}");
        }
    }
}

#[test]
fn none_needs_a_crate_that_is_not_published() {
    let packages = published();
    let names: BTreeSet<_> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    assert!(names.contains("roomcast") && names.len() >= 8, "{names:?}");
    for package in &packages {
        let all = package["dependencies"].as_array().expect("a list").iter();
        // What tests need by its path alone, cargo leaves out.
        for dependency in all.filter(|it| it["path"].is_string() && it["req"] != "*") {
            let name = dependency["name"].as_str().expect("a name");
            assert!(names.contains(name), "{} needs {name}", package["name"]);
        }
    }
}

/// npm leaves out licenses of such names, unless they are listed.
#[test]
fn packages_for_npm_have_their_licenses() {
    for folder in ["client", "core/wasm"] {
        let folder = Path::new(HERE).join("..").join(folder);
        let text = fs::read_to_string(folder.join("package.json")).expect("a package");
        let package: Value = serde_json::from_str(&text).expect("JSON");
        let files = package["files"].as_array().expect("a list");
        for license in LICENSES {
            assert!(files.contains(&license.into()), "{folder:?}: {license}");
            // A link would be left out.
            let kind = fs::symlink_metadata(folder.join(license)).expect("a file");
            assert!(kind.is_file(), "{folder:?}: {license}");
        }
    }
}
