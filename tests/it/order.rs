//! The rooms stand in one order: a folder imports only what stands before it, and within a folder no two files import
//! each other.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::path::Path;
use std::str::CharIndices;

use crate::contract::{code, sources};
use crate::harness::root;

/// The pure ones are core/src, the others src.
const ORDER: [&str; 11] =
    ["parse", "api", "children", "decide", "queue", "metrics", "cluster", "cache", "registry", "control", "service"];

/// A path of modules, and what an import names.
type Names = Vec<String>;

#[test]
fn a_folder_imports_only_what_stands_before_it_and_its_files_only_one_way() {
    let order = ORDER.join(" ← ");
    println!("{order}");
    let offences = offences(&all_imports());
    assert!(offences.is_empty(), "{order}\n{} offences:\n{}", offences.len(), offences.join("\n"));
}

/// An import of a module: who, at which place of the source, and what.
struct Import {
    from: Names,
    place: String,
    to: Names,
}

fn all_imports() -> Vec<Import> {
    let mut files = Vec::new();
    for base in ["core/src", "src"].map(|base| root().join(base)) {
        let mut found = Vec::new();
        ORDER.iter().filter(|folder| base.join(folder).is_dir()).for_each(|name| sources(&base.join(name), &mut found));
        found.extend(ORDER.iter().map(|name| base.join(name).with_extension("rs")).filter(|file| file.is_file()));
        files.extend(found.into_iter().map(|file| (module(file.strip_prefix(&base).unwrap()), file)));
    }
    let found: Vec<&String> = files.iter().map(|(module, _)| &module[0]).collect();
    assert!(ORDER.iter().all(|folder| found.contains(&&(*folder).to_owned())), "the folders are {ORDER:?}");
    let mut imports = Vec::new();
    for (from, file) in &files {
        let source = std::fs::read_to_string(file).unwrap();
        for (line, names) in paths(&code(&source)) {
            let names = absolute(from, &names);
            // What is not a module of its own is in the longest that is named.
            let to = files.iter().map(|(module, _)| module).filter(|module| names.starts_with(module));
            let Some(to) = to.max_by_key(|module| module.len()).cloned() else { continue };
            let place = format!("{}:{line}", file.strip_prefix(root()).unwrap().display());
            imports.push(Import { from: from.clone(), place, to });
        }
    }
    imports
}

fn module(file: &Path) -> Names {
    let names = file.with_extension("").iter().map(|name| name.to_str().unwrap().to_owned()).collect::<Names>();
    names.into_iter().filter(|name| name != "mod").collect()
}

fn offences(imports: &[Import]) -> Vec<String> {
    let floor = |names: &Names| ORDER.iter().position(|folder| *folder == names[0]);
    let mut next: BTreeMap<&Names, Vec<&Names>> = BTreeMap::new();
    // A module and what is in it are one thing.
    let beside = |import: &&Import| !import.from.starts_with(&import.to) && !import.to.starts_with(&import.from);
    for import in imports.iter().filter(beside).filter(|import| import.from[0] == import.to[0]) {
        next.entry(&import.from).or_default().push(&import.to);
    }
    let leads_back = |import: &Import| {
        let (mut seen, mut todo) = (vec![], vec![&import.to]);
        while let Some(names) = todo.pop().filter(|_| !seen.contains(&&import.from)) {
            let new = next.get(names).into_iter().flatten().filter(|names| !seen.contains(names)).copied();
            let new: Vec<&Names> = new.collect();
            seen.extend(&new);
            todo.extend(new);
        }
        seen.contains(&&import.from)
    };
    let offence = |import: &&Import| {
        let why = match floor(&import.to).cmp(&floor(&import.from)) {
            std::cmp::Ordering::Greater => "stands later",
            std::cmp::Ordering::Equal if beside(import) && leads_back(import) => "leads back to it",
            _ => return None,
        };
        Some(format!("{} imports {}, which {why}", import.place, import.to.join("::")))
    };
    let mut found: Vec<String> = imports.iter().filter_map(|import| offence(&import)).collect();
    // One line may name several things of a module.
    found.dedup();
    found
}

/// What a path from this module means, from the crate's root on.
fn absolute(from: &[String], names: &[String]) -> Names {
    let ups = names.iter().take_while(|name| *name == "super").count();
    match names[0].as_str() {
        "super" => [&from[..from.len().saturating_sub(ups)], &names[ups..]].concat(),
        "self" => [from, &names[1..]].concat(),
        _ => names[1..].to_vec(),
    }
}

/// The paths of code that begin at a crate's root or at a module, each with its line. Groups are taken apart.
fn paths(code: &str) -> Vec<(usize, Names)> {
    let mut found = Vec::new();
    let mut rest = code.char_indices().peekable();
    let mut before = ' ';
    while let Some(&(at, next)) = rest.peek() {
        let begins = !(is_word(before) || before == ':') && is_word(next);
        before = next;
        if begins && ["crate", "super", "self", "phasegate_core"].contains(&word_at(&code[at..])) {
            tree(code, &mut rest, &[], &mut found);
            before = 'x';
        } else {
            rest.next();
        }
    }
    found.retain(|(_, names)| names.len() > 1);
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn word_at(code: &str) -> &str {
    &code[..code.find(|c| !is_word(c)).unwrap_or(code.len())]
}

/// One path, or the paths of a group.
fn tree(code: &str, rest: &mut Peekable<CharIndices>, before: &[String], found: &mut Vec<(usize, Names)>) {
    let blank = |rest: &mut Peekable<CharIndices>| while rest.next_if(|(_, c)| c.is_whitespace()).is_some() {};
    let mut names = before.to_vec();
    let line = |at: usize| code[..at].lines().count().max(1);
    loop {
        blank(rest);
        let Some(&(at, next)) = rest.peek() else { return };
        if next == '{' {
            while rest.next_if(|(_, c)| *c == '{' || *c == ',').is_some() {
                tree(code, rest, &names, found);
                // An `as` and the rest of a name are no part of the path.
                while rest.next_if(|(_, c)| *c != ',' && *c != '}').is_some() {}
            }
            rest.next_if(|(_, c)| *c == '}');
            return;
        }
        let word = word_at(&code[at..]);
        if !word.is_empty() && !(word == "self" && !names.is_empty()) {
            names.push(word.to_owned());
        }
        word.chars().for_each(|_| drop(rest.next()));
        if !code[at + word.len()..].starts_with("::") || word.is_empty() {
            if names.len() > before.len() || word == "self" {
                found.push((line(at + 1), names));
            }
            return;
        }
        rest.nth(1);
    }
}

#[test]
fn imports_are_found_in_groups_in_paths_and_upwards() {
    let of = |source: &str| -> Vec<String> {
        let names = paths(&code(source)).into_iter();
        names.map(|(line, names)| format!("{line} {}", names.join("::"))).collect()
    };
    for (source, found) in [
        ("use crate::cluster::calls::Object;", &["1 crate::cluster::calls::Object"][..]),
        (
            "use crate::{cluster::calls, cache::{seen, index}};",
            &["1 crate::cluster::calls", "1 crate::cache::seen", "1 crate::cache::index"],
        ),
        (
            "use crate::cache::{\n    self,\n    seen::Seen as Saw,\n    index::*,\n};\nuse std::fs;",
            &["2 crate::cache", "3 crate::cache::seen::Seen", "4 crate::cache::index"],
        ),
        ("fn f(a: crate::api::State) -> super::super::B {}", &["1 crate::api::State", "1 super::super::B"]),
        ("pub(crate) fn f(&self) { self.a(); phasegate_core::queue::f::<u8>() }", &["1 phasegate_core::queue::f"]),
        ("// use crate::a;\nuse kube::api::crate_::B;\n#[cfg(test)]\nmod tests {\n    use crate::control;\n}", &[]),
    ] {
        assert_eq!(of(source), found, "{source}");
    }
    let names = |path: &str| path.split("::").map(str::to_owned).collect::<Names>();
    for (from, path, meant) in [
        ("cache::seen", "crate::cluster::calls", "cluster::calls"),
        ("registry::report::parts", "super::super::known::Known", "registry::known::Known"),
        ("registry", "self::known", "registry::known"),
    ] {
        assert_eq!(absolute(&names(from), &names(path)), names(meant));
    }
}

#[test]
fn an_import_of_a_later_folder_and_a_circle_of_files_are_offences() {
    let names = |path: &str| path.split("::").map(str::to_owned).collect::<Names>();
    let import = |(from, to): (&str, &str)| Import { from: names(from), place: from.to_owned(), to: names(to) };
    let found = |pairs: &[(&str, &str)]| offences(&pairs.iter().copied().map(import).collect::<Vec<_>>());
    assert_eq!(
        found(&[("cache::seen", "cluster::calls"), ("cache", "cache::seen"), ("cache::seen", "cache")]),
        [""; 0]
    );
    assert_eq!(found(&[("cluster::calls", "cache::seen")]), ["cluster::calls imports cache::seen, which stands later"]);
    let circle =
        [("cache::a", "cache::b"), ("cache::b", "cache::c"), ("cache::c", "cache::a"), ("cache::a", "cache::d")];
    assert_eq!(found(&circle).len(), 3);
}
