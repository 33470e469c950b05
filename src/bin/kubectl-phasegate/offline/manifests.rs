//! The objects of files, as `kubectl apply -f` reads them.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The endings of files that are read from a folder.
const ENDINGS: [&str; 3] = ["json", "yaml", "yml"];

/// An object, and where it was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Where it was found.
    pub place: Place,
    /// What was found there.
    pub object: Value,
}

/// Where an object was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, or `stdin`.
    pub file: String,
    /// Which of its documents, from 1; empty ones are not counted.
    pub document: usize,
    /// Which item of a `List`, from 1.
    pub item: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, document {}", self.file, self.document)?;
        self.item.map_or(Ok(()), |item| write!(f, ", item {item}"))
    }
}

/// Reads files, folders and, for `-`, `stdin`.
///
/// # Errors
/// A sentence that names the file: it cannot be read, or is no YAML.
pub fn read(paths: &[PathBuf], recursive: bool, mut stdin: impl Read) -> Result<Vec<Manifest>, String> {
    let mut manifests = Vec::new();
    for path in paths {
        if path == Path::new("-") {
            let mut text = String::new();
            stdin.read_to_string(&mut text).map_err(|error| format!("stdin cannot be read: {error}"))?;
            manifests.extend(parse("stdin", &text)?);
            continue;
        }
        for file in files(path, recursive)? {
            let text = fs::read_to_string(&file).map_err(|error| unreadable(&file, &error))?;
            manifests.extend(parse(&file.display().to_string(), &text)?);
        }
    }
    Ok(manifests)
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("{} cannot be read: {error}", path.display())
}

/// A file itself, or those of a folder that hold objects.
fn files(path: &Path, recursive: bool) -> Result<Vec<PathBuf>, String> {
    let unreadable = |error: io::Error| unreadable(path, &error);
    if !fs::metadata(path).map_err(unreadable)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries: io::Result<Vec<PathBuf>> =
        fs::read_dir(path).map_err(unreadable)?.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut entries = entries.map_err(unreadable)?;
    entries.sort();
    let mut found = Vec::new();
    for entry in entries {
        let holds_objects = entry.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known));
        if entry.is_dir() && recursive {
            found.extend(files(&entry, recursive)?);
        } else if !entry.is_dir() && holds_objects {
            found.push(entry);
        }
    }
    Ok(found)
}

/// The objects of a text with several documents, those of a `List` one by one.
fn parse(file: &str, text: &str) -> Result<Vec<Manifest>, String> {
    // YAML as kubectl reads it: `yes` is true, and 0644 is octal.
    let options = serde_saphyr::options! { legacy_octal_numbers: true, with_snippet: false };
    let mut reader = text.as_bytes();
    let mut manifests = Vec::new();
    for (number, document) in serde_saphyr::read_with_options::<_, Value>(&mut reader, options).enumerate() {
        let document_number = number + 1;
        let object = document.map_err(|error| format!("{file}, document {document_number} is no YAML: {error}"))?;
        let place = |item| Place { file: file.to_owned(), document: document_number, item };
        match items(&object) {
            Some(items) => manifests.extend(
                items
                    .iter()
                    .zip(1..)
                    .map(|(item, number)| Manifest { place: place(Some(number)), object: item.clone() }),
            ),
            None => manifests.push(Manifest { place: place(None), object }),
        }
    }
    Ok(manifests)
}

/// The items of a list such as `kubectl get -o yaml` prints.
fn items(object: &Value) -> Option<&Vec<Value>> {
    object["kind"].as_str().filter(|kind| kind.ends_with("List"))?;
    object["items"].as_array()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn from_stdin(text: &str) -> Result<Vec<Manifest>, String> {
        read(&[PathBuf::from("-")], false, text.as_bytes())
    }

    #[test]
    fn documents_are_counted_and_lists_are_taken_apart() {
        let text = "---\n# nothing but words\n---\na: 1\n---\nkind: List\nitems:\n- b: 2\n- c: 3\n---\n{\"d\": 4}\n";

        let found = from_stdin(text).unwrap();

        let told: Vec<(String, &Value)> =
            found.iter().map(|manifest| (manifest.place.to_string(), &manifest.object)).collect();
        assert_eq!(
            told,
            [
                ("stdin, document 1".to_owned(), &json!({ "a": 1 })),
                ("stdin, document 2, item 1".to_owned(), &json!({ "b": 2 })),
                ("stdin, document 2, item 2".to_owned(), &json!({ "c": 3 })),
                ("stdin, document 3".to_owned(), &json!({ "d": 4 })),
            ]
        );
    }

    #[test]
    fn yaml_is_read_as_kubectl_reads_it() {
        let found = from_stdin("a: yes\nb: 'yes'\nc: 0644\nd: 1.50\ne: ~\n").unwrap();

        assert_eq!(found[0].object, json!({ "a": true, "b": "yes", "c": 420, "d": 1.5, "e": null }));
    }

    #[test]
    fn what_is_no_yaml_is_named_with_its_place() {
        let said = from_stdin("a: 1\n---\nb: [1\n").unwrap_err();
        assert!(said.starts_with("stdin, document 2 is no YAML: "), "{said}");
        let twice = from_stdin("a: 1\na: 2\n").unwrap_err();
        assert!(twice.contains("duplicate"), "{twice}");
        let nowhere = read(&[PathBuf::from("/nowhere/shop.yaml")], false, io::empty()).unwrap_err();
        assert_eq!(nowhere, "/nowhere/shop.yaml cannot be read: No such file or directory (os error 2)");
    }

    #[test]
    fn a_folder_is_read_in_the_order_of_its_names_and_deeper_only_when_asked() {
        let folder = std::env::temp_dir().join(format!("phasegate-manifests-{}", std::process::id()));
        fs::create_dir_all(folder.join("deeper")).unwrap();
        for (name, text) in [("b.yml", "b: 1"), ("a.yaml", "a: 1"), ("c.txt", "c: 1"), ("deeper/d.json", "{}")] {
            fs::write(folder.join(name), text).unwrap();
        }
        let names = |recursive| {
            let found = read(std::slice::from_ref(&folder), recursive, io::empty()).unwrap();
            found
                .into_iter()
                .map(|manifest| manifest.place.file.rsplit('/').next().unwrap().to_owned())
                .collect::<Vec<_>>()
        };

        assert_eq!(names(false), ["a.yaml", "b.yml"]);
        assert_eq!(names(true), ["a.yaml", "b.yml", "d.json"]);
        fs::remove_dir_all(folder).unwrap();
    }
}
