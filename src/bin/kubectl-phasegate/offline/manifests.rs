//! The objects in files, read as `kubectl apply -f` reads them.
//!
//! **Architecture invariant**: files, bytes, depth and memory are bounded here, so that the checks receive
//! small inputs only.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;
use serde_saphyr::Error;
use serde_saphyr::budget::BudgetBreach;

/// The extensions of files that are read from a folder.
const ENDINGS: [&str; 3] = ["json", "yaml", "yml"];

/// The maximum number of bytes in all files together, several times the size limit of one object in a cluster.
const MOST_BYTES: u64 = 16 << 20;

/// The maximum number of files, documents and items.
const MOST: usize = 10_000;

/// The maximum depth of nested values, and the maximum number of values in a document.
const DEEPEST: usize = 64;
const MOST_VALUES: usize = 250_000;

/// The maximum memory for one document, and for all documents together, in bytes.
const HEAVIEST: usize = 64 << 20;

/// The maximum depth of nested folders.
const DEEPEST_FOLDER: usize = 32;

/// An object with its location.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Its location.
    pub place: Place,
    /// The object.
    pub object: Value,
}

/// The location of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, or `stdin`.
    pub file: String,
    /// The number of its document, from 1. Empty documents do not count.
    pub document: usize,
    /// The number of its item in a `List`, from 1.
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
/// A sentence that names the file: it cannot be read, it is not YAML, or it exceeds a limit.
pub fn read(paths: &[PathBuf], recursive: bool, mut stdin: impl Read) -> Result<Vec<Manifest>, String> {
    let mut reading = Reading::default();
    for path in paths {
        if path == Path::new("-") {
            let text = reading.text("stdin", &mut stdin)?;
            reading.parse("stdin", &text)?;
            continue;
        }
        let mut found = Vec::new();
        files(path, recursive.then_some(DEEPEST_FOLDER), &mut found)?;
        for file in found {
            let name = file.display().to_string();
            let mut content = fs::File::open(&file).map_err(|error| unreadable(&name, &error))?;
            let text = reading.text(&name, &mut content)?;
            reading.parse(&name, &text)?;
        }
    }
    Ok(reading.manifests)
}

fn unreadable(name: &str, error: &io::Error) -> String {
    format!("failed to read {name}: {error}")
}

/// The file itself, or the files of a folder with a known extension, down to `levels` of nested folders. As in
/// kubectl, links to folders are not followed.
fn files(path: &Path, levels: Option<usize>, found: &mut Vec<PathBuf>) -> Result<(), String> {
    let name = path.display().to_string();
    let unreadable = |error: io::Error| unreadable(&name, &error);
    if !fs::metadata(path).map_err(unreadable)?.is_dir() {
        found.push(path.to_owned());
        return Ok(());
    }
    let entries: io::Result<Vec<fs::DirEntry>> = fs::read_dir(path).map_err(unreadable)?.collect();
    let mut entries = entries.map_err(unreadable)?;
    entries.sort_by_key(fs::DirEntry::path);
    for entry in entries {
        let path = entry.path();
        let holds_objects = path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known));
        match levels {
            Some(0) => return Err(format!("{name} is nested deeper than {DEEPEST_FOLDER} directories")),
            Some(levels) if entry.file_type().map_err(unreadable)?.is_dir() => files(&path, Some(levels - 1), found)?,
            _ if !path.is_dir() && holds_objects => found.push(path),
            _ => {}
        }
        if found.len() > MOST {
            return Err(format!("{name} has more than {MOST} files"));
        }
    }
    Ok(())
}

/// What was read so far.
#[derive(Default)]
struct Reading {
    manifests: Vec<Manifest>,
    bytes: u64,
    weight: usize,
}

impl Reading {
    /// Reads a text, which may be endless.
    fn text(&mut self, name: &str, content: &mut impl Read) -> Result<String, String> {
        let left = MOST_BYTES - self.bytes;
        let mut bytes = Vec::new();
        content.take(left + 1).read_to_end(&mut bytes).map_err(|error| unreadable(name, &error))?;
        self.bytes += bytes.len() as u64;
        if self.bytes > MOST_BYTES {
            return Err(format!("{name} is too large: all files together may have at most {} MiB", MOST_BYTES >> 20));
        }
        String::from_utf8(bytes).map_err(|_| format!("{name} is not valid UTF-8"))
    }

    /// The objects of a text with several documents. The items of a `List` are separate objects.
    fn parse(&mut self, file: &str, text: &str) -> Result<(), String> {
        // YAML as kubectl reads it: `yes` is true, and 0644 is octal.
        let options = serde_saphyr::options! {
            legacy_octal_numbers: true,
            with_snippet: false,
            budget: serde_saphyr::budget! {
                max_depth: DEEPEST,
                max_nodes: MOST_VALUES,
                max_total_scalar_bytes: HEAVIEST,
            },
        };
        let mut reader = text.as_bytes();
        for (number, document) in serde_saphyr::read_with_options::<_, Value>(&mut reader, options).enumerate() {
            let document_number = number + 1;
            let object = document.map_err(|error| wrong(&format!("{file}, document {document_number}"), &error))?;
            self.weight += weight(&object);
            let place = |item| Place { file: file.to_owned(), document: document_number, item };
            match items(object) {
                Ok(items) => self.manifests.extend(
                    items.into_iter().zip(1..).map(|(object, number)| Manifest { place: place(Some(number)), object }),
                ),
                Err(object) => self.manifests.push(Manifest { place: place(None), object }),
            }
            if self.weight > HEAVIEST {
                return Err(format!(
                    "{file} expands to more than {} MiB together with the files before it",
                    HEAVIEST >> 20
                ));
            }
            if self.manifests.len() > MOST {
                return Err(format!("{file} exceeds the limit of {MOST} objects"));
            }
        }
        Ok(())
    }
}

/// Why a document cannot be read. By aliases, a few lines may expand to gigabytes.
fn wrong(place: &str, error: &Error) -> String {
    let mut cause = error;
    while let Error::AliasError { error, .. } | Error::WithSnippet { error, .. } = cause {
        cause = error;
    }
    let Error::Budget { breach, .. } = cause else { return format!("{place} is not valid YAML: {error}") };
    match breach {
        BudgetBreach::Depth { .. } => format!("{place} is nested deeper than {DEEPEST} levels"),
        BudgetBreach::Nodes { .. } => format!("{place} has more than {MOST_VALUES} values"),
        BudgetBreach::ScalarBytes { .. } => format!("{place} expands to more than {} MiB", HEAVIEST >> 20),
        _ => format!("{place} expands beyond the limit through anchors and aliases"),
    }
}

/// The approximate memory of a value, in bytes.
fn weight(value: &Value) -> usize {
    const EACH: usize = 64;
    EACH + match value {
        Value::String(text) => text.len(),
        Value::Array(list) => list.iter().map(weight).sum(),
        Value::Object(fields) => fields.iter().map(|(key, value)| key.len() + weight(value)).sum(),
        _ => 0,
    }
}

/// The items of a list such as `kubectl get -o yaml` prints, or the object if it is not a list.
fn items(mut object: Value) -> Result<Vec<Value>, Value> {
    let is_list = object["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    match object.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) if is_list => Ok(items),
        Some(other) => {
            object["items"] = other;
            Err(object)
        }
        None => Err(object),
    }
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
        assert!(said.starts_with("stdin, document 2 is not valid YAML: "), "{said}");
        let twice = from_stdin("a: 1\na: 2\n").unwrap_err();
        assert!(twice.contains("duplicate"), "{twice}");
        let nowhere = read(&[PathBuf::from("/nowhere/shop.yaml")], false, io::empty()).unwrap_err();
        assert_eq!(nowhere, "failed to read /nowhere/shop.yaml: No such file or directory (os error 2)");
    }

    #[test]
    fn what_is_larger_than_anybody_means_is_refused_before_it_takes_the_memory() {
        let endless = read(&[PathBuf::from("-")], false, io::repeat(b' ')).unwrap_err();
        assert_eq!(endless, "stdin is too large: all files together may have at most 16 MiB");
        let zeros = read(&[PathBuf::from("/dev/zero")], false, io::empty()).unwrap_err();
        assert_eq!(zeros, "/dev/zero is too large: all files together may have at most 16 MiB");
        let binary = read(&[PathBuf::from("-")], false, &[0xff, 0xfe][..]).unwrap_err();
        assert_eq!(binary, "stdin is not valid UTF-8");
        assert_eq!(from_stdin(&"a: 1\n---\n".repeat(MOST)).unwrap().len(), MOST);
        let many = from_stdin(&"a: 1\n---\n".repeat(MOST + 1)).unwrap_err();
        assert_eq!(many, "stdin exceeds the limit of 10000 objects");
        let items = from_stdin(&format!("kind: List\nitems:\n{}", "- a: 1\n".repeat(MOST + 1))).unwrap_err();
        assert_eq!(items, "stdin exceeds the limit of 10000 objects");
    }

    #[test]
    fn a_text_that_stands_for_more_than_it_is_is_refused() {
        let big = "x".repeat(1 << 20);
        let anchors: String = (0..100).map(|n| format!("- &n{n} {n}\n")).collect();
        let repeated = format!("a: &a {big}\nb:\n{anchors}{}", "- *a\n".repeat(900));
        assert_eq!(from_stdin(&repeated).unwrap_err(), "stdin, document 1 expands to more than 64 MiB");
        let document = format!("---\na: &a {big}\nb:\n{}", "- *a\n".repeat(30));
        let said = from_stdin(&document.repeat(3)).unwrap_err();
        assert_eq!(said, "stdin expands to more than 64 MiB together with the files before it");
        let many = from_stdin(&format!("a: [{}]", "1,".repeat(300_000))).unwrap_err();
        assert_eq!(many, "stdin, document 1 has more than 250000 values");
        let bomb: String = (1..9).map(|n| format!("a{n}: &a{n} [{}]\n", format!("*a{},", n - 1).repeat(9))).collect();
        let said = from_stdin(&format!("a0: &a0 lol\n{bomb}")).unwrap_err();
        assert!(said.starts_with("stdin, document 1 expands") || said.ends_with("values"), "{said}");
    }

    #[test]
    fn what_is_nested_deeper_than_any_object_is_refused() {
        let block: String = (0..2_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        let flow = |open: &str, close: &str| format!("{}1{}", open.repeat(5_000), close.repeat(5_000));
        for text in [flow("[", "]"), flow("{a: ", "}"), block] {
            let said = from_stdin(&text).unwrap_err();
            assert!(said.starts_with("stdin, document 1 is "), "{said}");
        }
        let said = from_stdin(&format!("{}1{}", "[".repeat(70), "]".repeat(70))).unwrap_err();
        assert_eq!(said, "stdin, document 1 is nested deeper than 64 levels");
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
        // A link to the folder itself would have no end.
        std::os::unix::fs::symlink(&folder, folder.join("deeper/again")).unwrap();
        assert_eq!(names(true), ["a.yaml", "b.yml", "d.json"]);
        fs::remove_dir_all(folder).unwrap();
    }
}
