//! A look at a component before it is compiled: its size and shape, what it imports, what it exports. Compilation costs
//! time and memory, so what cannot be used is found before.

use wasmparser::{Encoding, Parser, Payload};

use crate::component::LoadError;
use crate::limits::Limits;

/// The contract's package and the version that this host speaks.
const PACKAGE: &str = "cairn:plugin/";
const VERSION: &str = "0.1.0";
/// What may be imported: the log, and types, which are names and no functions.
const IMPORTS: [&str; 2] = ["log", "types"];
/// What must be exported.
const EXPORTS: [&str; 6] = ["manifest", "aggregates", "upcasting", "projections", "queries", "policies"];

/// Checks a component's outside.
pub(crate) fn inspect(bytes: &[u8], limits: &Limits) -> Result<(), LoadError> {
    if bytes.len() > limits.component_bytes {
        return Err(LoadError::TooLarge { bytes: bytes.len(), limit: limits.component_bytes });
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(LoadError::NotWasm);
    }
    let mut shape = Shape { depth: 0, functions: 0, exports: Vec::new() };
    for payload in Parser::new(0).parse_all(bytes) {
        shape.visit(payload.map_err(|error| LoadError::Malformed(error.to_string()))?, limits)?;
    }
    shape.check_exports()
}

struct Shape<'a> {
    depth: usize,
    functions: u32,
    exports: Vec<&'a str>,
}

impl<'a> Shape<'a> {
    fn visit(&mut self, payload: Payload<'a>, limits: &Limits) -> Result<(), LoadError> {
        let malformed = |error: wasmparser::BinaryReaderError| LoadError::Malformed(error.to_string());
        match payload {
            Payload::Version { encoding: Encoding::Module, .. } if self.depth == 0 => {
                return Err(LoadError::CoreModule);
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                self.depth += 1;
                within("levels of nesting", self.depth, limits.component_nesting)?;
            }
            Payload::End(_) => self.depth = self.depth.saturating_sub(1),
            Payload::CodeSectionStart { count, .. } => {
                self.functions = self.functions.saturating_add(count);
                within("functions", self.functions as usize, limits.component_functions as usize)?;
            }
            Payload::CodeSectionEntry(body) => {
                let bytes = body.as_bytes().len();
                within("bytes of code in one function", bytes, limits.function_bytes)?;
            }
            Payload::ComponentImportSection(imports) if self.depth == 0 => {
                for import in imports {
                    check_import(import.map_err(malformed)?.name.name)?;
                }
            }
            Payload::ComponentExportSection(exports) if self.depth == 0 => {
                for export in exports {
                    self.exports.push(export.map_err(malformed)?.name.name);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn check_exports(&self) -> Result<(), LoadError> {
        for wanted in EXPORTS {
            let full = format!("{PACKAGE}{wanted}@{VERSION}");
            if self.exports.contains(&full.as_str()) {
                continue;
            }
            let other =
                self.exports.iter().find(|name| interface(name).is_some_and(|(name, _)| name == wanted));
            return Err(match other {
                Some(found) => LoadError::Contract { found: (*found).to_owned(), wanted: full },
                None => LoadError::MissingExport { name: full },
            });
        }
        Ok(())
    }
}

fn within(what: &'static str, found: usize, limit: usize) -> Result<(), LoadError> {
    if found > limit { Err(LoadError::TooComplex { what, found, limit }) } else { Ok(()) }
}

fn check_import(name: &str) -> Result<(), LoadError> {
    match interface(name) {
        Some((interface, VERSION)) if IMPORTS.contains(&interface) => Ok(()),
        Some((interface, _)) if IMPORTS.contains(&interface) => Err(LoadError::Contract {
            found: name.to_owned(),
            wanted: format!("{PACKAGE}{interface}@{VERSION}"),
        }),
        _ => Err(LoadError::Import { name: name.to_owned() }),
    }
}

/// The interface of our package that a name stands for, and its version.
fn interface(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix(PACKAGE)?.split_once('@')
}
