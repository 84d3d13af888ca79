//! Which files a script consists of: a jail around the script's folder and the embedded library, with every file hashed.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rhai::{
    AST, ASTNode, Engine, EvalAltResult, Expr, Module, ModuleResolver, ParseErrorType, Position, Scope, Shared, Stmt,
};
use sha2::{Digest, Sha256};

use crate::error::{Error, Kind, Result};
use crate::primitives;
use crate::script::did_you_mean;

/// The stock scripts, readable under `scripts/` and part of the program.
const SCRIPTS: &[(&str, &str)] = &[
    ("backup_config", include_str!("../../scripts/backup_config.rhai")),
    ("backup_database", include_str!("../../scripts/backup_database.rhai")),
    ("backup_git", include_str!("../../scripts/backup_git.rhai")),
    ("backup_models", include_str!("../../scripts/backup_models.rhai")),
    ("backup_stats", include_str!("../../scripts/backup_stats.rhai")),
    ("backup_volumes", include_str!("../../scripts/backup_volumes.rhai")),
    ("check_backup", include_str!("../../scripts/check_backup.rhai")),
    ("check_integrity", include_str!("../../scripts/check_integrity.rhai")),
    ("daily_check", include_str!("../../scripts/daily_check.rhai")),
    ("demo", include_str!("../../scripts/demo.rhai")),
    ("demo_postgres", include_str!("../../scripts/demo_postgres.rhai")),
    ("disaster_recovery", include_str!("../../scripts/disaster_recovery.rhai")),
    ("disaster_test", include_str!("../../scripts/disaster_test.rhai")),
    ("drill", include_str!("../../scripts/drill.rhai")),
    ("drill_system", include_str!("../../scripts/drill_system.rhai")),
    ("full_backup", include_str!("../../scripts/full_backup.rhai")),
    ("full_system", include_str!("../../scripts/full_system.rhai")),
    ("list_backups", include_str!("../../scripts/list_backups.rhai")),
    ("masked_copy", include_str!("../../scripts/masked_copy.rhai")),
    ("prune", include_str!("../../scripts/prune.rhai")),
    ("remove_old_backups", include_str!("../../scripts/remove_old_backups.rhai")),
    ("restore", include_str!("../../scripts/restore.rhai")),
    ("restore_config", include_str!("../../scripts/restore_config.rhai")),
    ("restore_database", include_str!("../../scripts/restore_database.rhai")),
    ("restore_git", include_str!("../../scripts/restore_git.rhai")),
    ("restore_models", include_str!("../../scripts/restore_models.rhai")),
    ("restore_table", include_str!("../../scripts/restore_table.rhai")),
    ("restore_test", include_str!("../../scripts/restore_test.rhai")),
    ("restore_volume", include_str!("../../scripts/restore_volume.rhai")),
    ("scheduled_verification", include_str!("../../scripts/scheduled_verification.rhai")),
    ("verify_backup", include_str!("../../scripts/verify_backup.rhai")),
    ("verify_ml_versions", include_str!("../../scripts/verify_ml_versions.rhai")),
    ("verify_ml_versions_basic", include_str!("../../scripts/verify_ml_versions_basic.rhai")),
    ("verify_restore", include_str!("../../scripts/verify_restore.rhai")),
];

/// The script library, readable under `stdlib/` and imported as `std/NAME`.
const LIBRARY: &[(&str, &str)] = &[
    ("estate", include_str!("../../stdlib/estate.rhai")),
    ("pause", include_str!("../../stdlib/pause.rhai")),
    ("places", include_str!("../../stdlib/places.rhai")),
    ("recovery", include_str!("../../stdlib/recovery.rhai")),
    ("sets", include_str!("../../stdlib/sets.rhai")),
    ("system", include_str!("../../stdlib/system.rhai")),
    ("tables", include_str!("../../stdlib/tables.rhai")),
];

/// A larger script is not one.
const LARGEST: u64 = 1 << 20;

/// Where a script's text comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A file, as the operator would name it, and where it really is.
    File {
        /// The path to show.
        shown: PathBuf,
        /// The canonical path.
        real: PathBuf,
    },
    /// A stock script or library module of the program itself, by its name.
    Embedded(String),
}

impl Origin {
    /// Returns the name that messages use.
    pub fn shown(&self) -> String {
        match self {
            Origin::File { shown, .. } => shown.display().to_string(),
            Origin::Embedded(name) => format!("<{name}>"),
        }
    }

    /// Returns what `runner` calls it by.
    pub fn called(&self) -> String {
        match self {
            Origin::File { .. } => self.shown(),
            Origin::Embedded(name) => name.clone(),
        }
    }

    /// Returns the bare file name.
    pub fn file_name(&self) -> String {
        match self {
            Origin::File { real, .. } => real.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            Origin::Embedded(name) => format!("{}.rhai", name.replace('/', "_")),
        }
    }
}

/// One file of a script.
#[derive(Debug, Clone)]
pub struct Source {
    /// Where it comes from.
    pub origin: Origin,
    /// Its text.
    pub text: String,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
}

/// Loads a script and what it imports. Clones share what was loaded.
#[derive(Clone)]
pub struct Loader(Arc<Inner>);

struct Inner {
    main: Origin,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    loaded: BTreeMap<Origin, (Source, Option<AST>)>,
    modules: BTreeMap<Origin, Shared<Module>>,
    order: Vec<Origin>,
    /// Files that were looked for and are not there: saving them may mend the script.
    missing: Vec<PathBuf>,
}

impl Loader {
    /// Finds a script by its path, or a stock script by its name. A path wins: a fork in the folder is what is meant.
    pub fn new(name: &str) -> Result<Self> {
        let main = find(name)?;
        Ok(Self(Arc::new(Inner { main, state: Mutex::default() })))
    }

    /// Takes a stock script.
    pub(super) fn stock(name: &str) -> Self {
        Self(Arc::new(Inner { main: Origin::Embedded(name.to_owned()), state: Mutex::default() }))
    }

    /// Returns where the script itself comes from.
    pub fn main(&self) -> &Origin {
        &self.0.main
    }

    /// Compiles the script and, through its constant imports, everything that it stands on.
    pub(super) fn compile_all(&self, engine: &Engine) -> Result<AST, Box<EvalAltResult>> {
        let ast = self.load(engine, &self.0.main, Position::NONE)?;
        let mut waiting = vec![(self.0.main.clone(), ast.clone())];
        while let Some((origin, ast)) = waiting.pop() {
            for (path, position) in constant_imports(&ast) {
                let inside = |e| Box::new(EvalAltResult::ErrorInModule(origin.shown(), e, position));
                let origin = self.locate(&origin, &path, position).map_err(inside)?;
                if !self.is_loaded(&origin) {
                    let ast = self.load(engine, &origin, position)?;
                    waiting.push((origin, ast));
                }
            }
        }
        Ok(ast)
    }

    /// Returns every file that was loaded, the script itself first.
    pub fn sources(&self) -> Vec<Source> {
        let state = self.lock();
        state.order.iter().filter_map(|o| state.loaded.get(o)).map(|(source, _)| source.clone()).collect()
    }

    /// Returns the compiled form of every file that was loaded.
    pub(super) fn compiled(&self) -> Vec<(Source, AST)> {
        let state = self.lock();
        let loaded = state.order.iter().filter_map(|o| state.loaded.get(o));
        loaded.filter_map(|(source, ast)| Some((source.clone(), ast.clone()?))).collect()
    }

    /// Returns the files whose change may change the script with their SHA-256, also those that are not there.
    pub(super) fn watched(&self) -> Vec<(PathBuf, Option<String>)> {
        let state = self.lock();
        let mut files: BTreeMap<PathBuf, Option<String>> =
            state.missing.iter().map(|file| (file.clone(), None)).collect();
        let loaded = state.loaded.iter().map(|(origin, (source, _))| (origin, Some(source.sha256.clone())));
        for (origin, sha256) in loaded.chain([(&self.0.main, None)]) {
            if let Origin::File { real, .. } = origin {
                files.entry(real.clone()).or_insert(sha256);
            }
        }
        files.into_iter().collect()
    }

    /// Returns the source with the name that messages use.
    pub(super) fn source(&self, shown: &str) -> Option<Source> {
        self.lock().loaded.values().map(|(source, _)| source).find(|s| s.origin.shown() == shown).cloned()
    }

    fn load(&self, engine: &Engine, origin: &Origin, at: Position) -> Result<AST, Box<EvalAltResult>> {
        let text = read(origin).map_err(|e| not_found(&e.to_string(), at))?;
        let sha256 = hex(&Sha256::digest(text.as_bytes()));
        let source = Source { origin: origin.clone(), text: text.clone(), sha256 };
        {
            let mut state = self.lock();
            state.loaded.insert(origin.clone(), (source, None));
            if !state.order.contains(origin) {
                state.order.push(origin.clone());
            }
        }
        let in_file = |e: Box<EvalAltResult>| Box::new(EvalAltResult::ErrorInModule(origin.shown(), e, at));
        let mut ast = engine.compile(&text).map_err(|e| in_file(Box::new(EvalAltResult::ErrorParsing(*e.0, e.1))))?;
        ast.set_source(origin.shown());
        refuse_shadows(&ast, &text).map_err(in_file)?;
        if let Some((_, compiled)) = self.lock().loaded.get_mut(origin) {
            *compiled = Some(ast.clone());
        }
        Ok(ast)
    }

    /// Finds the file that `import "path"` in `from` means.
    fn locate(&self, from: &Origin, path: &str, at: Position) -> Result<Origin, Box<EvalAltResult>> {
        if let Some(name) = path.strip_prefix("std/") {
            return embedded(LIBRARY, name).map(|_| Origin::Embedded(path.to_owned())).ok_or_else(|| {
                let known = LIBRARY.iter().map(|(name, _)| *name);
                let hint = did_you_mean(name, known).map_or(String::new(), |hint| format!("; {hint}"));
                not_found(&format!("the library has no module {path}{hint}"), at)
            });
        }
        let (Origin::File { shown, real }, Origin::File { real: main, .. }) = (from, &self.0.main) else {
            return Err(not_found(&format!("{path}: a stock script imports from std/ only"), at));
        };
        let wanted = Path::new(path);
        if wanted.is_absolute() || wanted.components().any(|c| c == Component::ParentDir) {
            return Err(not_found(&format!("{path} leaves the script's folder; imports are relative and go down"), at));
        }
        let beside = |file: &Path| file.parent().unwrap_or(Path::new("")).join(wanted).with_extension("rhai");
        let (shown, file) = (beside(shown), beside(real));
        let Ok(real) = file.canonicalize() else {
            self.lock().missing.push(file);
            return Err(not_found(&format!("{} is not there", shown.display()), at));
        };
        let jail = main.parent().unwrap_or(Path::new("/"));
        if !real.starts_with(jail) {
            return Err(not_found(&format!("{} is a link that leaves the script's folder", shown.display()), at));
        }
        Ok(Origin::File { shown, real })
    }

    fn is_loaded(&self, origin: &Origin) -> bool {
        self.lock().loaded.contains_key(origin)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ModuleResolver for Loader {
    fn resolve(
        &self,
        engine: &Engine,
        source: Option<&str>,
        path: &str,
        at: Position,
    ) -> Result<Shared<Module>, Box<EvalAltResult>> {
        let from = source.and_then(|s| self.source(s)).map_or_else(|| self.0.main.clone(), |s| s.origin);
        let origin = self.locate(&from, path, at)?;
        if let Some(module) = self.lock().modules.get(&origin) {
            return Ok(module.clone());
        }
        // What runs is what was hashed before the run: a file that was saved since, or a path that was put together while
        // the script runs, is not in its evidence.
        let compiled = self.lock().loaded.get(&origin).and_then(|(_, ast)| ast.clone());
        let ast = compiled
            .ok_or_else(|| not_found(&format!("{path}: an import is a plain text, known before the run"), at))?;
        let module = Module::eval_ast_as_new(Scope::new(), &ast, engine)
            .map_err(|e| Box::new(EvalAltResult::ErrorInModule(origin.shown(), e, at)))?;
        let module: Shared<Module> = module.into();
        self.lock().modules.insert(origin, module.clone());
        Ok(module)
    }
}

fn find(name: &str) -> Result<Origin> {
    let path = Path::new(name);
    for candidate in [path.to_owned(), path.with_extension("rhai")] {
        if candidate.is_file() {
            let real = candidate.canonicalize().map_err(|e| Error::io("open", &candidate, &e))?;
            return Ok(Origin::File { shown: candidate, real });
        }
    }
    let bare = name.strip_suffix(".rhai").unwrap_or(name);
    if embedded(SCRIPTS, bare).is_some() {
        return Ok(Origin::Embedded(bare.to_owned()));
    }
    let error = Error::new(Kind::Missing, format!("there is no script {name}")).on(name);
    let hint = did_you_mean(bare, SCRIPTS.iter().map(|(name, _)| *name));
    Err(error.hint(hint.unwrap_or_else(|| "give a path, or a name from `runner list`".into())))
}

fn read(origin: &Origin) -> Result<String> {
    match origin {
        Origin::File { real, .. } => {
            let size = real.metadata().map_err(|e| Error::io("read", real, &e))?.len();
            if size > LARGEST {
                return Err(Error::new(Kind::Usage, format!("{} is larger than 1 MiB: not a script", real.display())));
            }
            std::fs::read_to_string(real).map_err(|e| Error::io("read", real, &e))
        }
        Origin::Embedded(name) => {
            let text =
                name.strip_prefix("std/").map_or_else(|| embedded(SCRIPTS, name), |module| embedded(LIBRARY, module));
            text.map(str::to_owned).ok_or_else(|| Error::new(Kind::Missing, format!("there is no stock script {name}")))
        }
    }
}

fn embedded(from: &'static [(&str, &str)], name: &str) -> Option<&'static str> {
    from.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// Returns the names of the stock scripts.
pub fn stock_names() -> impl Iterator<Item = &'static str> {
    SCRIPTS.iter().map(|(name, _)| *name)
}

/// Returns the text of a stock script.
pub fn stock_text(name: &str) -> Option<&'static str> {
    embedded(SCRIPTS, name)
}

fn not_found(what: &str, at: Position) -> Box<EvalAltResult> {
    Box::new(EvalAltResult::ErrorModuleNotFound(what.to_owned(), at))
}

/// A script function of a verb's name would be called instead of it, also by the modules it imports: a drill could
/// bring its own `compare` that always agrees.
fn refuse_shadows(ast: &AST, text: &str) -> Result<(), Box<EvalAltResult>> {
    let shadow = ast.iter_functions().map(|f| f.name.to_owned()).find(|name| primitives::find(name).is_some());
    match shadow {
        None => Ok(()),
        Some(name) => {
            let at = definition_of(&name, text);
            Err(Box::new(EvalAltResult::ErrorParsing(ParseErrorType::FnDuplicatedDefinition(name, 0), at)))
        }
    }
}

/// Rhai keeps no place for the head of a function, so its text is searched.
fn definition_of(name: &str, text: &str) -> Position {
    let head = format!("fn {name}");
    let found =
        text.lines().enumerate().find_map(|(n, line)| line.find(&head).map(|at| (n, line[..at].chars().count())));
    match found.map(|(n, column)| (u16::try_from(n + 1), u16::try_from(column + 4))) {
        Some((Ok(line), Ok(column))) => Position::new(line, column),
        _ => Position::NONE,
    }
}

fn constant_imports(ast: &AST) -> Vec<(String, Position)> {
    let mut imports = Vec::new();
    ast.walk(&mut |nodes: &[ASTNode]| {
        if let Some(ASTNode::Stmt(Stmt::Import(import, _))) = nodes.last()
            && let Expr::StringConstant(path, at) = &import.0
        {
            imports.push((path.to_string(), *at));
        }
        true
    });
    imports
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
