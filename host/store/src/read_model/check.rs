//! Reading a statement of a manifest before a database does: one statement of the right kind, over the projection's own
//! tables, with functions that both databases have. It makes the good error messages, and `dialect` those about types; the
//! fence on the connection is the fence.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use cairn_model::manifest::{AccessMode, Statement as Declared};
use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArguments, Ident, ObjectName, Query, Select, SetExpr, Spanned,
    Statement, TableFactor, UnaryOperator, Value, ValueWithSpan, Visit, Visitor,
};
use sqlparser::dialect::SQLiteDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Location;

use super::names::complaint_of_common_table;
use super::sqlite::place::place;

/// Functions that a statement may call. Each means the same in SQLite and in PostgreSQL.
pub(super) const FUNCTIONS: [&str; 30] = [
    "abs",
    "avg",
    "coalesce",
    "concat",
    "count",
    "dense_rank",
    "first_value",
    "lag",
    "last_value",
    "lead",
    "length",
    "lower",
    "ltrim",
    "max",
    "min",
    "nth_value",
    "ntile",
    "nullif",
    "percent_rank",
    "rank",
    "replace",
    "round",
    "row_number",
    "rtrim",
    "string_agg",
    "substr",
    "substring",
    "sum",
    "trim",
    "upper",
];

/// What is wrong, and where.
#[derive(Debug)]
pub(super) struct Complaint {
    pub line: u64,
    pub column: u64,
    pub detail: String,
}

impl Complaint {
    /// A complaint about a place.
    pub fn new(at: Location, detail: impl Into<String>) -> Self {
        Self { line: at.line, column: at.column, detail: detail.into() }
    }

    /// A complaint about no place in particular.
    pub fn whole(detail: impl Into<String>) -> Self {
        Self { line: 0, column: 0, detail: detail.into() }
    }
}

/// A statement that was found good.
#[derive(Debug)]
pub(super) struct Checked {
    /// The statement as it was read.
    pub statement: Statement,
    /// The statement, without a semicolon at its end.
    pub text: String,
    /// Where in it, in bytes, the host's relation is inserted.
    pub insert_at: usize,
    /// Whether it has a `WITH` of its own in front of that place.
    pub has_with: bool,
    /// The projection's tables that it touches.
    pub tables: BTreeSet<String>,
    /// Its own common tables.
    pub common_tables: BTreeSet<String>,
    /// Whether it reads the host's relation `readable`.
    pub readable: bool,
}

/// Checks a statement against the names of its projection's tables.
pub(super) fn check(declared: &Declared, tables: &BTreeSet<String>) -> Result<Checked, Complaint> {
    let dialect = SQLiteDialect {};
    let mut parsed =
        Parser::parse_sql(&dialect, &declared.sql).map_err(|error| from_parser(&error.to_string()))?;
    let (Some(statement), true) = (parsed.pop(), parsed.is_empty()) else {
        let number = if parsed.is_empty() { 0 } else { parsed.len() + 1 };
        return Err(Complaint::whole(format!("it has {number} statements, not one")));
    };
    kind(&statement, declared.access)?;
    let mut reader = Reader {
        tables,
        parameters: if declared.batched { 0 } else { declared.params.len() },
        writes: usize::from(declared.access == AccessMode::Write),
        batched: declared.batched,
        ctes: BTreeSet::new(),
        used: BTreeSet::new(),
        seen: BTreeSet::new(),
        relations: Vec::new(),
        statements: 0,
    };
    if let ControlFlow::Break(complaint) = statement.visit(&mut reader) {
        return Err(complaint);
    }
    let common_tables = reader.ctes.clone();
    let (touched, host) = reader.resolve()?;
    let readable = host.contains("readable");
    if declared.batched && !host.contains("input") {
        return Err(Complaint::whole("it is batched and does not read its rows from `input`"));
    }
    let (text, insert_at, has_with) = place(&declared.sql)?;
    Ok(Checked { statement, text, insert_at, has_with, tables: touched, common_tables, readable })
}

/// The parser says the place in words: `… at Line: 1, Column: 5`.
fn from_parser(message: &str) -> Complaint {
    let number = |after: &str| -> u64 {
        let digits = message.rsplit_once(after).map_or("", |(_, rest)| rest.trim_start());
        digits.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0)
    };
    let (line, column) = (number("Line:"), number("Column:"));
    let detail = message.rsplit_once(" at Line:").map_or(message, |(text, _)| text);
    Complaint { line, column, detail: detail.trim_start_matches("sql parser error: ").to_owned() }
}

/// A `WITH` in front of a write makes a query of it whose body is the write.
fn kind(statement: &Statement, access: AccessMode) -> Result<(), Complaint> {
    let body = match statement {
        Statement::Query(query) => Some(&*query.body),
        _ => None,
    };
    match access {
        AccessMode::Read => match body {
            Some(SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::SetOperation { .. }) => Ok(()),
            _ => Err(Complaint::whole("a `read` statement is one SELECT")),
        },
        AccessMode::Write => {
            let write = match body {
                Some(SetExpr::Insert(inner) | SetExpr::Update(inner) | SetExpr::Delete(inner)) => inner,
                _ => statement,
            };
            match write {
                Statement::Insert(insert) => {
                    let plain = insert.or.is_none() && !insert.replace_into && insert.returning.is_none();
                    if plain {
                        Ok(())
                    } else {
                        Err(Complaint::whole("an INSERT is plain or has ON CONFLICT"))
                    }
                }
                Statement::Update(update) if update.or.is_none() && update.returning.is_none() => Ok(()),
                Statement::Delete(delete) if delete.returning.is_none() => Ok(()),
                _ => Err(Complaint::whole(
                    "a `write` statement is one INSERT, UPDATE or DELETE without RETURNING",
                )),
            }
        }
    }
}

struct Reader<'a> {
    tables: &'a BTreeSet<String>,
    parameters: usize,
    writes: usize,
    batched: bool,
    ctes: BTreeSet<String>,
    used: BTreeSet<String>,
    seen: BTreeSet<usize>,
    relations: Vec<(String, Location)>,
    statements: usize,
}

type Step = ControlFlow<Complaint>;

fn refuse(at: Location, detail: impl Into<String>) -> Step {
    ControlFlow::Break(Complaint::new(at, detail))
}

impl Reader<'_> {
    /// The projection's tables that are touched, and the host's relations that are used.
    fn resolve(mut self) -> Result<(BTreeSet<String>, BTreeSet<&'static str>), Complaint> {
        let mut host = BTreeSet::new();
        for (name, at) in std::mem::take(&mut self.relations) {
            if self.tables.contains(&name) {
                self.used.insert(name);
            } else if name == "readable" && self.writes == 0 {
                host.insert("readable");
            } else if name == "input" && self.batched {
                host.insert("input");
            } else if !self.ctes.contains(&name) {
                let detail = format!("there is no table `{name}` in this projection");
                return Err(Complaint::new(at, detail));
            }
        }
        if let Some(missing) = (1..=self.parameters).find(|number| !self.seen.contains(number)) {
            return Err(Complaint::whole(format!("its parameter ${missing} is declared and not used")));
        }
        Ok((self.used, host))
    }
}

impl Visitor for Reader<'_> {
    type Break = Complaint;

    fn pre_visit_statement(&mut self, _statement: &Statement) -> Step {
        self.statements += 1;
        // The root, and a write below the query that a `WITH` in front of it makes.
        if self.statements > 1 + self.writes {
            return ControlFlow::Break(Complaint::whole("a statement inside of the statement"));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> Step {
        if !query.locks.is_empty() {
            return ControlFlow::Break(Complaint::whole("locking clauses are not allowed"));
        }
        if query.fetch.is_some() {
            return ControlFlow::Break(Complaint::whole("FETCH is not in SQLite; use LIMIT"));
        }
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let name = &cte.alias.name.value;
            let at = cte.alias.name.span.start;
            if self.tables.contains(name) || complaint_of_common_table(name).is_some() {
                return refuse(at, format!("`{name}` cannot be the name of a common table"));
            }
            self.ctes.insert(name.clone());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> Step {
        if select.into.is_some() {
            return ControlFlow::Break(Complaint::whole("SELECT INTO is not allowed"));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Step {
        match factor {
            TableFactor::Table { args: None, sample: None, version: None, .. }
            | TableFactor::Derived { lateral: false, .. }
            | TableFactor::NestedJoin { .. } => ControlFlow::Continue(()),
            other => refuse(other.span().start, "only tables, subqueries and joins can be read"),
        }
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> Step {
        let at = relation.span().start;
        let [part] = relation.0.as_slice() else {
            return refuse(at, format!("`{relation}` names another schema"));
        };
        let Some(name) = part.as_ident() else { return refuse(at, format!("`{relation}` is not a table")) };
        self.relations.push((name.value.clone(), at));
        ControlFlow::Continue(())
    }

    fn pre_visit_ident(&mut self, ident: &Ident) -> Step {
        if ident.quote_style.is_some() {
            return refuse(
                ident.span.start,
                format!("`{}` is quoted; names here never need that", ident.value),
            );
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> Step {
        let at = value.span.start;
        match &value.value {
            Value::Placeholder(text) => {
                let number = text.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
                match number {
                    Some(number)
                        if (1..=self.parameters).contains(&number) && *text == format!("${number}") =>
                    {
                        self.seen.insert(number);
                        ControlFlow::Continue(())
                    }
                    _ if self.batched => {
                        refuse(at, format!("`{text}`: a batched statement reads from `input`"))
                    }
                    _ => refuse(at, format!("`{text}` is not one of its {} parameters", self.parameters)),
                }
            }
            Value::Number(..) | Value::SingleQuotedString(_) | Value::Boolean(_) | Value::Null => {
                ControlFlow::Continue(())
            }
            other => refuse(at, format!("the literal {other} is not in both databases")),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> Step {
        let allowed = match expr {
            Expr::BinaryOp { op, .. } => operator(op),
            Expr::UnaryOp { op, .. } => {
                matches!(op, UnaryOperator::Plus | UnaryOperator::Minus | UnaryOperator::Not)
            }
            Expr::Function(function) => return self.function(function),
            Expr::Identifier(_)
            | Expr::CompoundIdentifier(_)
            | Expr::IsFalse(_)
            | Expr::IsNotFalse(_)
            | Expr::IsTrue(_)
            | Expr::IsNotTrue(_)
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsDistinctFrom(..)
            | Expr::IsNotDistinctFrom(..)
            | Expr::InList { .. }
            | Expr::InSubquery { .. }
            | Expr::Between { .. }
            | Expr::Like { .. }
            | Expr::Cast { .. }
            | Expr::Substring { .. }
            | Expr::Trim { .. }
            | Expr::Nested(_)
            | Expr::Value(_)
            | Expr::Case { .. }
            | Expr::Exists { .. }
            | Expr::Subquery(_)
            | Expr::Tuple(_)
            | Expr::Wildcard(_)
            | Expr::QualifiedWildcard(..) => true,
            _ => false,
        };
        if allowed {
            ControlFlow::Continue(())
        } else {
            refuse(expr.span().start, format!("`{expr}` is not in what SQLite and PostgreSQL share"))
        }
    }
}

impl Reader<'_> {
    fn function(&self, function: &Function) -> Step {
        let at = function.span().start;
        let name = function.name.to_string().to_ascii_lowercase();
        if !FUNCTIONS.contains(&name.as_str()) {
            return refuse(at, format!("the function `{name}` is not allowed"));
        }
        if let FunctionArguments::List(list) = &function.args
            && matches!(name.as_str(), "min" | "max")
            && list.args.len() != 1
        {
            return refuse(at, format!("`{name}` of several values is not in PostgreSQL; use CASE"));
        }
        ControlFlow::Continue(())
    }
}

fn operator(op: &BinaryOperator) -> bool {
    matches!(
        op,
        BinaryOperator::Plus
            | BinaryOperator::Minus
            | BinaryOperator::Multiply
            | BinaryOperator::Divide
            | BinaryOperator::Modulo
            | BinaryOperator::StringConcat
            | BinaryOperator::Gt
            | BinaryOperator::Lt
            | BinaryOperator::GtEq
            | BinaryOperator::LtEq
            | BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::And
            | BinaryOperator::Or
    )
}
