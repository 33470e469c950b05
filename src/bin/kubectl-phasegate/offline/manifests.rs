//! The objects of files, as `kubectl apply -f` reads them.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;
use serde_saphyr::Error;
use serde_saphyr::budget::BudgetBreach;

/// The endings of files that are read from a folder.
const ENDINGS: [&str; 3] = ["json", "yaml", "yml"];

/// How many bytes are read of all files together: many times of what a cluster takes of one object.
const MOST_BYTES: u64 = 16 << 20;

/// How many files, documents and items are read.
const MOST: usize = 10_000;

/// How deep values may lie in each other, and how many a document may have.
const DEEPEST: usize = 64;
const MOST_VALUES: usize = 250_000;

/// What a document may take in memory, and all that are read together.
const HEAVIEST: usize = 64 << 20;

/// How deep folders may lie in each other.
const DEEPEST_FOLDER: usize = 32;

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
/// A sentence that names the file: it cannot be read, is no YAML, or holds more than anybody means to check.
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
    format!("{name} cannot be read: {error}")
}

/// A file itself, or those of a folder that hold objects; with those of folders in it, so many levels deep. As kubectl
/// does it, links to folders are not followed.
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
            Some(0) => return Err(format!("{name} lies deeper than {DEEPEST_FOLDER} folders")),
            Some(levels) if entry.file_type().map_err(unreadable)?.is_dir() => files(&path, Some(levels - 1), found)?,
            _ if !path.is_dir() && holds_objects => found.push(path),
            _ => {}
        }
        if found.len() > MOST {
            return Err(format!("{name} holds more than {MOST} files"));
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
    /// A text, which may have no end.
    fn text(&mut self, name: &str, content: &mut impl Read) -> Result<String, String> {
        let left = MOST_BYTES - self.bytes;
        let mut bytes = Vec::new();
        content.take(left + 1).read_to_end(&mut bytes).map_err(|error| unreadable(name, &error))?;
        self.bytes += bytes.len() as u64;
        if self.bytes > MOST_BYTES {
            return Err(format!("{name} is too large: at most {} MiB are read of all files", MOST_BYTES >> 20));
        }
        String::from_utf8(bytes).map_err(|_| format!("{name} cannot be read: it is no UTF-8"))
    }

    /// The objects of a text with several documents, those of a `List` one by one.
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
                return Err(format!("{file} stands for more than {} MiB with what was read before", HEAVIEST >> 20));
            }
            if self.manifests.len() > MOST {
                return Err(format!("{file} has more objects than the {MOST} that are read"));
            }
        }
        Ok(())
    }
}

/// Why a document cannot be read. A few lines may stand for gigabytes where they repeat each other by aliases.
fn wrong(place: &str, error: &Error) -> String {
    let mut cause = error;
    while let Error::AliasError { error, .. } | Error::WithSnippet { error, .. } = cause {
        cause = error;
    }
    let Error::Budget { breach, .. } = cause else { return format!("{place} is no YAML: {error}") };
    match breach {
        BudgetBreach::Depth { .. } => format!("{place} is nested deeper than {DEEPEST} levels"),
        BudgetBreach::Nodes { .. } => format!("{place} has more than {MOST_VALUES} values"),
        BudgetBreach::ScalarBytes { .. } => format!("{place} stands for more than {} MiB", HEAVIEST >> 20),
        _ => format!("{place} stands for more than is read, by its anchors and aliases"),
    }
}

/// About how many bytes a value takes in memory.
fn weight(value: &Value) -> usize {
    const EACH: usize = 64;
    EACH + match value {
        Value::String(text) => text.len(),
        Value::Array(list) => list.iter().map(weight).sum(),
        Value::Object(fields) => fields.iter().map(|(key, value)| key.len() + weight(value)).sum(),
        _ => 0,
    }
}

/// The items of a list such as `kubectl get -o yaml` prints, or the object that is none.
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
        assert!(said.starts_with("stdin, document 2 is no YAML: "), "{said}");
        let twice = from_stdin("a: 1\na: 2\n").unwrap_err();
        assert!(twice.contains("duplicate"), "{twice}");
        let nowhere = read(&[PathBuf::from("/nowhere/shop.yaml")], false, io::empty()).unwrap_err();
        assert_eq!(nowhere, "/nowhere/shop.yaml cannot be read: No such file or directory (os error 2)");
    }

    #[test]
    fn what_is_larger_than_anybody_means_is_refused_before_it_takes_the_memory() {
        let endless = read(&[PathBuf::from("-")], false, io::repeat(b' ')).unwrap_err();
        assert_eq!(endless, "stdin is too large: at most 16 MiB are read of all files");
        let zeros = read(&[PathBuf::from("/dev/zero")], false, io::empty()).unwrap_err();
        assert_eq!(zeros, "/dev/zero is too large: at most 16 MiB are read of all files");
        let binary = read(&[PathBuf::from("-")], false, &[0xff, 0xfe][..]).unwrap_err();
        assert_eq!(binary, "stdin cannot be read: it is no UTF-8");
        assert_eq!(from_stdin(&"a: 1\n---\n".repeat(MOST)).unwrap().len(), MOST);
        let many = from_stdin(&"a: 1\n---\n".repeat(MOST + 1)).unwrap_err();
        assert_eq!(many, "stdin has more objects than the 10000 that are read");
        let items = from_stdin(&format!("kind: List\nitems:\n{}", "- a: 1\n".repeat(MOST + 1))).unwrap_err();
        assert_eq!(items, "stdin has more objects than the 10000 that are read");
    }

    #[test]
    fn a_text_that_stands_for_more_than_it_is_is_refused() {
        let big = "x".repeat(1 << 20);
        let anchors: String = (0..100).map(|n| format!("- &n{n} {n}\n")).collect();
        let repeated = format!("a: &a {big}\nb:\n{anchors}{}", "- *a\n".repeat(900));
        assert_eq!(from_stdin(&repeated).unwrap_err(), "stdin, document 1 stands for more than 64 MiB");
        let document = format!("---\na: &a {big}\nb:\n{}", "- *a\n".repeat(30));
        let said = from_stdin(&document.repeat(3)).unwrap_err();
        assert_eq!(said, "stdin stands for more than 64 MiB with what was read before");
        let many = from_stdin(&format!("a: [{}]", "1,".repeat(300_000))).unwrap_err();
        assert_eq!(many, "stdin, document 1 has more than 250000 values");
        let bomb: String = (1..9).map(|n| format!("a{n}: &a{n} [{}]\n", format!("*a{},", n - 1).repeat(9))).collect();
        let said = from_stdin(&format!("a0: &a0 lol\n{bomb}")).unwrap_err();
        assert!(said.starts_with("stdin, document 1 stands for") || said.ends_with("values"), "{said}");
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
