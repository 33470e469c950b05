//! The source folders have an order: a folder imports only folders before it, and the files of a folder have no import
//! cycle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::{Visit, visit_item_mod};
use syn::{Attribute, ItemMod, ItemUse, UseTree};

use crate::contract::sources;
use crate::harness::root;

/// Folders of core/src come first, folders of src follow.
const ORDER: [&str; 15] = [
    "parse", "secrets", "shown", "api", "children", "decide", "outbox", "queue", "metrics", "cluster", "cache",
    "registry", "sink", "control", "service",
];

/// A module's path in its crate: `control::watch::requeue`.
type Module = Vec<String>;
type Imports = BTreeMap<Module, BTreeSet<Module>>;

#[test]
fn a_folder_imports_only_what_stands_before_it_and_its_files_only_one_way() {
    println!("{}", ORDER.join(" ← "));
    let mut files = files_of("core/src");
    files.extend(files_of("src"));
    files.retain(|(module, _)| module.first().is_some_and(|folder| ORDER.contains(&folder.as_str())));
    let is_there = |folder: &&str| files.iter().any(|(module, _)| module[0] == **folder);
    assert!(ORDER.iter().all(is_there), "the folders are {ORDER:?}");
    assert_eq!(offences(&imports_of(&files), &ORDER), [""; 0]);
}

#[test]
fn the_plugins_files_import_each_other_only_one_way() {
    assert_eq!(offences(&imports_of(&files_of("src/bin/kubectl-phasegate")), &[]), [""; 0]);
}

/// The files below a folder, as modules.
fn files_of(base: &str) -> Vec<(Module, PathBuf)> {
    let base = root().join(base);
    let mut found = Vec::new();
    sources(&base, &mut found);
    found.into_iter().map(|file| (module(file.strip_prefix(&base).unwrap()), file)).collect()
}

/// The imports of each module. A module of both crates has the imports of both files.
fn imports_of(files: &[(Module, PathBuf)]) -> Imports {
    let modules: BTreeSet<Module> = files.iter().map(|(module, _)| module.clone()).collect();
    let mut imports = Imports::new();
    for (module, file) in files {
        let source = std::fs::read_to_string(file).unwrap();
        imports.entry(module.clone()).or_default().extend(imported(module, &source, &modules));
    }
    imports
}

#[test]
fn an_import_of_a_later_folder_and_a_circle_of_files_are_offences() {
    let modules = ["api", "cache", "cache::index", "cache::pods", "cache::seen", "control::work"];
    let modules: BTreeSet<Module> = modules.map(path).into();
    let of = |module: &str, source: &str| (path(module), imported(&path(module), source, &modules));
    let grouped = "use crate::{api::Phase, control::work::{self, Work}};\n#[cfg(test)]\nmod tests { use super::super::seen::Seen; }";
    let imports = Imports::from([
        of("cache::index", grouped),
        of("cache::pods", "pub use super::seen::Seen;\nuse std::collections::BTreeMap;"),
        of("cache::seen", "use super::{self as cache, pods as other};"),
        of("cache", "mod index;\npub use self::index::Index;"),
        of("control::work", "use crate::cache::index::Index;"),
    ]);
    assert_eq!(imports[&path("cache::index")], ["api", "control::work"].map(path).into());
    assert_eq!(imports[&path("cache::seen")], ["cache", "cache::pods"].map(path).into());
    assert_eq!(
        offences(&imports, &ORDER),
        [
            "cache::index imports control::work, which stands later",
            "cache::pods imports cache::seen, which leads back to it",
            "cache::seen imports cache::pods, which leads back to it",
        ]
    );
}

fn path(text: &str) -> Module {
    text.split("::").map(str::to_owned).collect()
}

fn module(file: &Path) -> Module {
    let names = file.with_extension("").iter().map(|name| name.to_str().unwrap().to_owned()).collect::<Module>();
    names.into_iter().filter(|name| name != "mod").collect()
}

/// Whether neither module contains the other. A module and its content count as one.
fn apart(a: &Module, b: &Module) -> bool {
    !a.starts_with(b) && !b.starts_with(a)
}

/// Whether a chain of imports leads from one module to another.
fn leads_to(imports: &Imports, from: &Module, goal: &Module) -> bool {
    let (mut seen, mut todo) = (BTreeSet::new(), vec![from]);
    while let Some(module) = todo.pop() {
        let next = imports.get(module).into_iter().flatten().filter(|to| apart(module, to));
        todo.extend(next.filter(|to| seen.insert(*to)));
    }
    seen.contains(goal)
}

fn offences(imports: &Imports, order: &[&str]) -> Vec<String> {
    let floor = |module: &Module| order.iter().position(|folder| *folder == module[0]);
    let mut found = Vec::new();
    for (from, all) in imports {
        for to in all {
            let why = match floor(to).cmp(&floor(from)) {
                std::cmp::Ordering::Greater => "stands later",
                std::cmp::Ordering::Equal if apart(from, to) && leads_to(imports, to, from) => "leads back to it",
                _ => continue,
            };
            found.push(format!("{} imports {}, which {why}", from.join("::"), to.join("::")));
        }
    }
    found
}

/// The modules that a source imports, without tests.
fn imported(module: &Module, source: &str, modules: &BTreeSet<Module>) -> BTreeSet<Module> {
    let mut paths = Paths::default();
    paths.visit_file(&syn::parse_file(source).unwrap());
    let absolute = paths.found.iter().map(|names| {
        let ups = names.iter().take_while(|name| *name == "super").count();
        match names[0].as_str() {
            "crate" | "phasegate_core" => names[1..].to_vec(),
            "super" => [&module[..module.len() - ups], &names[ups..]].concat(),
            "self" => [module, &names[1..]].concat(),
            _ => [module, names.as_slice()].concat(),
        }
    });
    // An item belongs to the module with the longest matching path.
    let named = |names: Module| modules.iter().filter(|other| names.starts_with(other)).max_by_key(|one| one.len());
    absolute.filter_map(named).filter(|other| *other != module).cloned().collect()
}

/// Every path that is imported or named in code.
#[derive(Default)]
struct Paths {
    found: Vec<Vec<String>>,
}

impl Paths {
    fn take(&mut self, before: &[String], tree: &UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.take(&with(&path.ident), &path.tree),
            UseTree::Group(group) => group.items.iter().for_each(|item| self.take(before, item)),
            UseTree::Name(name) if name.ident == "self" => self.found.push(before.to_vec()),
            UseTree::Rename(name) if name.ident == "self" => self.found.push(before.to_vec()),
            UseTree::Name(name) => self.found.push(with(&name.ident)),
            UseTree::Rename(name) => self.found.push(with(&name.ident)),
            UseTree::Glob(_) => self.found.push(before.to_vec()),
        }
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.take(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if ["crate", "super", "phasegate_core"].contains(&names[0].as_str()) {
            self.found.push(names);
        }
        syn::visit::visit_path(self, path);
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let is_tests = |attribute: &Attribute| attribute.path().is_ident("cfg") && item.ident == "tests";
        if !item.attrs.iter().any(is_tests) {
            visit_item_mod(self, item);
        }
    }
}
